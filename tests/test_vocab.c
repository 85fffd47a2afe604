/* SPDX-License-Identifier: MIT
 *
 * test_vocab.c - vocabularies from tokenizer.json and from GGUF: what is read, and what of a
 * malformed one is refused. A case is the good file with one part replaced, so that nothing else
 * can be the reason; the message must name the part.
 */
#include "format/vocab.h"
#include "tests/test.h"

#include <fcntl.h>
#include <unistd.h>

static char dir[] = "/tmp/ingot-vocab-XXXXXX";

/* ---- a tokenizer.json in parts --------------------------------------------------------------*/

struct parts {
	const char *type, *vocab, *merges, *model_more, *added, *normalizer, *pre, *more;
};
#define SPLIT(re)                                                                                  \
	"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" re                                         \
	"\"},\"behavior\":\"Isolated\",\"invert\":false}"
#define LEVEL                                                                                      \
	"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":"  \
	"false}"
#define SEQUENCE(steps) "{\"type\":\"Sequence\",\"pretokenizers\":[" steps "]}"
#define RE1 "\\\\p{N}{1,3}"
#define RE2 "[\\u4e00-\\u9fa5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+"
#define PUNCT "[!\\\"#$%&'()*+,\\\\-./:;<=>?@\\\\[\\\\\\\\\\\\]^_`{|}~][A-Za-z]+"
#define RE3(cr, lf)                                                                                \
	PUNCT "|[^" cr lf                                                                          \
	      "\\\\p{L}\\\\p{P}\\\\p{S}]?[\\\\p{L}\\\\p{M}]+| ?[\\\\p{P}\\\\p{S}]+[" cr lf "]*"    \
	      "|\\\\s*[" cr lf "]+|\\\\s+(?!\\\\S)|\\\\s+"
#define ESCAPED RE3("\\\\r", "\\\\n")	/* the pattern holds \r */
#define LITERAL RE3("\\r", "\\n")	/* the pattern holds a carriage return */
#define BOS "<\xEF\xBD\x9C" "bos\xEF\xBD\x9C>"

static const struct parts good = {
	"\"BPE\"", "{\"a\":3,\"b\":4,\"ab\":5,\"" BOS "\":0,\"\\u0120\":6}", "[\"a b\"]", "",
	"[{\"id\":0,\"content\":\"" BOS "\",\"special\":true,\"lstrip\":false},"
	"{\"id\":1,\"content\":\"<\xEF\xBD\x9C" "eos\xEF\xBD\x9C>\",\"special\":false},"
	"{\"id\":7,\"content\":\"x\xE2\x96\x81y\",\"special\":false}]",
	"null", SEQUENCE(SPLIT(RE1) "," SPLIT(RE2) "," SPLIT(ESCAPED) "," LEVEL), "",
};

static void write_file(const char *name, const void *text, size_t n)
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "wb");

	CHECK(f && fwrite(text, 1, n, f) == n);
	if (f)
		fclose(f);
}

static bool open_file(struct source_file *s, const char *name)
{
	char path[256];
	struct err e;

	*s = (struct source_file){ .file = FILE_NONE };
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return file_open(&s->file, AT_FDCWD, path, true, path, &e) == OK;
}

static struct log notes;

static enum status load(struct vocab *v, const char *text, const char *config, const char *template,
			uint32_t n_vocab, struct err *e)
{
	struct source_file t, c, j;
	enum status st;

	log_close(&notes);
	write_file("tokenizer.json", text, strlen(text));
	if (config)
		write_file("tokenizer_config.json", config, strlen(config));
	if (template)
		write_file("chat_template.jinja", template, strlen(template));
	CHECK(open_file(&t, "tokenizer.json"));
	CHECK(!config || open_file(&c, "tokenizer_config.json"));
	CHECK(!template || open_file(&j, "chat_template.jinja"));
	st = vocab_from_files(v, &t, config ? &c : NULL, template ? &j : NULL, n_vocab, 0, 1,
			      &notes, e);
	file_close(&t.file);
	if (config)
		file_close(&c.file);
	if (template)
		file_close(&j.file);
	return st;
}

