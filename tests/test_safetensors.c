/* SPDX-License-Identifier: MIT
 *
 * test_safetensors.c - shard headers: a numbered list of damaged and odd files with the verdict
 * each has to get, then properties (order, tiling, every cut, every flipped bit) and costs.
 *
 * Headers stand in the table with ' for ", so that they can be read. What a case holds is what
 * its number says; A is accept, W accept with a warning, R refuse as malformed, L refuse because
 * of a limit of this program.
 */
#include "format/format.h"

#include "tests/hostile.h"

#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>

#define FRUGAL (!HOSTILE_COSTS)
#define COUNT(a) (sizeof(a) / sizeof(a)[0])

enum verdict { A, W, R, L };

static char dir[] = "/tmp/ingot-test-XXXXXX";
static char path[64];	/* the one file that all cases are written to, a checkpoint's only shard */
static size_t n_cut;	/* files of which every cut was tried */

static void write_file(const void *bytes, size_t n, uint64_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n || ftruncate(fd, (off_t)size) != 0) {
		perror(path);
		exit(1);
	}
	close(fd);
}

/* Length, header, and a data area of zeros. */
static void write_shard(const char *header, size_t n, uint64_t data_bytes)
{
	uint8_t *p = malloc(8 + n + 1);

	store_le(p, 8, n);
	memcpy(p + 8, header, n);
	write_file(p, 8 + n, 8 + n + data_bytes);
	free(p);
}

static enum status read_file(struct st_header *h, struct log *notes, struct err *e)
{
	struct file f = FILE_NONE;
	enum status st = file_open(&f, AT_FDCWD, path, true, "x.safetensors", e);

	if (st == OK)
		st = st_read(h, &f, 7, notes, e);
	file_close(&f);
	return st;
}

/* What every accepted header promises. */
static bool is_sound(const struct st_header *h, uint64_t file_size)
{
	uint64_t at = h->data_off;

	for (size_t i = 0; i < h->n_tensors; i++) {
		const struct st_tensor *t = &h->tensors[i];
		if (t->off != at || t->n_dims > ST_MAX_RANK || t->shard != 7 || !*t->name ||
		    strlen(t->name) > ST_MAX_NAME)
			return false;
		at += t->bytes;
	}
	return at == file_size;
}

/* The same file through `ingot inspect`: what the container allows, the model then misses its tensors in. */
static void check_program(int number, enum verdict want, const char *why)
{
	const char *const args[] = { "inspect", dir, NULL };
	char id[16];
	bool good = want == A || want == W;

	if (good)
		hostile.n_good++;
	else
		hostile.n_bad++;
	snprintf(id, sizeof id, "ST-%03d", number);
	hostile_run(id, 3, want == A ? "tensors here cannot hold" : why, args);
}

/* Reads the file and compares the verdict; why (or NULL) has to be in the message. Cases without a number
 * are of a series, and spare the program. */
static void check_file(int number, enum verdict want, const char *why, uint64_t file_size)
{
	static const enum status status[] = { OK, OK, ERR_FORMAT, ERR_UNSUPPORTED };
	struct st_header h;
	struct log notes = { 0 };
	struct err e = { 0 };
	enum status st = read_file(&h, &notes, &e);

	CHECKF(st == status[want], "ST-%03d: status %d %s", number, st, e.msg);
	CHECKF((notes.n_lines > 0) == (want == W), "ST-%03d: %zu notes", number, notes.n_lines);
	if (st == OK) {
		CHECKF(is_sound(&h, file_size), "ST-%03d", number);
	} else {
		CHECKF(strncmp(e.msg, "x.safetensors: ", 15) == 0, "ST-%03d: %s", number, e.msg);
		CHECKF(!h.text && !h.tensors, "ST-%03d", number);
	}
	if (why)
		CHECKF(strstr(st == OK ? notes.text : e.msg, why), "ST-%03d: %s", number,
		       st == OK ? notes.text : e.msg);
	if (getenv("SHOW"))
		printf("ST-%03d %d %s%s", number, st, st ? e.msg : notes.n_lines ? notes.text : "",
		       notes.n_lines ? "" : "\n");
	st_close(&h);
	st_close(&h);
	log_close(&notes);
	if (number != 0 && number != 131 && number != 132)
		check_program(number, want, why);
}

/* Every cut of the file that was just accepted is refused, from all but its last byte down to nothing. */
static void check_cuts(uint64_t file_size)
{
	n_cut++;
	while (file_size-- > 0) {
		CHECK(truncate(path, (off_t)file_size) == 0);
		check_file(0, R, NULL, 0);
	}
}

/* ---- the framing ------------------------------------------------------------------------- */

static const char one[] = "{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
enum { ONE = sizeof one - 1 };

/* A file with that length in front, the sample header and data_bytes of data. */
static void framed(int number, uint64_t length, uint64_t data_bytes, const char *why)
{
	uint8_t p[8 + ONE];

	store_le(p, 8, length);
	memcpy(p + 8, one, ONE);
	write_file(p, sizeof p, sizeof p + data_bytes);
	check_file(number, R, why, 0);
}

