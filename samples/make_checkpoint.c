/* SPDX-License-Identifier: MIT
 *
 * make_checkpoint.c - writes a DeepSeek-V4 checkpoint as a Hugging Face download leaves it.
 *
 * Real checkpoints are 160 GB and up, so samples, tests and measurements stand on this: a tiny
 * one whose perplexity means something, ones of real tensor sizes filled at the speed of the
 * disk, and ones with the headers of the real Flash and Pro over empty data. Bytes depend on the
 * options alone. Memory: the list of tensors, one tensor of a tiny model or a buffer of 1 MiB.
 *
 * Reading order: ckpt_numbers.h (formats), ckpt_model.h (the tensors), ckpt_text.h (vocabulary
 * and fit), ckpt_fill.h (bytes of a tensor), ckpt_files.h (small files, records), then main.
 */
#include "samples/ckpt_files.h"
#include "samples/ckpt_fill.h"

#include <ctype.h>
#include <pthread.h>

struct options {
	struct spec s;
	struct place place;
	const char *text, *heldout, *encode, *encode_to;
	uint32_t threads, layers;
};

static const char usage[] =
"usage: make_checkpoint DIR [OPTIONS]\n"
"Writes a DeepSeek-V4 checkpoint into DIR, which must not hold one yet.\n"
"  --preset tiny|least|flash|pro   dimensions to start from (tiny); flash and pro are filled with\n"
"                        noise and have one shard a layer\n"
"  --layers N            only the first N layers\n"
"  --with-mtp            the block that predicts one token further (mtp.0)\n"
"  --with-dspark         the draft module of Flash-0731 and Pro-0813 (mtp.0 to mtp.2)\n"
"  --base                FP8 experts and F32 scales, as in the Base repositories\n"
"  --sparse              true headers, data of holes; no digests for the shards\n"
"  --fill model|noise    weights that fit a text, or random codes at disk speed\n"
"  --seed N              of all random numbers (1)\n"
"  --text FILE           train vocabulary and model on it, else on sentences made here\n"
"  --heldout FILE        also write 32 KiB more of those sentences\n"
"  --encode FILE --encode-to FILE   also write the token ids of a text\n"
"layout\n"
"  --shards N | --single    N shards; or model.safetensors without index\n"
"  --scales-apart        each scale in the shard after its weight's\n"
"  --cache               a snapshot in the Hub's cache; --repo ORG/NAME  --commit HEX40\n"
"  --record-time T       third line of the Hub's records (now + 5 s); --no-records\n"
"  --threads N           shards written at a time (2); the bytes do not depend on it\n"
"format\n"
"  --fp8-block N         rows and columns under one FP8 scale (128)\n"
"  --naming deepseek|transformers    the latter has BF16 weights, the same values\n"
"  --scale-name scale|weight_scale_inv   --fp4-dtype I8|U8|F4   --ids I64|I32\n"
"  --edge                codes at the ends of every format, where they stay exact\n"
"dimensions\n"
"  --ratios R,R,...      compression of each layer: 0, 4 or 128\n"
"  --n-embd --n-vocab --n-head --head-dim --n-rot --q-lora --o-groups --o-lora --n-ff-exp\n"
"  --n-expert --n-expert-used --n-hash --window --idx-head --idx-dim --idx-topk\n"
"  --markov-rank --gain --ridge   strength of the layers, damping of the fit (0.3, 0.3)\n";

/* ---- presets ---------------------------------------------------------------------------- */

static const struct spec tiny = {
	.n_embd = 256, .n_vocab = 512, .n_head = 4, .head_dim = 128, .n_rot = 32, .q_lora = 128,
	.o_groups = 2, .o_lora = 64, .n_ff_exp = 96, .n_expert = 8, .n_expert_used = 2, .n_hash = 2,
	.window = 128, .idx_head = 8, .idx_dim = 64, .idx_topk = 32, .markov_rank = 32,
	.fp8_block = 128, .routed_scale = 1.5, .gain = 0.3, .ridge = 0.3, .seed = 1, .n_shards = 3,
	.n_layer = 4, .ratio = { 0, 4, 128, 4 }, .fill = FILL_MODEL, .records = true,
	.fp4_type = DT_I8, .ids_type = DT_I64, .scale_name = "scale",
};

