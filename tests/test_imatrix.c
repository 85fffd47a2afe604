/* SPDX-License-Identifier: MIT
 *
 * test_imatrix.c - importance matrices: both forms, what stands in for experts that no token reached,
 * files of another model, and files that are cut or forged at every byte.
 *
 * Images of the legacy form are built byte by byte here; the GGUF form by the writer of headers
 * (test_gguf.c holds that one against bytes), and by imatrix_write.c.
 */
#include "format/imatrix.h"
#include "tests/test.h"

#include <math.h>
#include <unistd.h>

static char dir[] = "/tmp/test_imatrix.XXXXXX", path[64], other[64];

struct image { uint8_t p[8192]; size_t n; };

static void add(struct image *m, const void *p, size_t n)
{
	if (m->n + n > sizeof m->p)
		abort();
	memcpy(m->p + m->n, p, n);
	m->n += n;
}

static void i32(struct image *m, int32_t v) { add(m, &v, 4); }
static void f32(struct image *m, float v) { add(m, &v, 4); }
static void name(struct image *m, const char *s) { i32(m, (int32_t)strlen(s)), add(m, s, strlen(s)); }

static void save(const char *to, const struct image *m, size_t n)
{
	FILE *f = fopen(to, "wb");

	CHECK(f && fwrite(m->p, 1, n, f) == n && fclose(f) == 0);
}

/* ---- images ------------------------------------------------------------------------------ */

/* Two tensors: dense of 4 columns over 3 calls, and 3 experts of 2 columns, the middle one never
 * reached. Bytes that hold what must be there; the rest may be left out. */
static size_t legacy_image(struct image *m)
{
	size_t least;

	m->n = 0;
	i32(m, 2);
	name(m, "a.weight");
	i32(m, 3), i32(m, 4);
	f32(m, 3), f32(m, 6), f32(m, 0), f32(m, 0.75f);
	name(m, "x.weight");
	i32(m, 2), i32(m, 6);
	f32(m, 2), f32(m, 8), f32(m, 2), f32(m, 2), f32(m, 4), f32(m, 0);
	least = m->n;
	i32(m, 7);
	name(m, "text.txt");
	return least;
}

struct piece { const char *name; enum dtype type; unsigned n_dims; uint64_t shape[2]; float v[8]; };

/* A GGUF of the pieces; type NULL: no general.type. */
static void gguf_image(struct image *m, const char *type, const struct piece *list, size_t n)
{
	struct gguf_writer w;
	struct err e = { 0 };
	uint64_t size, off[8];

	gguf_writer_open(&w, 32);
	if (type)
		gguf_put_str(&w, "general.type", (struct str){ type, strlen(type) });
	gguf_put_strings(&w, "imatrix.datasets", 1);
	gguf_put_item(&w, STR("t.txt"));
	gguf_put_u32(&w, "imatrix.chunk_count", 5);
	gguf_put_u32(&w, "imatrix.chunk_size", 16);
	for (size_t i = 0; i < n; i++)
		off[i] = gguf_put_tensor(&w, list[i].name, list[i].type, list[i].n_dims, list[i].shape);
	CHECKF(gguf_writer_finish(&w, &size, &e) == OK && size <= sizeof m->p, "%s", e.msg);
	memset(m, 0, sizeof *m);
	m->n = (size_t)size;
	memcpy(m->p, w.buf, w.len);
	for (size_t i = 0; i < n && list[i].type == DT_F32; i++)
		memcpy(m->p + w.len + off[i], list[i].v,
		       (size_t)(list[i].shape[0] * (list[i].n_dims > 1 ? list[i].shape[1] : 1)) * 4);
	gguf_writer_close(&w);
}

static const struct piece good[] = {
	{ "x.weight.in_sum2", DT_F32, 2, { 3, 2 }, { 8, 2, 5, 5, 12, 0 } },
	{ "x.weight.counts", DT_F32, 2, { 3, 1 }, { 4, 0, 12 } },
	{ "a.weight.in_sum2", DT_F32, 1, { 4, 0 }, { 1, 2, 0, 4 } },
	{ "a.weight.counts", DT_F32, 1, { 1, 0 }, { 2 } },
};
enum { N_GOOD = sizeof good / sizeof *good };

