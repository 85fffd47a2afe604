/* SPDX-License-Identifier: MIT
 *
 * cmd.c - `ingot verify`.
 */
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "verify/verify.h"

static void show(void *arg, uint64_t done, uint64_t total)
{
	struct progress *p = arg;

	p->total = total;
	progress_update(p, done, NULL);
}

static cJSON *source_json(const struct source_report *r, const char *path)
{
	cJSON *doc = cJSON_CreateObject(), *files = cJSON_AddArrayToObject(doc, "files");
	char hex[65];

	cJSON_AddStringToObject(doc, "path", cli_escz(path));
	cJSON_AddStringToObject(doc, "kind", "source");
	cJSON_AddStringToObject(doc, "commit", r->commit);
	for (size_t i = 0; i < r->n; i++) {
		const struct file_result *f = &r->files[i];
		cJSON *o = cJSON_CreateObject();

		cJSON_AddStringToObject(o, "name", cli_escz(f->name));
		cJSON_AddStringToObject(o, "verdict", file_verdict_text(f->verdict));
		cJSON_AddNumberToObject(o, "bytes", (double)f->bytes);
		cJSON_AddStringToObject(o, "anchor", anchor_name(f->anchor));
		if (f->expected.kind != DIGEST_NONE)
			cJSON_AddStringToObject(o, "expected", digest_text(&f->expected, hex));
		if (f->found.kind != DIGEST_NONE)
			cJSON_AddStringToObject(o, "found", digest_text(&f->found, hex));
		if (f->why[0])
			cJSON_AddStringToObject(o, "why", f->why);
		cJSON_AddItemToArray(files, o);
	}
	return doc;
}

static void print_source(const struct cli *c, const struct source_report *r, bool strict)
{
	char want[65], have[65];

	for (size_t i = 0; i < r->n; i++) {
		const struct file_result *f = &r->files[i];

		if (f->verdict == FILE_EXTRA && !strict)
			continue;
		fprintf(cli_out(c), "%s: %s\n", cli_escz(f->name), file_verdict_text(f->verdict));
		if (f->verdict == FILE_FAILED && f->found.kind != DIGEST_NONE && !c->quiet)
			fprintf(stderr, "ingot: %s: digest is %s, expected %s%s%s\n", cli_escz(f->name),
				digest_text(&f->found, have), digest_text(&f->expected, want), f->why[0] ? "; " : "",
				f->why);
		else if (f->why[0] && !c->quiet)
			fprintf(stderr, "ingot: %s: %s\n", cli_escz(f->name), f->why);
	}
}

static enum status run_source(struct cli *c, const char *path, const char *digests, bool strict,
			      struct verify_options *o, cJSON **doc, struct log *notes, struct err *e)
{
	struct source_report r;
	struct progress p;
	enum status st;

	progress_begin(&p, c, "verify", 0);
	o->progress = show;
	o->arg = &p;
	st = verify_source(&r, path, digests, strict, o, notes, e);
	o->arg = NULL;
	progress_end(&p);
	if (r.n) {
		print_source(c, &r, strict);
		*doc = source_json(&r, path);
		if (st == OK)
			fprintf(cli_out(c), "INTACT: %zu files have the digests that %s; not looked at: %zu files "
				"without a record\n", r.n_of[FILE_OK],
				digests ? "the list or the Hub recorded" : "the Hub recorded", r.n_of[FILE_EXTRA]);
	}
	source_report_close(&r);
	return st;
}

static void print_damage(const struct cli *c, const struct sealed_report *r)
{
	enum { SHOWN = 200 };

	if (r->rewritten || (r->size_differs && !r->has_trailing && r->n_damage == 0)) {
		fprintf(cli_out(c), "REWRITTEN: %s\n", r->rewritten ? "the seal is another file's"
								  : "the header is not the sealed one, the tensors are");
		return;
	}
	if (r->n_damage > SHOWN)
		fprintf(cli_out(c), "DAMAGED: %zu chunks; the first %d:\n", r->n_damage, SHOWN);
	for (size_t i = 0; i < r->n_damage && i < SHOWN; i++) {
		const struct damage *d = &r->damage[i];
		char expert[40] = "";

		if (d->expert != UINT64_MAX)
			snprintf(expert, sizeof expert, ", expert %llu", (unsigned long long)d->expert);
		fprintf(cli_out(c), "DAMAGED: tensor %s%s, bytes %llu..%llu\n", cli_esc(d->tensor), expert,
			(unsigned long long)d->from, (unsigned long long)d->to);
	}
	if (r->signature_differs)
		fprintf(cli_out(c), "DAMAGED: header, the signature's slot, bytes %llu..%llu\n",
			(unsigned long long)r->seal.signature_off,
			(unsigned long long)(r->seal.signature_off + r->seal.signature.n));
	if (r->header_differs || r->root_differs)
		fprintf(cli_out(c), "DAMAGED: header, bytes 0..%llu\n", (unsigned long long)r->gguf.data_off);
	if (r->padding_differs)
		fprintf(cli_out(c), "DAMAGED: padding, byte %llu\n", (unsigned long long)r->padding_at);
}