static void test_framing(void)
{
	uint8_t length[8];

	write_file("", 0, 0);
	check_file(1, R, "0 bytes", 0);
	write_file("\x20\0\0\0\0\0\0", 7, 7);
	check_file(2, R, "7 bytes", 0);
	store_le(length, 8, 16);
	write_file(length, 8, 8);
	check_file(3, R, NULL, 0);
	framed(4, UINT64_MAX, 8, "18446744073709551615");
	framed(5, UINT64_C(1) << 63, 8, NULL);
	framed(6, 100000001, 100000008, "the format allows 100000000");
	store_le(length, 8, 0);
	write_file(length, 8, 8);
	check_file(7, R, NULL, 0);
	framed(8, 0, 8, NULL);
	framed(9, ONE + 8 + 1, 8, "cut short");
	store_le(length, 8, ONE);
	uint8_t cut[8 + ONE / 2];
	memcpy(cut, length, 8);
	memcpy(cut + 8, one, ONE / 2);
	write_file(cut, sizeof cut, sizeof cut);
	check_file(10, R, "cut short", 0);
	framed(11, ONE - 1, 8, NULL);
	framed(12, ONE + 8, 8, NULL);
	framed(13, __builtin_bswap64(ONE), 8, "big-endian");
	/* the sample itself is fine */
	write_shard(one, ONE, 8);
	check_file(0, A, NULL, 8 + ONE + 8);
}

/* ---- the table --------------------------------------------------------------------------- */

struct fixture {
	int number;
	enum verdict want;
	const char *header;
	uint64_t data_bytes;
	const char *why;	/* part of the message, or NULL */
};
#define BODY "'dtype':'F32','shape':[2],'data_offsets':[0,8]"
#define T8 "{" BODY "}"
#define SHAPE(dtype, shape, begin, end) \
	"{'t':{'dtype':'" dtype "','shape':" shape ",'data_offsets':[" #begin "," #end "]}}"
#define OFFSETS(v) "{'t':{'dtype':'F32','shape':[2],'data_offsets':" v "}}"

static const struct fixture encoding[] = {
	{ 14, R, "{'t\xff':" T8 "}", 8, "UTF-8" },
	{ 15, R, "{'t\xc0\xaf':" T8 "}", 8, "UTF-8" },
	{ 16, R, "{'t\xed\xa0\x80':" T8 "}", 8, "UTF-8" },
	{ 17, R, "{'t\\ud800':" T8 "}", 8, "surrogate" },
	{ 18, R, "\xef\xbb\xbf{'t':" T8 "}", 8, NULL },
	{ 19, R, "{", 0, NULL },
	{ 20, R, "[]", 0, NULL },
	{ 21, R, "null", 0, NULL },
	{ 22, R, "'t'", 0, NULL },
	{ 23, R, "{'t':" T8 "}x", 8, "after the end" },
	{ 24, R, "{'t':" T8 "}{}", 8, "after the end" },
	{ 25, R, "{'t':" T8 ",}", 8, "comma" },
	{ 26, R, "{/* */'t':" T8 "}", 8, NULL },
	{ 28, A, "{'t':" T8 "}    ", 8, NULL },
	{ 29, A, "{'t':" T8 "}\r\n\t", 8, NULL },
	{ 31, A, "   {'t':" T8 "}", 8, NULL },
	{ 31, A, "\r\n\t {'t':" T8 "}", 8, NULL },
	{ 32, R, "\f{'t':" T8 "}", 8, NULL },
	{ 32, R, "{'t':" T8 "}\f", 8, NULL },
	{ 105, R, "{'t\x01':" T8 "}", 8, "control byte" },
	{ 112, R, "{'t':{" BODY ",'x':NaN}}", 8, NULL },
	{ 112, R, "{'t':{'dtype':'F32','shape':[NaN],'data_offsets':[0,8]}}", 8, NULL },
	{ 113, R, "{'t':{" BODY ",'x':1e999}}", 8, "beyond the range" },
	{ 113, R, "{'t':{'dtype':'F32','shape':[1e999],'data_offsets':[0,8]}}", 8, NULL },
};

