/* SPDX-License-Identifier: MIT
 *
 * replay.c - a fuzz target without a fuzzer: `replay_X CHANGES FILE...` gives it every file, and CHANGES
 * versions of each that differ in a few bytes, in length, or by a piece of another file. The same inputs
 * every time and on every machine, so that it is a test. Prints how many there were.
 */
#include <stdio.h>

#include "tests/fuzz/fuzz.h"

enum { ROOM = 1 << 20 };

struct input { uint8_t *p; size_t n; };

static uint64_t state = 1;

static size_t draw(size_t below)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return below ? (size_t)(state >> 33) % below : 0;
}

static struct input load(const char *path)
{
	struct input in = { .p = malloc(ROOM) };
	FILE *f = fopen(path, "rb");

	if (!f || !in.p) {
		perror(path);
		exit(1);
	}
	in.n = fread(in.p, 1, ROOM, f);
	fclose(f);
	return in;
}

static void change(struct input *to, const struct input *other)
{
	size_t at = draw(to->n), n;

	switch (draw(6)) {
	case 0:
		to->p[at] ^= (uint8_t)(1u << draw(8));
		break;
	case 1:
		to->p[at] = (uint8_t)draw(256);
		break;
	case 2:		/* a number as large, or as small, as its place holds */
		n = u64_min(1u << draw(4), to->n - at);
		memset(to->p + at, draw(2) ? 0xFF : 0, n);
		break;
	case 3:
		to->n = at;
		break;
	case 4:		/* a piece goes */
		n = draw(to->n - at);
		memmove(to->p + at, to->p + at + n, to->n - at - n);
		to->n -= n;
		break;
	default:	/* a piece of another comes */
		n = u64_min(1 + draw(64), u64_min(other->n, to->n - at));
		memcpy(to->p + at, other->p + draw(other->n - n + 1), n);
		break;
	}
}

/* In memory of exactly its size, so that a sanitizer sees any byte beyond. */
static void give(const struct input *in)
{
	uint8_t *copy = malloc(in->n ? in->n : 1);

	if (in->n)
		memcpy(copy, in->p, in->n);
	LLVMFuzzerTestOneInput(copy, in->n);
	free(copy);
}

int main(int argc, char **argv)
{
	unsigned long changes = argc > 1 ? strtoul(argv[1], NULL, 10) : 0, done = 0;
	int n = argc - 2;
	struct input *in = calloc(n > 0 ? (size_t)n : 1, sizeof *in), work = { .p = malloc(ROOM) };

	for (int i = 0; i < n; i++)
		in[i] = load(argv[i + 2]);
	for (int i = 0; i < n; i++) {
		give(&in[i]);
		done++;
		for (unsigned long k = 0; k < changes && in[i].n; k++, done++) {
			memcpy(work.p, in[i].p, work.n = in[i].n);
			for (size_t more = 1 + draw(4); more-- > 0 && work.n;)
				change(&work, &in[draw((size_t)n)]);
			give(&work);
		}
	}
	for (int i = 0; i < n; i++)
		free(in[i].p);
	free(in);
	free(work.p);
	printf("%lu inputs\n", done);
	return 0;
}
