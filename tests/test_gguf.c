/* SPDX-License-Identifier: MIT
 *
 * test_gguf.c - reading and writing GGUF headers.
 *
 * Images for the reader are built here byte by byte, without gguf_write.c, so that the two do
 * not share a mistake. GG-nnn are the numbers of a list of hostile GGUFs: what a reader meets
 * when a file is cut, forged or written by a careless program.
 */
#include "format/format.h"
#include "tests/hostile.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>

#define SLOW (HOSTILE_COSTS ? 1 : 10)

static char dir[] = "/tmp/test_gguf.XXXXXX", path[64];

/* ---- an image of a file ------------------------------------------------------------------ */

struct image { uint8_t *p; size_t n, cap; };

static void add(struct image *m, const void *p, size_t n)
{
	if (n == 0)
		return;
	if (m->n + n > m->cap) {
		m->cap = 2 * (m->n + n) + 64;
		m->p = realloc(m->p, m->cap);
		if (!m->p)
			abort();
	}
	if (p)
		memcpy(m->p + m->n, p, n);
	else
		memset(m->p + m->n, 0, n);
	m->n += n;
}

static void le(struct image *m, unsigned n, uint64_t v)
{
	for (unsigned i = 0; i < n; i++, v >>= 8)
		add(m, &(uint8_t){ (uint8_t)(v & 255) }, 1);
}

static void text(struct image *m, const char *s)
{
	le(m, 8, strlen(s));
	add(m, s, strlen(s));
}

static void head(struct image *m, uint64_t n_tensors, uint64_t n_kv)
{
	m->n = 0;
	add(m, "GGUF", 4);
	le(m, 4, 3);
	le(m, 8, n_tensors);
	le(m, 8, n_kv);
}

/* A key with an integer value of size bytes. */
static void kv(struct image *m, const char *key, unsigned type, unsigned size, uint64_t v)
{
	text(m, key);
	le(m, 4, type);
	le(m, size, v);
}

static void array(struct image *m, const char *key, unsigned elem, uint64_t n)
{
	text(m, key);
	le(m, 4, 9);
	le(m, 4, elem);
	le(m, 8, n);
}

/* dims: n of them, fastest first */
static void info(struct image *m, const char *name, unsigned n, const uint64_t *dims,
		 unsigned type, uint64_t off)
{
	text(m, name);
	le(m, 4, n);
	for (unsigned i = 0; i < n; i++)
		le(m, 8, dims[i]);
	le(m, 4, type);
	le(m, 8, off);
}

static void pad(struct image *m, size_t to)
{
	while (m->n % to != 0)
		add(m, "", 1);
}

/* ---- reading it ---------------------------------------------------------------------------- */

struct outcome { struct gguf g; struct err e; struct log notes; uint64_t size; enum status st; };

static enum status read_path(struct outcome *o)
{
	struct file f = FILE_NONE;

	memset(o, 0, sizeof *o);
	o->st = file_open(&f, AT_FDCWD, path, false, path, &o->e);
	CHECK(o->st == OK);
	o->size = f.id.size;
	memset(&o->g, 0xA5, sizeof o->g);	/* the reader must not lean on what was there */
	o->st = gguf_read(&o->g, &f, &o->notes, &o->e);
	file_close(&f);
	return o->st;
}

static void store(const struct image *m, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && write(fd, m->p, n) == (ssize_t)n);
	close(fd);
}

static enum status read_image(struct outcome *o, const struct image *m)
{
	store(m, m->n);
	return read_path(o);
}

static void done(struct outcome *o)
{
	gguf_close(&o->g);
	gguf_close(&o->g);
	log_close(&o->notes);
}

/* The same file through the program: inspect takes what the container allows, verify asks for a seal. */
static void run_program(const char *id, enum status want)
{
	const char *const inspect[] = { "inspect", path, NULL }, *const verify[] = { "verify", path, NULL };

	if (want == OK)
		hostile.n_good++;
	else
		hostile.n_bad++;
	hostile_run(id, status_exit_code(want), NULL, inspect);
	hostile_run(id, want == OK ? 5 : status_exit_code(want), want == OK ? "seal" : NULL, verify);
}

/* Refused, in the right form, with nothing left behind. */
static void refused(const char *id, const struct image *m, enum status want)
{
	struct outcome o;

	read_image(&o, m);
	CHECKF(o.st == want, "%s: status %d: %s", id, (int)o.st, o.e.msg);
	CHECKF(o.e.status == o.st && strncmp(o.e.msg, path, strlen(path)) == 0, "%s: %s", id,
	       o.e.msg);
	CHECKF(!o.g.header && !o.g.kv && !o.g.tensors && o.g.n_kv == 0, "%s", id);
	done(&o);
	run_program(id, want);
}

static void accepted(const char *id, const struct image *m, size_t n_notes)
{
	struct outcome o;

	read_image(&o, m);
	CHECKF(o.st == OK, "%s: status %d: %s", id, (int)o.st, o.e.msg);
	CHECKF(o.notes.n_lines == n_notes, "%s: %zu notes", id, o.notes.n_lines);
	done(&o);
	run_program(id, OK);
}

/* Looks at everything through the public functions; sanitizers see what is out of bounds. */
static uint64_t touch(const struct outcome *o)
{
	uint64_t sum = 0, u;
	float f;
	bool b;
	struct str s;

	for (size_t i = 0; i < o->g.n_kv; i++) {
		const struct gguf_kv *k = &o->g.kv[i];
		char key[256];
		int64_t x = 0;
		double d = 0;
		snprintf(key, sizeof key, "%.*s", (int)k->key.n, k->key.p);
		CHECK(k->key.n >= sizeof key || gguf_find(&o->g, key) == k);
		CHECK(k->data >= o->g.header &&
		      (uint64_t)(k->data - o->g.header) + k->data_bytes <= o->g.data_off);
		sum += (uint64_t)gguf_u64(&o->g, key, &u) + (uint64_t)gguf_f32(&o->g, key, &f) +
		       (uint64_t)gguf_bool(&o->g, key, &b);
		if (gguf_str(&o->g, key, &s))
			for (size_t j = 0; j < s.n; j++)
				sum += (uint8_t)s.p[j];
		for (uint64_t at = 0; gguf_next_str(k, &at, &s);)
			for (size_t j = 0; j < s.n; j++)
				sum += (uint8_t)s.p[j];
		for (uint64_t j = 0; j < k->count && j < 1000; j++)
			sum += (uint64_t)gguf_array_int(k, j, &x) +
			       (uint64_t)gguf_array_float(k, j, &d);
		CHECK(!gguf_array_int(k, k->count, &x) && !gguf_array_float(k, k->count, &d));
	}
	for (size_t i = 0; i < o->g.n_tensors; i++) {
		const struct gguf_tensor *t = &o->g.tensors[i];
		CHECK(t->off >= o->g.data_off && t->bytes <= o->size);
		CHECK(t->off <= o->size - t->bytes);
		for (size_t j = 0; j < t->name.n; j++)
			sum += (uint8_t)t->name.p[j];
	}
	return sum;
}

