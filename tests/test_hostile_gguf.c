/* SPDX-License-Identifier: MIT
 *
 * test_hostile_gguf.c - metadata that a container may hold and a model may not: the sample's GGUF with
 * one key left out, of another type, or with another value, given to the commands that read models.
 * What the container itself must refuse is in test_gguf.c.
 *
 * GG and GS number the classes of hostile input that the tests of this repository go through.
 */
#include "format/format.h"
#include "tests/hostile.h"

#include <fcntl.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define MODEL(key) "deepseek4." key
#define TOKENS(key) "tokenizer.ggml." key

static char dir[] = "/tmp/ingot-hostile-XXXXXX", base[64], path[64];
static struct gguf good;

/* The key becomes n values v of type elem (n 0: a scalar), the string text, or is gone (elem GGUF_TYPES). */
struct edit {
	const char *id, *key;
	enum gguf_type elem;
	uint64_t v, n;
	const char *text, *word;
};
#define GONE(id, key, word) { id, key, GGUF_TYPES, 0, 0, NULL, word }
#define U32(id, key, v, word) { id, key, GGUF_U32, v, 0, NULL, word }
#define F32(id, key, bits, word) { id, key, GGUF_F32, bits, 0, NULL, word }
#define TEXT(id, key, text, word) { id, key, GGUF_STR, 0, 0, text, word }
#define LIST(id, key, elem, v, n, word) { id, key, elem, v, n, NULL, word }
enum { INFINITE = 0x7F800000, NOT_A_NUMBER = 0x7FC00000, MINUS_ONE = 0xBF800000 };