static void make_text(char *out, size_t cap, const struct parts *p)
{
	int n = snprintf(
		out, cap,
		"{\"version\":\"1.0\",\"added_tokens\":%s,\"normalizer\":%s,\"pre_tokenizer\":%s,"
		"\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":%s,\"dropout\":null,"
		"\"unk_token\":null,\"byte_fallback\":false,\"fuse_unk\":false%s,\"vocab\":%s,"
		"\"merges\":%s}%s}",
		p->added, p->normalizer, p->pre, p->type, p->model_more, p->vocab, p->merges,
		p->more);
	CHECK(n > 0 && (size_t)n < cap);
}

static enum status load_parts(struct vocab *v, const struct parts *p, struct err *e)
{
	char text[8192];

	make_text(text, sizeof text, p);
	return load(v, text, NULL, NULL, 10, e);
}

/* The good file with some parts replaced must fail with st and a message that holds word. */
static void refused(struct parts p, enum status want, const char *word)
{
	struct vocab v;
	struct err e = { 0 };
	const char *const *set = (const char *const *)&p, *const *base = (const char *const *)&good;
	const char **fill = (const char **)&p;

	for (size_t i = 0; i < sizeof p / sizeof *set; i++)
		if (!set[i])
			fill[i] = base[i];
	enum status st = load_parts(&v, &p, &e);
	CHECKF(st == want && strstr(e.msg, word), "status %d, wanted %d with '%s': %s", st, want,
	       word, e.msg);
	CHECK(!v.text && !v.tokens && v.n_tokens == 0);
	vocab_close(&v);
}

static void accepted(struct parts p)
{
	struct vocab v;
	struct err e = { 0 };
	const char **fill = (const char **)&p;
	const char *const *base = (const char *const *)&good;

	for (size_t i = 0; i < sizeof p / sizeof *fill; i++)
		if (!fill[i])
			fill[i] = base[i];
	CHECKF(load_parts(&v, &p, &e) == OK, "%s", e.msg);
	vocab_close(&v);
}

/* ---- tokenizer.json -------------------------------------------------------------------------*/

static void reads_good(void)
{
	struct vocab v;
	struct err e = { 0 };
	static const uint8_t types[10] = { TOKEN_CONTROL, TOKEN_CONTROL, TOKEN_UNUSED, TOKEN_NORMAL,
					   TOKEN_NORMAL, TOKEN_NORMAL, TOKEN_NORMAL, TOKEN_USER,
					   TOKEN_UNUSED, TOKEN_UNUSED };

	CHECKF(load_parts(&v, &good, &e) == OK, "%s", e.msg);
	if (!v.tokens)
		return;
	CHECK(v.n_tokens == 10 && memcmp(v.types, types, 10) == 0);
	CHECK(str_is(v.tokens[0], BOS) && str_is(v.tokens[5], "ab"));
	CHECK(str_is(v.tokens[6], "\xC4\xA0") && str_is(v.tokens[7], "x y"));
	CHECK(str_is(v.tokens[2], "[PAD2]") && str_is(v.tokens[9], "[PAD9]"));
	CHECK(v.n_merges == 1 && str_is(v.merges[0], "a b"));
	CHECK(v.bos == 0 && v.eos == 1 && v.pad == TOKEN_NONE && !v.add_bos && !v.add_eos);
	CHECK(strcmp(v.pre, "joyai-llm") == 0 && v.chat_template.n == 0);
	CHECK(notes.n_lines == 1 && strstr(notes.text, "3 ids have no token (the first is 2)"));
	vocab_close(&v);
	vocab_close(&v);
}

static void accepts_variants(void)
{
	struct vocab v;
	struct err e = { 0 };
	struct parts p = good;

	accepted((struct parts){
		.pre = SEQUENCE(SPLIT(RE1) "," SPLIT(RE2) "," SPLIT(LITERAL) "," LEVEL) });
	accepted((struct parts){ .normalizer = "{\"type\":\"Sequence\",\"normalizers\":[]}" });
	accepted((struct parts){
		.model_more = ",\"continuing_subword_prefix\":\"\",\"ignore_merges\":false" });
	accepted((struct parts){ .merges = "[]" });
	accepted((struct parts){ .added = "[]" });
	p.merges = "[[\"a\",\"b\"],[ \"\\u0061b\" , \"\\u0120\" ],\"b a\"]";
	p.vocab = "{\"a\":3,\"b\":4,\"ab\":5,\"ab\\u0120\":2,\"ba\":8,\"\\u0120\":6}";
	CHECKF(load_parts(&v, &p, &e) == OK, "%s", e.msg);
	CHECK(v.n_merges == 3 && str_is(v.merges[0], "a b") && str_is(v.merges[1], "ab \xC4\xA0") &&
	      str_is(v.merges[2], "b a"));
	vocab_close(&v);
}