static const struct fixture names[] = {
	{ 33, R, "{'t':" T8 ",'t':" T8 "}", 8, "twice" },
	{ 34, R, "{'t':" T8 ",'t':{'dtype':'U8','shape':[8],'data_offsets':[0,8]}}", 8, "twice" },
	{ 35, R, "{'t':" T8 ",'t':{'dtype':'F32','shape':[2],'data_offsets':[8,16]}}", 16, "twice" },
	{ 36, R, "{'t':" T8 ",'\\u0074':" T8 "}", 8, "twice" },
	{ 102, R, "{'':" T8 "}", 8, "empty name" },
	{ 103, R, "{'a\\u0000b':" T8 "}", 8, "\\u0000" },
	{ 104, R, "{'a\\u0000b':" T8 ",'a\\u0000c':{'dtype':'F32','shape':[2],"
		  "'data_offsets':[8,16]}}", 16, "\\u0000" },
	{ 106, R, "{'\\u001b[2J':" T8 "}", 8, "control byte 0x1b" },
	{ 106, R, "{'a\\u007f':" T8 "}", 8, "control byte 0x7f" },
	{ 106, R, "{'a\\nb':" T8 "}", 8, "control byte 0x0a" },
	{ 107, A, "{'../../etc/passwd':" T8 "}", 8, NULL },
	{ 133, A, "{'model.layers.0.this.name.is.longer.than.sixty.three.bytes.but.it.is.fine.here"
		  ".weight':" T8 "}", 8, NULL },
	{ 107, A, "{' \xe2\x82\xac\xf0\x9d\x84\x9e':" T8 "}", 8, NULL },
};

static const struct fixture metadata[] = {
	{ 0, A, "{'__metadata__':{'format':'pt','a':''},'t':" T8 "}", 8, NULL },
	{ 38, R, "{'__metadata__':{},'__metadata__':{},'t':" T8 "}", 8, "twice" },
	{ 39, R, "{'__metadata__':{'a':'1','a':'2'},'t':" T8 "}", 8, "twice" },
	{ 40, R, "{'__metadata__':{'a':1},'t':" T8 "}", 8, "a string is expected" },
	{ 41, R, "{'__metadata__':{'a':{'b':'c'}},'t':" T8 "}", 8, "a string is expected" },
	{ 42, R, "{'__metadata__':{'a':null},'t':" T8 "}", 8, "a string is expected" },
	{ 43, W, "{'__metadata__':null,'t':" T8 "}", 8, "null" },
	{ 44, R, "{'__metadata__':['a'],'t':" T8 "}", 8, "an object is expected" },
	{ 45, R, "{'__metadata__':" T8 "}", 8, "a string is expected" },
	{ 46, A, "{'__metadata__':{'format':'pt'}}", 0, NULL },
	{ 47, A, "{}", 0, NULL },
	{ 48, R, "{}", 8, "belong to no tensor" },
	{ 48, R, "{'__metadata__':{'format':'pt'}}", 8, "belong to no tensor" },
};

static const struct fixture entries[] = {
	{ 37, R, "{'t':{'dtype':'F32'," BODY "}}", 8, "twice" },
	{ 37, R, "{'t':{" BODY ",'shape':[2]}}", 8, "twice" },
	{ 49, L, "{'t':{'dtype':'F7','shape':[2],'data_offsets':[0,8]}}", 8, "F7" },
	{ 49, L, "{'t':{'dtype':'Q8_0','shape':[32],'data_offsets':[0,34]}}", 34, "Q8_0" },
	{ 50, R, "{'t':{'dtype':'f32','shape':[2],'data_offsets':[0,8]}}", 8, "F32" },
	{ 51, R, "{'t':{'dtype':2,'shape':[2],'data_offsets':[0,8]}}", 8, "a string is expected" },
	{ 52, R, "{'t':['F32',[2],[0,8]]}", 8, "an object is expected" },
	{ 53, R, "{'t':{'dtype':{'F32':null},'shape':[2],'data_offsets':[0,8]}}", 8, NULL },
	{ 54, R, "{'t':{'shape':[2],'data_offsets':[0,8]}}", 8, "dtype is missing" },
	{ 55, R, "{'t':{'dtype':'F32','data_offsets':[0,8]}}", 8, "shape is missing" },
	{ 56, R, "{'t':{'dtype':'F32','shape':[2]}}", 8, "data_offsets is missing" },
	{ 57, W, "{'t':{" BODY ",'note':{'deep':[1,2,{}]}}}", 8, "\"note\"" },
	{ 57, W, "{'a':{'x':1,'dtype':'U8','shape':[1],'data_offsets':[0,1]},"
		 "'b':{'y':1,'dtype':'U8','shape':[1],'data_offsets':[1,2]}}", 2, ": 2, the first \"x\"" },
	{ 57, W, "{'t':{" BODY ",'x':1.7976931348623158e308}}", 8, "\"x\"" },
	{ 39, R, "{'t':{" BODY ",'x':[{'a':1,'\\u0061':1}]}}", 8, "twice" },
	{ 115, R, "{'t':null}", 0, NULL },
	{ 116, R, "{'__METADATA__':{'format':'pt'}}", 0, "is missing" },
	{ 0, A, "{'t':{'data_offsets':[0,8],'shape':[2],'dtype':'F32'}}", 8, NULL },
	{ 0, R, "{'t':{'Dtype':'F32','shape':[2],'data_offsets':[0,8]}}", 8, "dtype is missing" },
};

