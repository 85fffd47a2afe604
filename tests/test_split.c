/* SPDX-License-Identifier: MIT
 *
 * test_split.c - split GGUFs as others write them: which files are found, what their keys may say, what is refused.
 *
 * Each case is three files of one tensor each, without a seal, with one thing wrong.
 */
#include "format/format.h"
#include "library/ingot.h"
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 3 };
/* A key of the file under test: absent, a string, or a number of some type. */
struct number { bool absent, text; enum gguf_type type; uint64_t v; };
struct part {
	struct number no, count, total;
	const char *tensor, *arch;
	const char *name;		/* of the file, if another than its number gives */
	bool absent;
};
static char dir[] = "/tmp/test-split-XXXXXX", path[256], other[256];

static const char *path_of(char *buf, const char *name)
{
	snprintf(buf, 256, "%s/%s", dir, name);
	return buf;
}

static const char *name_of(size_t i)
{
	static char buf[40];

	snprintf(buf, sizeof buf, "m-%05zu-of-%05d.gguf", i + 1, FILES);
	return buf;
}

static void put_number(struct gguf_writer *w, const char *key, struct number n)
{
	uint8_t b[8];
	unsigned bytes = n.type == GGUF_U8 || n.type == GGUF_I8 ? 1 : n.type == GGUF_U16 || n.type == GGUF_I16 ? 2
			 : n.type == GGUF_U64 || n.type == GGUF_I64 ? 8 : 4;
	struct gguf_kv kv = { .key = { key, strlen(key) }, .type = n.type, .elem = n.type, .count = 1, .data = b,
			      .data_bytes = bytes };

	store_le(b, 8, n.v);
	if (n.text)
		gguf_put_str(w, key, STR("3"));
	else if (!n.absent)
		gguf_put_kv(w, &kv);
}

static bool write_part(const struct part *p, size_t i)
{
	static const uint8_t data[64];
	struct gguf_writer w;
	uint64_t size, shape = 16;
	struct err e;
	FILE *f;
	bool ok;

	gguf_writer_open(&w, 32);
	gguf_put_str(&w, "general.architecture", (struct str){ p->arch, strlen(p->arch) });
	put_number(&w, SPLIT_KEY_NO, p->no);
	put_number(&w, SPLIT_KEY_COUNT, p->count);
	put_number(&w, SPLIT_KEY_TENSORS, p->total);
	gguf_put_tensor(&w, p->tensor, DT_F32, 1, &shape);
	f = fopen(path_of(path, p->name ? p->name : name_of(i)), "wb");
	ok = gguf_writer_finish(&w, &size, &e) == OK && f && fwrite(w.buf, 1, w.len, f) == w.len &&
	     fwrite(data, 1, sizeof data, f) == sizeof data;
	gguf_writer_close(&w);
	return f && fclose(f) == 0 && ok;
}

static void clean(void)
{
	static const char *const also[] = { "m.gguf", "m-00004-of-00003.gguf", "m-00001-of-00002.gguf", "m-1-of-3.gguf" };

	for (size_t i = 0; i < FILES; i++)
		unlink(path_of(path, name_of(i)));
	for (size_t i = 0; i < sizeof also / sizeof *also; i++)
		unlink(path_of(path, also[i]));
}

static void good_parts(struct part p[FILES])
{
	static const char *const names[FILES] = { "a", "b", "c" };

	for (size_t i = 0; i < FILES; i++)
		p[i] = (struct part){ .no = { .type = GGUF_U16, .v = i }, .count = { .type = GGUF_U16, .v = FILES },
				      .total = { .type = GGUF_I32, .v = FILES }, .tensor = names[i], .arch = "deepseek4" };
}

/* Writes the parts and opens the set by file `by`. */
static enum status open_parts(struct gguf_set *s, const struct part p[FILES], size_t by, struct err *e)
{
	clean();
	for (size_t i = 0; i < FILES; i++)
		if (!p[i].absent)
			CHECK(write_part(&p[i], i));
	return gguf_set_open(s, path_of(other, p[by].name ? p[by].name : name_of(by)), NULL, e);
}

