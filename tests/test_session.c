/* SPDX-License-Identifier: MIT
 *
 * test_session.c - a text divided over calls and batches in any way gives the bits that it gives at
 * once, at every position; what a sequence's state takes, and what a session refuses.
 */
#include "runtime/kernels.h"
#include "runtime/layer.h"
#include "tests/runtime_models.h"

/* A model opened, with threads and room for logits (n, n_vocab) of every position. */
struct bench {
	struct model m;
	struct pool pool;
	struct log notes;
	uint32_t ids[5000];
	float *logits;
};

static void open_bench(struct bench *b, const struct made *m, unsigned threads, size_t n)
{
	struct err e = { 0 };

	*b = (struct bench){ .m = MODEL_NONE };
	CHECKF(model_open(&b->m, m->gguf, &b->notes, &e) == OK, "%s", e.msg);
	b->m.arch.n_ctx = 1 << 20;
	CHECK(pool_open(&b->pool, threads, &e) == OK);
	for (size_t i = 0; i < sizeof b->ids / sizeof *b->ids; i++)
		b->ids[i] = id_at(m, i);
	b->logits = calloc(n * b->m.arch.n_vocab, sizeof(float));
}

static void close_bench(struct bench *b)
{
	pool_close(&b->pool);
	model_close(&b->m);
	log_close(&b->notes);
	free(b->logits);
}

/* Logits of every position, the first n ids fed `step` at a time into a context of n_ctx. */
static enum status feed(struct bench *b, uint32_t n, uint32_t n_ctx, uint32_t step, bool official, struct err *e)
{
	struct kv kv = { 0 };
	struct forward f = { 0 };
	enum status st;

	TRY(kv_open(&kv, &b->m.arch, n_ctx, e));
	TRY(forward_open_past(&f, &b->m, &b->pool, &kv, step, e));
	f.engine.official = official;
	for (uint32_t i = 0; i < n; i += step) {
		uint32_t now = n - i < step ? n - i : step;

		TRY(forward_step(&f, b->ids + i, now, e));
		for (uint32_t l = 0; l < b->m.arch.n_layer; l++)
			TRY(forward_layer(&f, l, e));
		TRY(forward_head(&f, 0, now, e));
		TRY(forward_logits(&f, 0, now, b->logits + (size_t)i * b->m.arch.n_vocab, e));
		kv.pos += now;
	}
out:
	forward_close(&f);
	kv_close(&kv);
	return st;
}

/* The same from a batch that keeps nothing. */
static enum status at_once(struct bench *b, uint32_t n, bool official, struct err *e)
{
	struct forward f = { 0 };
	enum status st;

	TRY(forward_open(&f, &b->m, &b->pool, n, 1, e));
	f.engine.official = official;
	TRY(forward_start(&f, b->ids, 1, e));
	for (uint32_t l = 0; l < b->m.arch.n_layer; l++)
		TRY(forward_layer(&f, l, e));
	TRY(forward_head(&f, 0, n, e));
	TRY(forward_logits(&f, 0, n, b->logits, e));
out:
	forward_close(&f);
	return st;
}

/* Logits of tokens [from, to) of two sequences of n_ctx ids, through a last layer that leaves the others out or
 * through one that keeps all. */
static enum status of_two(struct bench *b, uint32_t n_ctx, uint32_t from, uint32_t to, bool keep_all, bool official,
			  struct err *e)
{
	uint32_t last = b->m.arch.n_layer - 1;
	struct forward f = { 0 };
	enum status st;

	TRY(forward_open(&f, &b->m, &b->pool, n_ctx, 2, e));
	f.engine.official = official;
	TRY(forward_start(&f, b->ids, 2, e));
	for (uint32_t l = 0; l < last; l++)
		TRY(forward_layer(&f, l, e));
	TRY(keep_all ? forward_layer(&f, last, e) : forward_last_layer(&f, last, from, to, e));
	TRY(forward_head(&f, from, to, e));
	TRY(forward_logits(&f, 0, 2 * (to - from), b->logits, e));
	if (!keep_all)
		CHECK(f.n_tok == 2 * (size_t)(to - from) &&
		      (from == 0 || forward_head(&f, from - 1, to, &(struct err){ 0 }) == ERR_USAGE) &&
		      (to == n_ctx || forward_head(&f, from, to + 1, &(struct err){ 0 }) == ERR_USAGE));
	for (uint32_t t = 0; t < 2 * (to - from) && !keep_all; t++)	/* a layer of hashed experts looks them up */
		CHECK(f.ids[t] == b->ids[t / (to - from) * n_ctx + from + t % (to - from)]);
out:
	forward_close(&f);
	return st;
}

