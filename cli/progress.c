/* SPDX-License-Identifier: MIT
 *
 * progress.c - when and where a progress line is shown.
 *
 * On a terminal one line is drawn over and over. After each draw the cursor stands at its start, so that
 * whatever comes next, a prompt after a kill as well, begins there; and if the window was made narrower
 * and the terminal has folded the line, all of it lies behind the cursor and goes with the next draw. The
 * cursor is never hidden, the last column never used, nothing coloured. Elsewhere (a pipe, a log, a terminal
 * that says it is dumb) a plain line comes now and then.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

static volatile sig_atomic_t on_screen;	/* a line is drawn and not cleared */

static bool repaints(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

/* Seconds between two lines of a log: INGOT_PROGRESS_EVERY, or 10. Also a terminal's, if it is given. */
static double interval(bool terminal)
{
	const char *text = getenv("INGOT_PROGRESS_EVERY");
	char *end;
	double v = text ? strtod(text, &end) : -1;

	if (text && *text && *end == 0 && v >= 0 && v <= 86400)
		return v;
	return terminal ? 0.1 : 10.0;
}

void progress_begin(struct progress *p, struct cli *c, const char *verb, uint64_t total)
{
	bool terminal = repaints();

	*p = (struct progress){ .verb = verb, .total = total, .active = !c->quiet && !c->no_progress,
				.terminal = terminal, .every = interval(terminal), .shown = clock_seconds() };
}

static unsigned columns(void)
{
	struct winsize w = { 0 };

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col - 1u : 79u;
}

static void draw(const struct progress *p, const struct progress_facts *f)
{
	char line[PROGRESS_LINE], out[PROGRESS_LINE + 16];
	int n;

	progress_line(line, sizeof line, f, p->terminal ? columns() : PROGRESS_LINE);
	if (p->terminal)
		on_screen = 1;
	n = snprintf(out, sizeof out, p->terminal ? "\r%s\033[J\r" : "%s\n", line);
	fwrite(out, 1, (size_t)n, stderr);	/* at once */
}

void progress_update(struct progress *p, uint64_t done, const char *what)
{
	double now;

	if (!p->active)
		return;
	now = clock_seconds();
	if (p->total != p->stretch || done < p->done) {	/* something else is counted from here on */
		p->rate = (struct rate){ 0 };
		p->stretch = p->total;
	}
	p->done = done;
	rate_mark(&p->rate, now, done);
	if (now - p->shown < p->every)
		return;
	p->shown = now;
	draw(p, &(struct progress_facts){ .verb = p->verb, .what = what, .done = done, .total = p->total,
					  .rate = rate_per_second(&p->rate, now), .left = rate_left(&p->rate, now, p->total) });
}

bool progress_shares_terminal(const struct progress *p)
{
	return p->active && p->terminal && isatty(STDOUT_FILENO);
}

void progress_end(struct progress *p)
{
	p->active = false;
	progress_clear();
}

void progress_clear(void)
{
	static const char clear[] = "\r\033[J";

	if (!on_screen)
		return;
	on_screen = 0;
	if (write(STDERR_FILENO, clear, sizeof clear - 1) < 0)
		return;		/* nobody is there to see it */
}