/* For tests that make or convert one again and again: under a megabyte, with every kind of layer. */
static void preset_least(struct spec *s)
{
	*s = tiny;
	s->n_layer = 3;
	s->n_embd = 64;
	s->n_vocab = 320;
	s->n_head = 2;
	s->head_dim = 32;
	s->n_rot = 16;
	s->q_lora = 32;
	s->o_lora = 32;
	s->n_ff_exp = 32;
	s->n_expert = 4;
	s->n_hash = 1;
}

/* The published dimensions; layers alternate between the two kinds of compression. */
static void preset_large(struct spec *s, bool pro)
{
	*s = tiny;
	s->n_layer = pro ? 61 : 43;
	s->n_embd = pro ? 7168 : 4096;
	s->n_vocab = 129280;
	s->n_head = pro ? 128 : 64;
	s->head_dim = 512;
	s->n_rot = 64;
	s->q_lora = pro ? 1536 : 1024;
	s->o_groups = pro ? 16 : 8;
	s->o_lora = 1024;
	s->n_ff_exp = pro ? 3072 : 2048;
	s->n_expert = pro ? 384 : 256;
	s->n_expert_used = 6;
	s->n_hash = 3;
	s->idx_head = 64;
	s->idx_dim = 128;
	s->idx_topk = pro ? 1024 : 512;
	s->markov_rank = pro ? 512 : 256;
	s->routed_scale = pro ? 2.5 : 1.5;
	s->fill = FILL_NOISE;
	s->n_shards = 0;
	for (uint32_t i = 0; i < s->n_layer; i++)
		s->ratio[i] = i < 2 ? (pro ? 128 : 0) : i % 2 ? 128 : 4;
}

static enum status preset(struct spec *s, const char *name, struct err *e)
{
	if (strcmp(name, "tiny") == 0)
		*s = tiny;
	else if (strcmp(name, "least") == 0)
		preset_least(s);
	else if (strcmp(name, "flash") == 0 || strcmp(name, "pro") == 0)
		preset_large(s, *name == 'p');
	else
		return err_set(e, ERR_USAGE, "--preset %s: not one of tiny, least, flash, pro", name);
	return OK;
}

/* ---- options ---------------------------------------------------------------------------- */

#define AT(field) offsetof(struct options, field)

static const struct { const char *name; size_t at; } numbers[] = {
	{ "n-embd", AT(s.n_embd) }, { "n-vocab", AT(s.n_vocab) }, { "n-head", AT(s.n_head) },
	{ "head-dim", AT(s.head_dim) }, { "n-rot", AT(s.n_rot) }, { "q-lora", AT(s.q_lora) },
	{ "o-groups", AT(s.o_groups) }, { "o-lora", AT(s.o_lora) }, { "n-ff-exp", AT(s.n_ff_exp) },
	{ "n-expert", AT(s.n_expert) }, { "n-expert-used", AT(s.n_expert_used) },
	{ "n-hash", AT(s.n_hash) }, { "window", AT(s.window) }, { "idx-head", AT(s.idx_head) },
	{ "idx-dim", AT(s.idx_dim) }, { "idx-topk", AT(s.idx_topk) },
	{ "markov-rank", AT(s.markov_rank) }, { "fp8-block", AT(s.fp8_block) },
	{ "shards", AT(s.n_shards) }, { "threads", AT(threads) }, { "layers", AT(layers) },
}, reals[] = {
	{ "gain", AT(s.gain) }, { "ridge", AT(s.ridge) },
}, flags[] = {
	{ "base", AT(s.base) }, { "edge", AT(s.edge) }, { "single", AT(s.single) },
	{ "cache", AT(s.cache) }, { "scales-apart", AT(s.scales_apart) },
}, strings[] = {
	{ "text", AT(text) }, { "heldout", AT(heldout) }, { "encode", AT(encode) },
	{ "encode-to", AT(encode_to) }, { "repo", AT(place.repo) }, { "commit", AT(place.commit) },
	{ "record-time", AT(place.time) },
};

