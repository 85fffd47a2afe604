/* SPDX-License-Identifier: MIT
 *
 * convert.c - the pass list: open, check what is known of the digests, plan, stream, seal.
 */
#include "convert/parts.h"
#include "convert/target.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Shards whose record is stale are hashed now, to say which of two things is wrong with them. */
static enum status judge_stale(const struct source_file *f, struct err *e)
{
	struct digest found;
	char have[65], want[65];

	if (digest_file(&f->file, f->stale_digest.kind, &found, NULL, e) != OK)
		return e->status;
	if (!digest_eq(&found, &f->stale_digest))
		return err_set(e, ERR_MISMATCH, "%s: digest is %s, expected %s (hub-local-dir): the file was changed "
			       "after it was downloaded; delete it and download it again", f->file.path,
			       digest_text(&found, have), digest_text(&f->stale_digest, want));
	return err_set(e, ERR_NO_DIGEST, "%s: the download's record is older than the file, so it does not count "
		       "(the bytes are still those it names); restore the file's time, give --digests FILE, or "
		       "--allow-unverified", f->file.path);
}

/* Before hours of work: does every shard have a digest to be compared with? */
static enum status check_anchors(const struct checkpoint *c, bool allow_unverified, struct log *notes,
				 struct err *e)
{
	const char *first = NULL, *small = NULL;
	size_t n = 0, n_small = 0;

	for (size_t i = 0; i < c->n_files; i++) {
		const struct source_file *f = &c->files[i];

		if (f->expected.kind != DIGEST_NONE)
			continue;
		if (f->is_shard && !allow_unverified && f->stale)
			return judge_stale(f, e);
		if (f->is_shard && n++ == 0)
			first = f->file.path;
		if (!f->is_shard && n_small++ == 0)
			small = f->name;
	}
	if (n_small)
		log_add(notes, "%s: no digest is known for %s and %zu other small files", c->dir.path, small,
			n_small - 1);
	if (n && !allow_unverified)
		return err_set(e, ERR_NO_DIGEST, "%s: no digest is known for it (nor for %zu other shards); download "
			       "with hf (it records them), give --digests FILE, or --allow-unverified", first, n - 1);
	if (n)
		log_add(notes, "%s: %zu of %zu shards have no known digest; the seal says so", c->dir.path, n,
			c->n_shards);
	return OK;
}

/* Small files, and the rare shard that is known by its git blob id, are hashed before the run. */
static enum status check_small(const struct checkpoint *c, uint8_t *sha256, struct err *e)
{
	for (size_t i = 0; i < c->n_files; i++) {
		const struct source_file *f = &c->files[i];
		struct digest found;
		char have[65], want[65];

		if (f->is_shard && f->expected.kind != DIGEST_GIT_BLOB)
			continue;
		enum digest_kind kind = f->expected.kind == DIGEST_NONE ? DIGEST_SHA256 : f->expected.kind;
		if (digest_file(&f->file, kind, &found, sha256 + SHA256_BYTES * i, e) != OK)
			return e->status;
		if (f->expected.kind != DIGEST_NONE && !digest_eq(&found, &f->expected))
			return err_set(e, ERR_MISMATCH, "%s: digest is %s, expected %s (%s): the file is damaged or of "
				       "another revision; delete it and download it again", f->file.path,
				       digest_text(&found, have), digest_text(&f->expected, want),
				       anchor_name(f->anchor));
	}
	return OK;
}

static enum status read_vocab(struct convert_result *r, const struct arch *a, struct log *notes,
			      struct err *e)
{
	const struct source_file *tokenizer = checkpoint_file(&r->ckpt, "tokenizer.json");

	if (!tokenizer)
		return err_set(e, ERR_FORMAT, "%s: tokenizer.json is missing; finish the download",
			       r->ckpt.dir.path);
	return vocab_from_files(&r->vocab, tokenizer, checkpoint_file(&r->ckpt, "tokenizer_config.json"),
				checkpoint_file(&r->ckpt, "chat_template.jinja"), a->n_vocab, a->bos, a->eos,
				notes, e);
}

