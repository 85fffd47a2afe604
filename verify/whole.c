/* SPDX-License-Identifier: MIT
 *
 * whole.c - everything that is asked of one path: see whole.h.
 */
#include "verify/whole.h"

#include <stdlib.h>

static enum status check_wish(const struct verify_wish *w, bool dir, struct err *e)
{
	if (w->oms && !w->key)
		return err_set(e, ERR_USAGE, "--oms: give the signer's public key with --key PUB.pem; one inside the bundle "
			       "would prove nothing");
	if (dir && w->key && !w->oms)
		return err_set(e, ERR_USAGE, "--key: a directory has no signature of its own; give the bundle with --oms "
			       "FILE.sig");
	if ((w->sample || w->imatrix) && !w->source)
		return err_set(e, ERR_USAGE, "%s: only with --source", w->sample ? "--sample" : "--imatrix");
	if (w->source && (dir || w->oms || w->header))
		return err_set(e, ERR_USAGE, "--source: only for a GGUF, with its seal");
	if (w->header && (dir || w->oms))
		return err_set(e, ERR_USAGE, "--header: only of a GGUF's own seal and signature");
	if (w->deep && (w->oms || w->header))
		return err_set(e, ERR_USAGE, "--deep: only for a GGUF, with its tensors, or a source directory");
	if ((w->digests || (w->strict && !w->deep)) && (!dir || w->oms))
		return err_set(e, ERR_USAGE, "%s: only for a source directory%s", w->digests ? "--digests" : "--strict",
			       w->oms ? " without --oms" : "");
	return OK;
}

static void begin(const struct verify_wish *w, const struct verify_options *o, const char *name, uint64_t bytes)
{
	if (w->step)
		w->step(o->arg, name, bytes);
}

/* Values that are odd fail where that was asked for. */
static enum status judge_values(struct verify_report *r, const char *path, const struct verify_wish *w, enum status st,
				struct err *e)
{
	r->has_values = true;
	if (st == OK && w->strict && r->values.odd.n_lines)
		st = err_set(e, ERR_MISMATCH, "%s: %zu things are odd, each listed as ODD; without --strict they are let pass",
			     path, r->values.odd.n_lines + r->values.odd.n_dropped);
	r->deep = st;
	return st;
}

/* Whether the values of something with this verdict are still worth a look. */
static bool can_be_read(enum status st)
{
	return st == OK || st == ERR_MISMATCH || st == ERR_NO_DIGEST;
}

static enum status look_at_source(struct verify_report *r, const char *path, const struct verify_wish *w,
				  const struct verify_options *o, struct log *notes, struct err *e)
{
	struct err own = { 0 };
	enum status st, deep;

	begin(w, o, "verify", 0);
	r->kind = VERIFY_SOURCE;
	st = r->first = verify_source(&r->files, path, w->digests, w->strict, o, notes, e);
	if (!r->files.n || !w->deep || !can_be_read(st))
		return st;
	begin(w, o, "values", 0);
	deep = judge_values(r, path, w, verify_deep_source(&r->values, path, o, notes, &own), &own);
	if (deep == OK || st == ERR_MISMATCH)
		return st;
	*e = own;
	return deep;
}

static enum status look_at_values(struct verify_report *r, const struct verify_wish *w, const struct verify_options *o,
				  struct err *e)
{
	const struct gguf_set *s = &r->set;

	begin(w, o, "values", gguf_set_bytes(s));
	return judge_values(r, s->files[0].path, w, verify_deep(&r->values, s, o, e), e);
}

/* One key signed every file. */
static enum status check_signatures(const struct verify_report *r, struct err *e)
{
	enum status st = OK;

	for (size_t i = 0; i < r->set.n && st == OK; i++)
		st = verify_signature(&r->sealed[i], &r->key, r->set.files[i].path, e);
	return st;
}

/* What was asked for beyond a seal that holds. */
static enum status look_beyond(struct verify_report *r, const struct verify_wish *w, const struct verify_options *o,
			       struct log *notes, struct err *e)
{
	struct err own;
	enum status st = OK, deep;

	if (w->key) {
		st = r->signature = check_signatures(r, e);
		r->has_signature = true;
	}
	if (w->source && st == OK) {
		const struct derive_options d = { .source = w->source, .imatrix = w->imatrix, .sample = w->sample, .run = *o };

		begin(w, o, "derive", gguf_set_bytes(&r->set));
		st = r->derivation = verify_derived(&r->derived, &r->set.gguf, r->set.files, &d, notes, e);
		r->has_derived = true;
	}
	if (!w->deep || !can_be_read(st))
		return st;
	deep = look_at_values(r, w, o, &own);
	if (deep == OK || st != OK)
		return st;
	*e = own;
	return deep;
}