static const uint64_t d4[4] = { 4, 1, 1, 1 }, d8x2[2] = { 8, 2 }, d64x3[2] = { 64, 3 };

/* A small file with every kind of value and two tensors: 64 bytes of F32 (8, 2), Q8_0 (64, 3). */
static void sample(struct image *m)
{
	static const uint8_t f15[4] = { 0, 0, 0xC0, 0x3F };			/* 1.5f */
	static const uint8_t d25[8] = { 0, 0, 0, 0, 0, 0, 0x04, 0x40 };		/* 2.5 */

	head(m, 2, 16);
	kv(m, "a.u8", 0, 1, 200);
	kv(m, "a.i8", 1, 1, 0xFE);
	kv(m, "a.u16", 2, 2, 60000);
	kv(m, "a.i16", 3, 2, 0xFFFE);
	kv(m, "a.u32", 4, 4, 4000000000u);
	kv(m, "a.i32", 5, 4, 7);
	text(m, "a.f32"), le(m, 4, 6), add(m, f15, 4);
	kv(m, "a.bool", 7, 1, 1);
	text(m, "a.str"), le(m, 4, 8), text(m, "h\xC3\xA9");
	kv(m, "a.u64", 10, 8, UINT64_MAX);
	kv(m, "a.i64", 11, 8, 9);
	text(m, "a.f64"), le(m, 4, 12), add(m, d25, 8);
	array(m, "b.str", 8, 3), text(m, "x"), text(m, ""), text(m, "yz");
	array(m, "b.i16", 3, 2), le(m, 2, 0xFFFF), le(m, 2, 5);
	array(m, "b.f32", 6, 1), add(m, f15, 4);
	array(m, "b.none", 4, 0);
	info(m, "first", 2, d8x2, 0, 0);
	info(m, "second", 2, d64x3, 8, 64);
	pad(m, 32);
	add(m, NULL, 64 + 6 * 34);
	pad(m, 32);
}

static void test_values(void)
{
	struct image m = { 0 };
	struct outcome o;
	uint64_t u = 0, at = 0;
	int64_t i = 0;
	float f = 0;
	double d = 0;
	bool b = false;
	struct str s;

	sample(&m);
	CHECK(read_image(&o, &m) == OK);
	CHECK(o.g.version == 3 && o.g.alignment == 32 && !o.g.trailing && o.g.end == m.n);
	CHECK(o.g.n_kv == 16 && o.g.n_tensors == 2 && o.g.data_off % 32 == 0);
	CHECK(memcmp(o.g.header, m.p, o.g.data_off) == 0);
	CHECK(gguf_u64(&o.g, "a.u8", &u) && u == 200);
	CHECK(gguf_u64(&o.g, "a.u16", &u) && u == 60000);
	CHECK(gguf_u64(&o.g, "a.u32", &u) && u == 4000000000u);
	CHECK(gguf_u64(&o.g, "a.i32", &u) && u == 7);
	CHECK(gguf_u64(&o.g, "a.u64", &u) && u == UINT64_MAX);
	CHECK(gguf_u64(&o.g, "a.i64", &u) && u == 9);
	u = 77;
	CHECK(!gguf_u64(&o.g, "a.i8", &u) && !gguf_u64(&o.g, "a.i16", &u));	/* negative */
	CHECK(!gguf_u64(&o.g, "a.bool", &u) && !gguf_u64(&o.g, "a.f32", &u));
	CHECK(!gguf_u64(&o.g, "a.str", &u) && !gguf_u64(&o.g, "b.i16", &u));
	CHECK(!gguf_u64(&o.g, "a", &u) && !gguf_u64(&o.g, "", &u) && u == 77);
	CHECK(gguf_f32(&o.g, "a.f32", &f) && f == 1.5f);
	CHECK(gguf_f32(&o.g, "a.f64", &f) && f == 2.5f);
	CHECK(!gguf_f32(&o.g, "a.u32", &f) && !gguf_f32(&o.g, "b.f32", &f));
	CHECK(gguf_bool(&o.g, "a.bool", &b) && b && !gguf_bool(&o.g, "a.u8", &b));
	CHECK(gguf_str(&o.g, "a.str", &s) && str_is(s, "h\xC3\xA9"));
	CHECK(!gguf_str(&o.g, "a.u64", &s) && !gguf_str(&o.g, "b.str", &s));
	const struct gguf_kv *k = gguf_find(&o.g, "b.str");
	CHECK(k && k->type == GGUF_ARR && k->elem == GGUF_STR && k->count == 3);
	CHECK(k && gguf_next_str(k, &at, &s) && str_is(s, "x"));
	CHECK(k && gguf_next_str(k, &at, &s) && s.n == 0);
	CHECK(k && gguf_next_str(k, &at, &s) && str_is(s, "yz") && !gguf_next_str(k, &at, &s));
	for (at = 1; k && at < 40; at++)	/* a wild position reads nothing outside */
		for (uint64_t w = at; gguf_next_str(k, &w, &s);)
			CHECK((const uint8_t *)s.p + s.n <= k->data + k->data_bytes);
	k = gguf_find(&o.g, "b.i16");
	CHECK(k && gguf_array_int(k, 0, &i) && i == -1 && gguf_array_int(k, 1, &i) && i == 5);
	CHECK(k && !gguf_array_int(k, 2, &i) && !gguf_array_float(k, 0, &d));
	k = gguf_find(&o.g, "b.f32");
	CHECK(k && gguf_array_float(k, 0, &d) && d == 1.5 && !gguf_array_int(k, 0, &i));
	at = 0;
	CHECK(k && !gguf_next_str(k, &at, &s));
	k = gguf_find(&o.g, "b.none");						/* GG-041 */
	CHECK(k && k->count == 0 && k->data_bytes == 0 && !gguf_array_int(k, 0, &i));
	CHECK(gguf_find(&o.g, "a.u8") && !gguf_array_int(gguf_find(&o.g, "a.u8"), 0, &i));
	const struct gguf_tensor *t = gguf_find_tensor(&o.g, "second");
	CHECK(t && t == &o.g.tensors[1] && t->n_dims == 2 && t->shape[0] == 3 && t->shape[1] == 64);
	CHECK(t && t->dtype == DT_Q8_0 && t->bytes == 204 && t->off == o.g.data_off + 64);
	CHECK(!gguf_find_tensor(&o.g, "secon") && !gguf_find_tensor(&o.g, "a.u8"));
	done(&o);
	CHECK(!gguf_find(&o.g, "a.u8") && !gguf_find_tensor(&o.g, "first"));
	free(m.p);
}

