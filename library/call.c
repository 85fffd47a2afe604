/* SPDX-License-Identifier: MIT
 *
 * call.c - what every public call goes through: sizes of structures, defaults, stop, notes, errors, texts.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "library/library.h"
#include "quantize/cpu.h"

enum { MOST_THREADS = 1024 };

const char *ingot_version(void)
{
	return INGOT_VERSION;
}

void ingot_stop(struct ingot_stop *s, int number)
{
	__atomic_store_n(&s->number, number, __ATOMIC_RELAXED);
}

/* ---- structures of another version ----------------------------------------------------------*/

enum status options_take(void *own, size_t n, const void *given, struct err *e)
{
	size_t size;

	memset(own, 0, n);
	if (!given)
		return OK;
	memcpy(&size, given, sizeof size);
	if (size < sizeof size)
		return err_set(e, ERR_USAGE, "a structure's size is not set; zero it, then set size to its sizeof");

	for (size_t i = n; i < size; i++)
		if (((const unsigned char *)given)[i])
			return err_set(e, ERR_USAGE, "a structure of %zu bytes asks for what libingot %s (%zu bytes) does not "
				       "know; a newer one does", size, INGOT_VERSION, n);
	memcpy(own, given, size < n ? size : n);
	return OK;
}

int result_give(void *to, const void *own, size_t n)
{
	size_t size;

	memcpy(&size, to, sizeof size);
	if (size < sizeof size)
		return INGOT_USAGE;
	memset(to, 0, size);
	memcpy(to, own, size < n ? size : n);
	memcpy(to, &size, sizeof size);
	return INGOT_OK;
}

/* ---- a call ---------------------------------------------------------------------------------*/

static unsigned processors(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > MOST_THREADS ? MOST_THREADS : (unsigned)n;
}

enum status call_open(struct call *c, const struct ingot_run *run)
{
	*c = (struct call){ .step = "" };
	if (options_take(&c->run, sizeof c->run, run, &c->err) != OK)
		return c->err.status;
	if (c->run.threads > MOST_THREADS)
		return err_set(&c->err, ERR_USAGE, "%u threads: %d are the most", c->run.threads, MOST_THREADS);
	if (c->run.threads == 0)
		c->run.threads = processors();
	if (c->run.max_memory == 0)
		c->run.max_memory = UINT64_C(1) << 30;
	c->stop = c->run.stop ? &c->run.stop->number : &c->own.number;
	c->from.stop = c->stop;
	return cpu_choose(&c->err);
}

static void give_notes(const struct call *c)
{
	char line[4 * 4096 + 1];

	for (const char *p = c->notes.text; c->run.note && p && *p;) {
		size_t n = strcspn(p, "\n");

		c->run.note(c->run.arg, escape_text(line, sizeof line, p, n));
		p += n + (p[n] == '\n');
	}
}

int call_close(struct call *c, enum status st, struct ingot_error *e)
{
	give_notes(c);
	log_close(&c->notes);
	if (!e)
		return status_exit_code(st);
	*e = (struct ingot_error){ .code = status_exit_code(st) };
	if (st != OK)
		escape_text(e->message, sizeof e->message, c->err.msg, strlen(c->err.msg));
	return e->code;
}

void call_step(void *arg, const char *name, uint64_t bytes)
{
	struct call *c = arg;

	c->step = name;
	call_progress(c, 0, bytes, NULL);
}

void call_progress(void *arg, uint64_t done, uint64_t total, const char *what)
{
	struct call *c = arg;
	char text[4 * 1024 + 1] = "";
	struct ingot_progress p = { .size = sizeof p, .step = c->step, .what = text, .done = done, .total = total };

	if (!c->run.progress)
		return;
	if (what)
		escape_text(text, sizeof text, what, strlen(what));
	if (c->run.progress(c->run.arg, &p) != 0)
		__atomic_store_n(c->stop, -1, __ATOMIC_RELAXED);
}

/* ---- texts ----------------------------------------------------------------------------------*/

const char *texts_add(struct texts *t, struct str s)
{
	size_t cap = 4 * s.n + 1;
	void *list = t->list;
	struct err ignored = { 0 };
	char *copy;

	if (s.n == 0)
		return "";
	copy = s.n < SIZE_MAX / 8 ? malloc(cap) : NULL;
	if (!copy || mem_grow(&list, &t->cap, t->n + 1, sizeof *t->list, "texts", &ignored) != OK) {
		free(copy);
		t->failed = true;
		return "";
	}
	t->list = list;
	t->list[t->n++] = copy;
	return escape_text(copy, cap, s.p, s.n);
}

const char *texts_addz(struct texts *t, const char *s)
{
	return texts_add(t, (struct str){ s, strlen(s) });
}

const char *texts_hex(struct texts *t, const uint8_t sha256[SHA256_BYTES])
{
	char hex[65];

	return texts_addz(t, sha256_text(sha256, hex));
}

enum status texts_check(const struct texts *t, struct err *e)
{
	return t->failed ? err_set(e, ERR_NOMEM, "no memory for the texts of a result") : OK;
}

void texts_close(struct texts *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->list[i]);
	free(t->list);
	*t = (struct texts){ 0 };
}
