/* SPDX-License-Identifier: MIT
 *
 * cmd.c - `ingot verify`.
 */
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "verify/deep.h"
#include "verify/derive.h"

/* What is to be shown. */
struct wish {
	const char *digests, *key, *oms, *source, *imatrix;
	uint64_t sample;
	bool strict, header, deep;
	struct key public;
};

static bool is_directory(const char *path)
{
	struct stat s;

	return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static enum status check_wish(const struct wish *w, const char *path, struct err *e)
{
	bool dir = is_directory(path);

	if (w->oms && !w->key)
		return err_set(e, ERR_USAGE, "--oms: give the signer's public key with --key PUB.pem; one inside the bundle "
			       "would prove nothing");
	if (dir && w->key && !w->oms)
		return err_set(e, ERR_USAGE, "--key: a directory has no signature of its own; give the bundle with --oms "
			       "FILE.sig");
	if ((w->sample || w->imatrix) && !w->source)
		return err_set(e, ERR_USAGE, "%s: only with --source", w->sample ? "--sample" : "--imatrix");
	if (w->source && (dir || w->oms || w->header))
		return err_set(e, ERR_USAGE, "--source: only for a GGUF, with its seal");
	if (w->header && (dir || w->oms))
		return err_set(e, ERR_USAGE, "--header: only of a GGUF's own seal and signature");
	if (w->deep && (w->oms || w->header))
		return err_set(e, ERR_USAGE, "--deep: only for a GGUF, with its tensors, or a source directory");
	if ((w->digests || (w->strict && !w->deep)) && (!dir || w->oms))
		return err_set(e, ERR_USAGE, "%s: only for a source directory%s", w->digests ? "--digests" : "--strict",
			       w->oms ? " without --oms" : "");
	return OK;
}

static char now[VERIFY_NAME];	/* what is looked at while show is called */

static void show(void *arg, uint64_t done, uint64_t total)
{
	struct progress *p = arg;

	p->total = total;
	progress_update(p, done, now[0] ? now : NULL);
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

static void lines_of(struct cli *c, const struct log *l, const char *kind, cJSON *list)
{
	for (const char *at = l->text; at && *at; at += strcspn(at, "\n") + 1) {
		const char *line = cli_esc((struct str){ at, strcspn(at, "\n") });

		fprintf(cli_out(c), "%s: %s\n", kind, line);
		cJSON_AddItemToArray(list, cJSON_CreateString(line));
	}
	if (l->n_dropped)
		fprintf(cli_out(c), "%s: and %zu more\n", kind, l->n_dropped);
}

/* What the look at the values showed; line says of how many. st and e: as it left them. */
static enum status deep_result(struct cli *c, const struct deep_report *r, const char *path, bool strict, enum status st,
			       char line[300], cJSON *doc, struct err *e)
{
	if (st == OK && strict && r->odd.n_lines)
		st = err_set(e, ERR_MISMATCH, "%s: %zu things are odd, each listed as ODD; without --strict they are let pass",
			     path, r->odd.n_lines + r->odd.n_dropped);
	lines_of(c, &r->bad, "BAD", cJSON_AddArrayToObject(doc, "bad"));
	lines_of(c, &r->odd, "ODD", cJSON_AddArrayToObject(doc, "odd"));
	if (r->template_sha256[0])
		fprintf(cli_out(c), "chat template: %llu bytes, SHA-256 %s\n", (unsigned long long)r->template_bytes,
			r->template_sha256);
	cJSON_AddStringToObject(doc, "values", st == OK ? "SOUND" : st == ERR_MISMATCH ? "BAD" : "NOT SHOWN");
	cJSON_AddStringToObject(doc, "chat_template_sha256", r->template_sha256);
	cJSON_AddNumberToObject(doc, "tensors_looked_at", (double)r->n_tensors);
	cJSON_AddNumberToObject(doc, "tensors_not_looked_at", (double)r->n_unread);
	cJSON_AddNumberToObject(doc, "bytes_looked_at", (double)r->bytes);
	snprintf(line, 300, "; values of %llu tensors (%llu bytes), %llu tokens%s %s", (unsigned long long)r->n_tensors,
		 (unsigned long long)r->bytes, (unsigned long long)r->n_tokens, r->model ? " and the hyper-parameters" : "",
		 st == OK ? "are sound" : st == ERR_MISMATCH ? "are NOT sound" : "were looked at, not all");
	return st;
}

/* The values of a source whose digests have been looked at. */
static enum status deep_source(struct cli *c, const char *path, const struct wish *w, struct verify_options *o, char line[300],
			       cJSON *doc, struct log *notes, struct err *e)
{
	struct deep_report r;
	struct progress p;
	enum status st;

	progress_begin(&p, c, "values", 0);
	o->arg = &p;
	st = verify_deep_source(&r, path, o, notes, e);
	o->arg = NULL;
	progress_end(&p);
	st = deep_result(c, &r, path, w->strict, st, line, doc, e);
	deep_report_close(&r);
	return st;
}

/* Digests first, then values; what is bad is worse than what nobody vouches for. */
static enum status conclude_source(struct cli *c, const char *path, const struct wish *w, const struct source_report *r,
				   struct verify_options *o, enum status st, cJSON *doc, struct log *notes, struct err *e)
{
	enum status digests = st, deep;
	char values[300] = "";
	struct err own = { 0 };

	if (w->deep && (st == OK || st == ERR_MISMATCH || st == ERR_NO_DIGEST)) {
		deep = deep_source(c, path, w, o, values, doc, notes, &own);
		if (deep != OK && st != ERR_MISMATCH) {
			*e = own;
			st = deep;
		}
	}
	if (digests == OK)
		fprintf(cli_out(c), "INTACT: %zu files have the digests that %s%s; not looked at: %zu files without a record%s\n",
			r->n_of[FILE_OK], w->digests ? "the list or the Hub recorded" : "the Hub recorded", values,
			r->n_of[FILE_EXTRA], w->deep ? "" : ", values");
	else if (values[0])
		fprintf(cli_out(c), "%s%s\n", digests == ERR_MISMATCH ? "NOT INTACT" :
			"NO DIGEST: whether bytes changed cannot be told", values);
	return st;
}

static enum status run_source(struct cli *c, const char *path, const struct wish *w, struct verify_options *o, cJSON **doc,
			      struct log *notes, struct err *e)
{
	struct source_report r;
	struct progress p;
	enum status st;

	progress_begin(&p, c, "verify", 0);
	o->progress = show;
	o->arg = &p;
	st = verify_source(&r, path, w->digests, w->strict, o, notes, e);
	o->arg = NULL;
	progress_end(&p);
	if (r.n) {
		print_source(c, &r, w->strict);
		*doc = source_json(&r, path);
		st = conclude_source(c, path, w, &r, o, st, *doc, notes, e);
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

/* Makes it again; the line says how much of it. */
static enum status run_derive(struct cli *c, const struct sealed_report *r, const struct file *f, const struct wish *w,
			      const struct verify_options *o, char line[300], cJSON *doc, struct log *notes, struct err *e)
{
	struct derive_options d = { .source = w->source, .imatrix = w->imatrix, .sample = w->sample, .run = *o };
	struct derived_report report;
	struct progress p;
	enum status st;

	progress_begin(&p, c, "derive", f->id.size);
	d.run.progress = show;
	d.run.arg = &p;
	st = verify_derived(&report, &r->gguf, f, &d, notes, e);
	progress_end(&p);
	for (const char *at = report.differences.text; at && *at; at += strcspn(at, "\n") + 1)
		fprintf(cli_out(c), "DIFFERS: %s\n", cli_esc((struct str){ at, strcspn(at, "\n") }));
	snprintf(line, 300, "; %s what the source gives: %llu source files by digest, %llu metadata keys, %llu of %llu matrices",
		 st == OK ? "is" : "is NOT", (unsigned long long)report.n_files, (unsigned long long)report.n_keys,
		 (unsigned long long)report.n_matrices, (unsigned long long)report.n_all);
	cJSON_AddStringToObject(doc, "derivation", st == OK ? "DERIVED" : "NOT SHOWN");
	cJSON_AddNumberToObject(doc, "derived_matrices", (double)report.n_matrices);
	cJSON_AddNumberToObject(doc, "matrices", (double)report.n_all);
	derived_report_close(&report);
	return st;
}

/* Looks at the values; the line says of how many. */
static enum status run_deep(struct cli *c, const struct gguf *g, const struct file *f, const struct wish *w,
			    const struct verify_options *o, char line[300], cJSON *doc, struct err *e)
{
	struct verify_options own = *o;
	struct deep_report r;
	struct progress p;
	enum status st;

	progress_begin(&p, c, "values", f->id.size);
	own.progress = show;
	own.arg = &p;
	st = verify_deep(&r, g, f, &own, e);
	progress_end(&p);
	st = deep_result(c, &r, f->path, w->strict, st, line, doc, e);
	deep_report_close(&r);
	return st;
}

/* What was asked for beyond the seal, and the closing line. */
static enum status conclude(struct cli *c, const struct sealed_report *r, const struct file *f, const struct wish *w,
			    const struct verify_options *o, cJSON *doc, struct log *notes, struct err *e)
{
	const char *path = f->path;
	char derived[300] = "", values[300] = "";
	bool whole = !w->header;
	enum status st = w->key ? verify_signature(r, &w->public, path, e) : OK;

	bool signed_by = w->key && st == OK, made;

	if (w->key)
		cJSON_AddStringToObject(doc, "signature", st == OK ? "AUTHENTIC" : "NOT SHOWN");
	if (w->source && st == OK)
		st = run_derive(c, r, f, w, o, derived, doc, notes, e);
	made = w->source && st == OK;
	if (w->deep && (st == OK || st == ERR_MISMATCH || st == ERR_NO_DIGEST)) {
		struct err own;
		enum status deep = run_deep(c, &r->gguf, f, w, o, values, doc, &own);

		if (deep != OK && st == OK) {
			*e = own;
			st = deep;
		}
	}
	const char *left = w->key ? "" : r->signature_present ? "its signature (give --key PUB.pem), "
							       : "authenticity (it is not signed), ";

	if (whole)
		fprintf(cli_out(c), "INTACT%s%s: header, %zu tensors in %llu chunks and padding are as they were sealed (header "
			"digest %s)", signed_by ? ", AUTHENTIC" : "", made ? ", DERIVED" : "",
			r->gguf.n_tensors,
			(unsigned long long)r->seal.n_chunks, r->header_sha256);
	else
		fprintf(cli_out(c), "%s: the header is as it was sealed (header digest %s)",
			signed_by ? "HEADER AUTHENTIC" : "HEADER INTACT", r->header_sha256);
	if (signed_by)
		fprintf(cli_out(c), ", signed by the key you named, %s (SHA-256 %s)", w->public.kind,
			w->public.fingerprint);
	char rest[300];	/* ends with ", " */

	snprintf(rest, sizeof rest, "%s%s%s%s%s", whole ? "" : "the tensors' bytes, ",
		 w->key && !signed_by ? "who signed it, " : "", left, !derived[0] ? "derivation from a source, "
		 : w->sample ? "the other matrices and the shards' digests, " : "",
		 values[0] ? "" : "values, ");
	fprintf(cli_out(c), "%s%s", derived, values);
	if (rest[0])
		fprintf(cli_out(c), "; not looked at: %.*s", (int)strlen(rest) - 2, rest);
	fputc('\n', cli_out(c));
	return st;
}

/* The values of a file that is damaged, or has no seal: its own error stays unless values are bad. */
static enum status deep_only(struct cli *c, const struct sealed_report *r, const struct file *f, const struct wish *w,
			     const struct verify_options *o, cJSON **doc, enum status sealed, struct err *e)
{
	char values[300] = "";
	struct err own;
	enum status st;

	if (!*doc)
		*doc = sealed_json(r, f->path, sealed);
	st = run_deep(c, &r->gguf, f, w, o, values, *doc, &own);
	fprintf(cli_out(c), "%s%s; not looked at: authenticity, derivation from a source\n",
		sealed == ERR_MISMATCH ? "NOT INTACT" : "NO SEAL: whether bytes changed cannot be told", values);
	if (st == OK || sealed == ERR_MISMATCH)
		return sealed;
	*e = own;
	return st;
}

static enum status run_sealed(struct cli *c, const char *path, const struct wish *w, struct verify_options *o,
			      cJSON **doc, struct log *notes, struct err *e)
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
		st = conclude(c, &r, &f, w, o, *doc, notes, e);
	else if (w->deep && (st == ERR_MISMATCH || st == ERR_NO_DIGEST))
		st = deep_only(c, &r, &f, w, o, doc, st, e);
	sealed_report_close(&r);
	file_close(&f);
	return st;
}

static enum status run_bundle(struct cli *c, const char *path, const struct wish *w, struct verify_options *o,
			      cJSON **doc, struct err *e)
{
	struct source_report r = { 0 };
	struct bundle b;
	struct progress p;
	enum status st = bundle_read(&b, w->oms, &w->public, e);

	if (st != OK)
		return st;
	progress_begin(&p, c, "verify", 0);
	o->progress = show;
	o->arg = &p;
	st = verify_bundle(&r, path, &b, w->oms, o, e);
	o->arg = NULL;
	progress_end(&p);
	if (r.n) {
		print_source(c, &r, true);
		*doc = source_json(&r, path);
		cJSON_AddStringToObject(*doc, "signature", st == OK ? "AUTHENTIC" : "NOT SHOWN");
	}
	if (st == OK)
		fprintf(cli_out(c), "AUTHENTIC: %zu files are those that the key you named signed, %s (SHA-256 %s); not "
			"looked at: %s\n", r.n_of[FILE_OK], w->public.kind, w->public.fingerprint,
			is_directory(path) ? "sub-directories, digests of the Hub" : "its own seal, derivation, values");
	source_report_close(&r);
	bundle_close(&b);
	return st;
}

int cmd_verify(const struct command *self, int argc, char **argv)
{
	struct wish w = { 0 };
	const struct opt opts[] = {
		{ "digests", 0, OPT_STR, &w.digests, "FILE", "digests in sha256sum form, for a source" },
		{ "strict", 0, OPT_FLAG, &w.strict, NULL, "list files without a record, and fail on them; or on what is ODD" },
		{ "key", 0, OPT_STR, &w.key, "PUB.pem", "also check the signature: by this public key" },
		{ "oms", 0, OPT_STR, &w.oms, "FILE.sig", "with --key: check against an OpenSSF Model Signing bundle" },
		{ "source", 0, OPT_STR, &w.source, "SOURCE", "also make the file's contents again from this checkpoint" },
		{ "sample", 0, OPT_U64, &w.sample, "N", "with --source: N matrices only, and no digests of shards" },
		{ "imatrix", 0, OPT_STR, &w.imatrix, "FILE", "with --source: the importance matrix that was used" },
		{ "deep", 0, OPT_FLAG, &w.deep, NULL, "also look at every value, expert and token id, key and shape" },
		{ "header", 0, OPT_FLAG, &w.header, NULL, "of a GGUF: the header alone, not the tensors" },
		{ NULL, 0, OPT_FLAG, NULL, NULL, NULL },
	};
	struct verify_options o = { 0 };
	struct log notes = { 0 };
	struct err e = { 0 };
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
	o.now = now;
	st = cli_json_open(&c, &e);
	if (st == OK)
		st = check_wish(&w, args[0], &e);
	if (st == OK && w.key)
		st = key_open(&w.public, w.key, false, &e);
	o.header_only = w.header;
	if (st == OK && w.oms)
		st = run_bundle(&c, args[0], &w, &o, &doc, &e);
	else if (st == OK && is_directory(args[0]))
		st = run_source(&c, args[0], &w, &o, &doc, &notes, &e);
	else if (st == OK)
		st = run_sealed(&c, args[0], &w, &o, &doc, &notes, &e);
	key_close(&w.public);
	cli_notes(&c, &notes);
	log_close(&notes);
	code = st == OK ? 0 : cli_fail(&e);
	if (doc && cli_json_write(&c, doc, &e) != OK)
		return cli_fail(&e);
	return code;
}
