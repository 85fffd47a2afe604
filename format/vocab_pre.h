/* SPDX-License-Identifier: MIT
 *
 * vocab_pre.h - is a tokenizer.json's pre-tokenizer the one that this program does?
 */
#ifndef FORMAT_VOCAB_PRE_H
#define FORMAT_VOCAB_PRE_H

#include "format/base.h"

/* Reads the value of "pre_tokenizer" and fails the reader unless it is the known one. */
void vocab_pre_read(struct json *j);

#endif
