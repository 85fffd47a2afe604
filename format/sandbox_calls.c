/* SPDX-License-Identifier: MIT
 *
 * sandbox_calls.c - the system calls that reading, computing, writing and threads need, as a seccomp filter.
 *
 * A call that is not in the list fails with ENOSYS, as on a kernel that has not got it: libraries
 * then take an older way (threads by clone, whose flags can be seen, in place of clone3), and
 * a call that nobody expected becomes an error message, not a dead process.
 */
#include "format/sandbox_calls.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
enum { ARCH = (int)AUDIT_ARCH_X86_64 };
#elif defined(__aarch64__)
enum { ARCH = (int)AUDIT_ARCH_AARCH64 };
#else
enum { ARCH = 0 };
#endif

/* Often used ones first. */
static const int calls[] = {
	SYS_pread64, SYS_read, SYS_write, SYS_pwrite64, SYS_futex, SYS_lseek, SYS_close, SYS_openat, SYS_fstat,
	SYS_newfstatat, SYS_statx, SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk, SYS_readv, SYS_writev, SYS_preadv,
	SYS_pwritev, SYS_preadv2, SYS_pwritev2, SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_nanosleep,
	SYS_clock_nanosleep, SYS_sched_yield, SYS_getrandom, SYS_fdatasync, SYS_fsync, SYS_sync_file_range,
	SYS_fallocate, SYS_ftruncate, SYS_memfd_create, SYS_fadvise64, SYS_readahead, SYS_mincore, SYS_msync, SYS_flock,
	SYS_fcntl, SYS_dup, SYS_dup3, SYS_ppoll, SYS_pselect6, SYS_faccessat, SYS_readlinkat, SYS_getdents64,
	SYS_getcwd, SYS_statfs, SYS_fstatfs, SYS_unlinkat, SYS_renameat2, SYS_linkat, SYS_utimensat, SYS_umask,
	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_restart_syscall, SYS_getpid,
	SYS_gettid, SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_uname, SYS_sysinfo,
	SYS_getrusage, SYS_times, SYS_prlimit64, SYS_getcpu, SYS_sched_getaffinity, SYS_sched_getparam,
	SYS_sched_getscheduler, SYS_get_mempolicy, SYS_membarrier, SYS_set_robust_list, SYS_set_tid_address, SYS_exit,
	SYS_exit_group,
#ifdef SYS_open	/* the older forms, where the architecture has them */
	SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_unlink, SYS_rename, SYS_link, SYS_poll, SYS_select, SYS_dup2,
	SYS_time, SYS_arch_prctl, SYS_getrlimit, SYS_getdents,
#endif
#ifdef SYS_renameat
	SYS_renameat,
#endif
#ifdef SYS_rseq
	SYS_rseq,
#endif
	439 /* faccessat2 */, 451 /* cachestat */,
};

/* Calls that depend on what they are asked: (argument & mask) must be value, or must not be. */
struct condition { int call, arg; uint32_t mask, value; bool equal; };

enum { ALL = -1, PR_SET_VMA_NAME = 0x53564d41, TERMIOS2 = (int)0x802c542a };

static struct sock_filter load(size_t at)
{
	return (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)at);
}

static struct sock_filter give(uint32_t what)
{
	return (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what);
}

/* goes on with the next instruction if equal, else past n of them */
static struct sock_filter unless_equal_skip(uint32_t value, uint8_t n)
{
	return (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, n);
}

static size_t add_condition(struct sock_filter *f, const struct condition *c)
{
	size_t low = offsetof(struct seccomp_data, args) + 8 * (size_t)c->arg;	/* little-endian */

	f[0] = unless_equal_skip((uint32_t)c->call, 5);
	f[1] = load(low);
	f[2] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, c->mask);
	f[3] = c->equal ? unless_equal_skip(c->value, 1)
			: (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, c->value, 1, 0);
	f[4] = give(SECCOMP_RET_ALLOW);
	f[5] = load(offsetof(struct seccomp_data, nr));
	return 6;
}

bool sandbox_filter_calls(void)
{
	enum { N_CALLS = sizeof calls / sizeof *calls, N_CONDITIONS = 11 };
	const uint32_t self = (uint32_t)getpid(), exec = PROT_WRITE | PROT_EXEC;
	const struct condition conditions[N_CONDITIONS] = {
		{ SYS_mmap, 2, exec, exec, false },
		{ SYS_mprotect, 2, exec, exec, false },
		{ SYS_clone, 0, CLONE_VM | CLONE_THREAD, CLONE_VM | CLONE_THREAD, true },
		{ SYS_kill, 0, (uint32_t)ALL, self, true },
		{ SYS_tgkill, 0, (uint32_t)ALL, self, true },
		{ SYS_ioctl, 1, (uint32_t)ALL, TCGETS, true },
		{ SYS_ioctl, 1, (uint32_t)ALL, (uint32_t)TERMIOS2, true },
		{ SYS_ioctl, 1, (uint32_t)ALL, TIOCGWINSZ, true },
		{ SYS_ioctl, 1, (uint32_t)ALL, FIONREAD, true },
		{ SYS_prctl, 0, (uint32_t)ALL, PR_SET_NAME, true },
		{ SYS_prctl, 0, (uint32_t)ALL, PR_SET_VMA_NAME, true },
	};
	struct sock_filter f[8 + 2 * N_CALLS + 6 * N_CONDITIONS];
	size_t n = 0;

	if (!ARCH)
		return false;
	f[n++] = load(offsetof(struct seccomp_data, arch));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)ARCH, 1, 0);
	f[n++] = give(SECCOMP_RET_ERRNO | ENOSYS);
	f[n++] = load(offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < N_CALLS; i++) {
		f[n++] = unless_equal_skip((uint32_t)calls[i], 1);
		f[n++] = give(SECCOMP_RET_ALLOW);
	}
	for (size_t i = 0; i < N_CONDITIONS; i++)
		n += add_condition(f + n, &conditions[i]);
	f[n++] = give(SECCOMP_RET_ERRNO | ENOSYS);	/* the x32 numbers of x86-64 end here, too */
	struct sock_fprog prog = { .len = (unsigned short)n, .filter = f };
	/* without SPEC_ALLOW older kernels slow the whole process down, against attacks that need its own code */
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		       &prog) == 0;
}
