/* SPDX-License-Identifier: MIT
 *
 * unicode.c - the class of a character, by binary search in the generated table of runs.
 *
 * The table is Unicode 15.0. The `tokenizers` library 0.23.3 knows 16.0 and agrees on every code
 * point that 15.0 assigns (all 1,112,063 scalar values but U+0000 were compared). It also
 * classifies 5,812 code points that came later: Egyptian Hieroglyphs Extended-A (U+13460-143FA),
 * CJK Extension I (U+2EBF0-2EE5D), symbols for legacy computing (U+1CC00-1CEB3, U+1FBCB-1FBEF),
 * the scripts Todhri, Garay, Tulu-Tigalari, Sunuwar, Gurung Khema, Kirat Rai, Ol Onal, and single
 * additions. Here they are UNICODE_OTHER, as they were to models trained before 16.0 (2024).
 */
#include "runtime/tokenizer.h"

enum unicode_class unicode_class(uint32_t c)
{
	size_t lo = 0, hi = unicode_n_runs;

	if (c > 0x10FFFF)
		return UNICODE_OTHER;
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		if (unicode_runs[mid] >> 3 <= c)
			lo = mid;
		else
			hi = mid;
	}
	return (enum unicode_class)(unicode_runs[lo] & 7);
}
