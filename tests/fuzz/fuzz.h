/* SPDX-License-Identifier: MIT
 *
 * fuzz.h - what the fuzz targets share: the input as an open file, as parsers want it.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "format/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* An open file with the input's bytes, in memory. */
static inline bool fuzz_file(struct file *f, const uint8_t *data, size_t n)
{
	struct err e;
	char path[64];
	int fd = memfd_create("input", MFD_CLOEXEC);
	bool ok = fd >= 0 && write(fd, data, n) == (ssize_t)n;

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	ok = ok && file_open(f, AT_FDCWD, path, true, "input", &e) == OK;
	if (fd >= 0)
		close(fd);
	return ok;
}

/* A new folder, in memory where there is such a place: a target that needs names writes one each time. */
static inline void fuzz_dir(char dir[64])
{
	snprintf(dir, 64, "%s/ingot-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(dir))
		abort();
}

static inline void fuzz_put(const char *dir, const char *name, const uint8_t *data, size_t n)
{
	char path[128];
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, n) != (ssize_t)n)
		abort();
	close(fd);
}

/* Removes the folder and the n files and folders that were made in it, in the order given. */
static inline void fuzz_remove(const char *dir, const char *const *made, size_t n)
{
	char path[128];

	for (size_t i = 0; i < n; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, made[i]);
		remove(path);
	}
	rmdir(dir);
}

#endif
