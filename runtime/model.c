/* SPDX-License-Identifier: MIT
 *
 * model.c - opening a model, whichever of the two forms it has.
 *
 * Invariant: after model_open every tensor of the trunk (or of the MTP block, where that is asked
 * for) exists with the shape that the hyper-parameters demand, in a type that can be decoded, so
 * whatever a dimension says is backed by bytes in a file. No tensor data is read here.
 */
#include "runtime/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static enum status open_gguf(struct model *m, struct log *notes, struct err *e)
{
	enum status st;

	m->is_gguf = true;
	TRY(gguf_set_open(&m->set, m->path, notes, e));
	TRY(arch_from_gguf(&m->arch, &m->set.gguf, m->path, e));
out:
	return st;
}

/* A GGUF holds the trunk or an MTP block, a checkpoint both. */
static enum status check_part(const struct model *m, struct err *e)
{
	bool trunk = !m->is_gguf || gguf_find_tensor(&m->set.gguf, "blk.0.attn_norm.weight");

	if (m->part == PART_TRUNK && m->arch.n_mtp && !trunk)
		return err_set(e, ERR_UNSUPPORTED, "%s: holds an MTP block alone; run the model that it belongs to",
			       m->path);
	if (m->is_gguf && m->part == PART_MTP && (trunk || !m->arch.n_mtp))
		return err_set(e, ERR_UNSUPPORTED, "%s: holds no MTP block; `ingot convert` writes it as mtp-NAME "
			       "beside the model", m->path);
	return OK;
}

static enum status open_checkpoint(struct model *m, struct log *notes, struct err *e)
{
	enum status st;

	TRY(checkpoint_open(&m->ckpt, m->path, m->source, notes, e));
	TRY(arch_from_checkpoint(&m->arch, &m->ckpt, notes, e));
out:
	return st;
}

/* Binds every tensor once: all that is wrong goes to problems. */
static void check_tensors(const struct model *m, struct log *problems)
{
	for (size_t i = 0; i < m->wants.n; i++) {
		const struct want *want = &m->wants.w[i];
		uint64_t n = role_class(want->role) == CLASS_EXPERTS ? want->shape[0] : 1;

		if (m->is_gguf) {
			weight_check(m, want, problems);
			continue;
		}
		for (uint64_t k = 0; k < n; k++)
			for (unsigned part = 0; part < want_parts(want); part++) {
				struct source_matrix s;
				bool found;

				source_bind(&s, &found, &m->ckpt, &m->arch, want, k, part, problems);
			}
	}
}

/* Headers that are open -> weights that can be read; what is wrong beyond the first finding goes to notes. */
static enum status bind(struct model *m, struct log *notes, struct err *e)
{
	struct log problems = { 0 };
	const char *path = m->path;
	enum status st;

	TRY(check_part(m, e));
	TRY(wants_build(&m->wants, &m->arch, m->part, e));
	check_tensors(m, &problems);
	if (problems.n_lines) {
		char *line = problems.text, *end = strchr(line, '\n');
		bool more = problems.n_lines > 1;

		*end = 0;
		st = err_set(e, ERR_FORMAT, "%s: %s%s; verify %s", path, line,
			     more ? "; the other problems are listed above" : "",
			     m->is_gguf ? "it, or convert the model again" : "the download");
		for (line = end + 1; more && (end = strchr(line, '\n')); line = end + 1) {
			*end = 0;
			log_add(notes, "%s: %s", path, line);
		}
		goto out;
	}
	TRY(weights_open(m, e));
out:
	log_close(&problems);
	return st;
}

enum status model_open(struct model *m, const char *path, struct log *notes, struct err *e)
{
	return model_open_part(m, path, PART_TRUNK, NULL, notes, e);
}

enum status model_open_part(struct model *m, const char *path, enum model_part part, const struct source_options *source,
			    struct log *notes, struct err *e)
{
	struct stat info;
	enum status st;

