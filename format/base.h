/* SPDX-License-Identifier: MIT
 *
 * base.h - what every file stands on: status and error text, checked sizes, bounded reading,
 * files, output files, digests, JSON.
 *
 * Sections follow the .c files: err, file, archive, lock, output, scratch, digest, json. Nothing here knows a
 * model or its container. Nothing here prints, exits or aborts.
 */
#ifndef FORMAT_BASE_H
#define FORMAT_BASE_H

#define INGOT_VERSION "0.1.0"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Formats here are little-endian, and so is every machine this is built for. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a little-endian machine");

/* ---- err.c: status, error text, lines of notes --------------------------------------- */

enum status {
	OK = 0,
	ERR_MISMATCH,		/* damaged, differs, outside a gate: exit 1 */
	ERR_USAGE,		/* the command line is wrong: exit 2 */
	ERR_FORMAT,		/* the input breaks its format: exit 3 */
	ERR_UNSUPPORTED,	/* valid, but not what this program reads; or over a limit: exit 3 */
	ERR_IO,			/* the operating system refused: exit 4 */
	ERR_NOMEM,		/* no memory, or not within --max-memory: exit 4 */
	ERR_NO_DIGEST,		/* a digest, seal or signature asked for is absent: exit 5 */
	ERR_BUSY,		/* the output is in use by another run: exit 6 */
	ERR_STOPPED,		/* ended by a signal: exit 128 + n */
};

/* One failure. The lowest level that knows what went wrong sets it, callers only err_wrap.
 * Text form: "FILE: WHAT (tensor NAME, bytes A..B): WHY; NEXT STEP", lower case, no full stop.
 * It may hold raw bytes from a hostile file: whoever prints it escapes them. */
struct err {
	enum status status;
	char msg[2048];
};

/* Sets e and returns s, so that a failing check is one line: return err_set(e, ERR_FORMAT, ...). */
enum status err_set(struct err *e, enum status s, const char *fmt, ...) PRINTF(3, 4);
/* ERR_IO, with ": strerror(errno)" appended and what helps against that: fmt has no next step of its own. */
enum status err_errno(struct err *e, const char *fmt, ...) PRINTF(2, 3);
/* Puts "context: " before the message already in e. Returns e->status. */
enum status err_wrap(struct err *e, const char *fmt, ...) PRINTF(2, 3);
/* Appends to the message already in e: the next step, where only a caller knows it. Returns e->status. */
enum status err_add(struct err *e, const char *fmt, ...) PRINTF(2, 3);
/* Gives e the next step of its status where the message has none (no "; "): for whoever shows it, last of all. What
 * is wrong with a command line only its reader knows. */
void err_finish(struct err *e);
/* A number that ends long work once it is not 0: a signal's, or less than 0 where the caller changed his mind. It may be
 * set from any thread or handler; NULL: nothing will. */
static inline bool stop_asked(const volatile int *stop)
{
	return stop && __atomic_load_n(stop, __ATOMIC_RELAXED) != 0;
}
/* ERR_STOPPED: by whom, and then what it means. */
enum status err_stopped(struct err *e, const volatile int *stop, const char *then);
int status_exit_code(enum status s);	/* by the contract in docs; ERR_STOPPED gives 128 */

/* The one macro with control flow. Needs a local `st` and a label `out`. */
#define TRY(expr) do { st = (expr); if (st != OK) goto out; } while (0)

/* Lines for a person that are not (or not alone) the error: warnings, lists of findings.
 * A zeroed log is empty, NULL takes nothing. Bounded: past LOG_MAX bytes lines are only counted. */
struct log { char *text; size_t len, cap; size_t n_lines, n_dropped; };
enum { LOG_MAX = 8 << 20 };
void log_add(struct log *l, const char *fmt, ...) PRINTF(2, 3);	/* no newline in fmt */
void log_close(struct log *l);

