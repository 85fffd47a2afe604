/* SPDX-License-Identifier: MIT
 *
 * deep_source.h - private to deep_source.c and deep_shards.c: a checkpoint's tensors as they are stored.
 */
#ifndef VERIFY_DEEP_SOURCE_H
#define VERIFY_DEEP_SOURCE_H

#include "format/model.h"
#include "verify/deep.h"

/* A stored tensor and what the model takes it for. */
struct stored {
	const struct st_tensor *t;	/* borrowed from the checkpoint */
	uint16_t role;			/* of the weight, also for its scale; ROLE_COUNT: nothing asked for it */
	bool ids;			/* a table of expert ids */
	uint8_t scale_of;		/* enum dtype of the codes that it scales, DT_NONE for others */
};
struct deep_source {
	struct deep_report *r;
	struct checkpoint ckpt;
	struct arch arch;		/* zero unless r->model */
	struct stored *stored;		/* owned; in file order, shard after shard */
	size_t n_stored;
	size_t *base;			/* owned; number of each shard's first tensor */
};
/* Every number of every stored tensor; adds lines, in file order. Other than OK: the machine failed. */
enum status deep_shards(struct deep_source *s, const struct verify_options *o, struct err *e) MUST_USE;

#endif
