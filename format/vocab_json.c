/* SPDX-License-Identifier: MIT
 *
 * vocab_json.c - a vocabulary out of tokenizer.json, tokenizer_config.json, chat_template.jinja.
 *
 * The text of tokenizer.json is read once, unescaped in place, and stays: tokens and merges point
 * into it. A merge given as a pair ["a","b"] becomes "a b" in the bytes it was read from. Only
 * what would change ids is looked at, and all of that has to be what this program does: BPE with
 * no options, no normalizer, and the pre-tokenizer of vocab_pre.c. Another one is
 * refused by its text and never run: a pattern from a file can be made to take forever.
 *
 * vocab_from_files at the end is the order of work; above it, one function a JSON object.
 */
#include "format/vocab.h"

#include "format/vocab_pre.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENIZER = 128 << 20, MAX_CONFIG = 16 << 20, MAX_DEPTH = 32 };

struct added { struct str text; uint32_t id; bool special; };
struct parse {
	struct json j;
	struct vocab *v;
	struct added *added;		/* owned */
	size_t n_added, added_cap, merges_cap;
	bool have_model, have_type, have_vocab, have_merges, have_pre;
	size_t n_flags;			/* added tokens with lstrip, rstrip or single_word */
	struct err *e;
};

/* ---- model ----------------------------------------------------------------------------------*/

static void set_token(struct parse *p, struct str text, uint64_t id)
{
	char a[160], b[160];
	struct vocab *v = p->v;

	if (id >= v->n_tokens)
		json_fail(&p->j, ERR_FORMAT,
			  "token '%s' has id %llu, but the model has %u embedding rows",
			  vocab_show(a, text), (unsigned long long)id, v->n_tokens);
	else if (v->tokens[id].p && !str_eq(v->tokens[id], text))
		json_fail(&p->j, ERR_FORMAT, "tokens '%s' and '%s' have the same id %llu",
			  vocab_show(a, v->tokens[id]), vocab_show(b, text),
			  (unsigned long long)id);
	else
		v->tokens[id] = text;
}

static void read_vocab(struct parse *p)
{
	struct str text;
	uint64_t id;

	if (!json_object(&p->j))
		return;
	while (json_key(&p->j, &text))
		if (json_u64(&p->j, &id))
			set_token(p, text, id);
	p->have_vocab = true;
}

/* ["a", "b"]: both lie in the text that the reader is done with, so "a b" has room there. */
static bool read_merge_pair(struct parse *p, struct str *merge)
{
	struct str a = { 0 }, b = { 0 };
	char *to;

	if (!json_array(&p->j) || !json_item(&p->j) || !json_string(&p->j, &a) ||
	    !json_item(&p->j) || !json_string(&p->j, &b) || json_item(&p->j)) {
		json_fail(&p->j, ERR_FORMAT, "a merge is not a pair of strings");
		return false;
	}
	if (memchr(a.p, ' ', a.n) || memchr(b.p, ' ', b.n)) {
		json_fail(&p->j, ERR_FORMAT, "a merge has a space in a part");
		return false;
	}
	to = p->v->text + (a.p - p->v->text);
	to[a.n] = ' ';
	memmove(to + a.n + 1, b.p, b.n);
	*merge = (struct str){ to, a.n + 1 + b.n };
	return true;
}

static void read_merges(struct parse *p)
{
	struct vocab *v = p->v;
	struct str merge;
	void *list;

	if (!json_array(&p->j))
		return;
	while (json_item(&p->j)) {
		if (json_peek(&p->j) == JSON_ARRAY ? !read_merge_pair(p, &merge)
						   : !json_string(&p->j, &merge))
			return;
		if (v->n_merges == VOCAB_MAX_MERGES) {
			json_fail(&p->j, ERR_UNSUPPORTED, "more than %d merges", VOCAB_MAX_MERGES);
			return;
		}
		list = v->merges;
		if (mem_grow(&list, &p->merges_cap, v->n_merges + 1u, sizeof *v->merges, "merges",
			     p->e) != OK) {
			json_fail(&p->j, ERR_NOMEM, "no memory for its merges");
			return;
		}
		v->merges = list;
		v->merges[v->n_merges++] = merge;
	}
	p->have_merges = true;
}

static void read_type(struct parse *p)
{
	struct str s;
	char buf[160];

	p->have_type = true;
	if (json_string(&p->j, &s) && !str_is(s, "BPE"))
		json_fail(&p->j, ERR_UNSUPPORTED, "a model of type '%s': only BPE is read",
			  vocab_show(buf, s));
}