/* OUT, and DIR/mtp-NAME beside it; or the files of either. */
static enum status name_outputs(struct convert_result *r, const char *out, struct err *e)
{
	const char *slash = strrchr(out, '/'), *name = slash ? slash + 1 : out;
	size_t n = strlen(out) + 5;
	struct stat s;
	char *mtp;

	if (!*name)
		return err_set(e, ERR_USAGE, "%s: names a directory; give a file name", out);
	if (stat(out, &s) == 0 && S_ISDIR(s.st_mode))
		return err_set(e, ERR_USAGE, "%s: is a directory; give a file name", out);
	r->base = out;
	mtp = mem_new(n, 1, "a path", e);
	r->paths = mtp ? mem_new(r->plan.n_outputs, sizeof *r->paths, "paths", e) : NULL;
	if (!r->paths) {
		free(mtp);
		return e->status;
	}
	snprintf(mtp, n, "%.*smtp-%s", (int)(name - out), out, name);
	for (size_t i = 0; i < r->plan.n_outputs; i++) {
		const struct plan_output *file = &r->plan.out[i];

		if (!(r->paths[i] = split_path(file->part == PART_MTP ? mtp : out, file, e)))
			break;
	}
	free(mtp);
	return r->paths[r->plan.n_outputs - 1] ? OK : e->status;
}

static enum status refuse_inputs(const struct convert_result *r, struct err *e)
{
	const struct checkpoint *c = r->plan.ckpt;
	struct stat s;

	for (size_t o = 0; o < r->plan.n_outputs; o++)
		for (size_t i = 0; i < c->n_files && stat(r->paths[o], &s) == 0; i++) {
			const struct file_id *id = &c->files[i].file.id;

			if (id->dev == (uint64_t)s.st_dev && id->ino == (uint64_t)s.st_ino)
				return err_set(e, ERR_USAGE, "%s: is an input of this run (%s); give another name",
					       r->paths[o], c->files[i].file.path);
		}
	return OK;
}

/* Source digests and root into the header's buffer. */
static enum status seal_tensors(struct convert_result *r, struct plan_output *out, struct err *e)
{
	uint8_t *header = out->header.buf, *leaves, *copy, root[SHA256_BYTES];
	struct sha256 h = { 0 };
	uint64_t most = 1;
	enum status st;

	memcpy(header + out->source_sha256_at, r->sha256, SHA256_BYTES * r->plan.ckpt->n_files);
	for (size_t i = 0; i < out->n_tensors; i++)
		most = out->tensors[i].chunks.n_chunks > most ? out->tensors[i].chunks.n_chunks : most;
	leaves = mem_new(out->n_tensors, SHA256_BYTES, "the seal", e);
	copy = mem_new((size_t)most, SHA256_BYTES, "the seal", e);
	st = leaves && copy ? OK : e->status;
	if (st == OK)
		st = sha256_open(&h, e);
	for (size_t i = 0; i < out->n_tensors && st == OK; i++) {
		const struct plan_tensor *t = &out->tensors[i];
		struct str name = { t->want.name, strlen(t->want.name) };

		memcpy(copy, header + out->chunk_sha256_at + SHA256_BYTES * t->first_chunk,
		       SHA256_BYTES * t->chunks.n_chunks);
		seal_tree(&h, copy, t->chunks.n_chunks, root);
		seal_tensor_leaf(&h, name, t->type, t->want.n_dims, t->want.shape, root,
				 leaves + SHA256_BYTES * i);
	}
	if (st == OK)
		seal_tree(&h, leaves, out->n_tensors, header + out->root_at);
	sha256_close(&h);
	free(leaves);
	free(copy);
	return st;
}

/* What the files of a set say of each other: the roots of all, and the first one's header. */
static void tie(struct plan_output *out)
{
	const struct plan_output *first = out - out->file;	/* the files of a set follow each other */

	for (size_t k = 0; out->n_files > 1 && k < out->n_files; k++)
		memcpy(out->header.buf + out->roots_at + SHA256_BYTES * k, first[k].header.buf + first[k].root_at, SHA256_BYTES);
	if (out->file > 0)
		memcpy(out->header.buf + out->first_header_at, first->header.buf + first->header_sha256_at, SHA256_BYTES);
}

