/* SPDX-License-Identifier: MIT
 *
 * cmd_report.c - --report: a line a tensor with its types, bytes and errors, then totals by role.
 *
 * Tab-separated lines and JSON have the same fields by the same names; a figure that does not exist (of a
 * table of ids, or relative to zeros) is "-" in one and null in the other. Positions are EXPERT:ROW:COLUMN
 * for stacked tensors, ROW:COLUMN else.
 */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "convert/cmd.h"

/* A line of the report; tensor is empty in totals. */
struct line {
	const char *tensor, *source, *type;
	char role[GGUF_MAX_NAME + 1];
	const struct want *want;	/* NULL in totals */
	uint64_t tensors, source_bytes, bytes;
	bool measured;
	struct error_sums e;
};
/* What takes the lines: one field after the other. */
struct writer { FILE *tsv; const char *before; bool names; cJSON *object; };

/* A tensor's name without its layer and what every weight is called. */
static void role_of(const char *name, char role[GGUF_MAX_NAME + 1])
{
	size_t n;

	if (strncmp(name, "blk.", 4) == 0 && strspn(name + 4, "0123456789") > 0) {
		const char *rest = name + 4 + strspn(name + 4, "0123456789");

		name = *rest == '.' ? rest + 1 : name;
	}
	snprintf(role, GGUF_MAX_NAME + 1, "%s", name);
	n = strlen(role);
	if (n > 7 && strcmp(role + n - 7, ".weight") == 0)
		role[n - 7] = 0;
}

static void put_text(struct writer *w, const char *name, const char *text)
{
	if (w->object)
		cJSON_AddStringToObject(w->object, name, text);
	else
		fprintf(w->tsv, "%s%s", w->before, w->names ? name : text);
	w->before = "\t";
}

static void put_count(struct writer *w, const char *name, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)v);
	if (w->object)
		cJSON_AddNumberToObject(w->object, name, (double)v);
	else
		put_text(w, name, text);
}

static void put_figure(struct writer *w, const char *name, bool exists, double v)
{
	char text[40];

	exists &= isfinite(v) != 0;
	snprintf(text, sizeof text, "%.9g", v);
	if (w->object && exists)
		cJSON_AddNumberToObject(w->object, name, v);
	else if (w->object)
		cJSON_AddNullToObject(w->object, name);
	else
		put_text(w, name, exists ? text : "-");
}

static void put_place(struct writer *w, const char *name, const struct line *l, bool exists, uint64_t element)
{
	char text[80] = "-";

	if (l->want && exists) {
		const struct want *t = l->want;
		uint64_t cols = t->shape[t->n_dims - 1], row = element / cols, rows = row + 1;
		int n = 0;

		if (t->n_dims > 2) {
			rows = 1;
			for (unsigned d = 1; d + 1 < t->n_dims; d++)
				rows *= t->shape[d];
			n = snprintf(text, sizeof text, "%llu:", (unsigned long long)(row / rows));
		}
		snprintf(text + n, sizeof text - (size_t)n, "%llu:%llu", (unsigned long long)(row % rows),
			 (unsigned long long)(element % cols));
	}
	put_text(w, name, text);
}

static void put_line(struct writer *w, const struct line *l)
{
	bool any = l->measured && l->e.n > 0;

	put_text(w, "tensor", cli_escz(l->tensor));
	put_text(w, "role", cli_escz(l->role));
	put_count(w, "tensors", l->tensors);
	put_text(w, "source", l->source);
	put_text(w, "type", l->type);
	put_count(w, "source_bytes", l->source_bytes);
	put_count(w, "bytes", l->bytes);
	put_count(w, "values", l->e.n);
	put_figure(w, "rms", any, error_rms(&l->e));
	put_figure(w, "relative", any, error_relative(&l->e));
	put_figure(w, "cosine", any, error_cosine(&l->e));
	put_figure(w, "max", any, l->e.max);
	put_place(w, "max_at", l, l->e.max > 0, l->e.max_at);
	put_figure(w, "worst_block", any, sqrt(l->e.worst));
	put_place(w, "worst_at", l, l->e.worst > 0, l->e.worst_at);
	put_count(w, "saturated", l->e.saturated);
	put_count(w, "nan", l->e.x_nan + l->e.y_nan);
	put_count(w, "inf", l->e.x_inf + l->e.y_inf);
}

/* ---- totals -----------------------------------------------------------------------------------*/

struct report { struct line *lines, *totals; size_t n_lines, n_totals; };	/* owned */

static void add_to(struct line *total, const struct line *l)
{
	total->tensors += l->tensors;
	total->source_bytes += l->source_bytes;
	total->bytes += l->bytes;
	total->measured |= l->measured;
	if (strcmp(total->source, l->source) != 0)
		total->source = "mixed";
	if (strcmp(total->type, l->type) != 0)
		total->type = "mixed";
	error_merge(&total->e, &l->e);
}

static int by_role(const void *a, const void *b)
{
	const struct line *x = *(const struct line *const *)a, *y = *(const struct line *const *)b;
	int c = strcmp(x->role, y->role);

	return c ? c : x < y ? -1 : x > y;
}

