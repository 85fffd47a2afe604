/* SPDX-License-Identifier: MIT
 *
 * cmd.c - `ingot convert` and `ingot quantize`: a checkpoint, or a GGUF, to a sealed GGUF.
 */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "cli/cli.h"
#include "convert/cmd.h"
#include "convert/measure.h"

/* Bytes free where the output would go; 0 if that cannot be told. */
static uint64_t free_space(const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[4096];
	struct statvfs s;

	snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	return statvfs(dir, &s) == 0 ? (uint64_t)s.f_bavail * s.f_frsize : 0;
}

static void print_plan(const struct cli *c, const struct convert_result *r)
{
	FILE *to = cli_out(c);
	uint64_t need = 0, have = free_space(r->paths[0]);

	for (size_t o = 0; o < r->plan.n_outputs; o++) {
		const struct plan_output *out = &r->plan.out[o];

		plan_print_tensors(to, out, r->expected[o]);
		plan_print_roles(to, out, r->expected[o]);
		fprintf(to, "%s: %zu tensors, %llu bytes in %llu chunks\n", cli_escz(r->paths[o]), out->n_tensors,
			(unsigned long long)out->file_size, (unsigned long long)out->n_chunks);
		need += out->file_size;
	}
	fprintf(to, "source: %zu %s, %llu bytes, read once\n", r->plan.ckpt->n_shards,
		!r->plan.gguf ? "shards" : r->plan.ckpt->n_shards > 1 ? "files" : "file", (unsigned long long)r->plan.source_bytes);
	fprintf(to, "space: %llu bytes needed, %llu free%s\n", (unsigned long long)need, (unsigned long long)have,
		have && have < need ? ": NOT ENOUGH" : "");
	fprintf(to, "memory: %llu MiB of buffers for %u workers\n", (unsigned long long)(r->memory >> 20) + 1,
		r->workers);
}

static cJSON *output_json(const struct plan_output *out, const char *path, const struct measured *expected)
{
	cJSON *o = cJSON_CreateObject(), *list;
	char hex[65];

	cJSON_AddStringToObject(o, "path", cli_escz(path));
	cJSON_AddNumberToObject(o, "bytes", (double)out->file_size);
	cJSON_AddNumberToObject(o, "chunks", (double)out->n_chunks);
	cJSON_AddStringToObject(o, "root", sha256_text(out->header.buf + out->root_at, hex));
	list = cJSON_AddArrayToObject(o, "tensors");
	for (size_t i = 0; i < out->n_tensors; i++) {
		const struct plan_tensor *t = &out->tensors[i];
		cJSON *x = cJSON_CreateObject();

		cJSON_AddStringToObject(x, "name", t->want.name);
		cJSON_AddStringToObject(x, "source", plan_source_type(t));
		cJSON_AddStringToObject(x, "type", dtype_info(t->type)->name);
		cJSON_AddNumberToObject(x, "offset", (double)t->off);
		cJSON_AddNumberToObject(x, "bytes", (double)t->bytes);
		if (expected)
			plan_tensor_json(x, &expected[i]);
		cJSON_AddItemToArray(list, x);
	}
	plan_roles_json(o, out, expected);
	return o;
}

static cJSON *result_json(const struct convert_result *r, bool dry_run)
{
	cJSON *doc = cJSON_CreateObject(), *outputs = cJSON_AddArrayToObject(doc, "outputs");
	cJSON *sources = cJSON_AddArrayToObject(doc, "sources"), *dropped = cJSON_AddArrayToObject(doc, "dropped");
	char hex[65];

	cJSON_AddBoolToObject(doc, "dry_run", dry_run);
	cJSON_AddNumberToObject(doc, "source_bytes", (double)r->plan.source_bytes);
	cJSON_AddNumberToObject(doc, "free_bytes", (double)free_space(r->paths[0]));
	cJSON_AddNumberToObject(doc, "buffer_bytes", (double)r->memory);
	cJSON_AddNumberToObject(doc, "workers", r->workers);
	if (r->share) {
		cJSON *shares = cJSON_AddArrayToObject(doc, "part_shards");

		for (size_t i = 0; i < r->plan.ckpt->n_shards; i++)
			if (r->share[i])
				cJSON_AddItemToArray(shares, cJSON_CreateString(cli_escz(r->plan.ckpt->files[i].name)));
	}
	if (r->target.recipe.n) {
		cJSON_AddNumberToObject(doc, "target_least_bytes", (double)r->target.least);
		cJSON_AddNumberToObject(doc, "target_free_tensors", (double)r->target.n_free);
		cJSON_AddNumberToObject(doc, "target_predicted_loss", r->target.loss);
	}
	for (size_t i = 0; i < r->plan.n_outputs; i++)
		cJSON_AddItemToArray(outputs, output_json(&r->plan.out[i], r->paths[i], r->expected ? r->expected[i] : NULL));
	for (size_t i = 0; i < r->plan.n_dropped; i++)
		cJSON_AddItemToArray(dropped, cJSON_CreateString(cli_escz(r->plan.dropped[i])));
	for (size_t i = 0; i < r->plan.ckpt->n_files; i++) {
		cJSON *o = cJSON_CreateObject();

		cJSON_AddStringToObject(o, "name", r->plan.ckpt->files[i].name);
		cJSON_AddNumberToObject(o, "bytes", (double)r->plan.ckpt->files[i].file.id.size);
		cJSON_AddStringToObject(o, "anchor", anchor_name(r->plan.ckpt->files[i].anchor));
		if (!dry_run && (!r->share || i >= r->plan.ckpt->n_shards || r->share[i]))
			cJSON_AddStringToObject(o, "sha256", sha256_text(r->sha256 + SHA256_BYTES * i, hex));
		cJSON_AddItemToArray(sources, o);
	}
	return doc;
}