static void test_header(void)
{
	struct image m = { 0 };
	static const struct { const char *id; uint32_t version; enum status want; } v[] = {
		{ "GG-005", 0, ERR_FORMAT }, { "GG-006", 1, ERR_UNSUPPORTED },
		{ "GG-008", 2, OK }, { "GG-007", 4, ERR_UNSUPPORTED },
		{ "GG-009", 0x03000000, ERR_UNSUPPORTED },
		{ "v2 swapped", 0x02000000, ERR_UNSUPPORTED },
		{ "-1", UINT32_MAX, ERR_UNSUPPORTED },
	};
	static const struct { const char *id; uint64_t n_tensors, n_kv; enum status want; } c[] = {
		{ "GG-010", UINT64_MAX, 0, ERR_FORMAT }, { "GG-011", 1ull << 60, 0, ERR_FORMAT },
		{ "GG-013", 0, UINT64_MAX, ERR_FORMAT }, { "GG-014", 0, 1ull << 60, ERR_FORMAT },
		{ "both", 1ull << 63, 1ull << 63, ERR_FORMAT }, { "GG-012", 3, 16, ERR_FORMAT },
		{ "GG-015", 2, 17, ERR_FORMAT }, { "one key less", 2, 15, ERR_FORMAT },
		{ "tensor as key", 1, 17, ERR_FORMAT }, { "swapped", 16, 2, ERR_FORMAT },
	};

	add(&m, NULL, 0);
	refused("GG-001", &m, ERR_FORMAT);
	add(&m, "GGU", 3);
	refused("GG-003", &m, ERR_FORMAT);
	add(&m, "F", 1);
	refused("GG-002", &m, ERR_FORMAT);
	sample(&m);
	m.p[3] = 'f';
	refused("GG-004", &m, ERR_FORMAT);
	for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
		sample(&m);
		store_le(m.p + 4, 4, v[i].version);
		if (v[i].want == OK)
			accepted(v[i].id, &m, 0);
		else
			refused(v[i].id, &m, v[i].want);
	}
	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		sample(&m);
		store_le(m.p + 8, 8, c[i].n_tensors);
		store_le(m.p + 16, 8, c[i].n_kv);
		refused(c[i].id, &m, c[i].want);
	}
	head(&m, 0, 0);
	accepted("GG-016, no padding", &m, 0);
	pad(&m, 32);
	accepted("GG-016", &m, 0);
	free(m.p);
}

