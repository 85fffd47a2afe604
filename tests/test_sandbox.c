/* SPDX-License-Identifier: MIT
 *
 * test_sandbox.c - a process confines itself and tries what it must not: each attempt in a child of its own,
 * because there is no way back. Where the kernel has no Landlock or seccomp that half is said to be unseen.
 */
#include "format/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

static char in[64], out[64], other[64];	/* directories: readable, writable, not named */

static char *under(const char *dir, const char *name)
{
	static char path[4][128];
	static unsigned i;
	char *p = path[i++ % 4];

	snprintf(p, sizeof path[0], "%s/%s", dir, name);
	return p;
}

static bool make(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	bool good = fd >= 0 && write(fd, "text", 4) == 4;

	return fd >= 0 && close(fd) == 0 && good;
}

static bool opens(const char *path, int flags)
{
	int fd = open(path, flags, 0600);

	return fd >= 0 && close(fd) == 0;
}

static unsigned confine(void)
{
	struct sandbox s;

	sandbox_start(&s);
	sandbox_allow(&s, in, SANDBOX_READ);
	sandbox_allow(&s, out, SANDBOX_READ | SANDBOX_WRITE);
	return sandbox_enter(&s);
}

/* 1 if f says so in a confined child, 0 if not, 2 if it died */
static int confined(bool (*f)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		confine();
		_exit(f());
	}
	return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

static bool refused(long result) { return result < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS); }

static bool reads_what_is_named(void) { return opens(under(in, "file"), O_RDONLY) && opens(in, O_RDONLY | O_DIRECTORY); }
static bool reads_another(void) { return opens(under(other, "file"), O_RDONLY); }
static bool reads_passwords(void) { return opens("/etc/passwd", O_RDONLY); }
static bool climbs_out(void) { return opens(under(in, "../../etc/passwd"), O_RDONLY) || opens(under(in, "link"), O_RDONLY); }
static bool writes_input(void)
{
	return opens(under(in, "file"), O_WRONLY) || make(under(in, "new")) || unlink(under(in, "file")) == 0;
}
static bool writes_another(void) { return make(under(other, "new")) || opens(under(other, "file"), O_WRONLY); }
static bool carries_away(void)
{
	return rename(under(in, "file"), under(out, "moved")) == 0 || link(under(other, "file"), under(out, "l")) == 0;
}
static bool makes_an_output(void)
{
	int fd = open(out, O_TMPFILE | O_RDWR, 0600);	/* a scratch file has no name */
	bool good = fd < 0 ? errno == EOPNOTSUPP : pwrite(fd, "x", 1, 0) == 1;

	return good && make(under(out, "a.partial")) && rename(under(out, "a.partial"), under(out, "a")) == 0 &&
	       opens(under(out, "a"), O_RDWR | O_TRUNC) && unlink(under(out, "a")) == 0;
}

static bool executes(void)
{
	char *const none[] = { NULL };

	return !refused(execve("/bin/true", none, none)) || !refused(execveat(AT_FDCWD, "/bin/true", none, none, 0));
}
static bool forks(void)
{
	pid_t p = fork();

	if (p == 0)
		_exit(0);
	return p > 0;
}
static bool talks(void)
{
	return !refused(socket(AF_INET, SOCK_STREAM, 0)) || !refused(socket(AF_UNIX, SOCK_STREAM, 0)) ||
	       !refused(socket(AF_NETLINK, SOCK_RAW, 0));
}
static bool traces(void) { return !refused(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL)); }
static bool kills_others(void) { return !refused(kill(getppid(), 0)); }
static bool makes_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ||
	       mprotect(p, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == 0;
}
static bool types_into_the_terminal(void)
{
	char c = 'x';

	return !refused(ioctl(0, TIOCSTI, &c));
}
static void *nothing(void *arg) { return arg; }
static bool starts_threads(void)
{
	pthread_t t;
	void *p = malloc(1 << 20);

	free(p);
	return pthread_create(&t, NULL, nothing, NULL) == 0 && pthread_join(t, NULL) == 0;
}
static void *talks_too(void *arg) { *(bool *)arg = talks() || executes(); return NULL; }
static bool threads_get_out(void)
{
	pthread_t t;
	bool out_of_it = true;

	return pthread_create(&t, NULL, talks_too, &out_of_it) != 0 || pthread_join(t, NULL) != 0 || out_of_it;
}
static bool kills_itself(void) { return kill(getpid(), 0) == 0 && raise(0) == 0; }
static bool dumps_core(void)
{
	struct rlimit r;

	return getrlimit(RLIMIT_CORE, &r) != 0 || r.rlim_max != 0;
}

static unsigned what_is_there(void)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit((int)confine());
	return waitpid(child, &status, 0) == child && WIFEXITED(status) ? (unsigned)WEXITSTATUS(status) : 0;
}

static void check_paths(void)
{
	CHECK(confined(reads_what_is_named) == 1);
	CHECK(confined(makes_an_output) == 1);
	CHECK(confined(reads_another) == 0);
	CHECK(confined(reads_passwords) == 0);
	CHECK(confined(climbs_out) == 0);
	CHECK(confined(writes_input) == 0);
	CHECK(confined(writes_another) == 0);
	CHECK(confined(carries_away) == 0);
}

static void check_calls(void)
{
	CHECK(confined(executes) == 0);
	CHECK(confined(forks) == 0);
	CHECK(confined(talks) == 0);
	CHECK(confined(traces) == 0);
	CHECK(confined(kills_others) == 0);
	CHECK(confined(makes_code) == 0);
	CHECK(confined(types_into_the_terminal) == 0);
	CHECK(confined(threads_get_out) == 0);
	CHECK(confined(starts_threads) == 1);
	CHECK(confined(kills_itself) == 1);
}

static void check_core(void) { CHECK(confined(dumps_core) == 0); }

int main(void)
{
	unsigned got;

	if (!sandbox_built()) {
		puts("not shown: this build has a sanitizer");
		return test_done();
	}
	snprintf(in, sizeof in, "/tmp/sandbox-in-XXXXXX"), snprintf(out, sizeof out, "/tmp/sandbox-out-XXXXXX");
	snprintf(other, sizeof other, "/tmp/sandbox-other-XXXXXX");
	if (!mkdtemp(in) || !mkdtemp(out) || !mkdtemp(other) || !make(under(in, "file")) || !make(under(other, "file")) ||
	    symlink("/etc/passwd", under(in, "link")) != 0)
		return 1;
	got = what_is_there();
	if (got & SANDBOX_PATHS)
		RUN(check_paths);
	else
		puts("not shown: this kernel has no Landlock");
	if (got & SANDBOX_CALLS)
		RUN(check_calls);
	else
		puts("not shown: this kernel or machine has no seccomp filter");
	RUN(check_core);
	unlink(under(in, "file")), unlink(under(in, "link")), unlink(under(other, "file"));
	rmdir(in), rmdir(out), rmdir(other);
	return test_done();
}
