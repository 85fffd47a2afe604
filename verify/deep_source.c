/* SPDX-License-Identifier: MIT
 *
 * deep_source.c - a checkpoint's values: what each stored tensor is to the model, its shape against
 * config.json, the vocabulary and the ids of special tokens; then the numbers (deep_shards.c).
 *
 * A plan for a conversion stops at what it cannot use; here all findings are listed, and a tensor that
 * nothing asked for is looked at by its type all the same.
 */
#include "verify/deep_source.h"

#include <stdlib.h>
#include <string.h>

/* ---- what each tensor is ----------------------------------------------------------------------*/

static enum status list_stored(struct deep_source *s, struct err *e)
{
	const struct checkpoint *c = &s->ckpt;

	s->stored = mem_new(c->n_tensors, sizeof *s->stored, "the list of tensors", e);
	s->base = mem_new(c->n_shards, sizeof *s->base, "the list of tensors", e);
	if (!s->stored || !s->base)
		return e->status;
	for (size_t i = 0; i < c->n_shards; i++) {
		s->base[i] = s->n_stored;
		for (size_t k = 0; k < c->headers[i].n_tensors; k++)
			s->stored[s->n_stored++] = (struct stored){ .t = &c->headers[i].tensors[k], .role = ROLE_COUNT,
								    .scale_of = DT_NONE };
	}
	return OK;
}

static struct stored *stored_at(const struct deep_source *s, const struct st_tensor *t)
{
	return &s->stored[s->base[t->shard] + (size_t)(t - s->ckpt.headers[t->shard].tensors)];
}

/* What is missing or mis-shaped becomes a line. */
static void bind(struct deep_source *s, const struct want *w, uint64_t matrix, unsigned part)
{
	struct source_matrix m;
	struct stored *k;
	bool found;

	source_bind(&m, &found, &s->ckpt, &s->arch, w, matrix, part, &s->r->bad);
	if (!m.weight)
		return;
	k = stored_at(s, m.weight);
	k->role = (uint16_t)w->role;	/* known, if only by its name */
	if (!found)
		return;
	k->ids = role_class(w->role) == CLASS_IDS;
	if (m.scale) {
		k = stored_at(s, m.scale);
		k->role = (uint16_t)w->role;
		k->scale_of = m.l.kind == SOURCE_FP8 ? DT_F8_E4M3 : DT_F4;
	}
}

static enum status bind_part(struct deep_source *s, enum model_part part, struct err *e)
{
	struct wants wants = { 0 };
	enum status st;

	TRY(wants_build(&wants, &s->arch, part, e));
	for (size_t i = 0; i < wants.n; i++)
		for (uint64_t k = 0; k < (wants.w[i].n_dims == 3 ? wants.w[i].shape[0] : 1); k++)
			for (unsigned p = 0; p < want_parts(&wants.w[i]); p++)
				bind(s, &wants.w[i], k, p);
out:
	wants_close(&wants);
	return st;
}

static enum status check_tensors(struct deep_source *s, struct err *e)
{
	bool draft = source_has_draft(&s->ckpt);

	if (!source_can_hold(&s->ckpt, &s->arch)) {
		log_add(&s->r->bad, "config.json: speaks of %u layers of %u experts, which the %zu tensors here cannot hold",
			s->arch.n_layer, s->arch.n_expert, s->n_stored);
		return OK;
	}
	if (bind_part(s, PART_TRUNK, e) != OK)
		return e->status;
	if (!draft && checkpoint_find(&s->ckpt, "mtp.0.e_proj.weight") && bind_part(s, PART_MTP, e) != OK)
		return e->status;
	for (size_t i = 0; i < s->n_stored; i++) {
		const struct stored *k = &s->stored[i];

		if (k->role == ROLE_COUNT && k->scale_of == DT_NONE && !(draft && source_is_mtp(k->t)))
			log_add(&s->r->bad, "tensor %s: the architecture has no such tensor (%s, in %s)", k->t->name,
				dtype_info(k->t->dtype)->name, s->ckpt.files[k->t->shard].name);
	}
	return OK;
}

/* ---- configuration ----------------------------------------------------------------------------*/

/* A malformed file is a finding; anything else stops the look. */
static enum status finding(struct deep_source *s, const struct err *own, struct err *e)
{
	if (own->status == ERR_FORMAT) {
		log_add(&s->r->bad, "%s", own->msg);
		return OK;
	}
	*e = *own;
	return e->status;
}