/* A part has no file of its own to speak of. */
static void print_part(const struct cli *c, const struct convert_result *r, const struct convert_options *o)
{
	uint64_t bytes = 0;
	size_t n = 0;

	for (size_t i = 0; i < r->plan.ckpt->n_shards; i++) {
		n += r->share[i];
		bytes += r->share[i] ? r->plan.ckpt->files[i].file.id.size : 0;
	}
	fprintf(cli_out(c), "%s: part %u/%u %s %zu of %zu shards, %llu bytes%s\n", cli_escz(r->paths[0]), o->part, o->n_parts,
		o->dry_run ? "would convert" : "is done:", n, r->plan.ckpt->n_shards, (unsigned long long)bytes,
		o->dry_run ? "" : "; --finish seals the file when all parts are");
}

static void print_done(const struct cli *c, const struct convert_result *r)
{
	struct rusage u;
	size_t n = 0;
	char hex[65];

	for (size_t i = 0; i < r->plan.ckpt->n_shards; i++)
		n += r->plan.ckpt->files[i].expected.kind != DIGEST_NONE;
	for (size_t i = 0; i < r->plan.n_outputs; i++)
		fprintf(cli_out(c), "%s: %llu bytes, sealed, root %s\n", cli_escz(r->paths[i]),
			(unsigned long long)r->plan.out[i].file_size,
			sha256_text(r->plan.out[i].header.buf + r->plan.out[i].root_at, hex));
	if (r->plan.gguf)
		fprintf(cli_out(c), "the source %s\n", n ? "matched its known digest" : r->plan.gguf->sealed
			? "was as it was sealed" : "had neither a seal nor a known digest");
	else
		fprintf(cli_out(c), "%zu of %zu shards had a known digest and matched it\n", n,
			r->plan.ckpt->n_shards);
	if (c->verbose && getrusage(RUSAGE_SELF, &u) == 0)
		fprintf(cli_out(c), "peak resident memory %ld MiB, %u workers\n", u.ru_maxrss / 1024, r->workers);
}

static void show(void *arg, uint64_t done, uint64_t total, const char *what)
{
	struct progress *p = arg;

	p->total = total;
	progress_update(p, done, what);
}

typedef enum status run_fn(struct convert_result *r, const struct convert_options *o, struct log *problems,
			   struct log *notes, struct err *e);

static enum status run_gguf(struct convert_result *r, const struct convert_options *o, struct log *problems,
			    struct log *notes, struct err *e)
{
	(void)problems;		/* lists of what is wrong with a checkpoint */
	return quantize_run(r, o, notes, e);
}

static enum status run(struct cli *c, struct convert_options *o, const char *verb, run_fn *work,
		       const char *report, struct err *e)
{
	struct convert_result r = CONVERT_RESULT_NONE;
	struct log problems = { 0 }, notes = { 0 };
	struct progress p;
	enum status st = cli_json_open(c, e);

	if (st == OK && report)
		st = report_check(report, o->force, e);
	if (st != OK)
		return st;
	progress_begin(&p, c, o->dry_run ? "plan" : verb, 0);
	o->run.progress = show;
	o->run.arg = &p;
	st = work(&r, o, &problems, &notes, e);
	progress_end(&p);
	if (st == ERR_STOPPED && !r.kept)
		err_add(e, "; nothing was kept, run the same command again");
	cli_notes(c, &notes);
	cli_notes(c, &problems);
	if (st == OK && o->dry_run)
		print_plan(c, &r);
	if (st == OK && o->part)
		print_part(c, &r, o);
	else if (st == OK && !o->dry_run)
		print_done(c, &r);
	if (st == OK && report)
		st = report_write(report, o->force, &r, e);
	if (st == OK)
		st = cli_json_write(c, result_json(&r, o->dry_run), e);
	convert_close(&r);
	log_close(&problems);
	log_close(&notes);
	return st;
}

