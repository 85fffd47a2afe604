/* SPDX-License-Identifier: MIT
 *
 * test_store.c - weights in a bounded memory: whatever the budget, the division into units, the form
 * of the model and the number of threads, the same bits; what is read, and no more; what a file that
 * fails leads to.
 */
#include <fcntl.h>
#include <unistd.h>

#include "runtime/layer.h"
#include "runtime/store.h"
#include "tests/runtime_models.h"

/* ---- a run, and what it answered ---- */

struct answer { double log_prob[N_IDS]; size_t n; double ppl, kld; uint64_t weights, most, read; };

static enum status keep_row(void *ctx, const struct perplexity_row *r, struct err *e)
{
	struct answer *a = ctx;

	if (a->n == N_IDS)
		return err_set(e, ERR_USAGE, "more rows than tokens");
	a->log_prob[a->n++] = r->log_prob;
	return OK;
}

struct how {
	unsigned threads;
	uint64_t max_memory;		/* LEAST: the smallest that is accepted */
	uint64_t piece;			/* of the store, 0 as usual */
	bool official;
	const char *reference;
	bool (*go_on)(void *ctx, uint64_t done, const char *what);
};
enum { LEAST = 0, PLENTY = 1 << 30 };

static enum status open_with(struct model *m, const char *path, uint64_t piece, struct log *notes, struct err *e)
{
	enum status st = model_open(m, path, notes, e);

	if (st != OK || !piece)
		return st;
	store_free(m->store);
	m->store = NULL;
	return store_new(&m->store, m, piece, e);
}

/* The smallest memory that a plan accepts. */
static uint64_t least_memory(const struct model *m, unsigned threads, struct perplexity_options o)
{
	struct perplexity_plan plan;
	struct err e = { 0 };
	uint64_t low = 0, high = PLENTY;

	while (low + 1 < high) {
		o.max_memory = (low + high) / 2;
		*(perplexity_plan(&plan, m, threads, &o, &e) == OK ? &high : &low) = o.max_memory;
	}
	return high;
}

static enum status ask(struct answer *a, const struct made *m, const char *path, struct how how, struct err *e)
{
	uint32_t ids[N_IDS];
	struct perplexity_options o = { .ids = ids, .n_ids = N_IDS, .n_ctx = 80, .bos = TOKEN_NONE, .max_chunks = 2,
					.max_memory = how.max_memory, .path = "ids", .official = how.official };
	struct perplexity_sink sink = { .ctx = a, .row = keep_row, .go_on = how.go_on };
	struct perplexity_result r = { 0 };
	struct perplexity_plan plan;
	struct store_stats stats;
	struct pool pool = { 0 };
	struct model model = MODEL_NONE, ref = MODEL_NONE;
	struct log notes = { 0 };
	enum status st;

	*a = (struct answer){ 0 };
	for (size_t i = 0; i < N_IDS; i++)
		ids[i] = id_at(m, i);
	TRY(open_with(&model, path, how.piece, &notes, e));
	if (how.reference) {
		TRY(open_with(&ref, how.reference, how.piece, &notes, e));
		o.reference = &ref;
	}
	TRY(pool_open(&pool, how.threads, e));
	if (how.max_memory == LEAST)
		o.max_memory = least_memory(&model, pool.n, o);
	TRY(perplexity_plan(&plan, &model, pool.n, &o, e));
	a->weights = plan.store[0];
	a->most = store_most(&model);
	st = perplexity(&r, &model, &pool, &o, &plan, &sink, e);
	a->ppl = r.ppl;
	a->kld = st == OK && how.reference ? parity_percentile(&r.parity, 100) : 0;
	store_stats(&model, &stats);
	a->read = stats.read_bytes;
	parity_close(&r.parity);
out:
	pool_close(&pool);
	model_close(&model);
	model_close(&ref);
	log_close(&notes);
	return st;
}

static void same(const struct answer *a, const struct answer *b, const char *what)
{
	CHECKF(a->n == b->n && a->n > 0, "%s: %zu and %zu rows", what, a->n, b->n);
	CHECKF(memcmp(a->log_prob, b->log_prob, a->n * sizeof *a->log_prob) == 0, "%s", what);
}

