/* SPDX-License-Identifier: MIT
 *
 * bundle.c - OpenSSF Model Signing: a Sigstore bundle whose statement lists files and digests.
 *
 * Method `files` with SHA-256 and the key method are read and written; other methods, hashes and
 * certificates are refused by name. The statement's subject is the SHA-256 of the digests in order.
 */
#include "format/sign.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEDIA_TYPE "application/vnd.dev.sigstore.bundle.v0.3+json"
#define STATEMENT "https://in-toto.io/Statement/v1"
#define PREDICATE "https://model_signing/signature/v1.0"

static enum status digest_of_digests(const struct bundle_file *f, size_t n, struct digest *d, struct err *e)
{
	struct sha256 h = { 0 };

	if (sha256_open(&h, e) != OK)
		return e->status;
	sha256_start(&h);
	for (size_t i = 0; i < n; i++)
		sha256_add(&h, f[i].digest.bytes, SHA256_BYTES);
	d->kind = DIGEST_SHA256;
	sha256_end(&h, d->bytes);
	sha256_close(&h);
	return OK;
}

/* name is quoted. */
static char *statement_text(const char *name, const struct digest *d, struct err *e)
{
	static const char form[] = "{\"_type\":\"" STATEMENT "\",\"subject\":[{\"name\":%s,\"digest\":{\"sha256\":\"%s\"}}],"
		"\"predicateType\":\"" PREDICATE "\",\"predicate\":{\"serialization\":{\"method\":\"files\","
		"\"hash_type\":\"sha256\",\"allow_symlinks\":false,\"ignore_paths\":[]},\"resources\":[{\"name\":\".\","
		"\"algorithm\":\"sha256\",\"digest\":\"%s\"}]}}";
	struct bundle_file one = { .digest = *d };
	struct digest all;
	char subject[65], file[65], *text;
	size_t cap = sizeof form + strlen(name) + sizeof subject + sizeof file;

	if (digest_of_digests(&one, 1, &all, e) != OK || !(text = mem_new(cap, 1, "a statement", e)))
		return NULL;
	snprintf(text, cap, form, name, digest_text(&all, subject), digest_text(d, file));
	return text;
}

char *bundle_write(const char *name, const struct digest *d, const struct key *k, struct err *e)
{
	static const char form[] = "{\"mediaType\":\"" MEDIA_TYPE "\",\"verificationMaterial\":{\"publicKey\":{\"hint\":"
		"\"%s\"},\"tlogEntries\":[]},\"dsseEnvelope\":%s}\n";
	char *quoted, *payload = NULL, *envelope = NULL, *out = NULL;
	size_t cap;

	if (!k->ecdsa) {
		err_set(e, ERR_UNSUPPORTED, "Model Signing has no %s keys; sign the bundle with ECDSA P-256 (openssl "
			"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256)", k->kind);
		return NULL;
	}
	quoted = json_quoted((struct str){ name, strlen(name) }, e);
	if (quoted && (payload = statement_text(quoted, d, e)) && (envelope = dsse_write(k, payload, e))) {
		cap = sizeof form + strlen(envelope) + sizeof k->pem_sha256;
		if ((out = mem_new(cap, 1, "a bundle", e)))
			snprintf(out, cap, form, k->pem_sha256, envelope);
	}
	free(quoted);
	free(payload);
	free(envelope);
	return out;
}

/* ---- reading ---- */

static void read_hint(struct json *j, const struct key *k)
{
	struct str key, hint;

	if (!json_object(j))
		return;
	while (json_key(j, &key)) {
		if (!str_is(key, "publicKey")) {
			if (str_is(key, "certificate") || str_is(key, "x509CertificateChain"))
				json_fail(j, ERR_UNSUPPORTED, "signed with a certificate; only the key method is known here");
			json_skip(j);
			continue;
		}
		if (!json_object(j))
			return;
		while (json_key(j, &key)) {
			bool text = str_is(key, "hint") && json_peek(j) == JSON_STRING;

			if (!text)
				json_skip(j);
			else if (json_string(j, &hint) && hint.n && !str_is(hint, k->pem_sha256))
				json_fail(j, ERR_NO_DIGEST, "signed with another key (its hint is %.64s, this one's %s)", hint.p,
					  k->pem_sha256);
		}
	}
}

static enum status read_envelope(struct dsse *d, char *text, size_t n, const struct key *k, const char *path,
				 struct err *e)
{
	struct json j;
	struct str key;
	bool have = false;

	json_open(&j, text, n, 32, path);
	if (json_object(&j)) {
		while (json_key(&j, &key))
			if (str_is(key, "verificationMaterial")) {
				read_hint(&j, k);
			} else if (str_is(key, "dsseEnvelope")) {
				dsse_read(d, &j, false);
				have = true;
			} else {
				json_skip(&j);
			}
	}
	if (!have)
		json_fail(&j, ERR_FORMAT, "no Sigstore bundle: it has no dsseEnvelope");
	return json_close(&j, e);
}

static void read_method(struct json *j)
{
	struct str key, v;

	if (!json_object(j))
		return;
	while (json_key(j, &key))
		if (str_is(key, "method") && json_string(j, &v)) {
			if (!str_is(v, "files"))
				json_fail(j, ERR_UNSUPPORTED, "serialization method %.32s; only files is known here", v.p);
		} else if (str_is(key, "hash_type") && json_string(j, &v)) {
			if (!str_is(v, "sha256"))
				json_fail(j, ERR_UNSUPPORTED, "hash %.32s; only sha256 is known here", v.p);
		} else {
			json_skip(j);
		}
}

