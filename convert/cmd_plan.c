/* SPDX-License-Identifier: MIT
 *
 * cmd_plan.c - what a dry run says: each tensor with its types, bytes and expected error, then the same by
 * role.
 */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "convert/cmd.h"
#include "convert/measure.h"

/* Its name without "blk.N.": what tensors of one role share, in any architecture. */
static const char *role_name(const struct plan_tensor *t)
{
	const char *p = t->want.name;

	if (strncmp(p, "blk.", 4) != 0)
		return p;
	p += 4 + strspn(p + 4, "0123456789");
	return *p == '.' ? p + 1 : t->want.name;
}

static uint64_t elements(const struct plan_tensor *t)
{
	uint64_t n = 1;

	for (unsigned d = 0; d < t->want.n_dims; d++)
		n *= t->want.shape[d];
	return n;
}

void plan_print_tensors(FILE *to, const struct plan_output *out, const struct measured *expected)
{
	fprintf(to, "%-40s %-5s    %-6s %14s  %s\n", "tensor", "from", "to", "bytes", "expected relative error");
	for (size_t i = 0; i < out->n_tensors; i++) {
		const struct plan_tensor *t = &out->tensors[i];

		fprintf(to, "%-40s %-5s -> %-6s %14llu  ", cli_escz(t->want.name), plan_source_type(t),
			dtype_info(t->type)->name, (unsigned long long)t->bytes);
		if (expected[i].sums.n)
			fprintf(to, "%.5f\n", measured_relative(&expected[i]));
		else
			fputs("none\n", to);
	}
}

/* ---- by role ----------------------------------------------------------------------------------*/

/* dd and xx: of whole tensors, as their samples are. */
struct role_sum { const char *name; size_t n; uint64_t source_bytes, bytes, elements; double dd, xx; bool sampled; };

static struct role_sum *sum_roles(const struct plan_output *out, const struct measured *expected, size_t *n)
{
	struct role_sum *v = calloc(out->n_tensors ? out->n_tensors : 1, sizeof *v);

	*n = 0;
	for (size_t i = 0; v && i < out->n_tensors; i++) {
		const struct plan_tensor *t = &out->tensors[i];
		size_t k = 0;

		while (k < *n && strcmp(v[k].name, role_name(t)) != 0)
			k++;
		if (k == *n)
			v[(*n)++].name = role_name(t);
		v[k].n++;
		v[k].source_bytes += t->source_bytes;
		v[k].bytes += t->bytes;
		v[k].elements += elements(t);
		if (expected && expected[i].sums.n) {
			double scale = (double)elements(t) / (double)expected[i].sums.n;

			v[k].dd += scale * expected[i].dd;
			v[k].xx += scale * expected[i].xx;
			v[k].sampled = true;
		}
	}
	return v;
}

static double relative_of(const struct role_sum *r)
{
	return r->dd > 0 ? sqrt(r->dd / r->xx) : 0;
}

static uint64_t most_values(const struct plan_output *out, const struct measured *expected)
{
	uint64_t most = 0;

	for (size_t i = 0; i < out->n_tensors; i++)
		most = expected[i].sums.n > most ? expected[i].sums.n : most;
	return most;
}

void plan_print_roles(FILE *to, const struct plan_output *out, const struct measured *expected)
{
	size_t n;
	struct role_sum *v = sum_roles(out, expected, &n);
	uint64_t sample = most_values(out, expected);

	fprintf(to, "%-34s %7s %16s %16s %7s  %s\n", "role", "tensors", "bytes of source", "bytes", "bits", "relative error");
	for (size_t k = 0; v && k < n; k++) {
		fprintf(to, "%-34s %7zu %16llu %16llu %7.4f  ", cli_escz(v[k].name), v[k].n,
			(unsigned long long)v[k].source_bytes, (unsigned long long)v[k].bytes,
			v[k].elements ? 8 * (double)v[k].bytes / (double)v[k].elements : 0);
		if (v[k].sampled)
			fprintf(to, "%.5f\n", relative_of(&v[k]));
		else
			fputs("none\n", to);
	}
	if (sample)
		fprintf(to, "expected errors: of at most %llu values of a tensor, in runs of %d spread over it\n",
			(unsigned long long)sample, MEASURE_RUN);
	free(v);
}

/* ---- JSON -------------------------------------------------------------------------------------*/

void plan_tensor_json(cJSON *o, const struct measured *m)
{
	cJSON_AddNumberToObject(o, "expected_relative_error", measured_relative(m));
	cJSON_AddNumberToObject(o, "sampled_values", (double)m->sums.n);
}

void plan_roles_json(cJSON *o, const struct plan_output *out, const struct measured *expected)
{
	cJSON *list = cJSON_AddArrayToObject(o, "roles");
	size_t n;
	struct role_sum *v = sum_roles(out, expected, &n);

	for (size_t k = 0; v && k < n; k++) {
		cJSON *x = cJSON_CreateObject();

		cJSON_AddStringToObject(x, "role", cli_escz(v[k].name));
		cJSON_AddNumberToObject(x, "tensors", (double)v[k].n);
		cJSON_AddNumberToObject(x, "source_bytes", (double)v[k].source_bytes);
		cJSON_AddNumberToObject(x, "bytes", (double)v[k].bytes);
		cJSON_AddNumberToObject(x, "values", (double)v[k].elements);
		cJSON_AddNumberToObject(x, "expected_relative_error", relative_of(&v[k]));
		cJSON_AddItemToArray(list, x);
	}
	free(v);
}
