/* SPDX-License-Identifier: MIT
 *
 * cmd_compare.c - `ingot compare`: a line a tensor, a line for each pair of types, what only one has.
 */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cmd_html.h"

static void show(void *arg, uint64_t done, uint64_t total, const char *what)
{
	struct progress *p = arg;

	p->total = total;
	progress_update(p, done, what);
}

/* An element's or a row's place: "row, column" with the matrix in front where there are several. */
static const char *place_text(const struct pair *p, uint64_t row, uint64_t col, bool whole_row, char buf[80])
{
	int n = 0;

	if (p->n_matrices > 1)
		n = snprintf(buf, 80, "%llu,", (unsigned long long)(row / p->rows));
	n += snprintf(buf + n, 80 - (size_t)n, "%llu", (unsigned long long)(row % p->rows));
	if (!whole_row)
		snprintf(buf + n, 80 - (size_t)n, ",%llu", (unsigned long long)col);
	return buf;
}

static void print_counts(FILE *to, const struct error_sums *s)
{
	if (s->x_nan | s->y_nan)
		fprintf(to, "  NaN %llu and %llu", (unsigned long long)s->x_nan, (unsigned long long)s->y_nan);
	if (s->x_inf | s->y_inf)
		fprintf(to, "  infinite %llu and %llu", (unsigned long long)s->x_inf, (unsigned long long)s->y_inf);
	if (s->saturated)
		fprintf(to, "  saturated %llu", (unsigned long long)s->saturated);
}

static void print_pair(FILE *to, const struct pair *p)
{
	const struct error_sums *s = &p->sums;
	char at[80], row[80], block[80];

	fprintf(to, "%-34s %-6s %-6s %13llu %13llu", cli_esc(p->a->name), p->a->type, p->b->type,
		(unsigned long long)p->a->bytes, (unsigned long long)p->b->bytes);
	if (!p->same_shape) {
		fprintf(to, "  SHAPES DIFFER: %llu x %llu x %llu and %llu x %llu x %llu\n",
			(unsigned long long)p->a->n_matrices, (unsigned long long)p->a->rows,
			(unsigned long long)p->a->cols, (unsigned long long)p->b->n_matrices,
			(unsigned long long)p->b->rows, (unsigned long long)p->b->cols);
		return;
	}
	if (pair_equal(p)) {
		fprintf(to, "  equal\n");
		return;
	}
	fprintf(to, "  %-9.4g %-9.4g %.9f  %.4g at %s  %.4g in row %s  %.4g in block %s", error_rms(s),
		error_relative(s), error_cosine(s), s->max,
		place_text(p, s->max_at / p->cols, s->max_at % p->cols, false, at), p->worst_row,
		place_text(p, p->worst_row_at, 0, true, row), sqrt(s->worst),
		place_text(p, s->worst_at / p->cols, s->worst_at % p->cols, false, block));
	print_counts(to, s);
	fputc('\n', to);
}

/* ---- totals by types ---- */

struct totals { struct type_total *v; size_t n; };

static enum status sum_types(const struct comparison *c, struct totals *t, struct err *e)
{
	t->v = mem_new(c->n_pairs, sizeof *t->v, "totals", e);
	if (!t->v)
		return e->status;
	for (size_t i = 0; i < c->n_pairs; i++) {
		const struct pair *p = &c->pairs[i];
		size_t k = 0;

		while (k < t->n && (strcmp(t->v[k].a, p->a->type) != 0 || strcmp(t->v[k].b, p->b->type) != 0))
			k++;
		if (k == t->n)
			t->v[t->n++] = (struct type_total){ .a = p->a->type, .b = p->b->type };
		t->v[k].n++;
		t->v[k].a_bytes += p->a->bytes;
		t->v[k].b_bytes += p->b->bytes;
		error_merge(&t->v[k].sums, &p->sums);
	}
	return OK;
}

static void print_text(const struct cli *cli, const struct comparison *c, const struct totals *t)
{
	FILE *to = cli_out(cli);
	size_t n_equal = 0;

	fprintf(to, "%-34s %-6s %-6s %13s %13s  %-9s %-9s %-11s  %s\n", "tensor", "A", "B", "bytes of A", "bytes of B",
		"RMS", "relative", "cosine", "largest error, worst row, worst block (relative)");
	for (size_t i = 0; i < c->n_pairs; i++) {
		print_pair(to, &c->pairs[i]);
		n_equal += pair_equal(&c->pairs[i]);
	}
	for (size_t i = 0; i < c->n_only_a; i++)
		fprintf(to, "%-34s only in %s\n", cli_esc(c->only_a[i]->name), cli_escz(c->a.path));
	for (size_t i = 0; i < c->n_only_b; i++)
		fprintf(to, "%-34s only in %s\n", cli_esc(c->only_b[i]->name), cli_escz(c->b.path));
	for (size_t i = 0; i < t->n; i++)
		fprintf(to, "%s -> %s: %zu tensors, %llu -> %llu bytes, RMS %.4g, relative %.4g, largest %.4g\n",
			t->v[i].a, t->v[i].b, t->v[i].n, (unsigned long long)t->v[i].a_bytes,
			(unsigned long long)t->v[i].b_bytes, error_rms(&t->v[i].sums),
			error_relative(&t->v[i].sums), t->v[i].sums.max);
	fprintf(to, "%zu tensors in both: %zu equal, %zu with other values, %zu of other shape; %zu only in A, %zu "
		"only in B\n", c->n_pairs, n_equal, c->n_pairs - n_equal - c->n_other_shape, c->n_other_shape,
		c->n_only_a, c->n_only_b);
}

