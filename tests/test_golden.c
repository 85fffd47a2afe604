/* SPDX-License-Identifier: MIT
 *
 * test_golden.c - the forward pass against an independent implementation in float64, on seeded
 * checkpoints that make_checkpoint writes here.
 *
 * golden/forward/NAME.txt says how the checkpoint is made (its SHA-256 too: other bytes would make
 * the figures meaningless), which ids go through it, and what must come out:
 *   f32 ppl P               perplexity as `ingot perplexity` counts, float32 activations
 *   f32 row I L B           log-probability of id I of the text, and the most likely id there ("-"
 *                           where two are nearer than 1e-4)
 *   near I WHAT LAYER M     a choice of rows or experts at position I that M decided: float32 may
 *                           choose otherwise, and then everything after it in the chunk is off
 *   mtp ppl, mtp row, mtp near      the same of the MTP block, where the checkpoint has one: of the
 *                           token after the next
 *   official ppl P, official mtp ppl P      with the official roundings
 *   official logits I n...  -1000 ln p of every id there
 * Every kind of layer comes alone and with the others. The figures are those of a NumPy program
 * written from DeepSeek's published code, which shares nothing with this one; -v shows how near.
 */
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/runtime.h"
#include "tests/test.h"

/* The official roundings make a large step of a sum that is off by a float32's last place: a mean KL
 * divergence of 2e-4 to 4e-2, if the figures' own sums are disturbed by as much. With every sum
 * between two roundings in double no rounding goes the other way, and what is left is that the
 * figures have three digits: 2e-8. */
#define MAX_LOG_PROB_ERROR 2e-5
#define MAX_PPL_ERROR 2e-6
#define MAX_OFFICIAL_PPL_ERROR 1e-6
#define MAX_OFFICIAL_KLD 1e-6
#define MAX_EXEMPT 0.05		/* share of rows after a near choice */

static const char *const names[] = { "window", "sparse", "heavy", "hash", "all", "base", "odd", "least", "wide" };
enum { N_NAMES = sizeof names / sizeof *names };

static char dir[100] = "/tmp/ingot-golden-XXXXXX", tool[600];
static bool verbose;

/* ---- the files ---- */

enum { MAX_ROWS = 1000, MAX_IDS = 2000, MAX_NEAR = 50 };
struct row { uint64_t index; double log_prob; uint32_t best; };
struct series { double ppl, official_ppl; struct row rows[MAX_ROWS]; size_t n_rows; uint64_t near[MAX_NEAR]; size_t n_near; };
struct logits { uint64_t index; float *z; };	/* (n_vocab), owned */
struct golden {
	char options[1000], sha256[65];
	uint32_t n_ctx, ids[MAX_IDS];
	size_t n_ids;
	struct series s[2];		/* of the next token, of the one after */
	struct logits logits[MAX_ROWS];
	size_t n_logits;
	uint32_t n_vocab;
};

static void add_ids(struct golden *g, const char *p)
{
	char *end;

	for (unsigned long v = strtoul(p, &end, 10); end != p; v = strtoul(p = end, &end, 10))
		if (g->n_ids < MAX_IDS)
			g->ids[g->n_ids++] = (uint32_t)v;
}

/* Lines of one position follow one another. */
static void add_logits(struct golden *g, const char *p)
{
	char *end;
	uint64_t index = strtoull(p, &end, 10);
	struct logits *l = g->n_logits ? &g->logits[g->n_logits - 1] : NULL;

	if ((!l || l->index != index) && g->n_logits < MAX_ROWS) {
		l = &g->logits[g->n_logits++];
		*l = (struct logits){ index, calloc(4096, sizeof(float)) };
		g->n_vocab = 0;
	}
	for (p = end; l && l->z && g->n_vocab < 4096; p = end) {
		long v = strtol(p, &end, 10);

		if (end == p)
			break;
		l->z[g->n_vocab++] = (float)v / -1000;
	}
}

static void add_row(struct series *g, const char *p)
{
	char best[20];
	struct row r = { 0 };

	if (g->n_rows == MAX_ROWS || sscanf(p, "%lu %lf %19s", &r.index, &r.log_prob, best) != 3)
		return;
	r.best = *best == '-' ? UINT32_MAX : (uint32_t)strtoul(best, NULL, 10);
	g->rows[g->n_rows++] = r;
}

