/* SPDX-License-Identifier: MIT
 *
 * peers.c - how `deepseek4` GGUFs of others differ from ours, in one table: what is taken, and what is refused by name.
 *
 * Names, keys and shapes follow llama.cpp's converter, so what it writes needs no row. What needs no row either, because
 * it is read as it is: any type that can be decoded for any tensor (ds4 has F16 where we keep F32: positions, hyper-
 * connections, routers, and Q8_0, Q4_K, Q2_K elsewhere; types that cannot be decoded are refused where the tensor is
 * bound), attn_output_a in three dimensions, integers of any width in keys and in compress_ratios, one number for
 * swiglu_clamp_exp in place of one a layer, vocab_size left out. Of block_count, see peer_blocks.
 */
#include <stdio.h>
#include <string.h>

#include "format/model.h"

enum difference {
	TENSOR_NAME,		/* theirs is our tensor of another name */
	TENSOR_REFUSED,		/* a file with this tensor lies in another layout */
	KEY_REFUSED,		/* a key that, above `most`, changes what is computed */
	PRE_NAME,		/* another name of the pre-tokenizer that is known */
};
static const struct peer_row {
	enum difference kind;
	const char *who, *theirs, *ours;	/* ours: the name, or what to do */
	uint64_t most;
} rows[] = {
	{ TENSOR_NAME, "ik_llama.cpp", "hc_head_fn.weight", "output_hc_fn.weight", 0 },
	{ TENSOR_NAME, "ik_llama.cpp", "hc_head_base.weight", "output_hc_base.weight", 0 },
	{ TENSOR_NAME, "ik_llama.cpp", "hc_head_scale.weight", "output_hc_scale.weight", 0 },
	{ TENSOR_REFUSED, "ds4", "mtp.0.e_proj.weight",
	  "it is ds4's file of an MTP block, which has e_proj and h_proj apart; convert the block from the checkpoint", 0 },
	{ TENSOR_REFUSED, "llama.cpp", "blk.0.ffn_gate_up_exps.weight",
	  "gate and up matrices of the experts are fused; take a file that has ffn_gate_exps and ffn_up_exps", 0 },
	{ KEY_REFUSED, "DeepSeek-V3 layouts", "deepseek4.expert_group_count",
	  "experts are chosen within groups, which DeepSeek-V4 does not do", 1 },
	{ KEY_REFUSED, "DeepSeek-V3 layouts", "deepseek4.leading_dense_block_count",
	  "dense layers come first, which DeepSeek-V4 does not have", 0 },
	{ PRE_NAME, "early converters", "deepseek-v3", "joyai-llm", 0 },	/* the same patterns */
};
enum { N_ROWS = sizeof rows / sizeof *rows };

struct str peer_own_name(struct str name)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (rows[i].kind == TENSOR_NAME && str_is(name, rows[i].theirs))
			return (struct str){ rows[i].ours, strlen(rows[i].ours) };
	return name;
}

const struct gguf_tensor *peer_find_tensor(const struct gguf *g, const char *name)
{
	const struct gguf_tensor *t = gguf_find_tensor(g, name);

	for (size_t i = 0; i < N_ROWS && !t; i++)
		if (rows[i].kind == TENSOR_NAME && strcmp(rows[i].ours, name) == 0)
			t = gguf_find_tensor(g, rows[i].theirs);
	return t;
}

bool peer_is_pre(struct str pre, const char *known)
{
	bool is = str_is(pre, known);

	for (size_t i = 0; i < N_ROWS && !is; i++)
		is = rows[i].kind == PRE_NAME && strcmp(rows[i].ours, known) == 0 && str_is(pre, rows[i].theirs);
	return is;
}

enum status peer_check(const struct gguf *g, const char *path, struct err *e)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		const struct peer_row *r = &rows[i];
		uint64_t v = 0;

		if (r->kind == TENSOR_REFUSED && gguf_find_tensor(g, r->theirs))
			return err_set(e, ERR_UNSUPPORTED, "%s: has a tensor %s (as of %s): %s", path, r->theirs, r->who, r->ours);
		if (r->kind == KEY_REFUSED && gguf_u64(g, r->theirs, &v) && v > r->most)
			return err_set(e, ERR_UNSUPPORTED, "%s: metadata key %s is %llu (as in %s): %s", path, r->theirs,
				       (unsigned long long)v, r->who, r->ours);
	}
	return OK;
}

/* Whether layer n has that tensor. */
static bool has(const struct gguf *g, uint64_t n, const char *tensor)
{
	char name[GGUF_MAX_NAME + 1];

	snprintf(name, sizeof name, "blk.%llu.%s", (unsigned long long)n, tensor);
	return gguf_find_tensor(g, name) != NULL;
}

/* Who counts MTP blocks among block_count: a file of the block alone; llama.cpp where both are in one file; and ds4,
 * whose files count the block though they do not have it. */
uint64_t peer_blocks(const struct gguf *g, uint64_t blocks, uint64_t nextn)
{
	if (nextn == 0 || nextn > blocks)
		return blocks;
	if (!has(g, 0, "attn_norm.weight") || has(g, blocks - nextn, "nextn.eh_proj.weight") ||
	    !has(g, blocks - nextn, "attn_norm.weight"))
		return blocks - nextn;
	return blocks;
}
