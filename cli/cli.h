/* SPDX-License-Identifier: MIT
 *
 * cli.h - the part that talks to people: options, usage, error lines, progress. Only cli/ and the
 * cmd*.c files see it.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdio.h>

#include "cli/progress.h"
#include "format/format.h"

/* Options that every command takes. */
struct cli {
	unsigned threads;	/* -t, --threads: default processors online */
	uint64_t max_memory;	/* --max-memory: default 1 GiB */
	const char *json;	/* --json FILE, "-" = standard output, or NULL */
	const char *scratch;	/* --scratch DIR, or NULL */
	bool quiet, no_progress, verbose, require_sandbox;
};

/* OPT_STR: text, or a path to read, which the sandbox then allows; OPT_SOURCE: the path of a SOURCE or MODEL; OPT_OUT: a path to
 * write; OPT_TEXT: never a path. */
enum opt_kind { OPT_FLAG /* bool */, OPT_STR, OPT_SOURCE, OPT_OUT, OPT_TEXT /* const char * */, OPT_U64 /* uint64_t */,
		OPT_SIZE /* uint64_t with K, M, G */, OPT_DOUBLE, OPT_LIST /* struct opt_list */ };
struct opt_list { const char **v; size_t n; };
struct opt {
	const char *name;	/* without the dashes; NULL ends the table */
	char letter;		/* 0 if none */
	enum opt_kind kind;
	void *value;
	const char *arg;	/* how help names the value; NULL for flags */
	const char *help;
};
struct command {
	const char *name, *args, *summary;
	int (*run)(const struct command *self, int argc, char **argv);
	bool edits;		/* its arguments are files that it changes */
	const char *about;	/* a paragraph or more, for its manual page; blank lines between them */
};
extern const struct command commands[];	/* ends with name NULL */

/* ---- manual.c: the same tables as manual pages and completions -------------------------------*/
enum help_form { HELP_TEXT, HELP_MAN, HELP_BASH, HELP_ZSH, HELP_FISH };
extern enum help_form help_form;	/* what --help prints; set by `ingot help` alone */
/* One command in that form, which is not HELP_TEXT. own, common: tables of options; own may be NULL. */
void manual_command(const struct command *cmd, const struct opt *own, const struct opt *common);
/* ingot(1); or the completion of help_form, for which each command's --help is called between. */
void manual_program(int (*help_of)(const struct command *c));

/* Options and arguments in any order, "--" ends options. Returns -1 to go on, else an exit code
 * (--help: 0, usage errors: 2, both already printed). args points into argv, *n_args of them,
 * min_args..max_args allowed. */
int cli_parse(struct cli *c, const struct command *cmd, const struct opt *opts, int argc, char **argv,
	      int min_args, int max_args, char ***args, int *n_args);
/* Confines the process to what options and arguments name: the last thing that cli_parse does. -1 to go on, else an
 * exit code (already printed). */
int cli_confine(const struct cli *c, const struct command *cmd, const struct opt *own, const struct opt *common,
		char **args, int n_args);
/* "ingot: MESSAGE" (escaped) on standard error; returns the exit code of e. */
int cli_fail(const struct err *e);
extern const char *cli_command;	/* the one that runs, once cli_parse has begun; for messages */
/* Each line of l as "ingot: LINE" (escaped) on standard error, unless quiet. */
void cli_notes(const struct cli *c, const struct log *l);
/* Escaped copy of s in a static ring of buffers, for printf. */
const char *cli_esc(struct str s);
const char *cli_escz(const char *s);

/* --json: the file is opened by cli_json_open before work starts, so that a bad path costs
 * nothing; cli_json_write prints the document and frees it. Without --json both do nothing
 * (the document is freed). Text results are left out of standard output when it takes the JSON:
 * print them through cli_out(). */
struct cJSON;
enum status cli_json_open(struct cli *c, struct err *e) MUST_USE;
enum status cli_json_write(struct cli *c, struct cJSON *doc, struct err *e) MUST_USE;
FILE *cli_out(const struct cli *c);	/* standard output, or /dev/null under --json - */

/* Progress on standard error: one line that is drawn over on a terminal, one every 10 s elsewhere (or every
 * INGOT_PROGRESS_EVERY seconds). total may change between updates, and done fall: then something else is counted from
 * there on. What the first update finds done counts for the share, not for the rate. */
struct progress {
	const char *verb;
	uint64_t total;
	uint64_t stretch, done;		/* the rest belongs to progress.c */
	bool active, terminal;
	double every, shown;
	struct rate rate;
};
void progress_begin(struct progress *p, struct cli *c, const char *verb, uint64_t total_bytes);
/* Callable from one thread at a time; what is the current tensor or file (may be NULL). */
void progress_update(struct progress *p, uint64_t done, const char *what);
/* Whether lines of the result appear where the line is drawn: then each needs its newline. */
bool progress_shares_terminal(const struct progress *p);
void progress_clear(void);	/* the line, until the next update; async-signal-safe */
void progress_end(struct progress *p);

/* ---- source.c: what a command opens -------------------------------------------------------*/

/* For a checkpoint; an archive's compressed members go to --scratch, or else to the folder of path `beside` (NULL: the
 * archive's own). Borrowed, for the life of c; stays when called again with the same. */
const struct source_options *cli_source(struct cli *c, const char *beside);

/* SIGINT and SIGTERM set this to the signal's number; long loops look at it. */
extern volatile int stop_signal;
void cli_catch_signals(void);

int cmd_inspect(const struct command *self, int argc, char **argv);
int cmd_convert(const struct command *self, int argc, char **argv);
int cmd_quantize(const struct command *self, int argc, char **argv);
int cmd_verify(const struct command *self, int argc, char **argv);
int cmd_sign(const struct command *self, int argc, char **argv);
int cmd_perplexity(const struct command *self, int argc, char **argv);
int cmd_calibrate(const struct command *self, int argc, char **argv);
int cmd_run(const struct command *self, int argc, char **argv);
int cmd_compare(const struct command *self, int argc, char **argv);

#endif
