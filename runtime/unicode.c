/* SPDX-License-Identifier: MIT
 *
 * unicode.c - the class of a character, by binary search in the generated table of runs.
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