/* Copies src into dst (always terminated, cap >= 1), control bytes and invalid UTF-8 as \xNN.
 * Returns dst. For names on their way to a terminal. */
char *escape_text(char *dst, size_t cap, const char *src, size_t n);

/* A borrowed byte string; p need not be terminated unless its owner says so. */
struct str { const char *p; size_t n; };
#define STR(lit) ((struct str){ (lit), sizeof(lit) - 1 })
bool str_eq(struct str a, struct str b);
bool str_is(struct str a, const char *z);

/* ---- checked sizes: every size that comes from a file passes here ---------------------- */

static inline MUST_USE bool u64_add(uint64_t a, uint64_t b, uint64_t *r)
{
	return !__builtin_add_overflow(a, b, r);
}
static inline MUST_USE bool u64_mul(uint64_t a, uint64_t b, uint64_t *r)
{
	return !__builtin_mul_overflow(a, b, r);
}
/* r = a rounded up to a multiple of the power of two m */
static inline MUST_USE bool u64_round_up(uint64_t a, uint64_t m, uint64_t *r)
{
	uint64_t t;
	if (!u64_add(a, m - 1, &t))
		return false;
	*r = t & ~(m - 1);
	return true;
}
static inline uint64_t u64_min(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t u64_div_up(uint64_t a, uint64_t b) { return a / b + (a % b != 0); }

/* Zeroed memory for n objects of size bytes; NULL and e set (ERR_NOMEM) on overflow or
 * exhaustion. n may be 0 (returns non-NULL). what names the purpose in the message. */
void *mem_new(size_t n, size_t size, const char *what, struct err *e) MUST_USE;
/* Grows *p (of *cap objects) to hold at least want objects, amortized; new part not zeroed. */
enum status mem_grow(void **p, size_t *cap, size_t want, size_t size, const char *what,
		     struct err *e) MUST_USE;
char *mem_strdup(const char *s, struct err *e) MUST_USE;
/* Of a clock that only goes forward: for durations and progress, never for what is written. */
double clock_seconds(void);
/* "DIR/NAME", owned by the caller. */
char *path_join(const char *dir, const char *name, struct err *e) MUST_USE;
/* path and a suffix, owned by the caller. */
char *path_with(const char *path, const char *suffix, struct err *e) MUST_USE;

/* ---- bounded reading of little-endian fields ------------------------------------------- */

/* Reads from borrowed bytes [base, base + len). A read past the end returns 0 and sets bad
 * for good, so a parser reads a record and checks once. */
struct cursor { const uint8_t *base; size_t len, pos; bool bad; };

static inline const uint8_t *cur_bytes(struct cursor *c, uint64_t n)
{
	if (c->bad || n > c->len - c->pos) {
		c->bad = true;
		return NULL;
	}
	c->pos += (size_t)n;
	return c->base + c->pos - n;
}
static inline uint64_t load_le(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}
static inline void store_le(uint8_t *p, unsigned n, uint64_t v)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}
static inline uint64_t cur_le(struct cursor *c, unsigned n)
{
	const uint8_t *p = cur_bytes(c, n);
	return p ? load_le(p, n) : 0;
}

/* ---- file.c: reading --------------------------------------------------------------------*/

/* What a file was when it was opened; a difference later means it changed under us. */
struct file_id { uint64_t dev, ino, size; int64_t mtime_ns, ctime_ns; };
#define MTIME_UNKNOWN INT64_MIN		/* of what an archive does not say it of */
/* The same file with the same bytes, as far as can be told. ctime is left out: a hard link or chmod elsewhere changes it
 * and no byte. */
bool file_id_same(const struct file_id *a, const struct file_id *b);

/* An open regular file, or a range of one: a member of an archive, read where it lies. Offsets count from the
 * range's start. A zeroed struct is NOT closed (fd 0): start from FILE_NONE. */