static void refuses_vocab(void)
{
	char big[4096];

	refused((struct parts){ .type = "\"WordPiece\"" }, ERR_UNSUPPORTED, "'WordPiece'");
	refused((struct parts){ .vocab = "{\"a\":-1}" }, ERR_FORMAT, "");
	refused((struct parts){ .vocab = "{\"a\":1.5}" }, ERR_FORMAT, "");
	refused((struct parts){ .vocab = "{\"a\":2147483648}" }, ERR_FORMAT, "2147483648");
	refused((struct parts){ .vocab = "{\"a\":18446744073709551616}" }, ERR_FORMAT, "");
	refused((struct parts){ .vocab = "{\"a\":10}" }, ERR_FORMAT, "10 embedding rows");
	refused((struct parts){ .vocab = "{\"a\":3,\"b\":3}" }, ERR_FORMAT, "same id 3");
	refused((struct parts){ .vocab = "{\"a\":3,\"a\":4}" }, ERR_FORMAT, "");
	refused((struct parts){ .vocab = "{\"a\":3,\"b\":4,\"ab\":5,\"\":6}" }, ERR_FORMAT,
		"empty");
	refused((struct parts){ .vocab = "{\"a\":3,\"b\":4,\"ab\":5,\"\\ud800\":6}" }, ERR_FORMAT,
		"");
	refused((struct parts){ .vocab = "{\"a\":3,\"b\":4,\"ab\":5,\"\\u0000\":6}" }, ERR_FORMAT,
		"");
	refused((struct parts){ .vocab = "[]" }, ERR_FORMAT, "");
	refused((struct parts){ .vocab = "{\"a\":3,\"b\":4,\"ab\":5,\"[PAD9]\":6}" }, ERR_FORMAT,
		"same text");
	snprintf(big, sizeof big, "{\"a\":3,\"b\":4,\"ab\":5,\"%01025d\":6}", 0);
	refused((struct parts){ .vocab = big }, ERR_UNSUPPORTED, "1025 bytes");
	refused((struct parts){ .model_more = ",\"ignore_merges\":true" }, ERR_UNSUPPORTED,
		"'ignore_merges'");
	refused((struct parts){ .model_more = ",\"end_of_word_suffix\":\"</w>\"" }, ERR_UNSUPPORTED,
		"'end_of_word_suffix'");
}

static void refuses_merges(void)
{
	refused((struct parts){ .merges = "[\"a q\"]" }, ERR_FORMAT, "merge 0 ('a q')");
	refused((struct parts){ .merges = "[\"a b\",\"q a\"]" }, ERR_FORMAT, "merge 1 ('q a')");
	refused((struct parts){ .merges = "[\"b a\"]" }, ERR_FORMAT, "merge 0 ('b a')");
	refused((struct parts){ .merges = "[\"ab\"]" }, ERR_FORMAT, "merge 0");
	refused((struct parts){ .merges = "[\"a  b\"]" }, ERR_FORMAT, "merge 0");
	refused((struct parts){ .merges = "[\" b\"]" }, ERR_FORMAT, "merge 0");
	refused((struct parts){ .merges = "[\"\"]" }, ERR_FORMAT, "merge 0");
	refused((struct parts){ .merges = "[[\"a\"]]" }, ERR_FORMAT, "pair");
	refused((struct parts){ .merges = "[[\"a\",\"b\",\"c\"]]" }, ERR_FORMAT, "pair");
	refused((struct parts){ .merges = "[[\"a\",7]]" }, ERR_FORMAT, "");
	refused((struct parts){ .merges = "[[\"a \",\"b\"]]" }, ERR_FORMAT, "space");
	refused((struct parts){ .merges = "{}" }, ERR_FORMAT, "");
	refused((struct parts){ .merges = "[7]" }, ERR_FORMAT, "");
}

