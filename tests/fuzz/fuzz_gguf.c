/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "tests/fuzz/fuzz.h"

/* The header, then everything that is read out of one: seal, architecture, vocabulary. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct gguf g = { 0 };
	struct log notes = { 0 };
	struct arch a;
	struct vocab v = { 0 };
	struct seal s;
	struct file f;
	struct err e;

	fuzz_file(&f, data, n);
	if (gguf_read(&g, &f, &notes, &e) == OK) {
		for (size_t i = 0; i < g.n_tensors; i++)
			if (g.tensors[i].off + g.tensors[i].bytes > n)
				abort();
		(void)!seal_read(&s, &g, &e);
		(void)!arch_from_gguf(&a, &g, "input", &e);
		if (vocab_from_gguf(&v, &g, "input", &e) == OK)
			vocab_close(&v);
	}
	gguf_close(&g);
	log_close(&notes);
	file_close(&f);
	return 0;
}
