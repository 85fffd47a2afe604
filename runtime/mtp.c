/* SPDX-License-Identifier: MIT
 *
 * mtp.c - the block that predicts the token after the next one.
 *
 * It takes the trunk's streams after the last layer, for position t, and the embedding of token t + 1:
 * each stream becomes e_proj norm(embedding) + h_proj norm(stream), then goes through one more layer
 * (window only, experts chosen by score, numbered after the trunk's last) and a head of its own in
 * front of the shared output matrix. In a checkpoint its tensors are mtp.0.*; of a GGUF they are a
 * file beside it, mtp-NAME, with copies of what is shared.
 */
#include "runtime/layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- opening it ---- */

static bool has_draft_modules(const struct model *m)
{
	for (size_t i = 0; !m->is_gguf && i < m->ckpt.n_tensors; i++) {
		const char *name = m->ckpt.by_name[i]->name;

		if (strncmp(name, "mtp.", 4) == 0 && (strstr(name, ".markov_head.") || strstr(name, ".main_proj.")))
			return true;
	}
	return false;
}

/* DIR/mtp-NAME of DIR/NAME; of a file of a set, DIR/mtp-STEM.gguf if that is what there is. Owned by the caller. */
static char *sidecar_path(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t n = strlen(path) + sizeof "mtp-";
	char *out = mem_new(n, 1, "a file name", e);
	struct gguf_set_name set;

	if (!out)
		return NULL;
	snprintf(out, n, "%.*smtp-%s", (int)(name - path), path, name);
	if (access(out, F_OK) != 0 && gguf_set_name(path, &set))
		snprintf(out, n, "%.*smtp-%.*s.gguf", (int)(name - path), path, (int)(path + set.stem - name), name);
	return out;
}

/* What can be told from the trunk alone. */
static enum status check_present(const struct model *trunk, const char *path, struct err *e)
{
	if (has_draft_modules(trunk))
		return err_set(e, ERR_UNSUPPORTED, "%s: it has no MTP block, though its config counts one: its mtp.* "
			       "tensors are DSpark draft modules, which have no perplexity of their own (Flash-0731 "
			       "and Pro-0813; the preview checkpoints have MTP); run it without --mtp", trunk->path);
	if (!trunk->is_gguf && !checkpoint_find(&trunk->ckpt, "mtp.0.e_proj.weight"))
		return err_set(e, ERR_UNSUPPORTED, "%s: it has no MTP block (tensor mtp.0.e_proj.weight); run it "
			       "without --mtp", trunk->path);
	if (trunk->is_gguf && access(path, F_OK) != 0)
		return err_set(e, ERR_UNSUPPORTED, "%s: no MTP block, that would be %s; name its file with "
			       "--mtp-model, convert the checkpoint without --no-mtp, or run it without --mtp "
			       "(checkpoints with DSpark draft modules have no MTP block)", trunk->path, path);
	return OK;
}

/* The block belongs to a trunk of these dimensions. */
static enum status check_same(const struct model *mtp, const struct model *trunk, struct err *e)
{
	const struct arch *a = &mtp->arch, *b = &trunk->arch;
	const uint32_t same[][2] = {
		{ a->n_layer, b->n_layer }, { a->n_vocab, b->n_vocab }, { a->n_embd, b->n_embd }, { a->n_hc, b->n_hc },
		{ a->n_head, b->n_head }, { a->head_dim, b->head_dim }, { a->n_rot, b->n_rot },
		{ a->q_lora, b->q_lora }, { a->o_groups, b->o_groups }, { a->o_lora, b->o_lora },
		{ a->n_expert, b->n_expert }, { a->n_expert_used, b->n_expert_used }, { a->n_ff_exp, b->n_ff_exp },
		{ a->window, b->window }, { a->hc_iters, b->hc_iters },
	};

	for (size_t i = 0; i < sizeof same / sizeof *same; i++)
		if (same[i][0] != same[i][1])
			return err_set(e, ERR_MISMATCH, "%s: not the MTP block of %s: a dimension is %u in one and %u "
				       "in the other", mtp->path, trunk->path, same[i][0], same[i][1]);
	return OK;
}

enum status mtp_open(struct model *mtp, const struct model *trunk, const char *path, struct log *notes,
		     struct err *e)
{
	char *beside = NULL;
	enum status st;

	*mtp = MODEL_NONE;
	if (!path && trunk->is_gguf)
		path = beside = sidecar_path(trunk->path, e);
	else if (!path)
		path = trunk->path;
	if (!path)
		return e->status;
	if (beside || path == trunk->path)
		TRY(check_present(trunk, path, e));
	TRY(model_open_part(mtp, path, PART_MTP, trunk->source, notes, e));
	TRY(check_same(mtp, trunk, e));
	mtp->arch.ratio[mtp->arch.n_layer] = 0;	/* whatever the list says of it */
out:
	free(beside);
	if (st != OK)
		model_close(mtp);
	return st;
}

