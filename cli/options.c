/* SPDX-License-Identifier: MIT
 *
 * options.c - parsing and help, both from a command's table of options.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

struct common { uint64_t threads; bool no_progress, quiet, verbose, require_sandbox; const char *json, *scratch; uint64_t
	max_memory; };

static void common_options(struct opt out[10], struct common *v)
{
	const struct opt table[10] = {
		{ "threads", 't', OPT_U64, &v->threads, "N", "processors to use (default: all that are online)" },
		{ "max-memory", 0, OPT_SIZE, &v->max_memory, "SIZE", "stay below this (K, M, G; default 1G)" },
		{ "json", 0, OPT_OUT, &v->json, "FILE", "also write the result as JSON (- is standard output)" },
		{ "scratch", 0, OPT_OUT, &v->scratch, "DIR", "where compressed archives are unpacked (default: by the output, "
		"or the archive)" },
		{ "no-progress", 0, OPT_FLAG, &v->no_progress, NULL, "no progress line" },
		{ "quiet", 'q', OPT_FLAG, &v->quiet, NULL, "errors only" },
		{ "verbose", 'v', OPT_FLAG, &v->verbose, NULL, "say more" },
		{ "require-sandbox", 0, OPT_FLAG, &v->require_sandbox, NULL, "end where the kernel cannot confine this program" },
		{ "help", 'h', OPT_FLAG, NULL, NULL, "this text" },
		{ NULL, 0, OPT_FLAG, NULL, NULL, NULL },
	};

	memcpy(out, table, sizeof table);
}

static void print_option(const struct opt *o)
{
	char left[64];

	snprintf(left, sizeof left, "%c%c%c --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
		 o->letter ? ',' : ' ', o->name, o->arg ? " " : "", o->arg ? o->arg : "");
	printf("  %-30s %s\n", left, o->help);
}

static void print_help(const struct command *cmd, const struct opt *own, const struct opt *common)
{
	if (help_form != HELP_TEXT) {
		manual_command(cmd, own, common);
		return;
	}
	printf("usage: ingot %s [OPTIONS] %s\n\n%s\n\n", cmd->name, cmd->args, cmd->summary);
	for (; own && own->name; own++)
		print_option(own);
	for (; common->name; common++)
		print_option(common);
}

static int usage(const struct command *cmd, const char *what, const char *name)
{
	fprintf(stderr, "ingot: %s: %s %s; `ingot help %s` lists the options\n", cmd->name, what, cli_escz(name),
		cmd->name);
	return 2;
}

static bool parse_u64(const char *s, bool size, uint64_t *v)
{
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*v = strtoull(s, &end, 10);
	if (errno)
		return false;
	if (size && *end) {
		const char *units = "KMG", *u = strchr(units, *end & ~0x20);
		if (!u || !u[0] || !u64_mul(*v, 1ull << (10 * (u - units + 1)), v))
			return false;
		end++;
		if (strcmp(end, "iB") == 0 || strcmp(end, "B") == 0)
			end += strlen(end);
	}
	return *end == 0;
}

static bool set_value(const struct opt *o, const char *text)
{
	char *end;

	switch (o->kind) {
	case OPT_FLAG:
		*(bool *)o->value = true;
		return true;
	case OPT_STR:
	case OPT_SOURCE:
	case OPT_OUT:
	case OPT_TEXT:
		*(const char **)o->value = text;
		return true;
	case OPT_U64:
	case OPT_SIZE:
		return parse_u64(text, o->kind == OPT_SIZE, o->value);
	case OPT_DOUBLE: {
		double v = strtod(text, &end);
		*(double *)o->value = v;
		return *text && *end == 0 && isfinite(v);
	}
	case OPT_LIST: {
		struct opt_list *l = o->value;
		const char **p = realloc(l->v, (l->n + 1) * sizeof *p);
		if (!p)
			return false;
		l->v = p;
		l->v[l->n++] = text;
		return true;
	}
	}
	return false;
}

static const struct opt *find_option(const struct opt *table, const char *name, size_t n, char letter)
{
	for (; table && table->name; table++)
		if (letter ? table->letter == letter : strlen(table->name) == n && strncmp(table->name, name, n) == 0)
			return table;
	return NULL;
}

/* Parses argv[*i]; -1 to go on. */
static int parse_one(const struct command *cmd, const struct opt *own, const struct opt *common, int argc,
		     char **argv, int *i)
{
	const char *a = argv[*i], *value = NULL;
	bool is_long = a[1] == '-';
	const char *name = a + 1 + is_long;
	size_t n = is_long ? strcspn(name, "=") : 1;
	const struct opt *o = find_option(own, name, n, is_long ? 0 : *name);

	if (!o)
		o = find_option(common, name, n, is_long ? 0 : *name);
	if (!o)
		return usage(cmd, "there is no option", a);
	if (!o->value) {
		print_help(cmd, own, common);
		return 0;
	}
	if (name[n])
		value = name + n + is_long;	/* --opt=value or -tvalue */
	if (o->kind == OPT_FLAG && value)
		return usage(cmd, "no value goes with", a);
	if (o->kind != OPT_FLAG && !value) {
		if (*i + 1 >= argc)
			return usage(cmd, "a value is missing after", a);
		value = argv[++*i];
	}
	return set_value(o, value) ? -1 : usage(cmd, "this value is not understood:", argv[*i]);
}

int cli_parse(struct cli *c, const struct command *cmd, const struct opt *opts, int argc, char **argv,
	      int min_args, int max_args, char ***args, int *n_args)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	struct common v = { .threads = online > 0 ? (uint64_t)online : 1, .max_memory = 1ull << 30 };
	struct opt common[10];
	int n = 0, code;
	bool only_args = false;

	cli_command = cmd->name;
	common_options(common, &v);
	for (int i = 0; i < argc; i++) {
		if (only_args || argv[i][0] != '-' || !argv[i][1]) {
			argv[n++] = argv[i];
		} else if (strcmp(argv[i], "--") == 0) {
			only_args = true;
		} else {
			code = parse_one(cmd, opts, common, argc, argv, &i);
			if (code >= 0)
				return code;
		}
	}
	if (n < min_args)
		return usage(cmd, "wants", cmd->args);
	if (n > max_args)
		return usage(cmd, "one argument too many:", argv[max_args]);
	if (v.threads < 1 || v.threads > 1024)
		return usage(cmd, "--threads takes 1 to", "1024");
	*args = argv;
	*n_args = n;
	*c = (struct cli){ .threads = (unsigned)v.threads, .max_memory = v.max_memory, .json = v.json, .scratch = v.scratch,
			   .quiet = v.quiet, .no_progress = v.no_progress, .verbose = v.verbose,
			   .require_sandbox = v.require_sandbox };
	return cli_confine(c, cmd, opts, common, argv, n);
}