static void read_line(struct golden *g, char *s)
{
	enum { N = 12, SERIES = 5 };
	static const char *const starts[N] = { "checkpoint ", "sha256 ", "context ", "ids ", "official logits ",
					       "f32 ppl ", "mtp ppl ", "f32 row ", "mtp row ", "near ", "mtp near ",
					       "official " };
	struct series *r;
	int i = 0;

	s[strcspn(s, "\n")] = 0;
	while (i < N && strncmp(s, starts[i], strlen(starts[i])) != 0)
		i++;
	if (i == N)
		return;		/* a remark */
	s += strlen(starts[i]);
	r = &g->s[i >= SERIES && (i - SERIES) % 2];
	switch (i < SERIES ? i : SERIES + (i - SERIES) / 2) {
	case 0: snprintf(g->options, sizeof g->options, "%s", s); break;
	case 1: snprintf(g->sha256, sizeof g->sha256, "%s", s); break;
	case 2: g->n_ctx = (uint32_t)strtoul(s, NULL, 10); break;
	case 3: add_ids(g, s); break;
	case 4: add_logits(g, s); break;
	case 5: r->ppl = strtod(s, NULL); break;
	case 6: add_row(r, s); break;
	case 7: if (r->n_near < MAX_NEAR) r->near[r->n_near++] = strtoull(s, NULL, 10); break;
	default: g->s[*s == 'm'].official_ppl = strtod(strstr(s, "ppl ") ? strstr(s, "ppl ") + 4 : s, NULL);
	}
}

static bool has_mtp(const struct golden *g) { return strstr(g->options, "--with-mtp") != NULL; }

static void read_golden(struct golden *g, const char *name)
{
	char path[200], line[4000];
	FILE *f;

	*g = (struct golden){ 0 };
	snprintf(path, sizeof path, "tests/golden/forward/%s.txt", name);
	f = fopen(path, "r");
	CHECKF(f, "%s", path);
	while (f && fgets(line, sizeof line, f))
		read_line(g, line);
	if (f)
		fclose(f);
	CHECKF(g->s[0].n_rows && g->n_logits && g->n_ids && g->n_ctx && *g->options && g->s[0].ppl > 1 &&
	       g->s[0].official_ppl > 1, "%s is not whole", path);
	CHECKF(!has_mtp(g) || (g->s[1].n_rows && g->s[1].ppl > 1 && g->s[1].official_ppl > 1), "%s is not whole", path);
}

static void close_golden(struct golden *g)
{
	for (size_t i = 0; i < g->n_logits; i++)
		free(g->logits[i].z);
}

/* ---- the checkpoints ---- */

extern char **environ;

static void check_digest(const char *path, const char *want)
{
	struct file f = FILE_NONE;
	struct digest d = { .kind = DIGEST_SHA256 };
	char hex[65] = "";
	struct err e = { 0 };

	CHECKF(file_open(&f, AT_FDCWD, path, true, path, &e) == OK, "%s", e.msg);
	CHECKF(digest_file(&f, DIGEST_SHA256, &d, NULL, &e) == OK, "%s", e.msg);
	CHECKF(strcmp(digest_text(&d, hex), want) == 0, "%s is not the checkpoint of these figures: %s, not %s; "
	       "make_checkpoint has changed, and the figures must be made again", path, hex, want);
	file_close(&f);
}

static void make_checkpoint(const struct golden *g, const char *path)
{
	char options[1000], weights[300], *args[100] = { tool, (char *)(uintptr_t)path, "--single", "--no-records" };
	posix_spawn_file_actions_t quiet;
	int n = 4, status = -1;
	pid_t pid;

	snprintf(options, sizeof options, "%s", g->options);
	for (char *p = strtok_r(options, " ", &args[n]), *rest = args[n]; p && n < 98; p = strtok_r(NULL, " ", &rest))
		args[n++] = p;
	args[n] = NULL;
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
	CHECKF(posix_spawn(&pid, tool, &quiet, NULL, args, environ) == 0 && waitpid(pid, &status, 0) == pid &&
	       status == 0, "%s %s", tool, g->options);
	posix_spawn_file_actions_destroy(&quiet);
	snprintf(weights, sizeof weights, "%s/model.safetensors", path);
	check_digest(weights, g->sha256);
}

static void remove_checkpoint(const char *path)
{
	static const char *const files[] = { "model.safetensors", "config.json", "generation_config.json",
					     "tokenizer.json", "tokenizer_config.json" };
	char full[400];

	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(full, sizeof full, "%s/%s", path, files[i]);
		unlink(full);
	}
	CHECK(rmdir(path) == 0);
}