static void refuses_added(void)
{
	refused((struct parts){ .added = "[{\"id\":3,\"content\":\"z\"}]" }, ERR_FORMAT,
		"same id 3");
	refused((struct parts){ .added = "[{\"id\":10,\"content\":\"z\"}]" }, ERR_FORMAT, "'z'");
	refused((struct parts){ .added = "[{\"id\":8,\"content\":\"a\"}]" }, ERR_FORMAT,
		"same text");
	refused((struct parts){ .added = "[{\"id\":8,\"content\":\"\"}]" }, ERR_FORMAT, "empty");
	refused((struct parts){ .added = "[{\"content\":\"z\"}]" }, ERR_FORMAT, "added token");
	refused((struct parts){ .added = "[{\"id\":8}]" }, ERR_FORMAT, "added token");
	refused((struct parts){ .added = "[8]" }, ERR_FORMAT, "");
}

static void refuses_pre(void)
{
	enum status u = ERR_UNSUPPORTED;

	refused((struct parts){ .pre = "null" }, u, "pre_tokenizer");
	refused((struct parts){ .pre = LEVEL }, u, "ByteLevel");
	refused((struct parts){ .pre = SEQUENCE("") }, u, "0 steps");
	refused((struct parts){ .pre = SEQUENCE(SPLIT(RE1) "," SPLIT(RE2) "," SPLIT(ESCAPED)) }, u,
		"3 steps");
	refused((struct parts){ .pre = SEQUENCE(SPLIT(RE1) "," SPLIT(RE2) "," SPLIT(
					ESCAPED) "," LEVEL "," LEVEL) },
		u, "step 5");
	refused((struct parts){ .pre = SEQUENCE(
					SPLIT(RE2) "," SPLIT(RE1) "," SPLIT(ESCAPED) "," LEVEL) },
		u, "step 1");
	refused((struct parts){ .pre = SEQUENCE(SPLIT("(a+)+$") "," SPLIT(RE2) "," SPLIT(
					ESCAPED) "," LEVEL) },
		u, "'(a+)+$'");
	refused((struct parts){ .pre = SEQUENCE(SPLIT(RE1) "," SPLIT(RE2) "," SPLIT(
					ESCAPED "|x") "," LEVEL) },
		u, "step 3");
	refused((struct parts){ .pre = SEQUENCE(
					SPLIT(RE1) "," SPLIT(RE2) "," SPLIT("\\n") "," LEVEL) },
		u, "step 3");
	refused((struct parts){ .pre = SEQUENCE(SPLIT("\\\\p{N}{1,") "," SPLIT(RE2) "," SPLIT(
					ESCAPED) "," LEVEL) },
		u, "step 1");
	refused((struct parts){ .pre = SEQUENCE("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" RE1
		"\"},\"behavior\":\"Removed\",\"invert\":false}") }, u, "Removed");
	refused((struct parts){ .pre = SEQUENCE("{\"type\":\"Split\",\"pattern\":{\"String\":\"" RE1
		"\"},\"behavior\":\"Isolated\",\"invert\":false}") }, u, "String");
	refused((struct parts){ .pre = SEQUENCE("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" RE1
		"\"},\"behavior\":\"Isolated\",\"invert\":true}") }, u, "inverted");
	refused((struct parts){ .pre = SEQUENCE(SPLIT(RE1) "," SPLIT(RE2) "," SPLIT(
					ESCAPED) ",{\"type\":\"ByteLevel\",\"add_prefix_space\":"
						 "true,\"use_regex\":false}") },
		u, "add_prefix_space");
	refused((struct parts){ .pre = SEQUENCE(SPLIT(RE1) "," SPLIT(RE2) "," SPLIT(ESCAPED)
		",{\"type\":\"ByteLevel\",\"add_prefix_space\":false}") }, u, "use_regex");
	refused((struct parts){ .normalizer = "{\"type\":\"NFC\"}" }, u, "'NFC'");
	refused(
		(struct parts){
			.normalizer =
				"{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}]}" },
		u, "normalizer");
}

