/* SPDX-License-Identifier: MIT
 *
 * inspect.c - `ingot inspect`: what a person wants to know before anything is read.
 *
 * One cJSON document is built from the headers and the text is printed from that document, so
 * --json shows exactly what the text shows.
 */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "convert/convert.h"
#include "runtime/runtime.h"

struct inspect_options { bool tensors; uint64_t context; };

static void add_number(cJSON *o, const char *key, double v)
{
	cJSON_AddNumberToObject(o, key, v);
}

/* ---- the model, from either kind of file --------------------------------------------------*/

static enum status add_model(cJSON *doc, const struct arch *a, uint64_t context, struct err *e)
{
	cJSON *m = cJSON_AddObjectToObject(doc, "model"), *layers = cJSON_AddObjectToObject(m, "layers");
	cJSON *at = cJSON_AddObjectToObject(m, "at_context");
	double n = (double)context;
	struct census c;

	if (census_take(&c, a, e) != OK)
		return e->status;
	cJSON_AddStringToObject(m, "architecture", "deepseek4");
	add_number(m, "parameters", (double)c.total);
	add_number(m, "parameters_active", (double)c.active);
	add_number(m, "parameters_mtp", (double)c.mtp);
	add_number(m, "embedding", a->n_embd);
	add_number(m, "vocabulary", a->n_vocab);
	add_number(m, "heads", a->n_head);
	add_number(m, "experts", a->n_expert);
	add_number(m, "experts_used", a->n_expert_used);
	add_number(m, "context", a->n_ctx);
	add_number(layers, "all", a->n_layer);
	add_number(layers, "window_only", c.n_window);
	add_number(layers, "ratio_4", c.n_sparse);
	add_number(layers, "ratio_128", c.n_heavy);
	add_number(layers, "hash_routed", a->n_hash_layer);
	add_number(at, "tokens", n);
	add_number(at, "kv_bytes", census_kv_bytes(&c, a, n));
	add_number(at, "kv_of_v32", census_kv_bytes(&c, a, n) / census_v32_kv_bytes(n));
	add_number(at, "flops_per_token", census_flops(&c, a, n));
	add_number(at, "flops_of_v32", census_flops(&c, a, n) / census_v32_flops(n));
	return OK;
}

static void add_machine(cJSON *doc, double bytes)
{
	double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
	cJSON *m = cJSON_AddObjectToObject(doc, "machine");

	add_number(m, "memory", memory);
	cJSON_AddBoolToObject(m, "fits_in_memory", bytes < memory * 0.9);
}

/* Of an archive no more is unpacked than that. */
static const struct source_options headers = { .need = NEED_HEADERS, .stop = &stop_signal };

enum { RUN_CONTEXT = 4096, RUN_BATCH = 512 };	/* a chat of some length, a prompt in batches */

/* What `ingot run` takes, from headers, which this ends; a model that cannot be run says why. */
static enum status add_run(cJSON *doc, const char *path, struct checkpoint *ckpt, struct gguf_set *set, const struct arch *a,
			   struct log *notes, struct err *e)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n_threads = n < 1 ? 1 : n > POOL_MAX_THREADS ? POOL_MAX_THREADS : (unsigned)n;
	struct log unused = { 0 };	/* one problem is enough here */
	struct model m;
	enum status st = model_take(&m, path, ckpt, set, a, &unused, e);

	if (st == ERR_FORMAT || st == ERR_UNSUPPORTED) {
		log_add(notes, "%s: it cannot be run or measured as it is: %s", path, e->msg);
		st = OK;
	} else if (st == OK) {
		uint32_t n_ctx = m.arch.n_ctx < RUN_CONTEXT ? m.arch.n_ctx : RUN_CONTEXT;
		uint64_t all = session_least(&m, n_ctx, RUN_BATCH < n_ctx ? RUN_BATCH : n_ctx, n_threads);
		cJSON *r = cJSON_AddObjectToObject(doc, "run");

		add_number(r, "tokens", n_ctx);
		add_number(r, "memory_least", (double)session_least(&m, n_ctx, 1, n_threads));	/* prompts one by one */
		add_number(r, "memory_all", (double)(all - store_least(&m) + store_most(&m)));
	}
	model_close(&m);
	log_close(&unused);
	return st;
}

