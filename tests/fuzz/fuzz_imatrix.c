/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "format/imatrix.h"
#include "tests/fuzz/fuzz.h"

/* One matrix of a tensor as if it were n of them: what comes is finite, not negative, not all zero. */
static void ask(struct imatrix *m, struct str name, uint64_t n, uint64_t cols)
{
	char text[256];
	const float *w;
	float sum = 0;
	struct err e;

	snprintf(text, sizeof text, "%.*s", (int)u64_min(name.n, 255), name.p);
	if (imatrix_find(m, text, n - 1, n, cols, &w, &e) != OK || !w)
		return;
	for (uint64_t c = 0; c < cols; c++) {
		if (!(w[c] >= 0))
			abort();
		sum += w[c];
	}
	if (!(sum > 0))
		abort();
}

/* Either form; then every tensor of a few shapes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct imatrix *m;
	struct file f;
	char path[64];
	struct err e;

	fuzz_file(&f, data, n);
	snprintf(path, sizeof path, "/proc/self/fd/%d", f.fd);
	if (imatrix_open(&m, path, &e) == OK) {
		for (size_t i = 0; i < imatrix_info(m).n_tensors; i++)
			for (uint64_t k = 1; k <= 4; k++)
				for (uint64_t cols = 1; cols <= 8; cols++)
					ask(m, imatrix_name(m, i), k, cols);
		imatrix_close(m);
	}
	file_close(&f);
	return 0;
}