static void the_least_memory_gives_the_same_bits(void)
{
	struct answer all, few;
	struct err e = { 0 };

	for (int i = 0; i < 8; i++) {	/* models, forms, activations */
		const struct made *m = &made[i & 1];
		const char *path = i & 2 ? m->ckpt : m->gguf;
		struct how how = { .threads = 2, .max_memory = PLENTY, .official = i & 4 };

		CHECKF(ask(&all, m, path, how, &e) == OK, "%s", e.msg);
		CHECK(all.weights == all.most);
		how.max_memory = LEAST;
		for (how.threads = 1; how.threads <= 4; how.threads++) {
			how.piece = how.threads & 1 ? 256 : 0;
			CHECKF(ask(&few, m, path, how, &e) == OK, "%s", e.msg);
			CHECKF(few.weights < few.most / 8, "%llu of %llu", (unsigned long long)few.weights,
			       (unsigned long long)few.most);
			same(&all, &few, "the least memory");
			CHECK(few.read >= all.read);
		}
	}
}

static void any_memory_gives_the_same_bits(void)
{
	struct answer all, some;
	struct err e = { 0 };
	struct how how = { .threads = 2, .max_memory = PLENTY, .piece = 300 };
	const struct made *m = &made[0];

	CHECKF(ask(&all, m, m->gguf, how, &e) == OK, "%s", e.msg);
	for (how.max_memory = 1400 << 10; how.max_memory < (8 << 20); how.max_memory += 370 << 10) {
		CHECKF(ask(&some, m, m->gguf, how, &e) == OK, "%llu: %s", (unsigned long long)how.max_memory, e.msg);
		same(&all, &some, "some memory");
	}
}

static void two_models_share_the_memory(void)
{
	struct answer alone, pair;
	struct err e = { 0 };
	struct how how = { .threads = 2, .max_memory = LEAST };

	for (int i = 0; i < 2; i++) {
		const struct made *m = &made[i];

		how.reference = NULL;
		CHECKF(ask(&alone, m, m->gguf, how, &e) == OK, "%s", e.msg);
		how.reference = m->ckpt;
		CHECKF(ask(&pair, m, m->gguf, how, &e) == OK, "%s", e.msg);
		same(&alone, &pair, "beside a reference");
		CHECK(pair.kld == 0);
	}
}

/* ---- what is read ---- */

/* Bytes in the GGUF of what one token at position 0 takes: a context of 40 holds blocks of 4, more
 * than the indexer picks, of which none is complete. */
static uint64_t bytes_of_a_token(const struct model *m)
{
	const struct arch *a = &m->arch;
	uint64_t sum = 0;

	for (size_t i = 0; i < m->wants.n; i++) {
		const struct want *w = &m->wants.w[i];
		uint64_t bytes = m->weights[i].tensor->bytes;
		uint32_t ratio = w->layer == LAYER_NONE ? 0 : a->ratio[w->layer];
		bool compressor = w->role >= ROLE_COMP_KV && w->role <= ROLE_COMP_NORM;

		if (w->role == ROLE_EMBED || w->role == ROLE_ROUTER_IDS)
			sum += bytes / a->n_vocab;
		else if (role_class(w->role) == CLASS_EXPERTS)
			sum += bytes / a->n_expert * a->n_expert_used;
		else if (w->role != ROLE_IDX_Q_B && w->role != ROLE_IDX_PROJ && !(compressor && ratio == 128))
			sum += bytes;
	}
	return sum;
}