static void check_id(struct deep_source *s, const char *file, const char *key, uint32_t id)
{
	if (id != TOKEN_NONE && id >= s->arch.n_vocab)
		log_add(&s->r->bad, "%s: %s: id %u, there are %u tokens", file, key, id, s->arch.n_vocab);
}

/* The ids in a file of configuration: each a number, or a list of them. */
static enum status check_ids(struct deep_source *s, const char *file, struct err *e)
{
	static const char *const keys[] = { "bos_token_id", "eos_token_id", "pad_token_id" };
	const struct source_file *f = checkpoint_file(&s->ckpt, file);
	struct config c;
	struct err own;
	char *text;
	size_t n;
	enum status st;

	if (!f)
		return OK;
	if (file_slurp(&f->file, CONFIG_LIMIT, &text, &n, e) != OK)
		return e->status;
	st = config_open(&c, text, n, f->file.path, &own);
	for (size_t i = 0; st == OK && i < sizeof keys / sizeof *keys; i++) {
		for (uint32_t k = 0; k < config_count(&c, keys[i]); k++)
			check_id(s, file, keys[i], config_item_u32(&c, keys[i], k, 0, UINT32_MAX - 1));
		if (config_count(&c, keys[i]) == 0)
			check_id(s, file, keys[i], config_u32_or(&c, keys[i], 0, UINT32_MAX - 1, TOKEN_NONE));
	}
	if (st == OK)
		st = config_close(&c, &own);
	free(text);
	return st == OK ? OK : finding(s, &own, e);
}

static enum status read_config(struct deep_source *s, struct log *notes, struct err *e)
{
	const struct source_file *f = checkpoint_file(&s->ckpt, "config.json");
	struct err own;
	char *text;
	size_t n;

	if (!f) {
		log_add(&s->r->bad, "config.json: is missing");
		return OK;
	}
	if (file_slurp(&f->file, CONFIG_LIMIT, &text, &n, e) != OK)
		return e->status;
	s->r->model = arch_from_config(&s->arch, text, n, f->file.path, notes, &own) == OK;
	free(text);
	return s->r->model ? OK : finding(s, &own, e);
}

static uint32_t known_id(const struct deep_source *s, uint32_t id)
{
	return id < s->arch.n_vocab ? id : TOKEN_NONE;	/* another one has its line already */
}

static enum status check_vocabulary(struct deep_source *s, struct log *notes, struct err *e)
{
	const struct source_file *f = checkpoint_file(&s->ckpt, "tokenizer.json");
	struct vocab v = { 0 };
	struct err own;
	enum status st = OK;

	if (!f) {
		log_add(&s->r->bad, "tokenizer.json: is missing");
		return OK;
	}
	if (vocab_from_files(&v, f, checkpoint_file(&s->ckpt, "tokenizer_config.json"),
			     checkpoint_file(&s->ckpt, "chat_template.jinja"), s->arch.n_vocab, known_id(s, s->arch.bos),
			     known_id(s, s->arch.eos), notes, &own) != OK)
		return finding(s, &own, e);
	s->r->n_tokens = v.n_tokens;
	if (v.chat_template.n)
		st = deep_template(s->r, v.chat_template, e);
	vocab_close(&v);
	return st;
}

/* ---- all of it --------------------------------------------------------------------------------*/

static enum status unchanged(const struct deep_source *s, struct err *e)
{
	for (size_t i = 0; i < s->ckpt.n_files; i++)
		if (file_unchanged(&s->ckpt.files[i].file, e) != OK)
			return e->status;
	return OK;
}

enum status verify_deep_source(struct deep_report *r, const char *path, const struct verify_options *o, struct log *notes,
			       struct err *e)
{
	struct deep_source s = { .r = r, .ckpt = CHECKPOINT_NONE };
	enum status st;

	*r = (struct deep_report){ 0 };
	TRY(checkpoint_open(&s.ckpt, path, o->source, notes, e));
	TRY(list_stored(&s, e));
	TRY(read_config(&s, notes, e));
	if (r->model) {
		TRY(check_ids(&s, "config.json", e));
		TRY(check_ids(&s, "generation_config.json", e));
		TRY(check_vocabulary(&s, notes, e));
		TRY(check_tensors(&s, e));
	}
	TRY(deep_shards(&s, o, e));
	TRY(unchanged(&s, e));
	st = deep_verdict(r, path, "download it again or take it from another source", e);
out:
	free(s.stored);
	free(s.base);
	checkpoint_close(&s.ckpt);
	return st;
}
