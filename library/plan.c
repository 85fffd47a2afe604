/* SPDX-License-Identifier: MIT
 *
 * plan.c - what a conversion will make, and the conversion.
 */
#include <stdlib.h>
#include <string.h>

#include "convert/convert.h"
#include "convert/measure.h"
#include "library/library.h"

struct ingot_plan {
	struct convert_result r;
	const char **names[PLAN_OUTPUTS];	/* owned; one a tensor */
	const char *paths[PLAN_OUTPUTS], *roots[PLAN_OUTPUTS];
	struct texts texts;
};

/* What the options of a call become, beside the call itself. */
struct request {
	struct ingot_convert_options given;
	struct convert_options o;
	struct recipe recipe;
	struct importance importance;
};

static enum status take_parts(struct request *q, struct err *e)
{
	const struct ingot_convert_options *g = &q->given;
	bool finish = (g->flags & INGOT_FINISH) != 0;

	if ((g->part == 0) != (g->n_parts == 0) || g->part > g->n_parts || g->n_parts > PARTS_MOST)
		return err_set(e, ERR_USAGE, "part %u of %u: parts count from 1 to n_parts, which is at most %d", g->part,
			       g->n_parts, PARTS_MOST);
	if (finish && g->part)
		return err_set(e, ERR_USAGE, "a part and INGOT_FINISH are two runs; INGOT_FINISH comes when all parts are done");
	q->o.part = g->part;
	q->o.n_parts = g->n_parts;
	q->o.finish = finish;
	return OK;
}

static enum status take_options(struct request *q, const struct ingot_convert_options *options, struct err *e)
{
	enum { KNOWN = INGOT_FINISH * 2 - 1 };
	const struct ingot_convert_options *g = &q->given;
	enum status st;

	*q = (struct request){ 0 };
	TRY(options_take(&q->given, sizeof q->given, options, e));
	if (g->flags & ~(unsigned)KNOWN)
		return err_set(e, ERR_USAGE, "flags of a conversion: 0x%x is none that libingot %s knows", g->flags, INGOT_VERSION);
	if (g->target_size && g->recipe)
		return err_set(e, ERR_USAGE, "recipe and target_size both choose types; give one (tensor_types go with either)");
	TRY(take_parts(q, e));
	TRY(recipe_build(&q->recipe, g->tensor_types, g->n_tensor_types, NULL, g->recipe, e));
	if (g->imatrix) {
		TRY(importance_open(&q->importance, g->imatrix, e));
		q->o.importance = &q->importance;
	}
	q->o.recipe = &q->recipe;
	q->o.digests = g->digests;
	q->o.name = g->name;
	q->o.target_size = g->target_size;
	q->o.journal_every = g->journal_every;
	q->o.no_mtp = (g->flags & INGOT_NO_MTP) != 0;
	q->o.allow_unverified = (g->flags & INGOT_ALLOW_UNVERIFIED) != 0;
	q->o.allow_requantize = (g->flags & INGOT_ALLOW_REQUANTIZE) != 0;
	q->o.force = (g->flags & INGOT_FORCE) != 0;
	q->o.resume = (g->flags & INGOT_RESUME) != 0;
	q->o.sums = (g->flags & INGOT_SUMS) != 0;
	q->o.effort = g->flags & INGOT_EFFORT_BEST ? EFFORT_BEST : EFFORT_FAST;
out:
	return st;
}

static void request_close(struct request *q)
{
	importance_close(&q->importance);
	recipe_close(&q->recipe);
}

/* The texts that the plan's readers are given. */
static enum status name_all(struct ingot_plan *p, bool made, struct err *e)
{
	for (size_t o = 0; o < p->r.plan.n_outputs; o++) {
		const struct plan_output *out = &p->r.plan.out[o];

		if (!(p->names[o] = mem_new(out->n_tensors, sizeof **p->names, "names", e)))
			return e->status;
		for (size_t i = 0; i < out->n_tensors; i++)
			p->names[o][i] = texts_addz(&p->texts, out->tensors[i].want.name);
		p->paths[o] = texts_addz(&p->texts, p->r.paths[o]);
		p->roots[o] = made ? texts_hex(&p->texts, out->header.buf + out->root_at) : "";
	}
	return texts_check(&p->texts, e);
}

static enum status carry_out(struct ingot_plan *p, struct request *q, struct call *c)
{
	struct log problems = { 0 };
	bool source = path_is_source(q->o.source);
	enum status st;