/* An option that has to be off: null, false or an empty string. */
static void read_off(struct parse *p, struct str key)
{
	bool b = false;
	struct str s = { 0 };
	char buf[160];

	vocab_show(buf, key);
	switch (json_peek(&p->j)) {
	case JSON_NULL: (void)json_null(&p->j); break;
	case JSON_BOOL: (void)json_bool(&p->j, &b); break;
	case JSON_STRING: (void)json_string(&p->j, &s); break;
	default: b = true; json_skip(&p->j); break;
	}
	if (b || s.n)
		json_fail(&p->j, ERR_UNSUPPORTED,
			  "model option '%s' is set: byte-level BPE is read without it", buf);
}

static void read_model(struct parse *p)
{
	struct str key;

	p->have_model = true;
	if (!json_object(&p->j))
		return;
	while (json_key(&p->j, &key)) {
		if (str_is(key, "type"))
			read_type(p);
		else if (str_is(key, "vocab"))
			read_vocab(p);
		else if (str_is(key, "merges"))
			read_merges(p);
		else if (str_is(key, "fuse_unk"))
			json_skip(&p->j);	/* says something only of an unk_token */
		else
			read_off(p, key);
	}
	if (!p->have_type)
		json_fail(&p->j, ERR_FORMAT, "the model does not say its type; only BPE is read");
}

/* ---- added tokens ---------------------------------------------------------------------------*/

static bool read_added_fields(struct parse *p, struct added *a)
{
	struct str key;
	uint64_t id = UINT64_MAX;
	bool flag = false, any_flag = false;

	*a = (struct added){ 0 };
	if (!json_object(&p->j))
		return false;
	while (json_key(&p->j, &key)) {
		if (str_is(key, "id"))
			(void)json_u64(&p->j, &id);
		else if (str_is(key, "content"))
			(void)json_string(&p->j, &a->text);
		else if (str_is(key, "special"))
			(void)json_bool(&p->j, &a->special);
		else if (str_is(key, "lstrip") || str_is(key, "rstrip") ||
			 str_is(key, "single_word"))
			any_flag |= json_bool(&p->j, &flag) && flag;
		else
			json_skip(&p->j);
	}
	if (!a->text.p || id == UINT64_MAX)
		json_fail(&p->j, ERR_FORMAT, "an added token without id or content");
	else
		set_token(p, a->text, id);
	p->n_flags += any_flag;
	a->id = (uint32_t)id;
	return p->j.err.status == OK;
}

static void read_added(struct parse *p)
{
	struct added a;
	void *list;

	if (!json_array(&p->j))
		return;
	while (json_item(&p->j)) {
		if (!read_added_fields(p, &a))
			return;
		list = p->added;
		if (mem_grow(&list, &p->added_cap, p->n_added + 1, sizeof a, "added tokens",
			     p->e) != OK) {
			json_fail(&p->j, ERR_NOMEM, "no memory for its added tokens");
			return;
		}
		p->added = list;
		p->added[p->n_added++] = a;
	}
}

/* Models mark some control tokens as not special; llama.cpp goes by their look, and so do we. */
static bool looks_special(struct str s)
{
	static const char bar[] = "<\xEF\xBD\x9C", bar_end[] = "\xEF\xBD\x9C>";	/* fullwidth | */

	if (s.n >= 4 && memcmp(s.p, "<|", 2) == 0 && memcmp(s.p + s.n - 2, "|>", 2) == 0)
		return true;
	return s.n >= 8 && memcmp(s.p, bar, 4) == 0 && memcmp(s.p + s.n - 4, bar_end, 4) == 0;
}

/* U+2581 stands for a space in user-defined tokens, and GGUF wants the space. In place: shorter. */
static struct str with_spaces(struct vocab *v, struct str s)
{
	char *to = v->text + (s.p - v->text);
	size_t o = 0;

	for (size_t i = 0; i < s.n;) {
		if (s.n - i >= 3 && memcmp(s.p + i, "\xE2\x96\x81", 3) == 0) {
			to[o++] = ' ';
			i += 3;
		} else {
			to[o++] = s.p[i++];
		}
	}
	return (struct str){ to, o };
}

static void apply_added(struct parse *p)
{
	struct vocab *v = p->v;

	for (size_t i = 0; i < p->n_added; i++) {
		const struct added *a = &p->added[i];
		bool control = a->special || looks_special(a->text);
		v->types[a->id] = control ? TOKEN_CONTROL : TOKEN_USER;
		if (!control)
			v->tokens[a->id] = with_spaces(v, a->text);
	}
}

/* ---- tokenizer.json -------------------------------------------------------------------------*/

