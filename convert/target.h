/* SPDX-License-Identifier: MIT
 *
 * target.h - types for all tensors that fit the file into a given size with the least predicted loss.
 *
 * The loss of a tensor in a type is the square of its expected relative error (measure.h) times how much
 * such an error of a tensor of its role changes what the model says (docs/quantization.md). Losses add up.
 */
#ifndef CONVERT_TARGET_H
#define CONVERT_TARGET_H

#include "convert/measure.h"

/* ---- the choice alone: one option of every item, within a budget -------------------------------*/

struct choice { enum dtype type; uint64_t bytes; double loss; };
struct choice_item {
	struct choice *options;		/* borrowed; sorted, and those that none would take dropped */
	size_t n, chosen;
};
/* Sets chosen: the smallest loss found within budget; false where even the smallest options are over it,
 * which are then chosen. By slopes of the lower convex hulls, then whatever still fits, then exchanges of two
 * items' options. The same for the same input. */
enum status target_choose(struct choice_item *items, size_t n, uint64_t budget, bool *fits, struct err *e) MUST_USE;

/* ---- a plan's types --------------------------------------------------------------------------*/

/* Chooses types of p's first output so that its file has at most size bytes, and lays the plan out anew.
 * What a user's rule in o->recipe names keeps its type, and so does FP4, which nothing smaller holds. The
 * sidecar's own matrices become Q8_0. t is to be closed whatever is returned. ERR_USAGE, naming the
 * least size, where it cannot be done. notes: what the importance matrix lacks. */
enum status target_fit(struct target *t, struct plan *p, uint64_t size, const struct vocab *v,
		       const struct plan_options *o, const struct measure_options *m, struct log *notes,
		       struct err *e) MUST_USE;
void target_close(struct target *t);

#endif
