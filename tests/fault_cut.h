/* SPDX-License-Identifier: MIT
 *
 * fault_cut.h - a power cut: what was not flushed is undone before the process dies, newest first.
 *
 * The strictest disk that POSIX allows: bytes last once their file was flushed, names (made or moved) once
 * their directory was. Part of fault.c.
 */
#include <pthread.h>
#include <sys/stat.h>

enum undo_kind { UNDO_BYTES, UNDO_NAME, UNDO_RENAME };
struct undo {
	enum undo_kind kind;
	dev_t dev;
	ino_t ino;			/* of the file, or of nothing in particular */
	int fd;				/* of our own */
	off_t at, size;			/* of the write; of the file before it */
	char *old;
	size_t n;
	char from[512], to[512], saved[520];	/* saved: a second name of what was at `to` */
};
static struct undo *log_;
static size_t n_log, cap_log;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static struct undo *undo_new(enum undo_kind kind)
{
	if (n_log == cap_log) {
		cap_log = cap_log ? 2 * cap_log : 256;
		log_ = __libc_realloc(log_, cap_log * sizeof *log_);
	}
	memset(&log_[n_log], 0, sizeof *log_);
	log_[n_log].kind = kind;
	log_[n_log].fd = -1;
	return &log_[n_log++];
}

static void undo_bytes(int fd, size_t n, off_t at)
{
	char name[64];
	struct stat s;
	struct undo *u;

	if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode))
		return;
	pthread_mutex_lock(&log_lock);
	u = undo_new(UNDO_BYTES);
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	u->dev = s.st_dev;
	u->ino = s.st_ino;
	u->fd = real_open(name, O_RDWR);
	u->at = at;
	u->size = s.st_size;
	u->n = at < s.st_size ? (size_t)(s.st_size - at < (off_t)n ? s.st_size - at : (off_t)n) : 0;
	u->old = __libc_malloc(u->n + 1);
	if (real_pread(u->fd, u->old, u->n, at) != (ssize_t)u->n)
		abort();
	pthread_mutex_unlock(&log_lock);
}

static void undo_name(const char *path)
{
	pthread_mutex_lock(&log_lock);
	snprintf(undo_new(UNDO_NAME)->to, sizeof log_->to, "%s", path);
	pthread_mutex_unlock(&log_lock);
}

static void undo_rename(const char *from, const char *to)
{
	struct undo *u;

	pthread_mutex_lock(&log_lock);
	u = undo_new(UNDO_RENAME);
	snprintf(u->from, sizeof u->from, "%s", from);
	snprintf(u->to, sizeof u->to, "%s", to);
	snprintf(u->saved, sizeof u->saved, "%s.saved", to);
	if (link(to, u->saved) != 0)
		u->saved[0] = 0;
	pthread_mutex_unlock(&log_lock);
}

static void forget(struct undo *u)
{
	if (u->fd >= 0)
		real_close(u->fd);
	if (u->saved[0])
		unlink(u->saved);
	free(u->old);
}

/* fd has been flushed: of a file its bytes last, of a directory its names. */
static void undo_flushed(int fd)
{
	struct stat s;
	size_t n = 0;

	if (fstat(fd, &s) != 0)
		return;
	pthread_mutex_lock(&log_lock);
	for (size_t i = 0; i < n_log; i++) {
		bool done = S_ISDIR(s.st_mode) ? log_[i].kind != UNDO_BYTES
					       : log_[i].kind == UNDO_BYTES && log_[i].dev == s.st_dev && log_[i].ino == s.st_ino;
		if (done)
			forget(&log_[i]);
		else
			log_[n++] = log_[i];
	}
	n_log = n;
	pthread_mutex_unlock(&log_lock);
}

static void cut(void)
{
	pthread_mutex_lock(&log_lock);	/* never released */
	while (n_log > 0) {
		struct undo *u = &log_[--n_log];

		if (u->kind == UNDO_NAME)
			unlink(u->to);
		if (u->kind == UNDO_RENAME) {
			real_rename(u->to, u->from);
			if (u->saved[0])
				real_rename(u->saved, u->to);
		}
		if (u->kind == UNDO_BYTES && u->fd >= 0) {
			if (real_pwrite(u->fd, u->old, u->n, u->at) != (ssize_t)u->n || real_ftruncate(u->fd, u->size) != 0)
				abort();
		}
	}
	kill(getpid(), SIGKILL);
}
