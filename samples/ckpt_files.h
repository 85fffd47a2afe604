/* SPDX-License-Identifier: MIT
 *
 * ckpt_files.h - private to make_checkpoint.c: where files go, and the small ones among them.
 *
 * Two places are known. A directory as `hf download --local-dir` leaves it has a record of three
 * lines (commit, digest, time) for each file in .cache/huggingface/download/. A snapshot in the
 * Hub's cache has relative links into blobs/, where a file's name is its digest. The digest is
 * SHA-256 for what the Hub stores as a large file, else git's blob id.
 */
#ifndef SAMPLES_CKPT_FILES_H
#define SAMPLES_CKPT_FILES_H

#include "samples/ckpt_text.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LARGE_FILE = 10 << 20 };

struct place {
	const char *dir, *repo, *commit, *time;	/* borrowed; time NULL: now + 5 s */
	char *files, *blobs, *records;	/* owned; blobs only in a cache, records only without one */
};

/* ---- text under construction ------------------------------------------------------------ */

struct text { char *p; size_t n, cap; enum status st; struct err *e; };	/* owned, sticky */

static inline void PRINTF(2, 3) text_add(struct text *t, const char *fmt, ...)
{
	char line[512];
	void *p = t->p;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (t->st != OK || n < 0)
		return;
	if ((size_t)n >= sizeof line)
		t->st = err_set(t->e, ERR_USAGE, "a name or number is too long to be written");
	else
		t->st = mem_grow(&p, &t->cap, t->n + (size_t)n, 1, "a small file", t->e);
	t->p = p;
	if (t->st != OK)
		return;
	memcpy(t->p + t->n, line, (size_t)n);
	t->n += (size_t)n;
}

/* ---- places ----------------------------------------------------------------------------- */

static inline enum status make_dir(const char *path, struct err *e)
{
	if (mkdir(path, 0777) != 0 && errno != EEXIST)
		return err_errno(e, "%s: cannot make the directory", path);
	return OK;
}

/* base/next, made on the disk; *out is owned by the caller. */
static inline enum status sub_dir(char **out, const char *base, const char *next, struct err *e)
{
	*out = path_join(base, next, e);
	return *out ? make_dir(*out, e) : ERR_NOMEM;
}

static inline void place_close(struct place *p)
{
	free(p->files);
	free(p->blobs);
	free(p->records);
	p->files = p->blobs = p->records = NULL;
}

/* A new file; an existing one is never written over. */
static inline enum status create(int *fd, const char *path, struct err *e)
{
	*fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (*fd < 0)
		return err_errno(e, "%s: cannot create; name a new directory", path);
	return OK;
}

static inline enum status write_text(const char *path, const void *p, size_t n, struct err *e)
{
	int fd;
	enum status st = create(&fd, path, e);
	const uint8_t *q = p;

	while (st == OK && n) {
		ssize_t w = write(fd, q, n);
		if (w <= 0)
			st = err_errno(e, "%s: cannot write", path);
		else
			q += w, n -= (size_t)w;
	}
	if (fd >= 0 && close(fd) != 0 && st == OK)
		st = err_errno(e, "%s: cannot write", path);
	return st;
}

/* DIR/models--ORG--NAME/{blobs,refs,snapshots/COMMIT}, and refs/main. */
static inline enum status open_cache(struct place *p, struct err *e)
{
	char repo[256] = "models--";
	char *base = NULL, *refs = NULL, *snapshots = NULL, *main_ref = NULL;
	size_t o = strlen(repo);
	enum status st;

	for (const char *c = p->repo; *c && o < sizeof repo - 3; c++) {
		repo[o++] = *c == '/' ? '-' : *c;
		if (*c == '/')
			repo[o++] = '-';
	}
	repo[o] = 0;
	TRY(sub_dir(&base, p->dir, repo, e));
	TRY(sub_dir(&p->blobs, base, "blobs", e));
	TRY(sub_dir(&refs, base, "refs", e));
	TRY(sub_dir(&snapshots, base, "snapshots", e));
	TRY(sub_dir(&p->files, snapshots, p->commit, e));
	main_ref = path_join(refs, "main", e);
	st = main_ref ? write_text(main_ref, p->commit, strlen(p->commit), e) : ERR_NOMEM;
out:
	free(base);
	free(refs);
	free(snapshots);
	free(main_ref);
	return st;
}