/* Every header in its last form. */
static enum status seal_all(struct convert_result *r, struct err *e)
{
	struct plan *p = &r->plan;
	struct sha256 h = { 0 };
	enum status st;

	TRY(sha256_open(&h, e));
	for (size_t i = 0; i < p->n_outputs; i++)
		TRY(seal_tensors(r, &p->out[i], e));
	for (size_t i = 0; i < p->n_outputs; i++) {	/* the first of a set comes before the others */
		struct plan_output *out = &p->out[i];

		tie(out);
		seal_header_sha256(&h, out->header.buf, out->header.len, out->header_sha256_at, out->signature_at,
				   out->header.buf + out->header_sha256_at);
	}
out:
	sha256_close(&h);
	return st;
}

/* Reads the finished file once more. */
static enum status write_sums(const char *path, bool force, struct err *e)
{
	struct file f = FILE_NONE;
	struct digest d;
	enum status st;

	TRY(file_open(&f, AT_FDCWD, path, true, path, e));
	TRY(digest_file(&f, DIGEST_SHA256, &d, NULL, e));
	st = sums_write(path, &d, force, e);
out:
	file_close(&f);
	return st;
}

/* What is open while outputs are written. */
struct work {
	struct output *out;		/* owned; one an output of the plan */
	struct lock set;		/* of a set: OUT.lock, which no file of it has */
	struct aux *aux;
	struct journal *journal;
	struct claims claims;
	struct parts parts;
};

/* Nobody else makes files by that name, in whatever number. Of a single file, its own lock shows that. */
static enum status lock_set(const struct convert_result *r, struct work *w, struct err *e)
{
	char *lock;
	enum status st;

	if (r->plan.out[0].n_files <= 1)
		return OK;
	if (!(lock = path_with(r->base, ".lock", e)))
		return e->status;
	st = lock_take(&w->set, lock, r->base, false, e);
	free(lock);
	return st;
}

/* All that there is for the run of one part: what it made before counts by itself. */
static enum status open_part(struct convert_result *r, const struct convert_options *o, struct work *w,
			     struct log *notes, struct err *e)
{
	char *name = parts_name(r->base, o->part, o->n_parts, e);
	enum status st = name ? OK : e->status;

	TRY(st);
	TRY(aux_open(&w->aux, &r->plan, e));
	TRY(journal_new(&w->journal, name, &r->plan, w->aux, o->journal_every, e));
	TRY(parts_enter(&w->parts, o, r, journal_plan(w->journal), e));
	for (size_t i = 0; i < r->plan.n_outputs; i++)
		TRY(output_open(&w->out[i], r->paths[i], r->plan.out[i].file_size, o->force, LEFTOVER_SHARE, e));
	if (journal_exists(w->journal)) {
		TRY(journal_resume(w->journal, &r->plan, w->out, r->sha256, &o->run, &w->claims, notes, e));
		log_add(notes, "%s: goes on with %zu shards and %llu chunks (%llu MiB) that an earlier run made", name,
			w->claims.n_shards, (unsigned long long)w->claims.n_chunks, (unsigned long long)(w->claims.bytes >> 20));
	}
	st = journal_start(w->journal, &r->plan, &w->claims, r->sha256, e);
out:
	free(name);
	return st;
}

/* What all parts made; of a --finish that was killed after the names were given, its own journal is left. */
static enum status open_finish(struct convert_result *r, const struct convert_options *o, struct work *w,
			       struct log *notes, struct err *e)
{
	unsigned n = 0;
	bool all = true, damaged;
	char *own;
	enum status st;

