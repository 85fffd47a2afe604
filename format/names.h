/* SPDX-License-Identifier: MIT
 *
 * names.h - private to names.c and source.c: one row of the table of tensors.
 */
#ifndef FORMAT_NAMES_H
#define FORMAT_NAMES_H

#include "format/model.h"

/* A dimension of a tensor, as a function of struct arch and the layer. */
enum dim {
	DIM_NONE, DIM_1, DIM_3, DIM_EMBD, DIM_EMBD2, DIM_VOCAB, DIM_HEAD, DIM_HEAD_DIM, DIM_Q, DIM_Q_LORA,
	DIM_GROUP_IN, DIM_GROUP_OUT, DIM_EXPERT, DIM_USED, DIM_FF, DIM_HC, DIM_HC_EMBD, DIM_HC_MIX,
	DIM_COMP, DIM_RATIO, DIM_IDX_Q, DIM_IDX_HEAD, DIM_IDX_COMP, DIM_IDX_DIM,
};
enum place {
	PLACE_ROOT, PLACE_LAYER,	/* every layer */
	PLACE_COMPRESSED,		/* ratio != 0 */
	PLACE_SPARSE,			/* ratio 4 */
	PLACE_HASH, PLACE_SCORED,	/* how the layer routes */
	PLACE_MTP,			/* only the MTP block */
};
/* Source names: %e stands for the expert; "A|B" are alternatives; a name ending in ".weight" may
 * have a scale beside it. A transformers name without %e on an expert row is stacked. */
struct row {
	const char *gguf;		/* after "blk.N." for layers */
	const char *deepseek, *transformers;
	enum role_class class;
	enum place place;
	enum dim rows, cols;		/* cols DIM_NONE: a vector of rows elements */
};
extern const struct row name_table[ROLE_COUNT];
uint64_t dim_value(enum dim d, const struct arch *a, uint32_t layer);

#endif