static void names_are_told(void)
{
	static const struct { const char *path; bool is; unsigned number, n; size_t stem; } cases[] = {
		{ "m-00001-of-00003.gguf", true, 0, 3, 1 }, { "a/b/x.y-00003-of-00003.gguf", true, 2, 3, 7 },
		{ "m-99999-of-99999.gguf", true, 99998, 99999, 1 }, { "m-00001-of-00001.gguf", true, 0, 1, 1 },
		{ "m-00000-of-00003.gguf", false, 0, 0, 0 }, { "m-00004-of-00003.gguf", false, 0, 0, 0 },
		{ "m-0001-of-00003.gguf", false, 0, 0, 0 }, { "m-00001-of-00003.ggu", false, 0, 0, 0 },
		{ "m-00001_of-00003.gguf", false, 0, 0, 0 }, { "m-0000x-of-00003.gguf", false, 0, 0, 0 },
		{ "m-00001-of-0000 .gguf", false, 0, 0, 0 }, { "-00001-of-00003.gguf", false, 0, 0, 0 },
		{ "d/-00001-of-00003.gguf", false, 0, 0, 0 }, { "", false, 0, 0, 0 }, { ".gguf", false, 0, 0, 0 },
		{ "m-00001-of-00003.gguf.gguf", false, 0, 0, 0 }, { "m+00001-of-00003.gguf", false, 0, 0, 0 },
	};
	struct gguf_set_name name;
	struct err e;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bool is = gguf_set_name(cases[i].path, &name);

		CHECKF(is == cases[i].is, "%s", cases[i].path);
		if (!is || !cases[i].is)
			continue;
		CHECKF(name.number == cases[i].number && name.n == cases[i].n && name.stem == cases[i].stem, "%s", cases[i].path);
		char *back = gguf_set_path(cases[i].path, &name, name.number, &e);

		CHECKF(back && strcmp(back, cases[i].path) == 0, "%s", cases[i].path);
		free(back);
	}
}

/* Any file leads to all, in any type of integer that holds the numbers. */
static void any_file_opens_the_set(void)
{
	static const enum gguf_type types[] = { GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_U64, GGUF_I64 };
	struct part p[FILES];
	struct gguf_set s;
	struct err e = { 0 };

	for (size_t by = 0; by < FILES; by++)
		for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
			good_parts(p);
			for (size_t i = 0; i < FILES; i++)
				p[i].no.type = p[i].count.type = p[i].total.type = types[t];
			CHECKF(open_parts(&s, p, by, &e) == OK, "%s", e.msg);
			CHECK(s.n == FILES && s.gguf.n_tensors == FILES && s.n_missing == 0);
			for (size_t i = 0; i < FILES; i++) {
				const struct gguf_tensor *x = gguf_find_tensor(&s.gguf, p[i].tensor);

				CHECK(x && x->file == i && s.gguf.tensors[i].file == i);
			}
			CHECK(gguf_set_bytes(&s) == 3 * s.files[0].id.size && gguf_set_unchanged(&s, &e) == OK);
			gguf_set_close(&s);
		}
}

static void a_program_of_others_sees_the_set(void)
{
	struct ingot_facts f = { .size = sizeof f };
	struct ingot_tensor t = { .size = sizeof t };
	struct part p[FILES];
	struct ingot_model *m;
	struct ingot_error e;
	uint64_t bytes = 0;
	struct stat info;

	good_parts(p);
	for (size_t i = 0; i < FILES; i++)
		CHECK((p[i].arch = "llama") && write_part(&p[i], i) && stat(path, &info) == 0 && (bytes += (uint64_t)info.st_size));
	CHECKF(ingot_model_open(&m, path_of(path, name_of(1)), NULL, &e) == INGOT_OK, "%s", e.message);
	CHECK(m && ingot_model_facts(m, &f) == INGOT_OK && f.n_files == FILES && f.n_tensors == FILES && f.bytes == bytes);
	for (uint64_t i = 0; m && i < FILES; i++)
		CHECK(ingot_model_tensor(m, i, &t) == INGOT_OK && strcmp(t.file, path_of(other, name_of((size_t)i))) == 0 &&
		      strcmp(t.name, p[i].tensor) == 0);
	ingot_model_close(m);
	clean();
}

static void a_file_that_is_whole_stays_one(void)
{
	struct part p[FILES];
	struct gguf_set s;
	struct err e = { 0 };

	good_parts(p);
	p[0].count.v = 1;
	CHECK(open_parts(&s, p, 0, &e) == OK && s.n == 1 && s.gguf.n_tensors == 1);
	gguf_set_close(&s);
	p[0].count.absent = p[0].no.absent = p[0].total.absent = true;
	CHECK(open_parts(&s, p, 0, &e) == OK && s.n == 1);
	gguf_set_close(&s);
}

