/* SPDX-License-Identifier: MIT
 *
 * dsse.c - the envelope around a signed statement: payload, its type, signatures over both.
 *
 * What is signed is the pre-authentication encoding, "DSSEv1 LEN TYPE LEN PAYLOAD", of the very bytes
 * of the payload: nothing is parsed before it is known who wrote it.
 */
#include "format/sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Owned by the caller; *n bytes. */
static char *pre_auth(const char *payload, size_t n, size_t *len, struct err *e)
{
	size_t cap = n + 128;
	char *p = mem_new(cap, 1, "an envelope", e);
	int head;

	if (!p)
		return NULL;
	head = snprintf(p, cap, "DSSEv1 %zu %s %zu ", sizeof DSSE_IN_TOTO - 1, DSSE_IN_TOTO, n);
	memcpy(p + head, payload, n);
	*len = (size_t)head + n;
	return p;
}

char *dsse_write(const struct key *k, const char *payload, struct err *e)
{
	static const char form[] = "{\"payload\":\"%s\",\"payloadType\":\"" DSSE_IN_TOTO
				   "\",\"signatures\":[{\"sig\":\"%s\",\"keyid\":\"%s\"}]}";
	uint8_t sig[KEY_SIGNATURE_MAX];
	size_t n = strlen(payload), len = 0, sig_n, cap;
	char *signed_text = pre_auth(payload, n, &len, e), *body = NULL, *sig_text = NULL, *out = NULL;

	if (signed_text && key_sign(k, signed_text, len, sig, &sig_n, e) == OK &&
	    (body = base64_text(payload, n, e)) && (sig_text = base64_text(sig, sig_n, e))) {
		cap = sizeof form + strlen(body) + strlen(sig_text) + sizeof k->fingerprint;
		if ((out = mem_new(cap, 1, "an envelope", e)))
			snprintf(out, cap, form, body, sig_text, k->fingerprint);
	}
	free(signed_text);
	free(body);
	free(sig_text);
	return out;
}

static void read_payload(struct dsse *d, struct json *j)
{
	struct str text;
	struct err e;

	if (!json_string(j, &text))
		return;
	free(d->payload);
	if (base64_bytes(text, &d->payload, &d->n, &e) != OK)
		json_fail(j, e.status, "payload: %s", e.msg);
}

static void read_bytes(struct dsse *d, struct json *j)
{
	struct str text;
	struct err e;
	char *bytes;
	size_t n;

	if (!json_string(j, &text))
		return;
	if (base64_bytes(text, &bytes, &n, &e) != OK) {
		json_fail(j, e.status, "signature: %s", e.msg);
		return;
	}
	d->sig[d->n_sigs].n = n <= KEY_SIGNATURE_MAX ? n : 0;	/* no key of ours signs at such length */
	memcpy(d->sig[d->n_sigs].bytes, bytes, d->sig[d->n_sigs].n);
	free(bytes);
}

static void pass_field(struct json *j, bool strict)
{
	if (strict)
		json_fail(j, ERR_FORMAT, "a field that an envelope does not have");
	json_skip(j);
}

static void read_signature(struct dsse *d, struct json *j, bool strict)
{
	struct str key, id;

	if (d->n_sigs == DSSE_MAX_SIGNATURES)
		json_fail(j, ERR_UNSUPPORTED, "more than %d signatures", DSSE_MAX_SIGNATURES);
	if (!json_object(j))
		return;
	while (json_key(j, &key))
		if (str_is(key, "sig"))
			read_bytes(d, j);
		else if (str_is(key, "keyid") && json_string(j, &id))
			snprintf(d->sig[d->n_sigs].keyid, sizeof d->sig->keyid, "%s", id.p);
		else
			pass_field(j, strict);
	d->n_sigs++;
}

void dsse_read(struct dsse *d, struct json *j, bool strict)
{
	struct str key, type;
	bool typed = false;

	*d = (struct dsse){ 0 };
	if (!json_object(j))
		return;
	while (json_key(j, &key)) {
		if (str_is(key, "payload")) {
			read_payload(d, j);
		} else if (str_is(key, "payloadType")) {
			typed = json_string(j, &type);
			if (typed && !str_is(type, DSSE_IN_TOTO))
				json_fail(j, ERR_UNSUPPORTED, "the envelope holds no in-toto statement");
		} else if (str_is(key, "signatures")) {
			if (json_array(j))
				while (json_item(j))
					read_signature(d, j, strict);
		} else {
			pass_field(j, strict);
		}
	}
	if (!d->payload || !typed)
		json_fail(j, ERR_FORMAT, "the envelope lacks its payload or its type");
}

bool dsse_vouched(const struct dsse *d, const struct key *k, struct err *e)
{
	size_t len;
	char *signed_text = pre_auth(d->payload, d->n, &len, e);
	bool good = false;

	for (size_t i = 0; signed_text && i < d->n_sigs && !good; i++)
		good = (!d->sig[i].keyid[0] || strcmp(d->sig[i].keyid, k->fingerprint) == 0) &&
		       key_vouches(k, signed_text, len, d->sig[i].bytes, d->sig[i].n);
	free(signed_text);
	return good;
}

void dsse_close(struct dsse *d)
{
	free(d->payload);
	*d = (struct dsse){ 0 };
}

char *json_quoted(struct str src, struct err *e)
{
	char *out = mem_new(6 * src.n + 3, 1, "a JSON string", e), *p = out;

	if (!out)
		return NULL;
	*p++ = '"';
	for (size_t i = 0; i < src.n; i++) {
		unsigned char c = (unsigned char)src.p[i];

		if (c < 0x20 || c == '"' || c == '\\')
			p += snprintf(p, 7, "\\u%04x", c);
		else
			*p++ = (char)c;
	}
	*p++ = '"';
	*p = 0;
	return out;
}