static void read_normalizer(struct parse *p)
{
	struct str key, s;
	bool empty_sequence = false;

	if (json_peek(&p->j) == JSON_NULL) {
		(void)json_null(&p->j);
		return;
	}
	if (!json_object(&p->j))
		return;
	while (json_key(&p->j, &key)) {
		if (str_is(key, "type") && json_string(&p->j, &s)) {
			char buf[160];
			if (!str_is(s, "Sequence"))
				json_fail(&p->j, ERR_UNSUPPORTED,
					  "a normalizer of type '%s': this program reads "
					  "text as it is",
					  vocab_show(buf, s));
		} else if (str_is(key, "normalizers")) {
			empty_sequence = json_array(&p->j) && !json_item(&p->j);
			if (!empty_sequence)
				break;
		} else {
			json_skip(&p->j);
		}
	}
	if (!empty_sequence)
		json_fail(&p->j, ERR_UNSUPPORTED,
			  "it has a normalizer: this program reads text as it is");
}

static void read_tokenizer(struct parse *p)
{
	struct str key;

	if (!json_object(&p->j))
		return;
	while (json_key(&p->j, &key)) {
		if (str_is(key, "model"))
			read_model(p);
		else if (str_is(key, "added_tokens"))
			read_added(p);
		else if (str_is(key, "normalizer"))
			read_normalizer(p);
		else if (str_is(key, "pre_tokenizer"))
			p->have_pre = true, vocab_pre_read(&p->j);
		else
			json_skip(&p->j);
	}
	if (!p->have_model || !p->have_vocab || !p->have_merges)
		json_fail(&p->j, ERR_FORMAT, "no model with vocab and merges in it");
	else if (!p->have_pre)
		json_fail(&p->j, ERR_UNSUPPORTED,
			  "no pre_tokenizer: the one of DeepSeek-V3 and V4 is read");
}

/* Ids that no token has: [PADn], as llama.cpp's converter names them. */
static enum status fill_holes(struct vocab *v, const char *path, struct log *notes, struct err *e)
{
	enum { FILLER = sizeof "[PAD4294967295]" };
	size_t n = 0, used = 0;
	uint32_t first = 0;

	for (uint32_t i = v->n_tokens; i-- > 0;)
		if (!v->tokens[i].p)
			n++, first = i;
	if (n == 0)
		return OK;
	v->owned_strings = mem_new(n, FILLER, "filler tokens", e);
	if (!v->owned_strings)
		return ERR_NOMEM;
	for (uint32_t i = first; i < v->n_tokens; i++) {
		if (v->tokens[i].p)
			continue;
		char *to = v->owned_strings + used;
		int len = snprintf(to, FILLER, "[PAD%u]", i);
		v->tokens[i] = (struct str){ to, (size_t)len };
		v->types[i] = TOKEN_UNUSED;
		used += (size_t)len;
	}
	log_add(notes, "%s: %zu ids have no token (the first is %u): filled with [PADn]", path, n,
		first);
	return OK;
}

static enum status read_tokenizer_json(struct vocab *v, const struct source_file *f,
				       uint32_t n_vocab, struct log *notes, struct err *e)
{
	struct parse p = { .v = v, .e = e };
	const char *path = f->file.path;
	size_t n;
	enum status st;

	if (n_vocab == 0 || n_vocab > VOCAB_MAX_TOKENS)
		return err_set(e, ERR_UNSUPPORTED,
			       "%s: a vocabulary of %u tokens, 1 to %d are read", path, n_vocab,
			       VOCAB_MAX_TOKENS);
	TRY(file_slurp(&f->file, MAX_TOKENIZER, &v->text, &n, e));
	v->tokens = mem_new(n_vocab, sizeof *v->tokens, "tokens", e);
	v->types = mem_new(n_vocab, 1, "token types", e);
	if (!v->tokens || !v->types)
		return ERR_NOMEM;
	v->n_tokens = n_vocab;
	memset(v->types, TOKEN_NORMAL, n_vocab);
	json_open(&p.j, v->text, n, MAX_DEPTH, path);
	read_tokenizer(&p);
	TRY(json_close(&p.j, e));
	apply_added(&p);
	if (p.n_flags)
		log_add(notes,
			"%s: %zu added tokens ask for lstrip, rstrip or single_word, which a GGUF "
			"cannot say: they are matched literally",
			path, p.n_flags);
	TRY(fill_holes(v, path, notes, e));
out:
	free(p.added);
	return st;
}

/* ---- tokenizer_config.json ------------------------------------------------------------------*/

struct token_config {
	struct json j;
	struct str bos, eos, pad;	/* p NULL where not given */
	struct str chat_template;
	bool template_list;
};

