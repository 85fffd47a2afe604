/* SPDX-License-Identifier: MIT
 *
 * test_requantize.c - a GGUF of a foreign architecture becomes another: keys, order and values, for
 * tensors of more than one chunk and any number of threads.
 */
#include <unistd.h>

#include "convert/convert.h"
#include "format/imatrix.h"
#include "tests/foreign.h"
#include "tests/test.h"

static char dir[] = "/tmp/ingot-requantize-XXXXXX";
static char in[100], out[100];

struct opened { struct file f; struct gguf g; struct log notes; };

static bool open_gguf(struct opened *o, const char *path)
{
	struct err e;

	*o = (struct opened){ .f = FILE_NONE };
	bool ok = file_open(&o->f, AT_FDCWD, path, true, path, &e) == OK &&
		  gguf_read(&o->g, &o->f, &o->notes, &e) == OK;
	CHECKF(ok, "%s", e.msg);
	return ok;
}

static void close_gguf(struct opened *o)
{
	gguf_close(&o->g);
	file_close(&o->f);
	log_close(&o->notes);
}

static enum status quantize(const char *from, const char *to, const char *rule, unsigned threads, struct err *e)
{
	struct recipe r = { 0 };
	struct convert_result result;
	struct log notes = { 0 };
	struct convert_options o = { .source = from, .out = to, .recipe = &r, .force = true,
				     .allow_requantize = true, .run = { .threads = threads, .max_memory = 1ull << 30 } };
	enum status st;

	CHECK(recipe_add(&r, rule, false, "test", e) == OK);
	st = quantize_run(&result, &o, &notes, e);
	convert_close(&result);
	recipe_close(&r);
	log_close(&notes);
	return st;
}

static void read_tensor(const struct opened *o, const char *name, uint8_t **bytes, const struct gguf_tensor **t)
{
	struct err e;

	*t = gguf_find_tensor(&o->g, name);
	*bytes = NULL;
	CHECKF(*t != NULL, "%s", name);
	if (!*t)
		return;
	*bytes = malloc((*t)->bytes);
	CHECK(file_read(&o->f, *bytes, (size_t)(*t)->bytes, (*t)->off, &e) == OK);
}

/* Every key but those that speak of the file itself is there, in order, to the bit. */
static void keys_are_copied(void)
{
	struct opened a, b;
	struct err e;
	size_t k = 0;
	struct str s;
	uint64_t v;

	CHECK(foreign_write(in, foreign_tensors, N_FOREIGN, NULL));
	CHECKF(quantize(in, out, ".*=Q4_K", 2, &e) == OK, "%s", e.msg);
	if (!open_gguf(&a, in) || !open_gguf(&b, out))
		return;
	for (size_t i = 0; i < a.g.n_kv; i++) {
		const struct gguf_kv *x = &a.g.kv[i], *y = &b.g.kv[k];

		if (str_is(x->key, "general.alignment") || str_is(x->key, "general.file_type") ||
		    str_is(x->key, "ingot.recipe") || str_is(x->key, "split.count"))
			continue;
		CHECKF(str_eq(x->key, y->key) && x->type == y->type && x->elem == y->elem && x->count == y->count &&
		       x->data_bytes == y->data_bytes && memcmp(x->data, y->data, x->data_bytes) == 0, "%.*s",
		       (int)x->key.n, x->key.p);
		k++;
	}
	CHECK(gguf_u64(&b.g, "general.file_type", &v) && v == 15);
	CHECK(gguf_u64(&b.g, "general.quantization_version", &v) && v == 2);
	CHECK(gguf_str(&b.g, "ingot.recipe", &s) && str_is(s, ".*=Q4_K"));
	CHECK(b.g.alignment == 32 && !gguf_find(&b.g, "general.alignment"));
	close_gguf(&a);
	close_gguf(&b);
}

static void a_part_of_a_split_file_by_another_name_is_refused(void)
{
	struct err e = { 0 };

	foreign_parts = 3;
	CHECK(foreign_write(in, foreign_tensors, N_FOREIGN, NULL));
	CHECK(quantize(in, out, ".*=Q4_K", 1, &e) == ERR_FORMAT);
	CHECKF(strstr(e.msg, "one of 3 files of a split GGUF, but its name"), "%s", e.msg);
	foreign_parts = 1;
}

