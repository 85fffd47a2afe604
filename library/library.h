/* SPDX-License-Identifier: MIT
 *
 * library.h - private to library/: what every public call goes through.
 *
 * A public call is call_open, the work in the library's own terms (enum status, struct err), call_close.
 */
#ifndef LIBRARY_LIBRARY_H
#define LIBRARY_LIBRARY_H

#include "format/format.h"
#include "library/ingot.h"

struct call {
	struct ingot_run run;		/* with defaults filled in */
	struct ingot_stop own;		/* where the caller gave none */
	volatile int *stop;
	struct log notes;
	struct err err;
	const char *step;
	struct source_options from;	/* how an archive is unpacked: until stop is set */
};
enum status call_open(struct call *c, const struct ingot_run *run) MUST_USE;
/* Gives the notes and the error; returns the code. */
int call_close(struct call *c, enum status st, struct ingot_error *e);
/* For the options of the work below: arg is the call. */
void call_step(void *arg, const char *name, uint64_t bytes);
void call_progress(void *arg, uint64_t done, uint64_t total, const char *what);

/* Copies what the caller's version of a structure has of ours (own, n bytes); given NULL: zeroes. ERR_USAGE where his is
 * longer and says something that this library does not know. */
enum status options_take(void *own, size_t n, const void *given, struct err *e) MUST_USE;
/* As much of a result as the caller has room for; INGOT_USAGE for a size of 0. */
int result_give(void *to, const void *own, size_t n);

/* Texts that live as long as a handle, escaped. Zeroed = none. */
struct texts { void **list; size_t n, cap; bool failed; };
/* Never NULL: "" where there is no memory, which texts_check tells. */
const char *texts_add(struct texts *t, struct str s);
const char *texts_addz(struct texts *t, const char *s);
const char *texts_hex(struct texts *t, const uint8_t sha256[SHA256_BYTES]);
enum status texts_check(const struct texts *t, struct err *e) MUST_USE;
void texts_close(struct texts *t);

#endif