/* what arch_from_gguf reads: inspect refuses these too */
static const struct edit model_edits[] = {
	GONE("GS-10", MODEL("block_count"), "block_count"), U32("GS-10", MODEL("block_count"), 0, "number of layers"),
	U32("GS-10", MODEL("block_count"), 512, "block_count"), U32("GS-10", MODEL("block_count"), UINT32_MAX, "block_count"),
	TEXT("GG-054", MODEL("block_count"), "4", "block_count"), F32("GG-054", MODEL("block_count"), 0x40800000, "block_count"),
	LIST("GG-056", MODEL("block_count"), GGUF_U32, 4, 1, "block_count"),
	{ "GS-10 negative", MODEL("block_count"), GGUF_I32, 0xFFFFFFFC, 0, NULL, "block_count" },
	GONE("GS-10", MODEL("context_length"), "context_length"), U32("GS-10", MODEL("context_length"), 0, "dimension is zero"),
	U32("GS-10", MODEL("context_length"), 1u << 31, "context_length is 2147483648"),
	U32("GS-10", MODEL("embedding_length"), 0, "dimension is zero"), GONE("GS-10", MODEL("embedding_length"), "embedding_length"),
	U32("GS-10", MODEL("embedding_length"), UINT32_MAX, "embedding_length is"),
	U32("GS-10", MODEL("attention.head_count"), 0, "dimension is zero"), U32("GS-10", MODEL("attention.head_count"), 3, "o_groups"),
	U32("GS-10", MODEL("attention.key_length"), 0, "dimension is zero"),
	U32("GS-10", MODEL("attention.key_length"), 16, "rotary dimension"),
	U32("GS-10", MODEL("rope.dimension_count"), 31, "rotary dimension"), U32("GS-10", MODEL("rope.dimension_count"), 0, "rotary dimension"),
	U32("GS-10", MODEL("expert_count"), 0, "dimension is zero"), U32("GS-10", MODEL("expert_count"), 1, "more experts used"),
	GONE("GS-10", MODEL("expert_count"), "expert_count"),
	U32("GS-10", MODEL("expert_used_count"), 0, "dimension is zero"), U32("GS-10", MODEL("expert_used_count"), 9, "more experts used"),
	U32("GS-10", MODEL("expert_feed_forward_length"), 0, "dimension is zero"),
	U32("GS-10", MODEL("expert_shared_count"), 2, "shared experts"), U32("GS-10", MODEL("attention.q_lora_rank"), 0, "dimension is zero"),
	U32("GS-10", MODEL("attention.sliding_window"), 0, "dimension is zero"),
	U32("GS-10", MODEL("attention.indexer.head_count"), 0, "indexer"), U32("GS-10", MODEL("attention.indexer.key_length"), 63, "indexer"),
	U32("GS-10", MODEL("attention.indexer.top_k"), 0, "indexer"),
	U32("GS-10", MODEL("attention.output_group_count"), 0, "o_groups"), U32("GS-10", MODEL("attention.output_group_count"), 3, "o_groups"),
	U32("GS-10", MODEL("hyper_connection.count"), 0, "hyper-connections"), U32("GS-10", MODEL("hyper_connection.count"), 9, "hyper-connections"),
	U32("GS-10", MODEL("hyper_connection.sinkhorn_iterations"), 0, "hyper-connections"),
	U32("GS-10", MODEL("hash_layer_count"), 5, "hash-routed"), U32("GS-10", MODEL("attention.head_count_kv"), 2, "KV heads"),
	U32("GS-10", MODEL("expert_gating_func"), 1, "gating function"),
	F32("GS-10", MODEL("attention.layer_norm_rms_epsilon"), 0, "not positive"),
	F32("GS-10", MODEL("attention.layer_norm_rms_epsilon"), MINUS_ONE, "not positive"),
	F32("GS-10", MODEL("attention.layer_norm_rms_epsilon"), NOT_A_NUMBER, "layer_norm_rms_epsilon"),
	F32("GS-10", MODEL("attention.layer_norm_rms_epsilon"), INFINITE, "layer_norm_rms_epsilon"),
	U32("GG-054", MODEL("attention.layer_norm_rms_epsilon"), 1, "layer_norm_rms_epsilon"),
	F32("GS-10", MODEL("rope.freq_base"), 0, "not positive"), F32("GS-10", MODEL("rope.freq_base"), INFINITE, "freq_base"),
	F32("GS-10", MODEL("expert_weights_scale"), 0, "not positive"), F32("GS-10", MODEL("hyper_connection.epsilon"), 0, "not positive"),
	F32("GS-10", MODEL("rope.scaling.factor"), 0, "yarn"), GONE("GS-10", MODEL("rope.scaling.factor"), "scaling.factor"),
	U32("GS-10", MODEL("rope.scaling.original_context_length"), 0, "yarn"),
	F32("GS-10", MODEL("rope.scaling.yarn_beta_fast"), 0, "yarn"),
	GONE("GS-10", MODEL("attention.compress_ratios"), "compress_ratios"),
	LIST("GS-10", MODEL("attention.compress_ratios"), GGUF_I32, 4, 0x10000, "compress_ratios"),
	LIST("GG-041", MODEL("attention.compress_ratios"), GGUF_I32, 0, UINT64_MAX, "compress_ratios"),
	LIST("GS-10", MODEL("attention.compress_ratios"), GGUF_I32, 4, 3, "compress_ratios"),
	LIST("GS-10", MODEL("attention.compress_ratios"), GGUF_I32, 7, 5, "compress_ratios has 7"),
	LIST("GS-10", MODEL("attention.compress_ratios"), GGUF_I32, 0x80000000, 5, "compress_ratios"),
	LIST("GG-044", MODEL("attention.compress_ratios"), GGUF_F32, 0x40800000, 5, "compress_ratios"),
	LIST("GG-041", MODEL("swiglu_clamp_exp"), GGUF_F32, 0, UINT64_MAX, "swiglu_clamp_exp"),
	LIST("GS-10", MODEL("swiglu_clamp_exp"), GGUF_F32, NOT_A_NUMBER, 4, "swiglu_clamp_exp"),
	GONE("GS-10", MODEL("swiglu_clamp_exp"), "swiglu_clamp_exp"),
};

