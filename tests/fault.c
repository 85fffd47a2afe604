/* SPDX-License-Identifier: MIT
 *
 * fault.c - a preloaded library that makes the machine fail: FAULT=CALL:K:WHAT
 *
 *	CALL	open read pread write pwrite fsync fallocate rename close malloc, or any for all of these but malloc;
 *		stat (of an open file) list (of a directory) link unlink lock thread
 *	K	the K-th such call of the process (from 1)
 *	WHAT	an errno's number (that call fails), the same with "+" (that call and all after it),
 *		"stop" (SIGSTOP before the call; whoever started it may then do harm and let it go on),
 *		"kill" (SIGKILL before the call), "cut" (the same, and what was not flushed is lost), "short" (reads and writes from then on do a third), "intr"
 *		(every other call is interrupted), "storm" (SIGALRM every millisecond, with a handler
 *		that has calls end with EINTR instead of starting them again; as on a slow or remote file
 *		system, the first read, write or reservation after each does so; K and CALL say nothing)
 *
 * With FAULT_COUNT=FILE the number of calls, and of signals in a storm, is written there when the process ends by itself.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>

enum call { OPEN, READ, PREAD, WRITE, PWRITE, FSYNC, FALLOCATE, RENAME, CLOSE, MMAP, MALLOC, STAT, LIST, LINK, UNLINK, LOCK,
	    THREAD, N_CALLS };
static const char *const names[N_CALLS] = { "open", "read", "pread", "write", "pwrite", "fsync", "fallocate", "rename",
					    "close", "mmap", "malloc", "stat", "list", "link", "unlink", "lock", "thread" };
static struct { int call; long k; int error; bool forever, kill, stop, cut, partial, intr, storm, on; } plan;
static atomic_long counts[N_CALLS], all, signals, met;

static void count_signal(int signal)
{
	(void)signal;
	atomic_fetch_add(&signals, 1);
}

static void start_storm(void)
{
	struct sigaction a = { .sa_handler = count_signal };	/* without SA_RESTART */
	struct itimerval every = { { 0, 1000 }, { 0, 1000 } };

	if (sigaction(SIGALRM, &a, NULL) != 0 || setitimer(ITIMER_REAL, &every, NULL) != 0)
		abort();
	plan.storm = true;
}

/* At the end of a build that counts lines its counters take memory, too. */
static void feed(void)
{
	if (plan.call == MALLOC)
		plan.on = false;
}

static int count_fd = -1;	/* opened before the program confines itself */

