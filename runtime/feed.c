/* SPDX-License-Identifier: MIT
 *
 * feed.c - what the run will want next, told to the store: the tensors of a layer in the order of
 * their use, the experts once the router has chosen, and the layer after it.
 *
 * It decides what is read and kept, never what is computed: a unit that was not announced is read
 * when the run asks for it. Nothing is announced that the layer will not use, so that bytes read are
 * those of the experts that tokens went to.
 */
#include "runtime/layer.h"
#include "runtime/store.h"

/* When a tensor is used: by every token of every layer that has it, if ... */
enum use {
	USE_ALWAYS = 1,
	USE_COMPRESSED = 2,		/* the context holds a block */
	USE_INDEXED = 4,		/* it may hold more blocks than the indexer picks */
	USE_PICKED = 8,			/* it does, now */
	USE_EXPERT = 16, USE_SHARED = 32,
	USE_OUTPUT = 64,
};
/* In the order of use. */
static const struct { enum role role; enum use use; } sequence[] = {
	{ ROLE_HC_ATTN_FN, USE_ALWAYS }, { ROLE_HC_ATTN_SCALE, USE_ALWAYS }, { ROLE_HC_ATTN_BASE, USE_ALWAYS },
	{ ROLE_ATTN_NORM, USE_ALWAYS }, { ROLE_ATTN_KV, USE_ALWAYS }, { ROLE_ATTN_KV_NORM, USE_ALWAYS },
	{ ROLE_COMP_KV, USE_COMPRESSED }, { ROLE_COMP_GATE, USE_COMPRESSED }, { ROLE_COMP_APE, USE_COMPRESSED },
	{ ROLE_COMP_NORM, USE_COMPRESSED },
	{ ROLE_IDX_COMP_KV, USE_INDEXED }, { ROLE_IDX_COMP_GATE, USE_INDEXED }, { ROLE_IDX_COMP_APE, USE_INDEXED },
	{ ROLE_IDX_COMP_NORM, USE_INDEXED },
	{ ROLE_ATTN_Q_A, USE_ALWAYS }, { ROLE_ATTN_Q_A_NORM, USE_ALWAYS },
	{ ROLE_IDX_Q_B, USE_PICKED }, { ROLE_IDX_PROJ, USE_PICKED },
	{ ROLE_ATTN_SINKS, USE_ALWAYS }, { ROLE_ATTN_Q_B, USE_ALWAYS }, { ROLE_ATTN_OUTPUT_A, USE_ALWAYS },
	{ ROLE_ATTN_OUTPUT_B, USE_ALWAYS },
	{ ROLE_HC_FFN_FN, USE_ALWAYS }, { ROLE_HC_FFN_SCALE, USE_ALWAYS }, { ROLE_HC_FFN_BASE, USE_ALWAYS },
	{ ROLE_FFN_NORM, USE_ALWAYS }, { ROLE_ROUTER, USE_ALWAYS }, { ROLE_ROUTER_BIAS, USE_ALWAYS },
	{ ROLE_GATE_EXPS, USE_EXPERT }, { ROLE_UP_EXPS, USE_EXPERT }, { ROLE_DOWN_EXPS, USE_EXPERT },
	{ ROLE_GATE_SHEXP, USE_SHARED }, { ROLE_UP_SHEXP, USE_SHARED }, { ROLE_DOWN_SHEXP, USE_SHARED },
	{ ROLE_OUTPUT_HC_FN, USE_OUTPUT }, { ROLE_OUTPUT_HC_SCALE, USE_OUTPUT }, { ROLE_OUTPUT_HC_BASE, USE_OUTPUT },
	{ ROLE_OUTPUT_NORM, USE_OUTPUT }, { ROLE_OUTPUT, USE_OUTPUT },
};

uint64_t feed_due(const struct store *s, const struct unit *u)
{
	const struct shelf *h = &s->shelves[u->shelf];
	uint64_t next = s->time - s->layer + h->layer, skipped;

	if (u->wanted >= s->time)
		return u->wanted;
	/* this layer's experts may still be chosen; all else comes with the next pass */
	if (next < s->time || (next == s->time && (s->routed || !h->experts)))
		next += s->n_layers;
	/* as long again as it has not been wanted: of experts, those that are seldom chosen go first */
	skipped = (next - u->used) / s->n_layers;
	return next + (skipped > 1 ? (skipped - 1) * s->n_layers : 0);
}

/* ---- the agenda, under the mutex ---- */