/* Any prefix of a good file is refused, and a byte that is not there is never read (ASan). */
static void refuses_truncated(void)
{
	char text[8192], cut[8192];
	struct vocab v;
	struct err e = { 0 };

	make_text(text, sizeof text, &good);
	for (size_t n = 0; n < strlen(text); n += 1 + n / 50) {
		memcpy(cut, text, n);
		cut[n] = 0;
		CHECKF(load(&v, cut, NULL, NULL, 10, &e) != OK, "prefix of %zu bytes", n);
	}
	CHECK(load(&v, "[]", NULL, NULL, 10, &e) == ERR_FORMAT);
	CHECK(load(&v, "{}", NULL, NULL, 10, &e) == ERR_FORMAT && strstr(e.msg, "no model"));
	CHECK(load(&v, "{\"model\":{}}", NULL, NULL, 10, &e) == ERR_FORMAT);
	CHECK(load(&v, text, NULL, NULL, 0, &e) == ERR_UNSUPPORTED);
	CHECK(load(&v, text, NULL, NULL, UINT32_MAX, &e) == ERR_UNSUPPORTED);
}

static void reads_config(void)
{
	char text[8192];
	struct vocab v;
	struct err e = { 0 };

	make_text(text, sizeof text, &good);
	CHECK(load(&v, text,
		   "{\"add_bos_token\":true,\"add_eos_token\":null,\"bos_token\":{\"content\":"
		   "\"" BOS "\",\"lstrip\":false},\"eos_token\":\"b\",\"pad_token\":\"a\",\"chat_"
			    "template\":\"T\\n\"}",
		   NULL, 10, &e) == OK);
	CHECK(v.add_bos && !v.add_eos && v.bos == 0 && v.eos == 4 && v.pad == 3);
	CHECK(str_is(v.chat_template, "T\n"));
	CHECK(notes.text && strstr(notes.text, "the eos token is id 4 here and 1 in config.json"));
	vocab_close(&v);
	CHECK(load(&v, text, "{\"pad_token\":\"nobody\",\"chat_template\":\"T\"}", "file", 10,
		   &e) == OK);
	CHECK(v.pad == TOKEN_NONE && str_is(v.chat_template, "file"));
	CHECK(notes.text && strstr(notes.text, "'nobody'") && strstr(notes.text, "differs"));
	vocab_close(&v);
	CHECK(load(&v, text, "{\"chat_template\":[{\"name\":\"x\",\"template\":\"y\"}]}", NULL, 10,
		   &e) == OK);
	CHECK(v.chat_template.n == 0 && notes.text && strstr(notes.text, "list"));
	vocab_close(&v);
	CHECK(load(&v, text, "{\"add_bos_token\":1}", NULL, 10, &e) == ERR_FORMAT);
	CHECK(load(&v, text, "{\"bos_token\":7}", NULL, 10, &e) == ERR_FORMAT);
	CHECK(load(&v, text, "{", NULL, 10, &e) == ERR_FORMAT);
}

/* ---- GGUF -----------------------------------------------------------------------------------*/

static enum status read_back(struct vocab *v, struct gguf_writer *w, struct err *e)
{
	struct gguf g = { 0 };
	struct source_file f = { .file = FILE_NONE };
	uint64_t size;
	enum status st;

	*v = (struct vocab){ 0 };
	TRY(gguf_writer_finish(w, &size, e));
	write_file("v.gguf", w->buf, w->len);
	CHECK(open_file(&f, "v.gguf"));
	TRY(gguf_read(&g, &f.file, &notes, e));
	st = vocab_from_gguf(v, &g, "v.gguf", e);
out:
	gguf_close(&g);		/* the vocabulary must not need it any more */
	file_close(&f.file);
	gguf_writer_close(w);
	return st;
}

static void start(struct gguf_writer *w)
{
	gguf_writer_open(w, 32);
	gguf_put_u32(w, "general.alignment", 32);
	gguf_put_str(w, "general.architecture", STR("deepseek4"));
}

static void gguf_round_trip(void)
{
	char text[8192];
	struct vocab a, b;
	struct gguf_writer w;
	struct err e = { 0 };

	make_text(text, sizeof text, &good);
	CHECK(load(&a, text, "{\"pad_token\":\"a\",\"add_eos_token\":true}", "TEMPLATE", 10, &e) ==
	      OK);
	start(&w);
	vocab_to_gguf(&a, &w);
	CHECKF(read_back(&b, &w, &e) == OK, "%s", e.msg);
	CHECK(b.n_tokens == a.n_tokens && b.n_merges == a.n_merges);
	for (uint32_t i = 0; b.tokens && i < a.n_tokens; i++)
		CHECK(str_eq(a.tokens[i], b.tokens[i]) && a.types[i] == b.types[i]);
	CHECK(b.merges && str_is(b.merges[0], "a b"));
	CHECK(b.bos == 0 && b.eos == 1 && b.pad == 3 && !b.add_bos && b.add_eos);
	CHECK(str_is(b.chat_template, "TEMPLATE") && strcmp(b.pre, "joyai-llm") == 0);
	vocab_close(&a);
	vocab_close(&b);
}