/* ---- reading ------------------------------------------------------------------------------- */

static struct imatrix *opened(void)
{
	struct imatrix *m = NULL;
	struct err e = { 0 };

	CHECKF(imatrix_open(&m, path, &e) == OK && m, "%s", e.msg);
	return m;
}

/* The weights are w, from imatrix_find and imatrix_read alike. */
static void weights_are(struct imatrix *m, const char *tensor, uint64_t matrix, uint64_t n, uint64_t cols,
			const float *w)
{
	const float *p = NULL, *again = NULL;
	float own[8];
	bool found = false;
	struct err e = { 0 };

	CHECKF(imatrix_find(m, tensor, matrix, n, cols, &p, &e) == OK && p, "%s: %s", tensor, e.msg);
	CHECK(imatrix_read(m, tensor, matrix, n, cols, own, &found, &e) == OK && found);
	for (uint64_t c = 0; p && c < cols; c++)
		CHECKF(p[c] == w[c] && own[c] == w[c], "%s matrix %d column %d: %g and %g, not %g", tensor,
		       (int)matrix, (int)c, (double)p[c], (double)own[c], (double)w[c]);
	CHECK(imatrix_find(m, tensor, matrix, n, cols, &again, &e) == OK && again == p);
}

static void open_fails(const char *what, const char *pattern)
{
	struct imatrix *m = (void *)1;
	struct err e = { 0 };
	enum status st = imatrix_open(&m, path, &e);

	CHECKF(st == ERR_FORMAT && e.status == st && !m && strstr(e.msg, pattern), "%s: %d %s", what, (int)st, e.msg);
}

static void test_legacy(void)
{
	struct image m;
	size_t least = legacy_image(&m);
	struct imatrix_info info;
	struct imatrix *x;

	save(path, &m, m.n);
	if (!(x = opened()))
		return;
	info = imatrix_info(x);
	CHECK(info.legacy && info.n_tensors == 2 && info.n_chunks == 7 && str_is(info.dataset, "text.txt"));
	CHECK(str_is(imatrix_name(x, 0), "a.weight") && str_is(imatrix_name(x, 1), "x.weight"));
	weights_are(x, "a.weight", 0, 1, 4, (float[]){ 1, 2, 0, 0.25f });
	weights_are(x, "x.weight", 0, 3, 2, (float[]){ 1, 4 });
	weights_are(x, "x.weight", 2, 3, 2, (float[]){ 2, 0 });
	/* its ones say that no token came: the mean of the two others */
	weights_are(x, "x.weight", 1, 3, 2, (float[]){ 1.5f, 2 });
	imatrix_close(x);
	save(path, &m, least);		/* no trailer at all */
	x = opened();
	CHECK(x && imatrix_info(x).n_chunks == 0 && imatrix_info(x).dataset.n == 0);
	imatrix_close(x);
	save(path, &m, least + 4);	/* chunks alone */
	x = opened();
	CHECK(x && imatrix_info(x).n_chunks == 7);
	imatrix_close(x);
}

static void test_gguf(void)
{
	struct image m;
	struct imatrix_info info;
	struct imatrix *x;
	const float *p = (void *)1;
	float untouched = 3;
	bool found = true;
	struct err e = { 0 };

	gguf_image(&m, "imatrix", good, N_GOOD);
	save(path, &m, m.n);
	if (!(x = opened()))
		return;
	info = imatrix_info(x);
	CHECK(!info.legacy && info.n_tensors == 2 && info.n_chunks == 5 && info.chunk_tokens == 16);
	CHECK(info.n_unreached == 1 && str_is(info.dataset, "t.txt"));
	weights_are(x, "a.weight", 0, 1, 4, (float[]){ 0.5f, 1, 0, 2 });
	weights_are(x, "x.weight", 0, 3, 2, (float[]){ 2, 0.5f });
	weights_are(x, "x.weight", 1, 3, 2, (float[]){ 20.f / 16, 2.f / 16 });	/* by tokens: 4 and 12 */
	weights_are(x, "x.weight", 2, 3, 2, (float[]){ 1, 0 });
	CHECK(imatrix_find(x, "b.weight", 0, 1, 4, &p, &e) == OK && !p);
	CHECK(imatrix_read(x, "b.weight", 0, 1, 4, &untouched, &found, &e) == OK && !found && untouched == 3);
	imatrix_close(x);
	imatrix_close(NULL);
	gguf_image(&m, NULL, good, N_GOOD);	/* who made it did not say what it is */
	save(path, &m, m.n);
	imatrix_close(opened());
}

