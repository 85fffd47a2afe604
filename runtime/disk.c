/* SPDX-License-Identifier: MIT
 *
 * disk.c - byte ranges of files into memory, for readers that stream more than fits.
 *
 * What the page cache holds is copied from there; the rest is read past it (O_DIRECT, whole pages),
 * so that a model costs no copy, is not in memory twice, and evicts nothing else. Where a file system
 * knows no direct reads, everything goes the usual way. Nothing is mapped: a file that
 * shrinks is an error message.
 */
#include "runtime/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum status disk_open(struct disk *d, const struct file *const *files, size_t n, struct err *e)
{
	char name[40];

	*d = (struct disk){ .n = n };
	d->direct = mem_new(n, sizeof *d->direct, "descriptors", e);
	if (!d->direct)
		return e->status;
	for (size_t i = 0; i < n; i++) {
		/* the file that is open, whatever its name leads to by now; none is no error */
		snprintf(name, sizeof name, "/proc/self/fd/%d", files[i]->fd);
		d->direct[i] = open(name, O_RDONLY | O_CLOEXEC | O_DIRECT);
	}
	return OK;
}

void disk_close(struct disk *d)
{
	for (size_t i = 0; d->direct && i < d->n; i++)
		if (d->direct[i] >= 0)
			close(d->direct[i]);
	free(d->direct);
	*d = (struct disk){ 0 };
}

/* Does the page cache have all of n bytes at off? Asked of the kernel, for a read that does not wait
 * would start the cache reading ahead. Kernels that do not tell: no. */
static bool cached(const struct file *f, size_t n, uint64_t off)
{
#if defined __x86_64__ || defined __aarch64__
	enum { CACHESTAT = 451 };	/* Linux 6.5; newer than the headers may be */
	uint64_t first = off / DISK_ALIGN, last = (off + n - 1) / DISK_ALIGN;
	uint64_t range[2] = { first * DISK_ALIGN, (last - first + 1) * DISK_ALIGN };
	uint64_t pages[5] = { 0 };	/* cached, dirty, being written, evicted, lately evicted */

	return syscall(CACHESTAT, f->fd, range, pages, 0) == 0 && pages[0] > last - first;
#else
	(void)f; (void)n; (void)off;
	return false;
#endif
}

/* Whole pages [from, to) into p, until the end of the file or what direct reads cannot do. */
static uint64_t pages(int fd, uint8_t *p, uint64_t from, uint64_t to)
{
	uint64_t at = from;

	while (at < to && at % DISK_ALIGN == 0) {
		ssize_t k = pread(fd, p + (at - from), to - at, (off_t)at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			break;
		at += (uint64_t)k;
	}
	return at;
}

enum status disk_read(const struct disk *d, size_t i, const struct file *f, uint8_t *buf, size_t n, uint64_t off,
		      const uint8_t **at, struct err *e)
{
	int fd = d && i < d->n ? d->direct[i] : -1;
	uint64_t from = f->base + off;	/* of a member: where it lies in its archive, which begins on no page */
	uint64_t page = from & ~(uint64_t)(DISK_ALIGN - 1), end = from + n, have = from, to;
	uint8_t *p = buf + (from - page);

	*at = p;
	if (fd >= 0 && u64_round_up(end, DISK_ALIGN, &to) && !cached(f, n, from)) {
		uint64_t done = pages(fd, buf, page, to);

		have = done > from ? u64_min(done, end) : from;
	}
	/* the rest, or the message */
	return have < end ? file_read(f, p + (have - from), (size_t)(end - have), off + (have - from), e) : OK;
}