static inline enum status place_open(struct place *p, bool cache, bool records, struct err *e)
{
	char *a = NULL, *b = NULL;
	enum status st;

	TRY(make_dir(p->dir, e));
	if (cache) {
		st = open_cache(p, e);
		goto out;
	}
	p->files = mem_strdup(p->dir, e);
	if (!p->files) {
		st = ERR_NOMEM;
		goto out;
	}
	if (records) {
		TRY(sub_dir(&a, p->dir, ".cache", e));
		TRY(sub_dir(&b, a, "huggingface", e));
		TRY(sub_dir(&p->records, b, "download", e));
	}
out:
	free(a);
	free(b);
	return st;
}

/* The path under which NAME is written at first; owned by the caller. */
static inline char *place_path(const struct place *p, const char *name, struct err *e)
{
	return path_join(p->blobs ? p->blobs : p->files, name, e);
}

static inline enum status write_record(const struct place *p, const char *name, const char *hex,
				       struct err *e)
{
	char file[128], time_text[32], lines[256];
	const char *t = p->time;
	char *path;
	enum status st;

	snprintf(file, sizeof file, "%s.metadata", name);
	if (!t) {
		snprintf(time_text, sizeof time_text, "%lld.0", (long long)time(NULL) + 5);
		t = time_text;
	}
	snprintf(lines, sizeof lines, "%s\n%s\n%s\n", p->commit, hex, t);
	path = path_join(p->records, file, e);
	st = path ? write_text(path, lines, strlen(lines), e) : ERR_NOMEM;
	free(path);
	return st;
}

/* Records the digest of a file that is now written: as a record or as its name in blobs/. */
static inline enum status place_done(const struct place *p, const char *name, const char *hex,
				     struct err *e)
{
	char target[128];
	char *from = NULL, *blob = NULL, *link = NULL;
	enum status st = ERR_NOMEM;

	if (!p->blobs)
		return p->records ? write_record(p, name, hex, e) : OK;
	snprintf(target, sizeof target, "../../blobs/%s", hex);
	if (!(from = path_join(p->blobs, name, e)) || !(blob = path_join(p->blobs, hex, e)) ||
	    !(link = path_join(p->files, name, e)))
		goto out;
	st = OK;
	if (rename(from, blob) != 0 || symlink(target, link) != 0)
		st = err_errno(e, "%s: cannot be put into the cache's form", from);
out:
	free(from);
	free(blob);
	free(link);
	return st;
}

/* A small file; t is freed. large: the Hub keeps it as a large file whatever its size. */
static inline enum status place_text(const struct place *p, const char *name, struct text *t,
				     bool large, struct err *e)
{
	struct file f = FILE_NONE;
	struct digest d;
	char hex[65];
	char *path = place_path(p, name, e);
	enum status st = t->st;

	large |= t->n > LARGE_FILE;
	if (st == OK && !path)
		st = ERR_NOMEM;
	TRY(st);
	TRY(write_text(path, t->p, t->n, e));
	TRY(file_open(&f, AT_FDCWD, path, false, path, e));
	TRY(digest_file(&f, large ? DIGEST_SHA256 : DIGEST_GIT_BLOB, &d, NULL, e));
	st = place_done(p, name, digest_text(&d, hex), e);
out:
	file_close(&f);
	free(path);
	free(t->p);
	*t = (struct text){ .e = t->e };
	return st;
}

/* ---- the small files -------------------------------------------------------------------- */

#define BOS_TEXT "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>"
#define EOS_TEXT "<\uFF5Cend\u2581of\u2581sentence\uFF5C>"
#define PAD_TEXT "<\uFF5C\u2581pad\u2581\uFF5C>"

static inline void config_extra(struct text *t, const struct spec *s)
{
	if (s->extra == EXTRA_DSPARK) {
		text_add(t, "  \"dspark_block_size\": 5,\n  \"dspark_noise_token_id\": %u,\n",
			 s->n_vocab > 128799 ? 128799 : s->n_vocab - 1);
		text_add(t, "  \"dspark_target_layer_ids\": [%u, %u, %u],\n", s->n_layer - 3,
			 s->n_layer - 2, s->n_layer - 1);
		text_add(t, "  \"dspark_markov_rank\": %u,\n", s->markov_rank);
	}
	if (s->transformers)
		return;
	text_add(t, "  \"expert_dtype\": \"%s\",\n", s->base ? "fp8" : "fp4");
	text_add(t, "  \"quantization_config\": {\n    \"activation_scheme\": \"dynamic\",\n"
		 "    \"fmt\": \"e4m3\",\n"
		 "    \"quant_method\": \"fp8\",\n    \"scale_fmt\": \"ue8m0\",\n"
		 "    \"weight_block_size\": [%u, %u]\n  },\n", s->fp8_block, s->fp8_block);
}