	TRY(aux_open(&w->aux, &r->plan, e));
	TRY(journal_new(&w->journal, r->base, &r->plan, w->aux, o->journal_every, e));
	if (journal_exists(w->journal))
		TRY(journal_find_sealed(w->journal, &r->plan, r->paths, &w->claims, e));
	for (size_t i = 0; i < r->plan.n_outputs; i++)
		all &= claims_sealed(&w->claims, i);
	st = lock_set(r, w, e);
	if (st == ERR_BUSY)
		parts_who(r->base, e);
	TRY(st);
	if (!all && !parts_exist(r->base)) {
		st = err_set(e, ERR_USAGE, "%s: no part of it has been made here; run --part 1/N to N/N first", r->base);
		goto out;
	}
	for (size_t i = 0; i < r->plan.n_outputs; i++) {
		if (claims_sealed(&w->claims, i))
			continue;
		st = output_open(&w->out[i], r->paths[i], r->plan.out[i].file_size, o->force, LEFTOVER_KEEP, e);
		if (st == ERR_BUSY)
			parts_who(r->base, e);
		TRY(st);
	}
	own = (char *)journal_path(w->journal);
	if (!all)
		TRY(parts_count(r->base, journal_plan(w->journal), &n, e));
	if (all)
		TRY(journal_merge(w->journal, &r->plan, &own, 1, w->out, r->sha256, &o->run, &w->claims, &damaged, notes, e));
	else
		TRY(parts_merge(w->journal, r, w->out, n, &o->run, &w->claims, notes, e));
	st = journal_start(w->journal, &r->plan, &w->claims, r->sha256, e);
out:
	return st;
}

/* Outputs and what an earlier run left of them. */
static enum status open_outputs(struct convert_result *r, const struct convert_options *o, struct work *w,
				struct log *notes, struct err *e)
{
	enum leftover left = o->resume ? LEFTOVER_KEEP : o->force ? LEFTOVER_REPLACE : LEFTOVER_REFUSE;
	bool earlier;
	enum status st;

	if (o->part)
		return open_part(r, o, w, notes, e);
	if (o->finish)
		return open_finish(r, o, w, notes, e);
	if (parts_exist(r->base) && !o->force)
		return err_set(e, ERR_USAGE, "%s: it is being made in parts; go on with --part and --finish, give another name, or "
			       "--force to start anew", r->base);
	TRY(lock_set(r, w, e));
	TRY(aux_open(&w->aux, &r->plan, e));
	TRY(journal_new(&w->journal, r->base, &r->plan, w->aux, o->journal_every, e));
	if (!o->force && !(o->resume && journal_exists(w->journal)) && leftover_strays(r, false))
		TRY(err_set(e, ERR_USAGE, "%s: partial files of an earlier run that divided it otherwise lie there; go on with its "
			    "options and --resume, or --force starts anew", r->base));
	if (o->force)
		leftover_strays(r, true);
	earlier = o->resume && journal_exists(w->journal);
	if (earlier && o->measure) {
		log_add(notes, "%s: a report needs every value: starts anew", r->base);
		earlier = false;
	}
	if (earlier)
		TRY(journal_find_sealed(w->journal, &r->plan, r->paths, &w->claims, e));
	for (size_t i = 0; i < r->plan.n_outputs; i++)
		if (!claims_sealed(&w->claims, i))
			TRY(output_open(&w->out[i], r->paths[i], r->plan.out[i].file_size, o->force, left, e));
	if (o->force)
		parts_clear(r->base);
	if (earlier)
		TRY(journal_resume(w->journal, &r->plan, w->out, r->sha256, &o->run, &w->claims, notes, e));
	if (earlier)
		log_add(notes, "%s: goes on with %zu of %zu shards and %llu chunks (%llu MiB) that an earlier run made",
			r->base, w->claims.n_shards, r->plan.ckpt->n_shards,
			(unsigned long long)w->claims.n_chunks, (unsigned long long)(w->claims.bytes >> 20));
	st = journal_start(w->journal, &r->plan, &w->claims, r->sha256, e);
out:
	return st;
}

/* Headers into their places, then names: the sidecar first, so that when the model has its name,
 * everything is there. The journal knows of both before either happens. */
static enum status commit(struct convert_result *r, struct work *w, struct err *e)
{
	size_t n = r->plan.n_outputs;
	enum status st;

