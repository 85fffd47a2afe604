/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct st_header h = { 0 };
	struct log notes = { 0 };
	struct file f;
	struct err e;

	fuzz_file(&f, data, n);
	if (st_read(&h, &f, 0, &notes, &e) == OK)
		for (size_t i = 0; i < h.n_tensors; i++)
			if (h.tensors[i].off < h.data_off || h.tensors[i].off + h.tensors[i].bytes > n)
				abort();
	st_close(&h);
	log_close(&notes);
	file_close(&f);
	return 0;
}
