/* SPDX-License-Identifier: MIT
 *
 * test_members.c - archives beyond 4 and 8 GiB, as holes on the disk: zip64, pax and binary sizes; and that a member ends where
 * it ends.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/members.h"
#include "runtime/store.h"
#include "tests/forge_archive.h"
#include "tests/test.h"

static char dir[] = "/tmp/ingot-members-XXXXXX", path[64];
static const uint64_t large = (UINT64_C(9) << 30) + 5;

/* What was gathered, at `at` of the file. */
static uint64_t put(int fd, uint64_t at)
{
	CHECK(pwrite(fd, b.p, b.n, (off_t)at) == (ssize_t)b.n);
	at += b.n;
	b.n = 0;
	return at;
}

static int made(void)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	return fd;
}

/* The list has the large one, and the text behind it. */
static void check_list(void)
{
	struct members m;
	const struct member *x;
	struct file f = FILE_NONE;
	char have[sizeof text];
	struct err e = { 0 };

	CHECKF(members_open(&m, path, NULL, &e) == OK, "%s", e.msg);
	x = members_find(&m, "model.safetensors");
	CHECK(x && x->size == large);
	x = members_find(&m, "config.json");
	CHECK(x && x->size == sizeof text);
	if (x && member_open(&f, &m, x, &e) == OK) {
		CHECK(file_read(&f, have, sizeof have, 0, &e) == OK && memcmp(have, text, sizeof text) == 0);
		CHECK(file_read(&f, have, 2, sizeof text - 1, &e) == ERR_IO);
		CHECK(file_read(&f, have, 1, UINT64_MAX, &e) == ERR_IO);
		CHECK(file_unchanged(&f, &e) == OK);
		CHECK(utimensat(AT_FDCWD, path, (struct timespec[2]){ { 1, 0 }, { 1, 0 } }, 0) == 0);
		CHECK(file_unchanged(&f, &e) == ERR_IO);
	} else {
		CHECKF(false, "%s", e.msg);
	}
	file_close(&f);
	members_close(&m);
}

static void finish_tar(int fd)
{
	uint64_t at = put(fd, 0) + ((large + 511) & ~UINT64_C(511));

	ENTRY("config.json", NULL, '0', ""), body(), ends(), put(fd, at);
	close(fd);
	check_list();
}

static void test_binary_size(void)
{
	int fd = made();

	ENTRY("model.safetensors", "\x80\0\0\0\0\0\0\2\x40\0\0\5", '0', "");
	finish_tar(fd);
}

static void test_pax_size(void)
{
	int fd = made();

	pax("19 size=9663676421\n");
	ENTRY("model.safetensors", "00000000000", '0', "");
	finish_tar(fd);
}

/* The extra field with two sizes, and the place where that is asked for. */
static void widened(uint64_t size, const uint64_t *at)
{
	le(2, 1), le(2, at ? 24 : 16), le(8, size), le(8, size);
	if (at)
		le(8, *at);
}

static void large_central(const char *name, uint32_t crc, uint64_t size, uint64_t at)
{
	le(4, 0x02014B50), le(2, 0x032D), le(2, 45), le(2, 0), le(2, 0), le(4, 0), le(4, crc), le(4, UINT32_MAX);
	le(4, UINT32_MAX), le(2, strlen(name)), le(2, 28), le(2, 0), le(2, 0), le(2, 0), le(4, 0), le(4, UINT32_MAX);
	add(name, strlen(name)), widened(size, &at);
}

static void test_zip64(void)
{
	const struct side a = PLAIN("config.json");
	static const char name[] = "model.safetensors";
	uint64_t at, dir_at, dir_end;
	int fd = made();

	le(4, 0x04034B50), le(2, 45), le(2, 0), le(2, 0), le(4, 0), le(4, 7), le(4, UINT32_MAX), le(4, UINT32_MAX);
	le(2, sizeof name - 1), le(2, 20), add(name, sizeof name - 1), widened(large, NULL);
	at = put(fd, 0) + large;
	local(&a);
	dir_at = put(fd, at);
	large_central(name, 7, large, 0);
	large_central(a.name, a.crc, sizeof text, at);
	dir_end = dir_at + b.n;
	le(4, 0x06064B50), le(8, 44), le(2, 45), le(2, 45), le(8, 0), le(8, 2), le(8, 2), le(8, dir_end - dir_at), le(8, dir_at);
	le(4, 0x07064B50), le(4, 0), le(8, dir_end), le(4, 1);
	le(4, 0x06054B50), le(4, 0), le(2, 2), le(2, 2), le(4, dir_end - dir_at), le(4, UINT32_MAX), le(2, 0);
	put(fd, dir_at);
	close(fd);
	check_list();
}

/* Past the page cache, from a place that is on no page's boundary. */
static void test_direct(void)
{
	enum { BASE = 12345, N = 200000 };
	static uint8_t bytes[BASE + N + 777], pages[N + 2 * DISK_ALIGN] __attribute__((aligned(DISK_ALIGN)));
	struct file all = FILE_NONE, f = FILE_NONE;
	const struct file *files[] = { &f };
	const uint8_t *at;
	struct disk d;
	struct err e = { 0 };
	int fd = made();

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 2654435761u >> 13);
	CHECK(write(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes && fsync(fd) == 0);
	CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	close(fd);
	CHECK(file_open(&all, AT_FDCWD, path, true, path, &e) == OK && file_range(&f, &all, &all, BASE, N, N, "part", &e) == OK);
	CHECK(disk_open(&d, files, 1, &e) == OK);
	for (uint64_t off = 0; off < N; off += 39999)
		CHECK(disk_read(&d, 0, &f, pages, (size_t)(N - off), off, &at, &e) == OK &&
		      memcmp(at, bytes + BASE + off, (size_t)(N - off)) == 0);
	disk_close(&d);
	file_close(&f);
	file_close(&all);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/large", dir);
	fill_text();
	RUN(test_binary_size);
	RUN(test_pax_size);
	RUN(test_zip64);
	RUN(test_direct);
	unlink(path);
	rmdir(dir);
	return test_done();
}
