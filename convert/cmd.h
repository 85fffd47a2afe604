/* SPDX-License-Identifier: MIT
 *
 * cmd.h - private to convert's cmd*.c.
 */
#ifndef CONVERT_CMD_H
#define CONVERT_CMD_H

#include <stdio.h>

#include "convert/convert.h"

/* ---- cmd_plan.c: what a dry run says ------------------------------------------------------------*/

struct cJSON;
/* A line a tensor; expected: one a tensor, empty where values stay exact. */
void plan_print_tensors(FILE *to, const struct plan_output *out, const struct measured *expected);
/* A line for each kind of tensor, and what the expected errors are taken from. */
void plan_print_roles(FILE *to, const struct plan_output *out, const struct measured *expected);
void plan_tensor_json(struct cJSON *o, const struct measured *m);
/* expected may be NULL: then sizes alone. */
void plan_roles_json(struct cJSON *o, const struct plan_output *out, const struct measured *expected);

/* ---- cmd_report.c: the ledger of a conversion ---------------------------------------------------*/

/* Whether a report could be written there, before the work. */
enum status report_check(const char *path, bool force, struct err *e) MUST_USE;
/* Writes it, as JSON if its name ends in ".json", else as tab-separated lines; complete or not at all. */
enum status report_write(const char *path, bool force, const struct convert_result *r, struct err *e) MUST_USE;

#endif