static void only_the_chosen_experts_are_read(void)
{
	struct model m;
	struct session s = { 0 };
	struct pool pool = { 0 };
	struct log notes = { 0 };
	struct store_stats before, after;
	struct err e = { 0 };
	uint32_t id = 7;
	float logits[50];
	uint64_t want;

	CHECK(model_open(&m, made[0].gguf, &notes, &e) == OK && pool_open(&pool, 2, &e) == OK);
	want = bytes_of_a_token(&m);
	CHECKF(session_open(&s, &m, &pool, 40, 4, PLENTY, false, &e) == OK, "%s", e.msg);
	store_stats(&m, &before);
	CHECK(before.read_bytes == 0 && session_eval(&s, &id, 1, logits, &e) == OK);
	store_stats(&m, &after);
	CHECKF(after.read_bytes == want, "%llu bytes, not %llu", (unsigned long long)after.read_bytes,
	       (unsigned long long)want);
	CHECK(want < model_tensor_bytes(&m) / 4 * 3);
	for (int i = 0; i < 39; i++)	/* what was read stays: at most the rest, and rows of tables */
		CHECK(session_eval(&s, &id, 1, logits, &e) == OK);
	store_stats(&m, &after);
	CHECK(after.read_bytes <= model_tensor_bytes(&m) && after.kept_bytes <= after.budget);
	session_close(&s);
	pool_close(&pool);
	model_close(&m);
	log_close(&notes);
}

/* Rows at random of w's tensor, held; false where there is nothing to hold. */
static bool hold_some(struct weight *w, uint32_t *r, uint64_t *matrix, uint64_t *r0, uint64_t *end)
{
	struct err e = { 0 };
	uint64_t r1;

	*matrix = (*r = hash(*r)) % w->n_matrices;
	*r0 = (*r = hash(*r)) % w->rows;
	r1 = *r0 + 1 + (*r = hash(*r)) % (w->rows - *r0);
	CHECK(weight_hold(w, *matrix, *r0, r1, end, &e) == OK && *end > *r0 && *end <= r1);
	return w->held.rows.bytes != NULL;
}

static void is_as_in_the_file(const struct weight *w, uint64_t matrix, uint64_t r0, uint64_t end)
{
	struct weight_scratch s = { 0 };
	struct rows held, read;
	struct err e = { 0 };
	uint64_t bytes = 0;

	CHECK(weight_fetch(w, matrix, r0, end, &read, &s, &e) == OK);
	CHECK(weight_raw(w, matrix, r0, end, &held, NULL, &e) == OK);
	CHECK(held.type == read.type && dtype_bytes(read.type, end - r0, w->cols, &bytes));
	CHECKF(memcmp(held.bytes, read.bytes, (size_t)bytes) == 0, "%s", w->want->name);
	weight_scratch_close(&s);
}

/* Any rows, in any order, not told in advance; two tensors at a time in memory for three units. */
static void held_rows_are_those_of_the_file(void)
{
	struct model m;
	struct log notes = { 0 };
	struct err e = { 0 };
	struct store_stats stats;
	uint32_t r = 1;
	size_t n_held = 0;

	for (int i = 0; i < 2; i++) {
		CHECK(open_with(&m, i ? made[0].ckpt : made[0].gguf, 200, &notes, &e) == OK);
		CHECKF(store_start(&m, store_least(&m), &e) == OK, "%s", e.msg);
		for (int k = 0; k < 2000; k++) {
			struct weight w[2];
			uint64_t matrix[2], r0[2], end[2];
			bool held[2];

			for (int t = 0; t < 2; t++) {
				w[t] = m.weights[(r = hash(r)) % m.wants.n];
				held[t] = hold_some(&w[t], &r, &matrix[t], &r0[t], &end[t]);
			}
			for (int t = 0; t < 2; t++) {
				if (held[t])
					is_as_in_the_file(&w[t], matrix[t], r0[t], end[t]);
				n_held += held[t];
				weight_release(&w[t]);
			}
		}
		store_stats(&m, &stats);
		CHECK(stats.kept_bytes <= stats.budget);
		model_close(&m);
	}
	CHECKF(n_held > 6000, "%zu", n_held);
	log_close(&notes);
}

/* Holds every unit of a model with all its memory once; what is kept in the end. */
static uint64_t kept_of_all(struct model *m, bool packs, size_t *n_packed)
{
	struct store_stats stats;
	struct err e = { 0 };

	*n_packed = 0;
	CHECKF(store_start(m, store_most(m), &e) == OK, "%s", e.msg);
	if (packs)
		store_pack(m);
	for (size_t i = 0; i < m->wants.n; i++) {
		struct weight w = m->weights[i];

		for (uint64_t k = 0, end; k < w.n_matrices; k++)
			for (uint64_t r = 0; r < w.rows; r = end) {
				CHECK(weight_hold(&w, k, r, w.rows, &end, &e) == OK);
				*n_packed += w.held.rows.bytes && w.held.rows.type == DT_E4M3_128;
				weight_release(&w);
			}
	}
	store_stats(m, &stats);
	CHECK(stats.kept_bytes <= stats.budget);
	return stats.kept_bytes;
}

