/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "format/sign.h"
#include "tests/fuzz/fuzz.h"

/* The slot's envelope and a bundle's, up to the question whether the key signed them; then a list of
 * digests. The key is of P-256 and in the text below. */
static const char pem[] = "-----BEGIN PUBLIC KEY-----\n"
"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEbS/V20w/41hWjV7FoWFatNw/E0cW\n"
"HsMK+hpKdY0nM0ekRLzqtvVl38U1ltqb9Gm4KW8rPb5ER+fwuu172VpCnQ==\n"
"-----END PUBLIC KEY-----\n";

static void open_key(struct key *key)
{
	struct file f;
	struct err e;
	char path[64];

	fuzz_file(&f, (const uint8_t *)pem, sizeof pem - 1);
	snprintf(path, sizeof path, "/proc/self/fd/%d", f.fd);
	if (key_open(key, path, false, &e) != OK)
		abort();
	file_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct key key;
	struct seal_claim claim = { 0 };
	struct digest_list sums = { 0 };
	struct bundle b = { 0 };
	struct file f;
	struct err e;
	char path[64];

	if (!key.pkey)
		open_key(&key);
	if (claim_check(&claim, (struct str){ (const char *)data, n }, &key, "input", &e) == OK)
		abort();
	fuzz_file(&f, data, n);
	snprintf(path, sizeof path, "/proc/self/fd/%d", f.fd);
	if (bundle_read(&b, path, &key, &e) == OK)
		bundle_close(&b);
	if (digest_list_read(&sums, path, &e) == OK)
		digest_list_close(&sums);
	file_close(&f);
	return 0;
}