/* What steers stays to the bit; products' weights take the type, or one whose blocks fit. */
static void types_follow_name_and_shape(void)
{
	static const struct { const char *name; enum dtype type; } want[N_FOREIGN] = {
		{ "token_embd.weight", DT_Q4_K }, { "position_embd.weight", DT_F32 },
		{ "blk.0.attn_norm.weight", DT_F32 }, { "blk.0.attn_q_norm.weight", DT_F32 },
		{ "blk.0.attn_q.weight", DT_Q4_K }, { "blk.0.attn_q.bias", DT_F32 },
		{ "blk.0.attn_k.weight", DT_Q4_K }, { "blk.0.attn_odd.weight", DT_F16 },
		{ "blk.0.ffn_gate_inp.weight", DT_F32 }, { "blk.0.ffn_gate_exps.weight", DT_Q4_K },
		{ "blk.0.ffn_down_exps.weight", DT_Q4_1 }, { "blk.0.ssm_conv1d.weight", DT_F32 },
		{ "blk.0.ffn_mystery", DT_F32 }, { "rope_ids", DT_I32 }, { "v.kernel.weight", DT_F16 },
		{ "output.weight", DT_Q4_K },
	};
	struct opened a, b;

	if (!open_gguf(&a, in) || !open_gguf(&b, out))
		return;
	CHECK(b.g.n_tensors == N_FOREIGN);
	for (size_t i = 0; i < N_FOREIGN; i++) {
		const struct gguf_tensor *x, *y;
		uint8_t *from, *to, *made = malloc(1 << 20);
		float *values = malloc(foreign_elements(&foreign_tensors[i]) * sizeof *values);
		size_t n = (size_t)foreign_elements(&foreign_tensors[i]);

		CHECKF(str_is(b.g.tensors[i].name, want[i].name), "%s", want[i].name);
		read_tensor(&a, want[i].name, &from, &x);
		read_tensor(&b, want[i].name, &to, &y);
		CHECKF(y->dtype == want[i].type, "%s: %s", want[i].name, dtype_info(y->dtype)->name);
		if (x->dtype == y->dtype) {
			CHECKF(x->bytes == y->bytes && memcmp(from, to, x->bytes) == 0, "%s", want[i].name);
		} else {
			codec_decode(x->dtype, from, n, values);
			codec_encode(y->dtype, values, NULL, n, EFFORT_FAST, made);
			CHECKF(memcmp(made, to, y->bytes) == 0, "%s", want[i].name);
		}
		free(from);
		free(to);
		free(made);
		free(values);
	}
	close_gguf(&a);
	close_gguf(&b);
}

/* Chunks of 4 MiB cut blocks of both types; whoever converts which unit must not show. */
static void blocks_across_chunks(void)
{
	static const struct foreign_tensor big[] = { { "blk.0.ffn_up.weight", DT_F16, 2, { 2300, 2304 } } };
	static const struct { const char *rule, *from, *to; enum dtype before, after; } steps[] = {
		{ ".*=Q6_K", "in", "k", DT_F16, DT_Q6_K }, { ".*=Q8_0", "k", "q", DT_Q6_K, DT_Q8_0 },
		{ ".*=F32", "q", "f", DT_Q8_0, DT_F32 },
	};
	char from[100], to[100];
	struct err e;

	CHECK(foreign_write(in, big, 1, NULL));
	for (size_t i = 0; i < 3; i++)
		for (unsigned threads = 1; threads <= 4; threads += 3) {
			struct opened a, b;
			const struct gguf_tensor *x, *y;
			size_t n = 2300 * 2304;
			uint8_t *old, *new, *made = malloc(n * 4);
			float *values = malloc(n * sizeof *values);

			snprintf(from, sizeof from, "%s/%s", dir, steps[i].from);
			snprintf(to, sizeof to, "%s/%s", dir, steps[i].to);
			CHECKF(quantize(from, to, steps[i].rule, threads, &e) == OK, "%s", e.msg);
			if (!open_gguf(&a, from) || !open_gguf(&b, to))
				return;
			read_tensor(&a, big[0].name, &old, &x);
			read_tensor(&b, big[0].name, &new, &y);
			CHECK(x->dtype == steps[i].before && y->dtype == steps[i].after);
			codec_decode(x->dtype, old, n, values);
			codec_encode(y->dtype, values, NULL, n, EFFORT_FAST, made);
			CHECKF(memcmp(made, new, y->bytes) == 0, "%s, %u threads", steps[i].rule, threads);
			free(old);
			free(new);
			free(made);
			free(values);
			close_gguf(&a);
			close_gguf(&b);
		}
}

static struct error_sums measured(const char *rule, unsigned threads)
{
	struct recipe r = { 0 };
	struct convert_result result;
	struct log notes = { 0 };
	struct convert_options o = { .source = in, .out = out, .recipe = &r, .force = true, .measure = true,
				     .run = { .threads = threads, .max_memory = 1ull << 30 } };
	struct error_sums s = { 0 };
	struct err e;