	if (!source && (q->o.part || q->o.finish))
		return err_set(&c->err, ERR_USAGE, "%s: a GGUF is one file that is read in one piece; only a checkpoint has parts",
			       q->o.source);
	c->from.scratch = q->o.out;
	q->o.from = &c->from;
	q->o.run = (struct pipeline_options){ .threads = c->run.threads, .max_memory = c->run.max_memory, .stop = c->stop,
					      .progress = call_progress, .arg = c };
	call_step(c, q->o.dry_run ? "plan" : "convert", 0);
	if (source)
		st = convert_run(&p->r, &q->o, &problems, &c->notes, &c->err);
	else
		st = quantize_run(&p->r, &q->o, &c->notes, &c->err);
	for (const char *at = problems.text; at && *at; at += strcspn(at, "\n") + 1)
		log_add(&c->notes, "%.*s", (int)strcspn(at, "\n"), at);
	log_close(&problems);
	/* borrowed by the plan, and gone with the request */
	p->r.plan.importance = NULL;
	return st == OK ? name_all(p, !q->o.dry_run && !q->o.part, &c->err) : st;
}

static int run(struct ingot_plan **to, const char *input, const char *out, bool dry_run,
	       const struct ingot_convert_options *options, const struct ingot_run *given, struct ingot_error *e)
{
	struct ingot_plan *p = NULL;
	struct request q = { 0 };
	struct call c;
	enum status st = call_open(&c, given);

	if (to)
		*to = NULL;
	TRY(st);
	TRY(take_options(&q, options, &c.err));
	q.o.source = input;
	q.o.out = out;
	q.o.dry_run = dry_run;
	if (!(p = mem_new(1, sizeof *p, "a plan", &c.err))) {
		st = c.err.status;
		goto out;
	}
	p->r = CONVERT_RESULT_NONE;
	st = carry_out(p, &q, &c);
out:
	if (to && st == OK)
		*to = p;
	else
		ingot_plan_close(p);
	request_close(&q);
	return call_close(&c, st, e);
}

int ingot_plan(struct ingot_plan **p, const char *input, const char *out, const struct ingot_convert_options *options,
	       const struct ingot_run *given, struct ingot_error *e)
{
	return run(p, input, out, true, options, given, e);
}

int ingot_convert(struct ingot_plan **made, const char *input, const char *out, const struct ingot_convert_options *options,
		  const struct ingot_run *given, struct ingot_error *e)
{
	return run(made, input, out, false, options, given, e);
}

void ingot_plan_close(struct ingot_plan *p)
{
	if (!p)
		return;
	convert_close(&p->r);
	for (size_t i = 0; i < PLAN_OUTPUTS; i++)
		free(p->names[i]);
	texts_close(&p->texts);
	free(p);
}

int ingot_plan_facts(const struct ingot_plan *p, struct ingot_plan_facts *f)
{
	const struct ingot_plan_facts own = { .n_outputs = p->r.plan.n_outputs, .source_bytes = p->r.plan.source_bytes,
					      .memory = p->r.memory, .n_workers = p->r.workers };

	return result_give(f, &own, sizeof own);
}

int ingot_plan_output(const struct ingot_plan *p, uint64_t output, struct ingot_output *o)
{
	if (output >= p->r.plan.n_outputs)
		return INGOT_USAGE;

	const struct plan_output *out = &p->r.plan.out[output];
	const struct ingot_output own = { .path = p->paths[output], .bytes = out->file_size, .n_tensors = out->n_tensors,
					  .n_chunks = out->n_chunks, .root = p->roots[output] };

	return result_give(o, &own, sizeof own);
}

int ingot_plan_tensor(const struct ingot_plan *p, uint64_t output, uint64_t i, struct ingot_planned *t)
{
	if (output >= p->r.plan.n_outputs || i >= p->r.plan.out[output].n_tensors)
		return INGOT_USAGE;

	const struct plan_tensor *from = &p->r.plan.out[output].tensors[i];
	const struct measured *expected = p->r.expected[output];
	const struct ingot_planned own = { .name = p->names[output][i], .source_type = plan_source_type(from),
					   .type = dtype_info(from->type)->name, .source_bytes = from->source_bytes,
					   .bytes = from->bytes, .offset = from->off,
					   .expected_error = !expected ? -1 : expected[i].sums.n
						? measured_relative(&expected[i]) : 0 };

	return result_give(t, &own, sizeof own);
}
