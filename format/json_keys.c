/* SPDX-License-Identifier: MIT
 *
 * json_keys.c - the keys seen in the JSON objects that are open, to find one that comes twice.
 *
 * Invariants: all sets together are never larger than the text (beyond a few hundred bytes);
 * adding a key takes constant time on average, whatever keys an attacker chooses.
 *
 * The sets of nested objects lie on a stack of words, outermost first, so only the last one ever
 * grows and the words of a closed object are used again. One set is
 *
 *	n_slots  n_keys  slot[n_slots]
 *
 * where the first SET_FIRST slots are a plain list, which is all that most objects need, and a
 * larger set is a hash table with linear probing. A slot is 0 (free) or the offset of a key in
 * the text, in a table with as many bits of the key's hash above it as fit; they spare most
 * comparisons. An offset is never 0: a brace and a quote come before any key.
 */
#include "format/json_keys.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

struct key_sets {
	const char *text;	/* borrowed */
	size_t text_len;
	uint64_t seed[2];
	uint32_t *word;		/* owned: n_words of which `used` hold sets */
	size_t n_words, used;
	unsigned off_bits;	/* bits that hold an offset */
};
enum { SET_HEAD = 2, SET_FIRST = 8, MIN_WORDS = 128, AHEAD = 16 };
#define SLOT_UNPLACED (UINT32_C(1) << 31)	/* only while a set grows */