struct type_sum { uint64_t n, bytes; };

static void add_type_sums(cJSON *doc, const struct type_sum sums[DT_COUNT])
{
	cJSON *list = cJSON_AddArrayToObject(doc, "types");

	for (int t = 0; t < DT_COUNT; t++) {
		if (!sums[t].n)
			continue;
		cJSON *o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "type", dtype_info((enum dtype)t)->name);
		add_number(o, "tensors", (double)sums[t].n);
		add_number(o, "bytes", (double)sums[t].bytes);
		cJSON_AddItemToArray(list, o);
	}
}

/* ---- a checkpoint ---------------------------------------------------------------------------*/

static void add_types(cJSON *doc, const struct checkpoint *c)
{
	struct type_sum sums[DT_COUNT] = { 0 };

	for (size_t i = 0; i < c->n_tensors; i++) {
		sums[c->by_name[i]->dtype].n++;
		sums[c->by_name[i]->dtype].bytes += c->by_name[i]->bytes;
	}
	add_type_sums(doc, sums);
}

static enum status add_recipes(cJSON *doc, const struct plan *p, struct err *e)
{
	cJSON *list = cJSON_AddArrayToObject(doc, "recipes");
	enum status st = OK;

	for (size_t i = 0; recipe_builtin(i) && st == OK; i++) {
		struct recipe r = { 0 };
		uint64_t bytes = 0;

		st = recipe_add_named(&r, recipe_builtin(i), e);
		if (st == OK)
			st = plan_size(p, 0, &r, &bytes, e);
		if (st == OK) {
			cJSON *o = cJSON_CreateObject();
			cJSON_AddStringToObject(o, "recipe", recipe_builtin(i));
			add_number(o, "bytes", (double)bytes);
			cJSON_AddItemToArray(list, o);
		}
		recipe_close(&r);
	}
	return st;
}

static void add_source_tensors(cJSON *doc, const struct checkpoint *c)
{
	cJSON *list = cJSON_AddArrayToObject(doc, "tensors");

	for (size_t i = 0; i < c->n_tensors; i++) {
		const struct st_tensor *t = c->by_name[i];
		cJSON *o = cJSON_CreateObject(), *shape = cJSON_AddArrayToObject(o, "shape");

		cJSON_AddStringToObject(o, "name", cli_escz(t->name));
		cJSON_AddStringToObject(o, "type", dtype_info(t->dtype)->name);
		for (unsigned d = 0; d < t->n_dims; d++)
			cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->shape[d]));
		add_number(o, "bytes", (double)t->bytes);
		add_number(o, "offset", (double)t->off);
		cJSON_AddStringToObject(o, "shard", c->files[t->shard].name);
		cJSON_AddItemToArray(list, o);
	}
}

/* What the plan adds; a checkpoint that cannot be planned still shows what it is. */
static enum status add_plan(cJSON *doc, const struct checkpoint *c, const struct arch *a, struct log *notes,
			    struct err *e)
{
	const struct source_file *tokenizer = checkpoint_file(c, "tokenizer.json");
	struct plan_options o = { 0 };
	struct recipe lossless = { 0 };
	struct vocab v = { 0 };
	struct plan p = { 0 };
	enum status st;

	o.recipe = &lossless;
	TRY(recipe_add_named(&lossless, "lossless", e));
	if (tokenizer)
		TRY(vocab_from_files(&v, tokenizer, checkpoint_file(c, "tokenizer_config.json"),
				     checkpoint_file(c, "chat_template.jinja"), a->n_vocab, a->bos, a->eos, notes,
				     e));
	else
		log_add(notes, "%s: tokenizer.json is missing; it is needed to convert", c->dir.path);
	TRY(plan_build(&p, c, a, &v, &o, notes, notes, e));
	TRY(add_recipes(doc, &p, e));
	add_number(doc, "sidecars", (double)(p.n_outputs - 1));
	add_machine(doc, (double)p.out[0].file_size);
out:
	if (p.ckpt)
		plan_close(&p);
	vocab_close(&v);
	recipe_close(&lossless);
	return st;
}

