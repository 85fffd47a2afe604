/* SPDX-License-Identifier: MIT
 *
 * main.c - the table of commands; help is printed from it, so it cannot forget one.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "quantize/cpu.h"

static int cmd_help(const struct command *self, int argc, char **argv);

const struct command commands[] = {
	{ "inspect", "PATH", "what a checkpoint or GGUF is, from its headers alone", cmd_inspect, false },
	{ "convert", "SOURCE -o OUT.gguf", "turn a checkpoint into one sealed GGUF", cmd_convert, false },
	{ "quantize", "IN.gguf -o OUT.gguf", "give a GGUF of any architecture other types, and a seal", cmd_quantize, false },
	{ "verify", "PATH", "check the digests of a source, or the seal of a GGUF", cmd_verify, false },
	{ "sign", "FILE.gguf --key KEY.pem", "sign a sealed GGUF in place", cmd_sign, true },
	{ "perplexity", "MODEL -f TEXT", "run a checkpoint or GGUF over a text", cmd_perplexity, false },
	{ "calibrate", "MODEL -f TEXT -o OUT.gguf", "importance of weights for quantizing, from a text", cmd_calibrate, false },
	{ "run", "MODEL -p PROMPT", "generate text with a checkpoint or GGUF", cmd_run, false },
	{ "compare", "A B", "how far the values of two models are apart, tensor by tensor", cmd_compare, false },
	{ "help", "[COMMAND]", "this list, or one command's options", cmd_help, false },
	{ NULL, NULL, NULL, NULL, false },
};

volatile int stop_signal;

static void on_signal(int n)
{
	stop_signal = n;
}

void cli_catch_signals(void)
{
	struct sigaction a = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };

	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
}

static const struct command *find_command(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static void list_commands(FILE *to)
{
	fputs("usage: ingot COMMAND [OPTIONS] ARGS\n\n", to);
	for (const struct command *c = commands; c->name; c++)
		fprintf(to, "  %-11s %s\n", c->name, c->summary);
	fputs("\n`ingot help COMMAND` lists its options.\n"
	      "exit codes: 0 done or verified, 1 differs or damaged, 2 usage, 3 malformed or unsupported\n"
	      "input, 4 I/O or resources, 5 a digest or seal is absent, 6 output in use, 128+n signal n\n", to);
}

static int cmd_help(const struct command *self, int argc, char **argv)
{
	const struct command *c;
	char help[] = "--help", *args[] = { help, NULL };

	(void)self;
	if (argc < 1 || argv[0][0] == '-') {
		list_commands(stdout);
		return 0;
	}
	c = find_command(argv[0]);
	if (!c || c->run == cmd_help) {
		fprintf(stderr, "ingot: no command is called '%s'; `ingot help` lists them\n", cli_escz(argv[0]));
		return 2;
	}
	return c->run(c, 1, args);
}

int main(int argc, char **argv)
{
	const struct command *c;
	struct err e;

	signal(SIGPIPE, SIG_IGN);	/* a closed progress pipe must not stop hours of work */
	signal(SIGXFSZ, SIG_IGN);	/* a size limit is an error message, not a death */
	if (argc < 2) {
		list_commands(stderr);
		return 2;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts("ingot " INGOT_VERSION);
		return 0;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return cmd_help(NULL, 0, NULL);
	c = find_command(argv[1]);
	if (!c) {
		fprintf(stderr, "ingot: no command is called '%s'; `ingot help` lists them\n", cli_escz(argv[1]));
		return 2;
	}
	if (cpu_choose(&e) != OK)
		return cli_fail(&e);
	int code = c->run(c, argc - 2, argv + 2);
	if (fflush(stdout) != 0 && code == 0) {
		fputs("ingot: standard output: cannot write all of it\n", stderr);
		return 4;
	}
	return code;
}