/* ---- JSON ---- */

static void number(cJSON *o, const char *key, double v)
{
	cJSON_AddNumberToObject(o, key, v);
}

static void place_json(cJSON *o, const char *key, const struct pair *p, uint64_t row, uint64_t col, bool whole_row)
{
	double at[3] = { (double)(row / p->rows), (double)(row % p->rows), (double)col };

	cJSON_AddItemToObject(o, key, cJSON_CreateDoubleArray(at, whole_row ? 2 : 3));
}

static void error_json(cJSON *o, const struct error_sums *s)
{
	number(o, "values", (double)s->n);
	number(o, "rms", error_rms(s));
	number(o, "relative", error_relative(s));
	number(o, "cosine", error_cosine(s));
	number(o, "largest", s->max);
	number(o, "nan_a", (double)s->x_nan);
	number(o, "nan_b", (double)s->y_nan);
	number(o, "infinite_a", (double)s->x_inf);
	number(o, "infinite_b", (double)s->y_inf);
	number(o, "saturated", (double)s->saturated);
}

/* Relative errors, expert by expert; null where a value is not finite. */
static void experts_json(cJSON *o, const struct pair *p)
{
	cJSON *list = cJSON_AddArrayToObject(o, "experts");

	for (uint64_t i = 0; i < p->n_matrices; i++)
		cJSON_AddItemToArray(list, cJSON_CreateNumber(matrix_relative(&p->experts[i])));
}

static cJSON *pair_json(const struct pair *p)
{
	cJSON *o = cJSON_CreateObject();
	const struct error_sums *s = &p->sums;

	cJSON_AddStringToObject(o, "name", cli_esc(p->a->name));
	cJSON_AddStringToObject(o, "a", p->a->type);
	cJSON_AddStringToObject(o, "b", p->b->type);
	number(o, "bytes_a", (double)p->a->bytes);
	number(o, "bytes_b", (double)p->b->bytes);
	cJSON_AddBoolToObject(o, "same_shape", p->same_shape);
	if (!p->same_shape)
		return o;
	cJSON_AddBoolToObject(o, "equal", pair_equal(p));
	error_json(o, s);
	if (p->cols == 0 || p->rows == 0)
		return o;
	place_json(o, "largest_at", p, s->max_at / p->cols, s->max_at % p->cols, false);
	number(o, "worst_row", p->worst_row);
	place_json(o, "worst_row_at", p, p->worst_row_at, 0, true);
	number(o, "worst_block", sqrt(s->worst));
	place_json(o, "worst_block_at", p, s->worst_at / p->cols, s->worst_at % p->cols, false);
	if (p->experts && !pair_equal(p))
		experts_json(o, p);
	return o;
}

static void names_json(cJSON *doc, const char *key, const struct tensor *const *v, size_t n)
{
	cJSON *list = cJSON_AddArrayToObject(doc, key);

	for (size_t i = 0; i < n; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(cli_esc(v[i]->name)));
}

static cJSON *to_json(const struct comparison *c, const struct totals *t)
{
	cJSON *doc = cJSON_CreateObject(), *list;

	cJSON_AddStringToObject(doc, "a", cli_escz(c->a.path));
	cJSON_AddStringToObject(doc, "b", cli_escz(c->b.path));
	list = cJSON_AddArrayToObject(doc, "tensors");
	for (size_t i = 0; i < c->n_pairs; i++)
		cJSON_AddItemToArray(list, pair_json(&c->pairs[i]));
	names_json(doc, "only_a", c->only_a, c->n_only_a);
	names_json(doc, "only_b", c->only_b, c->n_only_b);
	list = cJSON_AddArrayToObject(doc, "types");
	for (size_t i = 0; i < t->n; i++) {
		cJSON *o = cJSON_CreateObject();

		cJSON_AddStringToObject(o, "a", t->v[i].a);
		cJSON_AddStringToObject(o, "b", t->v[i].b);
		number(o, "tensors", (double)t->v[i].n);
		number(o, "bytes_a", (double)t->v[i].a_bytes);
		number(o, "bytes_b", (double)t->v[i].b_bytes);
		error_json(o, &t->v[i].sums);
		cJSON_AddItemToArray(list, o);
	}
	return doc;
}