struct file {
	int fd;
	char *path;		/* owned; of a member: ARCHIVE:MEMBER */
	struct file_id id;	/* of a member: those of the archive, but size, which is its own */
	struct file_id held;	/* of what fd is open on */
	uint64_t base;		/* where it starts in there */
	uint64_t have;		/* of a member: bytes that can be read; fewer than id.size if only a beginning is there */
	bool part;		/* a member */
};
#define FILE_NONE ((struct file){ .fd = -1 })

/* Opens name below directory dirfd (AT_FDCWD and a path are fine), read-only, regular files
 * only (no FIFO, device or directory is ever waited on). With follow false a symbolic link is
 * refused. path is what messages show. */
enum status file_open(struct file *f, int dirfd, const char *name, bool follow, const char *path,
		      struct err *e) MUST_USE;
/* Exactly n bytes at off, or an error that names the byte range. Thread-safe. */
enum status file_read(const struct file *f, void *buf, size_t n, uint64_t off, struct err *e) MUST_USE;
/* The same file, not changed since file_open (dev, inode, size, times), else ERR_IO. */
enum status file_unchanged(const struct file *f, struct err *e) MUST_USE;
/* The whole file, if it is at most limit bytes; *text is owned by the caller and has a NUL
 * after its *n bytes. */
enum status file_slurp(const struct file *f, uint64_t limit, char **text, size_t *n,
		       struct err *e) MUST_USE;
/* Bytes [base, base + have) of `in` as a file of its own, which says that it has size bytes and is called path, and counts as
 * changed when `of` does (in itself, or what `in` was unpacked from). Closed apart from both. */
enum status file_range(struct file *f, const struct file *in, const struct file *of, uint64_t base, uint64_t have, uint64_t size,
		       const char *path, struct err *e) MUST_USE;
void file_close(struct file *f);

/* ---- archive.c: a text, plain, compressed or in an archive -------------------------------*/

/* The text at path: a plain file, a gzip, zstd or xz file, or a file in a zip or a tar (which may
 * be compressed so). FILE:MEMBER names the file in an archive, where FILE exists and path itself
 * does not; without it the archive must hold exactly one. The kind is told by the first bytes.
 * More than limit bytes: ERR_UNSUPPORTED, more than max_memory: ERR_NOMEM. *text is owned by the
 * caller and has a NUL after its *n bytes; NULL on failure. */
enum status text_read(const char *path, uint64_t limit, uint64_t max_memory, char **text, size_t *n,
		      struct err *e) MUST_USE;
/* The same from an open file; member may be NULL. */
enum status text_from(const struct file *f, const char *member, uint64_t limit, uint64_t max_memory,
		      char **text, size_t *n, struct err *e) MUST_USE;

/* ---- lock.c: who works on a file ---------------------------------------------------------*/

struct lock { int fd; char *path; /* owned */ bool shared; };
#define LOCK_NONE ((struct lock){ .fd = -1 })
/* Makes the file at path and locks it, alone (and writes who) or shared with others; never waits. ERR_BUSY, with
 * the holder's name, if that cannot be; what is the file that messages speak of. To be dropped in every case. */
enum status lock_take(struct lock *l, const char *path, const char *what, bool shared, struct err *e) MUST_USE;
/* From alone to shared; false if another was faster: then it is not held. */
bool lock_share(struct lock *l) MUST_USE;
/* Whether somebody holds it alone now, and who, if that is known. */
bool lock_is_held(const char *path, char owner[200]);
/* Removes the file if nobody else holds it; safe on LOCK_NONE. */
void lock_drop(struct lock *l);

/* ---- output.c: a file that appears whole or not at all ----------------------------------*/

/* OUT is written as OUT.partial beside it, under a lock (OUT.lock), and gets its name by a
 * rename after everything is on the disk. Any number of threads may output_write. */
