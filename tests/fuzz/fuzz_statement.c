/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "format/sign.h"
#include "tests/fuzz/fuzz.h"

/* What a signer may have signed: the input as a payload, in an envelope that the key vouches for. Read as the
 * statement in a seal's slot and as a bundle's; neither may say more than it holds.
 *
 * The linker has these two stand in the place of the key's: signing each input takes ten times as long as
 * reading it, and whether a signature holds is no matter of this target. */
enum status __wrap_key_sign(const struct key *k, const void *p, size_t n, uint8_t sig[KEY_SIGNATURE_MAX], size_t *sig_n,
			    struct err *e);
bool __wrap_key_vouches(const struct key *k, const void *p, size_t n, const uint8_t *sig, size_t sig_n);

enum status __wrap_key_sign(const struct key *k, const void *p, size_t n, uint8_t sig[KEY_SIGNATURE_MAX], size_t *sig_n,
			    struct err *e)
{
	(void)k, (void)p, (void)n, (void)e;
	memset(sig, 1, *sig_n = 64);
	return OK;
}

bool __wrap_key_vouches(const struct key *k, const void *p, size_t n, const uint8_t *sig, size_t sig_n)
{
	(void)k, (void)p, (void)n, (void)sig;
	return sig_n == 64;
}

static void as_claim(const char *envelope, const struct key *key)
{
	static char slot[SEAL_SIGNATURE_BYTES];
	struct seal_claim claim = { .file_size = 1, .header_bytes = 1 };
	size_t n = strlen(envelope);
	struct err e;

	if (n > sizeof slot)
		return;
	memset(slot, ' ', sizeof slot);
	memcpy(slot, envelope, n);
	(void)!claim_check(&claim, (struct str){ slot, sizeof slot }, key, "input", &e);
}

static void as_bundle(const char *envelope, const struct key *key)
{
	static const char before[] = "{\"dsseEnvelope\":";
	struct bundle b = { 0 };
	struct file f;
	struct err e;
	char path[64], *text;
	int n = asprintf(&text, "%s%s}", before, envelope);

	if (n < 0)
		abort();
	fuzz_file(&f, (const uint8_t *)text, (size_t)n);
	snprintf(path, sizeof path, "/proc/self/fd/%d", f.fd);
	if (bundle_read(&b, path, key, &e) == OK) {
		if (b.n == 0)
			abort();
		bundle_close(&b);
	}
	file_close(&f);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct key key;
	struct err e;
	char *payload = malloc(n + 1), *envelope;

	if (!key.pkey && key_open(&key, "tests/golden/sign/p256.pem", true, &e) != OK)
		abort();	/* to be run in the root of the repository */
	memcpy(payload, data, n);
	payload[n] = 0;
	envelope = dsse_write(&key, payload, &e);
	if (!envelope)
		abort();
	as_claim(envelope, &key);
	as_bundle(envelope, &key);
	free(envelope);
	free(payload);
	return 0;
}