/* The message for a big-endian file says so: nothing else would tell why it fails. */
static void test_endian_message(void)
{
	struct image m = { 0 };
	struct outcome o;

	add(&m, "GGUF\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
	read_image(&o, &m);
	CHECK(o.st == ERR_UNSUPPORTED && strstr(o.e.msg, "big-endian"));
	done(&o);
	free(m.p);
}

static void key_case(const char *id, const void *key, size_t n, uint64_t said, enum status want)
{
	struct image m = { 0 };

	head(&m, 0, 2);
	kv(&m, "general.x", 4, 4, 1);
	le(&m, 8, said);
	add(&m, key, n);
	le(&m, 4, 4);
	le(&m, 4, 1);
	pad(&m, 32);
	if (want == OK)
		accepted(id, &m, 0);
	else
		refused(id, &m, want);
	free(m.p);
}

static void test_keys(void)
{
	static char big[70000];

	memset(big, 'k', sizeof big);
	key_case("plain", "general.y", 9, 9, OK);
	key_case("GG-020", "general.y", 9, UINT64_MAX, ERR_FORMAT);
	key_case("GG-020 - 40", "general.y", 9, UINT64_MAX - 40, ERR_FORMAT);
	key_case("GG-021", "general.y", 9, 1000, ERR_FORMAT);
	key_case("GG-022", "", 0, 0, ERR_FORMAT);
	key_case("GG-023", "general.x", 9, 9, ERR_FORMAT);
	key_case("GG-024", "gen\0ral.y", 9, 9, ERR_FORMAT);
	key_case("GG-025", big, 70000, 70000, ERR_FORMAT);
	key_case("65536", big, 65536, 65536, ERR_FORMAT);
	key_case("65535", big, 65535, 65535, OK);
	key_case("GG-026", "g\xC3\xA9n", 4, 4, ERR_FORMAT);
	key_case("GG-027", "general.y\0", 10, 10, ERR_FORMAT);
	key_case("escape", "a\x1B[2J", 5, 5, ERR_FORMAT);
	key_case("DEL", "a\x7F", 2, 2, ERR_FORMAT);
}

/* One key "k" whose type and value are the bytes of v, then a sentinel key. */
static void value_case(const char *id, struct image *v, enum status want)
{
	struct image m = { 0 };

	head(&m, 0, 2);
	text(&m, "k");
	add(&m, v->p, v->n);
	kv(&m, "sentinel", 4, 4, 1);
	pad(&m, 32);
	if (want == OK)
		accepted(id, &m, 0);
	else
		refused(id, &m, want);
	free(m.p);
	v->n = 0;
}

static void test_value_cases(void)
{
	struct image v = { 0 };
	static const struct { const char *id; unsigned elem; uint64_t n; } wrap[] = {
		{ "GG-037", 10, 1ull << 61 }, { "GG-038", 4, 1ull << 62 },
		{ "GG-039", 8, UINT64_MAX }, { "GG-040", 0, 1ull << 20 },
		{ "wrap to 4", 4, (1ull << 62) + 1 }, { "strings", 8, 1ull << 61 },
		{ "strings past the end", 8, 5 }, { "bools", 7, UINT64_MAX },
	};

	le(&v, 4, 13), le(&v, 4, 1), value_case("GG-030", &v, ERR_FORMAT);
	le(&v, 4, UINT32_MAX), le(&v, 4, 1), value_case("GG-031", &v, ERR_FORMAT);
	le(&v, 4, 8), le(&v, 8, UINT64_MAX), value_case("GG-032", &v, ERR_FORMAT);
	le(&v, 4, 8), le(&v, 8, 100), value_case("GG-033", &v, ERR_FORMAT);
	le(&v, 4, 7), le(&v, 1, 2), value_case("GG-034", &v, ERR_FORMAT);
	le(&v, 4, 7), le(&v, 1, 0), value_case("bool 0", &v, OK);
	le(&v, 4, 9), le(&v, 4, 7), le(&v, 8, 3), le(&v, 3, 0x020100);
	value_case("bool 2 in an array", &v, ERR_FORMAT);
	le(&v, 4, 9), le(&v, 4, 9), le(&v, 8, 1), le(&v, 4, 0), le(&v, 8, 1), le(&v, 1, 1);
	value_case("GG-035", &v, ERR_UNSUPPORTED);
	le(&v, 4, 9), le(&v, 4, 99), le(&v, 8, 1), le(&v, 4, 0);
	value_case("GG-036", &v, ERR_FORMAT);
	for (size_t i = 0; i < sizeof wrap / sizeof *wrap; i++) {
		le(&v, 4, 9), le(&v, 4, wrap[i].elem), le(&v, 8, wrap[i].n), le(&v, 8, 0);
		value_case(wrap[i].id, &v, ERR_FORMAT);
	}
	le(&v, 4, 9), le(&v, 4, 4), le(&v, 8, 0), value_case("GG-041", &v, OK);
	le(&v, 4, 9), le(&v, 4, 8), le(&v, 8, 0), value_case("GG-042", &v, OK);
	le(&v, 4, 9);
	for (int i = 0; i < 50000; i++)
		le(&v, 4, 9), le(&v, 8, 1);
	value_case("GG-043", &v, ERR_UNSUPPORTED);
	free(v.p);
}

/* GG-044..046: what the container can know of wrongly typed vocabularies. */
static void test_typed_access(void)
{
	struct image m = { 0 };
	struct outcome o;
	uint64_t at = 0;
	int64_t i;
	double d;
	float f;
	struct str s;

	head(&m, 0, 6);
	array(&m, "tokenizer.ggml.scores", 0, 4), le(&m, 4, 0x01020304);
	array(&m, "tokenizer.ggml.tokens", 4, 1), le(&m, 4, 5);
	array(&m, "big", 10, 2), le(&m, 8, UINT64_MAX), le(&m, 8, INT64_MAX);
	kv(&m, "nan", 6, 4, 0x7FC00000);
	kv(&m, "inf", 6, 4, 0x7F800000);
	kv(&m, "huge", 12, 8, 0x7FE0000000000000);	/* 2^1023 */
	pad(&m, 32);
	CHECK(read_image(&o, &m) == OK);
	const struct gguf_kv *k = gguf_find(&o.g, "tokenizer.ggml.scores");
	CHECK(k && !gguf_array_float(k, 0, &d) && k->elem == GGUF_U8);
	k = gguf_find(&o.g, "tokenizer.ggml.tokens");
	CHECK(k && !gguf_next_str(k, &at, &s) && at == 0);
	k = gguf_find(&o.g, "big");
	CHECK(k && !gguf_array_int(k, 0, &i) && gguf_array_int(k, 1, &i) && i == INT64_MAX);
	CHECK(!gguf_f32(&o.g, "nan", &f) && !gguf_f32(&o.g, "inf", &f));
	CHECK(!gguf_f32(&o.g, "huge", &f));
	done(&o);
	free(m.p);
}

static void test_alignment(void)
{
	static const struct { const char *id; unsigned type, size; uint64_t v; enum status want;
			      size_t notes; } c[] = {
		{ "GG-050", 4, 4, 0, ERR_FORMAT, 0 }, { "GG-051", 4, 4, 3, ERR_FORMAT, 0 },
		{ "GG-052", 4, 4, 1, OK, 1 }, { "2", 4, 4, 2, OK, 1 }, { "GG-058", 4, 4, 4, OK, 1 },
		{ "8", 4, 4, 8, OK, 0 }, { "GG-057", 4, 4, 4096, OK, 0 },
		{ "1 MiB", 4, 4, 1 << 20, OK, 0 }, { "2 MiB", 4, 4, 2 << 20, ERR_UNSUPPORTED, 0 },
		{ "GG-053", 4, 4, 1u << 31, ERR_UNSUPPORTED, 0 },
		{ "GG-054", 10, 8, 32, ERR_FORMAT, 0 }, { "GG-055", 5, 4, 32, ERR_FORMAT, 0 },
		{ "GG-056", 8, 8, 0, ERR_FORMAT, 0 }, { "f32", 6, 4, 0x42000000, ERR_FORMAT, 0 },
	};
	struct image m = { 0 };

	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		size_t a = c[i].want == OK ? (size_t)c[i].v : 32;
		head(&m, 2, 1);
		kv(&m, "general.alignment", c[i].type, c[i].size, c[i].v);
		info(&m, "t", 1, d4, 24, 0);			/* I8[4] */
		info(&m, "u", 1, d4, 24, a < 4 ? 4 : a);
		pad(&m, a);
		add(&m, NULL, 4), pad(&m, a);
		add(&m, NULL, 4), pad(&m, a);
		if (c[i].want == OK)
			accepted(c[i].id, &m, c[i].notes);
		else
			refused(c[i].id, &m, c[i].want);
	}
	head(&m, 0, 1);
	array(&m, "general.alignment", 4, 1), le(&m, 4, 32), pad(&m, 32);
	refused("alignment as array", &m, ERR_FORMAT);
	head(&m, 0, 2);
	kv(&m, "general.alignment", 4, 4, 64), kv(&m, "general.alignment", 4, 4, 32), pad(&m, 64);
	refused("alignment twice", &m, ERR_FORMAT);
	free(m.p);
}

