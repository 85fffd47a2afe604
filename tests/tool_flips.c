/* SPDX-License-Identifier: MIT
 *
 * tool_flips.c - FILE FLIPS OTHERS SEED: damages a sealed GGUF in place, calls the verifier, and puts it back.
 *
 * FLIPS single bits, a quarter of them in the header, some in padding; OTHERS of longer damage: bursts, sectors of zeros, cuts,
 * tails, chunks and tensors that change places, edits of the header. Each must be found, and named by
 * the very chunks that differ. The last line is "N passed, N failed". FILE must be the tool's own copy.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "verify/verify.h"

enum { SHOWN = 20, LONGEST = 64 << 10 };
struct bench {
	const char *path;
	int fd;
	uint8_t *good, *now;		/* owned; the file as it was sealed, and as it is on the disk */
	uint64_t size, random;
	struct gguf g;			/* of the good file */
	struct seal seal;
	uint64_t n_passed, n_failed;
};

static uint64_t next_random(struct bench *b)
{
	uint64_t x = b->random += 0x9E3779B97F4A7C15u;

	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
	x = (x ^ x >> 27) * 0x94D049BB133111EBu;
	return x ^ x >> 31;
}
static uint64_t below(struct bench *b, uint64_t n) { return next_random(b) % n; }

static void judge(struct bench *b, bool good, const char *what, uint64_t at, const char *why)
{
	if (good) {
		b->n_passed++;
		return;
	}
	if (b->n_failed++ < SHOWN)
		fprintf(stderr, "FAILED: %s at byte %llu: %s\n", what, (unsigned long long)at, why);
}

/* Whether the report names exactly the chunks in which good and now differ, and padding only where it does. */
static bool located(const struct bench *b, const struct sealed_report *r)
{
	size_t k = 0;

	for (size_t i = 0; i < b->g.n_tensors; i++) {
		const struct gguf_tensor *t = &b->g.tensors[i];
		struct seal_layout l = seal_layout(t->shape, t->n_dims, t->bytes, b->seal.chunk_bytes);

		for (uint64_t n = 0; n < l.n_chunks; n++) {
			struct seal_chunk c = seal_chunk(&l, n);
			uint64_t from = t->off + c.off;
			const struct damage *d;

			if (memcmp(b->good + from, b->now + from, (size_t)c.bytes) == 0)
				continue;
			if (k == r->n_damage)
				return false;
			d = &r->damage[k++];
			if (!str_eq(d->tensor, t->name) || d->from != from || d->to != from + c.bytes ||
			    (t->n_dims > 2 && d->expert != c.matrix))
				return false;
		}
		for (uint64_t at = t->off + t->bytes; at < (i + 1 < b->g.n_tensors ? t[1].off : b->size); at++)
			if (b->now[at] && (!r->padding_differs || r->padding_at > at))
				return false;
	}
	return k == r->n_damage;
}

/* The file on the disk is b->now[0, size): the verifier must say no, and where. in_header: it may also be
 * unreadable. */
static void verify(struct bench *b, const char *what, uint64_t at, bool in_header)
{
	static volatile int stop;
	struct verify_options o = { .threads = 1, .stop = &stop };
	struct sealed_report r = { 0 };
	struct log notes = { 0 };
	struct err e = { 0 };
	struct file f;
	enum status st = file_open(&f, AT_FDCWD, b->path, true, b->path, &e);

	if (st == OK) {
		st = verify_sealed(&r, &f, &o, &notes, &e);
		file_close(&f);
	}
	if (st == OK)
		judge(b, false, what, at, "not found");
	else if (in_header)
		judge(b, st == ERR_MISMATCH || st == ERR_FORMAT || st == ERR_UNSUPPORTED, what, at, e.msg);
	else
		judge(b, st == ERR_MISMATCH && located(b, &r), what, at, e.msg);
	sealed_report_close(&r);
	log_close(&notes);
}

/* Bytes [from, to) of b->now to the disk, verified, and put back. */
static void damaged(struct bench *b, const char *what, uint64_t from, uint64_t to)
{
	size_t n = (size_t)(to - from);

	if (memcmp(b->good + from, b->now + from, n) == 0)
		return;		/* nothing was changed: another draw */
	if (pwrite(b->fd, b->now + from, n, (off_t)from) != (ssize_t)n) {
		judge(b, false, what, from, "cannot be written");
		return;
	}
	verify(b, what, from, from < b->g.data_off);
	memcpy(b->now + from, b->good + from, n);
	if (pwrite(b->fd, b->good + from, n, (off_t)from) != (ssize_t)n)
		judge(b, false, what, from, "cannot be put back");
}

/* A byte between two tensors, or 0 if none was met. */
static uint64_t in_padding(struct bench *b)
{
	for (int tries = 0; tries < 200 && b->g.n_tensors > 1; tries++) {
		const struct gguf_tensor *t = &b->g.tensors[below(b, b->g.n_tensors - 1)];
		uint64_t end = t->off + t->bytes;

		if (end < t[1].off)
			return end + below(b, t[1].off - end);
	}
	return 0;
}

static void flip(struct bench *b)
{
	uint64_t at = below(b, 16) ? 0 : in_padding(b);

	if (!at)
		at = below(b, below(b, 4) ? b->size : b->g.data_off);
	b->now[at] ^= (uint8_t)(1 << below(b, 8));
	damaged(b, "a flipped bit", at, at + 1);
}

/* ---- longer damage ---------------------------------------------------------------------------*/

