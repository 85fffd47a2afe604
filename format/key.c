/* SPDX-License-Identifier: MIT
 *
 * key.c - signing keys in PEM files, by OpenSSL: ECDSA over P-256 (and P-384, P-521, which Model
 * Signing knows as well) and Ed25519.
 */
#include "format/sign.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct kind { const char *group, *name, *hash; } kinds[] = {
	{ "prime256v1", "ECDSA P-256", "SHA256" },
	{ "secp384r1", "ECDSA P-384", "SHA384" },
	{ "secp521r1", "ECDSA P-521", "SHA512" },
	{ NULL, "Ed25519", NULL },
};

static const struct kind *kind_of(const EVP_PKEY *p)
{
	char group[32] = "";

	if (EVP_PKEY_is_a(p, "ED25519"))
		return &kinds[3];
	if (!EVP_PKEY_is_a(p, "EC") || EVP_PKEY_get_group_name(p, group, sizeof group, NULL) != 1)
		return NULL;
	for (const struct kind *k = kinds; k->group; k++)
		if (strcmp(k->group, group) == 0)
			return k;
	return NULL;
}

/* No question at a terminal: this runs in scripts. */
static int no_password(char *buf, int size, int writing, void *asked)
{
	(void)buf, (void)size, (void)writing;
	*(bool *)asked = true;
	return -1;
}

static enum status read_stdin(char *buf, size_t *n, struct err *e)
{
	ssize_t k;

	*n = 0;
	while (*n < KEY_FILE_LIMIT && (k = read(STDIN_FILENO, buf + *n, KEY_FILE_LIMIT - *n)) != 0) {
		if (k < 0)
			return err_errno(e, "standard input: cannot read the key");
		*n += (size_t)k;
	}
	return OK;
}

static enum status read_text(const char *path, char **text, size_t *n, struct err *e)
{
	struct file f = FILE_NONE;
	enum status st;

	if (strcmp(path, "-") == 0) {
		*text = mem_new(KEY_FILE_LIMIT, 1, "a key", e);
		return *text ? read_stdin(*text, n, e) : e->status;
	}
	TRY(file_open(&f, AT_FDCWD, path, true, path, e));
	TRY(file_slurp(&f, KEY_FILE_LIMIT, text, n, e));
out:
	file_close(&f);
	return st;
}

static void hex_of(const void *p, size_t n, char hex[65])
{
	struct digest d = { .kind = DIGEST_SHA256 };

	if (EVP_Digest(p, n, d.bytes, NULL, EVP_sha256(), NULL) != 1)
		d.kind = DIGEST_NONE;
	digest_text(&d, hex);
}

static bool fingerprint(struct key *k)
{
	unsigned char *der = NULL;
	char *pem;
	int n = i2d_PUBKEY(k->pkey, &der);
	BIO *b = BIO_new(BIO_s_mem());
	bool good = n > 0 && b && PEM_write_bio_PUBKEY(b, k->pkey) == 1;

	if (good) {
		long m = BIO_get_mem_data(b, &pem);

		hex_of(der, (size_t)n, k->fingerprint);
		hex_of(pem, (size_t)m, k->pem_sha256);
	}
	OPENSSL_free(der);
	BIO_free(b);
	return good;
}

static enum status parse(struct key *k, const char *text, size_t n, const char *path, struct err *e)
{
	BIO *b = BIO_new_mem_buf(text, (int)n);
	bool asked = false;
	const struct kind *kind;