static uint64_t rotate(uint64_t v, unsigned n)
{
	return v << n | v >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

/* SipHash-1-3: with a secret seed nobody can prepare keys that collide. */
static uint64_t hash_key(const struct key_sets *k, const char *key, size_t n)
{
	uint64_t v[4] = { k->seed[0] ^ 0x736f6d6570736575, k->seed[1] ^ 0x646f72616e646f6d,
			  k->seed[0] ^ 0x6c7967656e657261, k->seed[1] ^ 0x7465646279746573 };
	const uint8_t *p = (const uint8_t *)key;
	size_t i = 0;

	for (; n - i >= 8; i += 8) {
		uint64_t m = load_le(p + i, 8);
		v[3] ^= m;
		sip_round(v);
		v[0] ^= m;
	}
	uint64_t last = load_le(p + i, (unsigned)(n - i)) | (uint64_t)n << 56;
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xFF;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static size_t slot_home(uint64_t hash, size_t n_slots)
{
	return (size_t)((hash >> 32) * n_slots >> 32);
}

static uint32_t slot_make(const struct key_sets *k, uint64_t hash, size_t off)
{
	uint32_t tag = (uint32_t)hash << k->off_bits;

	return (tag & ~SLOT_UNPLACED) | (uint32_t)off;
}

static const char *slot_key(const struct key_sets *k, uint32_t slot)
{
	return k->text + (slot & ((UINT32_C(1) << k->off_bits) - 1));
}

struct key_sets *keys_open(const char *text, size_t len, struct err *e)
{
	struct key_sets *k = mem_new(1, sizeof *k, "the keys of JSON objects", e);

	if (!k)
		return NULL;
	k->text = text;
	k->text_len = len;
	/* without the kernel's randomness only the defence against prepared collisions is weaker */
	if (getrandom(k->seed, sizeof k->seed, GRND_NONBLOCK) != (ssize_t)sizeof k->seed) {
		k->seed[0] ^= (uint64_t)(uintptr_t)k;
		k->seed[1] ^= (uint64_t)time(NULL);
	}
	while (len >> k->off_bits)
		k->off_bits++;
	return k;
}

size_t keys_begin(const struct key_sets *k)
{
	return k->used;
}

void keys_end(struct key_sets *k, size_t set)
{
	k->used = set;
}

void keys_close(struct key_sets *k)
{
	if (k)
		free(k->word);
	free(k);
}

static enum status reserve(struct key_sets *k, size_t n_words, struct err *e)
{
	uint32_t *p;

	if (n_words <= k->n_words)
		return OK;
	if (n_words < MIN_WORDS)
		n_words = MIN_WORDS;
	p = realloc(k->word, n_words * sizeof *p);
	if (!p)
		return err_set(e, ERR_NOMEM, "no memory for the keys of a JSON object (%zu bytes)",
			       n_words * sizeof *p);
	k->word = p;
	k->n_words = n_words;
	return OK;
}

/* Doubles the innermost set where that stays within the text's size, else grows it by as little
 * as keeps the cost linear: a key takes 6 bytes of text at least, and then 5.2 here at most. */
static size_t grown(const struct key_sets *k, size_t set)
{
	size_t old = k->word[set], n = 2 * old;
	size_t budget = k->text_len / sizeof *k->word, head = set + SET_HEAD;

	if (head + n <= budget)
		return n;
	n = old + old / 8 + 2;
	return budget > head + n ? budget - head : n;
}

/* Moves the keys of a set whose slots [0, old) are in use for an old size into n slots. */
static void place_again(const struct key_sets *k, uint32_t *slot, size_t old, size_t n)
{
	for (size_t i = 0; i < old; i++)
		if (slot[i])
			slot[i] |= SLOT_UNPLACED;
	/* Each key goes to its new place; an unplaced one it meets there is carried on. No slot
	 * that a search has passed is ever emptied, so every key stays findable. */
	for (size_t i = 0; i < old; i++) {
		if (i + AHEAD < old)	/* keys lie all over the text: most of the time is here */
			__builtin_prefetch(slot_key(k, slot[i + AHEAD]));
		uint32_t carried = slot[i] & SLOT_UNPLACED ? slot[i] & ~SLOT_UNPLACED : 0;
		if (carried)
			slot[i] = 0;
		while (carried) {
			const char *key = slot_key(k, carried);
			uint64_t hash = hash_key(k, key, strlen(key));
			size_t at = slot_home(hash, n);
			while (slot[at] && !(slot[at] & SLOT_UNPLACED))
				at = at + 1 == n ? 0 : at + 1;
			uint32_t met = slot[at] & ~SLOT_UNPLACED;
			slot[at] = slot_make(k, hash, (size_t)(key - k->text));
			carried = met;
		}
	}
}

/* Makes room for one more key: a list, a table once that is full, a larger one past 7/8. */
static enum status make_room(struct key_sets *k, size_t set, struct err *e)
{
	size_t old = k->used == set ? 0 : k->word[set], n;
	enum status st;

	if (old == SET_FIRST ? k->word[set + 1] < old :
	    old && ((uint64_t)k->word[set + 1] + 1) * 8 <= (uint64_t)old * 7)
		return OK;
	n = old ? grown(k, set) : SET_FIRST;
	if ((st = reserve(k, set + SET_HEAD + n, e)) != OK)
		return st;
	uint32_t *slot = k->word + set + SET_HEAD;
	memset(slot + old, 0, (n - old) * sizeof *slot);
	if (old)
		place_again(k, slot, old, n);
	else
		k->word[set + 1] = 0;
	k->word[set] = (uint32_t)n;
	k->used = set + SET_HEAD + n;
	return OK;
}

enum status keys_add(struct key_sets *k, size_t set, struct str key, bool *fresh, struct err *e)
{
	enum status st = make_room(k, set, e);

	*fresh = false;
	if (st != OK)
		return st;
	size_t n = k->word[set], at = 0, off = (size_t)(key.p - k->text);
	uint32_t *slot = k->word + set + SET_HEAD, made = (uint32_t)off;

	if (n == SET_FIRST) {
		for (; slot[at]; at++)
			if (strcmp(slot_key(k, slot[at]), key.p) == 0)
				return OK;
	} else {
		uint64_t hash = hash_key(k, key.p, key.n);
		made = slot_make(k, hash, off);
		for (at = slot_home(hash, n); slot[at]; at = at + 1 == n ? 0 : at + 1)
			if ((slot[at] ^ made) >> k->off_bits == 0 &&
			    strcmp(slot_key(k, slot[at]), key.p) == 0)
				return OK;
	}
	slot[at] = made;
	k->word[set + 1]++;
	*fresh = true;
	return OK;
}
