/* SPDX-License-Identifier: MIT
 *
 * recipe.c - which type for which tensor: lines "REGEX=TYPE", first match wins.
 *
 * The regular expression (POSIX extended) is searched in the GGUF name; "@fp4:", "@fp8:" or
 * "@plain:" before it restricts the rule to sources of that kind; TYPE is a GGUF type or KEEP, the
 * type that holds the source's values without loss. "TYPE|TYPE" names a second one for tensors whose
 * rows are no whole blocks of the first. The named recipes are files of this form in convert/recipes,
 * built into the program.
 */
#include "convert/convert.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The bytes of a file of the source tree, NUL-terminated. */
#define EMBED(symbol, path)                                                                        \
	__asm__(".pushsection .rodata\n" #symbol ":\n.incbin \"" path "\"\n.byte 0\n.popsection\n"); \
	extern const char symbol[] __attribute__((visibility("hidden")))

EMBED(recipe_lossless_text, "convert/recipes/lossless.recipe");
EMBED(recipe_q8_text, "convert/recipes/q8.recipe");
EMBED(recipe_q4_text, "convert/recipes/q4.recipe");

static const struct { const char *name, *text; } builtin[] = {
	{ "lossless", recipe_lossless_text },
	{ "q8", recipe_q8_text },
	{ "q4", recipe_q4_text },
};
enum { N_BUILTIN = sizeof builtin / sizeof *builtin, RECIPE_LIMIT = 1 << 20, MAX_RULES = 4096 };

const char *recipe_builtin(size_t i)
{
	return i < N_BUILTIN ? builtin[i].name : NULL;
}

static bool source_prefix(const char **p, enum rule_source *s)
{
	static const struct { const char *text; enum rule_source source; } kinds[] = {
		{ "@fp4:", RULE_FP4 }, { "@fp8:", RULE_FP8 }, { "@plain:", RULE_PLAIN },
	};

	*s = RULE_ANY;
	if (**p != '@')
		return true;
	for (size_t i = 0; i < 3; i++)
		if (strncmp(*p, kinds[i].text, strlen(kinds[i].text)) == 0) {
			*p += strlen(kinds[i].text);
			*s = kinds[i].source;
			return true;
		}
	return false;
}

#define WRITTEN "KEEP, F32, F16, BF16, Q4_0, Q4_1, Q8_0, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4, NVFP4"

static enum status parse_type(enum dtype *type, const char *name, const char *line, const char *where,
			      struct err *e)
{
	*type = DT_NONE;
	if (strcasecmp(name, "KEEP") == 0)
		return OK;
	*type = dtype_by_name(name, true);
	if (*type == DT_NONE || dtype_info(*type)->gguf_id < 0)
		return err_set(e, ERR_USAGE, "%s: '%s': %s is no GGUF type; types: " WRITTEN, where, line, name);
	if (!codec_can_encode(*type))
		return err_set(e, ERR_UNSUPPORTED, "%s: '%s': this version does not write %s; it writes " WRITTEN,
			       where, line, dtype_info(*type)->name);
	return OK;
}

/* "TYPE" or "TYPE|TYPE". */
static enum status parse_types(struct rule *r, const char *types, const char *line, const char *where,
			       struct err *e)
{
	const char *bar = strchr(types, '|');
	char first[32];
	size_t n = bar ? (size_t)(bar - types) : strlen(types);

	if (bar && parse_type(&r->other, bar + 1, line, where, e) != OK)
		return e->status;
	r->other_keep = bar && r->other == DT_NONE;
	snprintf(first, sizeof first, "%.*s", (int)u64_min(n, sizeof first - 1), types);
	return parse_type(&r->type, first, line, where, e);
}

static enum status parse_rule(struct rule *r, const char *line, const char *where, struct err *e)
{
	const char *p = line, *equals = strrchr(line, '=');
	char *pattern, why[200];
	int code;

	if (!equals || !source_prefix(&p, &r->source) || equals <= p)
		return err_set(e, ERR_USAGE, "%s: '%s' is not REGEX=TYPE", where, line);
	if (parse_types(r, equals + 1, line, where, e) != OK)
		return e->status;
	pattern = mem_new((size_t)(equals - p) + 1, 1, "a rule", e);
	if (!pattern)
		return e->status;
	memcpy(pattern, p, (size_t)(equals - p));
	code = regcomp(&r->regex, pattern, REG_EXTENDED | REG_NOSUB);
	free(pattern);
	if (code != 0) {
		regerror(code, &r->regex, why, sizeof why);
		return err_set(e, ERR_USAGE, "%s: '%s' is no regular expression: %s", where, line, why);
	}
	r->text = mem_strdup(line, e);
	if (!r->text)
		regfree(&r->regex);
	return r->text ? OK : e->status;
}

enum status recipe_add(struct recipe *r, const char *line, bool user, const char *where, struct err *e)
{
	struct rule rule = { .user = user };
	void *p = r->rules;

	if (r->n >= MAX_RULES)
		return err_set(e, ERR_USAGE, "%s: more than %d rules", where, MAX_RULES);
	if (parse_rule(&rule, line, where, e) != OK)
		return e->status;
	if (mem_grow(&p, &r->cap, r->n + 1, sizeof rule, "rules", e) != OK) {
		regfree(&rule.regex);
		free(rule.text);
		return e->status;
	}
	r->rules = p;
	r->rules[r->n++] = rule;
	return OK;
}

static enum status add_lines(struct recipe *r, const char *text, bool user, const char *where,
			     struct err *e)
{
	while (*text) {
		size_t n = strcspn(text, "\n"), k = strcspn(text, "#\n");
		char line[1024];

		while (k > 0 && strchr(" \t\r", text[k - 1]))
			k--;
		if (k >= sizeof line)
			return err_set(e, ERR_USAGE, "%s: a line is longer than %zu bytes", where,
				       sizeof line - 1);
		memcpy(line, text, k);
		line[k] = 0;
		if (k > 0 && recipe_add(r, line, user, where, e) != OK)
			return e->status;
		text += n + (text[n] == '\n');
	}
	return OK;
}

enum status recipe_add_file(struct recipe *r, const char *path, bool user, struct err *e)
{
	struct file f = FILE_NONE;
	char *text = NULL;
	size_t n;
	enum status st;

	TRY(file_open(&f, AT_FDCWD, path, true, path, e));
	TRY(file_slurp(&f, RECIPE_LIMIT, &text, &n, e));
	TRY(add_lines(r, text, user, path, e));
out:
	free(text);
	file_close(&f);
	return st;
}

enum status recipe_add_named(struct recipe *r, const char *name, struct err *e)
{
	for (size_t i = 0; i < N_BUILTIN; i++)
		if (strcmp(name, builtin[i].name) == 0)
			return add_lines(r, builtin[i].text, false, name, e);
	if (strpbrk(name, "/."))
		return recipe_add_file(r, name, false, e);
	return err_set(e, ERR_USAGE, "no recipe is called '%s'; there are lossless, q8 and q4, and a path with "
		       "'/' or '.' is read as a recipe file", name);
}

enum status recipe_build(struct recipe *r, const char *const *lines, size_t n, const char *file, const char *name,
			 struct err *e)
{
	enum status st = OK;

	for (size_t i = 0; i < n && st == OK; i++)
		st = recipe_add(r, lines[i], true, "--tensor-type", e);
	if (st == OK && file)
		st = recipe_add_file(r, file, true, e);
	return st == OK ? recipe_add_named(r, name ? name : "lossless", e) : st;
}

const struct rule *recipe_match(const struct recipe *r, const char *tensor, enum source_kind kind)
{
	static const enum rule_source of_kind[] = {
		[SOURCE_PLAIN] = RULE_PLAIN, [SOURCE_FP8] = RULE_FP8, [SOURCE_FP4] = RULE_FP4,
	};

	for (size_t i = 0; i < r->n; i++)
		if ((r->rules[i].source == RULE_ANY || r->rules[i].source == of_kind[kind]) &&
		    regexec(&r->rules[i].regex, tensor, 0, NULL, 0) == 0)
			return &r->rules[i];
	return NULL;
}

enum dtype rule_type(const struct rule *r, uint64_t row)
{
	if (row % dtype_info(r->type)->block == 0)
		return r->type;
	return r->other != DT_NONE && row % dtype_info(r->other)->block == 0 ? r->other : DT_NONE;
}

char *recipe_text(const struct recipe *r, struct err *e)
{
	size_t n = 1, o = 0;
	char *text;

	for (size_t i = 0; i < r->n; i++)
		n += strlen(r->rules[i].text) + 1;
	text = mem_new(n, 1, "the recipe", e);
	for (size_t i = 0; text && i < r->n; i++)
		o += (size_t)snprintf(text + o, n - o, "%s%s", i ? "\n" : "", r->rules[i].text);
	return text;
}

enum status recipe_write(const struct recipe *r, const char *path, bool force, struct err *e)
{
	struct output out = OUTPUT_NONE;
	char *text = recipe_text(r, e);
	size_t n = text ? strlen(text) : 0;
	enum status st;

	if (!text)
		return e->status;
	text[n++] = '\n';	/* in the terminator's place: it is counted */
	TRY(output_open(&out, path, n, force, LEFTOVER_REPLACE, e));
	TRY(output_write(&out, text, n, 0, e));
	TRY(output_commit(&out, e));
out:
	output_abandon(&out);
	free(text);
	return st;
}

void recipe_close(struct recipe *r)
{
	for (size_t i = 0; i < r->n; i++) {
		regfree(&r->rules[i].regex);
		free(r->rules[i].text);
	}
	free(r->rules);
	*r = (struct recipe){ 0 };
}
