/* SPDX-License-Identifier: MIT
 *
 * session.c - one sequence that grows: prompts and single tokens through one forward pass.
 */
#include "runtime/runtime.h"

enum status session_open(struct session *s, const struct model *m, struct pool *pool, uint32_t n_ctx,
			 uint32_t n_batch, uint64_t max_memory, bool official, struct err *e)
{
	(void)pool, (void)n_ctx, (void)n_batch, (void)max_memory, (void)official;
	*s = (struct session){ 0 };
	return err_set(e, ERR_UNSUPPORTED, "%s: sequences that grow are not supported yet", m->path);
}

enum status session_eval(struct session *s, const uint32_t *ids, uint32_t n, float *logits, struct err *e)
{
	(void)s, (void)ids, (void)n, (void)logits;
	return err_set(e, ERR_UNSUPPORTED, "sequences that grow are not supported yet");
}

uint32_t session_pos(const struct session *s)
{
	(void)s;
	return 0;
}

uint64_t session_bytes(const struct arch *a, uint32_t n_ctx, uint32_t n_batch, unsigned n_threads)
{
	(void)n_ctx, (void)n_batch;
	return forward_bytes(a, 1, 1, n_threads);
}

void session_close(struct session *s)
{
	*s = (struct session){ 0 };
}