/* left: bytes that may yet be announced. */
struct plan { struct store *s; uint64_t time, left; bool absent, full; };

/* Without memory for the agenda nothing is read ahead, which costs only time. */
static void announce_unit(struct plan *p, size_t unit)
{
	struct store *s = p->s;
	struct unit *u = &s->units[unit];
	void *list = s->agenda;
	struct err e;

	if (p->s->shelves[u->shelf].bytes > p->left)
		return;
	p->left -= p->s->shelves[u->shelf].bytes;
	u->wanted = p->time;
	u->turn = ++s->turn;
	if (u->state != UNIT_ABSENT || p->full)
		return;
	p->full = mem_grow(&list, &s->cap_agenda, s->n_agenda + 1, sizeof *s->agenda, "the agenda", &e) != OK;
	s->agenda = list;
	if (p->full)
		return;
	s->agenda[s->n_agenda++] = unit;
	p->absent = true;
}

/* One matrix of every tensor with one of these uses; layer may be LAYER_NONE. */
static void announce(struct plan *p, unsigned uses, uint32_t layer, uint64_t matrix)
{
	for (size_t i = 0; i < sizeof sequence / sizeof *sequence; i++) {
		size_t want = sequence[i].use & uses ? weight_index(p->s->m, sequence[i].role, layer) : SIZE_MAX;
		const struct shelf *h = p->s->shelves + (want == SIZE_MAX ? 0 : want);

		for (uint64_t k = 0; want != SIZE_MAX && k < h->n_pieces; k++)
			announce_unit(p, h->first + (size_t)(matrix * h->n_pieces + k));
	}
}

static uint32_t place(const struct forward *f, uint32_t layer)
{
	return layer == LAYER_NONE ? f->arch->n_layer + 1 : layer;
}

/* What every token of this batch takes through a layer, or (LAYER_NONE) the output. */
static void announce_layer(struct plan *p, const struct forward *f, uint32_t layer)
{
	const struct arch *a = f->arch;
	unsigned uses = USE_ALWAYS | USE_SHARED;
	uint32_t ratio;

	p->time = p->s->time - p->s->layer + place(f, layer);
	if (layer == LAYER_NONE) {
		announce(p, USE_OUTPUT, LAYER_NONE, 0);
		return;
	}
	ratio = a->ratio[layer];
	if (ratio && f->n_ctx / ratio)
		uses |= USE_COMPRESSED;
	if (rows_are_picked(a, f->n_ctx, ratio)) {
		uses |= USE_INDEXED;
		if (rows_visible(f->pos + f->n_new - 1, ratio) > a->idx_topk)
			uses |= USE_PICKED;
	}
	announce(p, uses, layer, 0);
}

/* Of what comes after a layer no more than half of the memory: this one's experts need room as well. */
static void announce_next(struct plan *p, const struct forward *f, uint32_t layer)
{
	p->left = p->s->budget / 2;
	announce_layer(p, f, layer + 1 < f->arch->n_layer ? layer + 1 : LAYER_NONE);
}

static void begin(struct plan *p, struct store *s)
{
	*p = (struct plan){ .s = s, .left = UINT64_MAX };
	pthread_mutex_lock(&s->mutex);
	s->n_agenda = s->next = 0;
}

static void end(struct plan *p)
{
	if (p->absent)
		pthread_cond_broadcast(&p->s->work);
	pthread_mutex_unlock(&p->s->mutex);
}

void feed_layer(const struct forward *f, uint32_t layer)
{
	struct store *s = f->model->store;
	uint32_t at = place(f, layer);
	struct plan p;

	begin(&p, s);
	if (at != s->layer || s->routed) {
		uint64_t pass = s->time / s->n_layers + (at <= s->layer);

		s->time = pass * s->n_layers + at;
		s->layer = at;
		s->routed = false;
	}
	if (s->open) {
		announce_layer(&p, f, layer);
		if (layer != LAYER_NONE)
			announce_next(&p, f, layer);
	}
	end(&p);
}

void feed_experts(const struct forward *f, uint32_t layer)
{
	struct store *s = f->model->store;
	struct plan p;

	begin(&p, s);
	s->routed = true;
	p.time = s->time;
	for (uint32_t i = 0; i < f->arch->n_expert && s->open; i++)
		if (f->first[i + 1] > f->first[i])
			announce(&p, USE_EXPERT, layer, i);
	if (s->open) {
		announce(&p, USE_SHARED, layer, 0);
		announce_next(&p, f, layer);
	}
	end(&p);
}
