/* SPDX-License-Identifier: MIT
 *
 * model.c - what a model is, from its headers.
 */
#include <stdlib.h>
#include <string.h>

#include "format/model.h"
#include "library/library.h"

_Static_assert((int)INGOT_MAX_DIMS >= (int)ST_MAX_RANK && (int)INGOT_MAX_DIMS >= (int)GGUF_MAX_DIMS, "a shape fits");

struct ingot_model {
	struct ingot_facts facts;
	struct ingot_tensor *tensors;	/* owned */
	struct texts texts;
};

static enum status add_census(struct ingot_facts *f, const struct arch *a, struct err *e)
{
	struct census c;

	if (census_take(&c, a, e) != OK)
		return e->status;
	f->architecture = "deepseek4";
	f->parameters = c.total;
	f->parameters_active = c.active;
	f->parameters_mtp = c.mtp;
	f->n_layer = a->n_layer;
	f->n_embd = a->n_embd;
	f->n_vocab = a->n_vocab;
	f->n_ctx = a->n_ctx;
	f->n_expert = a->n_expert;
	f->n_expert_used = a->n_expert_used;
	return OK;
}

static enum status room_for(struct ingot_model *m, uint64_t n, struct err *e)
{
	m->facts.n_tensors = n;
	m->tensors = mem_new((size_t)n, sizeof *m->tensors, "the list of tensors", e);
	return m->tensors ? OK : e->status;
}

/* ---- a checkpoint ---------------------------------------------------------------------------*/

static enum status list_source(struct ingot_model *m, const struct checkpoint *c, struct err *e)
{
	const char **files = mem_new(c->n_shards, sizeof *files, "the list of shards", e);

	if (!files || room_for(m, c->n_tensors, e) != OK) {
		free(files);
		return e->status;
	}
	for (size_t i = 0; i < c->n_shards; i++)
		files[i] = texts_addz(&m->texts, c->files[i].name);
	for (size_t i = 0; i < c->n_tensors; i++) {
		const struct st_tensor *t = c->by_name[i];
		struct ingot_tensor *o = &m->tensors[i];

		*o = (struct ingot_tensor){ .name = texts_addz(&m->texts, t->name), .type = dtype_info(t->dtype)->name,
					    .file = files[t->shard], .n_dims = t->n_dims, .offset = t->off, .bytes = t->bytes };
		memcpy(o->shape, t->shape, t->n_dims * sizeof *o->shape);
	}
	free(files);
	return texts_check(&m->texts, e);
}

static enum status open_source(struct ingot_model *m, const char *path, const struct source_options *from, struct log *notes,
			       struct err *e)
{
	struct checkpoint c;
	struct arch a;
	struct ingot_facts *f = &m->facts;
	enum status st = checkpoint_open(&c, path, from, notes, e);

	if (st != OK)
		return st;
	f->n_files = c.n_shards;
	f->commit = texts_addz(&m->texts, c.dir.commit);
	for (size_t i = 0; i < c.n_shards; i++) {
		f->bytes += c.files[i].file.id.size;
		f->n_files_with_digest += c.files[i].expected.kind != DIGEST_NONE;
	}
	st = arch_from_checkpoint(&a, &c, notes, e);
	if (st == OK)
		st = add_census(f, &a, e);
	if (st == OK)
		st = list_source(m, &c, e);
	checkpoint_close(&c);
	return st;
}

/* ---- a GGUF ---------------------------------------------------------------------------------*/

static const char *text_of(struct ingot_model *m, const struct gguf *g, const char *key)
{
	struct str s;

	return gguf_str(g, key, &s) ? texts_add(&m->texts, s) : "";
}

static void add_seal(struct ingot_model *m, const struct gguf *g)
{
	struct seal s;
	struct err ignored;

	if (seal_read(&s, g, &ignored) != OK)
		return;
	m->facts.is_sealed = 1;
	m->facts.is_signed = seal_is_signed(&s);
	m->facts.root = texts_hex(&m->texts, s.root);
	m->facts.recipe = text_of(m, g, "ingot.recipe");
	m->facts.tool = text_of(m, g, "ingot.tool");
}

static enum status list_gguf(struct ingot_model *m, const struct gguf_set *s, struct err *e)
{
	const char **files = mem_new(s->n, sizeof *files, "the list of files", e);

	if (!files || room_for(m, s->gguf.n_tensors, e) != OK) {
		free(files);
		return e->status;
	}
	for (size_t i = 0; i < s->n; i++)
		files[i] = texts_addz(&m->texts, s->files[i].path);
	for (size_t i = 0; i < s->gguf.n_tensors; i++) {
		const struct gguf_tensor *t = &s->gguf.tensors[i];
		struct ingot_tensor *o = &m->tensors[i];

		*o = (struct ingot_tensor){ .name = texts_add(&m->texts, t->name), .type = dtype_info(t->dtype)->name,
					    .file = files[t->file], .n_dims = t->n_dims, .offset = t->off, .bytes = t->bytes };
		memcpy(o->shape, t->shape, t->n_dims * sizeof *o->shape);
	}
	free(files);
	return texts_check(&m->texts, e);
}

static enum status open_gguf(struct ingot_model *m, const char *path, struct log *notes, struct err *e)
{
	struct gguf_set s;
	const struct gguf *g = &s.gguf;
	struct arch a;
	struct str arch = { 0 };
	enum status st;

	TRY(gguf_set_open(&s, path, notes, e));
	m->facts.is_gguf = 1;
	m->facts.bytes = gguf_set_bytes(&s);
	m->facts.n_files = s.n;
	m->facts.name = text_of(m, g, "general.name");
	m->facts.commit = text_of(m, g, "general.source.revision");
	m->facts.architecture = text_of(m, g, "general.architecture");
	add_seal(m, &s.parts[0]);
	gguf_str(g, "general.architecture", &arch);
	if (str_is(arch, "deepseek4")) {
		TRY(arch_from_gguf(&a, g, path, e));
		TRY(add_census(&m->facts, &a, e));
	}
	st = list_gguf(m, &s, e);
out:
	gguf_set_close(&s);
	return st;
}

int ingot_model_open(struct ingot_model **m, const char *path, const struct ingot_run *run, struct ingot_error *e)
{
	struct call c;
	enum status st = call_open(&c, run);

	*m = NULL;
	TRY(st);
	c.from.need = NEED_HEADERS;
	if (!(*m = mem_new(1, sizeof **m, "a model", &c.err))) {
		st = c.err.status;
		goto out;
	}
	(*m)->facts = (struct ingot_facts){ .architecture = "", .name = "", .commit = "", .root = "", .recipe = "", .tool = "" };
	if (path_is_source(path))
		st = open_source(*m, path, &c.from, &c.notes, &c.err);
	else
		st = open_gguf(*m, path, &c.notes, &c.err);
	if (st != OK) {
		ingot_model_close(*m);
		*m = NULL;
	}
out:
	return call_close(&c, st, e);
}

void ingot_model_close(struct ingot_model *m)
{
	if (!m)
		return;
	free(m->tensors);
	texts_close(&m->texts);
	free(m);
}

int ingot_model_facts(const struct ingot_model *m, struct ingot_facts *f)
{
	return result_give(f, &m->facts, sizeof m->facts);
}

int ingot_model_tensor(const struct ingot_model *m, uint64_t i, struct ingot_tensor *t)
{
	return i < m->facts.n_tensors ? result_give(t, &m->tensors[i], sizeof *m->tensors) : INGOT_USAGE;
}