/* what only a run reads: the vocabulary, and the tensors that the metadata promise */
static const struct edit run_edits[] = {
	GONE("GS-11", "general.architecture", "architecture"), TEXT("GS-11", "general.architecture", "llama", "'llama'"),
	U32("GG-054", "general.architecture", 4, "architecture"), TEXT("GS-11", "general.architecture", "\033[2J", "not supported"),
	U32("GS-11", MODEL("block_count"), 5, ""), U32("GS-09", MODEL("vocab_size"), 1023, "shape"),
	U32("GS-11", MODEL("embedding_length"), 128, "shape"), U32("GS-11", MODEL("expert_count"), 7, "shape"),
	U32("GS-11", MODEL("expert_count"), 1u << 30, ""), U32("GS-11", MODEL("attention.head_count"), 1u << 30, ""),
	LIST("GG-044", TOKENS("scores"), GGUF_U8, 1, 1024, "scores"), LIST("GG-044", TOKENS("scores"), GGUF_F32, 1, 1023, "scores"),
	LIST("GG-045", TOKENS("token_type"), GGUF_U8, 1, 1024, "token_type"),
	LIST("GG-048", TOKENS("token_type"), GGUF_I32, 1, 1023, "token_type"),
	LIST("GG-048", TOKENS("token_type"), GGUF_I32, 1, 1025, "token_type"),
	LIST("GG-045", TOKENS("token_type"), GGUF_I32, 0, 1024, "token_type"), LIST("GG-045", TOKENS("token_type"), GGUF_I32, 6, 1024, "token_type"),
	LIST("GG-045", TOKENS("token_type"), GGUF_I32, 7, 1024, "token_type"), GONE("GG-045", TOKENS("token_type"), "token_type"),
	LIST("GG-046", TOKENS("tokens"), GGUF_U32, 1, 1024, "tokens"), GONE("GG-046", TOKENS("tokens"), "no tokenizer"),
	LIST("GG-042", TOKENS("tokens"), GGUF_STR, 0, UINT64_MAX, "tokens"), TEXT("GG-046", TOKENS("tokens"), "a", "tokens"),
	LIST("GG-047", TOKENS("merges"), GGUF_U32, 1, 10, "merges"), TEXT("GG-047", TOKENS("merges"), "a b", "merges"),
	U32("GS-08", TOKENS("bos_token_id"), 1024, "bos_token_id"), U32("GS-08", TOKENS("eos_token_id"), 1024, "eos_token_id"),
	U32("GS-08", TOKENS("padding_token_id"), UINT32_MAX, "padding_token_id"),
	{ "GS-08", TOKENS("eos_token_id"), GGUF_I32, UINT32_MAX, 0, NULL, "eos_token_id" },
	TEXT("GS-08", TOKENS("bos_token_id"), "0", "bos_token_id"), U32("GS-08", TOKENS("add_bos_token"), 1, "add_bos_token"),
	TEXT("TK-03", TOKENS("model"), "llama", "'llama'"), GONE("TK-03", TOKENS("model"), "model"),
	TEXT("TK-11", TOKENS("pre"), "default", "'default'"), GONE("TK-11", TOKENS("pre"), "pre"),
};

/* ---- the file ------------------------------------------------------------------------------*/