/* One thing wrong with one file, whichever file is named. */
static void wrong_sets_are_refused(void)
{
#define NUMBER(x) { .type = GGUF_U32, .v = x }
	static const struct {
		const char *what, *says;
		size_t at;
		struct part p;
		unsigned set;		/* which fields of p count: 1 no, 2 count, 4 total, 8 tensor, 16 arch, 32 absent */
	} cases[] = {
		{ "no absent", "key split.no is missing", 1, { .no = { .absent = true } }, 1 },
		{ "no is text", "key split.no is missing or no number", 2, { .no = { .text = true } }, 1 },
		{ "no negative", "key split.no is missing or no number", 1, { .no = { .type = GGUF_I16, .v = 0xFFFF } }, 1 },
		{ "no of another", "says of itself that it is number 2 of 3", 1, { .no = NUMBER(2) }, 1 },
		{ "no far out", "number 18446744073709551615 of 3", 1, { .no = { .type = GGUF_U64, .v = UINT64_MAX } }, 1 },
		{ "count smaller", "", 1, { .count = NUMBER(2) }, 2 },
		{ "count larger", "", 1, { .count = NUMBER(4) }, 2 },
		{ "count huge", "", 1, { .count = { .type = GGUF_U64, .v = UINT64_MAX } }, 2 },
		{ "total absent", "split.tensors.count is missing", 2, { .total = { .absent = true } }, 4 },
		{ "total differs", "is not that of", 2, { .total = { .type = GGUF_I32, .v = 4 } }, 4 },
		{ "total negative", "split.tensors.count is missing or no number", 1, { .total = { .type = GGUF_I32, .v = UINT32_MAX } }, 4 },
		{ "a tensor twice", "tensor a is in", 2, { .tensor = "a" }, 8 },
		{ "another model", "general.architecture is not that of", 1, { .arch = "llama" }, 16 },
		{ "missing", "1 of the set's 3 files are missing: m-00002-of-00003.gguf", 1, { .absent = true }, 32 },
	};
	struct part p[FILES];
	struct gguf_set s;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t by = 0; by < FILES; by++) {
			struct part *x = &p[cases[i].at];
			struct err e = { 0 };
			enum status st;

			if ((cases[i].set & (2 | 32)) && by == cases[i].at)
				continue;
			good_parts(p);
			x->no = cases[i].set & 1 ? cases[i].p.no : x->no;
			x->count = cases[i].set & 2 ? cases[i].p.count : x->count;
			x->total = cases[i].set & 4 ? cases[i].p.total : x->total;
			x->tensor = cases[i].set & 8 ? cases[i].p.tensor : x->tensor;
			x->arch = cases[i].set & 16 ? cases[i].p.arch : x->arch;
			x->absent = cases[i].set & 32;
			st = open_parts(&s, p, by, &e);
			CHECKF(st == ERR_FORMAT && strstr(e.msg, cases[i].says) && strstr(e.msg, ".gguf: "), "%s, by %zu: %d %s",
			       cases[i].what, by, st, e.msg);
			if (st == OK)
				gguf_set_close(&s);
			CHECK(s.n == 0 && !s.files && !s.parts);
		}
}

/* All say the same, and it is not so. */
static void totals_are_counted(void)
{
	struct part p[FILES];
	struct gguf_set s;
	struct err e = { 0 };

	good_parts(p);
	for (size_t i = 0; i < FILES; i++)
		p[i].total.v = 4;
	CHECK(open_parts(&s, p, 0, &e) == ERR_FORMAT && strstr(e.msg, "is 4, the 3 files of the set have 3 tensors"));
}

static void names_must_fit(void)
{
	static const char *const names[] = { "m.gguf", "m-00004-of-00003.gguf", "m-00001-of-00002.gguf", "m-1-of-3.gguf" };
	struct part p[FILES];
	struct gguf_set s;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct err e = { 0 };

		good_parts(p);
		p[0].name = names[i];
		CHECKF(open_parts(&s, p, 0, &e) == ERR_FORMAT && strstr(e.msg, "its name does not end like -00001-of-00003.gguf"),
		       "%s: %s", names[i], e.msg);
	}
}

static void counts_are_bounded(void)
{
	struct part p[FILES];
	struct gguf_set s;
	struct err e = { 0 };

	good_parts(p);
	for (size_t i = 0; i < FILES; i++)
		p[i].count = (struct number){ .type = GGUF_U64, .v = GGUF_SET_MOST + 1 };
	CHECK(open_parts(&s, p, 0, &e) == ERR_UNSUPPORTED && strstr(e.msg, "at most 4096 files are read as one"));
}

/* A folder, a pipe or a link to nowhere in a file's place. */
static void files_must_be_files(void)
{
	struct part p[FILES];
	struct gguf_set s;
	struct err e = { 0 };

	good_parts(p);
	p[1].absent = true;
	clean();
	CHECK(write_part(&p[0], 0) && write_part(&p[2], 2));
	CHECK(mkfifo(path_of(path, name_of(1)), 0600) == 0);
	CHECK(gguf_set_open(&s, path_of(other, name_of(0)), NULL, &e) == ERR_FORMAT && strstr(e.msg, "not a regular file"));
	unlink(path);
	CHECK(mkdir(path, 0700) == 0);
	CHECK(gguf_set_open(&s, path_of(other, name_of(0)), NULL, &e) == ERR_FORMAT && strstr(e.msg, "not a regular file"));
	rmdir(path);
	CHECK(symlink("nowhere", path) == 0);
	CHECK(gguf_set_open(&s, path_of(other, name_of(0)), NULL, &e) == ERR_FORMAT && strstr(e.msg, "missing: m-00002-of"));
	CHECK(gguf_set_find(&s, path_of(other, name_of(0)), NULL, &e) == OK && s.n == 3 && s.n_missing == 1);
	gguf_set_close(&s);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	RUN(names_are_told);
	RUN(any_file_opens_the_set);
	RUN(a_program_of_others_sees_the_set);
	RUN(a_file_that_is_whole_stays_one);
	RUN(wrong_sets_are_refused);
	RUN(totals_are_counted);
	RUN(names_must_fit);
	RUN(counts_are_bounded);
	RUN(files_must_be_files);
	clean();
	rmdir(dir);
	return test_done();
}