static const struct fixture shapes[] = {
	{ 58, R, SHAPE("F32", "[-2]", 0, 8), 8, "without sign" },
	{ 59, R, SHAPE("F32", "[2.0]", 0, 8), 8, "whole number" },
	{ 60, R, SHAPE("F32", "[2e0]", 0, 8), 8, "whole number" },
	{ 61, R, SHAPE("F32", "['2']", 0, 8), 8, "a number is expected" },
	{ 62, R, SHAPE("F32", "null", 0, 8), 8, "an array is expected" },
	{ 62, R, SHAPE("F32", "[null]", 0, 8), 8, "a number is expected" },
	{ 63, R, SHAPE("F32", "[-0]", 0, 0), 0, "without sign" },
	{ 64, R, SHAPE("F32", "[02]", 0, 8), 8, "leading zero" },
	{ 65, R, SHAPE("U8", "[0,18446744073709551616]", 0, 0), 0, "64 bits" },
	{ 66, W, SHAPE("U8", "[9007199254740993,0]", 0, 0), 0, NULL },
	{ 66, W, SHAPE("U8", "[0,9007199254740993]", 0, 0), 0, NULL },
	{ 66, R, SHAPE("U8", "[9007199254740993]", 0, 8), 8, "9007199254740993" },
	{ 66, W, SHAPE("U8", "[0,288230376151711743]", 0, 0), 0, NULL },
	{ 66, R, SHAPE("U8", "[0,288230376151711744]", 0, 0), 0, "too many" },
	{ 66, R, SHAPE("U8", "[288230376151711744,0]", 0, 0), 0, "too many" },
	{ 67, R, SHAPE("U8", "[4294967296,4294967296]", 0, 0), 0, "64 bits" },
	{ 68, R, SHAPE("U8", "[4294967296,4294967296,4]", 0, 0), 0, "64 bits" },
	{ 69, R, SHAPE("F64", "[1073741824,2147483648]", 0, 0), 0, "too many" },
	{ 69, R, SHAPE("F32", "[4611686018427387904]", 0, 0), 0, "too many" },
	{ 70, R, SHAPE("U8", "[2305843009213693952]", 0, 0), 0, "too many" },
	{ 71, R, SHAPE("U8", "[0,18446744073709551615]", 0, 0), 0, "64 bits" },
	{ 71, R, SHAPE("U8", "[0,18446744073709551615,18446744073709551615]", 0, 0), 0, "64 bits" },
	{ 71, R, SHAPE("U8", "[0,4611686018427387904,4611686018427387904]", 0, 0), 0, "64 bits" },
	{ 72, R, SHAPE("U8", "[18446744073709551615,2,0]", 0, 0), 0, "64 bits" },
	{ 72, R, SHAPE("U8", "[4294967296,4294967296,0]", 0, 0), 0, "64 bits" },
	{ 73, A, SHAPE("F32", "[]", 0, 4), 4, NULL },
	{ 74, A, SHAPE("F32", "[3,0,5]", 0, 0), 0, NULL },
	{ 114, R, SHAPE("F32", "[true]", 0, 4), 4, "a number is expected" },
	{ 75, A, SHAPE("U8", "[1,1,2,1,1,1,1,1]", 0, 2), 2, NULL },
	{ 75, L, SHAPE("U8", "[1,1,2,1,1,1,1,1,1]", 0, 2), 2, "8 dimensions" },
};

