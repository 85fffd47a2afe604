/* SPDX-License-Identifier: MIT
 *
 * plan.h - private to the files that make a plan: plan.c (from a checkpoint), plan_gguf.c (from a
 * GGUF), types.c, layout.c and metadata.c.
 */
#ifndef CONVERT_PLAN_H
#define CONVERT_PLAN_H

#include "convert/convert.h"

/* ---- plan.c: what both kinds of source share -------------------------------------------------*/

/* Lists for every shard of the checkpoint. The plan is closed by plan_close, whatever is returned. */
enum status plan_prepare(struct plan *p, const struct checkpoint *c, struct err *e) MUST_USE;
/* A matrix more in p->matrices, zeroed; NULL and e set on failure. */
struct source_matrix *plan_add_matrix(struct plan *p, struct err *e) MUST_USE;
/* That a run of bytes of tensor t feeds a matrix of the output. */
enum status plan_add_feed(struct plan *p, const struct st_tensor *t, struct feed f, struct err *e) MUST_USE;

/* What comes after the sources are bound: types, importance, layout. */
enum status plan_finish(struct plan *p, const struct vocab *v, const struct plan_options *o,
			struct log *notes, struct err *e) MUST_USE;

/* Sums for the report, where any tensor is measured. */
enum status plan_room_for_errors(struct plan_output *out, struct err *e) MUST_USE;
void plan_output_close(struct plan_output *out);
/* layout.c: offsets, chunks and the header of one file of an output; whole has all its tensors, and may be the same. */
enum status layout_file(const struct plan *p, const struct plan_output *whole, struct plan_output *out, const struct vocab *v,
			const struct plan_options *o, struct err *e) MUST_USE;

/* ---- types.c ----------------------------------------------------------------------------------*/

/* Type and bytes of every tensor of an output, once their sources are bound. Notes say what a rule
 * asked for and did not get, and what it costs. */
enum status plan_choose_types(struct plan *p, struct plan_output *out, const struct plan_options *o,
			      struct log *notes, struct err *e) MUST_USE;

/* ---- importance.c -----------------------------------------------------------------------------*/

/* Importance of the columns of one matrix, as many as a row has; *found is false where there is none. */
enum status importance_read(const struct importance *m, const struct plan_tensor *t, uint64_t matrix,
			    float *weights, bool *found, struct err *e) MUST_USE;
/* Which of the tensors that are encoded have one. ERR_MISMATCH: it was made for another model. */
enum status plan_importance(struct plan *p, struct log *notes, struct err *e) MUST_USE;
/* The keys under which llama.cpp names an importance matrix. */
void importance_metadata(const struct importance *m, struct gguf_writer *w);

/* ---- metadata.c: keys of the header before the seal -------------------------------------------*/

/* All but the seal: the model's own (made, or copied from a GGUF), of which a file but the first of a set has the
 * architecture alone; then where it came from. */
enum status metadata_put(const struct plan *p, const struct plan_output *whole, struct plan_output *out, const struct vocab *v,
			 const struct plan_options *o, struct gguf_writer *w, struct err *e) MUST_USE;

#endif
