/* SPDX-License-Identifier: MIT
 *
 * cmd.c - `ingot verify`.
 */
#include <cjson/cJSON.h>
#include <string.h>

#include "cli/cli.h"
#include "verify/whole.h"

struct job { struct cli c; struct verify_wish wish; struct verify_report r; struct progress progress; };

static void show_step(void *arg, const char *name, uint64_t bytes)
{
	struct job *j = arg;

	progress_end(&j->progress);
	progress_begin(&j->progress, &j->c, name, bytes);
}

static void show(void *arg, uint64_t done, uint64_t total, const char *what)
{
	struct job *j = arg;

	j->progress.total = total;
	progress_update(&j->progress, done, what);
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

/* What the look at the values showed; line says of how many. */
static void say_values(struct cli *c, const struct verify_report *v, char line[300], cJSON *doc)
{
	const struct deep_report *r = &v->values;
	enum status st = v->deep;

	if (!v->has_values)
		return;
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
}

static cJSON *say_source(struct job *j, const char *path)
{
	struct cli *c = &j->c;
	const struct verify_report *r = &j->r;
	char values[300] = "";
	cJSON *doc;

	if (!r->files.n)
		return NULL;
	print_source(c, &r->files, j->wish.strict);
	doc = source_json(&r->files, path);
	say_values(c, r, values, doc);
	if (r->first == OK)
		fprintf(cli_out(c), "INTACT: %zu files have the digests that %s%s; not looked at: %zu files without a record%s\n",
			r->files.n_of[FILE_OK], j->wish.digests ? "the list or the Hub recorded" : "the Hub recorded", values,
			r->files.n_of[FILE_EXTRA], j->wish.deep ? "" : ", values");
	else if (values[0])
		fprintf(cli_out(c), "%s%s\n", r->first == ERR_MISMATCH ? "NOT INTACT" :
			"NO DIGEST: whether bytes changed cannot be told", values);
	return doc;
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
		fprintf(cli_out(c), "DAMAGED: header, bytes 0..%llu\n", (unsigned long long)r->gguf->data_off);
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

/* How much of it was made again. */
static void say_derived(const struct cli *c, const struct verify_report *v, char line[300], cJSON *doc)
{
	const struct derived_report *r = &v->derived;
	bool same = v->derivation == OK;

	if (!v->has_derived)
		return;
	for (const char *at = r->differences.text; at && *at; at += strcspn(at, "\n") + 1)
		fprintf(cli_out(c), "DIFFERS: %s\n", cli_esc((struct str){ at, strcspn(at, "\n") }));
	snprintf(line, 300, "; %s what the source gives: %llu source files by digest, %llu metadata keys, %llu of %llu matrices",
		 same ? "is" : "is NOT", (unsigned long long)r->n_files, (unsigned long long)r->n_keys,
		 (unsigned long long)r->n_matrices, (unsigned long long)r->n_all);
	cJSON_AddStringToObject(doc, "derivation", same ? "DERIVED" : "NOT SHOWN");
	cJSON_AddNumberToObject(doc, "derived_matrices", (double)r->n_matrices);
	cJSON_AddNumberToObject(doc, "matrices", (double)r->n_all);
}

/* What the seals show, without what else was asked for. */
static void say_verdict(const struct job *j, bool signed_by)
{
	const struct verify_report *v = &j->r;
	FILE *to = cli_out(&j->c);
	uint64_t n_chunks = 0;
	char files[64] = "header";

	for (size_t i = 0; i < v->set.n; i++)
		n_chunks += v->sealed[i].seal.n_chunks;
	if (v->set.n > 1)
		snprintf(files, sizeof files, "%zu files of one set: headers", v->set.n);
	if (j->wish.header && v->set.n > 1)
		fprintf(to, "%s: the headers of all %zu files are as they were sealed", signed_by ? "HEADER AUTHENTIC"
			: "HEADER INTACT", v->set.n);
	else if (j->wish.header)
		fprintf(to, "%s: the header is as it was sealed", signed_by ? "HEADER AUTHENTIC" : "HEADER INTACT");
	else
		fprintf(to, "INTACT%s%s: %s, %zu tensors in %llu chunks and padding are as they were sealed",
			signed_by ? ", AUTHENTIC" : "", v->has_derived && v->derivation == OK ? ", DERIVED" : "", files,
			v->set.gguf.n_tensors, (unsigned long long)n_chunks);
	fprintf(to, " (header digest%s %s)", v->set.n > 1 ? " of the first" : "", v->sealed[0].header_sha256);
	if (signed_by)
		fprintf(to, ", signed by the key you named, %s (SHA-256 %s)", v->key.kind, v->key.fingerprint);
}

/* Of seals that hold. */
static void say_intact(struct job *j, cJSON *doc)
{
	struct cli *c = &j->c;
	const struct verify_wish *w = &j->wish;
	const struct verify_report *v = &j->r;
	char derived[300] = "", values[300] = "", rest[300];	/* rest ends with ", " */
	bool signed_by = v->has_signature && v->signature == OK, has_signature = true;

	for (size_t i = 0; i < v->set.n; i++)
		has_signature &= v->sealed[i].signature_present;
	if (w->key)
		cJSON_AddStringToObject(doc, "signature", signed_by ? "AUTHENTIC" : "NOT SHOWN");
	say_derived(c, v, derived, doc);
	say_values(c, v, values, doc);
	say_verdict(j, signed_by);
	snprintf(rest, sizeof rest, "%s%s%s%s%s", w->header ? "the tensors' bytes, " : "",
		 w->key && !signed_by ? "who signed it, " : "",
		 w->key ? "" : has_signature ? "its signature (give --key PUB.pem), " : "authenticity (it is not signed), ",
		 !derived[0] ? "derivation from a source, " : w->sample ? "the other matrices and the shards' digests, " : "",
		 values[0] ? "" : "values, ");
	fprintf(cli_out(c), "%s%s", derived, values);
	if (rest[0])
		fprintf(cli_out(c), "; not looked at: %.*s", (int)strlen(rest) - 2, rest);
	fputc('\n', cli_out(c));
}

static cJSON *set_json(const struct verify_report *r, const char *path)
{
	cJSON *doc, *list;

	if (r->set.n == 1)
		return sealed_json(&r->sealed[0], path, r->first);
	doc = cJSON_CreateObject();
	cJSON_AddStringToObject(doc, "path", cli_escz(path));
	cJSON_AddStringToObject(doc, "kind", "gguf set");
	cJSON_AddStringToObject(doc, "verdict", r->first == OK ? "INTACT" : r->first != ERR_MISMATCH ? "UNKNOWN"
			       : r->set.n_missing ? "INCOMPLETE" : "DAMAGED");
	cJSON_AddNumberToObject(doc, "missing", (double)r->set.n_missing);
	list = cJSON_AddArrayToObject(doc, "files");
	for (size_t i = 0; i < r->set.n; i++)
		if (r->set.files[i].fd >= 0)
			cJSON_AddItemToArray(list, sealed_json(&r->sealed[i], r->set.files[i].path, r->sealed_as[i]));
	return doc;
}

/* Of several files a line for each, and what is wrong with it. */
static void say_files(const struct job *j)
{
	const struct verify_report *r = &j->r;

	for (size_t i = 0; i < r->set.n; i++) {
		const struct file *f = &r->set.files[i];
		enum status st = r->sealed_as[i];

		if (r->set.n > 1)
			fprintf(cli_out(&j->c), "%s: %s\n", cli_escz(f->path), f->fd < 0 ? "MISSING" : st == OK ? "OK"
				: st == ERR_NO_DIGEST ? "NO SEAL" : st == ERR_STOPPED ? "NOT LOOKED AT" : "FAILED");
		print_damage(&j->c, &r->sealed[i]);
	}
}

static cJSON *say_sealed(struct job *j, const char *path)
{
	const struct verify_report *r = &j->r;
	cJSON *doc = r->any_sealed || r->has_values ? set_json(r, path) : NULL;
	char values[300] = "";

	say_files(j);
	if (r->first == OK) {
		say_intact(j, doc);
	} else if (r->has_values) {
		say_values(&j->c, r, values, doc);
		fprintf(cli_out(&j->c), "%s%s; not looked at: authenticity, derivation from a source\n", r->first == ERR_MISMATCH
			? "NOT INTACT" : "NO SEAL: whether bytes changed cannot be told", values);
	}
	return doc;
}

static cJSON *say_bundle(struct job *j, const char *path)
{
	const struct verify_report *r = &j->r;
	cJSON *doc = NULL;

	if (r->files.n) {
		print_source(&j->c, &r->files, true);
		doc = source_json(&r->files, path);
		cJSON_AddStringToObject(doc, "signature", r->first == OK ? "AUTHENTIC" : "NOT SHOWN");
	}
	if (r->first == OK)
		fprintf(cli_out(&j->c), "AUTHENTIC: %zu files are those that the key you named signed, %s (SHA-256 %s); not "
			"looked at: %s\n", r->files.n_of[FILE_OK], r->key.kind, r->key.fingerprint,
			r->directory ? "sub-directories, digests of the Hub" : "its own seal, derivation, values");
	return doc;
}

/* Nothing of what a step did not come to. */
static cJSON *say(struct job *j, const char *path)
{
	switch (j->r.kind) {
	case VERIFY_SOURCE: return say_source(j, path);
	case VERIFY_SEALED: return say_sealed(j, path);
	case VERIFY_BUNDLE: return say_bundle(j, path);
	case VERIFY_NOTHING: break;
	}
	return NULL;
}

int cmd_verify(const struct command *self, int argc, char **argv)
{
	struct job j = { .wish.step = show_step };
	struct verify_wish *w = &j.wish;
	const struct opt opts[] = {
		{ "digests", 0, OPT_STR, &w->digests, "FILE", "digests in sha256sum form, for a source" },
		{ "strict", 0, OPT_FLAG, &w->strict, NULL, "list files without a record, and fail on them; or on what is ODD" },
		{ "key", 0, OPT_STR, &w->key, "PUB.pem", "also check the signature: by this public key" },
		{ "oms", 0, OPT_STR, &w->oms, "FILE.sig", "with --key: check against an OpenSSF Model Signing bundle" },
		{ "source", 0, OPT_SOURCE, &w->source, "SOURCE", "also make the file's contents again from this checkpoint" },
		{ "sample", 0, OPT_U64, &w->sample, "N", "with --source: N matrices only, and no digests of shards" },
		{ "imatrix", 0, OPT_STR, &w->imatrix, "FILE", "with --source: the importance matrix that was used" },
		{ "deep", 0, OPT_FLAG, &w->deep, NULL, "also look at every value, expert and token id, key and shape" },
		{ "header", 0, OPT_FLAG, &w->header, NULL, "of a GGUF: the header alone, not the tensors" },
		{ NULL, 0, OPT_FLAG, NULL, NULL, NULL },
	};
	struct verify_options o = { .stop = &stop_signal, .progress = show, .arg = &j };
	struct log notes = { 0 };
	struct err e = { 0 };
	cJSON *doc = NULL;
	char **args;
	int n, code = cli_parse(&j.c, self, opts, argc, argv, 1, 1, &args, &n);
	enum status st;

	if (code >= 0)
		return code;
	cli_catch_signals();
	o.threads = j.c.threads;
	o.source = cli_source(&j.c, NULL);
	st = cli_json_open(&j.c, &e);
	if (st == OK) {
		st = verify_path(&j.r, args[0], w, &o, &notes, &e);
		progress_end(&j.progress);
		doc = say(&j, args[0]);
		verify_report_close(&j.r);
	}
	cli_notes(&j.c, &notes);
	log_close(&notes);
	code = st == OK ? 0 : cli_fail(&e);
	if (doc && cli_json_write(&j.c, doc, &e) != OK)
		return cli_fail(&e);
	return code;
}