static struct line *new_total(struct report *p, const char *role, const struct line *first)
{
	struct line *t = &p->totals[p->n_totals++];

	*t = (struct line){ .tensor = "", .source = first->source, .type = first->type };
	snprintf(t->role, sizeof t->role, "%s", role);
	return t;
}

/* By role in order of names, then of all. */
static enum status add_totals(struct report *p, struct err *e)
{
	const struct line **order = mem_new(p->n_lines, sizeof *order, "the report", e);
	struct line *t = NULL;

	if (!order)
		return e->status;
	for (size_t i = 0; i < p->n_lines; i++)
		order[i] = &p->lines[i];
	qsort(order, p->n_lines, sizeof *order, by_role);
	for (size_t i = 0; i < p->n_lines; i++) {
		if (i == 0 || strcmp(order[i]->role, order[i - 1]->role) != 0)
			t = new_total(p, order[i]->role, order[i]);
		add_to(t, order[i]);
	}
	free(order);
	if (p->n_lines)
		t = new_total(p, "*", &p->lines[0]);
	for (size_t i = 0; i < p->n_lines; i++)
		add_to(t, &p->lines[i]);
	return OK;
}

static enum status gather(struct report *p, const struct convert_result *r, struct err *e)
{
	size_t n = 0;

	for (size_t o = 0; o < r->plan.n_outputs; o++)
		n += r->plan.out[o].n_tensors;
	p->lines = mem_new(n, sizeof *p->lines, "the report", e);
	p->totals = mem_new(n + 1, sizeof *p->totals, "the report", e);
	if (!p->lines || !p->totals)
		return e->status;
	for (size_t o = 0; o < r->plan.n_outputs; o++)
		for (size_t i = 0; i < r->plan.out[o].n_tensors; i++) {
			const struct plan_tensor *t = &r->plan.out[o].tensors[i];
			struct line *l = &p->lines[p->n_lines++];

			*l = (struct line){ .tensor = t->want.name, .source = plan_source_type(t),
					    .type = dtype_info(t->type)->name, .want = &t->want, .tensors = 1,
					    .source_bytes = t->source_bytes, .bytes = t->bytes,
					    .measured = ledger_can_read(&r->plan, t),
					    .e = ledger_tensor(&r->plan.out[o], t) };
			role_of(t->want.name, l->role);
		}
	return add_totals(p, e);
}

/* ---- the two forms ------------------------------------------------------------------------------*/

static void add_object(cJSON *list, const struct line *l)
{
	struct writer w = { .object = cJSON_CreateObject() };

	put_line(&w, l);
	cJSON_AddItemToArray(list, w.object);
}

static char *as_json(const struct report *p)
{
	cJSON *doc = cJSON_CreateObject(), *tensors = cJSON_AddArrayToObject(doc, "tensors");
	cJSON *totals = cJSON_AddArrayToObject(doc, "totals");
	char *text;

	for (size_t i = 0; i < p->n_lines; i++)
		add_object(tensors, &p->lines[i]);
	for (size_t i = 0; i < p->n_totals; i++)
		add_object(totals, &p->totals[i]);
	text = cJSON_Print(doc);
	cJSON_Delete(doc);
	return text;
}

static char *as_tsv(const struct report *p)
{
	char *text = NULL;
	size_t n;
	const struct line heading = { .tensor = "", .source = "", .type = "" };
	struct writer w = { .tsv = open_memstream(&text, &n), .before = "", .names = true };

	if (!w.tsv)
		return NULL;
	put_line(&w, &heading);
	w.names = false;
	for (size_t i = 0; i < p->n_lines + p->n_totals; i++) {
		w.before = "\n";
		put_line(&w, i < p->n_lines ? &p->lines[i] : &p->totals[i - p->n_lines]);
	}
	fputc('\n', w.tsv);
	if (fclose(w.tsv) == 0)
		return text;
	free(text);
	return NULL;
}

enum status report_check(const char *path, bool force, struct err *e)
{
	struct output o;
	enum status st = output_open(&o, path, 0, force, LEFTOVER_REPLACE, e);

	output_abandon(&o);
	return st;
}

enum status report_write(const char *path, bool force, const struct convert_result *r, struct err *e)
{
	size_t n = strlen(path);
	bool json = n > 5 && strcmp(path + n - 5, ".json") == 0;
	struct output o = OUTPUT_NONE;
	struct report p = { 0 };
	char *text = NULL;
	enum status st;

	TRY(gather(&p, r, e));
	text = json ? as_json(&p) : as_tsv(&p);
	if (!text) {
		st = err_set(e, ERR_NOMEM, "%s: no memory for the report", path);
		goto out;
	}
	TRY(output_open(&o, path, strlen(text), force, LEFTOVER_REPLACE, e));
	TRY(output_write(&o, text, strlen(text), 0, e));
	TRY(output_commit(&o, e));
out:
	output_abandon(&o);
	free(text);
	free(p.lines);
	free(p.totals);
	return st;
}
