/* SPDX-License-Identifier: MIT
 *
 * test_parity.c - the statistics that compare a model with its reference.
 *
 * The numbers were computed once in 50-digit decimal arithmetic by an independent script; the error
 * of the ratio also by llama-perplexity's formula from variances and covariance.
 */
#include <float.h>
#include <math.h>

#include "runtime/runtime.h"
#include "tests/test.h"

static bool near(double x, double want) { return fabs(x - want) <= 1e-13 * fmax(1, fabs(want)); }
static bool is(struct estimate x, double mean, double error) { return near(x.mean, mean) && near(x.error, error); }

static void divergence_of_small_vectors(void)
{
	static const float a[3] = { 1, 0, -1.5f }, b[3] = { 0.5f, 0.25f, -1 };
	static const float c[4] = { 0.125f, 3, 2.75f, -4 }, d[4] = { 0.125f, 2.5f, 3.25f, -4 };
	static const float up[2] = { 5, -5 }, down[2] = { -5, 5 };

	CHECK(near(parity_kld(a, b, 3), 0.075674286082491187));
	CHECK(near(parity_kld(c, d, 4), 0.11931947308194777));
	CHECK(near(parity_kld(up, down, 2), 9.9990920426259513));
	CHECK(!near(parity_kld(b, a, 3), parity_kld(a, b, 3)));
}

static void divergence_at_the_edges(void)
{
	static const float far[2] = { 0, -1e30f }, even[2] = { 0, 0 }, huge[2] = { FLT_MAX, -FLT_MAX };
	static const float low[3] = { 0.5f, 0.25f, -1 }, high[3] = { 64.5f, 64.25f, 63 };
	float z[1000];

	for (int i = 0; i < 1000; i++)
		z[i] = (float)((i * 7919) % 1013) / 37 - 9.1f;
	CHECK(parity_kld(z, z, 1000) == 0 && !signbit(parity_kld(z, z, 1000)));
	CHECK(parity_kld(huge, huge, 2) == 0);
	CHECK(near(parity_kld(far, even, 2), log(2)));
	CHECK(isfinite(parity_kld(huge, even, 2)));
	CHECK(parity_kld(low, high, 3) == 0);	/* a shift that float32 holds changes nothing */
	z[5] = NAN;
	CHECK(isnan(parity_kld(z, z, 1000)));
}

static void figures_of_five_positions(void)
{
	static const struct parity_row rows[5] = {
		{ -0.5, -0.75, 0.125, true }, { -2, -1.5, 0.5, false }, { -0.25, -0.25, 0.0625, true },
		{ -3, -3.5, 1, true }, { -1, -1.25, 0.25, false },
	};
	struct parity p;
	struct err e = { 0 };

	CHECK(parity_open(&p, 5, 0, &e) == OK);
	for (int i = 0; i < 5; i++)
		parity_add(&p, &rows[i]);
	parity_add(&p, &rows[0]);	/* more than there is room for is left out */
	parity_finish(&p);
	CHECK(p.n == 5 && p.layers == NULL);
	CHECK(is(p.ref_ppl, 3.8574255306969744, 1.9669088053254876));
	CHECK(is(p.ln_ratio, 0.1, 0.16955824957813170));
	CHECK(is(p.ratio, 1.1051709180756476, 0.18739084635356361));
	CHECK(is(p.mean_kld, 0.3875, 0.17047727121232320));
	CHECK(is(p.change, -0.029466711863319848, 0.037664373726588128));
	CHECK(is(p.rms_change, 0.080887003287922115, 0.020190471574948016));
	CHECK(is(p.same_best, 0.6, 0.24494897427831781));
	CHECK(parity_percentile(&p, 0) == 0.0625 && parity_percentile(&p, 100) == 1);
	CHECK(parity_percentile(&p, 50) == 0.25 && near(parity_percentile(&p, 90), 0.8));
	CHECK(near(parity_percentile(&p, 99.9), 0.998) && near(parity_percentile(&p, 12.5), 0.09375));
	parity_close(&p);
	parity_close(&p);
}

static void equal_predictions_are_exactly_equal(void)
{
	struct parity p;
	struct err e = { 0 };

	CHECK(parity_open(&p, 1000, 0, &e) == OK);
	for (int i = 1; i <= 1000; i++) {
		double l = -1.0 / i - i / 77.0;

		parity_add(&p, &(struct parity_row){ l, l, 0, true });
	}
	parity_finish(&p);
	CHECK(p.ratio.mean == 1 && p.ratio.error == 0 && p.ln_ratio.mean == 0 && p.ln_ratio.error == 0);
	CHECK(p.mean_kld.mean == 0 && p.mean_kld.error == 0 && parity_percentile(&p, 100) == 0);
	CHECK(p.same_best.mean == 1 && p.same_best.error == 0);
	CHECK(p.change.mean == 0 && p.rms_change.mean == 0 && p.rms_change.error == 0);
	parity_close(&p);
}