#define BIG (1ull << 40)
#define TEN "1234567890"
static void test_tensors(void)
{
	static const struct {
		const char *id, *name;
		size_t name_n;
		uint64_t said;		/* length field; 0 is name_n */
		unsigned n_dims;
		uint64_t dims[5];
		unsigned type;
		enum status want;
	} c[] = {
		{ "plain", "t", 1, 0, 1, { 4 }, 24, OK },
		{ "GG-060", "", 0, 0, 1, { 4 }, 24, ERR_FORMAT },
		{ "GG-061", TEN TEN TEN TEN TEN TEN "123", 63, 0, 1, { 4 }, 24, OK },
		{ "GG-062", TEN TEN TEN TEN TEN TEN "1234", 64, 0, 1, { 4 }, 24, ERR_FORMAT },
		{ "GG-063", "t", 1, UINT64_MAX, 1, { 4 }, 24, ERR_FORMAT },
		{ "GG-065", "a\0b", 3, 0, 1, { 4 }, 24, ERR_FORMAT },
		{ "GG-066", "a\0", 2, 0, 1, { 4 }, 24, ERR_FORMAT },
		{ "GG-070", "t", 1, 0, 0, { 0 }, 24, ERR_FORMAT },
		{ "4 dims", "t", 1, 0, 4, { 2, 2, 1, 1 }, 24, OK },
		{ "GG-071", "t", 1, 0, 5, { 4, 1, 1, 1, 1 }, 24, ERR_FORMAT },
		{ "GG-072", "t", 1, 0, UINT32_MAX, { 4, 1, 1, 1, 1 }, 24, ERR_FORMAT },
		{ "GG-073", "t", 1, 0, 2, { 0, 4 }, 24, ERR_FORMAT },
		{ "GG-074", "t", 1, 0, 2, { 4, 0 }, 24, ERR_FORMAT },
		{ "GG-075", "t", 1, 0, 1, { UINT64_MAX }, 24, ERR_FORMAT },
		{ "two negative", "t", 1, 0, 2, { UINT64_MAX, UINT64_MAX }, 24, ERR_FORMAT },
		{ "GG-076", "t", 1, 0, 3, { 1ull << 32, 1ull << 32, 4 }, 24, ERR_FORMAT },
		{ "GG-077", "t", 1, 0, 1, { 1ull << 62 }, 0, ERR_FORMAT },
		{ "GG-078", "t", 1, 0, 2, { 1ull << 31, 1ull << 31 }, 28, ERR_FORMAT },
		{ "GG-080", "t", 1, 0, 1, { 4 }, UINT32_MAX, ERR_UNSUPPORTED },
		{ "GG-081", "t", 1, 0, 1, { 4 }, 1000, ERR_UNSUPPORTED },
		{ "GG-082", "t", 1, 0, 1, { 32 }, 4, ERR_UNSUPPORTED },
		{ "GG-083", "t", 1, 0, 1, { 31 }, 8, ERR_FORMAT },
		{ "GG-084", "t", 1, 0, 2, { 16, 2 }, 39, ERR_FORMAT },
		{ "too large", "t", 1, 0, 1, { BIG }, 24, ERR_FORMAT },
	};
	struct image m = { 0 };

	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		head(&m, 1, 0);
		le(&m, 8, c[i].said ? c[i].said : c[i].name_n);
		add(&m, c[i].name, c[i].name_n);
		le(&m, 4, c[i].n_dims);
		for (unsigned j = 0; j < c[i].n_dims && j < 5; j++)
			le(&m, 8, c[i].dims[j]);
		le(&m, 4, c[i].type);
		le(&m, 8, 0);
		pad(&m, 32);
		add(&m, NULL, 64);
		if (c[i].want == OK)
			accepted(c[i].id, &m, 0);
		else
			refused(c[i].id, &m, c[i].want);
	}
	head(&m, 2, 0);
	info(&m, "same", 1, d4, 24, 0), info(&m, "same", 1, d4, 24, 32);
	pad(&m, 32);
	add(&m, NULL, 64);
	refused("GG-064", &m, ERR_FORMAT);
	free(m.p);
}

/* Two tensors of 40 bytes of I8 each; where they are said to be, and how much data follows. */
static void test_offsets(void)
{
	static const struct {
		const char *id;
		uint64_t off[2];
		size_t data;
		enum status want;
	} c[] = {
		{ "plain", { 0, 64 }, 128, OK },
		{ "GG-090", { 0, 41 }, 128, ERR_FORMAT },
		{ "GG-091", { 0, 1 << 20 }, 128, ERR_FORMAT },
		{ "GG-092", { 0, UINT64_MAX - 63 }, 128, ERR_FORMAT },
		{ "wraps first", { UINT64_MAX - 31, 32 }, 128, ERR_FORMAT },
		{ "GG-093", { 0, 32 }, 128, ERR_FORMAT }, { "alias", { 0, 0 }, 128, ERR_FORMAT },
		{ "GG-094", { 0, 96 }, 256, ERR_FORMAT },
		{ "gap first", { 32, 96 }, 256, ERR_FORMAT },
		{ "GG-095", { 64, 0 }, 128, ERR_FORMAT }, { "GG-096", { 0, 64 }, 100, ERR_FORMAT },
		{ "GG-097", { 0, 64 }, 0, ERR_FORMAT }, { "GG-098", { 0, 64 }, 103, ERR_FORMAT },
		{ "GG-099", { 0, 64 }, 104, ERR_FORMAT },
		{ "GG-099 packed", { 0, 40 }, 80, ERR_FORMAT },
	};
	static const uint64_t d40[1] = { 40 }, huge[1] = { (1ull << 63) - 64 };
	struct image m = { 0 };

	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		head(&m, 2, 0);
		info(&m, "a", 1, d40, 24, c[i].off[0]), info(&m, "b", 1, d40, 24, c[i].off[1]);
		pad(&m, 32);
		add(&m, NULL, c[i].data);
		if (c[i].want == OK)
			accepted(c[i].id, &m, 0);
		else
			refused(c[i].id, &m, c[i].want);
	}
	head(&m, 2, 0);
	info(&m, "a", 1, huge, 24, 0), info(&m, "b", 1, huge, 24, huge[0]);
	pad(&m, 32);
	add(&m, NULL, 64);
	refused("GG-100", &m, ERR_FORMAT);
	head(&m, 1, 0);
	info(&m, "a", 1, d40, 24, 0);
	add(&m, NULL, 64);
	refused("GG-099 no padding of the header", &m, ERR_FORMAT);
	free(m.p);
}