static void test_stand_ins(void)
{
	static const struct piece none[] = {
		{ "x.weight.in_sum2", DT_F32, 2, { 2, 2 }, { 0, 0, 0, 0 } },
		{ "x.weight.counts", DT_F32, 2, { 2, 1 }, { 0, 3 } },
		{ "d.weight.in_sum2", DT_F32, 2, { 1, 2 }, { 0, 0 } },
		{ "d.weight.counts", DT_F32, 2, { 1, 1 }, { 9 } },
	}, one_count[] = {
		{ "x.weight.in_sum2", DT_F32, 2, { 1, 4 }, { 4, 4, 12, 0 } },
		{ "x.weight.counts", DT_F32, 2, { 1, 1 }, { 4 } },
	}, groups[] = {
		{ "blk.0.attn_output_a.weight.in_sum2", DT_F32, 2, { 1, 4 }, { 2, 4, 6, 0 } },
		{ "blk.0.attn_output_a.weight.counts", DT_F32, 2, { 1, 1 }, { 2 } },
	};
	struct image m;
	struct imatrix *x;

	gguf_image(&m, "imatrix", none, 4);	/* nothing to go by: ones, never zeros */
	save(path, &m, m.n);
	if ((x = opened())) {
		weights_are(x, "x.weight", 0, 2, 2, (float[]){ 1, 1 });
		weights_are(x, "x.weight", 1, 2, 2, (float[]){ 1, 1 });
		weights_are(x, "d.weight", 0, 1, 2, (float[]){ 1, 1 });
	}
	imatrix_close(x);
	gguf_image(&m, "imatrix", one_count, 2);	/* a legacy file that llama-imatrix took up */
	save(path, &m, m.n);
	if ((x = opened())) {
		weights_are(x, "x.weight", 0, 2, 2, (float[]){ 3, 0 });
		weights_are(x, "x.weight", 1, 2, 2, (float[]){ 3, 0 });
	}
	imatrix_close(x);
	gguf_image(&m, "imatrix", groups, 2);		/* two groups of two columns, end to end */
	save(path, &m, m.n);
	if ((x = opened()))
		weights_are(x, "blk.0.attn_output_a.weight", 0, 1, 2, (float[]){ 2, 1 });
	imatrix_close(x);
}

static void other_model(struct imatrix *x, const char *tensor, uint64_t n, uint64_t cols, const char *said)
{
	const float *p = NULL;
	float own[8];
	bool found;
	struct err e = { 0 };

	CHECKF(imatrix_find(x, tensor, 0, n, cols, &p, &e) == ERR_MISMATCH && !p && strstr(e.msg, said) &&
	       strstr(e.msg, tensor) && strstr(e.msg, path), "%s", e.msg);
	CHECK(imatrix_read(x, tensor, 0, n, cols, own, &found, &e) == ERR_MISMATCH);
}

static void test_other_models(void)
{
	struct image m;
	struct imatrix *x;
	struct err e = { 0 };
	const float *p;

	gguf_image(&m, "imatrix", good, N_GOOD);
	save(path, &m, m.n);
	if (!(x = opened()))
		return;
	other_model(x, "a.weight", 1, 3, "1 x 4 values, the model's tensor 1 x 3 columns");
	other_model(x, "a.weight", 1, 2, "1 x 4 values, the model's tensor 1 x 2 columns");
	other_model(x, "x.weight", 2, 3, "3 x 2 values, the model's tensor 2 x 3 columns");
	other_model(x, "x.weight", 6, 1, "3 x 2 values, the model's tensor 6 x 1 columns");
	other_model(x, "x.weight", 1u << 31, 1u << 31, "the model's tensor");
	CHECK(imatrix_find(x, "x.weight", 3, 3, 2, &p, &e) == ERR_USAGE && !p);
	CHECK(imatrix_find(x, "x.weight", 0, UINT64_MAX, 2, &p, &e) == ERR_USAGE && !p);
	imatrix_close(x);
	legacy_image(&m);
	save(path, &m, m.n);
	if (!(x = opened()))
		return;
	other_model(x, "x.weight", 4, 2, "1 x 6 values, the model's tensor 4 x 2 columns");
	imatrix_close(x);
}

