/* SPDX-License-Identifier: MIT
 *
 * test_convert.c - the plan of the bundled sample, and the guard over bytes that are read twice.
 */
#include "convert/convert.h"
#include "tests/test.h"

#define SAMPLE "samples/v4-tiny"

struct opened { struct checkpoint c; struct arch a; struct vocab v; struct recipe r; struct plan p; struct log notes; };

static bool open_plan(struct opened *o, const char *recipe)
{
	struct plan_options po = { .recipe = &o->r };
	struct err e = { 0 };
	char *text = NULL;
	size_t n;

	*o = (struct opened){ .c = CHECKPOINT_NONE };
	bool ok = checkpoint_open(&o->c, SAMPLE, NULL, &o->notes, &e) == OK &&
		  file_slurp(&checkpoint_file(&o->c, "config.json")->file, 1 << 20, &text, &n, &e) == OK &&
		  arch_from_config(&o->a, text, n, "config.json", &o->notes, &e) == OK &&
		  vocab_from_files(&o->v, checkpoint_file(&o->c, "tokenizer.json"),
				   checkpoint_file(&o->c, "tokenizer_config.json"), NULL, o->a.n_vocab, o->a.bos,
				   o->a.eos, &o->notes, &e) == OK &&
		  recipe_add_named(&o->r, recipe, &e) == OK &&
		  plan_build(&o->p, &o->c, &o->a, &o->v, &po, &o->notes, &o->notes, &e) == OK;
	CHECKF(ok, "%s", e.msg);
	free(text);
	return ok;
}

static void close_plan(struct opened *o)
{
	plan_close(&o->p);
	recipe_close(&o->r);
	vocab_close(&o->v);
	checkpoint_close(&o->c);
	log_close(&o->notes);
}

static void every_byte_has_one_place(void)
{
	struct opened o;

	if (!open_plan(&o, "lossless"))
		return;
	CHECK(o.p.n_outputs == 2);
	for (size_t k = 0; k < o.p.n_outputs; k++) {
		const struct plan_output *out = &o.p.out[k];
		uint64_t at = out->header.len, chunk = 0;

		for (size_t i = 0; i < out->n_tensors; i++) {
			const struct plan_tensor *t = &out->tensors[i];

			CHECK(t->off == at && t->off % 32 == 0);
			CHECK(t->first_chunk == chunk);
			at = (t->off + t->bytes + 31) / 32 * 32;
			chunk += t->chunks.n_chunks;
		}
		CHECK(at == out->file_size && chunk == out->n_chunks);
	}
	close_plan(&o);
}

/* The units of a feed ask for every element once, but for the block that a boundary cuts. */
static void units_cover_their_matrix(void)
{
	struct opened o;
	struct plan_tensor t;
	uint64_t reached = 0, bytes = 0;

	if (!open_plan(&o, "q8"))
		return;
	t = o.p.out[0].tensors[0];
	t.type = DT_Q8_0;
	t.want.n_dims = 2;
	t.want.shape[0] = 5000;
	t.want.shape[1] = 4096;
	t.bytes = 5000ull * 4096 / 32 * 34;
	t.chunks = seal_layout(t.want.shape, 2, t.bytes, SEAL_CHUNK_BYTES);
	CHECK(t.chunks.n_chunks == (t.bytes + SEAL_CHUNK_BYTES - 1) / SEAL_CHUNK_BYTES);
	for (uint64_t i = 0; i < t.chunks.n_chunks; i++) {
		struct unit_range r = plan_unit(&t, i);

		CHECK(r.e0 <= reached && reached - r.e0 <= 32 && r.e0 % 32 == 0);
		CHECK(r.skip == bytes - r.e0 / 32 * 34);
		CHECK((r.e1 - r.e0) / 32 * 34 >= r.skip + r.bytes);
		reached = r.e1;
		bytes += r.bytes;
	}
	CHECK(reached == 5000ull * 4096 && bytes == t.bytes);
	close_plan(&o);
}

static void what_is_read_twice_must_agree(void)
{
	struct opened o;
	struct aux *a = NULL;
	struct sha256 h = { 0 };
	struct err e;

	if (!open_plan(&o, "lossless"))
		return;
	CHECK(o.p.n_aux > 1);
	CHECK(aux_open(&a, &o.p, &e) == OK && sha256_open(&h, &e) == OK);
	CHECK(aux_seen(a, 0, 0, "first", 5, &h, &e) == OK);
	CHECK(aux_seen(a, 0, 0, "first", 5, &h, &e) == OK);
	CHECK(aux_seen(a, 1, 0, "other", 5, &h, &e) == OK);
	CHECK(aux_seen(a, 0, 0, "fIrst", 5, &h, &e) == ERR_IO);
	CHECK(strstr(e.msg, "changed between two readings"));
	sha256_close(&h);
	aux_close(a);
	close_plan(&o);
}

static void memory_is_bounded_by_the_limit(void)
{
	struct opened o;
	unsigned workers;

	if (!open_plan(&o, "lossless"))
		return;
	for (uint64_t limit = 1 << 20; limit <= 1ull << 32; limit *= 2)
		for (unsigned threads = 1; threads <= 256; threads *= 4) {
			uint64_t need = pipeline_memory(&o.p, threads, limit, &workers);
			CHECK(workers == 0 ? need > limit / 2 : need <= limit / 2);
			CHECK(workers <= 4 * threads);
		}
	close_plan(&o);
}

static void rules_match_in_order(void)
{
	struct recipe r = { 0 };
	struct err e;

	CHECK(recipe_add(&r, "attn=F16", true, "test", &e) == OK);
	CHECK(recipe_add(&r, "experts=q4_k", true, "test", &e) == OK);
	CHECK(recipe_add(&r, "@fp4:.*=KEEP", false, "test", &e) == OK);
	CHECK(recipe_add(&r, "^blk\\.[0-3]\\.=q8-0", false, "test", &e) == OK);
	CHECK(recipe_match(&r, "blk.1.attn_kv.weight", SOURCE_FP4)->type == DT_F16);
	CHECK(recipe_match(&r, "blk.1.ffn_up_exps.weight", SOURCE_FP4)->type == DT_NONE);
	CHECK(recipe_match(&r, "blk.1.ffn_up_exps.weight", SOURCE_FP8)->type == DT_Q8_0);
	CHECK(recipe_match(&r, "blk.4.ffn_up_exps.weight", SOURCE_FP8) == NULL);
	CHECK(recipe_add(&r, "=Q8_0", true, "test", &e) == ERR_USAGE);
	CHECK(recipe_add(&r, "x", true, "test", &e) == ERR_USAGE);
	CHECK(recipe_add(&r, "@bf16:x=F16", true, "test", &e) == ERR_USAGE);
	CHECK(recipe_add(&r, "x=F8_E4M3", true, "test", &e) == ERR_USAGE);
	CHECK(recipe_add(&r, "x=Q2_K", true, "test", &e) == ERR_UNSUPPORTED);
	recipe_close(&r);
}

int main(void)
{
	RUN(every_byte_has_one_place);
	RUN(units_cover_their_matrix);
	RUN(what_is_read_twice_must_agree);
	RUN(memory_is_bounded_by_the_limit);
	RUN(rules_match_in_order);
	return test_done();
}