/* null, "text" or { "content": "text", ... } */
static void read_special(struct token_config *c, struct str *s)
{
	struct str key;

	switch (json_peek(&c->j)) {
	case JSON_NULL:
		(void)json_null(&c->j);
		break;
	case JSON_OBJECT:
		(void)json_object(&c->j);
		while (json_key(&c->j, &key))
			if (str_is(key, "content"))
				(void)json_string(&c->j, s);
			else
				json_skip(&c->j);
		break;
	default:
		(void)json_string(&c->j, s);
	}
}

static void read_flag(struct token_config *c, bool *flag)
{
	if (json_peek(&c->j) == JSON_NULL)
		(void)json_null(&c->j);
	else
		(void)json_bool(&c->j, flag);
}

static void read_config_fields(struct token_config *c, struct vocab *v)
{
	struct str key;

	if (!json_object(&c->j))
		return;
	while (json_key(&c->j, &key)) {
		if (str_is(key, "add_bos_token"))
			read_flag(c, &v->add_bos);
		else if (str_is(key, "add_eos_token"))
			read_flag(c, &v->add_eos);
		else if (str_is(key, "bos_token"))
			read_special(c, &c->bos);
		else if (str_is(key, "eos_token"))
			read_special(c, &c->eos);
		else if (str_is(key, "pad_token"))
			read_special(c, &c->pad);
		else if (str_is(key, "chat_template") && json_peek(&c->j) == JSON_STRING)
			(void)json_string(&c->j, &c->chat_template);
		else {
			c->template_list |=
				str_is(key, "chat_template") && json_peek(&c->j) == JSON_ARRAY;
			json_skip(&c->j);
		}
	}
}

/* What the tokenizer's own file says of a special token outweighs config.json, as in llama.cpp. */
static void name_special(const struct token_index *x, struct str text, const char *what,
			 uint32_t *id, const char *path, struct log *notes)
{
	char buf[160];
	uint32_t found;

	if (!text.p)
		return;
	found = token_index_find(x, text);
	if (found == TOKEN_NONE)
		log_add(notes, "%s: the %s token '%s' is not in the vocabulary: ignored", path,
			what, vocab_show(buf, text));
	else if (*id != TOKEN_NONE && *id != found)
		log_add(notes,
			"%s: the %s token is id %u here and %u in config.json: the former is used",
			path, what, found, *id);
	if (found != TOKEN_NONE)
		*id = found;
}

static enum status read_tokenizer_config(struct vocab *v, const struct source_file *f,
					 struct log *notes, struct err *e)
{
	struct token_config c = { 0 };
	struct token_index x = { 0 };
	const char *path = f->file.path;
	size_t n;
	enum status st;

	TRY(file_slurp(&f->file, MAX_CONFIG, &v->text2, &n, e));
	json_open(&c.j, v->text2, n, MAX_DEPTH, path);
	read_config_fields(&c, v);
	TRY(json_close(&c.j, e));
	TRY(token_index_build(&x, v->tokens, v->n_tokens, path, e));
	name_special(&x, c.bos, "bos", &v->bos, path, notes);
	name_special(&x, c.eos, "eos", &v->eos, path, notes);
	name_special(&x, c.pad, "padding", &v->pad, path, notes);
	if (c.template_list)
		log_add(notes, "%s: chat_template is a list: not carried over", path);
	v->chat_template = c.chat_template;
out:
	token_index_close(&x);
	return st;
}

enum status vocab_from_files(struct vocab *v, const struct source_file *tokenizer,
			     const struct source_file *tokenizer_config,
			     const struct source_file *chat_template, uint32_t n_vocab,
			     uint32_t bos, uint32_t eos, struct log *notes, struct err *e)
{
	size_t n;
	enum status st;

	*v = (struct vocab){ .bos = bos, .eos = eos, .pad = TOKEN_NONE, .pre = VOCAB_PRE };
	TRY(read_tokenizer_json(v, tokenizer, n_vocab, notes, e));
	if (tokenizer_config)
		TRY(read_tokenizer_config(v, tokenizer_config, notes, e));
	if (chat_template) {
		struct str text;
		TRY(file_slurp(&chat_template->file, MAX_CONFIG, &v->template_text, &n, e));
		text = (struct str){ v->template_text, n };
		if (v->chat_template.n && !str_eq(v->chat_template, text))
			log_add(notes,
				"%s: differs from the chat_template of tokenizer_config.json: it "
				"is the one that is used",
				chat_template->file.path);
		v->chat_template = text;
	}
	TRY(vocab_check(v, tokenizer->file.path, e));
out:
	if (st != OK)
		vocab_close(v);
	return st;
}
