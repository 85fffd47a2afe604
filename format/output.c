/* SPDX-License-Identifier: MIT
 *
 * output.c - a file that appears whole under its name or not at all.
 *
 * OUT.lock is locked for the whole run; OUT.partial beside OUT receives the bytes; the name OUT
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
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* path + suffix, owned by the caller */
static char *with_suffix(const char *path, const char *suffix, struct err *e)
{
	size_t n = strlen(path) + strlen(suffix) + 1;
	char *p = mem_new(n, 1, "a path", e);

	if (p)
		snprintf(p, n, "%s%s", path, suffix);
	return p;
}

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

/* Who holds the lock, for the one who has to wait. */
static enum status busy(const struct output *o, int lock_fd, struct err *e)
{
	char owner[200];
	ssize_t n = pread(lock_fd, owner, sizeof owner - 1, 0);

	owner[n > 0 ? n : 0] = 0;
	owner[strcspn(owner, "\n")] = 0;
	return err_set(e, ERR_BUSY, "%s: another run is writing it (%s%sit holds %s); wait for it or stop it", o->path,
		       owner, owner[0] ? ", " : "", o->lock);
}

static enum status write_owner(int lock_fd, const char *lock, struct err *e)
{
	char owner[200], host[100] = "";
	int n;

	gethostname(host, sizeof host - 1);
	n = snprintf(owner, sizeof owner, "pid %ld on %s\n", (long)getpid(), host);
	if (ftruncate(lock_fd, 0) != 0 || pwrite(lock_fd, owner, (size_t)n, 0) != n)
		return err_errno(e, "%s: cannot write the owner", lock);
	return OK;
}

/* The lock file stays a lock only while its name is ours: a run that finished in between has
 * removed it, so the name is checked again once the lock is held. */
static enum status take_lock(struct output *o, struct err *e)
{
	struct stat held, named;

	for (int tries = 0; tries < 100; tries++) {
		o->lock_fd = open(o->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
		if (o->lock_fd < 0)
			return err_errno(e, "%s: cannot create the lock", o->lock);
		if (flock(o->lock_fd, LOCK_EX | LOCK_NB) != 0) {
			if (errno != EWOULDBLOCK)
				return err_errno(e, "%s: cannot lock", o->lock);
			busy(o, o->lock_fd, e);
			close(o->lock_fd);
			o->lock_fd = -1;
			return e->status;
		}
		if (fstat(o->lock_fd, &held) == 0 && stat(o->lock, &named) == 0 &&
		    held.st_ino == named.st_ino && held.st_dev == named.st_dev)
			return write_owner(o->lock_fd, o->lock, e);
		close(o->lock_fd);
		o->lock_fd = -1;
	}
	return err_set(e, ERR_BUSY, "%s: the lock keeps changing hands; run again", o->lock);
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
			if (ftruncate(o->fd, (off_t)o->size) == 0)
				return OK;
		}
		return err_errno(e, "%s: cannot reserve %llu bytes on the disk; free space or choose "
				 "another place", o->path, (unsigned long long)o->size);
	}
	return OK;
}

static void end(struct output *o, bool keep)
{
	if (o->fd >= 0)
		close(o->fd);
	if (o->direct_fd >= 0)
		close(o->direct_fd);
	if (o->lock_fd >= 0) {
		if (o->partial && !keep)
			unlink(o->partial);
		unlink(o->lock);
		close(o->lock_fd);
	}
	if (o->dir_fd >= 0)
		close(o->dir_fd);
	free(o->path);
	free(o->partial);
	free(o->lock);
	*o = OUTPUT_NONE;
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
	o->kept = o->fd >= 0 && left == LEFTOVER_KEEP && fstat(o->fd, &s) == 0 && S_ISREG(s.st_mode) &&
		  (uint64_t)s.st_size == o->size;
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
	enum status st = ERR_NOMEM;

	*o = OUTPUT_NONE;
	o->size = size;
	o->force = force;
	if (!(o->path = mem_strdup(path, e)) || !(o->partial = with_suffix(path, ".partial", e)) ||
	    !(o->lock = with_suffix(path, ".lock", e)))
		goto out;
	TRY(open_dir(o, e));
	TRY(take_lock(o, e));
	if (lstat(path, &s) == 0) {
		st = OK;
		if (!force)
			st = err_set(e, ERR_USAGE, "%s: exists already; give another name, or --force to "
				     "replace it when the new file is complete", path);
		else if (!S_ISREG(s.st_mode))
			st = err_set(e, ERR_USAGE, "%s: exists and is not a regular file", path);
		TRY(st);
	}
	TRY(open_partial(o, left, e));
	TRY(reserve(o, e));
	o->direct_fd = open(o->partial, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_DIRECT);
	return OK;
out:
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

enum status output_write(const struct output *o, const void *buf, size_t n, uint64_t off,
			 struct err *e)
{
	const uint8_t *p = buf;
	uint64_t head, body;
	enum status st;

	if (off > o->size || n > o->size - off)
		return err_set(e, ERR_IO, "%s: write past the planned size (bytes %llu..%llu of %llu)",
			       o->partial, (unsigned long long)off, (unsigned long long)(off + n),
			       (unsigned long long)o->size);
	if (o->direct_fd < 0 || ((uintptr_t)p - off) % OUTPUT_ALIGN != 0)
		return write_fully(o, o->fd, p, n, off, e);
	head = u64_min(n, (OUTPUT_ALIGN - off % OUTPUT_ALIGN) % OUTPUT_ALIGN);
	body = (n - head) / OUTPUT_ALIGN * OUTPUT_ALIGN;
	TRY(write_fully(o, o->fd, p, head, off, e));
	TRY(write_fully(o, o->direct_fd, p + head, body, off + head, e));
	st = write_fully(o, o->fd, p + head + body, n - head - body, off + head + body, e);
out:
	return st;
}

enum status output_sync(const struct output *o, struct err *e)
{
	return fdatasync(o->fd) == 0 ? OK : err_errno(e, "%s: cannot flush to the disk; run again with --resume", o->partial);
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
		return err_errno(e, "%s: cannot flush to the disk; run again from the start", o->partial);
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