static bool add_file(struct bundle *b, struct str name, const struct digest *d, struct json *j)
{
	struct err e;
	void *p = b->files;
	char *copy = mem_strdup(name.p, &e);

	if (!copy || mem_grow(&p, &b->cap, b->n + 1, sizeof *b->files, "a bundle's files", &e) != OK) {
		free(copy);
		json_fail(j, e.status, "%s", e.msg);
		return false;
	}
	b->files = p;
	b->files[b->n++] = (struct bundle_file){ copy, *d };
	return true;
}

static void read_resources(struct bundle *b, struct json *j)
{
	struct str key, v, name;
	struct digest d;

	if (!json_array(j))
		return;
	while (json_item(j)) {
		name = (struct str){ 0 };
		d = (struct digest){ 0 };
		if (!json_object(j))
			return;
		while (json_key(j, &key))
			if (str_is(key, "name"))
				json_string(j, &name);
			else if (str_is(key, "algorithm") && json_string(j, &v)) {
				if (!str_is(v, "sha256"))
					json_fail(j, ERR_UNSUPPORTED, "algorithm %.32s; only sha256 is known here", v.p);
			} else if (str_is(key, "digest") && json_string(j, &v)) {
				if (!digest_parse(&d, v) || d.kind != DIGEST_SHA256)
					json_fail(j, ERR_FORMAT, "no SHA-256");
			} else {
				json_skip(j);
			}
		if (j->err.status == OK && (!name.p || d.kind == DIGEST_NONE))
			json_fail(j, ERR_FORMAT, "a resource without name or digest");
		if (j->err.status != OK || !add_file(b, name, &d, j))
			return;
	}
}

static void read_model(struct bundle *b, struct json *j, struct digest *all)
{
	struct str key, v;
	struct err e;
	size_t n = 0;

	if (!json_array(j))
		return;
	for (; json_item(j); n++) {
		if (!json_object(j))
			return;
		while (json_key(j, &key)) {
			if (str_is(key, "name") && json_string(j, &v)) {
				free(b->model);
				if (!(b->model = mem_strdup(v.p, &e)))
					json_fail(j, e.status, "%s", e.msg);
			} else if (str_is(key, "digest") && json_object(j)) {
				while (json_key(j, &key))
					if (!str_is(key, "sha256"))
						json_skip(j);
					else if (json_string(j, &v) && !digest_parse(all, v))
						json_fail(j, ERR_FORMAT, "no SHA-256");
			} else {
				json_skip(j);
			}
		}
	}
	if (n != 1)
		json_fail(j, ERR_FORMAT, "%zu subjects; a model's statement has one", n);
}

static enum status read_manifest(struct bundle *b, struct dsse *d, const char *path, struct err *e)
{
	struct json j;
	struct str key, v;
	struct digest all = { 0 }, found;
	bool typed = false;

	json_open(&j, d->payload, d->n, 32, path);
	if (json_object(&j)) {
		while (json_key(&j, &key))
			if (str_is(key, "subject")) {
				read_model(b, &j, &all);
			} else if (str_is(key, "predicateType")) {
				typed = json_string(&j, &v) && str_is(v, PREDICATE);
			} else if (str_is(key, "predicate") && json_object(&j)) {
				while (json_key(&j, &key))
					if (str_is(key, "serialization"))
						read_method(&j);
					else if (str_is(key, "resources"))
						read_resources(b, &j);
					else
						json_skip(&j);
			} else {
				json_skip(&j);
			}
	}
	if (!typed)
		json_fail(&j, ERR_UNSUPPORTED, "the statement is no " PREDICATE);
	if (json_close(&j, e) != OK || digest_of_digests(b->files, b->n, &found, e) != OK)
		return e->status;
	if (b->n == 0 || !digest_eq(&all, &found))
		return err_set(e, ERR_MISMATCH, "%s: the list of %zu files is not the one that its subject names", path, b->n);
	return OK;
}

enum status bundle_read(struct bundle *b, const char *path, const struct key *k, struct err *e)
{
	struct file f = FILE_NONE;
	struct dsse d = { 0 };
	char *text = NULL;
	size_t n;
	enum status st;

	*b = (struct bundle){ 0 };
	TRY(file_open(&f, AT_FDCWD, path, true, path, e));
	TRY(file_slurp(&f, BUNDLE_LIMIT, &text, &n, e));
	TRY(read_envelope(&d, text, n, k, path, e));
	if (!dsse_vouched(&d, k, e)) {
		st = err_set(e, ERR_NO_DIGEST, "%s: not signed by this key (%s, SHA-256 %s), or changed since", path, k->kind,
			     k->fingerprint);
		goto out;
	}
	TRY(read_manifest(b, &d, path, e));
out:
	dsse_close(&d);
	free(text);
	file_close(&f);
	if (st != OK)
		bundle_close(b);
	return st;
}

void bundle_close(struct bundle *b)
{
	for (size_t i = 0; i < b->n; i++)
		free(b->files[i].name);
	free(b->files);
	free(b->model);
	*b = (struct bundle){ 0 };
}
