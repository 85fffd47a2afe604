/* SPDX-License-Identifier: MIT
 *
 * parts.c - shares of a conversion: who makes what, and what they have to agree on.
 *
 * A share is a list of shards, so that each is read and hashed once, by one part; scales that stand in
 * another's shard are read besides, and the digests of their tiles, which both journals have, are compared
 * at the end (aux.c). What a part writes is a function of the plan, so it does not matter who makes it, how
 * often, or when.
 *
 * Whoever is alone (OUT.lock) may look at what is there and begin; whoever comes while others work must find a
 * record that says what he was told too.
 */
#include "convert/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RECORD_LIMIT = 4096 };
static const char record_form[] = "ingot parts 1\nparts %u\nplan %s\n";

uint8_t *parts_cut(const struct plan *p, unsigned k, unsigned n, struct err *e)
{
	uint8_t *mine = mem_new(p->ckpt->n_shards, 1, "a share", e);
	uint64_t each = p->source_bytes / n, rest = p->source_bytes % n, before = 0;
	unsigned share = 1;

	for (size_t i = 0; mine && i < p->ckpt->n_shards; i++) {
		uint64_t bytes = p->ckpt->files[i].file.id.size, middle = before + bytes / 2;

		/* a shard belongs where its middle is */
		while (share < n && middle >= each * share + rest * share / n)
			share++;
		mine[i] = share == k;
		before += bytes;
	}
	return mine;
}

char *parts_name(const char *out, unsigned k, unsigned n, struct err *e)
{
	size_t room = strlen(out) + 40;
	char *s = mem_new(room, 1, "a path", e);

	if (s && k)
		snprintf(s, room, "%s.part-%u-of-%u", out, k, n);
	else if (s)
		snprintf(s, room, "%s", out);
	return s;
}

/* What has a longer name cannot be there. */
static bool is_there(const char *path, const char *suffix)
{
	char name[PATH_MAX];

	return (size_t)snprintf(name, sizeof name, "%s%s", path, suffix) < sizeof name && access(name, F_OK) == 0;
}

static void discard(const char *path, const char *suffix)
{
	char name[PATH_MAX];

	if ((size_t)snprintf(name, sizeof name, "%s%s", path, suffix) < sizeof name)
		unlink(name);
}

bool parts_exist(const char *out)
{
	return is_there(out, ".parts");
}

/* The number from 1 to PARTS_MOST that *p is at, without leading zeros, and on behind it; 0: there is none. */
static unsigned small_number(const char **p)
{
	unsigned n = 0;

	for (; **p >= '0' + (n == 0) && **p <= '9' && n <= PARTS_MOST; ++*p)
		n = 10 * n + (unsigned)(**p - '0');
	return n <= PARTS_MOST ? n : 0;
}

enum status parts_parse(const char *text, unsigned *k, unsigned *n, struct err *e)
{
	const char *p = text;
	unsigned a = small_number(&p), b = a && *p++ == '/' ? small_number(&p) : 0;

	if (b == 0 || *p || a > b)
		return err_set(e, ERR_USAGE, "--part %s: which part of how many? give K/N, 1/8 to 8/8 for eight parts (at most %d)",
			       text, PARTS_MOST);
	*k = a;
	*n = b;
	return OK;
}

/* ---- the record --------------------------------------------------------------------------*/

/* 0: not a record */
static unsigned recorded_number(const char *text)
{
	static const char before[] = "ingot parts 1\nparts ";
	const char *p = strncmp(text, before, sizeof before - 1) == 0 ? text + sizeof before - 1 : "";

	return small_number(&p);
}

static void print_record(char text[RECORD_LIMIT], unsigned n, const uint8_t plan[SHA256_BYTES])
{
	char hex[65];

	snprintf(text, RECORD_LIMIT, record_form, n, sha256_text(plan, hex));
}

enum status parts_count(const char *out, const uint8_t plan[SHA256_BYTES], unsigned *n, struct err *e)
{
	char *path = path_with(out, ".parts", e), *text = NULL, want[RECORD_LIMIT];
	struct file f = FILE_NONE;
	size_t length;
	enum status st = path ? OK : e->status;

	*n = 0;
	TRY(st);
	TRY(file_open(&f, AT_FDCWD, path, false, path, e));
	TRY(file_slurp(&f, RECORD_LIMIT, &text, &length, e));
	*n = recorded_number(text);
	print_record(want, *n, plan);
	if (*n == 0 || strcmp(text, want) != 0)
		st = err_set(e, ERR_USAGE, "%s: parts of another conversion were begun here (other options, another source or "
			     "version); give the same ones, another name, or --force to start anew", path);
out:
	file_close(&f);
	free(text);
	free(path);
	return st;
}

