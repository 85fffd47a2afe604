/* SPDX-License-Identifier: MIT
 *
 * test_deep.c - verify --deep on vocabularies that no edit in place gives: arrays of other types and lengths, keys
 * that are missing, tables with other rows than tokens. Each is a header made here and a file of its size.
 */
#include "tests/test.h"
#include "verify/deep.h"

#include <fcntl.h>
#include <unistd.h>

struct odd { const char *model; bool bos; int types, scores; enum gguf_type type, score; uint64_t rows; const char *third; };
static const struct odd sound = { "gpt2", true, 3, 3, GGUF_I32, GGUF_F32, 3, "ab" };

static bool write_odd(const struct odd *o, const char *path)
{
	static const uint8_t ones[16] = { 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0 };
	struct gguf_writer w;
	uint64_t size, shape[2] = { o->rows, 4 };
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct err e;
	bool good;

	gguf_writer_open(&w, 32);
	gguf_put_str(&w, "general.architecture", STR("other"));
	gguf_put_str(&w, "tokenizer.ggml.model", (struct str){ o->model, strlen(o->model) });
	gguf_put_strings(&w, "tokenizer.ggml.tokens", 3);
	gguf_put_item(&w, STR("a"));
	gguf_put_item(&w, STR("b"));
	gguf_put_item(&w, (struct str){ o->third, strlen(o->third) });
	gguf_put_array(&w, "tokenizer.ggml.token_type", o->type, ones, (uint64_t)o->types);
	gguf_put_array(&w, "tokenizer.ggml.scores", o->score, NULL, (uint64_t)o->scores);
	gguf_put_strings(&w, "tokenizer.ggml.merges", 1);
	gguf_put_item(&w, STR("a b"));
	if (o->bos) {
		gguf_put_u32(&w, "tokenizer.ggml.bos_token_id", 0);
		gguf_put_u32(&w, "tokenizer.ggml.eos_token_id", 2);
	}
	gguf_put_tensor(&w, "token_embd.weight", DT_F32, 2, shape);
	good = gguf_writer_finish(&w, &size, &e) == OK && fd >= 0 && write(fd, w.buf, w.len) == (ssize_t)w.len &&
	       ftruncate(fd, (off_t)size) == 0;
	gguf_writer_close(&w);
	if (fd >= 0)
		close(fd);
	return good;
}

/* The verdict, and whether the lines of bad (or odd, where nothing is bad) are exactly this one. */
static void looks(const struct odd *o, enum status want, const char *line)
{
	char path[] = "/tmp/test_deep.XXXXXX";
	int fd = mkstemp(path), stop = 0;
	struct verify_options v = { .threads = 1, .stop = &stop };
	struct deep_report r;
	struct gguf g = { 0 };
	struct file f;
	struct err e = { 0 };
	const struct log *l;

	CHECK(fd >= 0 && write_odd(o, path));
	CHECK(file_open(&f, AT_FDCWD, path, true, path, &e) == OK);
	CHECKF(gguf_read(&g, &f, NULL, &e) == OK, "%s", e.msg);
	CHECKF(verify_deep(&r, &(struct gguf_set){ .gguf = g, .parts = &g, .files = &f, .n = 1 }, &v, &e) == want, "%s: %s", line, e.msg);
	l = want == OK ? &r.odd : &r.bad;
	CHECKF(l->n_lines == (*line ? 1 : 0) && (!*line || strncmp(l->text, line, strlen(line)) == 0), "'%s', not '%s'",
	       l->text ? l->text : "", line);
	deep_report_close(&r);
	gguf_close(&g);
	file_close(&f);
	close(fd);
	unlink(path);
}