struct output {
	char *path, *partial;		/* owned */
	struct lock lock;
	int fd, direct_fd, dir_fd;
	uint64_t size;
	bool shared;			/* other processes write to it too: the partial file is never removed */
	bool force, kept;		/* kept: the partial file is an earlier run's */
	bool made;			/* ... or ours */
};
#define OUTPUT_NONE ((struct output){ .lock = LOCK_NONE, .fd = -1, .direct_fd = -1, .dir_fd = -1 })
/* Writes at offsets and from memory that are multiples of this go past the page cache. */
enum { OUTPUT_ALIGN = 4096 };

/* What becomes of a partial file that an earlier run left. */
enum leftover { LEFTOVER_REPLACE, LEFTOVER_REFUSE, LEFTOVER_KEEP,
		LEFTOVER_SHARE /* several processes write it, at once or one by one, each its own bytes */ };
/* Locks, creates the partial file (or opens what is left of it) and reserves size bytes on the disk (so
 * that a full disk shows now). Without force an existing path is refused; ERR_BUSY if another run
 * holds it. With LEFTOVER_KEEP, o->kept says whether there was a partial file of that size. With
 * LEFTOVER_SHARE the lock is shared, and what comes after is output_leave, not a commit. */
enum status output_open(struct output *o, const char *path, uint64_t size, bool force, enum leftover left,
			struct err *e) MUST_USE;
/* Everything written so far is on the disk when it returns OK. A failure is final: the kernel may have
 * dropped the pages. */
enum status output_sync(const struct output *o, struct err *e) MUST_USE;
/* n bytes at off. The part of it that is aligned in file and memory alike bypasses the page
 * cache where the file system allows. */
enum status output_write(const struct output *o, const void *buf, size_t n, uint64_t off,
			 struct err *e) MUST_USE;
/* fsync, rename (never over an existing file unless force), directory fsync, unlock, close. */
enum status output_commit(struct output *o, struct err *e) MUST_USE;
/* Removes the partial file and the lock; safe after commit and on OUTPUT_NONE. */
void output_abandon(struct output *o);
/* The same, but the partial file stays for another run. */
void output_leave(struct output *o);

/* ---- scratch.c: a file without a name ---------------------------------------------------*/

/* A zeroed struct is NOT closed (fd 0): start from SCRATCH_NONE. */
struct scratch { int fd; char *dir; /* owned */ };
#define SCRATCH_NONE ((struct scratch){ .fd = -1 })
/* size bytes of zeros in the folder of path `beside`; they take room as they are written. */
enum status scratch_open(struct scratch *s, const char *beside, uint64_t size, struct err *e) MUST_USE;
enum status scratch_read(const struct scratch *s, void *buf, size_t n, uint64_t off, struct err *e) MUST_USE;
enum status scratch_write(const struct scratch *s, const void *buf, size_t n, uint64_t off, struct err *e) MUST_USE;
void scratch_close(struct scratch *s);

/* ---- digest.c: SHA-256 and git's blob id ------------------------------------------------*/

enum { SHA256_BYTES = 32, SHA1_BYTES = 20 };

struct sha256 { void *ctx; };	/* zeroed = closed; owned by one thread at a time */
enum status sha256_open(struct sha256 *h, struct err *e) MUST_USE;
void sha256_start(struct sha256 *h);			/* as new; may be repeated */
void sha256_add(struct sha256 *h, const void *p, size_t n);
void sha256_end(struct sha256 *h, uint8_t out[SHA256_BYTES]);
void sha256_close(struct sha256 *h);

/* What a digest in text says it is. */
enum digest_kind { DIGEST_NONE, DIGEST_SHA256, DIGEST_GIT_BLOB };
struct digest { enum digest_kind kind; uint8_t bytes[SHA256_BYTES]; };
/* 64 hex digits = SHA-256, 40 = git blob id (SHA-1 over "blob SIZE\0" + bytes); false else. */
bool digest_parse(struct digest *d, struct str hex);
bool digest_eq(const struct digest *a, const struct digest *b);
/* Hex, terminated; buf of 65 bytes. Returns buf. */
char *digest_text(const struct digest *d, char buf[65]);
char *sha256_text(const uint8_t sha256[SHA256_BYTES], char buf[65]);
/* The digest of that kind over a whole open file, in bounded memory. sha256 (may be NULL)
 * also receives the SHA-256 when kind is DIGEST_GIT_BLOB, from the same read. */