static void same_logits(const struct bench *a, const struct bench *b, size_t n, const char *what, uint32_t how)
{
	size_t n_vocab = a->m.arch.n_vocab, each = n_vocab * sizeof(float), i = 0;

	while (i < n && memcmp(a->logits + i * n_vocab, b->logits + i * n_vocab, each) == 0)
		i++;
	CHECKF(i == n, "%s, %s %u: position %zu", a->m.path, what, how, i);
}

static void any_split_gives_the_same_bits(void)
{
	static const uint32_t steps[] = { 1, 3, 7, 128, N_IDS };
	struct bench whole, parts;
	struct err e = { 0 };

	for (int i = 0; i < 4; i++) {	/* each model, and each with official activations */
		open_bench(&whole, &made[i % 2], 2, N_IDS);
		CHECKF(at_once(&whole, N_IDS, i >= 2, &e) == OK, "%s", e.msg);
		for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
			open_bench(&parts, &made[i % 2], 1 + (unsigned)(k + (size_t)i) % 3, N_IDS);
			CHECKF(feed(&parts, N_IDS, 1000, steps[k], i >= 2, &e) == OK, "%s", e.msg);
			same_logits(&whole, &parts, N_IDS, "tokens at once:", steps[k]);
			close_bench(&parts);
		}
		close_bench(&whole);
	}
}

/* The end of the last layer for some tokens only: ranges that begin in the window, at a block's edge, behind the
 * indexer's first choice. */
static void tokens_left_out_change_nothing(void)
{
	static const uint32_t ranges[][3] = {
		{ 1, 0, 1 }, { 9, 4, 8 }, { 24, 0, 23 }, { 24, 23, 24 }, { 61, 0, 1 }, { 61, 20, 60 }, { 130, 65, 129 },
		{ 130, 0, 130 }, { 131, 127, 128 },
	};
	struct bench all, some;
	struct err e = { 0 };

	for (int i = 0; i < 6; i++)
		for (size_t k = 0; k < sizeof ranges / sizeof *ranges; k++) {
			uint32_t n = ranges[k][0], from = ranges[k][1], to = ranges[k][2];

			open_bench(&all, &made[i % 3], 2, 2 * (size_t)n);
			open_bench(&some, &made[i % 3], 1 + (unsigned)k % 3, 2 * (size_t)n);
			CHECKF(of_two(&all, n, from, to, true, i >= 3, &e) == OK, "%s", e.msg);
			CHECKF(of_two(&some, n, from, to, false, i >= 3, &e) == OK, "%s", e.msg);
			same_logits(&all, &some, 2 * (size_t)(to - from), "tokens kept of", n);
			close_bench(&all);
			close_bench(&some);
		}
}

/* A session's batches, in which only the last token leaves the last layer. */
static void a_session_has_the_last_token_of_any_batch(void)
{
	static const uint32_t steps[] = { 1, 5, 24, 100 };
	struct bench whole, part;
	struct err e = { 0 };

	for (int i = 0; i < 4; i++) {
		open_bench(&whole, &made[i % 2], 2, 200);
		CHECKF(at_once(&whole, 200, i >= 2, &e) == OK, "%s", e.msg);
		for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
			struct session s = { 0 };

			open_bench(&part, &made[i % 2], 2, 200);
			memcpy(part.logits, whole.logits, 200 * part.m.arch.n_vocab * sizeof(float));
			CHECKF(session_open(&s, &part.m, &part.pool, 250, steps[k], UINT64_MAX, i >= 2, &e) == OK, "%s", e.msg);
			for (uint32_t at = 0; at < 200; at += 40)	/* not a multiple of all steps */
				CHECKF(session_eval(&s, part.ids + at, 40, part.logits + (at + 39) * part.m.arch.n_vocab,
						    &e) == OK, "%s", e.msg);
			same_logits(&whole, &part, 200, "a session's batches of", steps[k]);
			session_close(&s);
			close_bench(&part);
		}
		close_bench(&whole);
	}
}