static void test_vocabularies(void)
{
	struct odd o = sound;

	looks(&o, OK, "");
	o.bos = false;	/* and the id that readers take then is 11 */
	o.model = "llama";
	looks(&o, OK, "");
	o = sound;
	o.types = 2;
	looks(&o, ERR_MISMATCH, "metadata tokenizer.ggml.token_type: 2 entries for 3 tokens");
	o = sound;
	o.type = GGUF_U8;
	looks(&o, ERR_MISMATCH, "metadata tokenizer.ggml.token_type: is not an array of 32-bit integers");
	o = sound;
	o.score = GGUF_U8;
	looks(&o, ERR_MISMATCH, "metadata tokenizer.ggml.scores: is not an array of 32-bit floats");
	o = sound;
	o.scores = 4;
	looks(&o, ERR_MISMATCH, "metadata tokenizer.ggml.scores: 4 entries for 3 tokens");
	o = sound;
	o.third = "b";
	looks(&o, ERR_MISMATCH, "token 'b': ids 1 and 2 have the same text");
	o = sound;
	o.third = "c";
	looks(&o, ERR_MISMATCH, "merge 0 ('a b'): not two tokens that make a third");
	o = sound;
	o.rows = 4;
	looks(&o, OK, "tensor token_embd.weight: 4 rows for 3 tokens");
}

static void test_absent_ids(void)
{
	char path[] = "/tmp/test_deep.XXXXXX";
	int fd = mkstemp(path), stop = 0;
	struct verify_options v = { .threads = 1, .stop = &stop };
	struct odd o = sound;
	struct deep_report r;
	struct gguf g = { 0 };
	struct file f;
	struct err e = { 0 };

	o.bos = false;
	CHECK(fd >= 0 && write_odd(&o, path) && file_open(&f, AT_FDCWD, path, true, path, &e) == OK);
	CHECK(gguf_read(&g, &f, NULL, &e) == OK && verify_deep(&r, &(struct gguf_set){ .gguf = g, .parts = &g, .files = &f, .n = 1 }, &v, &e) == ERR_MISMATCH);
	CHECK(r.bad.n_lines == 2 && strstr(r.bad.text, "bos_token_id: is missing, and the 11 that readers take then is past the 3"));
	deep_report_close(&r);
	gguf_close(&g);
	file_close(&f);
	close(fd);
	unlink(path);
}

/* As many tokens as no reader of ours takes, and none at all: said by number, and nothing is made of that size. */
static void test_token_counts(void)
{
	static const uint64_t counts[] = { (1u << 22) + 1, 0 };
	static const char *const said[] = { "metadata tokenizer.ggml.tokens: 4194305 tokens, 1 to 4194304 are possible",
					    "metadata tokenizer.ggml.tokens: 0 tokens, 1 to 4194304 are possible" };

	for (size_t i = 0; i < 2; i++) {
		char path[] = "/tmp/test_deep.XXXXXX";
		int fd = mkstemp(path), stop = 0;
		struct verify_options v = { .threads = 1, .stop = &stop };
		struct gguf_writer w;
		struct deep_report r;
		struct gguf g = { 0 };
		struct file f;
		struct err e = { 0 };
		uint64_t size;

		gguf_writer_open(&w, 32);
		gguf_put_str(&w, "general.architecture", STR("other"));
		gguf_put_str(&w, "tokenizer.ggml.model", STR("gpt2"));
		gguf_put_strings(&w, "tokenizer.ggml.tokens", counts[i]);
		for (uint64_t n = 0; n < counts[i]; n++)
			gguf_put_item(&w, STR(""));
		gguf_put_u32(&w, "tokenizer.ggml.bos_token_id", 0);
		CHECK(gguf_writer_finish(&w, &size, &e) == OK && write(fd, w.buf, w.len) == (ssize_t)w.len);
		gguf_writer_close(&w);
		CHECK(file_open(&f, AT_FDCWD, path, true, path, &e) == OK);
		CHECKF(gguf_read(&g, &f, NULL, &e) == OK, "%s", e.msg);
		CHECKF(verify_deep(&r, &(struct gguf_set){ .gguf = g, .parts = &g, .files = &f, .n = 1 }, &v, &e) == ERR_MISMATCH, "%s", e.msg);
		CHECKF(r.n_tokens == 0 && r.bad.text && strncmp(r.bad.text, said[i], strlen(said[i])) == 0, "%s",
		       r.bad.text ? r.bad.text : "nothing");
		deep_report_close(&r);
		gguf_close(&g);
		file_close(&f);
		close(fd);
		unlink(path);
	}
}

int main(void)
{
	RUN(test_vocabularies);
	RUN(test_absent_ids);
	RUN(test_token_counts);
	return test_done();
}
