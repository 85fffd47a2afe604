/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "tests/fuzz/fuzz.h"

/* Any bytes: skipped as one value, and walked as the outermost object. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1);
	struct err e;
	struct str s;
	struct json j;
	uint64_t u;

	memcpy(text, data, n);
	text[n] = 0;
	json_open(&j, text, n, 32, "input");
	json_skip(&j);
	(void)!json_close(&j, &e);
	memcpy(text, data, n);
	json_open(&j, text, n, 32, "input");
	if (json_object(&j)) {
		while (json_key(&j, &s))
			if (json_peek(&j) == JSON_NUMBER)
				json_u64(&j, &u);
			else if (json_peek(&j) == JSON_STRING)
				json_string(&j, &s);
			else
				json_skip(&j);
	}
	(void)!json_close(&j, &e);
	free(text);
	return 0;
}
