/* SPDX-License-Identifier: MIT
 *
 * cppcheck.h - the one macro of a library that cppcheck has to know; used by tests/ci.sh alone.
 */
#define cJSON_ArrayForEach(item, array) for (item = (array); item; item = NULL)
