/* SPDX-License-Identifier: MIT
 *
 * encode_neon.c - the encoders for the vector unit that every AArch64 processor has.
 */
#include "quantize/encoders.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#define SET neon
enum { VL = 4 };
typedef float32x4_t vf;
typedef int32x4_t vi;
typedef uint32x4_t vu;
typedef int16x8_t vs;

static inline vf less(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
static inline vf more(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
static inline vi to_int(vf a) { return vcvtnq_s32_f32(a); }
static inline vi as_int(vf a) { return vreinterpretq_s32_f32(a); }
static inline vf as_float(vi a) { return vreinterpretq_f32_s32(a); }
static inline vf to_float(vi a) { return vcvtq_f32_s32(a); }
static inline vi imore(vi a, vi b) { return vmaxq_s32(a, b); }
static inline vi iless(vi a, vi b) { return vminq_s32(a, b); }
static inline vf if_less(vf a, vf b, vf x, vf y) { return vbslq_f32(vcltq_f32(a, b), x, y); }
static inline vi at_least(vf a, vf b) { return vreinterpretq_s32_u32(vshrq_n_u32(vcgeq_f32(a, b), 31)); }

static inline vf look_up32(const float *table, vi at)
{
	return (vf){ table[at[0]], table[at[1]], table[at[2]], table[at[3]] };
}

static inline unsigned keep_below(float *out, vf v, float top)
{
	unsigned n = 0;

	for (int i = 0; i < 4; i++) {
		out[n] = v[i];
		n += v[i] <= top;
	}
	return n;
}

static inline vi wide16(const uint8_t *p)
{
	return vreinterpretq_s32_u32(vmovl_u16(vreinterpret_u16_u8(vld1_u8(p))));
}

static inline vs pair(const int16_t *p)
{
	int32_t two;

	memcpy(&two, p, 4);
	return vreinterpretq_s16_s32(vdupq_n_s32(two));
}

static inline vs smul(vs a, vs b) { return vmulq_s16(a, b); }
static inline vs sadd(vs a, vs b) { return vaddq_s16(a, b); }
static inline vs sround(vs a, vs b) { return vqrdmulhq_s16(a, b); }
static inline vs sless(vs a, vs b) { return vminq_s16(a, b); }
static inline vs smore(vs a, vs b) { return vmaxq_s16(a, b); }

static inline vi sdot(vs a, vs b)
{
	return vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
}

/* Bytes of a table of 32 by the low byte of each cell; the high ones are beyond it and yield 0. */
static inline int16x8_t look_up(const uint8_t *table, uint16x8_t cell)
{
	uint8x16x2_t t = { { vld1q_u8(table), vld1q_u8(table + 16) } };

	return vreinterpretq_s16_u8(vqtbl2q_u8(t, vreinterpretq_u8_u16(vorrq_u16(cell, vdupq_n_u16(0xFF00)))));
}

/* The level that is nearest to each v, -128..127: in a cell of eight numbers at most one level ends. */
static inline vs near_iq4(vs v)
{
	int16x8_t at = vaddq_s16(v, vdupq_n_s16(128));
	uint16x8_t cell = vshrq_n_u16(vreinterpretq_u16_s16(at), 3);
	int16x8_t below = look_up(iq4_below_128, cell), last = look_up(iq4_last_128, cell);
	int16x8_t up = vandq_s16(vreinterpretq_s16_u16(vcgtq_s16(at, last)), look_up(iq4_step, cell));

	return vsubq_s16(vaddq_s16(below, up), vdupq_n_s16(128));
}

static inline void put16(int16_t *p, vi a) { vst1_s16(p, vmovn_s32(a)); }

static inline void put8(uint8_t *p, vi a)
{
	int16x4_t half = vmovn_s32(a);
	uint32_t four = vget_lane_u32(vreinterpret_u32_s8(vmovn_s16(vcombine_s16(half, half))), 0);

	memcpy(p, &four, 4);
}

static inline float most_of(const vf v[4])
{
	return vmaxvq_f32(vmaxq_f32(vmaxq_f32(v[0], v[1]), vmaxq_f32(v[2], v[3])));
}

static inline float sum_of(const vf v[4])
{
	float32x4_t a = vaddq_f32(vaddq_f32(v[0], v[2]), vaddq_f32(v[1], v[3]));
	float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));

	return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}

static inline unsigned first_at(const vf v[4], float x)
{
	float all[16];
	unsigned i = 0;

	memcpy(all, v, sizeof all);
	while (i < 15 && !(all[i] >= x))
		i++;
	return i;
}

static inline uint16_t to_half(float x)
{
	uint16_t h[4];

	vst1_u16(h, vreinterpret_u16_f16(vcvt_f16_f32(vdupq_n_f32(x))));
	return h[0];
}

static inline float from_half(uint16_t h)
{
	return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0);
}

static inline vf put_halves(uint16_t *p, vf x)
{
	float16x4_t h = vcvt_f16_f32(x);

	vst1_u16(p, vreinterpret_u16_f16(h));
	return vcvt_f32_f16(h);
}

#include "quantize/encode_body.h"
#endif