	TRY(journal_flush(w->journal, &r->plan, w->out, e));
	TRY(seal_all(r, e));
	for (uint32_t i = 0; i < n; i++) {
		struct plan_output *out = &r->plan.out[i];

		if (claims_sealed(&w->claims, i)) {
			if (!journal_is_sealed(r->paths[i], out, out->header.buf + out->header_sha256_at))
				TRY(err_set(e, ERR_MISMATCH, "%s: it was sealed before this run was stopped, and the source has "
					    "changed since; --force makes everything anew", r->paths[i]));
			continue;
		}
		TRY(output_write(&w->out[i], r->plan.out[i].header.buf, r->plan.out[i].header.len, 0, e));
		TRY(output_sync(&w->out[i], e));
		TRY(journal_sealed(w->journal, i, &r->plan.out[i], e));
	}
	for (size_t i = n; i-- > 0;)
		if (!claims_sealed(&w->claims, i))
			TRY(output_commit(&w->out[i], e));
	if (n && parts_exist(r->base))
		parts_clear(r->base);
out:
	return st;
}

/* Whether going on can help: a source that breaks its format will do so again. */
static bool may_resume(const struct convert_result *r, enum status st)
{
	/* one shard of several may be replaced, and what the others made stays */
	return st == ERR_STOPPED || st == ERR_IO || st == ERR_NOMEM ||
	       (st == ERR_MISMATCH && r->plan.ckpt->n_shards > 1);
}

/* A part leaves its bytes and its journal in every case: others write to the same file. */
static void close_part(struct convert_result *r, struct work *w, enum status st, struct log *notes, struct err *e)
{
	struct err ignored;

	if (st != OK && journal_started(w->journal) && journal_flush(w->journal, &r->plan, w->out, &ignored) != OK)
		log_add(notes, "%s", ignored.msg);
	r->kept = st != OK && journal_started(w->journal);
	if (r->kept)
		err_add(e, "; %s: what is done is kept, run the same command again to go on", r->base);
	journal_close(w->journal, true);
	for (size_t i = 0; i < r->plan.n_outputs; i++)
		output_leave(&w->out[i]);
	parts_leave(&w->parts);
	claims_close(&w->claims);
	aux_close(w->aux);
}

/* Of a --finish that did not end: what the parts made stays theirs. */
static void leave_parts(struct convert_result *r, struct work *w)
{
	for (size_t i = 0; i < r->plan.n_outputs; i++)
		if (w->out[i].kept)
			output_leave(&w->out[i]);
}

static void close_work(struct convert_result *r, struct work *w, enum status st, struct log *notes, struct err *e)
{
	struct err ignored;
	bool keep = journal_started(w->journal) && may_resume(r, st), earlier = false;

	if (keep && journal_flush(w->journal, &r->plan, w->out, &ignored) != OK)
		log_add(notes, "%s", ignored.msg);	/* what was flushed before still counts */
	keep = keep && journal_has_claims(w->journal);
	for (size_t i = 0; i < r->plan.n_outputs; i++) {
		bool left = !journal_started(w->journal) && w->out[i].kept;	/* by a run before, and not looked at yet */

		earlier |= left && may_resume(r, st);
		if (keep || left)
			output_leave(&w->out[i]);
		else
			output_abandon(&w->out[i]);
	}
	r->kept = keep || earlier;
	if (r->kept)
		err_add(e, "; %s: what is done is kept, run the same command with --resume to go on", r->base);
	journal_close(w->journal, keep);
	claims_close(&w->claims);
	aux_close(w->aux);
}

static enum status write_outputs(struct convert_result *r, const struct convert_options *o, struct log *notes,
				 struct err *e)
{
	size_t n = r->plan.n_outputs;
	struct work w = { .out = mem_new(n, sizeof *w.out, "outputs", e), .set = LOCK_NONE, .parts = PARTS_NONE };
	struct run_state run = { w.out, NULL, NULL, &w.claims, r->sha256 };
	enum status st;