/* Rooms that end before a window, a block, or the first choice of the indexer. */
static void the_room_does_not_matter(void)
{
	static const uint32_t rooms[] = { 1, 2, 3, 4, 5, 8, 11, 12, 20, 23, 24, 127, 128, 129 };
	struct bench whole, part;
	struct err e = { 0 };

	open_bench(&whole, &made[0], 2, N_IDS);
	open_bench(&part, &made[0], 2, N_IDS);
	CHECKF(at_once(&whole, N_IDS, false, &e) == OK, "%s", e.msg);
	for (size_t k = 0; k < sizeof rooms / sizeof *rooms; k++)
		for (uint32_t step = 1; step <= 5; step += 4) {
			CHECKF(feed(&part, rooms[k], rooms[k], step, false, &e) == OK, "%s", e.msg);
			same_logits(&whole, &part, rooms[k], "room for", rooms[k]);
		}
	close_bench(&whole);
	close_bench(&part);
}

/* Far enough that the indexer scores in several tiles. */
static void a_long_text(void)
{
	enum { LONG = 4 * INDEX_TILE + 300 };
	struct bench whole, part;
	struct err e = { 0 };

	open_bench(&whole, &made[1], 2, LONG);
	open_bench(&part, &made[1], 3, LONG);
	CHECKF(at_once(&whole, LONG, false, &e) == OK, "%s", e.msg);
	CHECKF(feed(&part, LONG, 1 << 20, 700, false, &e) == OK, "%s", e.msg);
	same_logits(&whole, &part, LONG, "tokens at once:", 700);
	close_bench(&whole);
	close_bench(&part);
}

/* ---- sessions ---- */

struct scores { struct bench *b; size_t n; };

static enum status check_row(void *ctx, const struct perplexity_row *r, struct err *e)
{
	struct scores *s = ctx;
	size_t n_vocab = s->b->m.arch.n_vocab;
	uint32_t best;
	double p = ops_log_prob(s->b->logits + (r->index - 1) * n_vocab, n_vocab, r->token, &best);

	(void)e;
	CHECKF(memcmp(&p, &r->log_prob, sizeof p) == 0 && best == r->best, "token %llu: %.17g and %.17g",
	       (unsigned long long)r->index, p, r->log_prob);
	s->n++;
	return OK;
}

/* Log-probabilities of a session, token by token after a prompt, are those of a perplexity run. */
static void a_session_predicts_as_perplexity_does(void)
{
	struct bench b;
	struct session s = { 0 };
	struct perplexity_options o = { .n_ids = N_IDS, .n_ctx = N_IDS, .bos = TOKEN_NONE,
					.max_memory = 1 << 30, .path = "ids" };
	struct perplexity_plan plan;
	struct perplexity_result r;
	struct scores seen = { &b, 0 };
	struct perplexity_sink sink = { .ctx = &seen, .row = check_row };
	struct err e = { 0 };
	uint32_t prompt = N_IDS / 2 + 1;

	open_bench(&b, &made[0], 2, N_IDS);
	o.ids = b.ids;
	CHECKF(session_open(&s, &b.m, &b.pool, N_IDS, 10, 1 << 30, false, &e) == OK, "%s", e.msg);
	CHECK(session_eval(&s, b.ids, 4, NULL, &e) == OK && session_pos(&s) == 4);
	for (uint32_t i = 4; i < N_IDS; i += i == 4 ? prompt - 4 : 1)
		CHECKF(session_eval(&s, b.ids + i, i == 4 ? prompt - 4 : 1,
				    b.logits + (i == 4 ? prompt - 1 : i) * (size_t)b.m.arch.n_vocab, &e) == OK,
		       "%s", e.msg);
	CHECK(session_pos(&s) == N_IDS);
	CHECK(perplexity_plan(&plan, &b.m, b.pool.n, &o, &e) == OK);
	CHECKF(perplexity(&r, &b.m, &b.pool, &o, &plan, &sink, &e) == OK, "%s", e.msg);
	CHECK(seen.n == N_IDS - 1 - N_IDS / 2);
	session_close(&s);
	session_close(&s);
	close_bench(&b);
}

