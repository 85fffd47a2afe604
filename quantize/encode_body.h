#include <math.h>

#include "quantize/floats.h"

#if defined(SCALAR) || defined(SMALL_CODE)
#define INLINE static inline
#define UNROLL
#else
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)

enum { LANES = 16, PER = LANES / VL };

INLINE vf load(const float *p)
{
	vf v;

	memcpy(&v, p, sizeof v);
	return v;
}

INLINE void store(float *p, vf v)
{
	memcpy(p, &v, sizeof v);
}

INLINE vs load_pairs(const int16_t *p)
{
	vs v;

	memcpy(&v, p, sizeof v);
	return v;
}

INLINE vf splat(float x)
{
	return x - (vf){ 0 };
}

INLINE vi isplat(int32_t x)
{
	return x - (vi){ 0 };
}

INLINE vf fabs_of(vf v)
{
	return as_float(as_int(v) & 0x7FFFFFFF);
}

/* The largest magnitude of n values, a multiple of 16. */
INLINE float largest(const float *x, int n)
{
	vf m[PER];

	UNROLL for (int p = 0; p < PER; p++)
		m[p] = fabs_of(load(x + p * VL));
	for (int i = LANES; i < n; i += LANES)
		UNROLL for (int p = 0; p < PER; p++)
			m[p] = more(fabs_of(load(x + i + p * VL)), m[p]);
	return most_of(m);
}

INLINE void put_le16(uint8_t *b, uint16_t h)
{
	b[0] = (uint8_t)h, b[1] = (uint8_t)(h >> 8);
}

/* The finite half nearest to d. */
INLINE uint16_t half_near(float d, float *value)
{
	d = d > 65504 ? 65504 : d < -65504 ? -65504 : d;
	uint16_t h = to_half(d);
	h = h == 0x8000 ? 0 : h;
	*value = from_half(h);
	return h;
}

#include "quantize/encode_groups.h"
#include "quantize/encode_scale.h"
#include "quantize/encode_super.h"
#include "quantize/encode_pair.h"
#include "quantize/encode_fp4.h"

/* ---- what stands before an encoder -------------------------------------------------------------*/

static void bf16_values(const uint8_t *b, size_t n, float *out)
{
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		store(out + i, as_float((vi)((vu)wide16(b + 2 * i) << 16)));
	for (; i < n; i++)
		out[i] = bf16_to_f32((uint16_t)load_le(b + 2 * i, 2));
}

static uint32_t most_bits(const float *x, size_t n)
{
	vi most[PER] = { 0 };
	uint32_t all[LANES], top = 0;
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		UNROLL for (int p = 0; p < PER; p++)
			most[p] = imore(as_int(load(x + i + (size_t)(p * VL))) & 0x7FFFFFFF, most[p]);
	memcpy(all, most, sizeof all);
	for (int l = 0; l < LANES; l++)
		top = all[l] > top ? all[l] : top;
	for (; i < n; i++)
		top = (f32_bits(x[i]) & 0x7FFFFFFF) > top ? f32_bits(x[i]) & 0x7FFFFFFF : top;
	return top;
}

const struct encoders PASTE(encoders_, SET) = { .bf16 = bf16_values, .most_bits = most_bits, .of = {
	[DT_Q8_0] = to_q8_0,
	[DT_Q4_0] = to_q4_0,
	[DT_IQ4_NL] = to_iq4_nl,
	[DT_Q4_K] = to_q4_k,
	[DT_Q5_K] = to_q5_k,
	[DT_Q4_1] = to_q4_1,
	[DT_MXFP4] = to_mxfp4,
	[DT_NVFP4] = to_nvfp4,
	[DT_Q6_K] = to_q6_k,
	[DT_IQ4_XS] = to_iq4_xs,
} };