/* ---- running it ---- */

uint64_t mtp_bytes(const struct arch *a, uint32_t n_ctx, uint64_t n_seq)
{
	uint64_t n;

	return u64_mul(n_ctx, n_seq, &n) && u64_mul(n, 2 * (uint64_t)a->n_embd * sizeof(float), &n) ? n : UINT64_MAX;
}

/* A half of the rows (n_tok, 2 n_embd) that meet the projection: [embedding | 0] or [0 | stream]. */
struct halves {
	struct forward *f;
	const float *norm;
	int stream;			/* EMBEDDING or the stream's number */
};
enum { EMBEDDING = -1 };

static void half_task(void *ctx, unsigned i, unsigned n)
{
	const struct halves *h = ctx;
	const struct forward *f = h->f;
	size_t from, to, d = f->arch->n_embd;

	pool_share(f->n_tok, i, n, &from, &to);
	for (size_t t = from; t < to; t++) {
		float *row = f->pair + t * 2 * d, *half = row + (h->stream == EMBEDDING ? 0 : d);

		if (h->stream != EMBEDDING) {
			memset(row, 0, d * sizeof(float));
			memcpy(half, f->stream + (t * f->arch->n_hc + (size_t)h->stream) * d, d * sizeof(float));
		}
		ops_rms_norm(half, half, h->norm, d, (double)f->arch->rms_eps);
		round_row(half, d, f->engine.official);
		if (f->engine.official)		/* each half in its own blocks */
			round_fp8(half, half, d, INPUT_BLOCK);
	}
}

/* The embedding of the token after each; 0 after a sequence's last, whose outcome nobody sees. */
static enum status embed_next(struct forward *f, struct err *e)
{
	size_t d = f->arch->n_embd;
	struct weight embed;
	enum status st;

	TRY(weight_bind(&embed, f->model, ROLE_EMBED, LAYER_NONE, e));
	memset(f->pair, 0, f->n_tok * 2 * d * sizeof(float));
	for (size_t t = 0; t < f->n_tok; t++)
		if ((t + 1) % f->n_new)
			TRY(weight_rows(&embed, 0, f->ids[t + 1], (uint64_t)f->ids[t + 1] + 1, f->pair + t * 2 * d,
					&f->engine.lanes[0].scratch, e));
out:
	return st;
}

static void add_task(void *ctx, unsigned i, unsigned n)
{
	const struct halves *h = ctx;
	const struct forward *f = h->f;
	size_t from, to, d = f->arch->n_embd;

	pool_share(f->n_tok, i, n, &from, &to);
	for (size_t t = from; t < to; t++) {
		float *stream = f->stream + (t * f->arch->n_hc + (size_t)h->stream) * d;

		for (size_t c = 0; c < d; c++)
			stream[c] = f->y[t * d + c] + f->ex_y[t * d + c];
		round_row(stream, d, f->engine.official);
	}
}

/* streams, ids -> streams */
static enum status combine(struct forward *f, struct err *e)
{
	uint32_t layer = f->arch->n_layer;
	size_t d = f->arch->n_embd;
	float *enorm = small_load(f, ROLE_MTP_ENORM, layer, d, e);
	float *hnorm = enorm ? small_load(f, ROLE_MTP_HNORM, layer, d, e) : NULL;
	struct halves h = { f, enorm, EMBEDDING };
	enum status st;

	if (!hnorm) {
		st = e->status;
		goto out;
	}
	TRY(embed_next(f, e));
	TRY(engine_run(&f->engine, half_task, &h, e));
	TRY(linear_all(f, ROLE_MTP_EH_PROJ, layer, f->pair, 2 * d, f->y, d, e));
	h.norm = hnorm;
	for (h.stream = 0; h.stream < (int)f->arch->n_hc; h.stream++) {
		TRY(engine_run(&f->engine, half_task, &h, e));
		TRY(linear_all(f, ROLE_MTP_EH_PROJ, layer, f->pair, 2 * d, f->ex_y, d, e));
		TRY(engine_run(&f->engine, add_task, &h, e));
	}
out:
	free(enorm);
	free(hnorm);
	return st;
}

enum status forward_mtp(struct forward *f, const struct model *mtp, struct err *e)
{
	void *p = f->pair;
	enum status st;

	if (f->past || f->n_new != f->n_rows)
		return err_set(e, ERR_USAGE, "%s: the MTP block runs over whole sequences", mtp->path);
	TRY(mem_grow(&p, &f->pair_cap, f->n_tok, 2 * (size_t)f->arch->n_embd * sizeof(float), "the MTP block's input", e));
	f->pair = p;
	f->model = mtp;
	f->arch = &mtp->arch;
	TRY(combine(f, e));
	TRY(forward_layer(f, f->arch->n_layer, e));
out:
	return st;
}