/* A prompt, then a token at a time, through a session whose weights are in `memory`. */
static void through_a_session(struct bench *b, uint32_t n, uint64_t memory, bool official)
{
	size_t n_vocab = b->m.arch.n_vocab;
	struct session s = { 0 };
	struct err e = { 0 };

	CHECKF(session_open(&s, &b->m, &b->pool, n, 7, memory, official, &e) == OK, "%s", e.msg);
	CHECKF(session_eval(&s, b->ids, n / 2, b->logits + (n / 2 - 1) * n_vocab, &e) == OK, "%s", e.msg);
	for (uint32_t i = n / 2; i < n; i++)
		CHECKF(session_eval(&s, b->ids + i, 1, b->logits + i * n_vocab, &e) == OK, "%s", e.msg);
	session_close(&s);
}

/* Every set of kernels, number of threads and memory, packed by the store or straight from the file. */
static void packed_weights_give_the_same_bits(void)
{
	enum { N = 24 };
	struct bench whole, b;
	struct err e = { 0 };
	uint64_t least;

	for (int official = 0; official < 2; official++) {
		open_bench(&whole, &made[MADE_FP8], 2, N);
		CHECKF(at_once(&whole, N, official, &e) == OK, "%s", e.msg);
		memset(whole.logits, 0, (N / 2 - 1) * whole.m.arch.n_vocab * sizeof(float));	/* not asked for below */
		for (unsigned i = 0; kernels_all[i]; i++)
			for (unsigned threads = 1; threads <= 3 && kernels_usable(kernels_all[i]); threads++) {
				setenv("INGOT_KERNELS", kernels_all[i]->name, 1);
				open_bench(&b, &made[MADE_FP8], threads, N);
				least = session_bytes(&b.m.arch, N, 7, threads) + model_header_bytes(&b.m) +
					engine_bytes(threads, 7, &b.m.wants) + store_least(&b.m);
				through_a_session(&b, N, threads & 1 ? 1 << 30 : least + (threads << 16), official);
				same_logits(&whole, &b, N, kernels_all[i]->name, threads);
				close_bench(&b);
			}
		unsetenv("INGOT_KERNELS");
		CHECK(kernels_init(&e) == OK);
		close_bench(&whole);
	}
}

static bool stop(void *ctx)
{
	(void)ctx;
	return false;
}

static void refusals(void)
{
	struct bench b;
	struct session s = { 0 };
	struct err e = { 0 };
	uint32_t bad[3] = { 1, made[0].a.n_vocab, 1 };
	uint64_t need;

	open_bench(&b, &made[0], 2, 2);
	b.m.arch.n_ctx = 4096;
	CHECK(session_open(&s, &b.m, &b.pool, 4097, 8, 1 << 30, false, &e) == ERR_UNSUPPORTED);
	CHECKF(strstr(e.msg, "4097") && strstr(e.msg, "4096"), "%s", e.msg);
	CHECK(session_open(&s, &b.m, &b.pool, 0, 8, 1 << 30, false, &e) == ERR_USAGE);
	CHECK(session_open(&s, &b.m, &b.pool, 8, 0, 1 << 30, false, &e) == ERR_USAGE);
	need = session_bytes(&b.m.arch, 100, 8, 2) + model_header_bytes(&b.m) + engine_bytes(2, 8, &b.m.wants) +
	       store_least(&b.m);
	CHECK(session_open(&s, &b.m, &b.pool, 100, 8, need - 1, false, &e) == ERR_NOMEM);
	CHECKF(strstr(e.msg, "--max-memory") && strstr(e.msg, "100 tokens"), "%s", e.msg);
	CHECKF(session_open(&s, &b.m, &b.pool, 100, 8, need, false, &e) == OK, "%s", e.msg);
	CHECK(session_eval(&s, b.ids, 0, NULL, &e) == ERR_USAGE);
	CHECK(session_eval(&s, bad, 3, NULL, &e) == ERR_FORMAT && strstr(e.msg, "token id"));
	CHECK(session_eval(&s, b.ids, 101, NULL, &e) == ERR_UNSUPPORTED && strstr(e.msg, "context of 100"));
	CHECKF(session_pos(&s) == 0 && session_eval(&s, b.ids, 99, b.logits, &e) == OK, "%s", e.msg);
	CHECK(session_eval(&s, b.ids, 2, NULL, &e) == ERR_UNSUPPORTED && session_pos(&s) == 99);
	CHECK(session_eval(&s, b.ids + 99, 1, b.logits, &e) == OK && session_pos(&s) == 100);
	session_close(&s);
	CHECK(session_open(&s, &b.m, &b.pool, 100, 8, need, false, &e) == OK);
	s.f.engine.tick = stop;
	CHECK(session_eval(&s, b.ids, 9, NULL, &e) == ERR_STOPPED);
	s.f.engine.tick = NULL;
	CHECK(session_eval(&s, b.ids, 9, NULL, &e) == ERR_USAGE && strstr(e.msg, "ended with an error"));
	session_close(&s);
	close_bench(&b);
}

