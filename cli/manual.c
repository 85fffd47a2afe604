/* SPDX-License-Identifier: MIT
 *
 * manual.c - manual pages and completions for bash, zsh and fish, from the tables that --help prints
 * and the parser reads: an option cannot be in one and not in another.
 */
#include <string.h>

#include "cli/cli.h"

enum help_form help_form;

/* ---- manual pages: man(7) ---- */

/* Text, in which a hyphen stays one and a line cannot begin with a request. */
static void roff(const char *s)
{
	for (; *s; s++)
		switch (*s) {
		case '-': fputs("\\-", stdout); break;
		case '\\': fputs("\\e", stdout); break;
		case '\'': fputs("\\(aq", stdout); break;
		case '`': break;	/* marks a command in the text */
		case '.': fputs("\\&.", stdout); break;
		case '\n':
			if (s[1] == '\n') {
				fputs("\n.PP\n", stdout);
				s++;
			} else {
				putchar('\n');
			}
			break;
		default: putchar(*s);
		}
}

static void roff_option(const struct opt *o)
{
	fputs(".TP\n", stdout);
	if (o->letter)
		printf("\\fB\\-%c\\fR, ", o->letter);
	fputs("\\fB\\-\\-", stdout);
	roff(o->name);
	fputs("\\fR", stdout);
	if (o->arg) {
		fputs(" \\fI", stdout);
		roff(o->arg);
		fputs("\\fR", stdout);
	}
	putchar('\n');
	roff(o->help);
	putchar('\n');
}

static void roff_head(const char *name, const char *of)
{
	printf(".TH INGOT%s%s 1 \"\" \"ingot %s\" \"Ingot\"\n.SH NAME\ningot%s%s \\- ", of, name, INGOT_VERSION, of, name);
}

static void roff_tail(void)
{
	fputs(".SH EXIT STATUS\n"
	      "0 done, verified or within the gate; 1 differs, damaged or outside the gate; 2 usage; 3 malformed or\n"
	      "unsupported input; 4 input, output or resources; 5 a digest, seal or signature is absent or unknown; 6 the\n"
	      "output is in use by another run; 128+n ended by signal n\\&.\n", stdout);
}

static void man_command(const struct command *cmd, const struct opt *own, const struct opt *common)
{
	roff_head(cmd->name, "\\-");
	roff(cmd->summary);
	printf("\n.SH SYNOPSIS\n\\fBingot %s\\fR [\\fIOPTIONS\\fR] ", cmd->name);
	roff(cmd->args);
	fputs("\n.SH DESCRIPTION\n", stdout);
	roff(cmd->about ? cmd->about : cmd->summary);
	fputs("\n.SH OPTIONS\n", stdout);
	for (; own && own->name; own++)
		roff_option(own);
	for (; common->name; common++)
		roff_option(common);
	roff_tail();
	fputs(".SH SEE ALSO\n.BR ingot (1)\n", stdout);
}

static void man_program(void)
{
	roff_head("", "");
	fputs("convert DeepSeek\\-V4 checkpoints to sealed GGUF files, check and run them\n"
	      ".SH SYNOPSIS\n\\fBingot\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR] \\fIARGS\\fR\n.SH COMMANDS\n", stdout);
	for (const struct command *c = commands; c->name; c++) {
		printf(".TP\n\\fBingot %s\\fR ", c->name);
		roff(c->args);
		putchar('\n');
		roff(c->summary);
		putchar('\n');
	}
	fputs(".SH ENVIRONMENT\n.TP\n.B INGOT_KERNELS\n"
	      "the instruction set to use: scalar, avx2, avx512, neon (default: the best that\n"
	      "this processor has); results are the same\n.TP\n.B INGOT_SANDBOX\n"
	      "\\fIoff\\fR leaves out the confinement of the process\n", stdout);
	roff_tail();
	fputs(".SH SEE ALSO\n", stdout);
	for (const struct command *c = commands; c->name; c++)
		if (c->about)
			printf(".BR ingot\\-%s (1)%s\n", c->name, c[1].about ? "," : "");
}

/* ---- completions ---- */

/* Inside single quotes of a shell; what is in `bare` gets a backslash, '|' becomes a blank if split. */
static void quoted(const char *s, const char *bare, bool split)
{
	for (; *s; s++)
		if (*s == '\'')
			fputs("'\\''", stdout);
		else if (split && *s == '|')
			putchar(' ');
		else
			printf("%s%c", strchr(bare, *s) ? "\\" : "", *s);
}

/* The values are the few words in how help names them. */
static bool has_choices(const struct opt *o)
{
	return o->arg && strchr(o->arg, '|');
}

static bool takes_file(const struct opt *o)
{
	return !has_choices(o) && (o->kind == OPT_STR || o->kind == OPT_SOURCE || o->kind == OPT_OUT);
}

static void command_names(void)
{
	for (const struct command *c = commands; c->name; c++)
		printf("%s%s", c == commands ? "" : " ", c->name);
}

static void bash_options(const struct opt *o)
{
	for (; o && o->name; o++)
		printf(" --%s", o->name);
}

static void bash_choices(const struct opt *o)
{
	for (; o && o->name; o++)
		if (has_choices(o)) {
			printf("\t\t--%s) choices='", o->name);
			quoted(o->arg, "", true);
			fputs("' ;;\n", stdout);
		}
}

