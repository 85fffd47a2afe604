/* SPDX-License-Identifier: MIT
 *
 * vocab_pre.c - is a tokenizer.json's pre-tokenizer the one that this program does?
 *
 * DeepSeek-V3 and V4 have a Sequence of three Splits (Isolated, not inverted) and a ByteLevel
 * without prefix space and without its own pattern. The patterns are compared by their text. Two
 * spellings are known: DeepSeek's files hold the characters CR and LF themselves where others
 * write \r and \n; to the engine they are the same. What the patterns do is written in
 * runtime/pretokenizer.c.
 */
#include "format/vocab_pre.h"

#include "format/vocab.h"

#include <string.h>

static const char *const patterns[3] = {
	"\\p{N}{1,3}",
	"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
	"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
	"|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
	"| ?[\\p{P}\\p{S}]+[\\r\\n]*"
	"|\\s*[\\r\\n]+"
	"|\\s+(?!\\S)"
	"|\\s+",
};

/* One member of the sequence. */
struct step {
	struct str type, pattern, behavior;
	bool invert, prefix_space, use_regex;
	struct str unknown;		/* a field that is not known */
};

/* pattern is "known", where CR and LF may stand for themselves. */
static bool same_pattern(struct str pattern, const char *known)
{
	for (size_t i = 0; i < pattern.n; i++) {
		char c = pattern.p[i];
		if (c == '\r' || c == '\n') {
			if (*known++ != '\\')
				return false;
			c = c == '\r' ? 'r' : 'n';
		}
		if (*known == 0 || *known++ != c)
			return false;
	}
	return *known == 0;
}

static void read_pattern(struct json *j, struct step *s)
{
	struct str key;

	if (!json_object(j))
		return;
	while (json_key(j, &key))
		if (str_is(key, "Regex")) {
			(void)json_string(j, &s->pattern);
		} else {
			s->unknown = key;
			json_skip(j);
		}
}

static void read_step(struct json *j, struct step *s)
{
	struct str key;
	bool ignored;

	*s = (struct step){ .prefix_space = true, .use_regex = true };	/* what absence means */
	if (!json_object(j))
		return;
	while (json_key(j, &key)) {
		if (str_is(key, "type"))
			(void)json_string(j, &s->type);
		else if (str_is(key, "pattern"))
			read_pattern(j, s);
		else if (str_is(key, "behavior"))
			(void)json_string(j, &s->behavior);
		else if (str_is(key, "invert"))
			(void)json_bool(j, &s->invert);
		else if (str_is(key, "add_prefix_space"))
			(void)json_bool(j, &s->prefix_space);
		else if (str_is(key, "use_regex"))
			(void)json_bool(j, &s->use_regex);
		else if (str_is(key, "trim_offsets"))
			(void)json_bool(j, &ignored);	/* moves offsets, not ids */
		else {
			s->unknown = key;
			json_skip(j);
		}
	}
}

static void check_step(struct json *j, const struct step *s, unsigned i)
{
	char a[160], b[160];

	if (i > 3 || s->unknown.p)
		json_fail(j, ERR_UNSUPPORTED,
			  "pre_tokenizer step %u (%s%s%s) is not one of DeepSeek-V3's and V4's",
			  i + 1, vocab_show(a, s->type), s->unknown.p ? " with " : "",
			  vocab_show(b, s->unknown));
	else if (!str_is(s->type, i < 3 ? "Split" : "ByteLevel"))
		json_fail(j, ERR_UNSUPPORTED, "pre_tokenizer step %u is '%s', not %s", i + 1,
			  vocab_show(a, s->type), i < 3 ? "Split" : "ByteLevel");
	else if (i < 3 && !same_pattern(s->pattern, patterns[i]))
		json_fail(j, ERR_UNSUPPORTED,
			  "pre_tokenizer step %u splits by '%s', which is not DeepSeek-V3's "
			  "and V4's pattern",
			  i + 1, vocab_show(a, s->pattern));
	else if (i < 3 && (!str_is(s->behavior, "Isolated") || s->invert))
		json_fail(j, ERR_UNSUPPORTED,
			  "pre_tokenizer step %u has behavior '%s'%s, not Isolated", i + 1,
			  vocab_show(a, s->behavior), s->invert ? " inverted" : "");
	else if (i == 3 && (s->prefix_space || s->use_regex))
		json_fail(j, ERR_UNSUPPORTED, "pre_tokenizer step 4, ByteLevel, has %s on",
			  s->prefix_space ? "add_prefix_space" : "use_regex");
}

static void read_steps(struct json *j, unsigned *n)
{
	struct step s;

	if (!json_array(j))
		return;
	while (json_item(j)) {
		read_step(j, &s);
		if (j->err.status == OK)
			check_step(j, &s, (*n)++);
		if (j->err.status != OK)
			return;
	}
}

void vocab_pre_read(struct json *j)
{
	struct str key, type = { 0 };
	unsigned n = 0;
	char buf[160];

	if (json_peek(j) == JSON_NULL) {
		json_fail(j, ERR_UNSUPPORTED,
			  "no pre_tokenizer: the one of DeepSeek-V3 and V4 is read");
		return;
	}
	if (!json_object(j))
		return;
	while (json_key(j, &key)) {
		if (str_is(key, "type"))
			(void)json_string(j, &type);
		else if (str_is(key, "pretokenizers"))
			read_steps(j, &n);
		else
			json_skip(j);
	}
	if (j->err.status != OK)
		return;
	if (!str_is(type, "Sequence") || n != 4)
		json_fail(j, ERR_UNSUPPORTED,
			  "pre_tokenizer is '%s' of %u steps, not DeepSeek-V3's and V4's "
			  "Sequence of 4",
			  vocab_show(buf, type), n);
}