/* The options that choose a word set an enum; this is the word's place in list, or -1. */
static int word_of(const char *const *list, const char *word)
{
	for (int i = 0; list[i]; i++)
		if (strcmp(list[i], word) == 0)
			return i;
	return -1;
}

static bool parse_u32(const char *text, uint32_t most, uint32_t *out)
{
	char *end;
	unsigned long v;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	v = strtoul(text, &end, 10);
	*out = (uint32_t)v;
	return !*end && !errno && v <= most;
}

static bool parse_ratios(struct spec *s, const char *text)
{
	char part[16];

	for (s->n_layer = 0; s->n_layer < MAX_LAYERS; text++) {
		size_t n = strcspn(text, ",");
		uint32_t *r = &s->ratio[s->n_layer++];
		if (n >= sizeof part)
			return false;
		memcpy(part, text, n);
		part[n] = 0;
		if (!parse_u32(part, 128, r) || (*r != 0 && *r != 4 && *r != 128))
			return false;
		text += n;
		if (!*text)
			return true;
	}
	return false;
}

/* Options whose value is a word or a list. *known is false for none of them. */
static bool set_word(struct options *o, const char *name, const char *v, bool *known)
{
	static const char *const fills[] = { "model", "noise", NULL };
	static const char *const namings[] = { "deepseek", "transformers", NULL };
	static const char *const scales[] = { "scale", "weight_scale_inv", NULL };
	static const char *const fp4s[] = { "I8", "U8", "F4", NULL };
	static const char *const ids[] = { "I64", "I32", NULL };
	static const enum dtype fp4_types[] = { DT_NONE, DT_I8, DT_U8, DT_F4 };
	int i;

	*known = true;
	if (strcmp(name, "ratios") == 0)
		return parse_ratios(&o->s, v);
	if (strcmp(name, "seed") == 0) {
		char *end;
		o->s.seed = strtoull(v, &end, 10);
		return isdigit((unsigned char)*v) && !*end;
	}
	if (strcmp(name, "fill") == 0) {
		i = word_of(fills, v);
		o->s.fill = i > 0 ? FILL_NOISE : FILL_MODEL;
	} else if (strcmp(name, "naming") == 0) {
		i = word_of(namings, v);
		o->s.transformers = i > 0;
	} else if (strcmp(name, "scale-name") == 0) {
		i = word_of(scales, v);
		o->s.scale_name = scales[i > 0];
	} else if (strcmp(name, "fp4-dtype") == 0) {
		i = word_of(fp4s, v);
		o->s.fp4_type = fp4_types[i + 1];
	} else if (strcmp(name, "ids") == 0) {
		i = word_of(ids, v);
		o->s.ids_type = i > 0 ? DT_I32 : DT_I64;
	} else {
		*known = false;
		return false;
	}
	return i >= 0;
}

/* Options without a value. */
static bool set_flag(struct options *o, const char *name)
{
	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
		if (strcmp(flags[i].name, name) == 0)
			return *(bool *)((char *)o + flags[i].at) = true;
	if (strcmp(name, "with-mtp") == 0)
		o->s.extra = EXTRA_MTP;
	else if (strcmp(name, "with-dspark") == 0)
		o->s.extra = EXTRA_DSPARK;
	else if (strcmp(name, "sparse") == 0)
		o->s.fill = FILL_HOLES;
	else if (strcmp(name, "no-records") == 0)
		o->s.records = false;
	else
		return false;
	return true;
}

/* An option with value v. */
static enum status set_value(struct options *o, const char *name, const char *v, struct err *e)
{
	bool known = false, good = false;
	char *end;

	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && !known; i++)
		if ((known = strcmp(numbers[i].name, name) == 0))
			good = parse_u32(v, 1 << 20, (void *)((char *)o + numbers[i].at));
	for (size_t i = 0; i < sizeof reals / sizeof reals[0] && !known; i++)
		if ((known = strcmp(reals[i].name, name) == 0)) {
			double *d = (void *)((char *)o + reals[i].at);
			*d = strtod(v, &end);
			good = end != v && !*end && *d > 0 && *d < 4;
		}
	for (size_t i = 0; i < sizeof strings / sizeof strings[0] && !known; i++)
		if ((known = strcmp(strings[i].name, name) == 0)) {
			*(const char **)(void *)((char *)o + strings[i].at) = v;
			good = *v != 0;
		}
	if (!known)
		good = set_word(o, name, v, &known);
	if (!known)
		return err_set(e, ERR_USAGE, "--%s: no such option; see --help", name);
	if (!good)
		return err_set(e, ERR_USAGE, "--%s %s: not a value this option takes; see --help",
			       name, v);
	return OK;
}