static const struct fixture offsets[] = {
	{ 77, R, OFFSETS("[0,8,8]"), 8, "more than two" },
	{ 78, R, OFFSETS("[0]"), 8, "1 numbers" },
	{ 78, R, OFFSETS("[]"), 8, "0 numbers" },
	{ 79, R, OFFSETS("[8,0]"), 8, "before" },
	{ 80, R, OFFSETS("[-8,0]"), 8, NULL },
	{ 81, R, OFFSETS("[8,16]"), 16, "hole" },
	{ 82, R, "{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},"
		 "'b':{'dtype':'U8','shape':[4],'data_offsets':[8,12]}}", 12, "hole" },
	{ 83, R, "{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},"
		 "'b':{'dtype':'U8','shape':[4],'data_offsets':[2,6]}}", 6, "overlap" },
	{ 84, R, "{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},"
		 "'b':{'dtype':'U8','shape':[4],'data_offsets':[0,4]}}", 4, "overlap" },
	{ 85, R, OFFSETS("[0,8]"), 9, "belong to no tensor" },
	{ 86, R, OFFSETS("[0,8]"), 6, "6 bytes of data" },
	{ 87, R, OFFSETS("[0,8]"), 0, "0 bytes of data" },
	{ 88, R, OFFSETS("[0,4]"), 4, "ask for 8" },
	{ 89, R, OFFSETS("[0,12]"), 12, "ask for 8" },
	{ 90, R, OFFSETS("[16,24]"), 8, "8 bytes of data" },
	{ 91, R, OFFSETS("[0,18446744073709551615]"), 8, "8 bytes of data" },
	{ 91, R, OFFSETS("[18446744073709551607,18446744073709551615]"), 8, "8 bytes of data" },
	{ 91, R, OFFSETS("[0,18446744073709551624]"), 8, "64 bits" },
	{ 92, A, "{'b':{'dtype':'U8','shape':[4],'data_offsets':[4,8]},"
		 "'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]}}", 8, NULL },
	{ 93, A, "{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]},"
		 "'b':{'dtype':'F32','shape':[1],'data_offsets':[1,5]}}", 5, NULL },
	{ 94, A, "{'t':" T8 "} ", 8, NULL },
	{ 99, A, "{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},"
		 "'e':{'dtype':'U8','shape':[0],'data_offsets':[4,4]},"
		 "'b':{'dtype':'U8','shape':[4],'data_offsets':[4,8]}}", 8, NULL },
	{ 99, A, "{'b':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},"
		 "'e':{'dtype':'U8','shape':[0],'data_offsets':[0,0]},"
		 "'f':{'dtype':'U8','shape':[0],'data_offsets':[4,4]}}", 4, NULL },
	{ 100, R, "{'a':{'dtype':'U8','shape':[8],'data_offsets':[0,8]},"
		  "'e':{'dtype':'U8','shape':[0],'data_offsets':[4,4]}}", 8, "overlap" },
	{ 101, R, "{'a':{'dtype':'U8','shape':[8],'data_offsets':[0,8]},"
		  "'e':{'dtype':'U8','shape':[0],'data_offsets':[16,16]}}", 8, NULL },
	{ 95, R, SHAPE("F4", "[3]", 0, 2), 2, "whole number of bytes" },
	{ 95, R, SHAPE("F4", "[3]", 0, 1), 1, "whole number of bytes" },
	{ 96, A, SHAPE("F4", "[2,3]", 0, 3), 3, NULL },
	{ 97, R, SHAPE("F6_E2M3", "[3]", 0, 3), 3, "whole number of bytes" },
	{ 98, A, SHAPE("F6_E3M2", "[2,2]", 0, 3), 3, NULL },
};

static void check_table(const struct fixture *c, size_t n)
{
	char header[1024];

	for (; n-- > 0; c++) {
		size_t len = strlen(c->header);
		for (size_t i = 0; i < len; i++)
			header[i] = c->header[i] == '\'' ? '"' : c->header[i];
		write_shard(header, len, c->data_bytes);
		check_file(c->number, c->want, c->why, 8 + len + c->data_bytes);
		if (c->want == A || c->want == W)
			check_cuts(8 + len + c->data_bytes);
	}
}

static void test_encoding(void)
{
	check_table(encoding, COUNT(encoding));
	write_shard("{'t':1}", 7, 0);		/* single quotes */
	check_file(27, R, NULL, 0);
	char padded[ONE + 4] = { 0 };		/* padded with NUL instead of spaces */
	memcpy(padded, one, ONE);
	write_shard(padded, sizeof padded, 8);
	check_file(30, R, "after the end", 0);
}

static void test_names(void)
{
	check_table(names, COUNT(names));
	write_shard("{\"a\0b\":1}", 9, 0);	/* NUL as it is */
	check_file(103, R, "control byte", 0);
}

static void test_metadata(void)
{
	check_table(metadata, COUNT(metadata));
}

static void test_entries(void)
{
	check_table(entries, COUNT(entries));
}

static void test_shapes(void)
{
	check_table(shapes, COUNT(shapes));
}

static void test_offsets(void)
{
	check_table(offsets, COUNT(offsets));
}

/* before + n times unit + after as a header. */
static void check_long(int number, enum verdict want, const char *why, const char *before,
		       const char *unit, size_t times, const char *after, uint64_t data_bytes)
{
	size_t u = strlen(unit), n = strlen(before) + times * u + strlen(after);
	char *p = malloc(n + 1), *w = p;

	w = stpcpy(w, before);
	for (size_t i = 0; i < times; i++, w += u)
		memcpy(w, unit, u);
	stpcpy(w, after);
	write_shard(p, n, data_bytes);
	check_file(number, want, why, 8 + n + data_bytes);
	free(p);
}

static void test_long_headers(void)
{
	static const char tail[] = "],\"data_offsets\":[0,1]}}";
	static const char head[] = "{\"t\":{\"dtype\":\"U8\",\"shape\":[1";
	static const char odd[] = "{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":";
	static const char rest[] = "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
	char close[256] = { 0 };

	check_long(75, L, "8 dimensions", head, ",1", 63, tail, 1);
	check_long(76, L, "8 dimensions", head, ",1", 99999, tail, 1);
	check_long(108, L, "1024", "{\"", "n", 65536, rest, 8);
	check_long(108, L, "1024", "{\"", "n", 1025, rest, 8);
	check_long(108, A, NULL, "{\"", "n", 1024, rest, 8);
	memset(close, ']', 30);
	memcpy(close + 30, "}}", 3);
	check_long(109, W, "\"x\"", odd, "[", 30, close, 8);
	check_long(109, L, "deeper than 32", odd, "[", 120, "", 8);
	check_long(110, L, "deeper than 32", odd, "{\"a\":", 1000, "", 8);
	check_long(111, L, "deeper than 32", odd, "[", 100000, "", 8);
	check_long(111, R, NULL, "", "[", 100000, "", 8);
}