static inline void config_ratios(struct text *t, const struct spec *s)
{
	text_add(t, "  \"compress_ratios\": [");
	for (uint32_t i = 0; i < s->n_layer; i++)
		text_add(t, "%u, ", s->ratio[i]);
	text_add(t, "%s],\n", s->extra == EXTRA_DSPARK ? "0, 0, 0" : "0");
}

static inline struct text config_json(const struct spec *s, struct err *e)
{
	struct text t = { .e = e };
	const struct { const char *key; uint32_t v; } numbers[] = {
		{ "vocab_size", s->n_vocab }, { "hidden_size", s->n_embd },
		{ "num_hidden_layers", s->n_layer }, { "num_attention_heads", s->n_head },
		{ "num_key_value_heads", 1 }, { "head_dim", s->head_dim },
		{ "qk_rope_head_dim", s->n_rot }, { "q_lora_rank", s->q_lora },
		{ "o_groups", s->o_groups }, { "o_lora_rank", s->o_lora },
		{ "moe_intermediate_size", s->n_ff_exp }, { "n_routed_experts", s->n_expert },
		{ "n_shared_experts", 1 }, { "num_experts_per_tok", s->n_expert_used },
		{ "num_hash_layers", s->n_hash }, { "index_n_heads", s->idx_head },
		{ "index_head_dim", s->idx_dim }, { "index_topk", s->idx_topk },
		{ "sliding_window", s->window }, { "hc_mult", HC }, { "hc_sinkhorn_iters", 20 },
		{ "max_position_embeddings", 1048576 }, { "num_nextn_predict_layers", 1 },
		{ "bos_token_id", 0 }, { "eos_token_id", 1 },
	};

	text_add(&t, "{\n  \"architectures\": [\"DeepseekV4ForCausalLM\"],\n"
		 "  \"model_type\": \"deepseek_v4\",\n");
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		text_add(&t, "  \"%s\": %u,\n", numbers[i].key, numbers[i].v);
	config_ratios(&t, s);
	text_add(&t, "  \"rope_theta\": 10000,\n  \"compress_rope_theta\": 160000,\n"
		 "  \"rope_scaling\": {\n    \"type\": \"yarn\",\n    \"factor\": 16,\n"
		 "    \"original_max_position_embeddings\": 65536,\n"
		 "    \"beta_fast\": 32,\n    \"beta_slow\": 1\n  },\n");
	text_add(&t, "  \"routed_scaling_factor\": %.1f,\n  \"scoring_func\": \"sqrtsoftplus\",\n"
		 "  \"topk_method\": \"noaux_tc\",\n  \"norm_topk_prob\": true,\n"
		 "  \"swiglu_limit\": 10.0,\n  \"hidden_act\": \"silu\",\n", s->routed_scale);
	config_extra(&t, s);
	text_add(&t, "  \"hc_eps\": 1e-06,\n  \"rms_norm_eps\": 1e-06,\n"
		 "  \"tie_word_embeddings\": false,\n  \"attention_bias\": false,\n"
		 "  \"attention_dropout\": 0.0,\n"
		 "  \"initializer_range\": 0.02,\n  \"use_cache\": true,\n"
		 "  \"torch_dtype\": \"bfloat16\",\n  \"transformers_version\": \"4.57.1\"\n}\n");
	return t;
}

static inline struct text generation_json(struct err *e)
{
	struct text t = { .e = e };

	text_add(&t, "{\n  \"_from_model_config\": true,\n  \"bos_token_id\": 0,\n"
		 "  \"eos_token_id\": 1,\n  \"do_sample\": true,\n  \"temperature\": 1.0,\n"
		 "  \"top_p\": 1.0,\n"
		 "  \"transformers_version\": \"4.57.1\"\n}\n");
	return t;
}

static inline struct text tokenizer_config_json(struct err *e)
{
	struct text t = { .e = e };

	text_add(&t, "{\n  \"add_bos_token\": false,\n  \"add_eos_token\": false,\n"
		 "  \"bos_token\": \"" BOS_TEXT "\",\n  \"eos_token\": \"" EOS_TEXT "\",\n"
		 "  \"pad_token\": \"" PAD_TEXT "\",\n"
		 "  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n");
	return t;
}

/* A byte in the byte-level alphabet: printable Latin-1 is itself, the rest from U+0100 on. */
static inline uint32_t byte_char(uint8_t b)
{
	uint32_t next = 256;

	for (uint32_t i = 0;; i++) {
		bool same = (i > 32 && i < 127) || (i > 160 && i != 173);
		if (i == b)
			return same ? i : next;
		next += !same;
	}
}