static const char *kind_of(const struct source_dir *d)
{
	if (d->members)
		return d->is_cache ? "archive of a Hub cache snapshot" : "archive of a checkpoint directory";
	return d->is_cache ? "Hub cache snapshot" : "checkpoint directory";
}

static enum status inspect_source(cJSON *doc, const char *path, const struct inspect_options *o,
				  struct log *notes, struct err *e)
{
	struct checkpoint c;
	struct arch a;
	double bytes = 0;
	size_t known = 0;
	enum status st;

	TRY(checkpoint_open(&c, path, &headers, notes, e));
	for (size_t i = 0; i < c.n_shards; i++) {
		bytes += (double)c.files[i].file.id.size;
		known += c.files[i].expected.kind != DIGEST_NONE;
	}
	cJSON_AddStringToObject(doc, "kind", kind_of(&c.dir));
	cJSON_AddStringToObject(doc, "commit", c.dir.commit);
	add_number(doc, "bytes", bytes);
	add_number(doc, "shards", (double)c.n_shards);
	add_number(doc, "shards_with_digest", (double)known);
	add_number(doc, "n_tensors", (double)c.n_tensors);
	add_types(doc, &c);
	st = arch_from_checkpoint(&a, &c, notes, e);
	if (st == OK)
		st = add_model(doc, &a, o->context, e);
	if (st == OK)
		st = add_plan(doc, &c, &a, notes, e);
	if (o->tensors)
		add_source_tensors(doc, &c);
	if (st == OK)
		st = add_run(doc, path, &c, NULL, &a, notes, e);
	checkpoint_close(&c);
out:
	return st;
}

/* ---- a GGUF -----------------------------------------------------------------------------------*/

static void add_gguf_types(cJSON *doc, const struct gguf *g)
{
	struct type_sum sums[DT_COUNT] = { 0 };

	for (size_t i = 0; i < g->n_tensors; i++) {
		sums[g->tensors[i].dtype].n++;
		sums[g->tensors[i].dtype].bytes += g->tensors[i].bytes;
	}
	add_type_sums(doc, sums);
}

static void add_text(cJSON *o, const char *key, const struct gguf *g, const char *from)
{
	struct str s;

	if (gguf_str(g, from, &s))
		cJSON_AddStringToObject(o, key, cli_esc(s));
}

static void add_seal(cJSON *doc, const struct gguf *g)
{
	const struct gguf_kv *names = gguf_find(g, "ingot.source.name");
	const struct gguf_kv *sums = gguf_find(g, "ingot.source.sha256");
	const struct gguf_kv *anchors = gguf_find(g, "ingot.source.anchor");
	uint64_t at = 0, anchor_at = 0;
	struct str name, anchor;
	struct seal s;
	struct err ignored;
	cJSON *o, *list;
	char hex[65];

	if (seal_read(&s, g, &ignored) != OK) {
		cJSON_AddStringToObject(doc, "seal", ignored.status == ERR_NO_DIGEST ? "none" : ignored.msg);
		return;
	}
	o = cJSON_AddObjectToObject(doc, "seal");
	add_number(o, "chunks", (double)s.n_chunks);
	cJSON_AddStringToObject(o, "root", sha256_text(s.root, hex));
	cJSON_AddBoolToObject(o, "signed", seal_is_signed(&s));
	add_text(o, "recipe", g, "ingot.recipe");
	add_text(o, "tool", g, "ingot.tool");
	list = cJSON_AddArrayToObject(o, "sources");
	if (!names || !sums || !anchors || sums->elem != GGUF_U8 || sums->count != names->count * SHA256_BYTES ||
	    names->elem != GGUF_STR || anchors->elem != GGUF_STR)
		return;
	for (uint64_t i = 0; i < names->count && gguf_next_str(names, &at, &name); i++) {
		cJSON *x = cJSON_CreateObject();

		cJSON_AddStringToObject(x, "name", cli_esc(name));
		cJSON_AddStringToObject(x, "sha256", sha256_text(sums->data + SHA256_BYTES * i, hex));
		if (gguf_next_str(anchors, &anchor_at, &anchor))
			cJSON_AddStringToObject(x, "anchor", cli_esc(anchor));
		cJSON_AddItemToArray(list, x);
	}
}