/* One pass over the arguments: the first only looks for --preset, as it sets all the rest. */
static enum status parse_pass(struct options *o, int argc, char **argv, bool first, struct err *e)
{
	struct options unused = *o;
	char name[32];
	enum status st = OK;

	for (int i = 1; i < argc && st == OK; i++) {
		const char *a = argv[i], *eq = strchr(a, '=');
		size_t n = eq ? (size_t)(eq - a) : strlen(a);
		if (strncmp(a, "--", 2) != 0) {
			if (!first && o->place.dir)
				return err_set(e, ERR_USAGE, "%s: a second directory; see --help",
					       a);
			if (!first)
				o->place.dir = a;
			continue;
		}
		if (n - 2 >= sizeof name)
			return err_set(e, ERR_USAGE, "%s: no such option; see --help", a);
		memcpy(name, a + 2, n - 2);
		name[n - 2] = 0;
		if (!eq && set_flag(first ? &unused : o, name))
			continue;
		if (!eq && i + 1 == argc)
			return err_set(e, ERR_USAGE,
				       "--%s: not an option, or without value; see --help", name);
		eq = eq ? eq + 1 : argv[++i];
		if (strcmp(name, "preset") == 0)
			st = first ? preset(&o->s, eq, e) : OK;
		else
			st = set_value(first ? &unused : o, name, eq, e);
	}
	return st;
}

static const char *bad_dimensions(const struct spec *s)
{
	uint32_t experts = s->n_expert - (s->edge && s->n_expert);

	if (!s->n_embd || !s->n_head || !s->head_dim || !s->q_lora || !s->o_groups || !s->o_lora ||
	    !s->n_ff_exp || !s->n_expert_used || !s->window || !s->idx_head || !s->idx_dim ||
	    !s->idx_topk || !s->markov_rank || !s->fp8_block || !s->n_rot || !s->n_layer)
		return "a dimension is 0";
	if (s->n_expert > 4096 || s->n_head > 65536 || s->n_layer > MAX_LAYERS)
		return "a dimension is too large";
	if (s->n_embd % 32 || s->n_ff_exp % 32)
		return "--n-embd and --n-ff-exp must be multiples of 32, the FP4 block";
	if (s->n_head % s->o_groups)
		return "--o-groups must divide --n-head";
	if (s->n_rot % 2 || s->n_rot > s->head_dim || s->n_rot > s->idx_dim)
		return "--n-rot must be even and at most --head-dim and --idx-dim";
	if (s->idx_dim & (s->idx_dim - 1))
		return "--idx-dim must be a power of two";
	if (experts < s->n_expert_used)
		return "too few experts for --n-expert-used (--edge keeps one of them out)";
	if (s->n_vocab <= FIRST_MERGE)
		return "--n-vocab must be at least 260: 256 bytes and special tokens";
	return NULL;
}

static const char *bad_combination(const struct options *o, uint32_t n_groups)
{
	const struct spec *s = &o->s;
	uint32_t n_shards = s->single ? 1 : s->n_shards ? s->n_shards : n_groups;

	if (s->fill == FILL_MODEL && (s->n_vocab > MAX_TRAINED || s->n_embd > MAX_TRAINED))
		return "a fitted model has at most 2048 tokens and columns; use --fill noise";
	if (s->edge && s->fill != FILL_MODEL)
		return "--edge needs --fill model";
	if (s->transformers && s->extra != EXTRA_NONE)
		return "the transformers naming has no mtp tensors";
	if (s->extra == EXTRA_DSPARK && s->n_layer < 3)
		return "--with-dspark needs three layers";
	if (s->scales_apart && (n_shards < 2 || s->transformers))
		return "--scales-apart needs scales, and two shards for them";
	if (s->cache && s->fill == FILL_HOLES)
		return "--cache names files by digest, and --sparse has none";
	if (!o->encode != !o->encode_to)
		return "--encode and --encode-to need one another";
	if (o->heldout && o->text)
		return "--heldout continues the text made here, not that of --text";
	return NULL;
}

