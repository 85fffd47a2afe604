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

/* Puts the input into the file at fd, which had *had bytes; pages that it needs again are kept. */
static inline void fuzz_write(int fd, size_t *had, const uint8_t *data, size_t n)
{
	if ((*had > n && ftruncate(fd, (off_t)n) != 0) || pwrite(fd, data, n, 0) != (ssize_t)n)
		abort();
	*had = n;
}

/* The input as a file in memory, as file_open would give it, to be closed before the next. There is one such file for
 * the whole campaign, since to make one costs more than to parse most inputs. */
static inline void fuzz_file(struct file *f, const uint8_t *data, size_t n)
{
	static int fd = -1;
	static size_t had;

	if (fd < 0)
		fd = memfd_create("input", MFD_CLOEXEC);
	fuzz_write(fd, &had, data, n);
	*f = (struct file){ .fd = dup(fd), .path = strdup("input"), .id.size = n };
	if (f->fd < 0 || !f->path)
		abort();
}

/* A new folder, in memory where there is such a place: a target that needs names writes one each time. */
static inline void fuzz_dir(char dir[64])
{
	snprintf(dir, 64, "%s/ingot-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(dir))
		abort();
}

static inline int fuzz_create(const char *dir, const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		abort();
	return fd;
}

static inline void fuzz_put(const char *dir, const char *name, const uint8_t *data, size_t n)
{
	int fd = fuzz_create(dir, name);
	size_t had = 0;

	fuzz_write(fd, &had, data, n);
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
