/* SPDX-License-Identifier: MIT
 *
 * test_digest.c - SHA-256 against FIPS 180-4's examples, git blob ids against git, and that a
 * digest that was never computed equals nothing.
 */
#include "format/base.h"
#include "tests/test.h"

#include <fcntl.h>
#include <unistd.h>

static bool is_hex(const uint8_t d[SHA256_BYTES], const char *hex)
{
	for (int i = 0; i < SHA256_BYTES; i++) {
		unsigned v;
		if (sscanf(hex + 2 * i, "%2x", &v) != 1 || v != d[i])
			return false;
	}
	return true;
}

static const char empty_hex[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

static void test_fips(void)
{
	static const struct { const char *text, *hex; } v[] = {
		{ "", empty_hex },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
		{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
		  "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
		  "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
	};
	struct sha256 h;
	struct err e;
	uint8_t d[SHA256_BYTES];

	CHECK(sha256_open(&h, &e) == OK);
	for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
		sha256_start(&h);
		sha256_add(&h, v[i].text, strlen(v[i].text));
		sha256_end(&h, d);
		CHECK(is_hex(d, v[i].hex));
		sha256_start(&h);		/* the same in single bytes */
		for (size_t j = 0; v[i].text[j]; j++)
			sha256_add(&h, v[i].text + j, 1);
		sha256_end(&h, d);
		CHECK(is_hex(d, v[i].hex));
	}
	sha256_start(&h);			/* a million times "a" */
	for (int i = 0; i < 1000; i++) {
		char a[1000];
		memset(a, 'a', sizeof a);
		sha256_add(&h, a, sizeof a);
	}
	sha256_end(&h, d);
	CHECK(is_hex(d, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"));
	sha256_start(&h);
	sha256_add(&h, "left over", 9);
	sha256_start(&h);			/* starting again forgets */
	sha256_add(&h, NULL, 0);
	sha256_end(&h, d);
	CHECK(is_hex(d, empty_hex));
	sha256_close(&h);
	sha256_close(&h);
}

/* What was not computed must not agree with anything, least of all with the next failure. */
static void test_failure_never_agrees(void)
{
	struct sha256 h = { 0 };
	struct err e;
	uint8_t d[4][SHA256_BYTES] = { { 0 } };

	sha256_start(&h);		/* closed */
	sha256_add(&h, "abc", 3);
	sha256_end(&h, d[0]);
	sha256_end(&h, d[1]);
	CHECK(sha256_open(&h, &e) == OK);
	sha256_add(&h, "abc", 3);	/* not started */
	sha256_end(&h, d[2]);
	sha256_start(&h);
	sha256_end(&h, d[3]);
	CHECK(is_hex(d[3], empty_hex));
	sha256_add(&h, "abc", 3);	/* ended already */
	sha256_end(&h, d[3]);
	for (int i = 0; i < 4; i++) {
		CHECK(!is_hex(d[i], empty_hex));
		for (int j = 0; j < i; j++)
			CHECK(memcmp(d[i], d[j], SHA256_BYTES) != 0);
	}
	sha256_start(&h);		/* and it recovers */
	sha256_end(&h, d[0]);
	CHECK(is_hex(d[0], empty_hex));
	sha256_close(&h);
}

static void test_text(void)
{
	static const char git[] = "ce013625030ba8dba906f756967f9e9ca394464a";
	struct digest a, b, none = { .kind = DIGEST_NONE };
	char buf[65];

	CHECK(digest_parse(&a, (struct str){ empty_hex, 64 }) && a.kind == DIGEST_SHA256);
	CHECK(a.bytes[0] == 0xE3 && a.bytes[31] == 0x55);
	CHECK(strcmp(digest_text(&a, buf), empty_hex) == 0);
	CHECK(digest_parse(&b, STR("E3B0C44298FC1C149AFBF4C8996FB924"
				   "27AE41E4649B934CA495991B7852B855")));
	CHECK(digest_eq(&a, &b));
	b.bytes[31] ^= 1;
	CHECK(!digest_eq(&a, &b));
	CHECK(digest_parse(&b, (struct str){ git, 40 }) && b.kind == DIGEST_GIT_BLOB);
	CHECK(strcmp(digest_text(&b, buf), git) == 0);
	memcpy(a.bytes, b.bytes, sizeof a.bytes);
	CHECK(!digest_eq(&a, &b) && !digest_eq(&none, &none));
	CHECK(strcmp(digest_text(&none, buf), "") == 0);
	for (size_t n = 0; n < 64; n++)
		CHECK(n == 40 || !digest_parse(&a, (struct str){ empty_hex, n }));
	CHECK(!digest_parse(&a, (struct str){ NULL, 0 }) && a.kind == DIGEST_NONE);
	CHECK(!digest_parse(&a, STR("ce013625030ba8dba906f756967f9e9ca394464g")));
	CHECK(a.kind == DIGEST_NONE);
	CHECK(!digest_parse(&a, STR("0xe013625030ba8dba906f756967f9e9ca394464")));
	CHECK(!digest_parse(&a, STR("ce013625030ba8dba906f756967f9e9ca394464 ")));
	CHECK(!digest_parse(&a, STR("ce013625030ba8dba906\0007f756967f9e9ca39446")));
}

static void file_case(const char *path, const void *p, size_t n, const char *sha256,
		      const char *git)
{
	FILE *out = fopen(path, "wb");
	struct file f = FILE_NONE;
	struct digest d;
	struct err e;
	uint8_t both[SHA256_BYTES];
	char buf[65];

	CHECK(out && fwrite(p, 1, n, out) == n);
	if (out)
		fclose(out);
	CHECK(file_open(&f, AT_FDCWD, path, false, path, &e) == OK);
	CHECK(digest_file(&f, DIGEST_SHA256, &d, NULL, &e) == OK && d.kind == DIGEST_SHA256);
	CHECK(strcmp(digest_text(&d, buf), sha256) == 0);
	CHECK(digest_file(&f, DIGEST_GIT_BLOB, &d, NULL, &e) == OK && d.kind == DIGEST_GIT_BLOB);
	CHECK(strcmp(digest_text(&d, buf), git) == 0);
	CHECK(digest_file(&f, DIGEST_GIT_BLOB, &d, both, &e) == OK && is_hex(both, sha256));
	CHECK(strcmp(digest_text(&d, buf), git) == 0);
	CHECK(digest_file(&f, DIGEST_NONE, &d, NULL, &e) != OK && d.kind == DIGEST_NONE);
	if (n > 0) {			/* cut while open: an error, not another file's digest */
		CHECK(truncate(path, (off_t)n - 1) == 0);
		CHECK(digest_file(&f, DIGEST_SHA256, &d, NULL, &e) == ERR_IO);
		CHECK(d.kind == DIGEST_NONE);
	}
	file_close(&f);
	unlink(path);
}

/* Blob ids from `git hash-object`; SHA-256 from sha256sum. */
static void test_files(void)
{
	static uint8_t big[700001];	/* no multiple of a read buffer */
	char dir[] = "/tmp/test_digest.XXXXXX", path[64];

	for (uint64_t i = 0; i < sizeof big; i++)
		big[i] = (uint8_t)(i * i >> 3);
	CHECK(mkdtemp(dir) != NULL);
	snprintf(path, sizeof path, "%s/x", dir);
	file_case(path, "", 0, empty_hex, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
	file_case(path, "hello\n", 6,
		  "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
		  "ce013625030ba8dba906f756967f9e9ca394464a");
	file_case(path, big, sizeof big,
		  "ba0d6556a4dfb7b45a25b02f19a12d74450ebf4ae990f42a0242ff49b118e412",
		  "1cfb62504c36507545c4cbf552583e5060c75120");
	rmdir(dir);
}

int main(void)
{
	RUN(test_fips);
	RUN(test_failure_never_agrees);
	RUN(test_text);
	RUN(test_files);
	return test_done();
}