static void bash_command(const struct command *cmd, const struct opt *own, const struct opt *common)
{
	printf("\t%s)\n\t\toptions='", cmd->name);
	bash_options(own);
	bash_options(common);
	fputs("'\n\t\tcase $before in\n", stdout);
	bash_choices(own);
	fputs("\t\tesac ;;\n", stdout);
}

static void zsh_options(const struct opt *o)
{
	for (; o && o->name; o++)
		for (int i = 0; i < (o->letter ? 2 : 1); i++) {
			bool letter = i == 1;
			const char *many = o->kind == OPT_LIST ? "*" : "";

			if (letter)
				printf(" \\\n\t\t'%s-%c%s[", many, o->letter, o->arg ? "+" : "");
			else
				printf(" \\\n\t\t'%s--%s%s[", many, o->name, o->arg ? "=" : "");
			quoted(o->help, "[]:\\", false);
			putchar(']');
			if (o->arg) {
				putchar(':');
				quoted(o->arg, "[]:\\", false);
				fputs(takes_file(o) ? ":_files" : has_choices(o) ? ":(" : ": ", stdout);
				if (has_choices(o)) {
					quoted(o->arg, "", true);
					putchar(')');
				}
			}
			putchar('\'');
		}
}

static void zsh_command(const struct command *cmd, const struct opt *own, const struct opt *common)
{
	printf("%s)\n\t_arguments -s", cmd->name);
	zsh_options(own);
	zsh_options(common);
	fputs(" \\\n\t\t'*:file:_files' ;;\n", stdout);
}

static void fish_options(const struct command *cmd, const struct opt *o)
{
	for (; o && o->name; o++) {
		printf("complete -c ingot -n '__fish_seen_subcommand_from %s' -l %s", cmd->name, o->name);
		if (o->letter)
			printf(" -s %c", o->letter);
		if (o->arg)
			fputs(takes_file(o) ? " -r -F" : " -x", stdout);
		if (has_choices(o)) {
			fputs(" -a '", stdout);
			quoted(o->arg, "", true);
			putchar('\'');
		}
		fputs(" -d '", stdout);
		quoted(o->help, "\\", false);
		fputs("'\n", stdout);
	}
}

static void program_begins(void)
{
	if (help_form == HELP_BASH) {
		fputs("# bash completion of ingot; made by `ingot help --bash`\n_ingot()\n{\n"
		      "\tlocal now=${COMP_WORDS[COMP_CWORD]}"
		      " before=${COMP_WORDS[COMP_CWORD-1]} options= choices=\n"
		      "\tif [ \"$COMP_CWORD\" -eq 1 ] || { [ \"$COMP_CWORD\" -eq 2 ] && [ \"$before\" = help ]; }; then\n"
		      "\t\tmapfile -t COMPREPLY < <(compgen -W '", stdout);
		command_names();
		fputs("' -- \"$now\")\n\t\treturn\n\tfi\n\tcase ${COMP_WORDS[1]} in\n", stdout);
	} else if (help_form == HELP_ZSH) {
		fputs("#compdef ingot\n# made by `ingot help --zsh`\nlocal -a commands\ncommands=(\n", stdout);
		for (const struct command *c = commands; c->name; c++) {
			printf("\t'%s:", c->name);
			quoted(c->summary, ":\\", false);
			fputs("'\n", stdout);
		}
		fputs(")\nif (( CURRENT == 2 )) || [[ CURRENT -eq 3 && $words[2] == help ]]; then\n"
		      "\t_describe command commands\n\treturn\nfi\n"
		      "shift words\n(( CURRENT-- ))\ncase $words[1] in\n", stdout);
	} else {
		fputs("# fish completion of ingot; made by `ingot help --fish`\n", stdout);
		for (const struct command *c = commands; c->name; c++) {
			printf("complete -c ingot -f -n __fish_use_subcommand -a %s -d '", c->name);
			quoted(c->summary, "\\", false);
			fputs("'\n", stdout);
		}
	}
}

static void program_ends(void)
{
	if (help_form == HELP_BASH)
		fputs("\tesac\n\tif [ -n \"$choices\" ]; then\n\t\tmapfile -t COMPREPLY < <(compgen -W \"$choices\" -- \"$now\")\n"
		      "\telif [[ $now == -* ]]; then\n\t\tmapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$now\")\n"
		      "\telse\n\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$now\")\n\tfi\n}\n"
		      "complete -o filenames -F _ingot ingot\n", stdout);
	else if (help_form == HELP_ZSH)
		fputs("esac\n", stdout);
}

/* ---- the forms ---- */

void manual_command(const struct command *cmd, const struct opt *own, const struct opt *common)
{
	switch (help_form) {
	case HELP_MAN: man_command(cmd, own, common); break;
	case HELP_BASH: bash_command(cmd, own, common); break;
	case HELP_ZSH: zsh_command(cmd, own, common); break;
	case HELP_FISH:
		fish_options(cmd, own);
		fish_options(cmd, common);
		break;
	case HELP_TEXT: break;
	}
}

void manual_program(int (*help_of)(const struct command *c))
{
	if (help_form == HELP_MAN) {
		man_program();
		return;
	}
	program_begins();
	for (const struct command *c = commands; c->name; c++)
		(void)help_of(c);
	program_ends();
}
