/* SPDX-License-Identifier: MIT
 *
 * parts.h - one output made by several runs, on one machine or many. Private to convert/.
 *
 * OUT.parts says of which plan and how many shares; it is there from the first part on until the output has
 * its name. Every part holds OUT.lock shared and OUT.part-K-of-N.lock alone, writes its chunks into OUT.partial,
 * and keeps its own journal, OUT.part-K-of-N.journal. --finish holds OUT.lock alone.
 */
#ifndef CONVERT_PARTS_H
#define CONVERT_PARTS_H

#include "convert/journal.h"

/* The shards of share k of n (1 to n): 1 for each; owned by the caller. Shares are runs of neighbouring shards, by
 * bytes: none has more than the n-th part of all, and one shard. */
uint8_t *parts_cut(const struct plan *p, unsigned k, unsigned n, struct err *e) MUST_USE;

/* What a part holds beside its outputs. */
struct parts { struct lock gate, own; };
#define PARTS_NONE ((struct parts){ LOCK_NONE, LOCK_NONE })
/* "OUT.part-K-of-N", owned by the caller; k 0: OUT itself. */
char *parts_name(const char *out, unsigned k, unsigned n, struct err *e) MUST_USE;
/* Locks this part, and joins the others or is the first. What another plan, another division or a run
 * without parts left there is refused; with force it is removed if nobody else is at work, and what this part
 * made in any case. ERR_BUSY: a run without --part, --finish or this very part is at work. */
enum status parts_enter(struct parts *x, const struct convert_options *o, const struct convert_result *r,
			const uint8_t plan[SHA256_BYTES], struct err *e) MUST_USE;
void parts_leave(struct parts *x);	/* safe on PARTS_NONE */
/* Whether the output is being made in parts. */
bool parts_exist(const char *out);
/* How many parts there are; ERR_USAGE if none or of another plan. */
enum status parts_count(const char *out, const uint8_t plan[SHA256_BYTES], unsigned *n, struct err *e) MUST_USE;
/* Before --finish waits in vain: adds which part runs, and where, to an error that says BUSY. */
void parts_who(const char *out, struct err *e);
/* What the parts' journals say, together, into claims and headers; ERR_USAGE names the parts that are not
 * complete, ERR_MISMATCH those whose bytes are not what they say. */
enum status parts_merge(struct journal *j, struct convert_result *r, const struct output *outputs, unsigned n,
			const struct pipeline_options *run, struct claims *c, struct log *notes, struct err *e) MUST_USE;
/* Removes all that parts keep beside the output, OUT.parts at last. */
void parts_clear(const char *out);

/* leftover.c, where a folder that cannot be listed has nothing in it: the journals and locks of parts, of any number, go. */
void leftover_parts(const char *out);
/* How many partial files lie beside the outputs that another division of them has made and this run would not replace
 * or go on with, and at which no one works; discard removes them. */
size_t leftover_strays(const struct convert_result *r, bool discard);

#endif