static enum status another_division(const char *out, unsigned have, unsigned want, struct err *e)
{
	return err_set(e, ERR_USAGE, "%s.parts: it is being made in %u parts, not %u; give --part K/%u, or --force to start anew",
		       out, have, want, have);
}

/* On the disk whole or not at all; ERR_BUSY if another machine, which we did not see yet, was first. */
static enum status write_record(const char *out, const char *text, struct err *e)
{
	char *path = path_with(out, ".parts", e), *fresh = path ? path_with(out, ".parts.new", e) : NULL;
	enum status st = fresh ? OK : e->status;
	int fd = -1;

	TRY(st);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0 || TEMP_FAILURE_RETRY(write(fd, text, strlen(text))) != (ssize_t)strlen(text) || fsync(fd) != 0)
		st = err_errno(e, "%s: cannot write", fresh);
	else if (link(fresh, path) != 0 && errno == EEXIST)
		st = err_set(e, ERR_BUSY, "%s: other parts begin at this moment; run again", path);
	else if (access(path, F_OK) != 0 && rename(fresh, path) != 0)	/* no links here */
		st = err_errno(e, "%s: cannot take its name", path);
out:
	if (fd >= 0)
		close(fd);
	if (fresh)
		unlink(fresh);
	free(path);
	free(fresh);
	return st;
}

/* ---- joining -----------------------------------------------------------------------------*/

void parts_clear(const char *out)
{
	leftover_parts(out);
	discard(out, ".parts.new");	/* of one that was killed between its two names */
	discard(out, ".parts");
}

/* Nobody else works on it: looks at what there is, and begins. */
static enum status begin(const struct convert_options *o, const struct convert_result *r,
			 const uint8_t plan[SHA256_BYTES], struct err *e)
{
	const char *out = r->base;
	bool known = parts_exist(out), finishing = is_there(out, ".journal"), leftover = finishing;
	char text[RECORD_LIMIT];
	unsigned n = 0;
	enum status st = known ? parts_count(out, plan, &n, e) : OK;

	for (size_t i = 0; i < r->plan.n_outputs; i++) {
		if (!o->force && !finishing && is_there(r->paths[i], ""))
			return err_set(e, ERR_USAGE, "%s: exists already; give another name, or --force to replace it when the new "
				       "file is complete", r->paths[i]);
		leftover |= is_there(r->paths[i], ".partial");
	}
	if (known && st == OK && n == o->n_parts && !finishing)
		return OK;
	if (!o->force && st != OK)
		return st;
	if (!o->force && known)
		return n != o->n_parts ? another_division(out, n, o->n_parts, e)
				       : err_set(e, ERR_USAGE, "%s: all parts are done; give --finish", out);
	if (!o->force && (leftover || leftover_strays(r, false)))
		return err_set(e, ERR_USAGE, "%s.partial: an earlier run without --part left it; go on with it by --resume, or "
			       "start anew with --force", out);
	if (o->force) {
		parts_clear(out);
		leftover_strays(r, true);
		discard(out, ".journal");
		for (size_t i = 0; i < r->plan.n_outputs; i++)
			discard(r->paths[i], ".partial");
	}
	print_record(text, o->n_parts, plan);
	return write_record(out, text, e);
}

/* Others work on it: what they do must be what we were told. */
static enum status join(const struct convert_options *o, const struct convert_result *r,
			const uint8_t plan[SHA256_BYTES], struct err *e)
{
	unsigned n;
	enum status st = parts_count(r->base, plan, &n, e);

	return st == OK && n != o->n_parts ? another_division(r->base, n, o->n_parts, e) : st;
}

/* One try at OUT.lock: alone, else shared. *again: somebody begins, or ends, at this moment. */
static enum status try_gate(struct parts *x, const char *lock, const struct convert_options *o,
			    const struct convert_result *r, const uint8_t plan[SHA256_BYTES], bool *again, struct err *e)
{
	const char *out = r->base;
	enum status st;

	*again = false;
	lock_drop(&x->gate);
	st = lock_take(&x->gate, lock, out, false, e);
	if (st == OK) {
		TRY(begin(o, r, plan, e));
		if (!lock_share(&x->gate)) {
			*again = true;
			st = err_set(e, ERR_BUSY, "%s: another run is writing it", out);
		}
		goto out;
	}
	if (st == ERR_BUSY) {
		lock_drop(&x->gate);
		st = lock_take(&x->gate, lock, out, true, e);
	}
	*again = st == ERR_BUSY || (st == OK && !parts_exist(out));
	if (st == OK && !*again)
		st = join(o, r, plan, e);
	else if (st == OK)
		st = err_set(e, ERR_BUSY, "%s: another run is writing it", out);
out:
	*again |= st == ERR_BUSY;
	return st;
}

