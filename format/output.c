/* SPDX-License-Identifier: MIT
 *
 * output.c - a file that appears whole under its name or not at all.
 *
 * OUT.lock is locked for the whole run (lock.c); OUT.partial beside OUT receives the bytes; the name OUT
 * exists only after everything is on the disk: fsync the file, rename, fsync the directory. A
 * failed fsync is final: the kernel may have dropped the pages, so nothing may be retried.
 *
 * Bulk data goes past the page cache (O_DIRECT) where the file system allows it: converting a
 * model many times larger than memory through the cache costs six times the processor time and
 * evicts the source that is being read. Unaligned edges go through a second, ordinary descriptor;
 * the two never share a page.
 */
#include "format/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status open_dir(struct output *o, struct err *e)
{
	char *dir = mem_strdup(o->path, e), *slash;

	if (!dir)
		return e->status;
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = 0;
	o->dir_fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	return o->dir_fd < 0 ? err_errno(e, "%s: cannot open its directory", o->path) : OK;
}

static enum status reserve(struct output *o, struct err *e)
{
	if (o->size > LLONG_MAX)
		return err_set(e, ERR_UNSUPPORTED, "%s: %llu bytes is more than a file can hold", o->path,
			       (unsigned long long)o->size);
	while (o->size > 0 && fallocate(o->fd, 0, 0, (off_t)o->size) != 0) {
		if (errno == EINTR)
			continue;
		if (errno == EOPNOTSUPP || errno == ENOSYS) {
			if (TEMP_FAILURE_RETRY(ftruncate(o->fd, (off_t)o->size)) == 0)
				return OK;
		}
		return err_errno(e, "%s: cannot reserve %llu bytes on the disk", o->path, (unsigned long long)o->size);
	}
	return OK;
}

static void end(struct output *o, bool keep)
{
	if (o->fd >= 0)
		close(o->fd);
	if (o->direct_fd >= 0)
		close(o->direct_fd);
	if (o->lock.fd >= 0 && o->partial && !keep && !o->shared)
		unlink(o->partial);
	lock_drop(&o->lock);
	if (o->dir_fd >= 0)
		close(o->dir_fd);
	free(o->path);
	free(o->partial);
	*o = OUTPUT_NONE;
}

/* Whoever comes first makes it, all give it the same size; what earlier runs left is theirs together. */
static enum status open_shared(struct output *o, struct err *e)
{
	struct stat s;

	o->fd = open(o->partial, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
	if (o->fd < 0)
		return err_errno(e, "%s: cannot open", o->partial);
	if (fstat(o->fd, &s) != 0)
		return err_errno(e, "%s: cannot stat", o->partial);
	if (!S_ISREG(s.st_mode) || (uint64_t)s.st_size > o->size)
		return err_set(e, ERR_USAGE, "%s: is no regular file of at most %llu bytes; remove it", o->partial,
			       (unsigned long long)o->size);
	o->kept = true;
	return OK;
}

/* We hold the lock, so a partial file here belongs to a run that is gone. */
static enum status open_partial(struct output *o, enum leftover left, struct err *e)
{
	struct stat s;

	o->fd = open(o->partial, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (o->fd < 0 && errno != ENOENT)
		return err_errno(e, "%s: cannot open what an earlier run left", o->partial);
	if (o->fd >= 0 && left == LEFTOVER_REFUSE)
		return err_set(e, ERR_USAGE, "%s: an earlier run left it; --resume goes on with it, --force starts anew",
			       o->partial);
	if (o->fd >= 0 && fstat(o->fd, &s) != 0)
		return err_errno(e, "%s: cannot stat", o->partial);
	o->kept = o->fd >= 0 && left == LEFTOVER_KEEP && S_ISREG(s.st_mode) && (uint64_t)s.st_size == o->size;
	if (o->kept)
		return OK;
	if (o->fd >= 0)
		close(o->fd);
	if (o->fd >= 0 && unlink(o->partial) != 0)
		return err_errno(e, "%s: cannot remove what an earlier run left", o->partial);
	o->fd = open(o->partial, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
	o->made = o->fd >= 0;
	return o->made ? OK : err_errno(e, "%s: cannot create", o->partial);
}

enum status output_open(struct output *o, const char *path, uint64_t size, bool force, enum leftover left,
			struct err *e)
{
	struct stat s;
	char *lock = NULL;
	enum status st = ERR_NOMEM;

	*o = OUTPUT_NONE;
	o->size = size;
	o->force = force;
	o->shared = left == LEFTOVER_SHARE;
	if (!(o->path = mem_strdup(path, e)) || !(o->partial = path_with(path, ".partial", e)) ||
	    !(lock = path_with(path, ".lock", e)))
		goto out;
	TRY(open_dir(o, e));
	TRY(lock_take(&o->lock, lock, path, o->shared, e));
	if (lstat(path, &s) == 0) {
		st = OK;
		if (!force)
			st = err_set(e, ERR_USAGE, "%s: exists already; give another name, or --force to "
				     "replace it when the new file is complete", path);
		else if (!S_ISREG(s.st_mode))
			st = err_set(e, ERR_USAGE, "%s: exists and is not a regular file", path);
		TRY(st);
	}
	TRY(o->shared ? open_shared(o, e) : open_partial(o, left, e));
	TRY(reserve(o, e));
	o->direct_fd = open(o->partial, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_DIRECT);
	free(lock);
	return OK;
out:
	free(lock);
	end(o, !o->made);	/* what another run left is not ours to remove */
	return st;
}

static enum status write_fully(const struct output *o, int fd, const uint8_t *p, size_t n, uint64_t off,
			       struct err *e)
{
	while (n > 0) {
		ssize_t k = pwrite(fd, p, n, (off_t)off);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EINVAL && fd == o->direct_fd) {
			fd = o->fd;	/* direct writes refused here: the cache will do */
			continue;
		}
		if (k <= 0) {
			if (k == 0)
				errno = EIO;
			return err_errno(e, "%s: cannot write (bytes %llu..%llu)", o->partial,
					 (unsigned long long)off, (unsigned long long)(off + n));
		}
		p += k;
		n -= (size_t)k;
		off += (uint64_t)k;
		/* what is left after a short direct write may no longer be aligned */
		if (fd == o->direct_fd && (uint64_t)k % OUTPUT_ALIGN != 0)
			fd = o->fd;
	}
	return OK;
}

/* Less than a page of a file that others write too. A network file system may send the whole page, with what it
 * knew of the rest: a lock over the page makes it forget that before, and send the bytes at the end. */
static enum status write_edge(const struct output *o, const uint8_t *p, size_t n, uint64_t off, struct err *e)
{
	struct flock page = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)(off / OUTPUT_ALIGN * OUTPUT_ALIGN),
			      .l_len = OUTPUT_ALIGN };
	enum status st;
	int fd;

