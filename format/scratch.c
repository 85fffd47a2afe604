/* SPDX-License-Identifier: MIT
 *
 * scratch.c - bytes on the disk that only this process knows: a file without a name, in the folder of
 * an output, gone with the process however it ends.
 */
#include "format/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Some file systems have no nameless files: then one with a name, for a moment. */
static int open_named(const char *dir, struct err *e)
{
	size_t n = strlen(dir) + sizeof "/.ingot-XXXXXX";
	char *path = mem_new(n, 1, "a file name", e);
	int fd;

	if (!path)
		return -1;
	snprintf(path, n, "%s/.ingot-XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	free(path);
	return fd;
}

enum status scratch_open(struct scratch *s, const char *beside, uint64_t size, struct err *e)
{
	const char *slash = strrchr(beside, '/');

	*s = SCRATCH_NONE;
	s->dir = slash == beside ? mem_strdup("/", e) : mem_strdup(slash ? beside : ".", e);
	if (!s->dir)
		return e->status;
	if (slash && slash != beside)
		s->dir[slash - beside] = 0;
	s->fd = open(s->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (s->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
		s->fd = open_named(s->dir, e);
	if (s->fd < 0 || size > INT64_MAX || TEMP_FAILURE_RETRY(ftruncate(s->fd, (off_t)size)) != 0) {
		err_errno(e, "%s: cannot make a scratch file of %llu bytes there", s->dir, (unsigned long long)size);
		scratch_close(s);
		return e->status;
	}
	return OK;
}

static enum status failed(const struct scratch *s, const char *what, struct err *e)
{
	if (errno == 0)
		errno = EIO;
	return err_errno(e, "%s: cannot %s the scratch file there", s->dir, what);
}

enum status scratch_read(const struct scratch *s, void *buf, size_t n, uint64_t off, struct err *e)
{
	uint8_t *p = buf;

	while (n > 0) {
		ssize_t k = (errno = 0, pread(s->fd, p, n, (off_t)off));

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return failed(s, "read", e);
		p += k;
		n -= (size_t)k;
		off += (uint64_t)k;
	}
	return OK;
}

enum status scratch_write(const struct scratch *s, const void *buf, size_t n, uint64_t off, struct err *e)
{
	const uint8_t *p = buf;

	while (n > 0) {
		ssize_t k = (errno = 0, pwrite(s->fd, p, n, (off_t)off));

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return failed(s, "write", e);
		p += k;
		n -= (size_t)k;
		off += (uint64_t)k;
	}
	return OK;
}

void scratch_close(struct scratch *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->dir);
	*s = SCRATCH_NONE;
}
