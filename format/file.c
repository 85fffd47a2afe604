/* SPDX-License-Identifier: MIT
 *
 * file.c - reading regular files through one descriptor, and noticing when they change.
 *
 * Everything is read with pread: a file that shrinks under us is an error message here, where a
 * mapping would be a SIGBUS.
 */
#include "format/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct file_id id_of(const struct stat *s)
{
	return (struct file_id){
		.dev = (uint64_t)s->st_dev,
		.ino = (uint64_t)s->st_ino,
		.size = (uint64_t)s->st_size,
		.mtime_ns = (int64_t)s->st_mtim.tv_sec * 1000000000 + s->st_mtim.tv_nsec,
		.ctime_ns = (int64_t)s->st_ctim.tv_sec * 1000000000 + s->st_ctim.tv_nsec,
	};
}

enum status file_open(struct file *f, int dirfd, const char *name, bool follow, const char *path,
		      struct err *e)
{
	struct stat s;
	/* O_NONBLOCK: opening a FIFO must not wait for a writer that never comes */
	int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (follow ? 0 : O_NOFOLLOW);

	*f = FILE_NONE;
	f->path = mem_strdup(path, e);
	if (!f->path)
		return e->status;
	f->fd = openat(dirfd, name, flags);
	if (f->fd < 0) {
		enum status st = errno == ELOOP && !follow
			? err_set(e, ERR_FORMAT, "%s: is a symbolic link: links are only followed inside "
				  "the Hub's cache; copy the file itself here", path)
			: errno == ENXIO	/* of a socket: it cannot even be opened */
			? err_set(e, ERR_FORMAT, "%s: not a regular file; name the file itself", path)
			: err_errno(e, "%s: cannot open", path);
		file_close(f);
		return st;
	}
	if (fstat(f->fd, &s) != 0) {
		err_errno(e, "%s: cannot stat", path);
		file_close(f);
		return e->status;
	}
	if (!S_ISREG(s.st_mode)) {
		file_close(f);
		return err_set(e, ERR_FORMAT, "%s: not a regular file; name the file itself", path);
	}
	f->id = f->held = id_of(&s);
	return OK;
}

enum status file_range(struct file *f, const struct file *in, const struct file *of, uint64_t base, uint64_t have, uint64_t size,
		       const char *path, struct err *e)
{
	struct stat s;

	*f = FILE_NONE;
	f->path = mem_strdup(path, e);
	if (!f->path)
		return e->status;
	f->fd = fcntl(in->fd, F_DUPFD_CLOEXEC, 3);
	if (f->fd < 0 || fstat(f->fd, &s) != 0) {
		err_errno(e, "%s: cannot open", path);
		file_close(f);
		return e->status;
	}
	f->held = in == of ? of->held : id_of(&s);
	f->id = of->id;
	f->id.size = size;
	f->base = base;
	f->have = have;
	f->part = true;
	return OK;
}

enum status file_read(const struct file *f, void *buf, size_t n, uint64_t off, struct err *e)
{
	uint8_t *p = buf;
	size_t done = 0;
	uint64_t from = f->base + off;

	/* what follows a member is another's */
	if (f->part && (off > f->have || n > f->have - off))
		return err_set(e, ERR_IO, "%s: bytes %llu..%llu are wanted and %llu are there (of %llu); give the command the "
			       "whole file", f->path, (unsigned long long)off, (unsigned long long)(off + n),
			       (unsigned long long)f->have, (unsigned long long)f->id.size);
	while (done < n) {
		ssize_t k = pread(f->fd, p + done, n - done, (off_t)(from + done));
		if (k > 0) {
			done += (size_t)k;
		} else if (k == 0) {
			return err_set(e, ERR_IO, "%s: ends at byte %llu (bytes %llu..%llu wanted): the file "
				       "is shorter than when it was opened; download it again", f->path,
				       (unsigned long long)(off + done), (unsigned long long)off,
				       (unsigned long long)(off + n));
		} else if (errno != EINTR) {
			return err_errno(e, "%s: cannot read (bytes %llu..%llu)", f->path,
					 (unsigned long long)(off + done), (unsigned long long)(off + n));
		}
	}
	return OK;
}

bool file_id_same(const struct file_id *a, const struct file_id *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns;
}

enum status file_unchanged(const struct file *f, struct err *e)
{
	struct stat s;
	struct file_id now;

	if (fstat(f->fd, &s) != 0)
		return err_errno(e, "%s: cannot stat", f->path);
	now = id_of(&s);
	if (!file_id_same(&now, &f->held))
		return err_set(e, ERR_IO, "%s: changed while it was being read; let the writer finish "
			       "and run again", f->path);
	return OK;
}

enum status file_slurp(const struct file *f, uint64_t limit, char **text, size_t *n, struct err *e)
{
	enum status st;

	if (f->id.size > limit)
		return err_set(e, ERR_UNSUPPORTED, "%s: %llu bytes, more than the limit of %llu for a file "
			       "of this kind", f->path, (unsigned long long)f->id.size,
			       (unsigned long long)limit);
	*n = (size_t)f->id.size;
	*text = mem_new(*n + 1, 1, f->path, e);
	if (!*text)
		return e->status;
	st = file_read(f, *text, *n, 0, e);
	if (st != OK) {
		free(*text);
		*text = NULL;
	}
	return st;
}

void file_close(struct file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
	*f = FILE_NONE;
}