	if (!o->shared || n == 0)
		return write_fully(o, o->fd, p, n, off, e);
	fd = open(o->partial, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_errno(e, "%s: cannot open", o->partial);
	/* where there are no such locks nothing is lost: a page that is wrong is found when all is read back */
	while (fcntl(fd, F_OFD_SETLKW, &page) != 0 && errno == EINTR)
		;
	st = write_fully(o, fd, p, n, off, e);
	if (close(fd) != 0 && st == OK)
		st = err_errno(e, "%s: cannot close", o->partial);
	return st;
}

enum status output_write(const struct output *o, const void *buf, size_t n, uint64_t off,
			 struct err *e)
{
	const uint8_t *p = buf;
	bool direct = o->direct_fd >= 0 && ((uintptr_t)p - off) % OUTPUT_ALIGN == 0;
	uint64_t head, body;
	enum status st;

	if (off > o->size || n > o->size - off)
		return err_set(e, ERR_IO, "%s: write past the planned size (bytes %llu..%llu of %llu)",
			       o->partial, (unsigned long long)off, (unsigned long long)(off + n),
			       (unsigned long long)o->size);
	if (!direct && !o->shared)
		return write_fully(o, o->fd, p, n, off, e);
	head = u64_min(n, (OUTPUT_ALIGN - off % OUTPUT_ALIGN) % OUTPUT_ALIGN);
	body = (n - head) / OUTPUT_ALIGN * OUTPUT_ALIGN;
	TRY(write_edge(o, p, head, off, e));
	TRY(write_fully(o, direct ? o->direct_fd : o->fd, p + head, body, off + head, e));
	st = write_edge(o, p + head + body, n - head - body, off + head + body, e);
out:
	return st;
}

static enum status flush_failed(const struct output *o, const char *next, struct err *e)
{
	err_errno(e, "%s: cannot flush to the disk", o->partial);
	return err_add(e, "%s", next);
}

enum status output_sync(const struct output *o, struct err *e)
{
	return fdatasync(o->fd) == 0 ? OK : flush_failed(o, "; run again with --resume", e);
}

enum status output_commit(struct output *o, struct err *e)
{
	unsigned flags = o->force ? 0 : RENAME_NOREPLACE;

	if (o->direct_fd >= 0 && close(o->direct_fd) != 0) {
		o->direct_fd = -1;
		return err_errno(e, "%s: cannot close", o->partial);
	}
	o->direct_fd = -1;
	if (fsync(o->fd) != 0)
		return flush_failed(o, "; run again from the start", e);
	if (close(o->fd) != 0) {
		o->fd = -1;
		return err_errno(e, "%s: cannot close", o->partial);
	}
	o->fd = -1;
	if (renameat2(AT_FDCWD, o->partial, AT_FDCWD, o->path, flags) != 0) {
		/* some network file systems know no flags: link() refuses an existing name as well */
		if (errno != EINVAL || o->force || link(o->partial, o->path) != 0 ||
		    unlink(o->partial) != 0)
			return err_errno(e, "%s: cannot take its name from %s", o->path, o->partial);
	}
	if (fsync(o->dir_fd) != 0)
		return err_errno(e, "%s: cannot flush its directory", o->path);
	free(o->partial);
	o->partial = NULL;
	output_abandon(o);
	return OK;
}

void output_abandon(struct output *o)
{
	end(o, false);
}

void output_leave(struct output *o)
{
	end(o, true);
}
