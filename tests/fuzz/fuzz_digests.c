/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

/* A list of digests, as sha256sum writes it: whatever is taken names plain files, once, in order. */
static void list(const struct file *f)
{
	struct digest_list l;
	struct err e;
	char path[64];

	snprintf(path, sizeof path, "/proc/self/fd/%d", f->fd);
	if (digest_list_read(&l, path, &e) != OK)
		return;
	for (size_t i = 0; i < l.n; i++) {
		const struct digest *d = digest_list_find(&l, l.lines[i].name);

		if (!name_is_plain(l.lines[i].name) || !d || d != &l.lines[i].digest || d->kind == DIGEST_NONE)
			abort();
	}
	digest_list_close(&l);
}

static char dir[64];
static struct source_dir source;
static int record_fd;
static const char *const made[] = { "a.safetensors", ".cache/huggingface/download/a.safetensors.metadata",
				    ".cache/huggingface/download", ".cache/huggingface", ".cache" };

static void clean(void)
{
	fuzz_remove(dir, made, sizeof made / sizeof *made);
}

static void prepare(void)
{
	char path[128];
	struct err e;

	fuzz_dir(dir);
	atexit(clean);
	for (size_t i = 5; i-- > 2;) {
		snprintf(path, sizeof path, "%s/%s", dir, made[i]);
		if (mkdir(path, 0700) != 0)
			abort();
	}
	fuzz_put(dir, made[0], (const uint8_t *)"x", 1);
	record_fd = fuzz_create(dir, made[1]);
	if (source_dir_open(&source, dir, NULL, &e) != OK)
		abort();
}

/* What the Hub's downloader recorded of a file. */
static void record(const uint8_t *data, size_t n)
{
	static size_t had;
	struct source_file f;
	struct log notes = { 0 };
	struct err e;

	fuzz_write(record_fd, &had, data, n);
	if (source_file_open(&f, &source, made[0], NULL, &notes, &e) == OK) {
		if ((f.expected.kind != DIGEST_NONE) != (f.anchor == ANCHOR_HUB_LOCAL_DIR))
			abort();
		source_file_close(&f);
	}
	log_close(&notes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static bool ready;
	struct file f;

	if (!ready)
		prepare();
	ready = true;
	record(data, n);
	fuzz_file(&f, data, n);
	list(&f);
	file_close(&f);
	return 0;
}
