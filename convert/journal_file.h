/* SPDX-License-Identifier: MIT
 *
 * journal_file.h - private to journal.c, which writes the file, and resume.c, which reads it.
 */
#ifndef CONVERT_JOURNAL_FILE_H
#define CONVERT_JOURNAL_FILE_H

#include <pthread.h>

#include "convert/journal.h"

#define JOURNAL_MAGIC "INGOTJN1"
enum { JOURNAL_HEAD = 44, RECORD_EXTRA = 12, CHUNK_BYTES = 12 + SHA256_BYTES };
enum record_kind {
	RECORD_FILE = 1,	/* number u32, size u64, mtime u64, inode u64: a source file when the run began */
	RECORD_TILE,		/* aux tensor u32, tile u64, digest */
	RECORD_CHUNKS,		/* (output u32, chunk u64, digest) ... */
	RECORD_SHARD,		/* number u32, SHA-256 of the whole shard, which was as expected */
	RECORD_SEALED,		/* output u32, digest of its finished header */
};
struct done_chunk { uint32_t output; uint64_t chunk; };
struct done_shard { uint32_t shard; uint8_t sha256[SHA256_BYTES]; };
struct journal {
	char *path, *fresh;			/* owned; fresh is where a new one is built */
	int fd;
	bool started;				/* it has its name */
	struct aux *aux;			/* borrowed */
	uint8_t plan_sha256[SHA256_BYTES];
	uint64_t every;				/* bytes of output between two flushes */
	uint8_t *batch;				/* owned; records to be written; under flushing */
	size_t batch_n, batch_cap;
	uint64_t n_claimed;			/* chunks that the file names; under flushing */
	size_t n_shards_put;			/* under flushing */
	bool broken;				/* a flush failed; under flushing */
	pthread_mutex_t flushing;		/* taken before lock */
	pthread_mutex_t lock;			/* over what has gathered: */
	struct done_chunk *done;		/* owned */
	size_t n_done, cap_done;
	struct done_shard *shards;		/* owned; all of this run */
	size_t n_shards, cap_shards;
	uint64_t waiting;			/* bytes of `done` */
	double flushed_at;
};
uint32_t journal_crc(const void *p, size_t n);

#endif