/* ---- what comes out ---- */

struct tally { size_t n, n_exempt; double worst; };
struct answer { const struct golden *g; struct tally t[2]; };

/* Has a choice at this row's position or before been so near that float32 may have made another? */
static bool after_near(const struct golden *g, uint64_t index, uint32_t ahead)
{
	for (uint32_t s = 0; s < ahead; s++)
		for (size_t i = 0; i < g->s[s].n_near; i++)
			if (g->s[s].near[i] / g->n_ctx == (index - ahead) / g->n_ctx && g->s[s].near[i] <= index - ahead)
				return true;
	return false;
}

static enum status compare_row(void *ctx, const struct perplexity_row *r, struct err *e)
{
	struct answer *a = ctx;
	struct tally *t = &a->t[r->ahead - 1];
	const struct series *s = &a->g->s[r->ahead - 1];
	const struct row *want = &s->rows[t->n];
	double off;

	if (t->n++ == s->n_rows)
		return err_set(e, ERR_MISMATCH, "more rows than the figures have");
	off = fabs(r->log_prob - want->log_prob);
	if (off > MAX_LOG_PROB_ERROR && after_near(a->g, want->index, r->ahead)) {
		t->n_exempt++;
		return OK;
	}
	t->worst = off > t->worst ? off : t->worst;
	if (r->index != want->index || (want->best != UINT32_MAX && r->best != want->best) || off > MAX_LOG_PROB_ERROR)
		return err_set(e, ERR_MISMATCH, "id %lu: log-probability %.9g, most likely %u; not %.9g, %u (id %lu)",
			       r->index, r->log_prob, r->best, want->log_prob, want->best, want->index);
	return OK;
}

struct setup { const struct golden *g; const struct model *m, *mtp; struct pool *pool; const char *name; };

/* r[1] is of the MTP block, if the model has one. */
static enum status measure(const struct setup *u, bool official, struct perplexity_sink *sink,
			   struct perplexity_result r[2], struct err *e)
{
	const struct golden *g = u->g;
	struct perplexity_options o = { .ids = g->ids, .n_ids = g->n_ids, .n_ctx = g->n_ctx, .bos = TOKEN_NONE,
					.max_memory = 1 << 30, .path = u->name, .official = official,
					.mtp = has_mtp(g) ? u->mtp : NULL };
	struct perplexity_plan plan;
	enum status st;

	TRY(perplexity_plan(&plan, u->m, u->pool->n, &o, e));
	TRY(perplexity(r, u->m, u->pool, &o, &plan, sink, e));
out:
	return st;
}

static enum status run_f32(const struct setup *u, struct err *e)
{
	struct answer a = { .g = u->g };
	struct perplexity_sink sink = { .ctx = &a, .row = compare_row };
	struct perplexity_result r[2];
	enum status st;

	TRY(measure(u, false, &sink, r, e));
	for (int i = 0; i < (has_mtp(u->g) ? 2 : 1); i++) {
		const struct tally *t = &a.t[i];
		double off = r[i].ppl / u->g->s[i].ppl - 1;

		CHECKF(t->n == u->g->s[i].n_rows, "%s: %zu rows of %zu", u->name, t->n, u->g->s[i].n_rows);
		CHECKF((double)t->n_exempt <= MAX_EXEMPT * (double)t->n, "%s: %zu rows of %zu are off after a near "
		       "choice", u->name, t->n_exempt, t->n);
		CHECKF(t->n_exempt || fabs(off) < MAX_PPL_ERROR, "%s: PPL %.10g, off by %.3g", u->name, r[i].ppl, off);
		if (verbose)
			printf("%-8s %s: PPL %.8g off by %.2g, log-probability by up to %.2g, %zu rows exempt\n", u->name,
			       i ? "f32 MTP" : "f32", r[i].ppl, off, t->worst, t->n_exempt);
	}
out:
	return st;
}

/* Logits (scored positions, n_vocab) of one chunk. */
static enum status logits_of(struct forward *f, const uint32_t *ids, float *z, struct err *e)
{
	uint32_t n_ctx = f->n_ctx, first = n_ctx / 2;
	enum status st;

	TRY(forward_start(f, ids, 1, e));
	for (uint32_t l = 0; l < f->arch->n_layer; l++)
		TRY(forward_layer(f, l, e));
	TRY(forward_head(f, first, n_ctx - 1, e));
	TRY(forward_logits(f, 0, n_ctx - 1 - first, z, e));
out:
	return st;
}