	CHECK(recipe_add(&r, rule, false, "test", &e) == OK);
	CHECK(quantize_run(&result, &o, &notes, &e) == OK);
	for (size_t i = 0; i < result.plan.out[0].n_tensors; i++) {
		struct error_sums one = ledger_tensor(&result.plan.out[0], &result.plan.out[0].tensors[i]);

		error_merge(&s, &one);
	}
	convert_close(&result);
	recipe_close(&r);
	log_close(&notes);
	return s;
}

/* The figures of the report are those of the two files: each value once, wherever chunks cut blocks, and
 * the same for any number of threads. */
static void errors_are_those_of_the_files(void)
{
	enum { N = 2300 * 2304 };
	static const struct foreign_tensor big[] = { { "blk.0.ffn_up.weight", DT_F16, 2, { 2300, 2304 } } };
	struct error_sums s, again, want = { 0 };
	struct opened a, b;
	const struct gguf_tensor *x, *y;
	uint8_t *from, *to;
	float *v = malloc(N * sizeof *v), *w = malloc(N * sizeof *w);

	CHECK(foreign_write(in, big, 1, NULL));
	s = measured(".*=Q6_K", 1);
	again = measured(".*=Q6_K", 4);
	CHECK(memcmp(&s, &again, sizeof s) == 0);
	if (!open_gguf(&a, in) || !open_gguf(&b, out))
		return;
	read_tensor(&a, big[0].name, &from, &x);
	read_tensor(&b, big[0].name, &to, &y);
	codec_decode(x->dtype, from, N, v);
	codec_decode(y->dtype, to, N, w);
	error_add(&want, v, w, N, 256, 0);
	CHECK(s.n == N && s.max == want.max && s.max_at == want.max_at);
	CHECK(s.worst == want.worst && s.worst_at == want.worst_at);
	CHECK(fabs(s.dd - want.dd) < 1e-9 * want.dd && fabs(s.xx - want.xx) < 1e-9 * want.xx);
	CHECK(s.saturated == codec_saturated(y->dtype, to, N, v));
	free(from);
	free(to);
	free(v);
	free(w);
	close_gguf(&a);
	close_gguf(&b);
}

/* An importance matrix of two tensors; column c of matrix m: 1 + (7 c + 3 m) % 29, over one token. */
static enum status columns(void *ctx, size_t tensor, uint64_t matrix, float *sums, float *count, struct err *e)
{
	const struct imatrix_tensor *list = ctx;

	(void)e;
	*count = 1;
	for (uint64_t c = 0; c < list[tensor].cols; c++)
		sums[c] = (float)(1 + (7 * c + 3 * matrix) % 29);
	return OK;
}

static bool write_importance(const char *path, struct imatrix_tensor *list, size_t n)
{
	struct imatrix_head h = { .dataset = STR("a text"), .text_sha256 = STR("00"), .n_chunks = 3,
				  .chunk_tokens = 512, .tensors = list, .n_tensors = n, .matrix = columns, .ctx = list };
	struct imatrix_writer w = IMATRIX_WRITER_NONE;
	struct err e;
	bool ok = imatrix_begin(&w, path, true, &h, &e) == OK && imatrix_end(&w, &e) == OK;

	imatrix_abandon(&w);
	CHECKF(ok, "%s", e.msg);
	return ok;
}

static enum status quantize_by(const char *imatrix, enum effort effort, struct log *notes, struct err *e)
{
	struct importance m;
	struct recipe r = { 0 };
	struct convert_result result = CONVERT_RESULT_NONE;
	struct convert_options o = { .source = in, .out = out, .recipe = &r, .force = true, .importance = &m,
				     .effort = effort, .run = { .threads = 2, .max_memory = 1ull << 30 } };
	enum status st;

	if (importance_open(&m, imatrix, e) != OK)
		return e->status;
	CHECK(recipe_add(&r, ".*=Q4_0", false, "test", e) == OK);
	st = quantize_run(&result, &o, notes, e);
	convert_close(&result);
	recipe_close(&r);
	importance_close(&m);
	return st;
}

