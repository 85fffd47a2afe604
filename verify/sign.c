/* SPDX-License-Identifier: MIT
 *
 * sign.c - a signature into a sealed file's slot: 4096 bytes of the header, nothing else.
 *
 * The slot is blank in every digest, so a write that was cut short damages nothing but itself, and
 * signing again mends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "verify/verify.h"

/* Sealed and whole, but for what may stand in the slot. */
static enum status check_whole(struct sealed_report *r, const struct file *f, const struct sign_options *o,
			       struct log *notes, struct err *e)
{
	enum status st = verify_sealed(r, f, &o->run, notes, e);

	if (st == ERR_MISMATCH && r->signature_differs && !r->header_differs && !r->root_differs &&
	    !r->size_differs && !r->has_trailing && r->n_damage == 0 && !r->padding_differs) {
		log_add(notes, "%s: the slot holds the rest of a signature that was cut short; it is written anew", f->path);
		st = OK;
	}
	return st;
}

/* Another key's signature is not lost by accident. */
static enum status check_free(const struct sealed_report *r, const struct sign_options *o, const char *path,
			      struct err *e)
{
	struct err other;

	if (!r->signature_present || o->force || verify_signature(r, o->key, path, &other) == OK)
		return OK;
	if (other.status == ERR_NOMEM) {
		*e = other;
		return e->status;
	}
	return err_set(e, ERR_USAGE, "%s: is signed with another key, or its signature was changed; --force replaces it",
		       path);
}

/* The same file, for writing, and no one else at it. */
static enum status open_slot(int *fd, const struct file *f, struct err *e)
{
	struct stat s;

	*fd = open(f->path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0)
		return err_errno(e, "%s: cannot open it for writing", f->path);
	if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? err_set(e, ERR_BUSY, "%s: another run is signing it", f->path)
					    : err_errno(e, "%s: cannot lock", f->path);
	if (fstat(*fd, &s) != 0)
		return err_errno(e, "%s: cannot stat", f->path);
	if ((uint64_t)s.st_dev != f->id.dev || (uint64_t)s.st_ino != f->id.ino)
		return err_set(e, ERR_IO, "%s: was replaced while it was read; sign again", f->path);
	return file_unchanged(f, e);
}

static enum status write_slot(int fd, const uint8_t *p, uint64_t off, const char *path, struct err *e)
{
	size_t done = 0;

	while (done < SEAL_SIGNATURE_BYTES) {
		ssize_t k = pwrite(fd, p + done, SEAL_SIGNATURE_BYTES - done, (off_t)(off + done));

		if (k < 0 && errno == EINTR)
			continue;
		if (k == 0)
			errno = EIO;
		if (k <= 0)
			break;
		done += (size_t)k;
	}
	if (done == SEAL_SIGNATURE_BYTES && fsync(fd) == 0)
		return OK;
	err_errno(e, "%s: cannot write the signature (bytes %llu..%llu)", path, (unsigned long long)off,
		  (unsigned long long)(off + SEAL_SIGNATURE_BYTES));
	return err_add(e, "; sign again");
}

static enum status read_back(const char *path, const struct key *k, struct err *e)
{
	struct verify_options header = { .threads = 1, .header_only = true };
	struct sealed_report r = { 0 };
	struct file f = FILE_NONE;
	enum status st;

	TRY(file_open(&f, AT_FDCWD, path, true, path, e));
	TRY(verify_sealed(&r, &f, &header, NULL, e));
	TRY(verify_signature(&r, k, path, e));
out:
	sealed_report_close(&r);
	file_close(&f);
	return st;
}

enum status sign_sealed(const char *path, const struct sign_options *o, struct seal_claim *claim,
			struct log *notes, struct err *e)
{
	uint8_t slot[SEAL_SIGNATURE_BYTES];
	struct sealed_report r = { 0 };
	struct file f = FILE_NONE;
	int fd = -1;
	enum status st;

	TRY(file_open(&f, AT_FDCWD, path, true, path, e));
	TRY(check_whole(&r, &f, o, notes, e));
	TRY(check_free(&r, o, path, e));
	*claim = r.claim;
	TRY(claim_write(claim, o->key, slot, e));
	TRY(open_slot(&fd, &f, e));
	TRY(write_slot(fd, slot, r.seal.signature_off, path, e));
	st = close(fd) == 0 ? OK : err_errno(e, "%s: cannot close", path);
	fd = -1;
	if (st == OK)
		st = read_back(path, o->key, e);
out:
	if (fd >= 0)
		close(fd);
	sealed_report_close(&r);
	file_close(&f);
	return st;
}