/* What is held, packed or not, has the file's numbers; all that FP8 holds is packed, no more. */
static void numbers_are_the_files(struct model *m)
{
	struct weight_scratch s = { 0 };
	struct err e = { 0 };

	for (size_t i = 0; i < m->wants.n; i++) {
		struct weight w = m->weights[i], same = w;
		size_t n = (size_t)(w.rows * w.cols);
		float *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b);
		bool tables = w.want->role == ROLE_EMBED || role_class(w.want->role) == CLASS_IDS;

		for (uint64_t k = 0, end; k < w.n_matrices && !tables; k++) {
			bool odd = w.want->role == ROLE_ATTN_OUTPUT_B || (w.want->role == ROLE_UP_EXPS && k == 1);
			bool fits = w.rows > 1 && w.cols % 128 == 0 && !odd;

			CHECK(weight_hold(&w, k, 0, w.rows, &end, &e) == OK && end == w.rows);
			CHECKF((w.held.rows.type == DT_E4M3_128) == (fits && type_of(w.want, true) == DT_BF16), "%s",
			       w.want->name);
			CHECK(weight_rows(&w, k, 0, w.rows, a, NULL, &e) == OK);
			weight_release(&w);
			CHECK(weight_rows(&same, k, 0, w.rows, b, &s, &e) == OK);
			CHECKF(memcmp(a, b, n * sizeof *a) == 0, "%s", w.want->name);
		}
		free(a);
		free(b);
	}
	weight_scratch_close(&s);
}

static void bf16_that_was_fp8_takes_half_the_memory(void)
{
	struct model m;
	struct log notes = { 0 };
	struct err e = { 0 };
	size_t none, n_packed;
	uint64_t as_read, packed;

	for (int i = 0; i < 2; i++) {
		const struct made *of = &made[MADE_FP8];

		CHECK(open_with(&m, i ? of->ckpt : of->gguf, 0, &notes, &e) == OK);
		as_read = kept_of_all(&m, false, &none);
		packed = kept_of_all(&m, true, &n_packed);
		CHECKF(none == 0 && n_packed > 20, "%zu and %zu", none, n_packed);
		CHECKF(packed < as_read / 3 * 2, "%llu of %llu", (unsigned long long)packed, (unsigned long long)as_read);
		numbers_are_the_files(&m);
		model_close(&m);
		/* units of fewer rows than share a scale, in less memory than they take */
		CHECK(open_with(&m, i ? of->ckpt : of->gguf, 3 * 256, &notes, &e) == OK);
		CHECK(store_start(&m, store_least(&m) + 5000, &e) == OK);
		store_pack(&m);
		for (int k = 0; k < 500; k++) {
			struct weight w = m.weights[hash((uint32_t)k) % m.wants.n];
			uint64_t end;

			CHECK(weight_hold(&w, 0, w.rows / 2, w.rows, &end, &e) == OK);
			weight_release(&w);
		}
		model_close(&m);
	}
	log_close(&notes);
}

