/* SPDX-License-Identifier: MIT
 *
 * analyze.h - what the static analysers cannot see from one file, for `make analyze` alone: setting an error
 * gives an error, and a failed allocation leaves one.
 */
#include "format/base.h"

#define err_set(e, s, ...) ((void)(err_set)((e), (s), __VA_ARGS__), (s))
#define err_errno(...) ((void)(err_errno)(__VA_ARGS__), ERR_IO)
#define err_wrap(e, ...) ((void)(err_wrap)((e), __VA_ARGS__), ERR_FORMAT)
