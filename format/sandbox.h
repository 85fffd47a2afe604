/* SPDX-License-Identifier: MIT
 *
 * sandbox.h - what the process may still do once it reads what others made: open the files it was told
 * about and write where it was told to, nothing else. Landlock limits paths, seccomp limits calls; both
 * are the kernel's, last until the process ends, and hold for threads started afterwards.
 *
 *	sandbox_start(&s);
 *	sandbox_allow(&s, "model.gguf", SANDBOX_READ);
 *	got = sandbox_enter(&s);	before the first thread
 *
 * Nothing here prints or fails: where the kernel has no such thing, the bits of the result say so.
 */
#ifndef FORMAT_SANDBOX_H
#define FORMAT_SANDBOX_H

#include "format/base.h"

enum {
	SANDBOX_READ = 1,	/* files, and everything below a directory */
	SANDBOX_LIST = 2,	/* names in a directory */
	SANDBOX_WRITE = 4,	/* and make, cut, rename and remove regular files in a directory */
};
/* What sandbox_enter achieved. */
enum {
	SANDBOX_PATHS = 1,	/* no path but the allowed ones; from Landlock ABI 4 on no TCP either */
	SANDBOX_CALLS = 2,	/* no exec, fork, socket, ptrace, signal to others, memory both written and executed */
};

/* A zeroed struct is NOT closed (fd 0): sandbox_start makes it. */
struct sandbox { int fd, abi; uint64_t handled; };

/* False for builds with a sanitizer's run-time library, which needs calls and files of its own. */
bool sandbox_built(void);
void sandbox_start(struct sandbox *s);
/* path, followed if it is a link, and what is below it; one that is not there is passed over. */
void sandbox_allow(struct sandbox *s, const char *path, unsigned access);
/* From here on. Also: no core files, no privileges by exec. Closes s. */
unsigned sandbox_enter(struct sandbox *s);

#endif
