/* SPDX-License-Identifier: MIT
 *
 * statement.c - what a signature in a seal's slot says, and whether it says it of this file.
 */
#include "format/sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATEMENT "https://in-toto.io/Statement/v1"
#define PREDICATE "urn:ingot:seal:1"

enum status claim_write(const struct seal_claim *c, const struct key *k, uint8_t slot[SEAL_SIGNATURE_BYTES],
			struct err *e)
{
	char payload[1024], header[65], root[65], *text;
	size_t n;

	snprintf(payload, sizeof payload, "{\"_type\":\"" STATEMENT "\",\"subject\":[{\"name\":\"gguf-header\","
		 "\"digest\":{\"sha256\":\"%s\"}}],\"predicateType\":\"" PREDICATE "\",\"predicate\":{"
		 "\"file_size\":%llu,\"header_bytes\":%llu,\"root\":\"%s\"}}", digest_text(&c->header, header),
		 (unsigned long long)c->file_size, (unsigned long long)c->header_bytes, digest_text(&c->root, root));
	if (!(text = dsse_write(k, payload, e)))
		return e->status;
	n = strlen(text);
	if (n <= SEAL_SIGNATURE_BYTES) {
		memset(slot, ' ', SEAL_SIGNATURE_BYTES);
		memcpy(slot, text, n);
	}
	free(text);
	return n <= SEAL_SIGNATURE_BYTES ? OK : err_set(e, ERR_UNSUPPORTED, "the envelope has %zu bytes, the slot %d",
							n, SEAL_SIGNATURE_BYTES);
}

static void read_digest(struct json *j, struct digest *d)
{
	struct str hex;

	if (json_string(j, &hex) && (!digest_parse(d, hex) || d->kind != DIGEST_SHA256))
		json_fail(j, ERR_FORMAT, "no SHA-256");
}

static void read_subject(struct json *j, struct digest *d)
{
	struct str key;
	size_t n = 0;

	if (!json_array(j))
		return;
	for (; json_item(j); n++) {
		if (!json_object(j))
			return;
		while (json_key(j, &key)) {
			if (!str_is(key, "digest") || !json_object(j)) {
				json_skip(j);
				continue;
			}
			while (json_key(j, &key))
				if (str_is(key, "sha256"))
					read_digest(j, d);
				else
					json_skip(j);
		}
	}
	if (n != 1)
		json_fail(j, ERR_FORMAT, "%zu subjects, a seal's statement has one", n);
}

static void read_predicate(struct json *j, struct seal_claim *c)
{
	struct str key;

	if (!json_object(j))
		return;
	while (json_key(j, &key))
		if (str_is(key, "file_size"))
			json_u64(j, &c->file_size);
		else if (str_is(key, "header_bytes"))
			json_u64(j, &c->header_bytes);
		else if (str_is(key, "root"))
			read_digest(j, &c->root);
		else
			json_skip(j);
}

static enum status read_statement(struct seal_claim *c, struct dsse *d, const char *path, struct err *e)
{
	struct json j;
	struct str key, type;
	bool typed = false;

	*c = (struct seal_claim){ 0 };
	json_open(&j, d->payload, d->n, 16, path);
	if (json_object(&j)) {
		while (json_key(&j, &key))
			if (str_is(key, "subject"))
				read_subject(&j, &c->header);
			else if (str_is(key, "predicate"))
				read_predicate(&j, c);
			else if (str_is(key, "predicateType"))
				typed = json_string(&j, &type) && str_is(type, PREDICATE);
			else
				json_skip(&j);
	}
	if (!typed)
		json_fail(&j, ERR_UNSUPPORTED, "the statement is no " PREDICATE);
	return json_close(&j, e);
}

static enum status read_slot(struct dsse *d, struct str slot, const char *path, struct err *e)
{
	size_t n = slot.n;
	struct json j;
	char *copy;
	enum status st;

	while (n > 0 && slot.p[n - 1] == ' ')
		n--;
	*d = (struct dsse){ 0 };
	if (n == 0)
		return err_set(e, ERR_NO_DIGEST, "%s: is not signed; `ingot sign FILE --key KEY.pem` signs it", path);
	if (!(copy = mem_new(n + 1, 1, "the signature", e)))
		return e->status;
	memcpy(copy, slot.p, n);
	json_open(&j, copy, n, 16, path);
	dsse_read(d, &j, true);
	st = json_close(&j, e);
	free(copy);
	return st;
}

enum status claim_check(const struct seal_claim *c, struct str slot, const struct key *k, const char *path,
			struct err *e)
{
	struct dsse d;
	struct seal_claim said;
	enum status st;

	TRY(read_slot(&d, slot, path, e));
	if (!dsse_vouched(&d, k, e)) {
		st = err_set(e, ERR_NO_DIGEST, "%s: is signed, but not by this key (%s, SHA-256 %s), or the signature "
			     "was changed", path, k->kind, k->fingerprint);
		goto out;
	}
	TRY(read_statement(&said, &d, path, e));
	if (!digest_eq(&said.header, &c->header) || !digest_eq(&said.root, &c->root) ||
	    said.file_size != c->file_size || said.header_bytes != c->header_bytes)
		st = err_set(e, ERR_MISMATCH, "%s: the key signed another header: it was changed after it was signed, "
			     "or the signature is another file's", path);
out:
	dsse_close(&d);
	return st;
}