	if (!w.out)
		return e->status;
	for (size_t i = 0; i < n; i++)
		w.out[i] = OUTPUT_NONE;
	TRY(open_outputs(r, o, &w, notes, e));
	run.aux = w.aux;
	run.journal = w.journal;
	TRY(pipeline_run(&r->plan, &run, &o->run, e));
	for (size_t i = 0; i < r->plan.ckpt->n_files; i++)
		TRY(file_unchanged(&r->plan.ckpt->files[i].file, e));
	st = o->part ? journal_flush(w.journal, &r->plan, w.out, e) : commit(r, &w, e);
out:
	if (o->finish && st != OK && !journal_started(w.journal))
		leave_parts(r, &w);
	if (o->part)
		close_part(r, &w, st, notes, e);
	else
		close_work(r, &w, st, notes, e);
	lock_drop(&w.set);
	free(w.out);
	for (size_t i = 0; i < n && o->sums && st == OK && !o->part; i++)
		st = write_sums(r->paths[i], o->force, e);
	return st;
}

static struct plan_options plan_options_of(const struct convert_options *o)
{
	return (struct plan_options){ .recipe = o->recipe, .no_mtp = o->no_mtp, .name = o->name,
				      .allow_requantize = o->allow_requantize, .effort = o->effort,
				      .importance = o->importance, .measure = o->measure };
}

/* The plan that is built first: with a target size, one in which nothing is encoded yet. */
static struct plan_options first_options(const struct convert_options *o)
{
	struct plan_options po = plan_options_of(o);

	if (o->target_size) {
		po.importance = NULL;
		po.measure = false;
	}
	return po;
}

static struct measure_options measure_options_of(const struct convert_options *o)
{
	return (struct measure_options){ .effort = o->effort, .importance = o->importance,
					 .threads = o->run.threads, .stop = o->run.stop,
					 .progress = o->run.progress, .arg = o->run.arg };
}

static enum status fit_target(struct convert_result *r, const struct convert_options *o, struct log *notes,
			      struct err *e)
{
	const struct plan_options po = plan_options_of(o);
	const struct measure_options mo = measure_options_of(o);
	enum status st;

	TRY(target_fit(&r->target, &r->plan, o->target_size, r->plan.gguf ? NULL : &r->vocab, &po, &mo, notes, e));
	log_add(notes, "--target-size: %zu tensors were free, %llu of %llu bytes are used; the smallest file would have "
		"%llu", r->target.n_free, (unsigned long long)r->plan.out[0].file_size,
		(unsigned long long)o->target_size, (unsigned long long)r->target.least);
out:
	return st;
}

/* What a dry run says of errors: every tensor that will lose something, in its type. */
static enum status expect(struct convert_result *r, const struct convert_options *o, struct err *e)
{
	const struct measure_options mo = measure_options_of(o);
	enum status st = OK;

	r->expected = mem_new(r->plan.n_outputs, sizeof *r->expected, "expected errors", e);
	if (!r->expected)
		return e->status;
	for (size_t i = 0; i < r->plan.n_outputs && st == OK; i++) {
		const struct plan_output *out = &r->plan.out[i];
		struct measure_job *jobs = mem_new(out->n_tensors, sizeof *jobs, "expected errors", e);
		size_t n = 0;

		r->expected[i] = mem_new(out->n_tensors, sizeof *r->expected[i], "expected errors", e);
		for (size_t k = 0; jobs && r->expected[i] && k < out->n_tensors; k++)
			if (!transfer_is_exact(&r->plan.matrices[out->tensors[k].first_matrix].l, out->tensors[k].type))
				jobs[n++] = (struct measure_job){ &out->tensors[k], &out->tensors[k].type, 1,
								  &r->expected[i][k] };
		st = jobs && r->expected[i] ? measure_run(&r->plan, jobs, n, &mo, e) : e->status;
		free(jobs);
	}
	return st;
}

/* What follows the plan: types for a size, room for the work, names, the work itself. */
static enum status carry_out(struct convert_result *r, const struct convert_options *o, struct log *notes,
			     struct err *e)
{
	enum status st;