/* Keys as vocab_to_gguf writes them, each of which a case may replace. */
enum { N_TOK = 4 };
struct keys {
	const char *model, *pre;
	bool no_tokens, tokens_u32, types_u8, merges_u32, scores_u8, bad_bool, template_u32, long_key;
	int n_types;				/* 0: N_TOK */
	int32_t type2;				/* of token 2; 0: normal */
	struct str token2, merge;		/* p NULL: the good one */
	int64_t bos, fim;			/* 0: a good one */
	bool bos_text;
};

static void put_lists(struct gguf_writer *w, const struct keys *k)
{
	uint8_t types[4 * 8] = { 0 };
	int n_types = k->n_types ? k->n_types : N_TOK;

	for (int i = 0; i < 8; i++)
		store_le(types + 4 * i, 4, i == 2 && k->type2 ? (uint32_t)k->type2 : TOKEN_NORMAL);
	if (k->tokens_u32) {
		gguf_put_array(w, "tokenizer.ggml.tokens", GGUF_U32, NULL, N_TOK);
	} else if (!k->no_tokens) {
		gguf_put_strings(w, "tokenizer.ggml.tokens", N_TOK);
		gguf_put_item(w, STR("a"));
		gguf_put_item(w, STR("b"));
		gguf_put_item(w, k->token2.p ? k->token2 : STR("ab"));
		gguf_put_item(w, STR("c"));
	}
	gguf_put_array(w, "tokenizer.ggml.token_type", k->types_u8 ? GGUF_U8 : GGUF_I32, types,
		       (uint64_t)n_types);
	if (k->merges_u32) {
		gguf_put_array(w, "tokenizer.ggml.merges", GGUF_U32, NULL, 1);
		return;
	}
	gguf_put_strings(w, "tokenizer.ggml.merges", 1);
	gguf_put_item(w, k->merge.p ? k->merge : STR("a b"));
}

static enum status read_keys(struct keys k, struct err *e)
{
	struct gguf_writer w;
	struct vocab v;
	const char *model = k.model ? k.model : "gpt2", *pre = k.pre ? k.pre : "joyai-llm";

	start(&w);
	gguf_put_str(&w, "tokenizer.ggml.model", (struct str){ model, strlen(model) });
	gguf_put_str(&w, "tokenizer.ggml.pre", (struct str){ pre, strlen(pre) });
	put_lists(&w, &k);
	if (k.scores_u8)
		gguf_put_array(&w, "tokenizer.ggml.scores", GGUF_U8, NULL, N_TOK);
	if (k.bos_text)
		gguf_put_str(&w, "tokenizer.ggml.bos_token_id", STR("0"));
	else
		gguf_put_u32(&w, "tokenizer.ggml.bos_token_id", (uint32_t)k.bos);
	gguf_put_u32(&w, "tokenizer.ggml.fim_pre_token_id", (uint32_t)k.fim);
	if (k.long_key)
		gguf_put_u32(&w, "tokenizer.ggml.a_name_that_is_much_longer_than_any_that_a_tokenizer_has_for_one_of_its_tokens_that_mean_"
			     "something_of_their_own_token_id", 1);
	if (k.bad_bool)
		gguf_put_u32(&w, "tokenizer.ggml.add_bos_token", 1);
	if (k.template_u32)
		gguf_put_u32(&w, "tokenizer.chat_template", 1);
	enum status st = read_back(&v, &w, e);
	CHECK(st == OK ? v.n_tokens == N_TOK && v.eos == TOKEN_NONE : v.tokens == NULL);
	vocab_close(&v);
	return st;
}

