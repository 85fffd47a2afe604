/* SPDX-License-Identifier: MIT
 *
 * cmd_html.c - a report's last section: files, seals, digests, and the command.
 *
 * What a header or a record says is shown as its claim: a report is made from values, and `ingot verify` is what
 * holds them against the digests.
 */
#include <string.h>

#include "runtime/cmd_html.h"

enum { MOST_BYTES = 2000, MOST_SOURCES = 4096 };	/* of a text; the largest checkpoints have some hundred files */

static void put_hash(struct html *h, const uint8_t sha256[SHA256_BYTES])
{
	char hex[65];

	html_put(h, "<span class=\"hash\">%s</span>", sha256_text(sha256, hex));
}

static void begin_table(struct html *h, const char *role, const char *path, const char *form)
{
	html_put(h, "<div>\n<h3>%s</h3>\n<table>\n", role);
	html_row(h, "Path");
	html_put(h, "<span class=\"name\">");
	html_textz(h, path);
	html_put(h, "</span>");
	html_row_end(h);
	html_row(h, "Form");
	html_put(h, "%s", form);
	html_row_end(h);
}

static void put_bytes(struct html *h, uint64_t n)
{
	html_row(h, "Bytes");
	html_count(h, n);
	html_row_end(h);
}

static void put_text_row(struct html *h, const char *name, struct str value)
{
	if (value.n == 0)
		return;
	html_row(h, name);
	html_put(h, "<span class=\"name\">");
	for (size_t i = 0, end; i < value.n && i < MOST_BYTES; i = end + 1) {	/* a recipe has lines */
		for (end = i; end < value.n && end < MOST_BYTES && value.p[end] != '\n';)
			end++;
		html_text(h, (struct str){ value.p + i, end - i });
		html_put(h, "%s", end < value.n ? "<br>" : "");
	}
	html_put(h, value.n > MOST_BYTES ? "…</span>" : "</span>");
	html_row_end(h);
}

static void put_key(struct html *h, const struct gguf *g, const char *name, const char *key)
{
	struct str value;

	if (gguf_str(g, key, &value))
		put_text_row(h, name, value);
}

/* ---- a GGUF ---- */

static void put_seal(struct html *h, const struct gguf *g)
{
	struct err ignored = { 0 };
	struct seal s;
	enum status st = seal_read(&s, g, &ignored);

	html_row(h, "Seal");
	if (st != OK) {
		html_put(h, "%s", st == ERR_NO_DIGEST ? "none" : "malformed");
		html_row_end(h);
		return;
	}
	html_put(h, "root ");
	put_hash(h, s.root);
	html_put(h, "<br>header ");
	put_hash(h, s.header_sha256);
	html_put(h, "<br>%s; as the file states it, <code>ingot verify</code> checks it",
		 seal_is_signed(&s) ? "signed" : "not signed");
	html_row_end(h);
}

/* The files that a sealed one was made from, as it says. */
static void put_sources(struct html *h, const struct gguf *g)
{
	const struct gguf_kv *names = gguf_find(g, "ingot.source.name"), *sums = gguf_find(g, "ingot.source.sha256");
	struct str name;
	uint64_t at = 0;

	if (!names || !sums || sums->elem != GGUF_U8 || sums->count != sums->data_bytes)
		return;
	html_row(h, "Made from");
	html_put(h, "<details><summary>%llu files, SHA-256</summary>\n", (unsigned long long)names->count);
	for (uint64_t i = 0; i < MOST_SOURCES && i < sums->count / SHA256_BYTES && gguf_next_str(names, &at, &name); i++) {
		html_put(h, "<span class=\"name\">");
		html_text(h, name);
		html_put(h, "</span> ");
		put_hash(h, sums->data + i * SHA256_BYTES);
		html_put(h, "<br>\n");
	}
	html_put(h, "</details>");
	html_row_end(h);
}

static void put_gguf(struct html *h, const char *role, const char *path, const struct gguf_set *s)
{
	const struct gguf *g = &s->parts[0];	/* of several files, the one with the model's keys */

	begin_table(h, role, path, "GGUF");
	put_bytes(h, gguf_set_bytes(s));
	if (s->n > 1) {
		html_row(h, "Files");
		html_put(h, "%zu of one set", s->n);
		html_row_end(h);
	}
	put_key(h, g, "Architecture", "general.architecture");
	put_seal(h, g);
	put_key(h, g, "Made by", "ingot.tool");
	put_key(h, g, "Recipe", "ingot.recipe");
	put_key(h, g, "Repository", "general.source.repo_url");
	put_key(h, g, "Revision", "general.source.revision");
	put_sources(h, g);
	html_put(h, "</table>\n</div>\n");
}

/* ---- a checkpoint ---- */

static void put_files(struct html *h, const struct checkpoint *c)
{
	char hex[65];

	html_row(h, "Files");
	html_put(h, "<details><summary>%zu, with the digests that are recorded beside them</summary>\n", c->n_files);
	for (size_t i = 0; i < c->n_files; i++) {
		const struct source_file *f = &c->files[i];

		html_put(h, "<span class=\"name\">");
		html_textz(h, f->name);
		html_put(h, "</span> %llu bytes ", (unsigned long long)f->file.id.size);
		if (f->expected.kind == DIGEST_NONE)
			html_put(h, "no digest");
		else
			html_put(h, "%s <span class=\"hash\">%s</span>", f->expected.kind == DIGEST_SHA256 ? "SHA-256" : "git blob",
				 digest_text(&f->expected, hex));
		html_put(h, "<br>\n");
	}
	html_put(h, "</details>");
	html_row_end(h);
}

static void put_checkpoint(struct html *h, const char *role, const char *path, const struct checkpoint *c)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < c->n_shards; i++)
		bytes += c->files[i].file.id.size;
	begin_table(h, role, path, c->dir.is_cache ? "checkpoint, in the Hub's cache" :
		    c->dir.members ? "checkpoint, in an archive" : "checkpoint");
	html_row(h, "Shards");
	html_put(h, "%zu", c->n_shards);
	html_row_end(h);
	put_bytes(h, bytes);
	put_text_row(h, "Repository", (struct str){ c->dir.repo, strlen(c->dir.repo) });
	put_text_row(h, "Revision", (struct str){ c->dir.commit, strlen(c->dir.commit) });
	put_files(h, c);
	html_put(h, "</table>\n</div>\n");
}

void cmd_html_model(struct html *h, const char *role, const char *path, const struct gguf_set *set,
		    const struct checkpoint *ckpt)
{
	if (set)
		put_gguf(h, role, path, set);
	else
		put_checkpoint(h, role, path, ckpt);
}

/* ---- the command ---- */

static void put_word(struct html *h, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=+,@%";

	if (*word && word[strspn(word, plain)] == 0) {
		html_textz(h, word);
		return;
	}
	html_put(h, "&#39;");
	for (const char *end; *word; word = end + (*end != 0)) {
		end = strchrnul(word, '\'');
		html_text(h, (struct str){ word, (size_t)(end - word) });
		if (*end)
			html_put(h, "&#39;\\&#39;&#39;");
	}
	html_put(h, "&#39;");
}

void cmd_html_command(struct html *h, const char *const *words)
{
	html_put(h, "<p>The same figures again: <code>");
	for (; *words; words++) {
		put_word(h, *words);
		html_put(h, "%s", words[1] ? " " : "");
	}
	html_put(h, "</code></p>\n");
}
