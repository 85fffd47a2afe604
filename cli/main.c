/* SPDX-License-Identifier: MIT
 *
 * main.c - the table of commands; help is printed from it, so it cannot forget one.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/cli.h"
#include "quantize/cpu.h"

static int cmd_help(const struct command *self, int argc, char **argv);

const struct command commands[] = {
	{ "inspect", "PATH", "what a checkpoint or GGUF is, from its headers alone", cmd_inspect, false,
	  "PATH is a checkpoint (a directory as `hf download` leaves it, a snapshot of the Hub's cache, or a tar or zip of "
	  "one) or a GGUF. No weight is read. Prints architecture and layer plan, parameters in all and active, number types, "
	  "bytes, the size of every recipe's output, what a context takes, and of a GGUF its seal and where it came from." },
	{ "convert", "SOURCE -o OUT.gguf", "turn a checkpoint into one sealed GGUF", cmd_convert, false,
	  "SOURCE is a checkpoint's directory, a snapshot of the Hub's cache, or a .tar, .tar.gz, .tar.zst, .tar.xz or .zip of "
	  "one; compressed members are unpacked to a file without a name beside OUT.gguf, or in --scratch DIR.\n\n"
	  "Hashes every shard as it is read and compares it with the digest that the Hub recorded beside it (or "
	  "--digests has); a shard without one is an error unless --allow-unverified is given.\n\n"
	  "The recipe `lossless` keeps FP4 experts bit for bit and makes FP8 BF16, exactly; `q8` and `q4` are smaller. "
	  "OUT.gguf has its name only when it is complete, sealed and on the disk. A run that was stopped or killed "
	  "leaves OUT.gguf.partial and OUT.gguf.journal; the same command with --resume goes on. --part and --finish "
	  "divide the work over runs that share a file system." },
	{ "quantize", "IN.gguf -o OUT.gguf", "give a GGUF of any architecture other types, and a seal", cmd_quantize, false,
	  "Types are chosen by recipe, --tensor-type or --target-size as for convert. Metadata is copied as it is; norms, "
	  "routers, tables of ids and the like keep their types. A sealed input is checked while it is read." },
	{ "verify", "PATH", "check the digests of a source, or the seal of a GGUF", cmd_verify, false,
	  "Of a checkpoint, a directory or an archive: a line a file, as sha256sum prints them. Of a GGUF: structure, seal and "
	  "every chunk; damage is named by tensor, expert and byte range. --key adds the signature, --source makes the tensors "
	  "again from the checkpoint and compares, --deep looks at the values. The closing line says what was shown: "
	  "INTACT, AUTHENTIC, DERIVED, and what was not looked at." },
	{ "sign", "FILE.gguf --key KEY.pem", "sign a sealed GGUF in place", cmd_sign, true,
	  "Fills the slot of 4096 bytes in the header; no other byte changes. The key is ECDSA P-256 or Ed25519, in PEM." },
	{ "perplexity", "MODEL -f TEXT", "run a checkpoint or GGUF over a text", cmd_perplexity, false,
	  "llama-perplexity's method: chunks of -c tokens, the second half of each is scored. With --reference a second "
	  "model runs in lockstep, layer by layer, and the report adds the KL divergence between them; --html makes a page of it. "
	  "Weights that --max-memory does not hold are read once a batch; the figures are the same to the bit." },
	{ "calibrate", "MODEL -f TEXT -o OUT.gguf", "importance of weights for quantizing, from a text", cmd_calibrate, false,
	  "Writes an importance matrix in llama.cpp's GGUF form, expert by expert, and lists the experts that no token reached." },
	{ "run", "MODEL -p PROMPT", "generate text with a checkpoint or GGUF", cmd_run, false,
	  "The prompt is put in the model's chat encoding (--raw: a text to go on with). Greedy unless --temp is above 0; the same "
	  "seed gives the same text." },
	{ "compare", "A B", "how far the values of two models are apart, tensor by tensor", cmd_compare, false,
	  "A and B are checkpoints or GGUFs. Exit code 1 if a tensor is missing on one side or has another shape, or beyond "
	  "--max-relative-error. --html makes a page of it, with maps of the error by layer and expert." },
	{ "help", "[COMMAND]", "this list, or one command's options", cmd_help, false, NULL },
	{ NULL, NULL, NULL, NULL, false, NULL },
};

volatile int stop_signal;

/* The first asks for an orderly end, the second ends the program there; its line on the terminal goes in any case. */
static void on_signal(int n)
{
	if (stop_signal) {
		progress_clear();
		signal(n, SIG_DFL);
		raise(n);	/* delivered when this handler returns */
	}
	stop_signal = n;
}

void cli_catch_signals(void)
{
	struct sigaction a = { .sa_handler = on_signal };

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

static int help_of(const struct command *c)
{
	char help[] = "--help", *args[] = { help, NULL };

	return c->run == cmd_help ? 0 : c->run(c, 1, args);
}

/* --man [COMMAND], --bash, --zsh, --fish: for make install, which is why help does not speak of them; nor of --names. */
static bool takes_form(const char *option)
{
	static const char *const form[] = { [HELP_MAN] = "--man", [HELP_BASH] = "--bash", [HELP_ZSH] = "--zsh",
					    [HELP_FISH] = "--fish" };

	for (size_t i = HELP_MAN; i < sizeof form / sizeof *form; i++)
		if (strcmp(option, form[i]) == 0)
			help_form = (enum help_form)i;
	return help_form != HELP_TEXT;
}

static int cmd_help(const struct command *self, int argc, char **argv)
{
	const struct command *c;

	(void)self;
	if (argc > 0 && strcmp(argv[0], "--names") == 0) {
		for (c = commands; c->name; c++)
			if (c->run != cmd_help)
				puts(c->name);
		return 0;
	}
	if (argc > 0 && takes_form(argv[0])) {
		argc--, argv++;
		if (argc < 1) {
			manual_program(help_of);
			return 0;
		}
	}
	if (argc < 1 || argv[0][0] == '-') {
		list_commands(stdout);
		return 0;
	}
	c = find_command(argv[0]);
	if (!c || c->run == cmd_help) {
		fprintf(stderr, "ingot: no command is called '%s'; `ingot help` lists them\n", cli_escz(argv[0]));
		return 2;
	}
	return help_of(c);
}

/* A split model or checkpoint may have more files than the usual limit of 1024; what cannot be raised stays. */
static void allow_many_files(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
}

int main(int argc, char **argv)
{
	const struct command *c;
	struct err e;

	signal(SIGPIPE, SIG_IGN);	/* a closed progress pipe must not stop hours of work */
	allow_many_files();
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