	if (b)
		k->pkey = k->private ? PEM_read_bio_PrivateKey(b, NULL, no_password, &asked)
				     : PEM_read_bio_PUBKEY(b, NULL, no_password, &asked);
	BIO_free(b);
	if (asked)
		return err_set(e, ERR_UNSUPPORTED, "%s: the key is encrypted; give it decrypted on standard input: "
			       "openssl pkey -in KEY.pem | ingot sign FILE --key -", path);
	if (!k->pkey)
		return err_set(e, ERR_FORMAT, "%s: holds no %s key in PEM form; make one with openssl genpkey "
			       "-algorithm ed25519%s", path, k->private ? "private" : "public",
			       k->private ? "" : ", and its public half with openssl pkey -pubout");
	kind = kind_of(k->pkey);
	if (!kind)
		return err_set(e, ERR_UNSUPPORTED, "%s: is neither ECDSA over P-256, P-384 or P-521 nor Ed25519", path);
	k->kind = kind->name;
	k->ecdsa = kind->hash != NULL;
	return fingerprint(k) ? OK : err_set(e, ERR_IO, "%s: OpenSSL cannot write the public key", path);
}

enum status key_open(struct key *k, const char *path, bool private, struct err *e)
{
	char *text = NULL;
	size_t n = 0;
	enum status st;

	*k = (struct key){ .private = private };
	TRY(read_text(path, &text, &n, e));
	TRY(parse(k, text, n, path, e));
out:
	if (text)
		OPENSSL_cleanse(text, n);
	free(text);
	if (st != OK)
		key_close(k);
	return st;
}

void key_close(struct key *k)
{
	EVP_PKEY_free(k->pkey);
	*k = (struct key){ 0 };
}

enum status key_sign(const struct key *k, const void *p, size_t n, uint8_t sig[KEY_SIGNATURE_MAX],
		     size_t *sig_n, struct err *e)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	const struct kind *kind = kind_of(k->pkey);
	bool good;

	*sig_n = KEY_SIGNATURE_MAX;
	good = c && kind && EVP_DigestSignInit_ex(c, NULL, kind->hash, NULL, NULL, k->pkey, NULL) == 1 &&
	       EVP_DigestSign(c, sig, sig_n, p, n) == 1;
	EVP_MD_CTX_free(c);
	return good ? OK : err_set(e, ERR_IO, "OpenSSL cannot sign with this %s key", k->kind);
}

bool key_vouches(const struct key *k, const void *p, size_t n, const uint8_t *sig, size_t sig_n)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	const struct kind *kind = kind_of(k->pkey);
	bool good = c && kind && EVP_DigestVerifyInit_ex(c, NULL, kind->hash, NULL, NULL, k->pkey, NULL) == 1 &&
		    EVP_DigestVerify(c, sig, sig_n, p, n) == 1;

	EVP_MD_CTX_free(c);
	return good;
}

char *base64_text(const void *p, size_t n, struct err *e)
{
	char *text;

	if (n > INT32_MAX / 2) {
		err_set(e, ERR_UNSUPPORTED, "%zu bytes are too many to sign", n);
		return NULL;
	}
	text = mem_new(n / 3 * 4 + 5, 1, "base64", e);
	if (text)
		EVP_EncodeBlock((unsigned char *)text, p, (int)n);
	return text;
}

enum status base64_bytes(struct str text, char **out, size_t *n, struct err *e)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t pads = 0;
	int k;

	*out = NULL;
	while (pads < 2 && pads < text.n && text.p[text.n - 1 - pads] == '=')
		pads++;
	for (size_t i = 0; i < text.n - pads; i++)
		if (!text.p[i] || !strchr(digits, text.p[i]))
			return err_set(e, ERR_FORMAT, "no base64: byte %zu", i);
	if (text.n % 4 != 0 || text.n > INT32_MAX)
		return err_set(e, ERR_FORMAT, "no base64: %zu characters", text.n);
	if (!(*out = mem_new(text.n / 4 * 3 + 1, 1, "base64", e)))
		return e->status;
	k = EVP_DecodeBlock((unsigned char *)*out, (const unsigned char *)text.p, (int)text.n);
	if (k < (int)pads) {
		free(*out);
		*out = NULL;
		return err_set(e, ERR_FORMAT, "no base64");
	}
	*n = (size_t)k - pads;
	(*out)[*n] = 0;
	return OK;
}