static void reads_past_the_cache_are_the_files(void)
{
	enum { SIZE = 300001 };
	static uint8_t want[SIZE];
	uint8_t *buf = pages_new(SIZE + 2 * DISK_ALIGN);
	const uint8_t *at;
	struct file f = FILE_NONE;
	const struct file *list[1] = { &f };
	struct disk d = { 0 };
	struct err e = { 0 };
	char path[300];
	uint32_t r = 3;

	snprintf(path, sizeof path, "%s/damaged.gguf", dir);
	for (size_t i = 0; i < SIZE; i++)
		want[i] = (uint8_t)(hash((uint32_t)i) >> 8);
	write_file(path, want, SIZE, "", 0);
	CHECK(file_open(&f, AT_FDCWD, path, true, path, &e) == OK && disk_open(&d, list, 1, &e) == OK && buf);
	for (int i = 0; i < 300; i++) {
		uint64_t off = (r = hash(r)) % SIZE, n = 1 + (r = hash(r)) % (SIZE - off);

		if (i % 3 == 0)		/* in the cache, in part or not at all */
			CHECK(fdatasync(f.fd) == 0 && posix_fadvise(f.fd, (off_t)off / 2, 0, POSIX_FADV_DONTNEED) == 0);
		CHECKF(disk_read(&d, 0, &f, buf, (size_t)n, off, &at, &e) == OK, "%s", e.msg);
		CHECKF(memcmp(at, want + off, (size_t)n) == 0, "%llu bytes at %llu", (unsigned long long)n,
		       (unsigned long long)off);
	}
	CHECK(disk_read(&d, 0, &f, buf, 3, SIZE - 2, &at, &e) == ERR_IO && strstr(e.msg, "300001"));
	CHECK(truncate(path, 200000) == 0);
	CHECK(disk_read(&d, 0, &f, buf, 150000, 100000, &at, &e) == ERR_IO && strstr(e.msg, "200000") && strstr(e.msg, path));
	disk_close(&d);
	file_close(&f);
	pages_free(buf, SIZE + 2 * DISK_ALIGN);
	CHECK(unlink(path) == 0);
}

/* ---- what goes wrong ---- */

static void copy_to(const char *from, const char *to)
{
	static char bytes[ROOM];
	FILE *f = fopen(from, "rb");
	size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;

	CHECK(f && n > 0 && n < sizeof bytes);
	if (f)
		fclose(f);
	write_file(to, bytes, n, "", 0);
}

static void a_file_that_shrinks_is_named(void)
{
	struct err e = { 0 };
	float logits[50];
	uint32_t ids[4] = { 3, 1, 4, 1 };
	char path[300];

	snprintf(path, sizeof path, "%s/damaged.gguf", dir);
	for (int i = 0; i < 4; i++) {
		struct model m;
		struct session s = { 0 };
		struct pool pool = { 0 };
		struct log notes = { 0 };
		const struct gguf_tensor *t;
		char part[60], name[GGUF_MAX_NAME + 20];
		uint64_t memory;

		copy_to(made[0].gguf, path);
		CHECK(model_open(&m, path, &notes, &e) == OK && pool_open(&pool, 3, &e) == OK);
		t = &m.set.gguf.tensors[0];
		for (size_t k = 1; k < m.set.gguf.n_tensors; k++)
			t = m.set.gguf.tensors[k].off > t->off ? &m.set.gguf.tensors[k] : t;
		snprintf(name, sizeof name, "tensor %.*s: ", (int)t->name.n, t->name.p);
		memory = session_bytes(&m.arch, 40, 4, 3) + model_header_bytes(&m) + engine_bytes(3, 4, &m.wants) +
			 store_least(&m);
		CHECK(session_open(&s, &m, &pool, 40, 4, i & 2 ? PLENTY : memory, false, &e) == OK);
		if (i == 0)	/* in the middle of the run; so little memory that all is read again */
			CHECKF(session_eval(&s, ids, 4, logits, &e) == OK, "%s", e.msg);
		CHECK(truncate(path, (off_t)(t->off + 100)) == 0);
		CHECK(session_eval(&s, ids, 4, logits, &e) == ERR_IO);
		snprintf(part, sizeof part, "ends at byte %llu", (unsigned long long)t->off + 100);
		CHECKF(strstr(e.msg, part) && strstr(e.msg, path) && strstr(e.msg, name), "%s", e.msg);
		session_close(&s);
		pool_close(&pool);
		model_close(&m);
		log_close(&notes);
	}
	CHECK(unlink(path) == 0);
}

/* A NaN in a float32 tensor, in place. */
static void damage(const char *path, const char *name)
{
	struct model m;
	struct log notes = { 0 };
	struct err e = { 0 };
	const struct gguf_tensor *t;
	int fd;

	CHECK(model_open(&m, path, &notes, &e) == OK);
	t = gguf_find_tensor(&m.set.gguf, name);
	fd = open(path, O_WRONLY);
	CHECK(t && fd >= 0 && pwrite(fd, "\xFF\xFF\xFF\xFF", 4, (off_t)t->off) == 4 && close(fd) == 0);
	model_close(&m);
	log_close(&notes);
}

