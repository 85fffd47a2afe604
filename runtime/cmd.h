/* SPDX-License-Identifier: MIT
 *
 * cmd.h - what the commands that run a model report alike.
 */
#ifndef RUNTIME_CMD_H
#define RUNTIME_CMD_H

#include <cjson/cJSON.h>

#include "cli/cli.h"
#include "runtime/runtime.h"

/* Bytes of weights read and the time for it, of all models together; closed ones (no path) are passed
 * over. A line of text; an object "weights". */
void weights_print(FILE *to, const struct model *const *list, size_t n);
void weights_json(cJSON *doc, const struct model *const *list, size_t n);

#endif