static void test_ends_that_wrap(void)
{
	char header[2048], *w = header;

	*w++ = '{';
	for (uint64_t i = 0; i < 9; i++) {
		uint64_t step = UINT64_C(1) << 61, end = i < 8 ? (i + 1) * step - (i == 7) : 7;
		w += snprintf(w, 200, "\"t%" PRIu64 "\":{\"dtype\":\"U8\",\"shape\":[%" PRIu64 "],"
			      "\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]},", i, step, i * step, end);
	}
	w[-1] = '}';
	write_shard(header, (size_t)(w - header), 8);
	check_file(130, R, "8 bytes of data", 0);
}

static void test_every_dtype(void)
{
	static const struct { const char *name, *shape; unsigned bytes; enum dtype t; } all[] = {
		{ "F4", "[4]", 2, DT_F4 }, { "F6_E2M3", "[4]", 3, DT_F6_E2M3 },
		{ "F6_E3M2", "[4]", 3, DT_F6_E3M2 }, { "BOOL", "[4]", 4, DT_BOOL },
		{ "U8", "[4]", 4, DT_U8 }, { "I8", "[4]", 4, DT_I8 },
		{ "F8_E5M2", "[4]", 4, DT_F8_E5M2 }, { "F8_E4M3", "[4]", 4, DT_F8_E4M3 },
		{ "F8_E8M0", "[4]", 4, DT_F8_E8M0 }, { "F8_E4M3FNUZ", "[4]", 4, DT_F8_E4M3FNUZ },
		{ "F8_E5M2FNUZ", "[4]", 4, DT_F8_E5M2FNUZ }, { "I16", "[4]", 8, DT_I16 },
		{ "U16", "[4]", 8, DT_U16 }, { "F16", "[4]", 8, DT_F16 }, { "BF16", "[4]", 8, DT_BF16 },
		{ "I32", "[4]", 16, DT_I32 }, { "U32", "[4]", 16, DT_U32 }, { "F32", "[4]", 16, DT_F32 },
		{ "C64", "[4]", 32, DT_C64 }, { "F64", "[4]", 32, DT_F64 }, { "I64", "[4]", 32, DT_I64 },
		{ "U64", "[4]", 32, DT_U64 },
	};
	char header[200];

	CHECK(COUNT(all) == 22);
	for (int i = 0; i < 22; i++) {
		struct st_header h;
		struct log notes = { 0 };
		struct err e;
		size_t n = (size_t)snprintf(header, sizeof header, "{\"t\":{\"dtype\":\"%s\",\"shape\":%s,"
					    "\"data_offsets\":[0,%u]}}", all[i].name, all[i].shape,
					    all[i].bytes);
		write_shard(header, n, all[i].bytes);
		check_file(200 + i, A, NULL, 8 + n + all[i].bytes);
		CHECK(read_file(&h, &notes, &e) == OK && h.tensors[0].dtype == all[i].t);
		CHECK(st_elements(&h.tensors[0]) == 4 && h.tensors[0].bytes == all[i].bytes);
		st_close(&h);
		write_shard(header, n, all[i].bytes + 1u);
		check_file(200 + i, R, NULL, 0);
	}
	/* what is in the bytes is not the container's business: BOOL 2 */
	static const char boolean[] = "{\"t\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[0,1]}}";
	uint8_t p[8 + sizeof boolean];
	store_le(p, 8, sizeof boolean - 1);
	memcpy(p + 8, boolean, sizeof boolean - 1);
	p[sizeof p - 1] = 2;
	write_file(p, sizeof p, sizeof p);
	check_file(117, A, NULL, sizeof p);
}

/* ---- files that are something else --------------------------------------------------------- */

