/* SPDX-License-Identifier: MIT
 *
 * store.h - weights in memory, private to runtime/: disk.c reads, store.c keeps, feed.c says what
 * comes next.
 */
#ifndef RUNTIME_STORE_H
#define RUNTIME_STORE_H

#include "runtime/runtime.h"

/* ---- disk.c ---- */

enum { DISK_ALIGN = 4096 };
struct disk { int *direct; size_t n; };	/* owned; a descriptor a file, or -1. Zeroed = closed */
enum status disk_open(struct disk *d, const struct file *const *files, size_t n, struct err *e) MUST_USE;
void disk_close(struct disk *d);
/* n bytes at off of file f, number i of d (NULL: none). buf is aligned to DISK_ALIGN and has room for
 * n + 2 * DISK_ALIGN; the bytes are from *at on. Thread-safe. */
enum status disk_read(const struct disk *d, size_t i, const struct file *f, uint8_t *buf, size_t n, uint64_t off,
		      const uint8_t **at, struct err *e) MUST_USE;

/* ---- weights.c ---- */

/* Binds one tensor of a GGUF; what is wrong becomes a line of problems. */
void weight_check(const struct model *m, const struct want *want, struct log *problems);
/* weight_raw, always from the files. */
enum status weight_fetch(const struct weight *w, uint64_t matrix, uint64_t r0, uint64_t r1, struct rows *out,
			 struct weight_scratch *s, struct err *e) MUST_USE;
/* What weight_fetch keeps rows of a matrix in: their bytes in the first type it tries, and whether
 * they are made (in s->made) or as in the file (in s->raw). */
enum status weight_kept(const struct weight *w, uint64_t matrix, uint64_t n_rows, uint64_t *bytes, bool *made,
			struct err *e) MUST_USE;
/* Page-aligned memory outside the heap, so that freeing it gives it back. n > 0. */
uint8_t *pages_new(size_t n);
void pages_free(uint8_t *p, size_t n);
/* Number of a want in m->wants, or SIZE_MAX where the architecture has none. */
size_t weight_index(const struct model *m, enum role role, uint32_t layer);

/* ---- store.c ---- */

enum { STORE_PIECE = 16 << 20 };
/* Closed; matrices are divided into runs of rows of about `piece` bytes. */
enum status store_new(struct store **s, const struct model *m, uint64_t piece, struct err *e) MUST_USE;
void store_free(struct store *s);
uint64_t store_table_bytes(const struct store *s);	/* memory of what describes the units */
/* Counts bytes that were read. */
void store_count(struct store *s, uint64_t n);
enum { STORE_READERS = 2 };
enum unit_state { UNIT_ABSENT, UNIT_LOADING, UNIT_READY, UNIT_FAILED };
/* Rows of one matrix that come and go together. Times count layers, see struct store; 0: never. */
struct unit {
	uint8_t *buf;			/* owned; (cap) */
	size_t cap;
	struct rows rows;		/* as read, or packed */
	uint64_t used, wanted;		/* last, and announced for */
	uint64_t turn;			/* place in the order of announcements */
	uint32_t shelf, matrix, piece;
	uint32_t place;			/* in store.resident */
	uint16_t pins;
	uint8_t state;			/* enum unit_state */
};
/* The units of one want: matrices x pieces, from first on. None: read where it is used. */
struct shelf {
	size_t first;
	uint64_t n_matrices, n_pieces, piece_rows, bytes;	/* bytes of the largest unit in memory */
	uint32_t layer;			/* an MTP block's is n_layer, root tensors' the one after it */
	bool experts, made;
};
struct buffer { uint8_t *p; size_t cap; };
struct reader { struct store *store; pthread_t thread; struct weight_scratch scratch; };
enum { MAX_SPARES = 64 };

/* Time counts layers: pass * n_layers + layer, from pass 1 on. */
struct store {
	const struct model *m;
	struct shelf *shelves;		/* owned; one a want */
	struct unit *units;		/* owned */
	size_t n_units;
	uint64_t piece;			/* bytes of rows from which on a matrix is divided */
	uint64_t all, unit, scratch;	/* bytes: all units, the largest, a reader's own buffers */
	bool open, quit;
	pthread_mutex_t mutex;		/* over all below */
	pthread_cond_t work, done;	/* for the readers; for the run */
	struct reader readers[STORE_READERS];
	unsigned n_started, n_loading;
	struct disk disk;
	uint64_t budget, held;		/* bytes of buffers: may be, are */
	size_t *resident, n_resident;	/* owned; units with a buffer */
	struct buffer spares[MAX_SPARES];	/* to be used again */
	size_t n_spares;
	size_t *agenda, n_agenda, cap_agenda, next;	/* owned; units in the order they will be wanted */
	size_t demand;			/* the unit that the run waits for, or UNIT_NONE */
	bool refused;			/* there is no room for it */
	bool starved;			/* a reader found no room */
	bool packs;			/* BF16 that was FP8 is kept as that */
	uint64_t time, turn;
	uint32_t layer, n_layers;	/* now; of a pass */
	bool routed;			/* experts of this time are known */
	size_t failed;			/* unit of err */
	struct err err;
	double wait_seconds, read_seconds, reading_since;
	_Atomic uint64_t read_bytes;
};
#define UNIT_NONE SIZE_MAX

/* ---- feed.c ---- */

/* When unit u is wanted next, as far as can be told. Under the mutex. */
uint64_t feed_due(const struct store *s, const struct unit *u);

#endif