/* What both commands take beside their own options. */
struct request {
	struct convert_options o;
	struct opt_list types;
	const char *recipe, *type_file, *effort, *imatrix, *report, *part;
};
#define REQUEST_OPTIONS(q)                                                                              \
	{ "output", 'o', OPT_OUT, &(q).o.out, "OUT.gguf", "the file to make" },                          \
	{ "tensor-type", 0, OPT_LIST, &(q).types, "REGEX=TYPE", "a type for some tensors; may be repeated" }, \
	{ "tensor-type-file", 0, OPT_STR, &(q).type_file, "FILE", "such lines from a file" },            \
	{ "imatrix", 0, OPT_STR, &(q).imatrix, "FILE", "how much columns matter: of `ingot calibrate` or llama.cpp" }, \
	{ "effort", 0, OPT_STR, &(q).effort, "fast|best", "of the search for the least error (default fast)" }, \
	{ "name", 0, OPT_TEXT, &(q).o.name, "TEXT", "general.name in the metadata" },                     \
	{ "digests", 0, OPT_STR, &(q).o.digests, "FILE", "expected digests in sha256sum form" },         \
	{ "report", 0, OPT_OUT, &(q).report, "FILE", "how far each tensor moved: TSV, or JSON if FILE ends in .json" }, \
	{ "sums", 0, OPT_FLAG, &(q).o.sums, NULL, "also write OUT.gguf.SHA256SUMS (one more read)" },    \
	{ "target-size", 0, OPT_SIZE, &(q).o.target_size, "SIZE", "choose types so that OUT.gguf has at most SIZE" }, \
	{ "split-max-size", 0, OPT_SIZE, &(q).o.split_max, "SIZE", "files of at most SIZE, OUT-00001-of-0000N.gguf" }, \
	{ "write-recipe", 0, OPT_OUT, &(q).o.write_recipe, "FILE", "the recipe that is used, for --recipe" }, \
	{ "dry-run", 0, OPT_FLAG, &(q).o.dry_run, NULL, "print the plan with expected errors, and stop" }, \
	{ "force", 0, OPT_FLAG, &(q).o.force, NULL, "replace an existing OUT.gguf when the new one is complete" }, \
	{ "resume", 0, OPT_FLAG, &(q).o.resume, NULL, "go on with what a run left that was stopped or killed" }, \
	{ "part", 0, OPT_STR, &(q).part, "K/N", "only share K of N, into the same output; any order, any number at once" }, \
	{ "finish", 0, OPT_FLAG, &(q).o.finish, NULL, "check and seal what all N parts made" },            \
	{ "journal-every", 0, OPT_SIZE, &(q).o.journal_every, "SIZE", "output that a crash may cost (default 1G, or 10 s)" }, \
	{ NULL, 0, OPT_FLAG, NULL, NULL, NULL }

static enum status set_effort(struct request *q, struct err *e)
{
	if (!q->effort || strcmp(q->effort, "fast") == 0)
		q->o.effort = EFFORT_FAST;
	else if (strcmp(q->effort, "best") == 0)
		q->o.effort = EFFORT_BEST;
	else
		return err_set(e, ERR_USAGE, "--effort %s: there are fast and best", q->effort);
	return OK;
}

/* Shares are of a checkpoint's shards, and what is known of values is known by one run alone. */
static enum status set_part(struct request *q, bool gguf, const char *verb, struct err *e)
{
	const char *given = q->part ? "--part" : "--finish";

	if (!q->part && !q->o.finish)
		return OK;
	if (gguf)
		return err_set(e, ERR_USAGE, "%s: %s: a GGUF is one file that is read in one piece; only `ingot "
			       "convert` knows parts", verb, given);
	if (q->part && q->o.finish)
		return err_set(e, ERR_USAGE, "%s: --part and --finish are two runs; --finish comes when all parts are done", verb);
	if (q->report)
		return err_set(e, ERR_USAGE, "%s: %s: a report needs every value in one run; `ingot compare SOURCE "
			       "OUT.gguf` makes one afterwards", verb, given);
	if (q->part && q->o.write_recipe)
		return err_set(e, ERR_USAGE, "%s: --write-recipe goes with --dry-run or --finish: parts would write "
			       "it all at once", verb);
	return q->part ? parts_parse(q->part, &q->o.part, &q->o.n_parts, e) : OK;
}

