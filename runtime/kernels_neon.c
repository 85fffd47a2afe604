/* SPDX-License-Identifier: MIT
 *
 * kernels_neon.c - the inner loops for the vector unit that every AArch64 processor has.
 */
#include "runtime/kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#include "quantize/floats.h"

#define SET neon
#define SET_NAME "neon"
enum { VL = 4 };
#define SET_TOKENS 6
#define FEW 48
#define FEW_BF16 48
#define FEW_MXFP4 48
enum { ACC = 16, MIX_HEADS = 8 };
typedef float32x4_t vf;
typedef uint32_t vu __attribute__((vector_size(16)));

static inline vf fused(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
static inline vf less(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
static inline vf more(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
static inline float32x2_t low(vf v) { return vget_low_f32(v); }
static inline float32x2_t high(vf v) { return vget_high_f32(v); }

static inline void unpack_f32(const uint8_t *b, vf out[8])
{
	memcpy(out, b, 128);
}

static inline void unpack_f16(const uint8_t *b, vf out[8])
{
	for (int i = 0; i < 8; i++)
		out[i] = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(b + 8 * i)));
}

static inline void unpack_bf16(const uint8_t *b, vf out[8])
{
	for (int i = 0; i < 8; i++)
		out[i] = vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(b + 8 * i)), 16));
}

static inline void unpack_q8_0(const uint8_t *b, vf out[8])
{
	uint16_t half;
	float d;

	memcpy(&half, b, 2);
	d = f16_to_f32(half);
	for (int i = 0; i < 4; i++) {
		int16x8_t q = vmovl_s8(vreinterpret_s8_u8(vld1_u8(b + 2 + 8 * i)));

		out[2 * i] = vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(q))), d);
		out[2 * i + 1] = vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_high_s16(q))), d);
	}
}

/* The values by code have at most two significant bits: their upper halves come from two tables of
 * bytes, zipped. */
static inline void code_values(uint8x16_t q, float d, vf out[4])
{
	static const uint8_t lower[16] = { 0x00, 0x00, 0x80, 0xC0, 0x00, 0x40, 0x80, 0xC0,
					   0x00, 0x00, 0x80, 0xC0, 0x00, 0x40, 0x80, 0xC0 };
	static const uint8_t upper[16] = { 0x00, 0x3F, 0x3F, 0x3F, 0x40, 0x40, 0x40, 0x40,
					   0x80, 0xBF, 0xBF, 0xBF, 0xC0, 0xC0, 0xC0, 0xC0 };
	uint8x16_t l = vqtbl1q_u8(vld1q_u8(lower), q), u = vqtbl1q_u8(vld1q_u8(upper), q);
	uint16x8_t a = vreinterpretq_u16_u8(vzip1q_u8(l, u)), c = vreinterpretq_u16_u8(vzip2q_u8(l, u));

	out[0] = vmulq_n_f32(vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(a), 16)), d);
	out[1] = vmulq_n_f32(vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(a), 16)), d);
	out[2] = vmulq_n_f32(vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(c), 16)), d);
	out[3] = vmulq_n_f32(vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(c), 16)), d);
}

static inline void unpack_mxfp4(const uint8_t *b, vf out[8])
{
	uint8x16_t q = vld1q_u8(b + 1);

	code_values(vandq_u8(q, vdupq_n_u8(15)), e8m0_to_f32(b[0]), out);
	code_values(vshrq_n_u8(q, 4), e8m0_to_f32(b[0]), out + 4);
}

/* Sign and magnitude have their places in the upper half of a float. */
static inline void unpack_e4m3(const uint8_t *b, vf out[8])
{
	for (int i = 0; i < 4; i++) {
		int16x8_t q = vshll_n_s8(vreinterpret_s8_u8(vld1_u8(b + 8 * i)), 4);
		uint16x8_t h = vandq_u16(vreinterpretq_u16_s16(q), vdupq_n_u16(0x87F0));

		out[2 * i] = vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(h), 16));
		out[2 * i + 1] = vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(h), 16));
	}
}

#include "runtime/kernels_body.h"
#endif
