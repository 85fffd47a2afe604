/* SPDX-License-Identifier: MIT
 *
 * encode_scalar.c - the encoders in plain C, a lane at a time: the specification.
 */
#include "quantize/encoders.h"

#include <string.h>

#include "quantize/floats.h"

#define SET scalar
#define SCALAR
enum { VL = 1 };
typedef float vf;
typedef int32_t vi;
typedef uint32_t vu;
typedef struct { int16_t a, b; } vs;

static inline vf less(vf a, vf b) { return a < b ? a : b; }
static inline vf more(vf a, vf b) { return a > b ? a : b; }
/* Adding 1.5 * 2^23 leaves no bits for a fraction; |a| < 2^22. */
static inline vi to_int(vf a) { return (vi)(a + 12582912.0f - 12582912.0f); }
static inline vi as_int(vf a) { return (vi)f32_bits(a); }
static inline vf as_float(vi a) { return bits_f32((uint32_t)a); }
static inline vf to_float(vi a) { return (vf)a; }
static inline vi imore(vi a, vi b) { return a > b ? a : b; }
static inline vi iless(vi a, vi b) { return a < b ? a : b; }
static inline vf if_less(vf a, vf b, vf x, vf y) { return a < b ? x : y; }

static inline vi at_least(vf a, vf b) { return a >= b; }

static inline vf look_up32(const float *table, vi at) { return table[at]; }

static inline unsigned keep_below(float *out, vf v, float top)
{
	*out = v;
	return v <= top;
}

static inline vi wide16(const uint8_t *p) { return p[0] | p[1] << 8; }

static inline vs pair(const int16_t *p) { return (vs){ p[0], p[1] }; }

static inline int16_t round_one(int16_t a, int16_t b) { return (int16_t)((a * b + 0x4000) >> 15); }
static inline int16_t less_one(int16_t a, int16_t b) { return a < b ? a : b; }
static inline int16_t more_one(int16_t a, int16_t b) { return a > b ? a : b; }

static inline vs smul(vs x, vs y) { return (vs){ (int16_t)(x.a * y.a), (int16_t)(x.b * y.b) }; }
static inline vs sadd(vs x, vs y) { return (vs){ (int16_t)(x.a + y.a), (int16_t)(x.b + y.b) }; }
static inline vs sround(vs x, vs y) { return (vs){ round_one(x.a, y.a), round_one(x.b, y.b) }; }
static inline vs sless(vs x, vs y) { return (vs){ less_one(x.a, y.a), less_one(x.b, y.b) }; }
static inline vs smore(vs x, vs y) { return (vs){ more_one(x.a, y.a), more_one(x.b, y.b) }; }
static inline vi sdot(vs x, vs y) { return x.a * y.a + x.b * y.b; }

static inline int16_t near_one(int16_t v)
{
	int cell = (v + 128) >> 3;

	return v >= iq4_from[cell] ? iq4_above[cell] : iq4_below[cell];
}

/* The level that is nearest to each v, -128..127: in a cell of eight numbers at most one level ends. */
static inline vs near_iq4(vs v) { return (vs){ near_one(v.a), near_one(v.b) }; }

static inline void put16(int16_t *p, vi a) { *p = (int16_t)a; }
static inline void put8(uint8_t *p, vi a) { *p = (uint8_t)a; }

static inline float most_of(const vf v[16])
{
	float most = v[0];

	for (int i = 1; i < 16; i++)
		most = more(v[i], most);
	return most;
}

static inline float sum_of(const vf v[16])
{
	float p[16];

	memcpy(p, v, sizeof p);
	for (int half = 8; half > 0; half /= 2)
		for (int l = 0; l < half; l++)
			p[l] += p[l + half];
	return p[0];
}

static inline unsigned first_at(const vf v[16], float x)
{
	unsigned i = 0;

	while (i < 15 && !(v[i] >= x))
		i++;
	return i;
}

static inline uint16_t to_half(float x) { return f32_to_f16(x); }
static inline float from_half(uint16_t h) { return f16_to_f32(h); }

static inline vf put_halves(uint16_t *p, vf x)
{
	*p = f32_to_f16(x);
	return f16_to_f32(*p);
}

#include "quantize/encode_body.h"