enum status digest_file(const struct file *f, enum digest_kind kind, struct digest *d,
			uint8_t sha256[SHA256_BYTES], struct err *e) MUST_USE;
/* The same of a file that may be long: bytes are added to *done (atomically) as they are read, and it ends with
 * ERR_STOPPED soon after *stop is not 0. Either may be NULL. */
struct digest_watch { uint64_t *done; volatile int *stop; };
enum status digest_watched(const struct file *f, enum digest_kind kind, struct digest *d, uint8_t sha256[SHA256_BYTES],
			   const struct digest_watch *w, struct err *e) MUST_USE;

/* ---- sums.c: small files beside an output --------------------------------------------------*/

/* A whole small file, as an output: complete or not there. */
enum status text_write(const char *path, const char *text, bool force, struct err *e) MUST_USE;
/* PATH.SHA256SUMS with the one line that says d of path's base name. */
enum status sums_write(const char *path, const struct digest *d, bool force, struct err *e) MUST_USE;

/* ---- json.c: strict pull reader over text in memory -------------------------------------*/

/* For the untrusted, large inputs: shard headers, index, tokenizer. RFC 8259 without any
 * leniency: UTF-8 is checked, duplicate keys of one object are refused (compared after
 * unescaping), no NUL or lone surrogate in strings, integers exact, depth bounded, nothing but
 * white space after the value, no byte order mark. Memory: the caller's text, which is unescaped
 * in place and so is CONSUMED, plus at most as much again.
 *
 * The caller pulls; any call that does not fit sets the error, after which every call returns
 * false or 0, so a parser reads like a schema and checks once:
 *
 *	json_open(&j, text, n, 32, path);
 *	if (json_object(&j))
 *		while (json_key(&j, &key))
 *			if (str_is(key, "shape")) ... else json_skip(&j);
 *	st = json_close(&j, e);
 */
struct json_frame { size_t keys_from; bool object, first; };
enum { JSON_MAX_DEPTH = 64 };
struct json {
	char *text;			/* borrowed, changed in place */
	size_t len, pos;
	const char *path;		/* borrowed, for messages */
	unsigned depth, max_depth;
	struct json_frame frame[JSON_MAX_DEPTH];
	void *keys;			/* owned: sets of the keys seen in open objects */
	bool have_value;
	struct err err;			/* status OK until the first failure */
};
enum json_type { JSON_BAD, JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

void json_open(struct json *j, char *text, size_t len, unsigned max_depth, const char *path);
enum json_type json_peek(struct json *j);		/* type of the value that comes next */
bool json_object(struct json *j);			/* enter */
bool json_key(struct json *j, struct str *key);		/* next key, or leave and return false */
bool json_array(struct json *j);
bool json_item(struct json *j);				/* is there a next item; else leaves */
bool json_string(struct json *j, struct str *s);	/* into the text: lives as long as it, NUL after */
bool json_u64(struct json *j, uint64_t *v);		/* digits only: no sign, point or exponent */
bool json_i64(struct json *j, int64_t *v);		/* "-0" is refused */
bool json_double(struct json *j, double *v);		/* any JSON number that is finite */
bool json_bool(struct json *j, bool *v);
bool json_null(struct json *j);
void json_skip(struct json *j);				/* any value, checked as strictly */
/* Fails the reader with a message of the caller's that gets path and byte offset in front. */
void json_fail(struct json *j, enum status s, const char *fmt, ...) PRINTF(3, 4);
/* Nothing may follow. Frees, and returns the first error (copied to e). */
enum status json_close(struct json *j, struct err *e) MUST_USE;

#endif