/* Where there are several: the name, size and tensors of each, and the root of its seal. */
static void add_gguf_files(cJSON *doc, const struct gguf_set *s)
{
	cJSON *list = s->n > 1 ? cJSON_AddArrayToObject(doc, "files") : NULL;

	for (size_t i = 0; list && i < s->n; i++) {
		const struct file *f = &s->files[i];
		const char *slash = strrchr(f->path, '/');
		struct seal seal;
		struct err ignored;
		cJSON *o = cJSON_CreateObject();
		char hex[65];

		cJSON_AddStringToObject(o, "name", cli_escz(slash ? slash + 1 : f->path));
		add_number(o, "bytes", (double)f->id.size);
		add_number(o, "tensors", (double)s->parts[i].n_tensors);
		if (seal_read(&seal, &s->parts[i], &ignored) == OK)
			cJSON_AddStringToObject(o, "root", sha256_text(seal.root, hex));
		cJSON_AddItemToArray(list, o);
	}
}

static void add_gguf_tensors(cJSON *doc, const struct gguf *g)
{
	cJSON *list = cJSON_AddArrayToObject(doc, "tensors");

	for (size_t i = 0; i < g->n_tensors; i++) {
		const struct gguf_tensor *t = &g->tensors[i];
		cJSON *o = cJSON_CreateObject(), *shape = cJSON_AddArrayToObject(o, "shape");

		cJSON_AddStringToObject(o, "name", cli_esc(t->name));
		cJSON_AddStringToObject(o, "type", dtype_info(t->dtype)->name);
		for (unsigned d = 0; d < t->n_dims; d++)
			cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->shape[d]));
		add_number(o, "bytes", (double)t->bytes);
		add_number(o, "offset", (double)t->off);
		cJSON_AddItemToArray(list, o);
	}
}

static enum status inspect_gguf(cJSON *doc, const char *path, const struct inspect_options *o,
				struct log *notes, struct err *e)
{
	struct gguf_set s;
	const struct gguf *g = &s.gguf;
	struct arch a;
	struct str arch = { 0 };
	bool known;
	enum status st;

	TRY(gguf_set_open(&s, path, notes, e));
	cJSON_AddStringToObject(doc, "kind", "GGUF");
	add_text(doc, "name", g, "general.name");
	add_text(doc, "size_label", g, "general.size_label");
	add_text(doc, "commit", g, "general.source.revision");
	add_number(doc, "bytes", (double)gguf_set_bytes(&s));
	add_number(doc, "header_bytes", (double)g->data_off);
	add_number(doc, "n_tensors", (double)g->n_tensors);
	add_number(doc, "n_keys", (double)g->n_kv);
	add_gguf_files(doc, &s);
	add_gguf_types(doc, g);
	add_seal(doc, &s.parts[0]);
	gguf_str(g, "general.architecture", &arch);
	known = str_is(arch, "deepseek4");
	if (known) {
		TRY(arch_from_gguf(&a, g, path, e));
		TRY(add_model(doc, &a, o->context, e));
	} else {
		add_text(doc, "architecture", g, "general.architecture");
	}
	add_machine(doc, (double)gguf_set_bytes(&s));
	if (o->tensors)
		add_gguf_tensors(doc, g);
	if (known)
		st = add_run(doc, path, NULL, &s, &a, notes, e);
out:
	gguf_set_close(&s);
	return st;
}