static enum status parse(struct options *o, int argc, char **argv, struct err *e)
{
	const char *why;
	enum status st = OK;

	TRY(parse_pass(o, argc, argv, true, e));
	TRY(parse_pass(o, argc, argv, false, e));
	if (!o->place.dir)
		return err_set(e, ERR_USAGE, "no directory given; see --help");
	if (o->layers > o->s.n_layer)
		return err_set(e, ERR_USAGE, "--layers %u: the model has %u", o->layers,
			       o->s.n_layer);
	if (o->layers)
		o->s.n_layer = o->layers;
	if (strlen(o->place.commit) != 40 || strspn(o->place.commit, "0123456789abcdef") != 40)
		return err_set(e, ERR_USAGE, "--commit: not 40 lower-case hex digits");
	if (o->place.time && strspn(o->place.time, "0123456789.") != strlen(o->place.time))
		return err_set(e, ERR_USAGE, "--record-time %s: not a number", o->place.time);
	if (!(why = bad_dimensions(&o->s)))
		why = bad_combination(o, o->s.n_layer + 2 + (o->s.extra != EXTRA_NONE));
	if (why)
		return err_set(e, ERR_USAGE, "%s", why);
out:
	return st;
}

/* ---- shards ----------------------------------------------------------------------------- */

struct maker {
	const struct spec *s;
	const struct place *place;
	const struct fit *fit;
	const struct list *l;
	uint32_t n_shards;
	size_t *first;			/* owned: n_shards + 1 places in the list */
	pthread_mutex_t lock;		/* guards next and stop */
	uint32_t next;
	bool stop;
};
struct worker {
	struct maker *m;
	pthread_t thread;
	uint8_t *buf;			/* owned: SINK_BYTES */
	struct sink sink;
	enum status st;
	struct err e;
};

/* Length, JSON padded to a multiple of 8, as safetensors' own writer has it. */
static struct text shard_header(const struct tensor *t, size_t n, struct err *e)
{
	struct text h = { .e = e };

	text_add(&h, "........{");
	for (size_t i = 0; i < n; i++) {
		text_add(&h, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "", t[i].name,
			 type_name(t[i].type));
		for (unsigned d = 0; d < t[i].n_dims; d++)
			text_add(&h, "%s%llu", d ? "," : "", (unsigned long long)t[i].shape[d]);
		text_add(&h, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)t[i].off,
			 (unsigned long long)(t[i].off + t[i].bytes));
	}
	text_add(&h, "}");
	while (h.st == OK && h.n % 8)
		text_add(&h, " ");
	if (h.st == OK)
		store_le((uint8_t *)h.p, 8, h.n - 8);
	return h;
}

static enum status fill_shard(struct worker *w, const struct text *header, const struct tensor *t,
			      size_t n)
{
	struct sink *k = &w->sink;
	enum status st = OK;

	sha256_start(&k->hash);
	sink_put(k, header->p, header->n);
	if (w->m->s->fill == FILL_HOLES) {
		off_t end = (off_t)(header->n + t[n - 1].off + t[n - 1].bytes);
		if (ftruncate(k->fd, end) != 0)
			return err_errno(&w->e, "%s: cannot be made that long", k->path);
		return k->st;
	}
	for (size_t i = 0; i < n && st == OK; i++)
		st = put_tensor(k, &t[i], w->m->s, w->m->fit, w->buf);
	return st;
}

static enum status write_shard(struct worker *w, uint32_t shard)
{
	struct maker *m = w->m;
	const struct tensor *t = m->l->t + m->first[shard];
	size_t n = m->first[shard + 1] - m->first[shard];
	struct text h = shard_header(t, n, &w->e);
	struct digest d = { .kind = DIGEST_SHA256 };
	char name[48], hex[65];
	char *path;
	enum status st;

