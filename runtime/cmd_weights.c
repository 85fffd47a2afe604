/* SPDX-License-Identifier: MIT
 *
 * cmd_weights.c - the report of what was read of a model's weights.
 */
#include "runtime/cmd.h"

static struct store_stats sum(const struct model *const *list, size_t n, uint64_t *model_bytes)
{
	struct store_stats all = { 0 }, one;

	*model_bytes = 0;
	for (size_t i = 0; i < n; i++) {
		if (!list[i]->path)
			continue;
		store_stats(list[i], &one);
		/* an MTP block of a checkpoint is in the shards of the trunk */
		*model_bytes += list[i]->part == PART_TRUNK || list[i]->is_gguf ? model_tensor_bytes(list[i]) : 0;
		all.read_bytes += one.read_bytes;
		all.kept_bytes += one.kept_bytes;
		all.wait_seconds += one.wait_seconds;
		all.read_seconds += one.read_seconds;
	}
	return all;
}

/* GB/s while something was read, the check for finite numbers included */
static double read_rate(const struct store_stats *s)
{
	return s->read_seconds > 0 ? (double)s->read_bytes / s->read_seconds / 1e9 : 0;
}

void weights_print(FILE *to, const struct model *const *list, size_t n)
{
	uint64_t of;
	struct store_stats s = sum(list, n, &of);

	fprintf(to, "weights: %.3f GB read of a model of %.3f GB, in %.2f s (%.2f GB/s); waited %.2f s for them; "
		"%llu MiB in memory\n", (double)s.read_bytes / 1e9, (double)of / 1e9, s.read_seconds, read_rate(&s),
		s.wait_seconds, (unsigned long long)(s.kept_bytes >> 20));
}

void weights_json(cJSON *doc, const struct model *const *list, size_t n)
{
	cJSON *o = cJSON_AddObjectToObject(doc, "weights");
	uint64_t of;
	struct store_stats s = sum(list, n, &of);

	cJSON_AddNumberToObject(o, "model_bytes", (double)of);
	cJSON_AddNumberToObject(o, "read_bytes", (double)s.read_bytes);
	cJSON_AddNumberToObject(o, "read_seconds", s.read_seconds);
	cJSON_AddNumberToObject(o, "read_gb_per_second", read_rate(&s));
	cJSON_AddNumberToObject(o, "wait_seconds", s.wait_seconds);
	cJSON_AddNumberToObject(o, "kept_memory_bytes", (double)s.kept_bytes);
}
