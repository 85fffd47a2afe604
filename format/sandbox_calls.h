/* SPDX-License-Identifier: MIT
 *
 * sandbox_calls.h - private to sandbox*.c.
 */
#ifndef FORMAT_SANDBOX_CALLS_H
#define FORMAT_SANDBOX_CALLS_H

#include "format/sandbox.h"

/* Lets this process and its threads make the calls of a list and no others; needs no_new_privs.
 * False: this kernel or architecture cannot. */
bool sandbox_filter_calls(void);

#endif