/* ---- the gates ---- */

/* What differs beyond values, or in values beyond what was allowed: exit code 1. */
static enum status judge(const struct comparison *c, double most, struct err *e)
{
	const struct pair *worst = NULL;
	double found = 0;

	if (c->n_only_a + c->n_only_b + c->n_other_shape)
		return err_set(e, ERR_MISMATCH, "%s: %zu tensors are not in %s, which has %zu others; %zu differ in "
			       "shape; each is listed above",
			       c->a.path, c->n_only_a, c->b.path, c->n_only_b, c->n_other_shape);
	for (size_t i = 0; i < c->n_pairs && most >= 0; i++) {
		double r = pair_relative(&c->pairs[i]);

		if (r > most && (!worst || r > found)) {
			worst = &c->pairs[i];
			found = r;
		}
	}
	if (!worst)
		return OK;
	return err_set(e, ERR_MISMATCH, "%s: relative error %g, more than --max-relative-error %g (tensor %.*s); give "
		       "it a finer type, or allow more",
		       c->b.path, found, most, (int)worst->a->name.n, worst->a->name.p);
}

/* ---- the page ---- */

struct task { struct cli c; struct compare_options o; double most; const char *html_path; struct output html; };

static enum status write_page(struct task *t, const struct comparison *c, const struct totals *totals, enum status verdict,
			      const struct err *why, struct err *e)
{
	const char *words[10] = { "ingot", "compare", t->o.a, t->o.b };
	struct html_compare page = { .c = c, .totals = totals->v, .n_totals = totals->n, .most = t->most, .ok = verdict == OK,
				     .why = why->msg, .words = words };
	char number[32];
	size_t n = 4;

	if (!t->html_path)
		return OK;
	snprintf(number, sizeof number, "%.12g", t->most);
	if (t->o.tensors) {
		words[n++] = "--tensors";
		words[n++] = t->o.tensors;
	}
	if (t->most >= 0) {
		words[n++] = "--max-relative-error";
		words[n++] = number;
	}
	if (t->o.mtp)
		words[n++] = "--mtp";
	return cmd_html_compare(&page, &t->html, e);
}

static enum status run(struct task *t, struct err *e)
{
	struct compare_options o = t->o;
	struct comparison c = { .a = TENSORS_NONE, .b = TENSORS_NONE };
	struct totals totals = { 0 };
	struct log notes = { 0 };
	struct progress p;
	struct err why = { 0 };
	enum status st, verdict;

	if (t->html_path)
		TRY(html_reserve(&t->html, t->html_path, e));
	st = compare_open(&c, &o, &notes, e);
	cli_notes(&t->c, &notes);
	TRY(st);
	TRY(cli_json_open(&t->c, e));
	progress_begin(&p, &t->c, "compare", 0);
	o.progress = show;
	o.arg = &p;
	st = compare_run(&c, &o, e);
	progress_end(&p);
	TRY(st);
	TRY(sum_types(&c, &totals, e));
	print_text(&t->c, &c, &totals);
	TRY(cli_json_write(&t->c, to_json(&c, &totals), e));
	verdict = judge(&c, t->most, &why);
	TRY(write_page(t, &c, &totals, verdict, &why, e));
	st = verdict;
	if (st != OK)
		*e = why;
out:
	output_abandon(&t->html);
	free(totals.v);
	compare_close(&c);
	log_close(&notes);
	return st;
}

int cmd_compare(const struct command *self, int argc, char **argv)
{
	struct task t = { .most = -1, .html = OUTPUT_NONE };
	const struct opt opts[] = {
		{ "tensors", 0, OPT_STR, &t.o.tensors, "REGEX", "only tensors whose GGUF name it is found in" },
		{ "mtp", 0, OPT_FLAG, &t.o.mtp, NULL, "of checkpoints the MTP block, not the model" },
		{ "max-relative-error", 0, OPT_DOUBLE, &t.most, "X", "exit code 1 if a tensor's is larger" },
		{ "html", 0, OPT_OUT, &t.html_path, "FILE", "also write a report to look at, one page" },
		{ NULL, 0, OPT_FLAG, NULL, NULL, NULL },
	};
	struct err e = { 0 };
	char **args;
	int n, code = cli_parse(&t.c, self, opts, argc, argv, 2, 2, &args, &n);

	if (code >= 0)
		return code;
	cli_catch_signals();
	t.o.a = args[0];
	t.o.b = args[1];
	t.o.threads = t.c.threads;
	t.o.max_memory = t.c.max_memory;
	t.o.stop = &stop_signal;
	t.o.source = cli_source(&t.c, NULL);
	return run(&t, &e) == OK ? 0 : cli_fail(&e);
}