static int carry_out(struct request *q, struct cli *c, const char *verb, run_fn *work)
{
	struct recipe recipe = { 0 };
	struct importance importance = { 0 };
	struct err e = { 0 };
	enum status st;

	cli_catch_signals();
	q->o.recipe = &recipe;
	q->o.run.threads = c->threads;
	q->o.run.max_memory = c->max_memory;
	q->o.run.stop = &stop_signal;
	q->o.from = cli_source(c, q->o.out);
	q->o.measure = q->report != NULL;
	if (q->report && q->o.dry_run)
		st = err_set(&e, ERR_USAGE, "%s: --report is of values, and a dry run converts none", verb);
	else if (q->o.target_size && q->recipe)
		st = err_set(&e, ERR_USAGE, "%s: --recipe and --target-size both choose types; give one (--tensor-type goes "
			     "with either)", verb);
	else if (q->o.target_size && q->o.split_max)
		st = err_set(&e, ERR_USAGE, "%s: --target-size is of one file, without the headers that "
			     "--split-max-size adds; take the recipe of a --dry-run with --write-recipe, and give that", verb);
	else if (!q->o.out)
		st = err_set(&e, ERR_USAGE, "%s: -o OUT.gguf is missing; `ingot help %s` lists the options", verb, verb);
	else
		st = recipe_build(&recipe, q->types.v, q->types.n, q->type_file, q->recipe, &e);
	if (st == OK)
		st = set_effort(q, &e);
	if (st == OK)
		st = set_part(q, work == run_gguf, verb, &e);
	if (st == OK && q->imatrix) {
		st = importance_open(&importance, q->imatrix, &e);
		q->o.importance = &importance;
	}
	if (st == OK)
		st = run(c, &q->o, verb, work, q->report, &e);
	importance_close(&importance);
	recipe_close(&recipe);
	free(q->types.v);
	return st == OK ? 0 : cli_fail(&e);
}

int cmd_convert(const struct command *self, int argc, char **argv)
{
	struct request q = { 0 };
	const struct opt opts[] = {
		{ "recipe", 0, OPT_STR, &q.recipe, "NAME", "lossless (default), q8, q4, or a file of REGEX=TYPE lines" },
		{ "no-mtp", 0, OPT_FLAG, &q.o.no_mtp, NULL, "drop the MTP block (kept as mtp-OUT.gguf otherwise)" },
		{ "allow-unverified", 0, OPT_FLAG, &q.o.allow_unverified, NULL, "go on where no digest is known" },
		REQUEST_OPTIONS(q),
	};
	struct cli c;
	char **args;
	int n, code = cli_parse(&c, self, opts, argc, argv, 1, 1, &args, &n);

	if (code >= 0) {
		free(q.types.v);
		return code;
	}
	q.o.source = args[0];
	return carry_out(&q, &c, "convert", convert_run);
}

int cmd_quantize(const struct command *self, int argc, char **argv)
{
	struct request q = { 0 };
	const struct opt opts[] = {
		{ "recipe", 0, OPT_STR, &q.recipe, "NAME", "q8, q4, lossless (to seal alone), or a file of REGEX=TYPE lines" },
		{ "allow-requantize", 0, OPT_FLAG, &q.o.allow_requantize, NULL, "also tensors that are quantized already" },
		{ "allow-unverified", 0, OPT_FLAG, &q.o.allow_unverified, NULL, "go on where the input's seal is broken" },
		REQUEST_OPTIONS(q),
	};
	struct cli c;
	struct err e;
	struct stat s;
	char **args;
	int n, code = cli_parse(&c, self, opts, argc, argv, 1, 1, &args, &n);

	if (code >= 0) {
		free(q.types.v);
		return code;
	}
	if (!q.recipe && !q.type_file && q.types.n == 0 && !q.o.target_size) {
		err_set(&e, ERR_USAGE, "quantize: to which type? give --recipe NAME, --target-size SIZE or --tensor-type "
			"REGEX=TYPE (`--tensor-type .=Q6_K` is all matrices); `ingot help quantize` lists the options");
		return cli_fail(&e);
	}
	if (stat(args[0], &s) == 0 && S_ISDIR(s.st_mode)) {
		err_set(&e, ERR_USAGE, "%s: is a directory; `ingot convert` makes a GGUF of a checkpoint", args[0]);
		return cli_fail(&e);
	}
	q.o.source = args[0];
	return carry_out(&q, &c, "quantize", run_gguf);
}