__attribute__((constructor)) static void start(void)
{
	const char *p = getenv("FAULT_COUNT");
	char call[16] = "", what[16] = "";

	if (p)
		count_fd = open(p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	for (int i = 0; i < N_CALLS; i++)
		counts[i] = 0;
	all = 0;
	p = getenv("FAULT");
	plan.call = -1;
	if (!p || sscanf(p, "%15[^:]:%ld:%15s", call, &plan.k, what) != 3)
		return;
	for (int i = 0; i < N_CALLS; i++)
		if (strcmp(call, names[i]) == 0)
			plan.call = i;
	plan.kill = strcmp(what, "kill") == 0;
	plan.stop = strcmp(what, "stop") == 0;
	plan.cut = strcmp(what, "cut") == 0;
	plan.partial = strcmp(what, "short") == 0;
	plan.intr = strcmp(what, "intr") == 0;
	if (strcmp(what, "storm") == 0) {
		start_storm();
		return;
	}
	plan.error = (int)strtol(what, NULL, 10);
	plan.forever = strchr(what, '+') != NULL;
	plan.on = plan.call >= 0 || strcmp(call, "any") == 0;
}

__attribute__((destructor)) static void stop(void)
{
	long seen[N_CALLS];

	for (int i = 0; i < N_CALLS; i++)
		seen[i] = counts[i];
	for (int i = 0; count_fd >= 0 && i < N_CALLS; i++)
		dprintf(count_fd, "%s %ld\n", names[i], seen[i]);
	if (count_fd >= 0 && signals)
		dprintf(count_fd, "signals %ld\n", (long)signals);
}

/* The function that this one stands before. */
#define REAL(f) static __typeof__(&f) real; if (!real) real = (__typeof__(&f))dlsym(RTLD_NEXT, #f)

/* glibc's own, so that looking a symbol up may allocate. */
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static int real_open(const char *path, int flags) { REAL(open); return real(path, flags | O_CLOEXEC); }
static ssize_t real_pread(int fd, void *p, size_t n, off_t at) { REAL(pread); return real(fd, p, n, at); }
static ssize_t real_pwrite(int fd, const void *p, size_t n, off_t at) { REAL(pwrite); return real(fd, p, n, at); }
static int real_ftruncate(int fd, off_t n) { REAL(ftruncate); return real(fd, n); }
static int real_rename(const char *from, const char *to) { REAL(rename); return real(from, to); }
static int real_close(int fd) { REAL(close); return real(fd); }

#include "tests/fault_cut.h"

static bool interruptible(enum call c)
{
	return c == READ || c == PREAD || c == WRITE || c == PWRITE || c == FALLOCATE;
}

/* Whether a signal came since the last call that was told so. */
static bool meets_signal(enum call c)
{
	long came = atomic_load(&signals);

	if (!interruptible(c) || atomic_exchange(&met, came) == came)
		return false;
	errno = EINTR;
	return true;
}

/* Whether this call is to fail; errno is set then. */
static bool fails(enum call c)
{
	long n = atomic_fetch_add(&counts[c], 1) + 1, m = c >= MALLOC ? 0 : atomic_fetch_add(&all, 1) + 1;
	bool mine = plan.on && (plan.call == (int)c || (plan.call < 0 && c < MALLOC));
	static atomic_bool fed;
	long at = plan.call < 0 ? m : n;

	/* from within main: what is registered before comes after the counters */
	if (c == OPEN && plan.call == MALLOC && !atomic_exchange(&fed, true) && atexit(feed) != 0)
		abort();
	if (plan.storm)
		return meets_signal(c);
	if (!mine || plan.partial)
		return false;
	if (plan.intr) {
		errno = EINTR;
		return interruptible(c) && at % 2 == 1;
	}
	if (at != plan.k && !(plan.forever && at > plan.k))
		return false;
	if (plan.kill)
		kill(getpid(), SIGKILL);
	if (plan.stop) {
		kill(getpid(), SIGSTOP);
		return false;
	}
	if (plan.cut)
		cut();
	errno = plan.error;
	return true;
}

static size_t part(enum call c, size_t n)
{
	bool mine = plan.on && plan.partial && (plan.call == (int)c || plan.call < 0) && counts[c] >= plan.k;

	return mine && n > 3 ? n / 3 : n;
}

int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;
	REAL(open);

	va_start(ap, flags);
	mode = flags & O_CREAT ? (mode_t)va_arg(ap, int) : 0;
	va_end(ap);
	if (fails(OPEN))
		return -1;
	if (plan.cut && flags & O_CREAT && access(path, F_OK) != 0)
		undo_name(path);
	return real(path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;
	REAL(openat);

	va_start(ap, flags);
	mode = flags & O_CREAT ? (mode_t)va_arg(ap, int) : 0;
	va_end(ap);
	return fails(OPEN) ? -1 : real(dir, path, flags, mode);
}

/* What fortified programs call instead. */
int __openat_2(int dir, const char *path, int flags);
int __openat_2(int dir, const char *path, int flags)
{
	return openat(dir, path, flags);
}

ssize_t __pread_chk(int fd, void *p, size_t n, off_t at, size_t room);
ssize_t __pread_chk(int fd, void *p, size_t n, off_t at, size_t room)
{
	if (n > room)
		abort();
	return pread(fd, p, n, at);
}

int memfd_create(const char *name, unsigned flags)
{
	REAL(memfd_create);
	return fails(OPEN) ? -1 : real(name, flags);
}

ssize_t read(int fd, void *p, size_t n)
{
	REAL(read);
	return fails(READ) ? -1 : real(fd, p, part(READ, n));
}

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
	REAL(pread);
	return fails(PREAD) ? -1 : real(fd, p, part(PREAD, n), at);
}