	shard_name(name, shard, m->n_shards, m->s->single);
	path = place_path(m->place, name, &w->e);
	w->sink.fd = -1;
	w->sink.path = path;
	TRY(h.st);
	TRY(path ? OK : ERR_NOMEM);
	TRY(create(&w->sink.fd, path, &w->e));
	TRY(fill_shard(w, &h, t, n));
	sha256_end(&w->sink.hash, d.bytes);
	if (close(w->sink.fd) != 0)
		st = err_errno(&w->e, "%s: cannot write", path);
	w->sink.fd = -1;
	if (st == OK && m->s->fill != FILL_HOLES)
		st = place_done(m->place, name, digest_text(&d, hex), &w->e);
out:
	if (w->sink.fd >= 0)
		close(w->sink.fd);
	free(path);
	free(h.p);
	return st;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct maker *m = w->m;

	for (;;) {
		uint32_t shard;
		pthread_mutex_lock(&m->lock);
		shard = m->stop ? m->n_shards : m->next++;
		m->stop = shard >= m->n_shards;
		pthread_mutex_unlock(&m->lock);
		if (shard >= m->n_shards)
			return NULL;
		w->st = write_shard(w, shard);
		if (w->st == OK)
			continue;
		pthread_mutex_lock(&m->lock);
		m->stop = true;
		pthread_mutex_unlock(&m->lock);
		return NULL;
	}
}

static enum status run_workers(struct maker *m, uint32_t n_threads, struct err *e)
{
	struct worker *w = mem_new(n_threads, sizeof *w, "workers", e);
	enum status st = w ? OK : ERR_NOMEM;
	uint32_t started = 0;

	for (uint32_t i = 0; w && i < n_threads && st == OK; i++) {
		w[i].m = m;
		w[i].sink = (struct sink){ .fd = -1, .e = &w[i].e };
		w[i].buf = mem_new(SINK_BYTES, 1, "a buffer", e);
		st = w[i].buf ? sha256_open(&w[i].sink.hash, e) : ERR_NOMEM;
		if (st == OK && (errno = pthread_create(&w[i].thread, NULL, work, &w[i])) != 0)
			st = err_errno(e, "cannot start a thread");
		started += st == OK;
	}
	for (uint32_t i = 0; w && i < n_threads; i++) {
		if (i < started)
			pthread_join(w[i].thread, NULL);
		if (i < started && w[i].st != OK && st == OK) {
			*e = w[i].e;
			st = w[i].st;
		}
		sha256_close(&w[i].sink.hash);
		free(w[i].buf);
	}
	free(w);
	return st;
}

static enum status write_shards(const struct options *o, const struct list *l,
				const struct fit *fit, uint32_t n_shards, struct err *e)
{
	struct maker m = { .s = &o->s, .place = &o->place, .fit = fit, .l = l, .n_shards = n_shards,
			   .lock = PTHREAD_MUTEX_INITIALIZER };
	enum status st;

	m.first = mem_new(n_shards + 1, sizeof *m.first, "shards", e);
	if (!m.first)
		return ERR_NOMEM;
	for (size_t i = 0; i < l->n; i++)
		m.first[l->t[i].shard + 1] = i + 1;
	st = run_workers(&m, o->threads ? o->threads : 1, e);
	free(m.first);
	return st;
}

/* ---- main ------------------------------------------------------------------------------- */

static enum status slurp(const char *path, char **text, size_t *n, struct err *e)
{
	struct file f = FILE_NONE;
	enum status st;

	TRY(file_open(&f, AT_FDCWD, path, true, path, e));
	TRY(file_slurp(&f, 64 << 20, text, n, e));
	if (*n == 0)
		st = err_set(e, ERR_FORMAT, "%s: is empty; name a text to train on", path);
out:
	file_close(&f);
	return st;
}

/* The training text; the held-out one, where asked for, goes to its file. */
static enum status get_text(const struct options *o, char **text, size_t *n, struct err *e)
{
	size_t train = 192 << 10, held = 32 << 10;
	uint8_t *rest;
	enum status st;