	if (o->target_size)
		TRY(fit_target(r, o, notes, e));
	if (o->split_max) {
		const struct plan_options po = plan_options_of(o);

		TRY(plan_split(&r->plan, o->split_max, r->plan.gguf ? NULL : &r->vocab, &po, e));
	}
	if (o->part && !(r->share = parts_cut(&r->plan, o->part, o->n_parts, e))) {
		st = e->status;
		goto out;
	}
	r->plan.share = r->share;
	r->memory = pipeline_memory(&r->plan, o->run.threads, o->run.max_memory, &r->workers);
	if (r->workers == 0) {
		st = err_set(e, ERR_NOMEM, "%s: one worker needs %llu MiB of buffers, half of --max-memory at most; "
			     "give --max-memory %lluM", o->source, (unsigned long long)(r->memory >> 20) + 1,
			     (unsigned long long)(r->memory >> 19) + 2);
		goto out;
	}
	TRY(name_outputs(r, o->out, e));
	TRY(refuse_inputs(r, e));
	if (o->write_recipe)
		TRY(recipe_write(o->target_size ? &r->target.recipe : o->recipe, o->write_recipe,
				 o->force || o->resume, e));
	if (o->dry_run) {
		TRY(expect(r, o, e));
		goto out;
	}
	TRY(write_outputs(r, o, notes, e));
	if (!o->resume && !o->part && !o->finish)		/* else only what this run made was measured */
		ledger_note_fp4(&r->plan, notes);
out:
	return st;
}

enum status convert_run(struct convert_result *r, const struct convert_options *o, struct log *problems,
			struct log *notes, struct err *e)
{
	struct plan_options po = first_options(o);
	struct source_options from = { 0 };
	struct arch arch;
	enum status st;

	*r = CONVERT_RESULT_NONE;
	if (o->from)
		from = *o->from;
	from.digests = o->digests;
	TRY(checkpoint_open(&r->ckpt, o->source, &from, problems, e));
	TRY(arch_from_checkpoint(&arch, &r->ckpt, notes, e));
	if (!o->dry_run)
		TRY(check_anchors(&r->ckpt, o->allow_unverified, notes, e));
	r->sha256 = mem_new(r->ckpt.n_files, SHA256_BYTES, "digests", e);
	if (!r->sha256) {
		st = e->status;
		goto out;
	}
	TRY(check_small(&r->ckpt, r->sha256, e));
	TRY(read_vocab(r, &arch, notes, e));
	TRY(plan_build(&r->plan, &r->ckpt, &arch, &r->vocab, &po, problems, notes, e));
	TRY(carry_out(r, o, notes, e));
out:
	return st;
}

enum status quantize_run(struct convert_result *r, const struct convert_options *o, struct log *notes,
			 struct err *e)
{
	struct plan_options po = first_options(o);
	enum status st;

	*r = CONVERT_RESULT_NONE;
	TRY(gguf_source_open(&r->gguf, o->source, o->digests, o->allow_unverified, notes, e));
	if (!(r->sha256 = mem_new(r->gguf.ckpt.n_files, SHA256_BYTES, "digests", e))) {
		st = e->status;
		goto out;
	}
	if (!o->dry_run)
		TRY(check_small(&r->gguf.ckpt, r->sha256, e));
	st = plan_build_gguf(&r->plan, &r->gguf, &po, notes, e);
	if (st != OK) {
		err_wrap(e, "%s", o->source);
		goto out;
	}
	TRY(carry_out(r, o, notes, e));
out:
	return st;
}

void convert_close(struct convert_result *r)
{
	for (size_t i = 0; i < r->plan.n_outputs; i++) {
		free(r->paths ? r->paths[i] : NULL);
		free(r->expected ? r->expected[i] : NULL);
	}
	free(r->paths);
	free(r->expected);
	plan_close(&r->plan);
	vocab_close(&r->vocab);
	checkpoint_close(&r->ckpt);
	gguf_source_close(&r->gguf);
	free(r->sha256);
	free(r->share);
	target_close(&r->target);
	*r = CONVERT_RESULT_NONE;
}