static void a_single_position(void)
{
	struct parity p;
	struct err e = { 0 };

	CHECK(parity_open(&p, 1, 0, &e) == OK);
	parity_add(&p, &(struct parity_row){ -1, -2, 0.5, false });
	parity_finish(&p);
	CHECK(is(p.mean_kld, 0.5, 0) && is(p.ln_ratio, 1, 0) && is(p.same_best, 0, 0));
	CHECK(parity_percentile(&p, 0) == 0.5 && parity_percentile(&p, 99.9) == 0.5);
	parity_close(&p);
}

static void errors_of_hidden_states(void)
{
	static const float a[2] = { 3, 4 }, b[2] = { 3, 5 }, none[2] = { 0, 0 }, odd[2] = { NAN, 1 };
	struct layer_error l, sum = { 0 };

	layer_error_of(&l, a, b, 2);
	CHECK(near(layer_error_rms(&l), 0.2) && near(layer_error_cosine(&l), 0.99469179382655126) && l.max == 1);
	layer_error_add(&sum, &l);
	layer_error_of(&l, a, a, 2);
	CHECK(layer_error_rms(&l) == 0 && layer_error_cosine(&l) == 1 && l.max == 0);
	layer_error_add(&sum, &l);
	CHECK(near(layer_error_rms(&sum), sqrt(0.02)) && sum.max == 1);
	layer_error_of(&l, none, none, 2);
	CHECK(layer_error_rms(&l) == 0 && layer_error_cosine(&l) == 1);
	layer_error_of(&l, none, a, 2);
	CHECK(isinf(layer_error_rms(&l)) && l.max == 4);
	layer_error_of(&l, odd, a, 2);
	CHECK(isnan(l.max) || isnan(layer_error_rms(&l)));
}

static void what_cannot_be_compared(void)
{
	static char m_path[] = "m", r_path[] = "r";
	struct model m = MODEL_NONE, r;
	struct err e = { 0 };

	m.path = m_path;
	m.arch = (struct arch){ .n_vocab = 50, .n_layer = 5, .n_embd = 36, .n_hc = 4, .n_expert = 8 };
	r = m;
	r.path = r_path;
	r.arch.n_expert = 9;	/* no matter: the streams and the logits are what is compared */
	CHECK(parity_check(&m, &r, &e) == OK);
	r.arch.n_vocab = 51;
	CHECK(parity_check(&m, &r, &e) == ERR_MISMATCH && strstr(e.msg, "vocabulary"));
	r.arch.n_vocab = 50;
	r.arch.n_layer = 4;
	CHECK(parity_check(&m, &r, &e) == ERR_MISMATCH && strstr(e.msg, "5 layers, the reference r has 4"));
	r.arch.n_layer = 5;
	r.arch.n_embd = 32;
	CHECK(parity_check(&m, &r, &e) == ERR_MISMATCH && strstr(e.msg, "width"));
	r.arch.n_embd = 36;
	r.arch.n_hc = 2;
	CHECK(parity_check(&m, &r, &e) == ERR_MISMATCH && strstr(e.msg, "streams"));
}

static void vocabularies_must_agree(void)
{
	struct str a[3] = { STR("x"), STR("y"), STR("z") }, b[3] = { STR("x"), STR("y"), STR("w") };
	struct vocab v = { .tokens = a, .n_tokens = 3, .bos = TOKEN_NONE }, r = v;
	struct err e = { 0 };

	CHECK(parity_check_vocab(&v, "m", &r, "r", &e) == OK);
	r.tokens = b;
	CHECK(parity_check_vocab(&v, "m", &r, "r", &e) == ERR_MISMATCH && strstr(e.msg, "m: token 2 "));
	r.n_tokens = 2;
	CHECK(parity_check_vocab(&v, "m", &r, "r", &e) == ERR_MISMATCH && strstr(e.msg, "m: token 2 "));
	r = v;
	r.add_bos = true;
	r.bos = 0;
	CHECK(parity_check_vocab(&v, "m", &r, "r", &e) == ERR_MISMATCH && strstr(e.msg, "bos"));
}

int main(void)
{
	RUN(divergence_of_small_vectors);
	RUN(divergence_at_the_edges);
	RUN(figures_of_five_positions);
	RUN(equal_predictions_are_exactly_equal);
	RUN(a_single_position);
	RUN(errors_of_hidden_states);
	RUN(what_cannot_be_compared);
	RUN(vocabularies_must_agree);
	return test_done();
}