/* ---- memory ---- */

static uint64_t resident(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long long pages = 0;

	CHECK(f && fscanf(f, "%*s %llu", &pages) == 1);
	if (f)
		fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

#ifndef __has_feature
#define __has_feature(x) 0
#endif
/* ThreadSanitizer's allocator writes its zeroes. */
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
enum { LAZY_PAGES = 0 };
#else
enum { LAZY_PAGES = 1 };
#endif

static void the_state_takes_what_the_formula_says(void)
{
	/* V4-Flash's widths, a layer of each kind:
	 * 3 * 127 * 512 + 262144 * (512 + 128) + 4 * 14 * (512 + 128) + 8192 * 512 + 4 * 127 * 512 floats */
	const struct arch flash = { .n_layer = 3, .ratio = { 0, 4, 128 }, .window = 128, .head_dim = 512,
				    .idx_dim = 128, .idx_topk = 512 };
	struct kv kv = { 0 };
	struct err e = { 0 };
	uint64_t before;

	CHECKF(kv_bytes(&flash, 1 << 20) == 689829888, "%llu", (unsigned long long)kv_bytes(&flash, 1 << 20));
	/* 2048 tokens are 512 rows: all are seen, so there is nothing for the indexer to keep */
	CHECK(kv_bytes(&flash, 2048) == 4 * 512 * (3 * 127 + 512 + 56 + 16 + 508));
	CHECK(kv_bytes(&flash, 2052) == 4 * (512 * (3 * 127 + 513 + 56 + 16 + 508) + 128 * (513 + 56)));
	CHECK(kv_bytes(&flash, 3) == 4 * 3 * 2 * 512);
	for (int i = 0; i < 2; i++)
		for (uint32_t n = 1; n < 3000; n += n < 300 ? 1 : 500) {
			CHECK(kv_open(&kv, &made[i].a, n, &e) == OK);
			CHECK(kv.bytes == kv_bytes(&made[i].a, n));
			kv_close(&kv);
		}
	before = resident();
	CHECK(kv_open(&kv, &flash, 1 << 20, &e) == OK && kv.bytes == 689829888);
	if (LAZY_PAGES)
		CHECKF(resident() - before < kv.bytes / 4, "%llu bytes touched",
		       (unsigned long long)(resident() - before));
	kv_close(&kv);
	kv_close(&kv);
}

static void rows_slide(void)
{
	static const float fresh[6] = { 3, 3, 4, 4, 5, 5 };
	float kept[10];

	for (size_t n_kept = 0; n_kept <= 2; n_kept++)
		for (size_t drop = 0; drop <= n_kept + 3; drop++) {
			size_t left = n_kept + 3 - drop;

			for (size_t i = 0; i < 10; i++)
				kept[i] = i < 2 * n_kept ? (float)(3 - n_kept + i / 2) : -1;
			kv_slide(kept, n_kept, fresh, 3, drop, 2);
			for (size_t i = 0; i < 2 * left; i++)
				CHECKF(kept[i] == (float)(6 - left + i / 2), "%zu kept, %zu dropped: [%zu] %g", n_kept,
				       drop, i, (double)kept[i]);
		}
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	make_models();
	RUN(any_split_gives_the_same_bits);
	RUN(tokens_left_out_change_nothing);
	RUN(a_session_has_the_last_token_of_any_batch);
	RUN(the_room_does_not_matter);
	RUN(a_long_text);
	RUN(a_session_predicts_as_perplexity_does);
	RUN(packed_weights_give_the_same_bits);
	RUN(refusals);
	RUN(the_state_takes_what_the_formula_says);
	RUN(rows_slide);
	remove_all();
	return test_done();
}