static void burst(struct bench *b)
{
	uint64_t n = 1024 + below(b, LONGEST - 1023), from = below(b, b->size), to = u64_min(from + n, b->size);

	for (uint64_t i = from; i < to; i++)
		b->now[i] = (uint8_t)next_random(b);
	damaged(b, "a burst", from, to);
}

static void sectors(struct bench *b)
{
	uint64_t from = below(b, b->size) & ~(uint64_t)511, to = u64_min(from + 512 * (1 + below(b, 8)), b->size);

	memset(b->now + from, 0, (size_t)(to - from));
	damaged(b, "sectors of zeros", from, to);
}

static void edit(struct bench *b)
{
	uint64_t from = below(b, b->g.data_off), to = u64_min(from + 1 + below(b, 16), b->g.data_off);

	for (uint64_t i = from; i < to; i++)
		b->now[i] = (uint8_t)next_random(b);
	damaged(b, "an edit of the header", from, to);
}

static void put_back(struct bench *b, uint64_t from)
{
	size_t n = (size_t)(b->size - from);

	if (ftruncate(b->fd, (off_t)b->size) != 0 || pwrite(b->fd, b->good + from, n, (off_t)from) != (ssize_t)n)
		judge(b, false, "the file", from, "cannot be put back");
}

static void cut(struct bench *b)
{
	uint64_t n = below(b, 2) ? below(b, b->size) : b->size - 1 - below(b, u64_min(4096, b->size));

	if (ftruncate(b->fd, (off_t)n) == 0)
		verify(b, "a cut", n, true);
	put_back(b, n);
}

static void tail(struct bench *b)
{
	uint64_t n = 1 + below(b, LONGEST);
	uint8_t *p = calloc(1, (size_t)n);

	for (uint64_t i = 0, random = below(b, 2); p && random && i < n; i++)
		p[i] = (uint8_t)next_random(b);
	if (p && pwrite(b->fd, p, (size_t)n, (off_t)b->size) == (ssize_t)n)
		verify(b, "a tail", b->size, true);
	put_back(b, b->size);
	free(p);
}

/* n bytes at x and y change places, or those at x are put over y. */
static void exchange(struct bench *b, const char *what, uint64_t x, uint64_t y, uint64_t n, bool over)
{
	uint64_t from = x < y ? x : y, to = (x < y ? y : x) + n;

	memcpy(b->now + y, b->good + x, (size_t)n);
	if (!over)
		memcpy(b->now + x, b->good + y, (size_t)n);
	damaged(b, what, from, to);
}

static void swap_chunks(struct bench *b)
{
	const struct gguf_tensor *t = &b->g.tensors[below(b, b->g.n_tensors)];
	struct seal_layout l = seal_layout(t->shape, t->n_dims, t->bytes, b->seal.chunk_bytes);
	struct seal_chunk x, y;

	if (l.n_chunks < 2)
		return;
	x = seal_chunk(&l, below(b, l.n_chunks));
	y = seal_chunk(&l, below(b, l.n_chunks));
	if (x.bytes == y.bytes && x.off != y.off)
		exchange(b, "chunks that change places", t->off + x.off, t->off + y.off, x.bytes, below(b, 2));
}

static void swap_tensors(struct bench *b)
{
	const struct gguf_tensor *x = &b->g.tensors[below(b, b->g.n_tensors)];
	const struct gguf_tensor *y = &b->g.tensors[below(b, b->g.n_tensors)];

	if (x != y && x->bytes == y->bytes)
		exchange(b, "tensors that change places", x->off, y->off, x->bytes, false);
}

static bool load(struct bench *b)
{
	struct log notes = { 0 };
	struct err e = { 0 };
	struct file f;
	bool good = file_open(&f, AT_FDCWD, b->path, true, b->path, &e) == OK;

	if (!good || (b->fd = open(b->path, O_RDWR | O_CLOEXEC)) < 0)
		return false;
	b->size = f.id.size;
	b->good = malloc((size_t)b->size);
	b->now = malloc((size_t)b->size);
	good = b->good && b->now && file_read(&f, b->good, (size_t)b->size, 0, &e) == OK &&
	       gguf_read(&b->g, &f, &notes, &e) == OK && seal_read(&b->seal, &b->g, &e) == OK;
	if (good)
		memcpy(b->now, b->good, (size_t)b->size);
	else
		fprintf(stderr, "%s\n", e.msg);
	log_close(&notes);
	file_close(&f);
	return good;
}

int main(int argc, char **argv)
{
	static void (*const kinds[])(struct bench *) = { burst, sectors, cut, tail, swap_chunks, swap_tensors, edit };
	struct bench b = { .path = argc == 5 ? argv[1] : "" };
	uint64_t flips, others, n = 0;

	if (argc != 5 || !load(&b)) {
		fprintf(stderr, "usage: tool_flips FILE FLIPS OTHERS SEED\n");
		return 2;
	}
	flips = strtoull(argv[2], NULL, 10);
	others = strtoull(argv[3], NULL, 10) + flips;
	b.random = strtoull(argv[4], NULL, 10);
	for (; b.n_passed + b.n_failed < flips; n++)
		flip(&b);
	for (; b.n_passed + b.n_failed < others; n++)	/* a draw that changes nothing does not count */
		kinds[n % (sizeof kinds / sizeof *kinds)](&b);
	gguf_close(&b.g);
	free(b.good);
	free(b.now);
	close(b.fd);
	printf("%llu passed, %llu failed\n", (unsigned long long)b.n_passed, (unsigned long long)b.n_failed);
	return b.n_failed != 0;
}