static void test_trailing(void)
{
	struct image m = { 0 };
	struct outcome o;
	size_t end;

	sample(&m);
	end = m.n;
	add(&m, "x", 1);			/* GG-110: verify decides */
	CHECK(read_image(&o, &m) == OK && o.g.trailing && o.g.end == end);
	done(&o);
	sample(&m);
	m.p[m.n - 1] = 1;			/* GG-111: content of padding is for verify */
	CHECK(read_image(&o, &m) == OK && !o.g.trailing);
	done(&o);
	free(m.p);
}

/* Files that differ in version, alignment, kinds of values, types and shapes of tensors: one for each seed. */
static void varied(struct image *m, uint64_t seed)
{
	static const struct { unsigned id, block, bytes; } types[] = {
		{ 0, 1, 4 }, { 1, 1, 2 }, { 2, 32, 18 }, { 3, 32, 20 }, { 6, 32, 22 }, { 7, 32, 24 }, { 8, 32, 34 },
		{ 10, 256, 84 }, { 11, 256, 110 }, { 12, 256, 144 }, { 13, 256, 176 }, { 14, 256, 210 }, { 20, 32, 18 },
		{ 23, 256, 136 }, { 24, 1, 1 }, { 25, 1, 2 }, { 26, 1, 4 }, { 27, 1, 8 }, { 28, 1, 8 }, { 30, 1, 2 },
		{ 39, 32, 17 },
	};
	uint64_t a = UINT64_C(8) << seed % 4, n_tensors = 1 + seed % 5, at = 0;
	char name[32];

	head(m, n_tensors, 4);
	store_le(m->p + 4, 4, seed % 5 == 4 ? 2 : 3);
	kv(m, "general.alignment", 4, 4, a);
	array(m, "x.texts", 8, seed);
	for (uint64_t i = 0; i < seed; i++)
		text(m, &"a text that is not short"[i]);
	array(m, "x.numbers", 3, 3 * seed), add(m, NULL, 6 * seed);
	kv(m, "x.last", 10, 8, UINT64_MAX);
	for (uint64_t i = 0; i < n_tensors; i++) {
		size_t t = (seed + 5 * i) % (sizeof types / sizeof *types);
		unsigned n_dims = (unsigned)((seed + i) % 4 + 1);
		uint64_t rows = n_dims > 1 ? 1 + seed % 3 : 1, dims[4] = { types[t].block, rows, 1, 1 };
		snprintf(name, sizeof name, "blk.%" PRIu64 ".weight", i);
		info(m, name, n_dims, dims, types[t].id, at);
		at += (types[t].bytes * rows + a - 1) / a * a;
	}
	pad(m, a);
	add(m, NULL, at);
}

static void cut(const struct image *m, uint64_t seed)
{
	struct outcome o;

	CHECKF(read_image(&o, m) == OK && !o.g.trailing, "seed %" PRIu64 ": %s", seed, o.e.msg);
	done(&o);
	for (size_t n = m->n; n-- > 0;) {
		CHECK(truncate(path, (off_t)n) == 0);
		read_path(&o);
		CHECKF(o.st == ERR_FORMAT, "seed %" PRIu64 ", %zu bytes: %d %s", seed, n, (int)o.st, o.e.msg);
		done(&o);
	}
}

/* Every cut is refused, in the data of the last tensor and in its padding as well. */
static void test_cuts(void)
{
	struct image m = { 0 };

	sample(&m);
	cut(&m, 0);
	for (uint64_t seed = 1; seed <= 21; seed++) {
		varied(&m, seed);
		cut(&m, seed);
	}
	free(m.p);
}

/* Every bit of the header in turn: any verdict, but what is accepted can be used. */
static void test_flips(void)
{
	struct image m = { 0 };
	struct outcome o;
	uint64_t sum = 0;
	size_t n_ok = 0, header;
	int fd;

	sample(&m);
	read_image(&o, &m);
	header = (size_t)o.g.data_off;
	done(&o);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	for (size_t bit = 0; bit < 8 * header; bit++) {
		uint8_t b = m.p[bit / 8] ^ (uint8_t)(1u << bit % 8);
		CHECK(pwrite(fd, &b, 1, (off_t)(bit / 8)) == 1);
		if (read_path(&o) == OK) {
			n_ok++;
			sum += touch(&o);
		}
		done(&o);
		CHECK(pwrite(fd, &m.p[bit / 8], 1, (off_t)(bit / 8)) == 1);
	}
	close(fd);
	CHECK(n_ok > 0 && n_ok < 8 * header && sum > 0);
	free(m.p);
}

/* A file that claims a tebibyte (and has it, as a hole) must cost neither memory nor time. */
static void test_sparse(void)
{
	static const struct { const char *id; uint64_t n_kv; unsigned type; uint64_t n; } c[] = {
		{ "string", 1, 8, 1ull << 39 }, { "string just too long", 1, 8, 512 << 20 },
		{ "array", 1, 9, 1ull << 39 }, { "keys", 1ull << 32, 8, 1 },
	};
	struct image m = { 0 };
	struct outcome o;
	struct rusage before, after;

	getrusage(RUSAGE_SELF, &before);
	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		head(&m, 0, c[i].n_kv);
		text(&m, "k");
		le(&m, 4, c[i].type);
		if (c[i].type == 9)
			le(&m, 4, 0);
		le(&m, 8, c[i].n);
		store(&m, m.n);
		CHECK(truncate(path, 1ll << 40) == 0);
		read_path(&o);
		CHECKF(o.st == ERR_UNSUPPORTED, "%s: %d %s", c[i].id, (int)o.st, o.e.msg);
		done(&o);
	}
	head(&m, 200000, 65536);	/* both counts allowed, nothing behind them */
	store(&m, m.n);
	CHECK(truncate(path, 1ll << 40) == 0);
	CHECK(read_path(&o) == ERR_FORMAT);
	done(&o);
	getrusage(RUSAGE_SELF, &after);
	CHECKF(after.ru_maxrss - before.ru_maxrss < 16 << 10, "%ld KiB",
	       after.ru_maxrss - before.ru_maxrss);
	unlink(path);
	free(m.p);
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* GG-116, GG-117: 60,000 of each, names that differ only at their ends. */
static void test_many(void)
{
	struct image m = { 0 };
	struct outcome o;
	char name[64];
	double t;

	for (int tensors = 0; tensors < 2; tensors++) {
		head(&m, tensors ? 60000 : 0, tensors ? 0 : 60000);
		for (uint64_t i = 0; i < 60000; i++) {
			snprintf(name, sizeof name, "a.rather.long.common.beginning.of.%06" PRIu64,
				 i * 7919 % 60000);
			if (tensors)
				info(&m, name, 1, d4, 24, 32 * i);
			else
				kv(&m, name, 4, 4, i);
		}
		pad(&m, 32);
		if (tensors)
			add(&m, NULL, 60000 * 32);
		store(&m, m.n);
		t = cpu_seconds();
		read_path(&o);
		t = cpu_seconds() - t;
		CHECKF(o.st == OK && o.g.n_kv + o.g.n_tensors == 60000, "%s", o.e.msg);
		CHECKF(t < 0.2 * SLOW, "%.3f s", t);
		for (uint64_t i = 0; i < 60000; i += 997) {
			snprintf(name, sizeof name, "a.rather.long.common.beginning.of.%06" PRIu64,
				 i * 7919 % 60000);
			CHECK(tensors ? gguf_find_tensor(&o.g, name) == &o.g.tensors[i]
				      : gguf_find(&o.g, name) == &o.g.kv[i]);
		}
		done(&o);
	}
	free(m.p);
}