static void test_other_files(void)
{
#define OTHER(lit) lit, sizeof(lit) - 1
	static const struct { int number; const char *p; size_t n; const char *why; } all[] = {
		{ 140, OTHER("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\n"
			     "size 1073741824\n"), "git lfs pull" },
		{ 141, OTHER("<!DOCTYPE html><html><body>404</body></html>"), "web page" },
		{ 141, OTHER("\n<html lang=en>"), "web page" },
		{ 141, OTHER("\xef\xbb\xbf" "<?xml version=\"1.0\"?><Error/>"), "XML" },
		{ 141, OTHER("{\"error\":\"Repository not found\"}"), "JSON" },
		{ 141, OTHER("{\n  \"error\": 1\n}"), "JSON" },
		{ 142, OTHER("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56*"), "gzip" },
		{ 142, OTHER("\x1f\x8b\x08\x08\xf1\x22\x33\x44\x00\x03" "a.bin"), "gzip" },
		{ 142, OTHER("PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00\x00\x00" "archive/data.pkl"),
		  "zip" },
		{ 142, OTHER("\x80\x02\x8a\nl\xfc\x9c" "F\xf9 j\xa8P\x19.\x80\x02M"), "pickle" },
		{ 142, OTHER("\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94."), "pickle" },
		{ 142, OTHER("GGUF\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), "GGUF" },
		{ 142, OTHER("\x28\xb5\x2f\xfd\x24\x00\x01\x00\x00\x00"), "Zstandard" },
		{ 143, OTHER("\0\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0"), "zeros" },
	};

	for (size_t i = 0; i < COUNT(all); i++) {
		write_file(all[i].p, all[i].n, all[i].n);
		check_file(all[i].number, R, all[i].why, 0);
		/* as large as a shard: the length must not be what decides */
		write_file(all[i].p, all[i].n, 3 << 20);
		check_file(all[i].number, R, all[i].why, 0);
	}
}

/* ---- properties --------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

/* Tensors of random sizes, some empty, in random order in the text: they come back in order of
 * their offsets, each with its own shape. */
static void test_any_order(void)
{
	enum { N = 300 };
	uint64_t seed = 5, begin[N + 1] = { 0 };
	unsigned order[N];

	for (int round = 0; round < 20; round++) {
		char *text = malloc(N * 120), *w = text;
		struct st_header h;
		struct log notes = { 0 };
		struct err e;
		for (unsigned i = 0; i < N; i++) {
			uint64_t size = next_random(&seed) % 4;
			begin[i + 1] = begin[i] + 2 * (size == 3 ? 0 : size);
			unsigned k = (unsigned)(next_random(&seed) % (i + 1));
			order[i] = order[k];
			order[k] = i;
		}
		*w++ = '{';
		for (unsigned k = 0; k < N; k++) {
			unsigned i = order[k];
			w += snprintf(w, 120, "\"t%u\":{\"dtype\":\"BF16\",\"shape\":[1,%" PRIu64 "],"
				      "\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]},", i,
				      (begin[i + 1] - begin[i]) / 2, begin[i], begin[i + 1]);
		}
		w[-1] = '}';
		uint64_t n = (uint64_t)(w - text);
		write_shard(text, n, begin[N]);
		free(text);
		CHECKF(read_file(&h, &notes, &e) == OK, "%s", e.msg);
		CHECK(h.n_tensors == N && h.data_off == 8 + n && is_sound(&h, 8 + n + begin[N]));
		for (size_t i = 0; i < h.n_tensors; i++) {
			const struct st_tensor *t = &h.tensors[i];
			unsigned id = (unsigned)strtoul(t->name + 1, NULL, 10);
			CHECK(id < N && t->off == h.data_off + begin[id]);
			CHECK(t->n_dims == 2 && t->shape[0] == 1 && t->dtype == DT_BF16);
			CHECK(t->shape[1] * 2 == t->bytes && t->bytes == begin[id + 1] - begin[id]);
		}
		st_close(&h);
		if (round == 0)
			check_cuts(8 + n + begin[N]);
	}
}

static const char sample[] =
	"{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"BF16\",\"shape\":[2,3],"
	"\"data_offsets\":[0,12]},\"b\":{\"dtype\":\"F8_E8M0\",\"shape\":[4],\"data_offsets\":[12,16]}}";
enum { SAMPLE = sizeof sample - 1, SAMPLE_DATA = 16, SAMPLE_FILE = 8 + SAMPLE + SAMPLE_DATA };

/* check_cuts went through what the tables accept; here what is too long, too. */
static void test_every_cut(void)
{
	uint8_t whole[SAMPLE_FILE] = { 0 };

	store_le(whole, 8, SAMPLE);
	memcpy(whole + 8, sample, SAMPLE);
	write_file(whole, sizeof whole, sizeof whole);
	check_file(0, A, NULL, sizeof whole);
	check_cuts(sizeof whole);
	for (size_t i = 1; i < 20; i++) {
		write_file(whole, sizeof whole, sizeof whole + i);
		check_file(0, R, NULL, 0);
	}
	CHECKF(n_cut >= 20, "%zu files", n_cut);
}

/* Whatever bit is flipped, what is accepted is sound. */
static void test_every_bit_flipped(void)
{
	uint8_t whole[SAMPLE_FILE] = { 0 };
	size_t n_accepted = 0;

	store_le(whole, 8, SAMPLE);
	memcpy(whole + 8, sample, SAMPLE);
	for (size_t i = 0; i < 8 * (8 + SAMPLE); i++) {
		struct st_header h;
		struct log notes = { 0 };
		struct err e = { 0 };
		whole[i / 8] ^= (uint8_t)(1 << i % 8);
		write_file(whole, sizeof whole, sizeof whole);
		if (read_file(&h, &notes, &e) == OK) {
			n_accepted++;
			CHECKF(is_sound(&h, sizeof whole), "bit %zu", i);
		}
		st_close(&h);
		log_close(&notes);
		whole[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	/* letters of names and metadata may change; numbers, types and brackets may not */
	CHECKF(n_accepted > 20 && n_accepted < 200, "%zu accepted", n_accepted);
}

/* ---- costs -------------------------------------------------------------------------------- */

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The largest resident size since the last call, in bytes; 0 where the kernel does not tell. */
static size_t peak_bytes(void)
{
	char line[200];
	size_t kib = 0;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "VmHWM: %zu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	if (!(f = fopen("/proc/self/clear_refs", "w")))
		return 0;
	fputs("5", f);
	return fclose(f) == 0 ? kib * 1024 : 0;
}

/* Reads the file in at most that many seconds and bytes; the sanitizers' costs are not ours. */
static void check_cost(int number, enum verdict want, const char *why, uint64_t file_size,
		       double most_seconds, size_t most_bytes)
{
	malloc_trim(0);
	size_t before = peak_bytes(), peak;
	before = peak_bytes();
	double start = seconds();

	check_file(number, want, why, file_size);
	start = seconds() - start;
	peak = peak_bytes();
	if (getenv("SHOW"))
		printf("ST-%03d %.2f s, %zu bytes\n", number, start, peak - before);
	if (FRUGAL)
		return;
	CHECKF(start <= most_seconds, "ST-%03d: %.2f s", number, start);
	CHECKF(!before || peak <= before + most_bytes, "ST-%03d: %zu bytes", number, peak - before);
}

/* A header as long as is allowed, all of it one array of zeros under an unknown key. */
static void test_header_of_zeros(void)
{
	static const char before[] = "{\"t\":{\"x\":[0";
	static const char after[] = "],\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
	size_t n = FRUGAL ? ST_MAX_HEADER / 10 : ST_MAX_HEADER, at = sizeof before - 1;
	char *p = malloc(n);

	memcpy(p, before, at);
	for (; at + sizeof after + 1 < n; at += 2)
		memcpy(p + at, ",0", 2);
	memset(p + at, ' ', n - at);
	memcpy(p + at, after, sizeof after - 1);
	write_shard(p, n, 8);
	free(p);
	check_cost(131, W, "\"x\"", 8 + n + 8, 2.0, 2 * n);
	/* the same as an array in the root: refused at its first byte */
	p = malloc(n);
	for (at = 0; at < n; at += 2)
		memcpy(p + at, "0,", n - at < 2 ? n - at : 2);
	write_shard(p, n, 0);
	free(p);
	check_cost(131, R, NULL, 0, 1.0, 2 * n);
}

/* A million tensors, the order of their data reversed or shuffled. */
static void million(bool shuffled)
{
	enum { N = 1000000 };
	size_t n_text, n = FRUGAL ? N / 10 : N;
	char *p = malloc(n * 80), *w = p;

	*w++ = '{';
	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = shuffled ? i * 999983 % n : n - 1 - i;	/* a prime: each once */
		w += snprintf(w, 80, "\"t%07" PRIu64 "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":"
			      "[%" PRIu64 ",%" PRIu64 "]},", i, at, at + 1);
	}
	w[-1] = '}';
	n_text = (size_t)(w - p);
	write_shard(p, n_text, n);
	free(p);
	check_cost(132, A, NULL, 8 + n_text + n, 2.0, 3 * n_text);
}

static void test_million_tensors(void)
{
	million(false);
	million(true);
}

/* A copy of the sample's config.json beside the shard, so that the program goes on to its tensors. */
static bool put_config(char to[80])
{
	char text[8192];
	FILE *from = fopen("samples/v4-tiny/config.json", "rb"), *f;
	size_t n = from ? fread(text, 1, sizeof text, from) : 0;

	snprintf(to, 80, "%s/config.json", dir);
	f = n ? fopen(to, "wb") : NULL;
	if (from)
		fclose(from);
	return f && fwrite(text, 1, n, f) == n && fclose(f) == 0;
}

static void test_through_the_program(void)
{
	hostile_report("shards", 150);
}

int main(void)
{
	char config[80];

	if (!mkdtemp(dir) || !put_config(config))
		return 1;
	snprintf(path, sizeof path, "%s/model.safetensors", dir);
	RUN(test_framing);
	RUN(test_encoding);
	RUN(test_names);
	RUN(test_metadata);
	RUN(test_entries);
	RUN(test_shapes);
	RUN(test_offsets);
	RUN(test_long_headers);
	RUN(test_ends_that_wrap);
	RUN(test_every_dtype);
	RUN(test_other_files);
	RUN(test_any_order);
	RUN(test_every_cut);
	RUN(test_every_bit_flipped);
	RUN(test_header_of_zeros);
	RUN(test_million_tensors);
	RUN(test_through_the_program);
	unlink(path);
	unlink(config);
	rmdir(dir);
	return test_done();
}
