/* SPDX-License-Identifier: MIT
 *
 * cmd_sign.c - `ingot sign`.
 */
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "verify/verify.h"

struct sign { const char *path, *key, *oms; bool sums, force; };

static void show(void *arg, uint64_t done, uint64_t total, const char *what)
{
	struct progress *p = arg;

	p->total = total;
	progress_update(p, done, what);
}

/* What other people's tools read: made after the header has its last byte. */
static enum status write_beside(const struct cli *c, const struct sign *s, const struct key *k, struct err *e)
{
	const char *slash = strrchr(s->path, '/'), *name = slash ? slash + 1 : s->path;
	struct file f = FILE_NONE;
	struct digest d;
	char *text = NULL;
	enum status st;

	if (!s->oms && !s->sums)
		return OK;
	TRY(file_open(&f, AT_FDCWD, s->path, true, s->path, e));
	TRY(digest_file(&f, DIGEST_SHA256, &d, NULL, e));
	if (s->oms) {
		text = bundle_write(name, &d, k, e);
		st = text ? text_write(s->oms, text, s->force, e) : e->status;
		TRY(st);
		fprintf(cli_out(c), "%s: a Model Signing bundle over %s\n", cli_escz(s->oms), cli_escz(name));
	}
	if (s->sums) {
		TRY(sums_write(s->path, &d, true, e));	/* one that is there is of the unsigned file */
		fprintf(cli_out(c), "%s.SHA256SUMS: for sha256sum -c --strict\n", cli_escz(s->path));
	}
out:
	free(text);
	file_close(&f);
	return st;
}

static void note_stale_sums(const struct sign *s, struct log *notes)
{
	char sums[4096];

	snprintf(sums, sizeof sums, "%s.SHA256SUMS", s->path);
	if (!s->sums && access(sums, F_OK) == 0)
		log_add(notes, "%s: is of the file as it was before; --sums writes it anew", sums);
}

static cJSON *sign_json(const struct sign *s, const struct key *k, const struct seal_claim *claim)
{
	cJSON *doc = cJSON_CreateObject();
	char hex[65];

	cJSON_AddStringToObject(doc, "path", cli_escz(s->path));
	cJSON_AddStringToObject(doc, "header_sha256", digest_text(&claim->header, hex));
	cJSON_AddStringToObject(doc, "key", k->kind);
	cJSON_AddStringToObject(doc, "key_sha256", k->fingerprint);
	return doc;
}

/* One file; *doc receives what was signed. */
static enum status sign_file(struct cli *c, const struct sign *s, const struct key *k, cJSON **doc, struct log *notes,
			     struct err *e)
{
	struct sign_options o = { .key = k, .force = s->force };
	struct seal_claim claim;
	struct progress p;
	char hex[65];
	enum status st;

	o.run = (struct verify_options){ .threads = c->threads, .header_only = !s->oms && !s->sums,
					 .stop = &stop_signal, .progress = show, .arg = &p };
	progress_begin(&p, c, "verify", 0);
	st = sign_sealed(s->path, &o, &claim, notes, e);
	progress_end(&p);
	TRY(st);
	note_stale_sums(s, notes);
	fprintf(cli_out(c), "%s: signed header digest %s with key %s (%s)%s\n", cli_escz(s->path),
		digest_text(&claim.header, hex), k->fingerprint, k->kind,
		o.run.header_only ? "; its tensors were not read: verify shows whether they are whole" : "");
	TRY(write_beside(c, s, k, e));
	*doc = sign_json(s, k, &claim);
out:
	return st;
}

/* Every file of a set, once it is known to be one; a run that was stopped between two is run again. */
static enum status sign_files(struct cli *c, const struct sign *s, const struct gguf_set *set, const struct key *k,
			      struct log *notes, struct err *e)
{
	cJSON *doc = NULL, *list = NULL, *one = NULL;
	enum status st = OK;

	if (set->n > 1 && s->oms)
		return err_set(e, ERR_USAGE, "--oms: a bundle is made of one file, and %s is one of %zu; leave it out", s->path,
			       set->n);
	if (set->n > 1) {
		doc = cJSON_CreateObject();
		cJSON_AddStringToObject(doc, "path", cli_escz(s->path));
		list = cJSON_AddArrayToObject(doc, "files");
	}
	for (size_t i = 0; i < set->n && st == OK; i++) {
		struct sign own = *s;

		own.path = set->files[i].path;
		st = sign_file(c, &own, k, &one, notes, e);
		if (st == OK && list)
			cJSON_AddItemToArray(list, one);
		else if (st == OK)
			doc = one;
	}
	if (st == OK)
		return cli_json_write(c, doc, e);
	cJSON_Delete(doc);
	return st;
}

static enum status run(struct cli *c, const struct sign *s, struct log *notes, struct err *e)
{
	struct gguf_set set = { .n = 0 };
	struct key k;
	enum status st = cli_json_open(c, e);

	if (st != OK || (st = key_open(&k, s->key, true, e)) != OK)
		return st;
	if (s->oms && !k.ecdsa)	/* before anything is written */
		st = err_set(e, ERR_UNSUPPORTED, "--oms: Model Signing has no %s keys; use ECDSA P-256", k.kind);
	TRY(st);
	TRY(gguf_set_open(&set, s->path, NULL, e));
	st = sign_files(c, s, &set, &k, notes, e);
out:
	gguf_set_close(&set);
	key_close(&k);
	return st;
}

int cmd_sign(const struct command *self, int argc, char **argv)
{
	struct sign s = { 0 };
	const struct opt opts[] = {
		{ "key", 0, OPT_STR, &s.key, "KEY.pem", "private key: ECDSA P-256 or Ed25519; - reads it from standard input" },
		{ "oms", 0, OPT_OUT, &s.oms, "FILE.sig", "also write an OpenSSF Model Signing bundle (reads the file twice)" },
		{ "sums", 0, OPT_FLAG, &s.sums, NULL, "also write FILE.gguf.SHA256SUMS (reads the file twice)" },
		{ "force", 0, OPT_FLAG, &s.force, NULL, "replace another key's signature, or an existing bundle" },
		{ NULL, 0, OPT_FLAG, NULL, NULL, NULL },
	};
	struct log notes = { 0 };
	struct err e = { 0 };
	struct cli c;
	char **args;
	int n, code = cli_parse(&c, self, opts, argc, argv, 1, 1, &args, &n);
	enum status st;

	if (code >= 0)
		return code;
	cli_catch_signals();
	s.path = args[0];
	st = s.key ? run(&c, &s, &notes, &e)
		   : err_set(&e, ERR_USAGE, "sign: --key KEY.pem is missing; openssl genpkey -algorithm ed25519 makes one");
	cli_notes(&c, &notes);
	log_close(&notes);
	return st == OK ? 0 : cli_fail(&e);
}
