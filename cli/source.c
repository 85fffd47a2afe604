/* SPDX-License-Identifier: MIT
 *
 * source.c - how a command opens the SOURCE or MODEL that it was given: where an archive's compressed members go, and what a
 * person sees of that.
 */
#include <string.h>

#include "cli/cli.h"

/* One command a process, and it opens one source at a time. */
static struct source_options options;
static struct progress unpacking;
static char folder[4100];

static void say(void *arg, const char *line)
{
	const struct cli *c = arg;

	if (!c->quiet)
		fprintf(stderr, "ingot: %s\n", cli_escz(line));
}

static void show(void *arg, uint64_t done, uint64_t total, const char *member)
{
	struct cli *c = arg;

	if (!unpacking.active)
		progress_begin(&unpacking, c, "unpack", total);
	progress_update(&unpacking, done, member);
	if (done >= total)
		progress_end(&unpacking);
}

const struct source_options *cli_source(struct cli *c, const char *beside)
{
	if (c->scratch)
		snprintf(folder, sizeof folder, "%s/.", c->scratch);
	options = (struct source_options){ .scratch = c->scratch ? folder : beside, .stop = &stop_signal, .say = say,
					   .progress = show, .arg = c };
	return &options;
}
