/* SPDX-License-Identifier: MIT
 *
 * test_claim.c - what a signature in a seal's slot may say. Each statement is signed by the very key that is asked
 * for, so that the statement is the only reason: nothing else than the exact claim about this file is authentic.
 */
#include "format/sign.h"
#include "tests/test.h"

#define HEADER "1111111111111111111111111111111111111111111111111111111111111111"
#define ROOT "2222222222222222222222222222222222222222222222222222222222222222"
#define GIT "0123456789012345678901234567890123456789"
#define SUBJECT "[{\"name\":\"gguf-header\",\"digest\":{\"sha256\":\"" HEADER "\"}}]"
#define SIZES "\"file_size\":1000,\"header_bytes\":100,"
#define PREDICATE "{" SIZES "\"root\":\"" ROOT "\"}"
#define TYPED(subject, predicate) \
	"{\"predicateType\":\"urn:ingot:seal:1\",\"subject\":" subject ",\"predicate\":" predicate "}"

struct row { const char *payload; enum status want; const char *word; };
static const struct row rows[] = {
	{ TYPED(SUBJECT, PREDICATE), OK, NULL },
	/* what is not known may stand beside it */
	{ TYPED("[{\"digest\":{\"sha512\":\"x\",\"sha256\":\"" HEADER "\"},\"uri\":[1]}]", "{\"more\":{}," SIZES "\"root\":\"" ROOT "\"}"),
	  OK, NULL },
	{ "{\"_type\":\"x\",\"predicate\":" PREDICATE ",\"subject\":" SUBJECT ",\"predicateType\":\"urn:ingot:seal:1\"}", OK, NULL },
	{ "", ERR_FORMAT, NULL }, { "[]", ERR_FORMAT, NULL }, { "7", ERR_FORMAT, NULL }, { "{", ERR_FORMAT, NULL },
	{ TYPED(SUBJECT, PREDICATE) "x", ERR_FORMAT, "after the end" },
	{ "{}", ERR_UNSUPPORTED, "is no urn:ingot:seal:1" },
	{ "{\"subject\":" SUBJECT ",\"predicate\":" PREDICATE "}", ERR_UNSUPPORTED, "is no urn:ingot:seal:1" },
	{ "{\"predicateType\":\"urn:ingot:seal:2\"}", ERR_UNSUPPORTED, "is no urn:ingot:seal:1" },
	{ "{\"predicateType\":7}", ERR_FORMAT, NULL },
	{ "{\"predicateType\":\"urn:ingot:seal:1\",\"predicateType\":\"urn:ingot:seal:1\"}", ERR_FORMAT, "twice" },
	{ TYPED("{}", PREDICATE), ERR_FORMAT, NULL }, { TYPED("[7]", PREDICATE), ERR_FORMAT, NULL },
	{ TYPED("[]", PREDICATE), ERR_FORMAT, "0 subjects" },
	{ TYPED("[{\"digest\":{\"sha256\":\"" HEADER "\"}},{}]", PREDICATE), ERR_FORMAT, "2 subjects" },
	{ TYPED("[{\"digest\":[]}]", PREDICATE), ERR_FORMAT, NULL },
	{ TYPED("[{\"digest\":{\"sha256\":7}}]", PREDICATE), ERR_FORMAT, NULL },
	{ TYPED("[{\"digest\":{\"sha256\":\"\"}}]", PREDICATE), ERR_FORMAT, "no SHA-256" },
	{ TYPED("[{\"digest\":{\"sha256\":\"" GIT "\"}}]", PREDICATE), ERR_FORMAT, "no SHA-256" },
	{ TYPED("[{\"digest\":{\"sha256\":\"" HEADER "\",\"sha256\":\"" HEADER "\"}}]", PREDICATE), ERR_FORMAT, "twice" },
	{ TYPED(SUBJECT, "[]"), ERR_FORMAT, NULL }, { TYPED(SUBJECT, "null"), ERR_FORMAT, NULL },
	{ TYPED(SUBJECT, "{" SIZES "\"root\":\"" ROOT "00\"}"), ERR_FORMAT, "no SHA-256" },
	{ TYPED(SUBJECT, "{" SIZES "\"root\":\"" GIT "\"}"), ERR_FORMAT, "no SHA-256" },
	{ TYPED(SUBJECT, "{\"file_size\":-1,\"header_bytes\":100,\"root\":\"" ROOT "\"}"), ERR_FORMAT, NULL },
	{ TYPED(SUBJECT, "{\"file_size\":\"1000\",\"header_bytes\":100,\"root\":\"" ROOT "\"}"), ERR_FORMAT, NULL },
	{ TYPED(SUBJECT, "{\"file_size\":1e3,\"header_bytes\":100,\"root\":\"" ROOT "\"}"), ERR_FORMAT, NULL },
	{ TYPED(SUBJECT, "{\"file_size\":1000,\"header_bytes\":18446744073709551616,\"root\":\"" ROOT "\"}"), ERR_FORMAT, NULL },
	/* well made, but of another file, or of less than all */
	{ TYPED("[{\"digest\":{\"sha256\":\"" ROOT "\"}}]", PREDICATE), ERR_MISMATCH, "another header" },
	{ TYPED("[{}]", PREDICATE), ERR_MISMATCH, "another header" },
	{ TYPED(SUBJECT, "{}"), ERR_MISMATCH, "another header" },
	{ TYPED(SUBJECT, "{" SIZES "\"root\":\"" HEADER "\"}"), ERR_MISMATCH, "another header" },
	{ TYPED(SUBJECT, "{\"file_size\":1001,\"header_bytes\":100,\"root\":\"" ROOT "\"}"), ERR_MISMATCH, "another header" },
	{ TYPED(SUBJECT, "{\"file_size\":1000,\"header_bytes\":99,\"root\":\"" ROOT "\"}"), ERR_MISMATCH, "another header" },
	{ TYPED(SUBJECT, "{\"header_bytes\":100,\"root\":\"" ROOT "\"}"), ERR_MISMATCH, "another header" },
	{ "{\"predicateType\":\"urn:ingot:seal:1\",\"predicate\":" PREDICATE "}", ERR_MISMATCH, "another header" },
};

