/* SPDX-License-Identifier: MIT
 *
 * ckpt_numbers.h - private to make_checkpoint.c: random numbers and the number formats of a
 * DeepSeek-V4 checkpoint, written with nothing but integer steps and exactly rounded float
 * operations, so that every compiler and every C library gives the same bytes.
 *
 * FP8 is OCP E4M3 (no infinity, 0x7F and 0xFF are NaN), E8M0 is 2^(b - 127), FP4 is E2M1:
 * sign, then {0, .5, 1, 1.5, 2, 3, 4, 6}. A scale is the smallest power of two under which the
 * largest value of its block does not saturate.
 */
#ifndef SAMPLES_CKPT_NUMBERS_H
#define SAMPLES_CKPT_NUMBERS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* ---- random numbers: xoshiro256++, seeded by splitmix64 ------------------------------- */

struct rng { uint64_t s[4]; };

static inline uint64_t mix64(uint64_t x)
{
	x += 0x9E3779B97F4A7C15u;
	x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
	x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
	return x ^ (x >> 31);
}

/* A seed of its own for every name (FNV-1a), so that a tensor's values depend on neither the
 * order of the tensors nor the shard they lie in. */
static inline uint64_t seed_of(uint64_t seed, const char *name)
{
	uint64_t h = 0xCBF29CE484222325u ^ mix64(seed);

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 0x100000001B3u;
	return h;
}

static inline void rng_start(struct rng *r, uint64_t seed)
{
	for (unsigned i = 0; i < 4; i++)
		r->s[i] = mix64(seed + i * 0x9E3779B97F4A7C15u);
}

static inline uint64_t rotl64(uint64_t x, unsigned k) { return x << k | x >> (64 - k); }

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t *s = r->s, out = rotl64(s[0] + s[3], 23) + s[0], t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl64(s[3], 45);
	return out;
}

static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)((rng_next(r) >> 32) * n >> 32);
}

/* About normal, mean 0, variance 1: the sum of eight 16-bit numbers, which is exact. */
static inline double rng_normal(struct rng *r)
{
	uint64_t a = rng_next(r), b = rng_next(r), sum = 0;

	for (unsigned i = 0; i < 64; i += 16)
		sum += (a >> i & 0xFFFF) + (b >> i & 0xFFFF);
	return ((double)sum - 262140.0) / 53509.97;	/* sqrt((2^32 - 1) * 8 / 12) */
}

/* Natural logarithm of x > 0: 2 atanh((m - 1) / (m + 1)) + e ln 2. */
static inline double log_of(double x)
{
	int e;
	double m = frexp(x, &e), z, power, sum = 0;

	if (m < 0.70710678118654752) {
		m *= 2;
		e--;
	}
	power = z = (m - 1) / (m + 1);
	for (int k = 1; k < 40; k += 2) {
		sum += power / k;
		power *= z * z;
	}
	return 2 * sum + e * 0.69314718055994531;
}

/* ---- formats ---------------------------------------------------------------------------- */

static inline uint32_t f32_bits(float x)
{
	uint32_t u;

	memcpy(&u, &x, 4);
	return u;
}

static inline uint16_t bf16_of(double x)
{
	uint32_t u = f32_bits((float)x);

	return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static inline float bf16_value(uint16_t b)
{
	uint32_t u = (uint32_t)b << 16;
	float x;

	memcpy(&x, &u, 4);
	return x;
}

static inline double fp8_value(uint8_t c)
{
	int e = c >> 3 & 15, m = c & 7;
	double v = e ? ldexp(8 + m, e - 10) : ldexp(m, -9);

	return c & 128 ? -v : v;
}

static inline double fp4_value(uint8_t c)
{
	static const double v[8] = { 0, .5, 1, 1.5, 2, 3, 4, 6 };

	return c & 8 ? -v[c & 7] : v[c & 7];
}

/* Exponent of the smallest power of two s with amax / s <= top; 0 for amax = 0. */
static inline int fit_exponent(double amax, double top)
{
	int a, t;
	double m = frexp(amax, &a);

	if (amax == 0)
		return 0;
	return a - (frexp(top, &t), t) + (m > frexp(top, &t));
}

/* Index of the entry of v(0..n-1), which rises, that is nearest to x >= 0; ties go up. */
static inline uint8_t nearest(double x, double (*v)(uint8_t), uint8_t n)
{
	uint8_t lo = 0, hi = (uint8_t)(n - 1);

	while (hi - lo > 1) {
		uint8_t mid = (uint8_t)((lo + hi) / 2);
		if (v(mid) <= x)
			lo = mid;
		else
			hi = mid;
	}
	return x - v(lo) < v(hi) - x ? lo : hi;
}

static inline uint8_t fp8_of(double x)
{
	return (uint8_t)(nearest(fabs(x), fp8_value, 127) | (x < 0 ? 128 : 0));
}

static inline uint8_t fp4_of(double x)
{
	uint8_t c = nearest(fabs(x), fp4_value, 8);

	return (uint8_t)(c | (x < 0 ? 8 : 0));
}

/* ---- bytes straight from the generator, for checkpoints of many gigabytes --------------- */

enum noise { NOISE_FP4, NOISE_FP8, NOISE_E8M0, NOISE_BF16, NOISE_F32_POW2 };

/* Every byte twice a nibble: every FP4 code is valid. FP8: NaN codes become their neighbour.
 * Scales: base or base + 1. BF16 and F32: exponent base - (0..3), F32 a bare power of two. */
static inline uint64_t noise_word(struct rng *r, enum noise kind, unsigned base)
{
	const uint64_t b8 = 0x0101010101010101u, b16 = 0x0001000100010001u;
	uint64_t x = rng_next(r), nan;

	switch (kind) {
	case NOISE_FP4:
		return x;
	case NOISE_FP8:
		nan = ((x & 0x7F * b8) + b8) & 0x80 * b8;
		return x & ~(nan >> 7);
	case NOISE_E8M0:
		return base * b8 + (x & b8);
	case NOISE_BF16:
		return (x & 0x807F * b16) | ((base * b16 - (x >> 7 & 3 * b16)) << 7);
	case NOISE_F32_POW2:
		return ((base | (uint64_t)base << 32) + (x & 0x100000001u)) << 23;
	}
	return 0;
}

static inline void noise_fill(struct rng *r, enum noise kind, unsigned base, uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i += 8) {
		uint64_t x = noise_word(r, kind, base);
		memcpy(p + i, &x, n - i < 8 ? n - i : 8);
	}
}

#endif
