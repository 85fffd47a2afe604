/* SPDX-License-Identifier: MIT
 *
 * lock.c - a file that is locked while somebody works: alone, or beside others.
 *
 * Locks are flock's: they end with the process, whatever becomes of it, and a network file system carries
 * them to other machines where it is mounted with locks. A lock file stays a lock only while its name is
 * ours: whoever held it before may have removed it, so the name is looked at again once the lock is held,
 * and only a holder who is alone removes it.
 */
#include "format/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Who holds the lock, for the one who has to wait. */
static enum status busy(const struct lock *l, const char *what, struct err *e)
{
	char owner[200];
	ssize_t n = TEMP_FAILURE_RETRY(pread(l->fd, owner, sizeof owner - 1, 0));

	owner[n > 0 ? n : 0] = 0;
	owner[strcspn(owner, "\n")] = 0;
	return err_set(e, ERR_BUSY, "%s: another run is writing it (%s%sit holds %s); wait for it or stop it", what,
		       owner, owner[0] ? ", " : "", l->path);
}

/* Many share a lock, so no one's name is in it then. */
static enum status write_owner(const struct lock *l, struct err *e)
{
	char owner[200] = "", host[100] = "";
	int n = 0;

	gethostname(host, sizeof host - 1);
	if (!l->shared)
		n = snprintf(owner, sizeof owner, "pid %ld on %s\n", (long)getpid(), host);
	if (TEMP_FAILURE_RETRY(ftruncate(l->fd, 0)) != 0 || TEMP_FAILURE_RETRY(pwrite(l->fd, owner, (size_t)n, 0)) != n)
		return err_errno(e, "%s: cannot write the owner", l->path);
	return OK;
}

static enum status has_name(const struct lock *l, bool *named, struct err *e)
{
	struct stat held, found;

	if (fstat(l->fd, &held) != 0)
		return err_errno(e, "%s: cannot stat", l->path);
	*named = stat(l->path, &found) == 0 && held.st_ino == found.st_ino && held.st_dev == found.st_dev;
	return OK;
}

static void forget(struct lock *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

enum status lock_take(struct lock *l, const char *path, const char *what, bool shared, struct err *e)
{
	bool named;

	*l = (struct lock){ .fd = -1, .shared = shared };
	if (!(l->path = mem_strdup(path, e)))
		return e->status;
	for (int tries = 0; tries < 100; tries++) {
		l->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
		if (l->fd < 0)
			return err_errno(e, "%s: cannot create the lock", path);
		if (flock(l->fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
			if (errno == EWOULDBLOCK)
				busy(l, what, e);
			else
				err_errno(e, "%s: cannot lock", path);
			forget(l);
			return e->status;
		}
		if (has_name(l, &named, e) != OK) {
			forget(l);
			return e->status;
		}
		if (named)
			return write_owner(l, e);
		forget(l);
	}
	return err_set(e, ERR_BUSY, "%s: the lock keeps changing hands; run again", path);
}

bool lock_share(struct lock *l)
{
	l->shared = flock(l->fd, LOCK_SH | LOCK_NB) == 0;
	return l->shared && TEMP_FAILURE_RETRY(ftruncate(l->fd, 0)) == 0;
}

bool lock_is_held(const char *path, char owner[200])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool held = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
	ssize_t n = held ? TEMP_FAILURE_RETRY(pread(fd, owner, 199, 0)) : 0;

	owner[n > 0 ? n : 0] = 0;
	owner[strcspn(owner, "\n")] = 0;
	if (fd >= 0)
		close(fd);
	return held;
}

void lock_drop(struct lock *l)
{
	struct err ignored;
	bool named;

	/* to become the only holder gives up being one of several for a moment: whoever slips in then keeps it */
	if (l->fd >= 0 && (!l->shared || flock(l->fd, LOCK_EX | LOCK_NB) == 0) && has_name(l, &named, &ignored) == OK && named)
		unlink(l->path);
	forget(l);
	free(l->path);
	*l = LOCK_NONE;
}
