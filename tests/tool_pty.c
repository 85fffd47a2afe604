/* SPDX-License-Identifier: MIT
 *
 * tool_pty.c - runs a command on a terminal of its own and prints what a person would see at the end.
 *
 * tool_pty [-w COLUMNS] [-r COLUMNS] [-i DRAWS] [-o RAW] COMMAND...
 *
 * A terminal of COLUMNS (80) and 24 rows, which knows what Ingot writes: text, CR, LF, erase to the end of the line or
 * the screen. Anything else is an escape that is shown as "<ESC>". -r: becomes so wide after the third draw (a CR
 * that text follows), and folds what no longer fits as real ones do; -i: SIGINT to the command after so many draws, as ^C
 * does it (with its echo); -o: every byte goes there as it came. Standard error: "wrapped N, drawn N". Ends as the command
 * does.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS = 4000, MOST = 500 };

struct screen {
	unsigned wide, row, col, used;		/* used: rows that anything was written to */
	char cell[ROWS][MOST][8];
	unsigned wrapped, drawn;
	bool after_cr;
	char pending[32];			/* the beginning of an escape or a character */
	size_t n_pending;
};

static struct screen s;

static void erase(unsigned row, unsigned from)
{
	for (unsigned c = from; c < MOST; c++)
		s.cell[row][c][0] = 0;
}

static void next_row(void)
{
	if (s.row + 1 < ROWS)
		s.row++;
	if (s.used <= s.row)
		s.used = s.row + 1;
}

static void put(const char *character, size_t n)
{
	if (s.col >= s.wide) {
		s.wrapped++;
		s.col = 0;
		next_row();
	}
	if (s.after_cr)
		s.drawn++;
	s.after_cr = false;
	memcpy(s.cell[s.row][s.col], character, n);
	s.cell[s.row][s.col][n] = 0;
	s.col++;
}

/* One byte; whole escapes and characters are acted upon. */
static void feed(char c)
{
	char *p = s.pending;
	unsigned char lead;

	if (s.n_pending == 0 && c == '\r') {
		s.col = 0;
		s.after_cr = true;
		return;
	}
	if (s.n_pending == 0 && c == '\n') {
		next_row();
		s.after_cr = false;
		return;
	}
	p[s.n_pending++] = c;
	lead = (unsigned char)p[0];
	if (lead == 0x1b) {
		if (s.n_pending < 3 || ((c < '@' || c > '~') && s.n_pending < sizeof s.pending))
			return;
		if (s.n_pending == 3 && (c == 'K' || c == 'J')) {
			erase(s.row, s.col);
			for (unsigned r = s.row + 1; c == 'J' && r < s.used; r++)
				erase(r, 0);
		} else {
			put("<ESC>", 5);
		}
	} else {
		size_t want = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;

		if (s.n_pending < want)
			return;
		put(p, s.n_pending);
	}
	s.n_pending = 0;
}

/* The window becomes so wide: rows that do not fit are folded; the cursor stays on its character. */
static void resize(int fd, unsigned wide)
{
	struct winsize w = { .ws_col = (unsigned short)wide, .ws_row = 24 };
	unsigned row = s.row, n = 0;

	while (n < MOST && s.cell[row][n][0])
		n++;
	for (unsigned at = wide, r = row + 1; at < n && r < ROWS; at += wide, r++) {
		memcpy(s.cell[r], s.cell[row] + at, sizeof s.cell[0][0] * (n - at < wide ? n - at : wide));
		s.used = r + 1;
	}
	if (n > wide)
		erase(row, wide);
	s.wide = wide;
	ioctl(fd, TIOCSWINSZ, &w);
}

static int start(char **argv, unsigned wide, pid_t *pid)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY);
	struct winsize w = { .ws_col = (unsigned short)wide, .ws_row = 24 };
	const char *name;

	if (fd < 0 || grantpt(fd) != 0 || unlockpt(fd) != 0 || !(name = ptsname(fd)) || ioctl(fd, TIOCSWINSZ, &w) != 0)
		return -1;
	*pid = fork();
	if (*pid == 0) {
		setsid();
		int tty = open(name, O_RDWR);

		if (tty < 0 || dup2(tty, 0) < 0 || dup2(tty, 1) < 0 || dup2(tty, 2) < 0)
			_exit(127);
		execvp(argv[0], argv);
		_exit(127);
	}
	return *pid > 0 ? fd : -1;
}

static void show(void)
{
	for (unsigned r = 0; r < s.used; r++) {
		unsigned n = MOST;

		while (n > 0 && (!s.cell[r][n - 1][0] || s.cell[r][n - 1][0] == ' '))
			n--;
		for (unsigned c = 0; c < n; c++)
			fputs(s.cell[r][c][0] ? s.cell[r][c] : " ", stdout);
		putchar('\n');
	}
}

/* Until the command has closed its terminal. */
static void watch(int fd, unsigned narrow, unsigned interrupt, FILE *raw)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof buf)) > 0 || (n < 0 && errno == EINTR)) {
		for (ssize_t i = 0; i < n; i++) {
			feed(buf[i]);
			if (raw)
				putc(buf[i], raw);
			if (narrow && s.drawn >= 3 && s.after_cr) {
				resize(fd, narrow);
				narrow = 0;
			}
		}
		if (interrupt && s.drawn >= interrupt) {
			interrupt = 0;
			if (write(fd, "\x03", 1) != 1)
				return;
		}
	}
}

int main(int argc, char **argv)
{
	unsigned wide = 80, narrow = 0, interrupt = 0;
	FILE *raw = NULL;
	int c, fd, status = 0;
	pid_t pid = 0;

	while ((c = getopt(argc, argv, "+w:r:i:o:")) != -1) {
		unsigned v = c == 'o' ? 0 : (unsigned)strtoul(optarg, NULL, 10);

		if (c == 'w')
			wide = v;
		else if (c == 'r')
			narrow = v;
		else if (c == 'i')
			interrupt = v;
		else if (c != 'o' || !(raw = fopen(optarg, "w")))
			return 125;
	}
	if (optind >= argc || wide < 1 || wide >= MOST || narrow >= MOST)
		return 125;
	s.wide = wide;
	s.used = 1;
	fd = start(argv + optind, wide, &pid);
	if (fd < 0)
		return 125;
	watch(fd, narrow, interrupt, raw);
	if (waitpid(pid, &status, 0) != pid || (raw && fclose(raw) != 0))
		return 125;
	show();
	fprintf(stderr, "wrapped %u, drawn %u\n", s.wrapped, s.drawn);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
