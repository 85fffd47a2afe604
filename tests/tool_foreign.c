/* SPDX-License-Identifier: MIT
 *
 * tool_foreign.c - writes the GGUF of foreign.h for the command-line tests:
 *
 *	tool_foreign OUT.gguf [nan | inf | Q4_0 | ...]	a NaN or infinite value in blk.0.attn_k.weight, or
 *							blk.0.attn_q.weight in that type
 */
#include "tests/foreign.h"

static uint64_t bad_bits;

/* Row 5, column 7 of the BF16 tensor. */
static void spoil(const struct foreign_tensor *t, uint8_t *b)
{
	if (bad_bits && strcmp(t->name, "blk.0.attn_k.weight") == 0)
		store_le(b + 2 * (5 * 256 + 7), 2, bad_bits);
}

int main(int argc, char **argv)
{
	struct foreign_tensor list[N_FOREIGN];
	const char *what = argc > 2 ? argv[2] : "";

	memcpy(list, foreign_tensors, sizeof list);
	if (strcmp(what, "nan") == 0)
		bad_bits = 0x7FC0;
	else if (strcmp(what, "inf") == 0)
		bad_bits = 0xFF80;
	for (size_t i = 0; *what && !bad_bits && i < N_FOREIGN; i++)
		if (strcmp(list[i].name, "blk.0.attn_q.weight") == 0)
			list[i].type = dtype_by_name(what, true);
	if (argc < 2 || !foreign_write(argv[1], list, N_FOREIGN, spoil)) {
		fprintf(stderr, "usage: tool_foreign OUT.gguf [nan | inf | TYPE]\n");
		return 1;
	}
	return 0;
}
