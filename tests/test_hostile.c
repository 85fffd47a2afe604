/* SPDX-License-Identifier: MIT
 *
 * test_hostile.c - what stands beside the shards, forged: index, config, tokenizer, lists of digests,
 * bundles, and the files themselves. Each case is the sample with one place changed, so that nothing
 * else can be the reason, given to the program: it has to end with exit code 3 (or what the row says),
 * name the reason, and spend neither time nor memory.
 *
 * IX, CF, TK and ST number the classes of hostile input that the tests of this repository go through.
 */
#include "format/sign.h"
#include "tests/hostile.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
enum { ROOM = 1 << 20 };

/* find (NULL: the whole file) becomes put. code 0: taken, with word among the warnings. */
struct row { const char *id, *find, *put; int code; const char *word; };

static char dir[] = "/tmp/ingot-hostile-XXXXXX";

static char *path_of(const char *name)
{
	static char ring[4][300];
	static unsigned next;
	char *p = ring[next++ % 4];

	snprintf(p, sizeof ring[0], "%s/%s", dir, name);
	return p;
}

static size_t slurp(const char *path, char *text, size_t cap)
{
	FILE *f = fopen(path, "rb");
	size_t n = f ? fread(text, 1, cap, f) : 0;

	if (!f || n == cap) {
		perror(path);
		exit(1);
	}
	text[n] = 0;
	fclose(f);
	return n;
}

static void spit(const char *name, const void *text, size_t n)
{
	FILE *f = fopen(path_of(name), "wb");

	if (!f || fwrite(text, 1, n, f) != n || fclose(f) != 0) {
		perror(name);
		exit(1);
	}
}

static void sample_file(const char *name, char *text, size_t *n)
{
	char path[200];

	snprintf(path, sizeof path, "samples/v4-tiny/%s", name);
	*n = slurp(path, text, ROOM);
}

static const char *const inspect[] = { "inspect", dir, NULL };

static void count(int code)
{
	if (code)
		hostile.n_bad++;
	else
		hostile.n_good++;
}

static void run_row(const struct row *r, const char *const *args)
{
	count(r->code);
	hostile_run(r->id, r->code, r->word, args);
}

/* Every row on that file of the sample, which is as it was in the end. */
static void run_rows(const char *name, const struct row *r, size_t n_rows)
{
	static char text[ROOM + 1], changed[2 * ROOM];
	size_t n, out;

	sample_file(name, text, &n);
	for (; n_rows-- > 0; r++) {
		const char *at = r->find ? strstr(text, r->find) : text;
		size_t gone = r->find ? strlen(r->find) : n, come = strlen(r->put);

		CHECKF(at, "%s: the sample has no %s", r->id, r->find);
		if (!at)
			continue;
		memcpy(changed, text, out = (size_t)(at - text));
		memcpy(changed + out, r->put, come);
		memcpy(changed + out + come, at + gone, n - out - gone);
		spit(name, changed, n - gone + come);
		run_row(r, inspect);
	}
	spit(name, text, n);
}

/* ---- config.json -----------------------------------------------------------------------------*/

#define CF(id, find, put, word) { "CF-" id, find, put, 3, word }