/* good, with piece i replaced and value v of it set */
static void bad_piece(size_t i, size_t v, float x, const char *pattern)
{
	struct piece list[N_GOOD];
	struct image m;

	memcpy(list, good, sizeof list);
	list[i].v[v] = x;
	gguf_image(&m, "imatrix", list, N_GOOD);
	save(path, &m, m.n);
	open_fails(pattern, pattern);
}

static void test_bad_values(void)
{
	struct image m;
	size_t least = legacy_image(&m);
	const float bad[] = { NAN, INFINITY, -1 };

	for (size_t i = 0; i < 3; i++) {
		bad_piece(0, 3, bad[i], "(tensor x.weight, bytes ");
		bad_piece(0, 3, bad[i], "value 3 is ");
		bad_piece(1, 1, bad[i], "tensor x.weight): count 1 is ");
		legacy_image(&m);
		memcpy(m.p + least - 8, &bad[i], 4);
		save(path, &m, m.n);
		open_fails("legacy", "value 4 is ");
	}
	bad_piece(3, 0, 1e-30f, "count 0 is 1e-30");
}

static void test_bad_forms(void)
{
	struct image m;
	struct piece list[N_GOOD];

	gguf_image(&m, "model", good, N_GOOD);
	save(path, &m, m.n);
	open_fails("another kind of GGUF", "general.type is model");
	gguf_image(&m, "imatrix", good, 0);
	save(path, &m, m.n);
	open_fails("empty", "no importance matrix in it");
	gguf_image(&m, "imatrix", good, 1);
	save(path, &m, m.n);
	open_fails("sums alone", "no counts");
	gguf_image(&m, "imatrix", good + 1, 1);
	save(path, &m, m.n);
	open_fails("counts alone", "counts without sums");
	memcpy(list, good, sizeof list);
	list[1].shape[0] = 4;
	gguf_image(&m, "imatrix", list, N_GOOD);
	save(path, &m, m.n);
	open_fails("four counts for six values", "6 values and 4 counts");
	memcpy(list, good, sizeof list);
	list[3].type = DT_F16;
	gguf_image(&m, "imatrix", list, N_GOOD);
	save(path, &m, m.n);
	open_fails("counts of F16", "its type is another");
	m.n = 0;
	i32(&m, 2);
	for (int i = 0; i < 2; i++)
		name(&m, "twice"), i32(&m, 1), i32(&m, 1), f32(&m, 1);
	save(path, &m, m.n);
	open_fails("twice", "(tensor twice): it is there twice");
	save(path, &m, 0);
	open_fails("nothing", "cut short");
	CHECK(imatrix_open(&(struct imatrix *){ NULL }, "/nonexistent/x", &(struct err){ 0 }) == ERR_IO);
}

/* Opens what is there; if that works, asks for everything and for shapes that are not there. */
static void poke(void)
{
	static const struct { const char *tensor; uint64_t n, cols; } ask[] = {
		{ "a.weight", 1, 4 }, { "x.weight", 3, 2 }, { "x.weight", 1, 6 }, { "a.weight", 2, 2 }, { "b", 1, 1 },
	};
	struct imatrix *m;
	struct err e;

	if (imatrix_open(&m, path, &e) != OK) {
		CHECK(!m && e.msg[0]);
		return;
	}
	for (size_t i = 0; i < sizeof ask / sizeof *ask; i++)
		for (uint64_t k = 0; k < ask[i].n; k++) {
			const float *w;
			float sum = 0;

			if (imatrix_find(m, ask[i].tensor, k, ask[i].n, ask[i].cols, &w, &e) != OK || !w)
				continue;
			for (uint64_t c = 0; c < ask[i].cols; c++) {
				sum += w[c];
				CHECK(w[c] >= 0 && isfinite(w[c]));
			}
			CHECK(sum > 0);
		}
	imatrix_close(m);
}