/* ---- text, from the document ---------------------------------------------------------------*/

static double number(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return v && cJSON_IsNumber(v) ? v->valuedouble : 0;
}

static const char *text(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return v && cJSON_IsString(v) ? v->valuestring : "";
}

/* Three significant digits: 284B and 13.3B for counts, 147 GB where a unit is given. */
static const char *scaled(double v, const char *unit)
{
	static const char *const counts[] = { "", "K", "M", "B", "T", "P" };
	static const char *const units[] = { " ", " K", " M", " G", " T", " P" };
	static char ring[8][32];
	static unsigned next;
	char *b = ring[next++ % 8];
	int k = 0;

	for (; v >= 999.5 && k < 5; k++)
		v /= 1000;
	snprintf(b, sizeof ring[0], "%.*f%s%s", v >= 99.5 || k == 0 ? 0 : v >= 9.95 ? 1 : 2, v,
		 *unit ? units[k] : counts[k], unit);
	return b;
}

static void print_model(FILE *to, const cJSON *m)
{
	const cJSON *l = cJSON_GetObjectItemCaseSensitive(m, "layers");
	const cJSON *at = cJSON_GetObjectItemCaseSensitive(m, "at_context");

	fprintf(to, "model:      %s, %s parameters, %s active a token (MTP block: %s more)\n",
		text(m, "architecture"), scaled(number(m, "parameters"), ""),
		scaled(number(m, "parameters_active"), ""), scaled(number(m, "parameters_mtp"), ""));
	fprintf(to, "layers:     %.0f: %.0f window only, %.0f ratio 4, %.0f ratio 128; the first %.0f routed by hash\n",
		number(l, "all"), number(l, "window_only"), number(l, "ratio_4"), number(l, "ratio_128"),
		number(l, "hash_routed"));
	fprintf(to, "shape:      embedding %.0f, vocabulary %.0f, %.0f heads, %.0f of %.0f experts, context %.0f\n",
		number(m, "embedding"), number(m, "vocabulary"), number(m, "heads"), number(m, "experts_used"),
		number(m, "experts"), number(m, "context"));
	fprintf(to, "at %.0f tokens: KV cache %s (%.1f %% of DeepSeek-V3.2's), %s a token (%.1f %%)\n",
		number(at, "tokens"), scaled(number(at, "kv_bytes"), "B"), 100 * number(at, "kv_of_v32"),
		scaled(number(at, "flops_per_token"), "FLOP"), 100 * number(at, "flops_of_v32"));
}

static void print_seal(FILE *to, const cJSON *seal)
{
	const cJSON *x;

	if (cJSON_IsString(seal)) {
		fprintf(to, "seal:       %s\n", cli_escz(seal->valuestring));
		return;
	}
	fprintf(to, "seal:       root %s, %.0f chunks, %s, by %s (the seal's claim; `ingot verify` checks it)\n",
		text(seal, "root"), number(seal, "chunks"),
		cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(seal, "signed")) ? "signed" : "not signed",
		text(seal, "tool"));
	fprintf(to, "recipe:     %s\n", text(seal, "recipe"));
	cJSON_ArrayForEach(x, cJSON_GetObjectItemCaseSensitive(seal, "sources"))
		fprintf(to, "source:     %s  %s (%s)\n", text(x, "sha256"), text(x, "name"), text(x, "anchor"));
}

static void print_tensors(FILE *to, const cJSON *list)
{
	const cJSON *t, *d;

	cJSON_ArrayForEach(t, list) {
		fprintf(to, "%-48s %-8s [", text(t, "name"), text(t, "type"));
		cJSON_ArrayForEach(d, cJSON_GetObjectItemCaseSensitive(t, "shape"))
			fprintf(to, "%.0f%s", d->valuedouble, d->next ? ", " : "");
		fprintf(to, "] %.0f bytes\n", number(t, "bytes"));
	}
}