struct sums { double kld, max_kld; size_t n; };

static void add_chunk(struct sums *s, const struct golden *g, size_t chunk, const float *z)
{
	size_t first = g->n_ctx / 2, n_vocab = g->n_vocab;

	for (size_t t = first; t < g->n_ctx - 1; t++) {
		uint64_t at = chunk * g->n_ctx + t + 1;
		const float *row = z + (t - first) * n_vocab;

		for (size_t i = 0; i < g->n_logits; i++) {
			double k = g->logits[i].index == at ? parity_kld(g->logits[i].z, row, n_vocab) : -1;

			s->kld += k < 0 ? 0 : k;
			s->max_kld = k > s->max_kld ? k : s->max_kld;
			s->n += k >= 0;
		}
	}
}

static enum status run_official(const struct setup *u, struct err *e)
{
	const struct golden *g = u->g;
	struct forward f = { 0 };
	struct sums s = { 0 };
	struct perplexity_sink sink = { 0 };
	struct perplexity_result r[2];
	float *z = calloc((size_t)g->n_ctx * g->n_vocab, sizeof *z);
	enum status st;

	CHECKF(z && g->n_vocab == u->m->arch.n_vocab, "%s", u->name);
	TRY(measure(u, true, &sink, r, e));
	for (int i = 0; i < (has_mtp(g) ? 2 : 1); i++) {
		double off = r[i].ppl / g->s[i].official_ppl - 1;

		CHECKF(fabs(off) < MAX_OFFICIAL_PPL_ERROR, "%s: PPL %.8g, off by %.3g", u->name, r[i].ppl, off);
		if (verbose)
			printf("%-8s %s: PPL %.8g off by %.2g\n", u->name, i ? "official MTP" : "official", r[i].ppl, off);
	}
	TRY(forward_open(&f, u->m, u->pool, g->n_ctx, 1, e));
	f.engine.official = true;
	for (size_t c = 0; c < g->n_ids / g->n_ctx; c++) {
		TRY(logits_of(&f, g->ids + c * g->n_ctx, z, e));
		add_chunk(&s, g, c, z);
	}
	CHECK(s.n == g->n_logits);
	CHECKF(s.kld <= MAX_OFFICIAL_KLD * (double)s.n, "%s: mean KL divergence %.3g", u->name, s.kld / (double)s.n);
	if (verbose)
		printf("%-8s official: KL divergence mean %.3g, maximum %.3g at %zu positions\n", u->name,
		       s.kld / (double)s.n, s.max_kld, s.n);
out:
	forward_close(&f);
	free(z);
	return st;
}

static void compare_with_golden(const char *name)
{
	static struct golden g;
	struct model m = MODEL_NONE, mtp = MODEL_NONE;
	struct pool pool = { 0 };
	struct setup u = { &g, &m, &mtp, &pool, name };
	struct log notes = { 0 };
	struct err e = { 0 };
	char path[200];

	read_golden(&g, name);
	snprintf(path, sizeof path, "%s/%s", dir, name);
	make_checkpoint(&g, path);
	CHECKF(pool_open(&pool, 2, &e) == OK, "%s", e.msg);
	CHECKF(model_open(&m, path, &notes, &e) == OK, "%s", e.msg);
	CHECKF(!has_mtp(&g) || mtp_open(&mtp, &m, NULL, &notes, &e) == OK, "%s", e.msg);
	CHECKF(run_f32(&u, &e) == OK, "%s: %s", name, e.msg);
	CHECKF(run_official(&u, &e) == OK, "%s: %s", name, e.msg);
	model_close(&m);
	model_close(&mtp);
	pool_close(&pool);
	log_close(&notes);
	remove_checkpoint(path);
	close_golden(&g);
}

static const char *current;
static void forward_pass_is_the_independent_one(void) { compare_with_golden(current); }

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');

	verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
	snprintf(tool, sizeof tool, "%.*s../samples/make_checkpoint", slash ? (int)(slash - argv[0]) + 1 : 0, argv[0]);
	if (!mkdtemp(dir))
		return 1;
	for (size_t i = 0; i < N_NAMES; i++) {
		current = names[i];
		RUN(forward_pass_is_the_independent_one);
	}
	CHECK(rmdir(dir) == 0);
	return test_done();
}