/* What is kept as the error of all files: damage before a seal that is absent, the first before others. */
static void keep_worst(enum status *all, struct err *e, enum status one, const struct err *own)
{
	if (one == OK || *all == ERR_MISMATCH || (*all != OK && one != ERR_MISMATCH))
		return;
	*all = one;
	*e = *own;
}

static enum status look_at_file(struct verify_report *r, size_t i, const struct verify_wish *w, const struct verify_options *o,
				struct err *e)
{
	const struct file *f = &r->set.files[i];

	if (f->fd < 0)
		return err_set(e, ERR_MISMATCH, "%s: is missing: %zu of the set's %zu files are; fetch them, or convert again",
			       f->path, r->set.n_missing, r->set.n);
	begin(w, o, "verify", f->id.size);
	return verify_headed(&r->sealed[i], &r->set.parts[i], f, o, e);
}

/* Every file against its seal, then the seals against each other. */
static enum status look_at_files(struct verify_report *r, const char *path, const struct verify_wish *w,
				 const struct verify_options *o, struct log *notes, struct err *e)
{
	enum status st = gguf_set_find(&r->set, path, notes, e);

	if (st != OK)
		return st;
	r->sealed = mem_new(r->set.n, sizeof *r->sealed, "reports", e);
	r->sealed_as = mem_new(r->set.n, sizeof *r->sealed_as, "reports", e);
	if (!r->sealed || !r->sealed_as)
		return e->status;
	r->kind = VERIFY_SEALED;
	for (size_t i = 0; i < r->set.n; i++)
		r->sealed_as[i] = ERR_STOPPED;		/* not looked at yet */
	for (size_t i = 0; i < r->set.n; i++) {
		struct err own;
		enum status one = r->sealed_as[i] = look_at_file(r, i, w, o, &own);

		keep_worst(&st, e, one, &own);
		r->any_sealed |= r->sealed[i].sealed;
		if (one == ERR_IO || one == ERR_NOMEM || one == ERR_STOPPED)
			break;
	}
	return st == OK ? gguf_set_check_seals(&r->set, e) : st;
}

static enum status look_at_sealed(struct verify_report *r, const char *path, const struct verify_wish *w,
				  const struct verify_options *o, struct log *notes, struct err *e)
{
	struct err own;
	enum status st = r->first = look_at_files(r, path, w, o, notes, e), deep;

	if (st == OK)
		return look_beyond(r, w, o, notes, e);
	if (!w->deep || !can_be_read(st) || r->kind != VERIFY_SEALED || r->set.n_missing)
		return st;
	deep = look_at_values(r, w, o, &own);
	if (deep == OK || st == ERR_MISMATCH)
		return st;
	*e = own;
	return deep;
}

static enum status look_at_bundle(struct verify_report *r, const char *path, const struct verify_wish *w,
				  const struct verify_options *o, struct err *e)
{
	struct bundle b;
	enum status st = bundle_read(&b, w->oms, &r->key, e);

	if (st != OK)
		return st;
	begin(w, o, "verify", 0);
	r->kind = VERIFY_BUNDLE;
	st = r->first = verify_bundle(&r->files, path, &b, w->oms, o, e);
	bundle_close(&b);
	return st;
}

enum status verify_path(struct verify_report *r, const char *path, const struct verify_wish *w, const struct verify_options *o,
			struct log *notes, struct err *e)
{
	struct verify_options own = *o;
	enum status st;

	*r = (struct verify_report){ .directory = path_is_source(path) };
	own.header_only = w->header;
	TRY(check_wish(w, r->directory, e));
	if (w->key)
		TRY(key_open(&r->key, w->key, false, e));
	if (w->oms)
		st = look_at_bundle(r, path, w, &own, e);
	else if (r->directory)
		st = look_at_source(r, path, w, &own, notes, e);
	else
		st = look_at_sealed(r, path, w, &own, notes, e);
out:
	return st;
}

void verify_report_close(struct verify_report *r)
{
	if (r->has_derived)
		derived_report_close(&r->derived);
	deep_report_close(&r->values);
	source_report_close(&r->files);
	for (size_t i = 0; r->sealed && i < r->set.n; i++)
		sealed_report_close(&r->sealed[i]);
	free(r->sealed);
	free(r->sealed_as);
	gguf_set_close(&r->set);
	key_close(&r->key);
	*r = (struct verify_report){ .kind = VERIFY_NOTHING };
}