ssize_t write(int fd, const void *p, size_t n)
{
	REAL(write);
	if (fails(WRITE))
		return -1;
	if (plan.cut)
		undo_bytes(fd, n, lseek(fd, 0, SEEK_CUR));
	return real(fd, p, part(WRITE, n));
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	REAL(pwrite);
	if (fails(PWRITE))
		return -1;
	if (plan.cut)
		undo_bytes(fd, n, at);
	return real(fd, p, part(PWRITE, n), at);
}

int fsync(int fd)
{
	REAL(fsync);
	int r = fails(FSYNC) ? -1 : real(fd);

	if (plan.cut && r == 0)
		undo_flushed(fd);
	return r;
}

int fdatasync(int fd)
{
	REAL(fdatasync);
	int r = fails(FSYNC) ? -1 : real(fd);

	if (plan.cut && r == 0)
		undo_flushed(fd);
	return r;
}

int fallocate(int fd, int mode, off_t from, off_t n)
{
	REAL(fallocate);
	return fails(FALLOCATE) ? -1 : real(fd, mode, from, n);
}

int ftruncate(int fd, off_t n)
{
	REAL(ftruncate);
	return fails(FALLOCATE) ? -1 : real(fd, n);
}

int rename(const char *from, const char *to)
{
	REAL(rename);
	if (fails(RENAME))
		return -1;
	if (plan.cut)
		undo_rename(from, to);
	return real(from, to);
}

int renameat2(int d0, const char *from, int d1, const char *to, unsigned flags)
{
	REAL(renameat2);
	if (fails(RENAME))
		return -1;
	if (plan.cut)
		undo_rename(from, to);
	return real(d0, from, d1, to, flags);
}

int close(int fd)
{
	REAL(close);
	if (!fails(CLOSE))
		return real(fd);
	int e = errno;
	real(fd);	/* a failed close has closed */
	errno = e;
	return -1;
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
	REAL(mmap);
	return fails(MMAP) ? MAP_FAILED : real(at, n, prot, flags, fd, off);
}

/* Of the program's own requests: the libraries below it have bugs of their own here (OpenSSL 3.0 dies where
 * its first allocations fail). */
static bool starves(const void *caller)
{
	static const char *first, *last;
	static atomic_bool known;
	Dl_info info;

	if (!atomic_load(&known)) {
		if (!dladdr((void *)(uintptr_t)getauxval(AT_ENTRY), &info))
			return false;
		first = info.dli_fbase;
		last = first + (64 << 20);
		atomic_store(&known, true);
	}
	return (const char *)caller >= first && (const char *)caller < last && fails(MALLOC);
}

void *malloc(size_t n) { return starves(__builtin_return_address(0)) ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return starves(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return starves(__builtin_return_address(0)) ? NULL : __libc_realloc(p, n); }

int posix_memalign(void **p, size_t align, size_t n)
{
	REAL(posix_memalign);
	return starves(__builtin_return_address(0)) ? ENOMEM : real(p, align, n);
}

int fstat(int fd, struct stat *s)
{
	REAL(fstat);
	return fails(STAT) ? -1 : real(fd, s);
}

DIR *fdopendir(int fd)
{
	REAL(fdopendir);
	return fails(LIST) ? NULL : real(fd);
}

struct dirent *readdir(DIR *d)
{
	REAL(readdir);
	return fails(LIST) ? NULL : real(d);
}

int link(const char *from, const char *to)
{
	REAL(link);
	return fails(LINK) ? -1 : real(from, to);
}

int linkat(int d0, const char *from, int d1, const char *to, int flags)
{
	REAL(linkat);
	return fails(LINK) ? -1 : real(d0, from, d1, to, flags);
}

int unlink(const char *path)
{
	REAL(unlink);
	return fails(UNLINK) ? -1 : real(path);
}

int unlinkat(int dir, const char *path, int flags)
{
	REAL(unlinkat);
	return fails(UNLINK) ? -1 : real(dir, path, flags);
}

int flock(int fd, int how)
{
	REAL(flock);
	return fails(LOCK) ? -1 : real(fd, how);
}

int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg)
{
	REAL(pthread_create);
	return fails(THREAD) ? errno : real(t, a, run, arg);
}
