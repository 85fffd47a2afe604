/* SPDX-License-Identifier: MIT
 *
 * deep.c - all that is looked at in a GGUF's values, and the verdict; of a checkpoint's: deep_source.c.
 */
#include "verify/deep.h"

enum status deep_verdict(const struct deep_report *r, const char *path, const char *after, struct err *e)
{
	uint64_t n = r->bad.n_lines + r->bad.n_dropped;

	if (n)
		return err_set(e, ERR_MISMATCH, "%s: %llu values or keys are not what a sound file has, each listed as BAD; "
			       "do not run it, and %s", path, (unsigned long long)n, after);
	if (r->n_unread)
		return err_set(e, ERR_UNSUPPORTED, "%s: the values of %llu tensors were not looked at: their types cannot be "
			       "read here (`ingot inspect --tensors` lists them)", path, (unsigned long long)r->n_unread);
	return OK;
}

enum status verify_deep(struct deep_report *r, const struct gguf_set *s, const struct verify_options *o, struct err *e)
{
	const struct gguf *g = &s->gguf;
	const char *path = s->files[0].path;
	enum status st;

	*r = (struct deep_report){ .model = deep_is_model(g) };
	TRY(deep_tokens(r, g, path, e));
	TRY(deep_model(r, g, path, e));
	TRY(deep_values(r, s, o, e));
	TRY(gguf_set_unchanged(s, e));
	st = deep_verdict(r, path, "take it from another source or convert it again", e);
out:
	return st;
}

void deep_report_close(struct deep_report *r)
{
	log_close(&r->bad);
	log_close(&r->odd);
	*r = (struct deep_report){ 0 };
}