static const struct row config_rows[] = {
	CF("01", "\"hidden_size\": 256", "\"hidden_size\": 0", "hidden_size must be"),
	CF("01", "\"hidden_size\": 256", "\"hidden_size\": -256", "hidden_size must be"),
	CF("01", "\"hidden_size\": 256", "\"hidden_size\": 256.5", "hidden_size must be"),
	CF("01", "\"hidden_size\": 256", "\"hidden_size\": 4294967552", "hidden_size must be"),
	CF("01", "\"hidden_size\": 256,", "", "hidden_size is missing"),
	CF("01", "\"num_hidden_layers\": 4", "\"num_hidden_layers\": 0", "num_hidden_layers must be"),
	CF("01", "\"num_hidden_layers\": 4", "\"num_hidden_layers\": 513", "num_hidden_layers must be"),
	CF("01", "\"num_hidden_layers\": 4", "\"num_hidden_layers\": 18446744073709551615", "num_hidden_layers must be"),
	CF("01", "\"num_hidden_layers\": 4,", "", "num_hidden_layers is missing"),
	CF("01", "\"num_attention_heads\": 4", "\"num_attention_heads\": 0", "num_attention_heads must be"),
	CF("01", "\"num_attention_heads\": 4", "\"num_attention_heads\": 4.25", "num_attention_heads must be"),
	CF("01", "\"num_attention_heads\": 4", "\"num_attention_heads\": 3", "head"),
	CF("01", "\"n_routed_experts\": 8", "\"n_routed_experts\": 0", "n_routed_experts must be"),
	CF("01", "\"n_routed_experts\": 8", "\"n_routed_experts\": -1", "n_routed_experts must be"),
	CF("01", "\"n_routed_experts\": 8", "\"n_routed_experts\": 4294967295", "n_routed_experts must be"),
	CF("01", "\"n_routed_experts\": 8,", "", "n_routed_experts is missing"),
	CF("01", "\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 0", "num_experts_per_tok must be"),
	CF("01", "\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 9", "expert"),
	CF("01", "\"vocab_size\": 1024", "\"vocab_size\": 0", "vocab_size must be"),
	CF("01", "\"vocab_size\": 1024", "\"vocab_size\": -1024", "vocab_size must be"),
	CF("01", "\"vocab_size\": 1024,", "", "vocab_size is missing"),
	CF("01", "\"head_dim\": 128", "\"head_dim\": 0", "head_dim must be"),
	CF("01", "\"qk_rope_head_dim\": 32", "\"qk_rope_head_dim\": 31", "rotary"),
	CF("01", "\"qk_rope_head_dim\": 32", "\"qk_rope_head_dim\": 130", "rotary"),
	CF("01", "\"num_hash_layers\": 2", "\"num_hash_layers\": 5", "hash"),
	CF("01", "\"o_groups\": 2", "\"o_groups\": 3", "group"),
	CF("01", "\"o_groups\": 2", "\"o_groups\": 0", "o_groups must be"),
	CF("01", "\"sliding_window\": 128", "\"sliding_window\": 0", "sliding_window must be"),
	CF("01", "\"max_position_embeddings\": 1048576", "\"max_position_embeddings\": 0", "max_position_embeddings must be"),
	CF("01", "\"max_position_embeddings\": 1048576", "\"max_position_embeddings\": 4294967296",
	   "max_position_embeddings must be"),
	CF("01", "\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": 0", "rms_norm_eps must be"),
	CF("01", "\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": -1e-06", "rms_norm_eps must be"),
	CF("01", "    128,\n    4,", "    128,\n    5,", "compress_ratios has 5"),
	CF("01", "    128,\n    4,\n    0\n", "    128\n", "compress_ratios"),
	CF("02", "\"rope_theta\": 10000", "\"rope_theta\": 1e9999", "beyond the range"),
	CF("02", "\"rope_theta\": 10000", "\"rope_theta\": NaN", NULL),
	CF("02", "\"rope_theta\": 10000", "\"rope_theta\": -Infinity", NULL),
	CF("02", "\"rope_theta\": 10000", "\"rope_theta\": \"10000\"", "rope_theta must be"),
	CF("02", "\"hidden_size\": 256", "\"hidden_size\": \"256\"", "hidden_size must be"),
	CF("02", "\"hidden_size\": 256", "\"hidden_size\": [256]", "hidden_size must be"),
	CF("02", "\"hidden_size\": 256", "\"hidden_size\": true", "hidden_size must be"),
	CF("02", "\"hidden_size\": 256", "\"hidden_size\": 0256", "leading zero"),
	CF("02", "\"rope_theta\": 10000", "\"rope_theta\": 0", "rope_theta must be"),
	CF("03", "\"vocab_size\": 1024", "\"vocab_size\": 2147483648", "vocab_size must be"),
	CF("04", "\"vocab_size\": 1024", "\"vocab_size\": 1023", NULL),
	CF("04", "\"hidden_size\": 256", "\"hidden_size\": 512", "mis-shaped tensor"),
	CF("04", "\"q_lora_rank\": 128", "\"q_lora_rank\": 64", "mis-shaped tensor"),
	CF("04", "\"moe_intermediate_size\": 96", "\"moe_intermediate_size\": 64", "mis-shaped tensor"),
	CF("04", "\"index_head_dim\": 64", "\"index_head_dim\": 32", "mis-shaped tensor"),
	CF("05", "\"n_routed_experts\": 8", "\"n_routed_experts\": 9", "missing tensor: layers.0.ffn.experts.8."),
	CF("05", "\"n_routed_experts\": 8", "\"n_routed_experts\": 7", "layers.0.ffn.experts.7."),
	CF("06", "DeepseekV4ForCausalLM", "DeepseekV3ForCausalLM", "'DeepseekV3ForCausalLM' is not supported"),
	CF("06", "DeepseekV4ForCausalLM", "\\u001b[2J", "is not supported"),
	CF("06", "DeepseekV4ForCausalLM", "deepseek_v4", "is not supported"),
	CF("06", "\"quant_method\": \"fp8\"", "\"quant_method\": \"gptq\"", "quant_method"),
	CF("06", "\"scoring_func\": \"sqrtsoftplus\"", "\"scoring_func\": \"softmax\"", "scoring_func"),
	CF("08", "      128,\n      128\n", "      0,\n      128\n", "weight_block_size"),
	CF("08", "      128,\n      128\n", "      128\n", "weight_block_size"),
	CF("08", "      128,\n      128\n", "      128,\n      -128\n", "weight_block_size"),
	CF("09", "\"hidden_size\": 256", "\"hidden_size\": 256, \"hidden_size\": 256", "twice"),
	CF("09", "\"hidden_size\": 256", "\"hidden_size\": 256, \"hidden\\u005fsize\": 512", "twice"),
	CF("09", "\"factor\": 16", "\"factor\": 16, \"factor\": 1", "twice"),
	CF("11 empty", NULL, "", NULL), CF("11 [", NULL, "[]", "is a JSON object"), CF("11 null", NULL, "null", "is a JSON object"),
	CF("11 cut", NULL, "{\"architectures\": [\"DeepseekV4ForCausalLM\"", NULL),
	CF("11 pointer", NULL, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1603\n", NULL),
	CF("11 page", NULL, "<!DOCTYPE html>", NULL), CF("11 BOM", NULL, "\xEF\xBB\xBF{}", NULL),
	CF("11 text after", "\"transformers_version\": \"4.57.1\"\n}", "\"x\": 1\n}}", "after the end"),
	CF("11 UTF-8", "4.57.1", "\xC0\xAF", "UTF-8"), CF("11 NUL", "4.57.1", "\\u0000", "u0000"),
	/* a program named in a configuration is no business of ours: never run, never fetched */
	{ "CF-07", "\"use_cache\": true", "\"auto_map\": {\"AutoConfig\": \"evil.Config\"}, \"trust_remote_code\": true", 0, "auto_map" },
	{ "case of keys", "\"use_cache\": true", "\"HIDDEN_SIZE\": 7", 0, NULL },
};

static void test_config(void)
{
	run_rows("config.json", config_rows, COUNT(config_rows));
}

/* ---- model.safetensors.index.json ------------------------------------------------------------*/

#define ONE "model-00001-of-00003.safetensors"
#define IX(id, put, word) { "IX-" id, "\"embed.weight\": \"" ONE "\"", "\"embed.weight\": " put, 3, word }

static const struct row index_rows[] = {
	IX("01", "\"../" ONE "\"", "plain name"), IX("01", "\"..\\u002f" ONE "\"", "plain name"),
	IX("02", "\"/etc/passwd\"", "plain name"), IX("02", "\"/" ONE "\"", "plain name"),
	IX("03", "\"a/../../" ONE "\"", "plain name"),
	IX("04", "\"C:\\\\x.safetensors\"", "plain name"), IX("04", "\"..\\\\x.safetensors\"", "plain name"),
	IX("04", "\"\\\\\\\\host\\\\x.safetensors\"", "plain name"),
	IX("05", "\"./" ONE "\"", "plain name"), IX("05", "\"a//" ONE "\"", "plain name"), IX("05", "\"" ONE "/\"", "plain name"),
	IX("06", "\"\"", "plain name"), IX("06", "\".\"", "plain name"), IX("06", "\"..\"", "plain name"),
	IX("07", "\"a\\u0000.safetensors\"", "u0000"), IX("07", "\"a\\n.safetensors\"", "plain name"),
	IX("07", "\"\\u001b[2J.safetensors\"", "plain name"), IX("07", "\"\xFF.safetensors\"", "UTF-8"),
	IX("07", "\"\xC3\xA9.safetensors\"", "plain name"), IX("07", "\"a b.safetensors\"", "plain name"),
	IX("09", "\"config.json\"", "plain name"), IX("09", "\"" ONE ".bin\"", "plain name"),
	IX("09", "\".safetensors\"", "plain name"),
	IX("11", "\"sub/" ONE "\"", "plain name"),
	IX("12", "null", "string is expected"), IX("12", "7", "string is expected"), IX("12", "[\"" ONE "\"]", "string is expected"),
	IX("12", "{\"a\":\"b\"}", "string is expected"),
	{ "IX-12", "\"weight_map\": {", "\"weight_map\": [], \"x\": {", 3, "object is expected" },
	{ "IX-12", "\"weight_map\": {", "\"weight_map\": null, \"x\": {", 3, "object is expected" },
	{ "IX-12", "\"weight_map\": {", "\"weights\": {", 3, "no weight_map" },
	{ "IX-12", NULL, "{\"weight_map\": {}}", 3, "no weight_map" },
	{ "IX-12", NULL, "{}", 3, "no weight_map" }, { "IX-12", NULL, "[]", 3, "object is expected" },
	{ "IX-12", NULL, "", 3, NULL }, { "IX-12 cut", NULL, "{\"weight_map\": {\"embed.weight\": \"" ONE "\"", 3, NULL },
	IX("13", "\"model-00002-of-00003.safetensors\"", "embed.weight"),
	{ "IX-13", "\"embed.weight\"", "\"embed.height\"", 3, "does not hold it" },
	{ "IX-14", "\"embed.weight\": \"" ONE "\",", "", 3, "embed.weight" },
	{ "IX-16", "\"embed.weight\":", "\"embed.weight\": \"" ONE "\", \"embed.weight\":", 3, "twice" },
	{ "IX-16", "\"embed.weight\":", "\"embed.weight\": \"" ONE "\", \"\\u0065mbed.weight\":", 3, "twice" },
	{ "IX-16", "\"weight_map\":", "\"weight_map\": {}, \"weight_map\":", 3, "twice" },
	IX("17", "\"model-00004-of-00003.safetensors\"", "missing"),
	{ "IX-22", NULL, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 30320\n", 3, "git-LFS pointer" },
	{ "IX-23 page", NULL, "<html></html>", 3, NULL },
	{ "IX-23 text after", "\n }\n}", "\n }\n}{}", 3, "after the end" },
	{ "IX-19", "\"total_size\": 6244214", "\"total_size\": 6244215", 0, "total_size" },
	{ "IX-19 beyond 64 bits", "\"total_size\": 6244214", "\"total_size\": 18446744073709551616", 3, "64 bits" },
};

static void test_index(void)
{
	run_rows("model.safetensors.index.json", index_rows, COUNT(index_rows));
}

struct buffer { char *p; size_t n, cap; };

static void PRINTF(2, 3) say(struct buffer *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	b->n += (size_t)vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
	va_end(ap);
	if (b->n >= b->cap)
		abort();
}

/* n tensors, each in a shard of its own or all in one; the index that says so must be refused for word. */
static void many_names(struct buffer *b, const char *id, int n, bool apart, const char *word)
{
	b->n = 0;
	say(b, "{\"weight_map\": {");
	for (int i = 0; i < n; i++)
		if (apart)
			say(b, "%s\"t%d\": \"m%d.safetensors\"", i ? "," : "", i, i);
		else
			say(b, "%s\"t%d\": \"" ONE "\"", i ? "," : "", i);
	say(b, "}}");
	spit("model.safetensors.index.json", b->p, b->n);
	run_row(&(struct row){ id, NULL, NULL, 3, word }, inspect);
}

/* A name of 256 bytes, more shards than are read, an index deeper than is read, and one of 14 MB. */
static void test_large_index(void)
{
	static char text[ROOM + 1];
	struct buffer b = { .cap = (size_t)32 << 20 };
	size_t n;

	b.p = malloc(b.cap);
	if (!b.p)
		abort();
	sample_file("model.safetensors.index.json", text, &n);
	say(&b, "{\"weight_map\": {\"embed.weight\": \"%0244d.safetensors\"}}", 0);
	spit("model.safetensors.index.json", b.p, b.n);
	run_row(&(struct row){ "IX-08", NULL, NULL, 3, "plain name" }, inspect);
	many_names(&b, "IX-21 shards", 5000, true, "4096");
	many_names(&b, "IX-21 names", 300000, false, "does not hold it");
	b.n = 0;
	say(&b, "{\"x\": ");
	memset(b.p + b.n, '[', 100000);
	spit("model.safetensors.index.json", b.p, b.n + 100000);
	run_row(&(struct row){ "IX-23 depth", NULL, NULL, 3, "deeper than" }, inspect);
	spit("model.safetensors.index.json", text, n);
	free(b.p);
}

/* ---- tokenizer.json --------------------------------------------------------------------------*/

#define TK(id, find, put, word) { "TK-" id, find, put, 3, word }
#define SECOND "\"h e\","	/* a merge */

static const struct row tokenizer_rows[] = {
	TK("01", NULL, "{\"version\": \"1.0\", \"added_tokens\": [", NULL), TK("01", NULL, "", NULL),
	TK("02", NULL, "[]", NULL), TK("02", NULL, "null", NULL), TK("02", NULL, "\"BPE\"", NULL), TK("02", NULL, "{}", NULL),
	TK("03", "\"type\": \"BPE\"", "\"type\": \"Unigram\"", "Unigram"), TK("03", "\"type\": \"BPE\"", "\"type\": 7", NULL),
	TK("03", "\"type\": \"BPE\",", "", "does not say its type"),
	TK("04", "\"ily\": 1013", "\"ily\": -1", NULL), TK("04", "\"ily\": 1013", "\"ily\": 2147483648", "2147483648"),
	TK("04", "\"ily\": 1013", "\"ily\": 1013.5", NULL), TK("04", "\"ily\": 1013", "\"ily\": \"1013\"", NULL),
	TK("04", "\"ily\": 1013", "\"ily\": 1012", "same id 1012"), TK("04", "\"ily\": 1013", "\"ents\": 1013", "twice"),
	TK("04", "\"ily\": 1013", "\"ily\": 18446744073709551616", NULL),
	TK("05", SECOND, "{\"a\":\"b\"},", NULL), TK("05", SECOND, "7,", NULL), TK("05", SECOND, "[\"h\"],", "pair"),
	TK("05", SECOND, "[\"h\",\"e\",\"x\"],", "pair"),
	TK("06", SECOND, "\"h zzz\",", "merge 1"), TK("06", SECOND, "\"he\",", "merge 1"), TK("06", SECOND, "\"h  e\",", "merge 1"),
	TK("06", SECOND, "\"\",", "merge 1"), TK("06", SECOND, "\" \",", "merge 1"), TK("06", SECOND, "\"e h\",", "merge 1"),
	TK("07", "\"id\": 1020", "\"id\": 1019", "same id 1019"), TK("07", "\"id\": 1020", "\"id\": 1024", "1024 embedding rows"),
	TK("07", "\"id\": 1020", "\"id\": -1", NULL), TK("07", "\"id\": 1020", "\"id\": 4294967297", NULL),
	TK("07", "\"id\": 1020,", "", "added token"), TK("07", "\"content\": \"<think>\"", "\"content\": \"\"", "empty"),
	TK("07", "\"content\": \"<think>\"", "\"content\": \"</think>\"", "same text"),
	TK("07", "\"added_tokens\": [", "\"added_tokens\": {}, \"x\": [", NULL),
	TK("10", "\"ily\": 1013", "\"\\ud800\": 1013", "surrogate"), TK("10", "\"ily\": 1013", "\"i\\u0000y\": 1013", "u0000"),
	TK("10", "\"ily\": 1013", "\"\xED\xA0\x80\": 1013", "UTF-8"), TK("10", "\"ily\": 1013", "\"\": 1013", "empty"),
	TK("11", "\\\\p{N}{1,3}", "(a+)+$", "(a+)+$"), TK("11", "\\\\p{N}{1,3}", "\\\\p{N}{1,4}", "step 1"),
	TK("11", "\"behavior\": \"Isolated\"", "\"behavior\": \"Removed\"", "Removed"),
	TK("11", "\"invert\": false", "\"invert\": true", "inverted"), TK("11", "\"normalizer\": null", "\"normalizer\": {\"type\": \"NFC\"}", "NFC"),
	TK("11", "\"pre_tokenizer\": {", "\"pre_tokenizer\": null, \"x\": {", "pre_tokenizer"),
	TK("12 twice", "\"merges\": [", "\"merges\": [], \"merges\": [", "twice"), TK("12 suffix", "\"end_of_word_suffix\": null",
	   "\"end_of_word_suffix\": \"</w>\"", "end_of_word_suffix"),
	TK("12 model", "\"model\": {", "\"model\": 7, \"x\": {", NULL), TK("12 no model", "\"model\": {", "\"x\": {", "no model"),
	TK("12 pre-tokenizer", "\"pre_tokenizer\": {", "\"pre_tokenizer\": 7, \"x\": {", NULL),
	TK("12 no pre-tokenizer", "\"pre_tokenizer\": {", "\"x\": {", "no pre_tokenizer"),
	TK("12 normalizer", "\"normalizer\": null", "\"normalizer\": 7", NULL),
	TK("12 page", NULL, "<html>", NULL), TK("12 after", " ]\n }\n}", " ]\n }\n}]", "after the end"),
	TK("12 pointer", NULL, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 28111\n", NULL),
};

static void test_tokenizer(void)
{
	run_rows("tokenizer.json", tokenizer_rows, COUNT(tokenizer_rows));
}

/* ---- lists of digests ------------------------------------------------------------------------*/

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NOT_A_LINE "is not \"SHA256  NAME\""

static const struct row sums_rows[] = {
	{ "SUMS empty", NULL, "", 3, "holds no digest" }, { "SUMS blank lines", NULL, "\n\r\n# nothing\n", 3, "holds no digest" },
	{ "SUMS BOM", NULL, "\xEF\xBB\xBF" HEX "  config.json\n", 3, "line 1 " NOT_A_LINE },
	{ "SUMS short digest", NULL, "0123456789abcdef  config.json\n", 3, NOT_A_LINE },
	{ "SUMS long digest", NULL, HEX "00  config.json\n", 3, NOT_A_LINE },
	{ "SUMS no hex", NULL, "g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef  config.json\n", 3, NOT_A_LINE },
	{ "SUMS one space", NULL, HEX " config.json\n", 3, NOT_A_LINE }, { "SUMS a tab", NULL, HEX "\tconfig.json\n", 3, NOT_A_LINE },
	{ "SUMS no name", NULL, HEX "  \n", 3, NOT_A_LINE }, { "SUMS digest alone", NULL, HEX "\n", 3, NOT_A_LINE },
	{ "SUMS ../", NULL, HEX "  ../config.json\n", 3, NOT_A_LINE }, { "SUMS absolute", NULL, HEX "  /etc/passwd\n", 3, NOT_A_LINE },
	{ "SUMS a folder", NULL, HEX "  a/config.json\n", 3, NOT_A_LINE }, { "SUMS dots", NULL, HEX "  ..\n", 3, NOT_A_LINE },
	{ "SUMS escaped name", NULL, "\\" HEX "  a\\nb\n", 3, NOT_A_LINE }, { "SUMS control bytes", NULL, HEX "  \033[2J\n", 3, NOT_A_LINE },
	{ "SUMS UTF-8 name", NULL, HEX "  \xC3\xA9\n", 3, NOT_A_LINE }, { "SUMS BSD form", NULL, "SHA256 (config.json) = " HEX "\n", 3, NOT_A_LINE },
	{ "SUMS a page", NULL, "<!DOCTYPE html>\n", 3, NOT_A_LINE }, { "SUMS second line", NULL, HEX "  config.json\nx\n", 3, "line 2 " NOT_A_LINE },
	{ "SUMS twice", NULL, HEX "  config.json\n" HEX "  config.json\n", 3, "twice" },
	{ "SUMS twice, in two forms", NULL, HEX " *config.json\n" HEX "  a.json\n" HEX "  config.json", 3, "config.json twice" },
	{ "SUMS another digest", NULL, HEX "  config.json\n", 1, "config.json: FAILED" },
	{ "SUMS a file that is not there", NULL, HEX "  other.json\n", 1, "other.json: MISSING" },
	{ "SUMS CRLF", NULL, HEX "  config.json\r\n", 1, "config.json: FAILED" },
};

static void test_sums(void)
{
	static char list[300];
	const char *const args[] = { "verify", dir, "--digests", list, NULL };
	static char big[(17 << 20) + 1];

	snprintf(list, sizeof list, "%s", path_of("SUMS"));
	for (const struct row *r = sums_rows; r < sums_rows + COUNT(sums_rows); r++) {
		spit("SUMS", r->put, strlen(r->put));
		run_row(r, args);
	}
	spit("SUMS", HEX "  a\0b\n", 64 + 6);
	run_row(&(struct row){ "SUMS NUL", NULL, NULL, 3, "NUL" }, args);
	memset(big, '#', sizeof big - 1);
	spit("SUMS", big, sizeof big - 1);
	run_row(&(struct row){ "SUMS too long", NULL, NULL, 3, NULL }, args);
	unlink(list);
	if (mkfifo(list, 0600) == 0)
		run_row(&(struct row){ "SUMS FIFO", NULL, NULL, 3, "not a regular file" }, args);
	unlink(list);
}

/* ---- bundles ---------------------------------------------------------------------------------*/

#define TYPE "\"payloadType\":\"application/vnd.in-toto+json\""
#define SIGNATURE "\"signatures\":[{\"sig\":\"MAA=\",\"keyid\":\"\"}]"
#define ENVELOPE(fields) "{\"dsseEnvelope\":{" fields "}}"

/* unsigned; what the envelope alone tells */
static const struct row bundle_rows[] = {
	{ "OMS empty", NULL, "", 3, NULL }, { "OMS [", NULL, "[]", 3, NULL }, { "OMS {}", NULL, "{}", 3, "no dsseEnvelope" },
	{ "OMS envelope null", NULL, "{\"dsseEnvelope\":null}", 3, NULL }, { "OMS envelope {}", NULL, ENVELOPE(""), 3, "lacks" },
	{ "OMS no type", NULL, ENVELOPE("\"payload\":\"e30=\"," SIGNATURE), 3, "lacks" },
	{ "OMS other type", NULL, ENVELOPE("\"payloadType\":\"text/plain\",\"payload\":\"e30=\"," SIGNATURE), 3, "no in-toto" },
	{ "OMS no payload", NULL, ENVELOPE(TYPE "," SIGNATURE), 3, "lacks" },
	{ "OMS payload no base64", NULL, ENVELOPE(TYPE ",\"payload\":\"e30\"," SIGNATURE), 3, "payload" },
	{ "OMS payload with blanks", NULL, ENVELOPE(TYPE ",\"payload\":\"e3 0=\"," SIGNATURE), 3, "payload" },
	{ "OMS payload is a number", NULL, ENVELOPE(TYPE ",\"payload\":7," SIGNATURE), 3, NULL },
	{ "OMS payload twice", NULL, ENVELOPE(TYPE ",\"payload\":\"e30=\",\"payload\":\"e30=\"," SIGNATURE), 3, "twice" },
	{ "OMS signatures {}", NULL, ENVELOPE(TYPE ",\"payload\":\"e30=\",\"signatures\":{}"), 3, NULL },
	{ "OMS signature no base64", NULL, ENVELOPE(TYPE ",\"payload\":\"e30=\",\"signatures\":[{\"sig\":\"?\"}]"), 3, "signature" },
	{ "OMS no signature", NULL, ENVELOPE(TYPE ",\"payload\":\"e30=\",\"signatures\":[]"), 5, "not signed by this key" },
	{ "OMS another's", NULL, ENVELOPE(TYPE ",\"payload\":\"e30=\"," SIGNATURE), 5, "not signed by this key" },
	{ "OMS hint", NULL, "{\"verificationMaterial\":{\"publicKey\":{\"hint\":\"" HEX "\"}}," TYPE "}", 5, "hint" },
	{ "OMS certificate", NULL, "{\"verificationMaterial\":{\"certificate\":{}}}", 3, "certificate" },
	{ "OMS chain", NULL, "{\"verificationMaterial\":{\"x509CertificateChain\":{}}}", 3, "certificate" },
	{ "OMS material []", NULL, "{\"verificationMaterial\":[]}", 3, NULL },
	{ "OMS key []", NULL, "{\"verificationMaterial\":{\"publicKey\":[]}}", 3, NULL },
	{ "OMS hint of no text", NULL, "{\"verificationMaterial\":{\"publicKey\":{\"hint\":7,\"rawBytes\":\"\"},\"tlogEntries\":[]},"
	  "\"dsseEnvelope\":{" TYPE ",\"payload\":\"e30=\"," SIGNATURE "},\"more\":1}", 5, "not signed by this key" },
	{ "OMS signatures [7]", NULL, ENVELOPE(TYPE ",\"payload\":\"e30=\",\"signatures\":[7]"), 3, NULL },
	{ "OMS text after", NULL, ENVELOPE(TYPE ",\"payload\":\"e30=\"," SIGNATURE) "x", 3, "after the end" },
	{ "OMS UTF-8", NULL, "{\"\xFF\":1}", 3, "UTF-8" },
};

#define STATEMENT(subject, predicate) \
	"{\"predicateType\":\"https://model_signing/signature/v1.0\",\"subject\":" subject ",\"predicate\":" predicate "}"
#define SUBJECT "[{\"name\":\"m\",\"digest\":{\"sha256\":\"" HEX "\"}}]"
#define FILES(list) "{\"serialization\":{\"method\":\"files\",\"hash_type\":\"sha256\"},\"resources\":[" list "]}"
#define RESOURCE(name) "{\"name\":\"" name "\",\"algorithm\":\"sha256\",\"digest\":\"" HEX "\"}"

/* signed by the key that is asked for: what a statement may not be, whoever vouches for it */
static const struct row statement_rows[] = {
	{ "OMS statement {}", NULL, "{}", 3, "the statement is no" }, { "OMS statement []", NULL, "[]", 3, NULL },
	{ "OMS statement empty", NULL, "", 3, NULL },
	{ "OMS predicate type", NULL, "{\"predicateType\":\"x\",\"subject\":" SUBJECT "}", 3, "the statement is no" },
	{ "OMS no subject", NULL, STATEMENT("[]", FILES(RESOURCE("a"))), 3, "0 subjects" },
	{ "OMS two subjects", NULL, STATEMENT("[{},{}]", FILES(RESOURCE("a"))), 3, "2 subjects" },
	{ "OMS subject's digest", NULL, STATEMENT("[{\"name\":\"m\",\"digest\":{\"sha256\":\"00\"}}]", FILES("")), 3, "no SHA-256" },
	{ "OMS no files", NULL, STATEMENT(SUBJECT, FILES("")), 1, "list of 0 files" },
	{ "OMS other list", NULL, STATEMENT(SUBJECT, FILES(RESOURCE("a"))), 1, "list of 1 files" },
	{ "OMS no name", NULL, STATEMENT(SUBJECT, FILES("{\"digest\":\"" HEX "\"}")), 3, "without name or digest" },
	{ "OMS no digest", NULL, STATEMENT(SUBJECT, FILES("{\"name\":\"a\"}")), 3, "without name or digest" },
	{ "OMS short digest", NULL, STATEMENT(SUBJECT, FILES("{\"name\":\"a\",\"digest\":\"00\"}")), 3, "no SHA-256" },
	{ "OMS algorithm", NULL, STATEMENT(SUBJECT, FILES("{\"name\":\"a\",\"algorithm\":\"md5\"}")), 3, "only sha256" },
	{ "OMS method", NULL, STATEMENT(SUBJECT, "{\"serialization\":{\"method\":\"shards\"}}"), 3, "only files" },
	{ "OMS hash", NULL, STATEMENT(SUBJECT, "{\"serialization\":{\"hash_type\":\"blake3\"}}"), 3, "only sha256" },
	{ "OMS serialization []", NULL, STATEMENT(SUBJECT, "{\"serialization\":[]}"), 3, NULL },
	{ "OMS method 7", NULL, STATEMENT(SUBJECT, "{\"serialization\":{\"method\":7}}"), 3, NULL },
	{ "OMS files {}", NULL, STATEMENT(SUBJECT, "{\"resources\":{}}"), 3, NULL },
	{ "OMS file 7", NULL, STATEMENT(SUBJECT, FILES("7")), 3, NULL },
	{ "OMS predicate []", NULL, STATEMENT(SUBJECT, "[]"), 3, NULL },
	{ "OMS subject {}", NULL, STATEMENT("{}", FILES(RESOURCE("a"))), 3, NULL },
	{ "OMS subject 7", NULL, STATEMENT("[7]", FILES(RESOURCE("a"))), 3, NULL },
	{ "OMS subject's digest []", NULL, STATEMENT("[{\"digest\":[]}]", FILES(RESOURCE("a"))), 3, NULL },
	{ "OMS subject by another hash", NULL,
	  STATEMENT("[{\"digest\":{\"sha512\":\"00\"},\"uri\":\"\"}]", FILES(RESOURCE("a"))), 1, "list of 1" },
	{ "OMS git's digest", NULL, STATEMENT(SUBJECT, "{\"more\":1,\"resources\":[{\"name\":\"a\",\"digest\":"
	  "\"0123456789012345678901234567890123456789\",\"size\":1}]}"), 3, "no SHA-256" },
	{ "OMS name NUL", NULL, STATEMENT(SUBJECT, FILES(RESOURCE("a\\u0000b"))), 3, "u0000" },
	{ "OMS resource twice", NULL, STATEMENT(SUBJECT, FILES("{\"name\":\"a\",\"name\":\"b\"}")), 3, "twice" },
};

/* The payload in an envelope by the private key of tests/golden/sign, in a bundle. */
static char *signed_bundle(const struct key *k, const char *payload)
{
	struct err e;
	char *envelope = dsse_write(k, payload, &e), *text;

	if (!envelope || asprintf(&text, "{\"dsseEnvelope\":%s}", envelope) < 0)
		abort();
	free(envelope);
	return text;
}

static void test_bundles(void)
{
	static char bundle[300];
	const char *const args[] = { "verify", "tests/golden/sign/model", "--key", "tests/golden/sign/p256.pub.pem", "--oms",
				     bundle, NULL };
	struct key k = { 0 };
	struct err e;

	snprintf(bundle, sizeof bundle, "%s", path_of("bundle.sig"));
	for (const struct row *r = bundle_rows; r < bundle_rows + COUNT(bundle_rows); r++) {
		spit("bundle.sig", r->put, strlen(r->put));
		run_row(r, args);
	}
	if (key_open(&k, "tests/golden/sign/p256.pem", true, &e) != OK)
		abort();
	for (const struct row *r = statement_rows; r < statement_rows + COUNT(statement_rows); r++) {
		char *text = signed_bundle(&k, r->put);

		spit("bundle.sig", text, strlen(text));
		run_row(r, args);
		free(text);
	}
	key_close(&k);
	unlink(bundle);
}

/* ---- files that are no files, or another's ---------------------------------------------------*/

enum { AS_FOLDER, AS_FIFO, AS_SOCKET, AS_LINK, AS_DEVICE, AS_NOTHING, KINDS };

static void become(const char *path, int kind)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd;

	if (kind == AS_FOLDER)
		CHECK(mkdir(path, 0700) == 0);
	else if (kind == AS_FIFO)
		CHECK(mkfifo(path, 0600) == 0);
	else if (kind == AS_LINK || kind == AS_DEVICE)
		CHECK(symlink(kind == AS_LINK ? "/etc/passwd" : "/dev/zero", path) == 0);
	else if (kind == AS_SOCKET) {
		memccpy(at.sun_path, path, 0, sizeof at.sun_path - 1);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0);
		close(fd);
	}
}

static void test_other_kinds(void)
{
	static const char *const names[] = { ONE, "model.safetensors.index.json", "config.json", "tokenizer.json",
					     "tokenizer_config.json" };
	static const char *const words[KINDS] = { "not a regular file", "not a regular file", "not a regular file",
						  "symbolic link", "symbolic link", "missing" };

	for (size_t i = 0; i < COUNT(names); i++)
		for (int kind = 0; kind < KINDS; kind++) {
			char path[300], aside[300], id[100];

			if (kind == AS_NOTHING && i != 0 && i != 2)
				continue;	/* test_other_sets; the others may be absent */
			snprintf(path, sizeof path, "%s", path_of(names[i]));
			snprintf(aside, sizeof aside, "%s", path_of("aside"));
			snprintf(id, sizeof id, "ST-144 kind %d of %s", kind, names[i]);
			CHECK(rename(path, aside) == 0);
			become(path, kind);
			run_row(&(struct row){ id, NULL, NULL, 3, words[kind] }, inspect);
			remove(path);
			CHECK(rename(aside, path) == 0);
		}
}

/* A shard of one byte, under any tensor's name. */
static void small_shard(const char *name, const char *tensor)
{
	char p[300] = { 0 };
	int n = snprintf(p + 8, sizeof p - 8, "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", tensor);

	store_le((uint8_t *)p, 8, (uint64_t)n);
	spit(name, p, 8 + (size_t)n + 1);
}

/* The index with one more line. */
static void index_with(const char *line)
{
	static char text[ROOM + 1], changed[2 * ROOM];
	size_t n;

	sample_file("model.safetensors.index.json", text, &n);
	n = (size_t)snprintf(changed, sizeof changed, "{\"weight_map\": {%s%s", line, strchr(strstr(text, "weight_map"), '{') + 1);
	spit("model.safetensors.index.json", changed, n);
}

static void test_other_sets(void)
{
	static char text[ROOM + 1];
	size_t n;
	static const char four[] = "model-00004-of-00003.safetensors", index[] = "model.safetensors.index.json";

	sample_file(index, text, &n);
	small_shard(four, "embed.weight");
	index_with("\"x.y\": \"model-00004-of-00003.safetensors\",");
	run_row(&(struct row){ "IX-15", NULL, NULL, 3, "embed.weight" }, inspect);
	small_shard(four, "stranger.weight");
	run_row(&(struct row){ "IX-13 and 14", NULL, NULL, 3, "stranger.weight" }, inspect);
	index_with("\"stranger.weight\": \"model-00004-of-00003.safetensors\",");
	run_row(&(struct row){ "GS-11", NULL, NULL, 3, "unknown tensor: stranger.weight" }, inspect);
	remove(path_of(four));
	CHECK(link(path_of(ONE), path_of(four)) == 0);
	index_with("\"x.y\": \"model-00004-of-00003.safetensors\",");
	run_row(&(struct row){ "ST-150", NULL, NULL, 3, "embed.weight" }, inspect);
	remove(path_of(four));
	remove(path_of(index));
	run_row(&(struct row){ "IX-20", NULL, NULL, 3, "neither" }, inspect);
	spit(index, text, n);
}

/* What the Hub's downloader recorded, forged: it says nothing then, and nothing counts as verified. */
static void test_records(void)
{
	static const char *const records[] = {
		"", "x", "\n\n\n", "0123456789abcdef0123456789abcdef01234567\n", "0123456789abcdef0123456789abcdef01234567\n" HEX "\n",
		"0123456789abcdef0123456789abcdef01234567\n" HEX "\nnever\n", "0123456789abcdef0123456789abcdef01234567\n" HEX "\n1e400\n",
		"../../../../etc/passwd\n" HEX "\n4102444800\n", "0123456789ABCDEF0123456789ABCDEF01234567\n" HEX "\n4102444800\n",
		"0123456789abcdef0123456789abcdef01234567\n\033[2J\n4102444800\n",
	};
	const char *const args[] = { "verify", dir, NULL };
	static const char record[] = ".cache/huggingface/download/config.json.metadata";

	CHECK(mkdir(path_of(".cache"), 0700) == 0 && mkdir(path_of(".cache/huggingface"), 0700) == 0 &&
	      mkdir(path_of(".cache/huggingface/download"), 0700) == 0);
	for (size_t i = 0; i < COUNT(records); i++) {
		char id[40];

		snprintf(id, sizeof id, "record %zu", i);
		spit(record, records[i], strlen(records[i]));
		run_row(&(struct row){ id, NULL, NULL, 5, "not a download record" }, args);
	}
	remove(path_of(record));
	remove(path_of(".cache/huggingface/download"));
	remove(path_of(".cache/huggingface"));
	remove(path_of(".cache"));
}

/* After all that the sample is the sample: no case left something behind that the next was refused for. */
static void test_sample_is_whole(void)
{
	run_row(&(struct row){ "the sample", NULL, NULL, 0, NULL }, inspect);
}

static void test_count(void)
{
	hostile_report("index, config, tokenizer, digests, bundles, files", 120);
}

static void copy_sample(void)
{
	static char text[4 << 20];
	static const char *const names[] = { "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
		"model.safetensors.index.json", ONE, "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors" };

	for (size_t i = 0; i < COUNT(names); i++) {
		char from[200];

		snprintf(from, sizeof from, "samples/v4-tiny/%s", names[i]);
		spit(names[i], text, slurp(from, text, sizeof text - 1));
	}
}

static void remove_all(void)
{
	DIR *d = opendir(dir);

	for (struct dirent *e; d && (e = readdir(d));)
		remove(path_of(e->d_name));
	if (d)
		closedir(d);
	rmdir(dir);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	copy_sample();
	RUN(test_sample_is_whole);
	RUN(test_config);
	RUN(test_index);
	RUN(test_large_index);
	RUN(test_tokenizer);
	RUN(test_sums);
	RUN(test_bundles);
	RUN(test_other_kinds);
	RUN(test_other_sets);
	RUN(test_records);
	RUN(test_sample_is_whole);
	RUN(test_count);
	remove_all();
	return test_done();
}