	*m = MODEL_NONE;
	if (stat(path, &info) != 0)
		return err_errno(e, "%s: cannot open the model", path);
	m->source = source;
	m->part = part;
	m->path = mem_strdup(path, e);
	if (!m->path)
		return e->status;
	TRY(path_is_source(path) ? open_checkpoint(m, notes, e) : open_gguf(m, notes, e));
	TRY(bind(m, notes, e));
out:
	if (st != OK)
		model_close(m);
	return st;
}

enum status model_take(struct model *m, const char *path, struct checkpoint *c, struct gguf_set *s, const struct arch *a,
		       struct log *notes, struct err *e)
{
	enum status st = OK;

	*m = MODEL_NONE;
	m->part = PART_TRUNK;
	m->arch = *a;
	m->is_gguf = s != NULL;
	if (c) {
		m->ckpt = *c;
		*c = CHECKPOINT_NONE;
	} else {
		m->set = *s;
		*s = (struct gguf_set){ .n = 0 };
	}
	m->path = mem_strdup(path, e);
	st = m->path ? bind(m, notes, e) : e->status;
	if (st != OK)
		model_close(m);
	return st;
}

static enum status gguf_vocab(const struct model *m, struct vocab *v, struct err *e)
{
	enum status st = vocab_from_gguf(v, &m->set.gguf, m->path, e);

	if (st != OK || v->n_tokens == m->arch.n_vocab)
		return st;
	st = err_set(e, ERR_FORMAT, "%s: the vocabulary has %u tokens, the embedding %u rows (tensor "
		     "token_embd.weight); convert the model again", m->path, v->n_tokens, m->arch.n_vocab);
	vocab_close(v);
	return st;
}

enum status model_vocab(const struct model *m, struct vocab *v, bool *found, struct log *notes,
			struct err *e)
{
	const struct source_file *t;

	*v = (struct vocab){ 0 };
	if (m->is_gguf) {
		*found = gguf_find(&m->set.gguf, "tokenizer.ggml.tokens") != NULL;
		return *found ? gguf_vocab(m, v, e) : OK;
	}
	t = checkpoint_file(&m->ckpt, "tokenizer.json");
	*found = t != NULL;
	if (!t)
		return OK;
	return vocab_from_files(v, t, checkpoint_file(&m->ckpt, "tokenizer_config.json"),
				checkpoint_file(&m->ckpt, "chat_template.jinja"), m->arch.n_vocab,
				m->arch.bos, m->arch.eos, notes, e);
}

enum status model_unchanged(const struct model *m, struct err *e)
{
	enum status st = OK;

	if (m->is_gguf)
		return gguf_set_unchanged(&m->set, e);
	for (size_t i = 0; i < m->ckpt.n_files && st == OK; i++)
		st = file_unchanged(&m->ckpt.files[i].file, e);
	return st;
}

uint64_t model_header_bytes(const struct model *m)
{
	uint64_t n = m->wants.n * (sizeof *m->wants.w + sizeof *m->weights) + store_table_bytes(m->store);

	for (size_t i = 0; i < m->set.n; i++)
		n += m->set.parts[i].data_off;
	if (m->is_gguf)
		return n + (m->set.n > 1 ? 2 : 1) * m->set.gguf.n_tensors * sizeof *m->set.gguf.tensors;
	for (size_t i = 0; i < m->ckpt.n_shards; i++)
		n += m->ckpt.headers[i].data_off;
	return n + m->ckpt.n_tensors * (sizeof(struct st_tensor) + sizeof(void *));
}

uint64_t model_tensor_bytes(const struct model *m)
{
	uint64_t n = 0;

	if (m->is_gguf)
		for (size_t i = 0; i < m->set.gguf.n_tensors; i++)
			n += m->set.gguf.tensors[i].bytes;
	else
		for (size_t i = 0; i < m->ckpt.n_shards; i++)
			n += m->ckpt.files[i].file.id.size - m->ckpt.headers[i].data_off;
	return n;
}

void model_close(struct model *m)
{
	store_free(m->store);
	free(m->weights);
	free(m->weight_at);
	wants_close(&m->wants);
	gguf_set_close(&m->set);
	checkpoint_close(&m->ckpt);
	free(m->path);
	*m = MODEL_NONE;
}