/* The first damage that the run comes by is told, whatever was read ahead. */
static void damage_is_told_alike(void)
{
	static const char *const names[] = { "blk.3.attn_sinks.weight", "blk.4.attn_q_b.weight", "output.weight" };
	const struct made *m = &made[0];
	struct wants wants = { 0 };
	struct model opened;
	struct log notes = { 0 };
	struct answer a;
	struct err e = { 0 }, first;
	char path[300];

	snprintf(path, sizeof path, "%s/damaged.gguf", dir);
	CHECK(wants_build(&wants, &m->a, PART_TRUNK, &e) == OK);
	CHECK(model_open(&opened, m->gguf, &notes, &e) == OK);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct how how = { .threads = 2, .max_memory = PLENTY };

		write_gguf(m, &opened.arch, &wants, path, NULL, names[i]);
		damage(path, "output_norm.weight");	/* beside output.weight, and read before it */
		if (i == 0)
			damage(path, "blk.3.attn_q_b.weight");	/* read soon after the sinks */
		if (i == 2)
			damage(path, "blk.4.attn_sinks.weight");
		CHECK(ask(&a, m, path, how, &first) == ERR_FORMAT);
		CHECKF(strstr(first.msg, i == 2 ? "blk.4.attn_sinks.weight" : names[i]), "%s", first.msg);
		CHECKF(strstr(first.msg, i == 2 ? "column 0" : "column 3"), "%s", first.msg);
		how = (struct how){ .threads = 3, .max_memory = LEAST, .piece = 256 };
		CHECK(ask(&a, m, path, how, &e) == ERR_FORMAT);
		CHECKF(strcmp(e.msg, first.msg) == 0, "%s", e.msg);
	}
	CHECK(unlink(path) == 0);
	model_close(&opened);
	wants_close(&wants);
	log_close(&notes);
}

static int ticks_left;
static bool for_some_time(void *ctx, uint64_t done, const char *what)
{
	(void)ctx, (void)done, (void)what;
	return ticks_left-- > 0;
}

static void a_run_can_stop_anywhere(void)
{
	struct answer a;
	struct err e = { 0 };
	struct how how = { .threads = 2, .go_on = for_some_time };

	for (int i = 0; i < 60; i += 3) {
		how.max_memory = i & 1 ? LEAST : PLENTY;
		ticks_left = i;
		CHECK(ask(&a, &made[0], made[0].gguf, how, &e) == ERR_STOPPED);
	}
}

static void too_little_memory_is_refused_before_anything_is_read(void)
{
	struct model m;
	struct log notes = { 0 };
	struct err e = { 0 };
	struct store_stats stats;
	char bytes[30];

	CHECK(model_open(&m, made[0].ckpt, &notes, &e) == OK);
	CHECK(store_start(&m, store_least(&m) - 1, &e) == ERR_NOMEM);
	snprintf(bytes, sizeof bytes, "%llu bytes", (unsigned long long)store_least(&m));
	CHECKF(strstr(e.msg, bytes) && strstr(e.msg, made[0].ckpt), "%s", e.msg);
	store_stats(&m, &stats);
	CHECK(stats.read_bytes == 0);
	model_close(&m);
	log_close(&notes);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	alarm(300);		/* a reader that waits for ever is a failure */
	make_models();
	RUN(the_least_memory_gives_the_same_bits);
	RUN(any_memory_gives_the_same_bits);
	RUN(two_models_share_the_memory);
	RUN(only_the_chosen_experts_are_read);
	RUN(held_rows_are_those_of_the_file);
	RUN(bf16_that_was_fp8_takes_half_the_memory);
	RUN(reads_past_the_cache_are_the_files);
	RUN(a_file_that_shrinks_is_named);
	RUN(damage_is_told_alike);
	RUN(a_run_can_stop_anywhere);
	RUN(too_little_memory_is_refused_before_anything_is_read);
	remove_all();
	return test_done();
}
