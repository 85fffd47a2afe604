/* SPDX-License-Identifier: MIT */
#include <locale.h>
#include <stdio.h>

#include "format/members.h"
#include "tests/fuzz/fuzz.h"

/* As the archive of a checkpoint, and each member opened. */
static void as_source(const struct file *f)
{
	const struct source_options o = { .need = NEED_HEADERS };
	struct members m;
	struct file x;
	struct err e;
	char path[40];

	snprintf(path, sizeof path, "/proc/self/fd/%d", f->fd);
	if (members_open(&m, path, &o, &e) != OK)
		return;
	for (size_t i = 0; i < m.n; i++)
		if (!m.v[i].link && member_open(&x, &m, &m.v[i], &e) == OK) {
			char c;
			if (x.have && file_read(&x, &c, 1, x.have - 1, &e) != OK)
				abort();
			file_close(&x);
		}
	members_close(&m);
}

/* Any bytes as a text, with and without a member's name, within small limits; and as a source. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static locale_t loaded;
	struct file f;
	struct err e;
	char *text;
	size_t text_n;

	if (!loaded)	/* held, else each input has it read from the disk again */
		loaded = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	fuzz_file(&f, data, n);
	if (text_from(&f, NULL, 1 << 20, 1 << 20, &text, &text_n, &e) == OK && text[text_n] != 0)
		abort();
	free(text);
	if (text_from(&f, "a", 1 << 20, 1 << 20, &text, &text_n, &e) == OK && text[text_n] != 0)
		abort();
	free(text);
	as_source(&f);
	file_close(&f);
	return 0;
}
