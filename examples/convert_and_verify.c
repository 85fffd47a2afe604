/* SPDX-License-Identifier: MIT
 *
 * convert_and_verify.c - a checkpoint to a sealed GGUF, which is then verified: an example of libingot.
 *
 *	cc convert_and_verify.c $(pkg-config --cflags --libs ingot) -o convert_and_verify
 *	./convert_and_verify SOURCE OUT.gguf [MIB]
 *
 * Ctrl-C, or more than MIB mebibytes read, stops it; the same command then goes on where it was.
 */
#include <ingot.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct ingot_stop stop;

static void on_signal(int number)
{
	ingot_stop(&stop, number);
}

/* Stops at the size that arg points to. */
static int show(void *arg, const struct ingot_progress *p)
{
	const double *most = arg, mib = (double)p->done / (1 << 20);

	fprintf(stderr, "\r%s: %.1f of %.1f MiB\033[K", p->step, mib, (double)p->total / (1 << 20));
	return mib > *most;
}

static void note(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "note: %s\n", line);
}

static int fail(const struct ingot_error *e)
{
	fprintf(stderr, "error: %s\n", e->message);
	return e->code == INGOT_STOPPED ? 128 + (stop.number > 0 ? stop.number : 0) : e->code;
}

static int convert(const char *source, const char *out, const struct ingot_run *run)
{
	struct ingot_convert_options options = { .size = sizeof options, .recipe = "q8", .flags = INGOT_RESUME };
	struct ingot_output made = { .size = sizeof made };
	struct ingot_plan *plan;
	struct ingot_error e;

	if (ingot_convert(&plan, source, out, &options, run, &e) != INGOT_OK)
		return fail(&e);
	for (uint64_t i = 0; ingot_plan_output(plan, i, &made) == INGOT_OK; i++)
		printf("%s: %llu bytes, root %s\n", made.path, (unsigned long long)made.bytes, made.root);
	ingot_plan_close(plan);
	return INGOT_OK;
}

static int verify(const char *path, const struct ingot_run *run)
{
	struct ingot_verify_options options = { .size = sizeof options, .flags = INGOT_DEEP };
	struct ingot_verdict_facts facts = { .size = sizeof facts };
	struct ingot_finding f = { .size = sizeof f };
	struct ingot_verdict *verdict;
	struct ingot_error e;
	int code = ingot_verify(&verdict, path, &options, run, &e);

	for (uint64_t i = 0; verdict && ingot_verdict_finding(verdict, i, &f) == INGOT_OK; i++)
		printf("%s: bytes %llu..%llu %s\n", f.name, (unsigned long long)f.from, (unsigned long long)f.to, f.text);
	if (verdict && ingot_verdict_facts(verdict, &facts) == INGOT_OK)
		printf("intact: %s, values sound: %s\n", facts.shown & INGOT_INTACT ? "yes" : "no",
		       facts.shown & INGOT_SOUND ? "yes" : "no");
	ingot_verdict_close(verdict);
	return code == INGOT_OK ? code : fail(&e);
}

int main(int argc, char **argv)
{
	double most = argc > 3 ? strtod(argv[3], NULL) : 1e30;
	struct ingot_run run = { .size = sizeof run, .stop = &stop, .progress = show, .note = note, .arg = &most };
	int code;

	if (argc < 3) {
		fprintf(stderr, "usage: %s SOURCE OUT.gguf [MIB]\n", argv[0]);
		return INGOT_USAGE;
	}
	signal(SIGINT, on_signal);
	signal(SIGXFSZ, SIG_IGN);
	code = convert(argv[1], argv[2], &run);
	return code == INGOT_OK ? verify(argv[2], &run) : code;
}