static void cut_and_forge(const struct image *m, size_t least)
{
	static const uint8_t flips[] = { 1, 0x80, 0xFF };
	struct image forged = *m;
	struct imatrix *x;
	struct err e;

	for (size_t n = 0; n < m->n; n++) {
		save(path, m, n);
		if (n < least)
			CHECKF(imatrix_open(&x, path, &e) == ERR_FORMAT && !x, "%d bytes of %d", (int)n, (int)m->n);
		else
			poke();
	}
	for (size_t i = 0; i < m->n; i++)
		for (size_t k = 0; k < sizeof flips; k++) {
			forged.p[i] = m->p[i] ^ flips[k];
			save(path, &forged, m->n);
			poke();
			forged.p[i] = m->p[i];
		}
}

static void test_every_byte(void)
{
	struct image m;
	size_t least = legacy_image(&m);

	cut_and_forge(&m, least);
	gguf_image(&m, "imatrix", good, N_GOOD);
	cut_and_forge(&m, m.n);
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Tensor i, matrix k, column c: 100 i + 10 k + c + 1 of 2 tokens; matrix 1 of tensor 1 none. */
static enum status give(void *ctx, size_t tensor, uint64_t matrix, float *sums, float *count, struct err *e)
{
	const float *bad = ctx;

	(void)e;
	*count = tensor == 1 && matrix == 1 ? 0 : 2;
	for (int c = 0; c < 3; c++)
		sums[c] = *count > 0 ? (float)(100 * (int)tensor + 10 * (int)matrix + c + 1) : 0;
	if (bad && tensor == 1)
		sums[2] = *bad;
	return OK;
}

static enum status written(const char *to, bool force, const struct imatrix_head *h, struct err *e)
{
	struct imatrix_writer w;
	enum status st = imatrix_begin(&w, to, force, h, e);

	if (st == OK)
		st = imatrix_end(&w, e);
	imatrix_abandon(&w);
	return st;
}

static void test_writing(void)
{
	static const struct imatrix_tensor list[] = { { "a.weight", 1, 3 }, { "x.weight", 3, 3 } };
	struct imatrix_head h = { .dataset = STR("t.txt"), .text_sha256 = STR("00ff"), .n_chunks = 6, .chunk_tokens = 32,
				  .tensors = list, .n_tensors = 2, .matrix = give };
	struct imatrix_tensor too_long = { "a.tensor.whose.name.leaves.no.room.for.what.has.to.follow", 1, 3 };
	float bad = INFINITY;
	struct imatrix_info info;
	struct imatrix *x;
	struct err e = { 0 };

	CHECKF(written(path, true, &h, &e) == OK, "%s", e.msg);
	if (!(x = opened()))
		return;
	info = imatrix_info(x);
	CHECK(info.n_tensors == 2 && info.n_chunks == 6 && info.chunk_tokens == 32 && info.n_unreached == 1);
	CHECK(str_is(info.dataset, "t.txt"));
	weights_are(x, "a.weight", 0, 1, 3, (float[]){ 0.5f, 1, 1.5f });
	weights_are(x, "x.weight", 0, 3, 3, (float[]){ 50.5f, 51, 51.5f });
	weights_are(x, "x.weight", 1, 3, 3, (float[]){ 55.5f, 56, 56.5f });
	weights_are(x, "x.weight", 2, 3, 3, (float[]){ 60.5f, 61, 61.5f });
	imatrix_close(x);
	CHECK(written(path, false, &h, &e) == ERR_USAGE && strstr(e.msg, "exists already"));
	h.ctx = &bad;
	CHECK(written(other, false, &h, &e) == ERR_UNSUPPORTED);
	CHECKF(strstr(e.msg, "(tensor x.weight, matrix 0, column 2)"), "%s", e.msg);
	CHECK(access(other, F_OK) != 0);
	h.ctx = NULL;
	h.tensors = &too_long;
	h.n_tensors = 1;
	CHECK(written(other, false, &h, &e) == ERR_UNSUPPORTED && access(other, F_OK) != 0);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/m", dir);
	snprintf(other, sizeof other, "%s/o", dir);
	RUN(test_legacy);
	RUN(test_gguf);
	RUN(test_stand_ins);
	RUN(test_other_models);
	RUN(test_bad_values);
	RUN(test_bad_forms);
	RUN(test_every_byte);
	RUN(test_writing);
	unlink(path);
	rmdir(dir);
	return test_done();
}
