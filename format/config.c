/* SPDX-License-Identifier: MIT
 *
 * config.c - small JSON configuration files, through cJSON.
 *
 * cJSON is convenient and lenient: it takes duplicate keys, leading zeros, raw control bytes and
 * trailing text, and folds case when it looks a key up. So the text passes the strict reader of
 * json.c first and is looked up with exact case; numbers are doubles, so integers are accepted
 * only where a double holds them exactly.
 */
#include "format/model.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum status check_strictly(const char *text, size_t n, const char *path, struct err *e)
{
	char *copy = mem_new(n + 1, 1, path, e);
	struct json j;
	enum status st;

	if (!copy)
		return e->status;
	memcpy(copy, text, n);
	json_open(&j, copy, n, 32, path);
	if (json_peek(&j) != JSON_OBJECT)
		json_fail(&j, ERR_FORMAT, "a configuration is a JSON object");
	json_skip(&j);
	st = json_close(&j, e);
	free(copy);
	return st;
}

enum status config_open(struct config *c, const char *text, size_t n, const char *path, struct err *e)
{
	*c = (struct config){ .path = path };
	if (check_strictly(text, n, path, e) != OK)
		return e->status;
	c->root = cJSON_ParseWithLengthOpts(text, n, NULL, 0);
	if (!c->root)
		return err_set(e, ERR_NOMEM, "%s: cannot be held in memory", path);
	return OK;
}

static const cJSON *find(const struct config *c, const char *key)
{
	const cJSON *o = c->root;

	while (o && *key) {
		char part[128];
		size_t n = strcspn(key, ".");

		snprintf(part, sizeof part, "%.*s", (int)n, key);
		o = cJSON_GetObjectItemCaseSensitive(o, part);
		key += n + (key[n] == '.');
	}
	return o && !cJSON_IsNull(o) ? o : NULL;
}

void config_fail(struct config *c, enum status s, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (c->err.status != OK)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	err_set(&c->err, s, "%s: %s", c->path, text);
}

bool config_has(const struct config *c, const char *key)
{
	return find(c, key) != NULL;
}

static uint32_t integer(struct config *c, const cJSON *o, const char *key, uint32_t lo, uint32_t hi)
{
	double v = o && cJSON_IsNumber(o) ? o->valuedouble : NAN;

	if (!o)
		config_fail(c, ERR_FORMAT, "%s is missing", key);
	else if (!(v >= lo && v <= hi) || v != floor(v))
		config_fail(c, ERR_FORMAT, "%s must be an integer from %u to %u", key, lo, hi);
	else
		return (uint32_t)v;
	return lo;
}

uint32_t config_u32(struct config *c, const char *key, uint32_t lo, uint32_t hi)
{
	return integer(c, find(c, key), key, lo, hi);
}

uint32_t config_u32_or(struct config *c, const char *key, uint32_t lo, uint32_t hi, uint32_t absent)
{
	return config_has(c, key) ? config_u32(c, key, lo, hi) : absent;
}

float config_float(struct config *c, const char *key, double lo, double hi)
{
	const cJSON *o = find(c, key);
	double v = o && cJSON_IsNumber(o) ? o->valuedouble : NAN;

	if (!o)
		config_fail(c, ERR_FORMAT, "%s is missing", key);
	else if (!(v >= lo && v <= hi))
		config_fail(c, ERR_FORMAT, "%s must be a number from %g to %g", key, lo, hi);
	else
		return (float)v;
	return (float)lo;
}

float config_float_or(struct config *c, const char *key, double lo, double hi, float absent)
{
	return config_has(c, key) ? config_float(c, key, lo, hi) : absent;
}

bool config_bool_or(struct config *c, const char *key, bool absent)
{
	const cJSON *o = find(c, key);

	if (o && !cJSON_IsBool(o))
		config_fail(c, ERR_FORMAT, "%s must be true or false", key);
	return o ? cJSON_IsTrue(o) != 0 : absent;
}

const char *config_str(const struct config *c, const char *key)
{
	const cJSON *o = find(c, key);

	return o && cJSON_IsString(o) ? o->valuestring : NULL;
}

uint32_t config_count(const struct config *c, const char *key)
{
	const cJSON *o = find(c, key);

	return o && cJSON_IsArray(o) ? (uint32_t)cJSON_GetArraySize(o) : 0;
}

uint32_t config_item_u32(struct config *c, const char *key, uint32_t i, uint32_t lo, uint32_t hi)
{
	const cJSON *o = find(c, key);

	return integer(c, o && cJSON_IsArray(o) ? cJSON_GetArrayItem(o, (int)i) : NULL, key, lo, hi);
}

const char *config_item_str(const struct config *c, const char *key, uint32_t i)
{
	const cJSON *o = find(c, key);

	o = o && cJSON_IsArray(o) ? cJSON_GetArrayItem(o, (int)i) : NULL;
	return o && cJSON_IsString(o) ? o->valuestring : NULL;
}

enum status config_close(struct config *c, struct err *e)
{
	enum status st = c->err.status;

	if (st != OK)
		*e = c->err;
	cJSON_Delete(c->root);
	*c = (struct config){ 0 };
	return st;
}