enum status parts_enter(struct parts *x, const struct convert_options *o, const struct convert_result *r,
			const uint8_t plan[SHA256_BYTES], struct err *e)
{
	enum { TRIES = 100, WAIT_NS = 20000000 };
	char *name = parts_name(r->base, o->part, o->n_parts, e);
	char *own = name ? path_with(name, ".lock", e) : NULL, *lock = own ? path_with(r->base, ".lock", e) : NULL;
	bool again = true;
	enum status st = lock ? OK : e->status;

	TRY(st);
	for (int i = 0; i < TRIES && again; i++) {
		st = try_gate(x, lock, o, r, plan, &again, e);
		if (again)
			nanosleep(&(struct timespec){ 0, WAIT_NS }, NULL);
	}
	TRY(st);
	TRY(lock_take(&x->own, own, name, false, e));
	if (o->force)
		discard(name, ".journal");
out:
	free(name);
	free(own);
	free(lock);
	return st;
}

void parts_leave(struct parts *x)
{
	lock_drop(&x->own);
	lock_drop(&x->gate);
}

void parts_who(const char *out, struct err *e)
{
	struct err first = *e, ignored;
	char *path = path_with(out, ".parts", &ignored), *text = NULL, owner[200];
	struct file f = FILE_NONE;
	size_t length;
	unsigned n = 0;

	if (path && file_open(&f, AT_FDCWD, path, false, path, &ignored) == OK &&
	    file_slurp(&f, RECORD_LIMIT, &text, &length, &ignored) == OK)
		n = recorded_number(text);
	for (unsigned k = 1; k <= n && e->status == ERR_BUSY; k++) {
		char *name = parts_name(out, k, n, &ignored), *lock = name ? path_with(name, ".lock", &ignored) : NULL;

		if (lock && lock_is_held(lock, owner))
			err_set(e, ERR_BUSY, "%s: part %u/%u is running (%s); wait for it", out, k, n, owner);
		free(name);
		free(lock);
		if (strcmp(first.msg, e->msg) != 0)
			break;
	}
	file_close(&f);
	free(text);
	free(path);
}

/* ---- putting together ------------------------------------------------------------------------*/

/* Names every part whose shards are not all done. */
static enum status all_done(const struct convert_result *r, unsigned n, const struct claims *c, bool damaged,
			    struct log *notes, struct err *e)
{
	unsigned missing = 0;
	char list[100] = "";
	uint8_t *mine;

	for (unsigned k = 1; k <= n; k++) {
		size_t own = 0, done = 0, n_list;

		if (!(mine = parts_cut(&r->plan, k, n, e)))
			return e->status;
		for (size_t i = 0; i < r->plan.ckpt->n_shards; i++) {
			own += mine[i];
			done += mine[i] && c->shards[i];
		}
		free(mine);
		if (done == own)
			continue;
		n_list = strlen(list);
		if (n_list + 20 < sizeof list)
			snprintf(list + n_list, sizeof list - n_list, "%s%u/%u", missing ? ", " : "", k, n);
		else if (list[n_list - 1] != '.')
			snprintf(list + n_list, sizeof list - n_list, ", ...");
		missing++;
		log_add(notes, "%s: part %u/%u is not complete (%zu of %zu shards); run it: this command with --part %u/%u "
			"in place of --finish", r->base, k, n, done, own, k, n);
	}
	if (missing)
		return err_set(e, damaged ? ERR_MISMATCH : ERR_USAGE, "%s: %u of %u parts %s: --part %s",
			       r->base, missing, n, damaged ? "have to be run again, their bytes are not what they wrote"
								: "are not complete; run them and --finish again", list);
	return OK;
}

enum status parts_merge(struct journal *j, struct convert_result *r, const struct output *outputs, unsigned n,
			const struct pipeline_options *run, struct claims *c, struct log *notes, struct err *e)
{
	char **paths = mem_new(n, sizeof *paths, "names of journals", e);
	bool damaged = false;
	enum status st = paths ? OK : e->status;

	for (unsigned k = 0; k < n && st == OK; k++) {
		char *name = parts_name(r->base, k + 1, n, e);

		if (!name || !(paths[k] = path_with(name, ".journal", e)))
			st = e->status;
		free(name);
	}
	TRY(st);
	TRY(journal_merge(j, &r->plan, paths, n, outputs, r->sha256, run, c, &damaged, notes, e));
	st = all_done(r, n, c, damaged, notes, e);
out:
	for (unsigned k = 0; paths && k < n; k++)
		free(paths[k]);
	free(paths);
	return st;
}