static void gguf_refusals(void)
{
	static const struct { struct keys k; enum status st; const char *word; } cases[] = {
		{ { 0 }, OK, "" },
		{ { .model = "llama" }, ERR_UNSUPPORTED, "'llama'" },
		{ { .long_key = true }, ERR_UNSUPPORTED, "a tokenizer key of 135 bytes" },
		{ { .pre = "qwen2" }, ERR_UNSUPPORTED, "'qwen2'" },
		{ { .no_tokens = true }, ERR_FORMAT, "tokens: the key is missing" },
		{ { .tokens_u32 = true }, ERR_FORMAT, "not an array of strings" },
		{ { .types_u8 = true }, ERR_FORMAT, "token_type" },
		{ { .n_types = 3 }, ERR_FORMAT, "token_type: 3 entries" },
		{ { .n_types = 5 }, ERR_FORMAT, "token_type: 5 entries" },
		{ { .type2 = 7 }, ERR_FORMAT, "type 7" },
		{ { .type2 = -1 }, ERR_FORMAT, "type -1" },
		{ { .type2 = 6 }, ERR_UNSUPPORTED, "type 6" },
		{ { .merges_u32 = true }, ERR_FORMAT, "merges: not an array" },
		{ { .merge = { "ab", 2 } }, ERR_FORMAT, "merge 0" },
		{ { .merge = { "a b c", 5 } }, ERR_FORMAT, "merge 0" },
		{ { .merge = { "a c", 3 } }, ERR_FORMAT, "merge 0" },
		{ { .merge = { "", 0 } }, ERR_FORMAT, "merge 0" },
		{ { .merge = { " ", 1 } }, ERR_FORMAT, "merge 0" },
		{ { .token2 = { "a", 1 } }, ERR_FORMAT, "same text" },
		{ { .token2 = { "", 0 } }, ERR_FORMAT, "empty" },
		{ { .token2 = { "\xFF\xFE", 2 } }, ERR_FORMAT, "UTF-8" },
		{ { .token2 = { "x\0y", 3 } }, ERR_FORMAT, "NUL" },
		{ { .scores_u8 = true }, ERR_FORMAT, "scores" },
		{ { .bos = 4 }, ERR_FORMAT, "bos_token_id: id 4" },
		{ { .bos = UINT32_MAX }, ERR_FORMAT, "bos_token_id" },
		{ { .bos_text = true }, ERR_FORMAT, "bos_token_id: not" },
		{ { .fim = 9 }, ERR_FORMAT, "fim_pre_token_id: id 9" },
		{ { .bad_bool = true }, ERR_FORMAT, "add_bos_token" },
		{ { .template_u32 = true }, ERR_FORMAT, "chat_template" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct err e = { 0 };
		enum status st = read_keys(cases[i].k, &e);
		CHECKF(st == cases[i].st && strstr(e.msg, cases[i].word), "case %zu: status %d: %s",
		       i, st, e.msg);
	}
}

/* ---- size -----------------------------------------------------------------------------------*/

/* As many tokens as the real model: load time must stay far from its square. */
static void large_vocabulary(void)
{
	enum { N = 129280 };
	size_t cap = N * 24, o = 0;
	char *text = malloc(cap);
	struct vocab v;
	struct err e = { 0 };

	CHECK(text != NULL);
	if (!text)
		return;
	o += (size_t)snprintf(text, cap, "{\"model\":{\"type\":\"BPE\",\"vocab\":{");
	for (unsigned i = 0; i < N; i++)
		o += (size_t)snprintf(text + o, cap - o, "%s\"%07x\":%u", i ? "," : "", i * 7919u,
				      i);
	snprintf(text + o, cap - o, "},\"merges\":[]},\"pre_tokenizer\":%s}", good.pre);
	CHECKF(load(&v, text, NULL, NULL, N, &e) == OK, "%s", e.msg);
	CHECK(v.n_tokens == N && str_is(v.tokens[1], "0001eef"));
	vocab_close(&v);
	free(text);
}

int main(void)
{
	static const char *const names[] = { "tokenizer.json", "tokenizer_config.json",
					     "chat_template.jinja", "v.gguf" };

	if (!mkdtemp(dir))
		return 1;
	RUN(reads_good);
	RUN(accepts_variants);
	RUN(refuses_vocab);
	RUN(refuses_merges);
	RUN(refuses_added);
	RUN(refuses_pre);
	RUN(refuses_truncated);
	RUN(reads_config);
	RUN(gguf_round_trip);
	RUN(gguf_refusals);
	RUN(large_vocabulary);
	log_close(&notes);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char path[256];
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
	return test_done();
}