static struct key key;
static struct seal_claim claim = { .file_size = 1000, .header_bytes = 100 };

static void checks(const char *id, const char *text, enum status want, const char *word)
{
	static char slot[SEAL_SIGNATURE_BYTES];
	struct err e = { 0 };
	enum status st;

	memset(slot, ' ', sizeof slot);
	if (strlen(text) > sizeof slot)
		abort();
	memcpy(slot, text, strlen(text));
	st = claim_check(&claim, (struct str){ slot, sizeof slot }, &key, "a.gguf", &e);
	CHECKF(st == want && (st == OK || e.status == want), "%s: status %d: %s", id, (int)st, e.msg);
	CHECKF(!word || strstr(e.msg, word), "%s: nothing says '%s': %s", id, word, e.msg);
	CHECKF(st == OK || strncmp(e.msg, "a.gguf", 6) == 0, "%s: the file is not named: %s", id, e.msg);
}

static void test_statements(void)
{
	for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
		struct err e;
		char *envelope = dsse_write(&key, r->payload, &e);

		if (!envelope)
			abort();
		checks(r->payload, envelope, r->want, r->word);
		free(envelope);
	}
}

/* Slots that no key could have signed; what stands in front of the signature has no second reading. */
static void test_slots(void)
{
	static const char type[] = "\"payloadType\":\"application/vnd.in-toto+json\"", sig[] = "\"signatures\":[{\"sig\":\"MAA=\"}]";
	struct err e;
	char *good = dsse_write(&key, rows[0].payload, &e), *text = malloc(SEAL_SIGNATURE_BYTES);
	size_t n;

	if (!good || !text)
		abort();
	checks("no signature", "", ERR_NO_DIGEST, "is not signed");
	checks("an array", "[]", ERR_FORMAT, NULL);
	checks("no envelope", "{}", ERR_FORMAT, "lacks its payload");
	snprintf(text, SEAL_SIGNATURE_BYTES, "{%s,\"payload\":\"e30=\",%s}", type, sig);
	checks("a signature of nobody", text, ERR_NO_DIGEST, "not by this key");
	snprintf(text, SEAL_SIGNATURE_BYTES, "{%s,\"payload\":\"e30=\",%s,\"note\":1}", type, sig);
	checks("a field more", text, ERR_FORMAT, "a field that an envelope does not have");
	snprintf(text, SEAL_SIGNATURE_BYTES, "{%s,\"payload\":\"e30=\",\"signatures\":[{\"sig\":\"MAA=\",\"cert\":\"\"}]}", type);
	checks("a field more in the signature", text, ERR_FORMAT, "a field that an envelope does not have");
	snprintf(text, SEAL_SIGNATURE_BYTES, "%s x", good);
	checks("text behind it", text, ERR_FORMAT, "after the end");
	snprintf(text, SEAL_SIGNATURE_BYTES, "%s", good);
	text[strlen(text) - 1] = 0;
	checks("cut short", text, ERR_FORMAT, NULL);
	n = (size_t)snprintf(text, SEAL_SIGNATURE_BYTES, "{%s,\"payload\":\"e30=\",\"signatures\":[{\"sig\":\"MAA=\"}", type);
	for (int i = 0; i < 16; i++)
		n += (size_t)snprintf(text + n, SEAL_SIGNATURE_BYTES - n, ",{\"sig\":\"MAA=\"}");
	snprintf(text + n, SEAL_SIGNATURE_BYTES - n, "]}");
	checks("17 signatures", text, ERR_UNSUPPORTED, "more than 16 signatures");
	free(good);
	free(text);
}

/* What is written is what is read, and it fills the slot. */
static void test_written(void)
{
	uint8_t slot[SEAL_SIGNATURE_BYTES];
	struct seal_claim other = claim;
	struct str s = { (const char *)slot, sizeof slot };
	struct err e = { 0 };

	CHECKF(claim_write(&claim, &key, slot, &e) == OK, "%s", e.msg);
	CHECK(slot[0] == '{' && slot[sizeof slot - 1] == ' ');
	CHECK(claim_check(&claim, s, &key, "a.gguf", &e) == OK);
	other.header.bytes[31] ^= 1;
	CHECK(claim_check(&other, s, &key, "a.gguf", &e) == ERR_MISMATCH);
}

int main(void)
{
	struct err e;

	if (key_open(&key, "tests/golden/sign/p256.pem", true, &e) != OK ||
	    !digest_parse(&claim.header, STR(HEADER)) || !digest_parse(&claim.root, STR(ROOT))) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	RUN(test_statements);
	RUN(test_slots);
	RUN(test_written);
	key_close(&key);
	return test_done();
}