/* The header outgrows the first read many times over: nothing may point into the old buffer. */
static void test_growth(void)
{
	struct image m = { 0 };
	struct outcome o;
	struct str s;
	char key[32];
	size_t n = 700000;

	head(&m, 1, 8);
	for (int i = 0; i < 8; i++) {
		snprintf(key, sizeof key, "k%d", i);
		text(&m, key), le(&m, 4, 8), le(&m, 8, n);
		add(&m, NULL, n);
		memset(m.p + m.n - n, 'a' + i, n);
	}
	info(&m, "t", 1, d4, 0, 0);
	pad(&m, 32);
	add(&m, NULL, 32);
	CHECK(read_image(&o, &m) == OK);
	for (int i = 0; i < 8; i++) {
		snprintf(key, sizeof key, "k%d", i);
		CHECK(gguf_str(&o.g, key, &s) && s.n == n);
		CHECK(s.p[0] == 'a' + i && s.p[n - 1] == 'a' + i);
	}
	CHECK(o.st == OK && memcmp(o.g.header, m.p, o.g.data_off) == 0);
	done(&o);
	free(m.p);
}

/* ---- the writer ------------------------------------------------------------------------------ */

static void put_all(struct gguf_writer *w, size_t *hole, size_t *spaces)
{
	static const uint64_t s2[2] = { 2, 8 }, s3[3] = { 3, 2, 64 };

	gguf_writer_open(w, 64);
	gguf_put_u32(w, "general.alignment", 64);
	gguf_put_u64(w, "u64", 1ull << 40);
	gguf_put_f32(w, "f32", 1.5f);
	gguf_put_bool(w, "bool", true);
	gguf_put_str(w, "str", STR("a\0b"));
	gguf_put_str(w, "empty", (struct str){ NULL, 0 });
	gguf_put_array(w, "i32", GGUF_I32, "\x01\0\0\0\xFE\xFF\xFF\xFF", 2);
	gguf_put_array(w, "none", GGUF_F64, NULL, 0);
	*hole = gguf_put_array(w, "hole", GGUF_U8, NULL, 40);
	gguf_put_strings(w, "strings", 2);
	gguf_put_item(w, STR("one"));
	gguf_put_item(w, STR(""));
	*spaces = gguf_put_spaces(w, "spaces", 4096);
	CHECK(gguf_put_tensor(w, "first", DT_F32, 2, s2) == 0);
	CHECK(gguf_put_tensor(w, "second", DT_MXFP4, 3, s3) == 64);
	CHECK(gguf_put_tensor(w, "third", DT_BF16, 1, s2) == 64 + 256);	/* 6*2*17 = 204 */
}

static void test_round_trip(void)
{
	struct gguf_writer w, again;
	struct outcome o;
	struct err e;
	struct image m = { 0 };
	uint64_t size = 0, size2 = 0, u, at = 0;
	size_t hole, spaces;
	int64_t i;
	float f;
	bool b;
	struct str s;

	put_all(&w, &hole, &spaces);
	CHECK(gguf_writer_finish(&w, &size, &e) == OK);
	CHECK(w.len % 64 == 0 && size == w.len + 64 + 256 + 64);
	put_all(&again, &hole, &spaces);
	CHECK(gguf_writer_finish(&again, &size2, &e) == OK && size2 == size);
	CHECK(again.len == w.len && memcmp(again.buf, w.buf, w.len) == 0);
	for (size_t k = 0; k < 4096; k++)
		CHECK(w.buf[spaces + k] == ' ');
	CHECK(w.buf[spaces - 8] == 0 && w.buf[spaces - 7] == 0x10);
	memset(w.buf + hole, 0x5A, 40);
	add(&m, w.buf, w.len);
	add(&m, NULL, (size_t)size - w.len);
	CHECK(read_image(&o, &m) == OK);
	CHECKF(o.st == OK, "%s", o.e.msg);
	CHECK(o.g.data_off == w.len && o.g.alignment == 64 && o.g.end == size && !o.g.trailing);
	CHECK(o.g.n_kv == 11 && o.g.n_tensors == 3 && o.notes.n_lines == 0);
	CHECK(gguf_u64(&o.g, "u64", &u) && u == 1ull << 40);
	CHECK(gguf_f32(&o.g, "f32", &f) && f == 1.5f);
	CHECK(gguf_bool(&o.g, "bool", &b) && b);
	CHECK(gguf_str(&o.g, "str", &s) && s.n == 3 && memcmp(s.p, "a\0b", 3) == 0);
	CHECK(gguf_str(&o.g, "empty", &s) && s.n == 0);
	const struct gguf_kv *k = gguf_find(&o.g, "i32");
	CHECK(k && gguf_array_int(k, 0, &i) && i == 1 && gguf_array_int(k, 1, &i) && i == -2);
	k = gguf_find(&o.g, "hole");
	CHECK(k && k->count == 40 && k->data == o.g.header + hole && k->data[39] == 0x5A);
	k = gguf_find(&o.g, "strings");
	CHECK(k && gguf_next_str(k, &at, &s) && str_is(s, "one") && gguf_next_str(k, &at, &s));
	CHECK(k && s.n == 0 && !gguf_next_str(k, &at, &s));
	CHECK(str_is(o.g.kv[0].key, "general.alignment") && str_is(o.g.kv[10].key, "spaces"));
	const struct gguf_tensor *t = gguf_find_tensor(&o.g, "second");
	CHECK(t && t->n_dims == 3 && t->shape[0] == 3 && t->shape[1] == 2 && t->shape[2] == 64);
	CHECK(t && t->dtype == DT_MXFP4 && t->bytes == 204 && t->off == w.len + 64);
	done(&o);
	gguf_writer_close(&w);
	gguf_writer_close(&w);
	gguf_writer_close(&again);
	free(m.p);
}