static cJSON *sealed_json(const struct sealed_report *r, const char *path, enum status st)
{
	cJSON *doc = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(doc, "damage");

	cJSON_AddStringToObject(doc, "path", cli_escz(path));
	cJSON_AddStringToObject(doc, "kind", "gguf");
	cJSON_AddStringToObject(doc, "verdict", st == OK ? "INTACT" : st != ERR_MISMATCH ? "UNKNOWN"
								  : r->rewritten ? "REWRITTEN" : "DAMAGED");
	cJSON_AddNumberToObject(doc, "bytes", (double)r->file_bytes);
	cJSON_AddBoolToObject(doc, "sealed", r->sealed);
	cJSON_AddBoolToObject(doc, "header_differs", r->header_differs || r->root_differs || r->signature_differs);
	cJSON_AddBoolToObject(doc, "padding_differs", r->padding_differs);
	cJSON_AddBoolToObject(doc, "trailing_bytes", r->has_trailing);
	cJSON_AddStringToObject(doc, "header_sha256", r->header_sha256);
	for (size_t i = 0; i < r->n_damage; i++) {
		cJSON *o = cJSON_CreateObject();

		cJSON_AddStringToObject(o, "tensor", cli_esc(r->damage[i].tensor));
		if (r->damage[i].expert != UINT64_MAX)
			cJSON_AddNumberToObject(o, "expert", (double)r->damage[i].expert);
		cJSON_AddNumberToObject(o, "from", (double)r->damage[i].from);
		cJSON_AddNumberToObject(o, "to", (double)r->damage[i].to);
		cJSON_AddItemToArray(list, o);
	}
	return doc;
}

static enum status run_sealed(struct cli *c, const char *path, struct verify_options *o, cJSON **doc,
			      struct log *notes, struct err *e)
{
	struct sealed_report r = { 0 };
	struct file f;
	struct progress p;
	enum status st = file_open(&f, AT_FDCWD, path, true, path, e);

	if (st != OK)
		return st;
	progress_begin(&p, c, "verify", f.id.size);
	o->progress = show;
	o->arg = &p;
	st = verify_sealed(&r, &f, o, notes, e);
	o->arg = NULL;
	progress_end(&p);
	print_damage(c, &r);
	if (r.sealed)
		*doc = sealed_json(&r, path, st);
	if (st == OK)
		fprintf(cli_out(c), "INTACT: header, %zu tensors in %llu chunks and padding are as they were sealed "
			"(header digest %s); not looked at: %s, derivation from a source, values\n",
			r.gguf.n_tensors, (unsigned long long)r.seal.n_chunks, r.header_sha256,
			r.signature_present ? "its signature" : "authenticity (it is not signed)");
	sealed_report_close(&r);
	file_close(&f);
	return st;
}

int cmd_verify(const struct command *self, int argc, char **argv)
{
	const char *digests = NULL;
	bool strict = false;
	const struct opt opts[] = {
		{ "digests", 0, OPT_STR, &digests, "FILE", "digests in sha256sum form, for a source" },
		{ "strict", 0, OPT_FLAG, &strict, NULL, "list files that nothing vouches for, and fail on them" },
		{ NULL, 0, OPT_FLAG, NULL, NULL, NULL },
	};
	struct verify_options o = { 0 };
	struct log notes = { 0 };
	struct err e = { 0 };
	struct stat s;
	struct cli c;
	cJSON *doc = NULL;
	char **args;
	int n, code = cli_parse(&c, self, opts, argc, argv, 1, 1, &args, &n);
	enum status st;

	if (code >= 0)
		return code;
	cli_catch_signals();
	o.threads = c.threads;
	o.stop = &stop_signal;
	st = cli_json_open(&c, &e);
	if (st == OK && stat(args[0], &s) == 0 && S_ISDIR(s.st_mode))
		st = run_source(&c, args[0], digests, strict, &o, &doc, &notes, &e);
	else if (st == OK)
		st = run_sealed(&c, args[0], &o, &doc, &notes, &e);
	cli_notes(&c, &notes);
	log_close(&notes);
	code = st == OK ? 0 : cli_fail(&e);
	if (doc && cli_json_write(&c, doc, &e) != OK)
		return cli_fail(&e);
	return code;
}
