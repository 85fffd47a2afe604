/* SPDX-License-Identifier: MIT
 *
 * sign.h - keys, envelopes and the statements inside them: who vouches for these bytes?
 *
 * Two forms carry a signature. A seal's slot holds a DSSE envelope over an in-toto Statement of the
 * header digest, file size, header size and root. An OpenSSF Model Signing bundle is a Sigstore
 * bundle whose envelope lists files and their digests. Keys come from paths that a person names:
 * a key inside a file proves nothing.
 *
 * Sources: DSSE 1.0 (protocol.md: PAE), in-toto Statement 1, OpenSSF Model Signing 1.0, Sigstore
 * bundle 0.3, FIPS 186-5, RFC 8032.
 */
#ifndef FORMAT_SIGN_H
#define FORMAT_SIGN_H

#include "format/format.h"

/* ---- key.c ---------------------------------------------------------------------------------*/

enum { KEY_SIGNATURE_MAX = 256, KEY_FILE_LIMIT = 64 << 10 };
struct key {
	void *pkey;			/* owned; NULL: closed */
	const char *kind;		/* "ECDSA P-256", "P-384", "P-521", "Ed25519" */
	bool private, ecdsa;
	char fingerprint[65];		/* SHA-256 of the public half as DER, hex: what people compare */
	char pem_sha256[65];		/* of the public half as PEM: the bundle's hint */
};
/* A PEM file, or "-" for standard input: a public key, or with private the private one. Encrypted
 * keys are refused with the way to decrypt them. */
enum status key_open(struct key *k, const char *path, bool private, struct err *e) MUST_USE;
void key_close(struct key *k);
/* n bytes, signed with the hash that belongs to the kind. */
enum status key_sign(const struct key *k, const void *p, size_t n, uint8_t sig[KEY_SIGNATURE_MAX],
		     size_t *sig_n, struct err *e) MUST_USE;
bool key_vouches(const struct key *k, const void *p, size_t n, const uint8_t *sig, size_t sig_n);
/* Text of n bytes, owned by the caller. */
char *base64_text(const void *p, size_t n, struct err *e) MUST_USE;
/* Strict (alphabet, padding, no white space). *out is owned by the caller and has a NUL after *n. */
enum status base64_bytes(struct str text, char **out, size_t *n, struct err *e) MUST_USE;

/* ---- dsse.c --------------------------------------------------------------------------------*/

#define DSSE_IN_TOTO "application/vnd.in-toto+json"
enum { DSSE_MAX_SIGNATURES = 16 };
struct dsse {
	char *payload;			/* owned, NUL after it */
	size_t n;
	struct { uint8_t bytes[KEY_SIGNATURE_MAX]; size_t n; char keyid[65]; } sig[DSSE_MAX_SIGNATURES];
	size_t n_sigs;
};
/* The envelope's JSON around a payload of type DSSE_IN_TOTO; owned by the caller. */
char *dsse_write(const struct key *k, const char *payload, struct err *e) MUST_USE;
/* Reads the object that comes next in j; what does not fit fails j, and under strict so do fields that
 * the standard does not have: nothing is to be covert space. */
void dsse_read(struct dsse *d, struct json *j, bool strict);
/* Whether one of the signatures is k's; one that names another key's fingerprint is not looked at. */
bool dsse_vouched(const struct dsse *d, const struct key *k, struct err *e);
void dsse_close(struct dsse *d);
/* src in double quotes, escaped for JSON; owned by the caller. */
char *json_quoted(struct str src, struct err *e) MUST_USE;

/* ---- statement.c ---------------------------------------------------------------------------*/

/* What a signature in the slot says of a sealed file. */
struct seal_claim { struct digest header; uint64_t file_size, header_bytes; struct digest root; };
/* The slot's text, exactly SEAL_SIGNATURE_BYTES, padded with spaces, into slot. */
enum status claim_write(const struct seal_claim *c, const struct key *k, uint8_t slot[SEAL_SIGNATURE_BYTES],
			struct err *e) MUST_USE;
/* ERR_NO_DIGEST: unsigned, or by no key that is k. ERR_MISMATCH: k signed something else. */
enum status claim_check(const struct seal_claim *c, struct str slot, const struct key *k, const char *path,
			struct err *e) MUST_USE;

/* ---- bundle.c: OpenSSF Model Signing -------------------------------------------------------*/

enum { BUNDLE_LIMIT = 64 << 20 };
struct bundle_file { char *name; struct digest digest; };	/* name "." is the model itself */
struct bundle { char *model; struct bundle_file *files; size_t n, cap; };	/* owned */
/* A bundle over one file, as text; owned by the caller. name: its base name. */
char *bundle_write(const char *name, const struct digest *d, const struct key *k, struct err *e) MUST_USE;
/* Reads and checks a bundle: the signature by k, the hint, the method, the digest of digests. */
enum status bundle_read(struct bundle *b, const char *path, const struct key *k, struct err *e) MUST_USE;
void bundle_close(struct bundle *b);

#endif
