/* SPDX-License-Identifier: MIT
 *
 * cmd_sealed.c - `ingot verify` of a GGUF: its file, or the files of its set, each against its seal.
 */
#include <stdlib.h>
#include <string.h>

#include "verify/cmd.h"

void verify_show(void *arg, uint64_t done, uint64_t total)
{
	struct progress *p = arg;

	p->total = total;
	progress_update(p, done, NULL);
}

static void print_damage(const struct cli *c, const struct sealed_report *r)
{
	enum { SHOWN = 200 };

	if (r->rewritten || (r->size_differs && !r->has_trailing && r->n_damage == 0)) {
		fprintf(cli_out(c), "REWRITTEN: %s\n", r->rewritten ? "the seal is another file's"
								  : "the header is not the sealed one, the tensors are");
		return;
	}
	if (r->n_damage > SHOWN)
		fprintf(cli_out(c), "DAMAGED: %zu chunks; the first %d:\n", r->n_damage, SHOWN);
	for (size_t i = 0; i < r->n_damage && i < SHOWN; i++) {
		const struct damage *d = &r->damage[i];
		char expert[40] = "";

		if (d->expert != UINT64_MAX)
			snprintf(expert, sizeof expert, ", expert %llu", (unsigned long long)d->expert);
		fprintf(cli_out(c), "DAMAGED: tensor %s%s, bytes %llu..%llu\n", cli_esc(d->tensor), expert,
			(unsigned long long)d->from, (unsigned long long)d->to);
	}
	if (r->signature_differs)
		fprintf(cli_out(c), "DAMAGED: header, the signature's slot, bytes %llu..%llu\n",
			(unsigned long long)r->seal.signature_off,
			(unsigned long long)(r->seal.signature_off + r->seal.signature.n));
	if (r->header_differs || r->root_differs)
		fprintf(cli_out(c), "DAMAGED: header, bytes 0..%llu\n", (unsigned long long)r->gguf.data_off);
	if (r->padding_differs)
		fprintf(cli_out(c), "DAMAGED: padding, byte %llu\n", (unsigned long long)r->padding_at);
}

static cJSON *sealed_json(const struct sealed_report *r, const char *path, enum status st)
{
	cJSON *doc = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(doc, "damage");

	cJSON_AddStringToObject(doc, "path", cli_escz(path));
	cJSON_AddStringToObject(doc, "kind", "gguf");
	cJSON_AddStringToObject(doc, "verdict", st == OK ? "INTACT" : st != ERR_MISMATCH ? "UNKNOWN"
								  : r->rewritten ? "REWRITTEN" : "DAMAGED");
	cJSON_AddNumberToObject(doc, "bytes", (double)r->file_bytes);
	cJSON_AddBoolToObject(doc, "sealed", r->sealed);
	cJSON_AddBoolToObject(doc, "header_differs", r->header_differs || r->root_differs || r->signature_differs);
	cJSON_AddBoolToObject(doc, "padding_differs", r->padding_differs);
	cJSON_AddBoolToObject(doc, "trailing_bytes", r->has_trailing);
	cJSON_AddStringToObject(doc, "header_sha256", r->header_sha256);
	for (size_t i = 0; i < r->n_damage; i++) {
		cJSON *o = cJSON_CreateObject();

		cJSON_AddStringToObject(o, "tensor", cli_esc(r->damage[i].tensor));
		if (r->damage[i].expert != UINT64_MAX)
			cJSON_AddNumberToObject(o, "expert", (double)r->damage[i].expert);
		cJSON_AddNumberToObject(o, "from", (double)r->damage[i].from);
		cJSON_AddNumberToObject(o, "to", (double)r->damage[i].to);
		cJSON_AddItemToArray(list, o);
	}
	return doc;
}

cJSON *sealed_files_json(const struct sealed_files *x, const char *path, enum status st)
{
	cJSON *doc, *list;

	if (x->set.n == 1)
		return sealed_json(&x->reports[0], path, st);
	doc = cJSON_CreateObject();
	cJSON_AddStringToObject(doc, "path", cli_escz(path));
	cJSON_AddStringToObject(doc, "kind", "gguf set");
	cJSON_AddStringToObject(doc, "verdict", st == OK ? "INTACT" : st != ERR_MISMATCH ? "UNKNOWN"
			       : x->set.n_missing ? "INCOMPLETE" : "DAMAGED");
	cJSON_AddNumberToObject(doc, "missing", (double)x->set.n_missing);
	list = cJSON_AddArrayToObject(doc, "files");
	for (size_t i = 0; i < x->set.n; i++)
		if (x->set.files[i].fd >= 0)
			cJSON_AddItemToArray(list, sealed_json(&x->reports[i], x->set.files[i].path, x->verdicts[i]));
	return doc;
}

/* What is kept as the error of the whole: damage before a seal that is absent, the first before others. */
static void keep_worst(enum status *all, struct err *e, enum status one, const struct err *own)
{
	if (one == OK || *all == ERR_MISMATCH || (*all != OK && one != ERR_MISMATCH))
		return;
	*all = one;
	*e = *own;
}

static enum status verify_one(struct sealed_files *x, size_t i, struct cli *c, struct verify_options *o,
			      struct log *notes, struct err *e)
{
	const struct file *f = &x->set.files[i];
	struct progress p;
	enum status st;

	if (f->fd < 0) {
		fprintf(cli_out(c), "%s: MISSING\n", cli_escz(f->path));
		return err_set(e, ERR_MISMATCH, "%s: is missing: %zu of the set's %zu files are; fetch them, or convert again",
			       f->path, x->set.n_missing, x->set.n);
	}
	progress_begin(&p, c, "verify", f->id.size);
	o->progress = verify_show;
	o->arg = &p;
	st = verify_sealed(&x->reports[i], f, o, notes, e);
	o->arg = NULL;
	progress_end(&p);
	if (x->set.n > 1)
		fprintf(cli_out(c), "%s: %s\n", cli_escz(f->path), st == OK ? "OK" : st == ERR_NO_DIGEST ? "NO SEAL" : "FAILED");
	print_damage(c, &x->reports[i]);
	return st;
}

enum status sealed_files_verify(struct sealed_files *x, struct cli *c, const char *path, struct verify_options *o,
				struct log *notes, struct err *e)
{
	enum status st;

	*x = (struct sealed_files){ .any_sealed = false };
	TRY(gguf_set_find(&x->set, path, NULL, e));	/* remarks come when each is verified */
	x->reports = mem_new(x->set.n, sizeof *x->reports, "reports", e);
	x->verdicts = mem_new(x->set.n, sizeof *x->verdicts, "reports", e);
	if (!x->reports || !x->verdicts) {
		st = e->status;
		goto out;
	}
	st = OK;
	for (size_t i = 0; i < x->set.n; i++) {
		struct err own;

		x->verdicts[i] = verify_one(x, i, c, o, notes, &own);
		keep_worst(&st, e, x->verdicts[i], &own);
		x->any_sealed |= x->reports[i].sealed;
		if (x->verdicts[i] == ERR_IO || x->verdicts[i] == ERR_NOMEM || x->verdicts[i] == ERR_STOPPED)
			break;
	}
	if (st == OK)
		st = gguf_set_check_seals(&x->set, e);
out:
	return st;
}

void sealed_files_close(struct sealed_files *x)
{
	for (size_t i = 0; x->reports && i < x->set.n; i++)
		sealed_report_close(&x->reports[i]);
	free(x->reports);
	free(x->verdicts);
	gguf_set_close(&x->set);
	*x = (struct sealed_files){ .any_sealed = false };
}