static void put_edit(struct gguf_writer *w, const struct edit *x)
{
	static uint8_t bytes[8 << 20];
	static const unsigned size[GGUF_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
	struct gguf_kv kv = { .key = { x->key, strlen(x->key) }, .type = x->n ? GGUF_ARR : x->elem, .elem = x->elem,
			      .count = x->n == UINT64_MAX ? 0 : x->n ? x->n : 1, .data = bytes };

	if (x->elem == GGUF_TYPES)
		return;
	if (x->text) {
		gguf_put_str(w, x->key, (struct str){ x->text, strlen(x->text) });
		return;
	}
	kv.data_bytes = kv.count * size[x->elem];
	for (uint64_t i = 0; i < kv.count; i++)
		store_le(bytes + i * size[x->elem], size[x->elem], x->v);
	gguf_put_kv(w, &kv);
}

/* The sample with that edit; its tensors are holes, since nothing should come to read them. */
static bool write_edited(const struct edit *x)
{
	struct gguf_writer w;
	struct err e;
	uint64_t size = 0;
	FILE *f = fopen(path, "wb");
	bool ok, done = false;

	gguf_writer_open(&w, good.alignment);
	for (size_t i = 0; i < good.n_kv; i++)
		if (str_is(good.kv[i].key, x->key)) {
			put_edit(&w, x);
			done = true;
		} else {
			gguf_put_kv(&w, &good.kv[i]);
		}
	if (!done)
		put_edit(&w, x);
	for (size_t i = 0; i < good.n_tensors; i++) {
		const struct gguf_tensor *t = &good.tensors[i];
		char name[GGUF_MAX_NAME + 1];

		snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
		gguf_put_tensor(&w, name, (enum dtype)t->dtype, t->n_dims, t->shape);
	}
	ok = gguf_writer_finish(&w, &size, &e) == OK && f && fwrite(w.buf, 1, w.len, f) == w.len && fflush(f) == 0 &&
	     ftruncate(fileno(f), (off_t)size) == 0;
	gguf_writer_close(&w);
	return f && fclose(f) == 0 && ok;
}

/* ---- the runs ------------------------------------------------------------------------------*/

static const char *const inspect[] = { "inspect", path, NULL };
static const char *const run[] = { "run", path, "--raw", "-p", "x", "-n", "1", NULL };
static const char *const perplexity[] = { "perplexity", path, "-f", "samples/heldout.txt", "-c", "64", "--chunks", "1", NULL };

static void test_model(void)
{
	for (const struct edit *x = model_edits; x < model_edits + COUNT(model_edits); x++) {
		CHECKF(write_edited(x), "%s %s", x->id, x->key);
		hostile.n_bad++;
		hostile_run(x->id, 3, x->word, inspect);
		hostile_run(x->id, 3, x->word, run);
	}
}

static void test_run(void)
{
	for (const struct edit *x = run_edits; x < run_edits + COUNT(run_edits); x++) {
		CHECKF(write_edited(x), "%s %s", x->id, x->key);
		hostile.n_bad++;
		hostile_run(x->id, 3, x->word, run);
		hostile_run(x->id, 3, x->word, perplexity);
	}
}

/* The file that the cases are made of is one that is taken, as it is and written again. */
static void test_base(void)
{
	static const char *const args[] = { "verify", base, NULL };

	hostile_run("the sample", 0, "INTACT", args);
	CHECK(write_edited(&(struct edit){ "none", "no.such.key", GGUF_TYPES, 0, 0, NULL, NULL }));
	hostile_run("the sample, written again", 0, "deepseek4", inspect);
}

static void test_count(void)
{
	hostile_report("GGUF metadata", COUNT(model_edits) + COUNT(run_edits));
}

static bool make_base(void)
{
	const char *const args[] = { "convert", "samples/v4-tiny", "-o", base, "--no-mtp", "-q", NULL };
	struct file f;
	struct err e;
	bool ok;

	hostile_run("convert", 0, NULL, args);
	if (file_open(&f, AT_FDCWD, base, false, base, &e) != OK)
		return false;
	ok = gguf_read(&good, &f, NULL, &e) == OK;
	file_close(&f);
	return ok;
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	snprintf(base, sizeof base, "%s/base.gguf", dir);
	snprintf(path, sizeof path, "%s/input.gguf", dir);
	if (!make_base())
		return 1;
	hostile.slowest = 0;
	hostile.most_kib = 0;
	RUN(test_base);
	RUN(test_model);
	RUN(test_run);
	RUN(test_count);
	gguf_close(&good);
	unlink(base);
	unlink(path);
	rmdir(dir);
	return test_done();
}