/* A tensor's blocks, each matrix under its own importance; without one (NULL), under none. */
static void check_weighted(const struct opened *a, const struct opened *b, const char *name, bool weighted)
{
	const struct gguf_tensor *x, *y;
	uint8_t *from, *to;

	read_tensor(a, name, &from, &x);
	read_tensor(b, name, &to, &y);
	size_t cols = (size_t)x->shape[x->n_dims - 1], n = (size_t)x->bytes / 2;
	size_t per_matrix = x->n_dims > 2 ? n / x->shape[0] : n;
	uint8_t *made = malloc((size_t)y->bytes);
	float *values = malloc(n * sizeof *values), weight[256];

	codec_decode(x->dtype, from, n, values);
	for (size_t e = 0; e < n; e += cols) {
		for (size_t c = 0; c < cols; c++)
			weight[c] = (float)(1 + (7 * c + 3 * (e / per_matrix)) % 29);
		codec_encode(DT_Q4_0, values + e, weighted ? weight : NULL, cols, EFFORT_BEST, made + e / 32 * 18);
	}
	CHECKF(y->dtype == DT_Q4_0 && memcmp(made, to, (size_t)y->bytes) == 0, "%s", name);
	free(from);
	free(to);
	free(made);
	free(values);
}

static void importance_of_columns_is_used(void)
{
	struct imatrix_tensor list[] = { { "blk.0.attn_q.weight", 1, 256 }, { "blk.0.ffn_down_exps.weight", 4, 96 } };
	char path[120];
	struct opened a, b;
	struct log notes = { 0 };
	struct err e;
	struct str s;
	uint64_t v;

	snprintf(path, sizeof path, "%s/imatrix", dir);
	CHECK(foreign_write(in, foreign_tensors, N_FOREIGN, NULL) && write_importance(path, list, 2));
	CHECKF(quantize_by(path, EFFORT_BEST, &notes, &e) == OK, "%s", e.msg);
	CHECKF(strstr(notes.text, "imatrix: has no entry for 4 of the 6 tensors that are encoded (token_embd.weight"),
	       "%s", notes.text);
	if (!open_gguf(&a, in) || !open_gguf(&b, out))
		return;
	check_weighted(&a, &b, "blk.0.attn_q.weight", true);
	check_weighted(&a, &b, "blk.0.ffn_down_exps.weight", true);
	check_weighted(&a, &b, "blk.0.ffn_gate_exps.weight", false);
	CHECK(gguf_str(&b.g, "ingot.effort", &s) && str_is(s, "best"));
	CHECK(gguf_str(&b.g, "ingot.imatrix.name", &s) && str_is(s, "imatrix"));
	CHECK(gguf_str(&b.g, "quantize.imatrix.file", &s) && str_is(s, "imatrix"));
	CHECK(gguf_str(&b.g, "quantize.imatrix.dataset", &s) && str_is(s, "a text"));
	CHECK(gguf_u64(&b.g, "quantize.imatrix.entries_count", &v) && v == 2);
	CHECK(gguf_u64(&b.g, "quantize.imatrix.chunks_count", &v) && v == 3);
	const struct gguf_kv *kv = gguf_find(&b.g, "ingot.imatrix.sha256");
	CHECK(kv && kv->count == SHA256_BYTES);
	close_gguf(&a);
	close_gguf(&b);
	log_close(&notes);
}

/* Of another model: columns, experts, or every name are others. Nothing is written. */
static void importance_of_another_model(void)
{
	struct imatrix_tensor cols = { "blk.0.attn_q.weight", 1, 128 }, experts = { "blk.0.ffn_down_exps.weight", 8, 96 },
			      name = { "blk.7.attn_q.weight", 1, 256 };
	struct imatrix_tensor *cases[] = { &cols, &experts, &name };
	static const char *const says[] = { "256", "8", "made for another model" };
	char path[120];

	snprintf(path, sizeof path, "%s/imatrix", dir);
	for (int i = 0; i < 3; i++) {
		struct log notes = { 0 };
		struct err e = { 0 };

		unlink(out);
		CHECK(write_importance(path, cases[i], 1));
		CHECK(quantize_by(path, EFFORT_FAST, &notes, &e) == ERR_MISMATCH);
		CHECKF(strstr(e.msg, says[i]), "%s", e.msg);
		CHECK(access(out, F_OK) != 0);
		log_close(&notes);
	}
	unlink(path);
}

int main(void)
{
	char path[100];

	if (!mkdtemp(dir))
		return 1;
	snprintf(in, sizeof in, "%s/in", dir);
	snprintf(out, sizeof out, "%s/out", dir);
	RUN(keys_are_copied);
	RUN(types_follow_name_and_shape);
	RUN(a_part_of_a_split_file_by_another_name_is_refused);
	RUN(blocks_across_chunks);
	RUN(errors_are_those_of_the_files);
	RUN(importance_of_columns_is_used);
	RUN(importance_of_another_model);
	for (const char *p = "in\0out\0k\0f\0q\0"; *p; p += strlen(p) + 1) {
		snprintf(path, sizeof path, "%s/%s", dir, p);
		unlink(path);
	}
	rmdir(dir);
	return test_done();
}
