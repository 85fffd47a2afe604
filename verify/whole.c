/* SPDX-License-Identifier: MIT
 *
 * whole.c - everything that is asked of one path: see whole.h.
 */
#include "verify/whole.h"

#include <fcntl.h>

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
	begin(w, o, "values", r->file.id.size);
	return judge_values(r, r->file.path, w, verify_deep(&r->values, &r->sealed.gguf, &r->file, o, e), e);
}

/* What was asked for beyond a seal that holds. */
static enum status look_beyond(struct verify_report *r, const struct verify_wish *w, const struct verify_options *o,
			       struct log *notes, struct err *e)
{
	struct err own;
	enum status st = OK, deep;

	if (w->key) {
		st = r->signature = verify_signature(&r->sealed, &r->key, r->file.path, e);
		r->has_signature = true;
	}
	if (w->source && st == OK) {
		const struct derive_options d = { .source = w->source, .imatrix = w->imatrix, .sample = w->sample, .run = *o };

		begin(w, o, "derive", r->file.id.size);
		st = r->derivation = verify_derived(&r->derived, &r->sealed.gguf, &r->file, &d, notes, e);
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

static enum status look_at_sealed(struct verify_report *r, const char *path, const struct verify_wish *w,
				  const struct verify_options *o, struct log *notes, struct err *e)
{
	struct err own;
	enum status st = file_open(&r->file, AT_FDCWD, path, true, path, e), deep;

	if (st != OK)
		return st;
	begin(w, o, "verify", r->file.id.size);
	r->kind = VERIFY_SEALED;
	st = r->first = verify_sealed(&r->sealed, &r->file, o, notes, e);
	if (st == OK)
		return look_beyond(r, w, o, notes, e);
	if (!w->deep || !can_be_read(st))
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

	*r = (struct verify_report){ .file = FILE_NONE, .directory = path_is_source(path) };
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
	sealed_report_close(&r->sealed);
	file_close(&r->file);
	key_close(&r->key);
	*r = (struct verify_report){ .file = FILE_NONE };
}