	if (o->text)
		return slurp(o->text, text, n, e);
	*text = (char *)own_text(0, train, e);
	*n = train;
	if (!*text || !o->heldout)
		return *text ? OK : ERR_NOMEM;
	rest = own_text(train, held, e);
	st = rest ? write_text(o->heldout, rest, held, e) : ERR_NOMEM;
	free(rest);
	return st;
}

static enum status write_encoded(const struct options *o, const struct vocabulary *v, struct err *e)
{
	struct text out = { .e = e };
	char *text = NULL;
	uint16_t *ids = NULL;
	size_t n, n_ids;
	enum status st;

	TRY(slurp(o->encode, &text, &n, e));
	TRY(vocabulary_encode(v, (const uint8_t *)text, n, &ids, &n_ids, e));
	for (size_t i = 0; i < n_ids; i++)
		text_add(&out, "%u%s", ids[i], i % 20 == 19 || i + 1 == n_ids ? "\n" : " ");
	st = out.st == OK ? write_text(o->encode_to, out.p, out.n, e) : out.st;
out:
	free(text);
	free(ids);
	free(out.p);
	return st;
}

static enum status write_small(const struct options *o, const struct list *l,
			       const struct vocabulary *v, uint32_t n_shards, struct err *e)
{
	struct text t = config_json(&o->s, e);
	enum status st;

	TRY(place_text(&o->place, "config.json", &t, false, e));
	t = generation_json(e);
	TRY(place_text(&o->place, "generation_config.json", &t, false, e));
	t = tokenizer_config_json(e);
	TRY(place_text(&o->place, "tokenizer_config.json", &t, false, e));
	t = tokenizer_json(v, o->s.n_vocab, e);
	TRY(place_text(&o->place, "tokenizer.json", &t, true, e));
	if (o->s.single)
		goto out;
	t = index_json(l, n_shards, e);
	TRY(place_text(&o->place, "model.safetensors.index.json", &t, false, e));
out:
	return st;
}

static enum status make(struct options *o, struct err *e)
{
	struct spec *s = &o->s;
	struct vocabulary v = { 0 };
	struct fit fit = { 0 };
	struct list l = { 0 };
	char *text = NULL;
	uint16_t *ids = NULL;
	size_t n, n_ids;
	uint64_t total = 0;
	uint32_t n_shards;
	uint32_t trained = s->fill == FILL_MODEL || s->n_vocab < 1024 ? s->n_vocab : 1024;
	enum status st;

	TRY(list_build(&l, s, e));
	n_shards = s->single ? 1 : s->n_shards ? s->n_shards : l.n_groups;
	if (n_shards > l.n) {
		st = err_set(e, ERR_USAGE, "--shards %u: there are only %zu tensors", n_shards,
			     l.n);
		goto out;
	}
	TRY(get_text(o, &text, &n, e));
	TRY(vocabulary_train(&v, (const uint8_t *)text, n, trained, &ids, &n_ids, e));
	if (s->fill == FILL_MODEL)
		TRY(fit_bigrams(&fit, s, ids, n_ids, e));
	TRY(place_open(&o->place, s->cache, s->records, e));
	TRY(write_shards(o, &l, &fit, n_shards, e));
	TRY(write_small(o, &l, &v, n_shards, e));
	if (o->encode)
		TRY(write_encoded(o, &v, e));
	for (size_t i = 0; i < l.n; i++)
		total += l.t[i].bytes;
	printf("%s: %zu tensors, %llu bytes in %u shards\n", o->place.files, l.n,
	       (unsigned long long)total, n_shards);
out:
	free(l.t);
	free(text);
	free(ids);
	fit_close(&fit);
	vocabulary_close(&v);
	place_close(&o->place);
	return st;
}

int main(int argc, char **argv)
{
	struct options o = { .s = tiny, .threads = 2, .place = {
		.repo = "example/v4-sample",
		.commit = "0123456789abcdef0123456789abcdef01234567" } };
	struct err e;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	if (parse(&o, argc, argv, &e) != OK || make(&o, &e) != OK) {
		char text[2200];
		escape_text(text, sizeof text, e.msg, strlen(e.msg));
		fprintf(stderr, "make_checkpoint: %s\n", text);
		return status_exit_code(e.status);
	}
	return 0;
}