/* A header, compared with bytes written down here. */
static void test_exact_bytes(void)
{
	struct gguf_writer w;
	struct image m = { 0 };
	struct err e;
	uint64_t size, shape[2] = { 2, 8 };

	gguf_writer_open(&w, 32);
	gguf_put_u32(&w, "x.y", 0x01020304);
	gguf_put_strings(&w, "s", 1);
	gguf_put_item(&w, STR("v"));
	gguf_put_tensor(&w, "t", DT_F32, 2, shape);
	CHECK(gguf_writer_finish(&w, &size, &e) == OK);
	head(&m, 1, 2);
	kv(&m, "x.y", 4, 4, 0x01020304);
	array(&m, "s", 8, 1), text(&m, "v");
	info(&m, "t", 2, d8x2, 0, 0);
	pad(&m, 32);
	CHECK(w.len == m.n && memcmp(w.buf, m.p, m.n) == 0 && size == m.n + 64);
	gguf_writer_close(&w);
	free(m.p);
}

static void finish_fails(const char *id, struct gguf_writer *w)
{
	struct err e = { 0 };
	uint64_t size = 1;

	CHECKF(gguf_writer_finish(w, &size, &e) == ERR_UNSUPPORTED && e.msg[0] && size == 0,
	       "%s: %s", id, e.msg);
	gguf_writer_close(w);
}

static void test_writer_refuses(void)
{
	static char big[65537];
	static const uint64_t s[5] = { 2, 32, 1, 1, 1 }, zero[2] = { 0, 4 },
			      wide[2] = { 1ull << 40, 1ull << 40 }, large[1] = { 1ull << 62 };
	static const struct {
		const char *id, *name;
		enum dtype t;
		unsigned n;
		const uint64_t *shape;
	} c[] = {
		{ "empty name", "", DT_F32, 2, s }, { "long name", big + 65536 - 64, DT_F32, 2, s },
		{ "0 dims", "t", DT_F32, 0, s }, { "5 dims", "t", DT_F32, 5, s },
		{ "zero", "t", DT_F32, 2, zero }, { "product", "t", DT_I8, 2, wide },
		{ "bytes", "t", DT_I64, 1, large }, { "no GGUF type", "t", DT_F8_E4M3, 2, s },
		{ "none", "t", DT_NONE, 2, s }, { "rows", "t", DT_Q4_K, 2, s },
	};
	struct gguf_writer w;

	memset(big, 'k', 65536);
	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		gguf_writer_open(&w, 32);
		gguf_put_tensor(&w, c[i].name, c[i].t, c[i].n, c[i].shape);
		finish_fails(c[i].id, &w);
	}
	gguf_writer_open(&w, 32), gguf_put_u32(&w, "", 1), finish_fails("empty key", &w);
	gguf_writer_open(&w, 32), gguf_put_u32(&w, big, 1), finish_fails("long key", &w);
	gguf_writer_open(&w, 32), gguf_put_u32(&w, "\xC3\xA9", 1), finish_fails("key bytes", &w);
	gguf_writer_open(&w, 33), finish_fails("alignment 33", &w);
	gguf_writer_open(&w, 64), finish_fails("alignment not said", &w);
	gguf_writer_open(&w, 64), gguf_put_u64(&w, "general.alignment", 64);
	finish_fails("alignment as u64", &w);
	gguf_writer_open(&w, 32);
	gguf_put_u32(&w, "a", 1), gguf_put_u32(&w, "b", 1), gguf_put_bool(&w, "a", 1);
	finish_fails("key twice", &w);
	gguf_writer_open(&w, 32);
	gguf_put_tensor(&w, "t", DT_F32, 2, s), gguf_put_tensor(&w, "t", DT_I8, 1, s);
	finish_fails("tensor twice", &w);
	gguf_writer_open(&w, 32);
	gguf_put_tensor(&w, "t", DT_F32, 2, s), gguf_put_u32(&w, "a", 1);
	finish_fails("key after tensor", &w);
	gguf_writer_open(&w, 32), gguf_put_strings(&w, "s", 2), gguf_put_item(&w, STR("x"));
	finish_fails("item missing", &w);
	gguf_writer_open(&w, 32), gguf_put_strings(&w, "s", 1), gguf_put_u32(&w, "a", 1);
	finish_fails("item missing before a key", &w);
	gguf_writer_open(&w, 32), gguf_put_item(&w, STR("x")), finish_fails("item too many", &w);
	gguf_writer_open(&w, 32), gguf_put_array(&w, "a", GGUF_STR, NULL, 1);
	finish_fails("strings by bytes", &w);
	gguf_writer_open(&w, 32), gguf_put_array(&w, "a", GGUF_BOOL, "\2", 1);
	finish_fails("bool 2", &w);
	gguf_writer_open(&w, 32), gguf_put_array(&w, "a", GGUF_U64, NULL, 1ull << 61);
	finish_fails("array wraps", &w);
	gguf_writer_open(&w, 32), gguf_put_spaces(&w, "a", 1ull << 40), finish_fails("limit", &w);
}

static void test_through_the_program(void)
{
	hostile_report("GGUF headers", 90);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/x.gguf", dir);
	RUN(test_sparse);	/* first: it looks at the peak of memory */
	RUN(test_values);
	RUN(test_header);
	RUN(test_endian_message);
	RUN(test_keys);
	RUN(test_value_cases);
	RUN(test_typed_access);
	RUN(test_alignment);
	RUN(test_tensors);
	RUN(test_offsets);
	RUN(test_trailing);
	RUN(test_cuts);
	RUN(test_flips);
	RUN(test_many);
	RUN(test_growth);
	RUN(test_round_trip);
	RUN(test_exact_bytes);
	RUN(test_writer_refuses);
	RUN(test_through_the_program);
	unlink(path);
	rmdir(dir);
	return test_done();
}
