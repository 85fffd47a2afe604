/* SPDX-License-Identifier: MIT
 *
 * verify.c - whether a file, or a source, is what it says it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "library/library.h"
#include "verify/whole.h"

struct ingot_verdict {
	struct ingot_verdict_facts facts;
	struct ingot_finding *findings;	/* owned */
	size_t cap;
	struct texts texts;
};

static struct ingot_finding *add(struct ingot_verdict *v, enum ingot_finding_kind kind)
{
	void *p = v->findings;
	struct err ignored = { 0 };
	size_t n = (size_t)v->facts.n_findings;

	if (mem_grow(&p, &v->cap, n + 1, sizeof *v->findings, "findings", &ignored) != OK) {
		v->texts.failed = true;
		return NULL;
	}
	v->findings = p;
	v->facts.n_findings++;
	v->findings[n] = (struct ingot_finding){ .kind = (int)kind, .name = "", .text = "", .expert = -1 };
	return &v->findings[n];
}

static void add_files(struct ingot_verdict *v, const struct source_report *r, bool strict)
{
	static const enum ingot_finding_kind kinds[] = {
		[FILE_OK] = INGOT_FILE_OK, [FILE_FAILED] = INGOT_FILE_FAILED, [FILE_NO_DIGEST] = INGOT_FILE_NO_DIGEST,
		[FILE_MISSING] = INGOT_FILE_MISSING, [FILE_EXTRA] = INGOT_FILE_EXTRA,
	};
	char text[512], want[65], have[65];

	v->facts.commit = texts_addz(&v->texts, r->commit);
	for (size_t i = 0; i < r->n; i++) {
		const struct file_result *f = &r->files[i];
		struct ingot_finding *to;

		if ((f->verdict == FILE_EXTRA && !strict) || !(to = add(v, kinds[f->verdict])))
			continue;
		to->name = texts_addz(&v->texts, f->name);
		to->to = f->bytes;
		if (f->verdict == FILE_FAILED && f->found.kind != DIGEST_NONE)
			snprintf(text, sizeof text, "digest is %s, expected %s%s%s", digest_text(&f->found, have),
				 digest_text(&f->expected, want), f->why[0] ? "; " : "", f->why);
		else
			snprintf(text, sizeof text, "%s", f->why);
		to->text = texts_addz(&v->texts, text);
	}
}

static void add_place(struct ingot_verdict *v, const char *name, uint64_t from, uint64_t to)
{
	struct ingot_finding *f = add(v, INGOT_DAMAGED);

	if (f) {
		f->name = name;
		f->from = from;
		f->to = to;
	}
}

static void add_damage(struct ingot_verdict *v, const struct sealed_report *r)
{
	struct ingot_finding *f;

	if (r->rewritten || (r->size_differs && !r->has_trailing && r->n_damage == 0)) {
		if ((f = add(v, INGOT_REWRITTEN)))
			f->text = r->rewritten ? "the seal is another file's"
					       : "the header is not the sealed one, the tensors are";
		return;
	}
	for (size_t i = 0; i < r->n_damage; i++)
		if ((f = add(v, INGOT_DAMAGED))) {
			const struct damage *d = &r->damage[i];

			f->name = texts_add(&v->texts, d->tensor);
			f->expert = d->expert == UINT64_MAX ? -1 : (int64_t)d->expert;
			f->from = d->from;
			f->to = d->to;
		}
	if (r->signature_differs)
		add_place(v, "signature", r->seal.signature_off, r->seal.signature_off + r->seal.signature.n);
	if (r->header_differs || r->root_differs)
		add_place(v, "header", 0, r->gguf->data_off);
	if (r->padding_differs)
		add_place(v, "padding", r->padding_at, r->padding_at + 1);
}

/* Of several files also each by its name. */
static void add_set(struct ingot_verdict *v, const struct verify_report *r)
{
	for (size_t i = 0; i < r->set.n; i++) {
		const struct file *f = &r->set.files[i];
		enum status st = r->sealed_as[i];
		struct ingot_finding *to = NULL;

		if (r->set.n > 1 && (f->fd < 0 || st != ERR_STOPPED))
			to = add(v, f->fd < 0 ? INGOT_FILE_MISSING : st == OK ? INGOT_FILE_OK
				     : st == ERR_NO_DIGEST ? INGOT_FILE_NO_DIGEST : INGOT_FILE_FAILED);
		if (to) {
			to->name = texts_addz(&v->texts, f->path);
			to->to = f->id.size;
		}
		add_damage(v, &r->sealed[i]);
	}
}

static void add_lines(struct ingot_verdict *v, const struct log *l, enum ingot_finding_kind kind)
{
	struct ingot_finding *f;
	char more[64];

	for (const char *at = l->text; at && *at; at += strcspn(at, "\n") + 1)
		if ((f = add(v, kind)))
			f->text = texts_add(&v->texts, (struct str){ at, strcspn(at, "\n") });
	if (l->n_dropped && (f = add(v, kind))) {
		snprintf(more, sizeof more, "and %zu more", l->n_dropped);
		f->text = texts_addz(&v->texts, more);
	}
}