static void print_document(FILE *to, const cJSON *doc)
{
	const cJSON *x, *m = cJSON_GetObjectItemCaseSensitive(doc, "model");

	fprintf(to, "%s: %s, %s in %.0f tensors", text(doc, "path"), text(doc, "kind"),
		scaled(number(doc, "bytes"), "B"), number(doc, "n_tensors"));
	if (number(doc, "shards") > 0)
		fprintf(to, ", %.0f shards (%.0f with a known digest)", number(doc, "shards"),
			number(doc, "shards_with_digest"));
	fprintf(to, "%s%s\n", *text(doc, "commit") ? ", commit " : "", text(doc, "commit"));
	if (m)
		print_model(to, m);
	else if (*text(doc, "architecture"))
		fprintf(to, "model:      %s\n", text(doc, "architecture"));
	cJSON_ArrayForEach(x, cJSON_GetObjectItemCaseSensitive(doc, "files"))
		fprintf(to, "file:       %s  %s in %.0f tensors%s%s\n", text(x, "name"), scaled(number(x, "bytes"), "B"),
			number(x, "tensors"), *text(x, "root") ? ", sealed, root " : ", no seal", text(x, "root"));
	cJSON_ArrayForEach(x, cJSON_GetObjectItemCaseSensitive(doc, "types"))
		fprintf(to, "type:       %-8s %7.0f tensors  %s\n", text(x, "type"), number(x, "tensors"),
			scaled(number(x, "bytes"), "B"));
	cJSON_ArrayForEach(x, cJSON_GetObjectItemCaseSensitive(doc, "recipes"))
		fprintf(to, "recipe:     %-8s would make %s (%.0f bytes)\n", text(x, "recipe"),
			scaled(number(x, "bytes"), "B"), number(x, "bytes"));
	if ((x = cJSON_GetObjectItemCaseSensitive(doc, "seal")))
		print_seal(to, x);
	if ((x = cJSON_GetObjectItemCaseSensitive(doc, "run")))
		fprintf(to, "to run:     %s of memory at %.0f tokens with all weights in it, %s at least (--max-memory); the "
			"rest is streamed\n", scaled(number(x, "memory_all"), "B"), number(x, "tokens"),
			scaled(number(x, "memory_least"), "B"));
	if ((x = cJSON_GetObjectItemCaseSensitive(doc, "machine")))
		fprintf(to, "machine:    %s of memory: %s\n", scaled(number(x, "memory"), "B"),
			cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(x, "fits_in_memory"))
				? "the model fits"
				: "the model does not fit; conversion and perplexity stream it and need not hold it");
	print_tensors(to, cJSON_GetObjectItemCaseSensitive(doc, "tensors"));
}

int cmd_inspect(const struct command *self, int argc, char **argv)
{
	struct inspect_options o = { .context = 1048576 };
	const struct opt opts[] = {
		{ "tensors", 0, OPT_FLAG, &o.tensors, NULL, "list every tensor" },
		{ "context", 0, OPT_U64, &o.context, "N", "tokens for KV cache and arithmetic (default 1048576)" },
		{ NULL, 0, OPT_FLAG, NULL, NULL, NULL },
	};
	struct log notes = { 0 };
	struct err e = { 0 };
	struct cli c;
	cJSON *doc;
	char **args;
	int n, code = cli_parse(&c, self, opts, argc, argv, 1, 1, &args, &n);
	enum status st;

	if (code >= 0)
		return code;
	doc = cJSON_CreateObject();
	cJSON_AddStringToObject(doc, "path", cli_escz(args[0]));
	st = cli_json_open(&c, &e);
	if (st == OK && path_is_source(args[0]))
		st = inspect_source(doc, args[0], &o, &notes, &e);
	else if (st == OK)
		st = inspect_gguf(doc, args[0], &o, &notes, &e);
	if (number(doc, "bytes") > 0)
		print_document(cli_out(&c), doc);
	cli_notes(&c, &notes);
	log_close(&notes);
	code = st == OK ? 0 : cli_fail(&e);
	if (cli_json_write(&c, doc, &e) != OK)
		return cli_fail(&e);
	return code;
}
