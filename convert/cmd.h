/* SPDX-License-Identifier: MIT
 *
 * cmd.h - private to convert's cmd*.c.
 */
#ifndef CONVERT_CMD_H
#define CONVERT_CMD_H

#include "convert/convert.h"

/* How a source type is called: FP4 and FP8 with their scales, or a type of the table. */
const char *source_type_name(const struct plan_tensor *t);

/* ---- cmd_report.c: the ledger of a conversion ---------------------------------------------------*/

/* Whether a report could be written there, before the work. */
enum status report_check(const char *path, bool force, struct err *e) MUST_USE;
/* Writes it, as JSON if its name ends in ".json", else as tab-separated lines; complete or not at all. */
enum status report_write(const char *path, bool force, const struct convert_result *r, struct err *e) MUST_USE;

#endif
