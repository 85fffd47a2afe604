/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct source_file f = { .file = FILE_NONE };
	struct log notes = { 0 };
	struct vocab v = { 0 };
	struct err e;

	fuzz_file(&f.file, data, n);
	if (vocab_from_files(&v, &f, NULL, NULL, 512, 0, 1, &notes, &e) == OK)
		vocab_close(&v);
	log_close(&notes);
	file_close(&f.file);
	return 0;
}