static inline void add_token(struct text *t, const struct vocabulary *v, uint32_t id)
{
	static const char *const special[N_SPECIAL] = { BOS_TEXT, EOS_TEXT, PAD_TEXT };

	if (id < N_SPECIAL)
		text_add(t, "%s", special[id]);
	else if (id >= v->n_tokens)
		text_add(t, "<\uFF5Cplace\u2581holder\u2581no\u2581%u\uFF5C>", id);
	for (uint32_t i = 0; id >= N_SPECIAL && id < v->n_tokens && i < v->tokens[id].n; i++) {
		uint32_t c = byte_char(v->tokens[id].bytes[i]);
		if (c < 128)
			text_add(t, "%s%c", c == '"' || c == '\\' ? "\\" : "", (int)c);
		else
			text_add(t, "%c%c", (int)(0xC0 | c >> 6), (int)(0x80 | (c & 63)));
	}
}

static inline void add_pre_tokenizer(struct text *t)
{
	static const char *const splits[3] = {
		"\\\\p{N}{1,3}", "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+",
		"[!\\\"#$%&'()*+,\\\\-./:;<=>?@\\\\[\\\\\\\\\\\\]^_`{|}~][A-Za-z]+"
		"|[^\\\\r\\\\n\\\\p{L}\\\\p{P}\\\\p{S}]?[\\\\p{L}\\\\p{M}]+"
		"| ?[\\\\p{P}\\\\p{S}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+",
	};

	text_add(t, "  \"pre_tokenizer\": {\n    \"type\": \"Sequence\",\n"
		 "    \"pretokenizers\": [\n");
	for (int i = 0; i < 3; i++)
		text_add(t, "      {\"type\": \"Split\", \"pattern\": {\"Regex\": \"%s\"}, "
			 "\"behavior\": \"Isolated\", \"invert\": false},\n", splits[i]);
	text_add(t, "      {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
		 "\"trim_offsets\": true, \"use_regex\": false}\n    ]\n  },\n");
}

static inline struct text tokenizer_json(const struct vocabulary *v, uint32_t n_vocab,
					 struct err *e)
{
	struct text t = { .e = e };

	text_add(&t, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"
		 "  \"added_tokens\": [\n");
	for (uint32_t i = 0; i < N_SPECIAL; i++) {
		text_add(&t, "    {\"id\": %u, \"content\": \"", i);
		add_token(&t, v, i);
		text_add(&t, "\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
			 "\"normalized\": false, \"special\": true}%s\n",
			 i + 1 < N_SPECIAL ? "," : "");
	}
	text_add(&t, "  ],\n  \"normalizer\": null,\n");
	add_pre_tokenizer(&t);
	text_add(&t, "  \"post_processor\": null,\n  \"decoder\": {\"type\": \"ByteLevel\", "
		 "\"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": true},\n"
		 "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n"
		 "    \"unk_token\": null,\n    \"continuing_subword_prefix\": null,\n"
		 "    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n"
		 "    \"byte_fallback\": false,\n    \"vocab\": {\n");
	for (uint32_t i = 0; i < n_vocab; i++) {
		text_add(&t, "      \"");
		add_token(&t, v, i);
		text_add(&t, "\": %u%s\n", i, i + 1 < n_vocab ? "," : "");
	}
	text_add(&t, "    },\n    \"merges\": [\n");
	for (uint32_t i = 0; i < v->n_merges; i++) {
		text_add(&t, "      \"");
		add_token(&t, v, v->merges[i][0]);
		text_add(&t, " ");
		add_token(&t, v, v->merges[i][1]);
		text_add(&t, "\"%s\n", i + 1 < v->n_merges ? "," : "");
	}
	text_add(&t, "    ]\n  }\n}\n");
	return t;
}

static inline void shard_name(char out[48], uint32_t shard, uint32_t n_shards, bool single)
{
	if (single)
		snprintf(out, 48, "model.safetensors");
	else
		snprintf(out, 48, "model-%05u-of-%05u.safetensors", shard + 1, n_shards);
}

static inline struct text index_json(const struct list *l, uint32_t n_shards, struct err *e)
{
	struct text t = { .e = e };
	uint64_t total = 0;
	char file[48];

	for (size_t i = 0; i < l->n; i++)
		total += l->t[i].bytes;
	text_add(&t, "{\n  \"metadata\": {\n    \"total_size\": %llu\n  },\n  \"weight_map\": {\n",
		 (unsigned long long)total);
	for (size_t i = 0; i < l->n; i++) {
		shard_name(file, l->t[i].shard, n_shards, false);
		text_add(&t, "    \"%s\": \"%s\"%s\n", l->t[i].name, file, i + 1 < l->n ? "," : "");
	}
	text_add(&t, "  }\n}");
	return t;
}

#endif
