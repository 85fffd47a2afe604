/* SPDX-License-Identifier: MIT
 *
 * json_keys.h - the keys seen in the JSON objects that are open; private to json.c.
 */
#ifndef FORMAT_JSON_KEYS_H
#define FORMAT_JSON_KEYS_H

#include "format/base.h"

struct key_sets;
/* Text has to be shorter than this: its offsets are kept in 31 bits. */
#define KEYS_TEXT_LIMIT (UINT32_C(1) << 31)

/* For a text of len bytes that stays where it is. NULL and e set if there is no memory. */
struct key_sets *keys_open(const char *text, size_t len, struct err *e) MUST_USE;
/* A new, innermost object. Returns what names its set in the other calls. */
size_t keys_begin(const struct key_sets *k);
/* Adds a key of the innermost object: unescaped in the text, without NUL inside, with one after.
 * *fresh tells whether the object did not have it yet. */
enum status keys_add(struct key_sets *k, size_t set, struct str key, bool *fresh,
		     struct err *e) MUST_USE;
/* The innermost object is closed. */
void keys_end(struct key_sets *k, size_t set);
void keys_close(struct key_sets *k);	/* NULL is fine */

#endif
