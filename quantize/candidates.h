/* SPDX-License-Identifier: MIT
 *
 * candidates.h - private to quantize/: the scales that encoders try, sixteen at a time.
 *
 * They were found on groups of Gaussian, heavy-tailed (Student's t, four degrees of freedom) and weighted
 * values: from a fine grid of scales the one was taken that lowers the mean of the least losses most,
 * then the next, then each was exchanged while that helped. Of Q4_0's sixteen the best is 0.06 % above
 * the RMS error of the whole grid, of IQ4's 32 0.02 %, of Q6_K's 16 and 32 0.5 and 0.02 %, of the affine
 * ones 0.8 and 0.3 % (4 bits), 1.2 and 0.4 % (5 bits).
 */
#ifndef QUANTIZE_CANDIDATES_H
#define QUANTIZE_CANDIDATES_H

#include <stdint.h>

/* A group's largest magnitude is 2048 units, and a code is units times scale / 2^15: a positive scale takes
 * that value to scale / 16, on the side where the grid reaches farther. Ascending, but that negative ones
 * follow. */
static const int16_t tries_q4_0[16] = {
	100, 109, 114, 118, 123, 125, 128, 132, 136, 140, 145, 152, 161, 177, -136, -150,
};
static const int16_t tries_iq4[32] = {
	1357, 1569, 1650, 1731, 1796, 1894, 1943, 1975, 2008, 2040, 2073, 2105, 2138, 2186, 2235, 2316,
	2414, 2609, -1341, -1455, -1552, -1666, -1731, -1780, -1845, -1894, -1943, -2008, -2073, -2154, -2268, -2479,
};
static const int16_t tries_q6_k[16] = {
	415, 429, 436, 448, 460, 465, 477, 483, 490, 496, 500, 508, 513, 517, 525, 538,
};
static const int16_t tries_q6_k_more[32] = {
	369, 381, 389, 397, 404, 412, 417, 422, 428, 433, 438, 443, 448, 453, 458, 463,
	468, 476, 481, 486, 492, 494, 497, 502, 507, 512, 515, 517, 522, 527, 535, 545,
};

/* The same with a minimum, where a group's values are 0..2048: a code is (units + offset) times scale / 2^15;
 * offsets for groups whose upper end is farther from zero, and the others. */
struct affine_tries { int16_t scale[32], offset[2][32]; };
static const struct affine_tries tries_of_15 = { {
	246, 243, 250, 227, 243, 243, 253, 227, 256, 253, 211, 253, 234, 240, 211, 240,
}, { {
	-27, 27, -79, 115, 0, -27, -104, 144, -77, -26, 124, 0, 28, 27, 155, -27,
}, {
	-27, -54, 0, 0, -27, 0, 0, -29, -51, -78, 155, -104, 28, -27, 124, 27,
} } };
static const struct affine_tries tries_of_15_more = { {
	246, 243, 243, 227, 243, 243, 253, 227, 256, 253, 211, 259, 234, 240, 211, 240,
	253, 253, 269, 224, 230, 262, 224, 246, 202, 272, 246, 237, 250, 237, 278, 214,
}, { {
	-27, 27, -54, 115, 0, -27, -104, 144, -77, -26, 124, -25, 28, 27, 155, -27,
	-52, -78, -24, 176, 85, -175, 146, -80, 130, -169, 27, 0, -26, 83, -118, 245,
}, {
	-27, -54, 27, 0, -27, 0, 0, -29, -51, -78, 155, -127, 28, -27, 124, 27,
	-52, -26, -195, -29, 0, 0, 0, 27, 260, -72, -80, 28, -52, -55, -165, 0,
} } };
static const struct affine_tries tries_of_31 = { {
	496, 488, 500, 496, 464, 476, 448, 480, 504, 500, 504, 468, 500, 492, 460, 480,
}, { {
	0, 50, 16, -17, 141, 86, 146, 68, -16, -33, 0, 123, -16, 17, 89, 51,
}, {
	0, -17, -33, 17, 0, 0, 73, 0, -16, 16, -33, 0, 0, 0, 71, 17,
} } };
static const struct affine_tries tries_of_31_more = { {
	496, 480, 496, 496, 464, 476, 448, 488, 504, 508, 504, 468, 508, 492, 468, 492,
	480, 436, 500, 452, 448, 484, 516, 500, 480, 520, 500, 464, 484, 464, 500, 436,
}, { {
	0, 68, 17, -17, 141, 86, 146, 50, -16, -48, 0, 123, -32, 17, 140, 0,
	51, 150, 16, 127, 91, 68, -32, -33, 85, -16, 0, 88, 51, 124, -16, 132,
}, {
	0, 0, -17, 17, 0, 0, 73, -17, -16, 0, -33, 0, -16, 0, -18, 17,
	17, 132, -33, 72, 128, -17, -48, 16, -17, -79, -16, 53, 0, 18, 0, 150,
} } };

#endif
