/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "tests/fuzz/fuzz.h"

/* The index of a checkpoint of two small shards: what is taken has the tensors of the shards and no other. */

static char dir[64];
static const char *const made[] = { "model.safetensors.index.json", "a.safetensors", "b.safetensors" };

static void clean(void)
{
	fuzz_remove(dir, made, sizeof made / sizeof *made);
}

static void put_shard(const char *name, const char *tensor)
{
	uint8_t p[128] = { 0 };
	int n = snprintf((char *)p + 8, sizeof p - 9, "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", tensor);

	store_le(p, 8, (uint64_t)n);
	fuzz_put(dir, name, p, 8 + (size_t)n + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static int fd = -1;
	static size_t had;
	struct checkpoint c;
	struct log notes = { 0 };
	struct err e;

	if (fd < 0) {
		fuzz_dir(dir);
		atexit(clean);
		put_shard(made[1], "t");
		put_shard(made[2], "u");
		fd = fuzz_create(dir, made[0]);
	}
	fuzz_write(fd, &had, data, n);
	if (checkpoint_open(&c, dir, NULL, &notes, &e) == OK) {
		if (c.n_tensors > 2 || c.n_shards > 2 || (!checkpoint_find(&c, "t") && !checkpoint_find(&c, "u")))
			abort();
		checkpoint_close(&c);
	}
	log_close(&notes);
	return 0;
}