static unsigned shown(const struct verify_report *r, const struct verify_wish *w)
{
	unsigned s = 0;

	if (r->kind == VERIFY_BUNDLE)
		return r->first == OK ? INGOT_AUTHENTIC : 0;
	if (r->first == OK)
		s |= w->header ? INGOT_HEADER_INTACT : r->kind == VERIFY_SEALED ? INGOT_INTACT | INGOT_HEADER_INTACT : INGOT_INTACT;
	if (r->has_signature && r->signature == OK)
		s |= INGOT_AUTHENTIC;
	if (r->has_derived && r->derivation == OK)
		s |= INGOT_DERIVED;
	if (r->has_values && r->deep == OK)
		s |= INGOT_SOUND;
	return s;
}

static void fill(struct ingot_verdict *v, const struct verify_report *r, const struct verify_wish *w)
{
	struct ingot_verdict_facts *f = &v->facts;

	f->shown = shown(r, w);
	if (r->key.pkey) {
		f->key = r->key.kind;
		f->key_sha256 = texts_addz(&v->texts, r->key.fingerprint);
	}
	if (r->kind == VERIFY_SEALED) {
		f->header_sha256 = texts_addz(&v->texts, r->sealed[0].header_sha256);
		add_set(v, r);
	} else {
		add_files(v, &r->files, w->strict || r->kind == VERIFY_BUNDLE);
	}
	if (r->has_derived) {
		f->n_matrices = r->derived.n_matrices;
		f->n_all_matrices = r->derived.n_all;
		add_lines(v, &r->derived.differences, INGOT_NOT_DERIVED);
	}
	if (r->has_values) {
		f->n_tensors = r->values.n_tensors;
		f->n_tensors_unread = r->values.n_unread;
		add_lines(v, &r->values.bad, INGOT_VALUE_BAD);
		add_lines(v, &r->values.odd, INGOT_VALUE_ODD);
	}
}

static enum status take_options(struct verify_wish *w, const struct ingot_verify_options *options, struct err *e)
{
	enum { KNOWN = INGOT_STRICT | INGOT_HEADER | INGOT_DEEP };
	struct ingot_verify_options g;

	if (options_take(&g, sizeof g, options, e) != OK)
		return e->status;
	if (g.flags & ~(unsigned)KNOWN)
		return err_set(e, ERR_USAGE, "flags of a check: 0x%x is none that libingot %s knows", g.flags, INGOT_VERSION);
	*w = (struct verify_wish){ .digests = g.digests, .key = g.key, .oms = g.oms, .source = g.source, .imatrix = g.imatrix,
				   .sample = g.sample, .strict = (g.flags & INGOT_STRICT) != 0,
				   .header = (g.flags & INGOT_HEADER) != 0, .deep = (g.flags & INGOT_DEEP) != 0,
				   .step = call_step };
	return OK;
}

/* Which file or tensor it is, is nothing to rely on yet. */
static void progress(void *arg, uint64_t done, uint64_t total, const char *what)
{
	(void)what;
	call_progress(arg, done, total, NULL);
}

/* What was found, as far as it came to a look. */
static enum status make_verdict(struct ingot_verdict **to, const struct verify_report *r, const struct verify_wish *w,
				struct err *e)
{
	struct ingot_verdict *v = mem_new(1, sizeof *v, "a verdict", e);

	if (!v)
		return e->status;
	v->facts = (struct ingot_verdict_facts){ .header_sha256 = "", .key = "", .key_sha256 = "", .commit = "" };
	fill(v, r, w);
	if (texts_check(&v->texts, e) != OK) {
		ingot_verdict_close(v);
		return e->status;
	}
	*to = v;
	return OK;
}

int ingot_verify(struct ingot_verdict **v, const char *model, const struct ingot_verify_options *options,
		 const struct ingot_run *run, struct ingot_error *e)
{
	struct verify_report r = { .kind = VERIFY_NOTHING };
	struct verify_wish w;
	struct err own = { 0 };
	struct call c;
	enum status st = call_open(&c, run);

	if (v)
		*v = NULL;
	TRY(st);
	TRY(take_options(&w, options, &c.err));
	const struct verify_options o = { .threads = c.run.threads, .stop = c.stop, .progress = progress, .arg = &c,
					  .source = &c.from };

	st = verify_path(&r, model, &w, &o, &c.notes, &c.err);
	if (v && r.kind != VERIFY_NOTHING && make_verdict(v, &r, &w, &own) != OK && st == OK) {
		c.err = own;
		st = own.status;
	}
	verify_report_close(&r);
out:
	return call_close(&c, st, e);
}

void ingot_verdict_close(struct ingot_verdict *v)
{
	if (!v)
		return;
	free(v->findings);
	texts_close(&v->texts);
	free(v);
}

int ingot_verdict_facts(const struct ingot_verdict *v, struct ingot_verdict_facts *f)
{
	return result_give(f, &v->facts, sizeof v->facts);
}

int ingot_verdict_finding(const struct ingot_verdict *v, uint64_t i, struct ingot_finding *f)
{
	return i < v->facts.n_findings ? result_give(f, &v->findings[i], sizeof *v->findings) : INGOT_USAGE;
}
