/* SPDX-License-Identifier: MIT
 *
 * model.h - DeepSeek-V4 as data: its hyper-parameters, the table of its tensors (GGUF name,
 * names in a checkpoint, shape), how a tensor of the model lies in a checkpoint, its vocabulary.
 *
 * convert, verify and runtime all stand on this; nothing here moves tensor bytes.
 * Facts: DeepSeek's config.json and inference code; llama.cpp's architecture `deepseek4`.
 */
#ifndef FORMAT_MODEL_H
#define FORMAT_MODEL_H

#include "format/format.h"

/* ---- config.c: small JSON configuration files ---------------------------------------------*/

/* Typed, bounded access by dotted path ("rope_scaling.factor"). The text is checked by the strict
 * reader first (duplicates, depth, UTF-8, exact integers), so cJSON never sees what it would
 * misread. The first failure sticks and is returned by config_close. */
struct config { void *root; const char *path; struct err err; };
enum { CONFIG_LIMIT = 16 << 20 };
enum status config_open(struct config *c, const char *text, size_t n, const char *path, struct err *e) MUST_USE;
bool config_has(const struct config *c, const char *key);	/* present and not null */
uint32_t config_u32(struct config *c, const char *key, uint32_t lo, uint32_t hi);
uint32_t config_u32_or(struct config *c, const char *key, uint32_t lo, uint32_t hi, uint32_t absent);
float config_float(struct config *c, const char *key, double lo, double hi);
float config_float_or(struct config *c, const char *key, double lo, double hi, float absent);
bool config_bool_or(struct config *c, const char *key, bool absent);
/* Borrowed until config_close; NULL if absent or not a string. */
const char *config_str(const struct config *c, const char *key);
/* Element i of an array of numbers or strings; config_count is 0 where key is no array. */
uint32_t config_count(const struct config *c, const char *key);
uint32_t config_item_u32(struct config *c, const char *key, uint32_t i, uint32_t lo, uint32_t hi);
const char *config_item_str(const struct config *c, const char *key, uint32_t i);
void config_fail(struct config *c, enum status s, const char *fmt, ...) PRINTF(3, 4);
enum status config_close(struct config *c, struct err *e) MUST_USE;

/* ---- arch.c: hyper-parameters -------------------------------------------------------------*/

enum { ARCH_MAX_LAYERS = 512, ARCH_HC = 4 /* streams that llama.cpp's graph demands */ };

/* Field names follow llama.cpp's where it has one. All checked: positive, bounded, consistent. */
struct arch {
	uint32_t n_layer;		/* trunk layers, without MTP */
	uint32_t n_ctx, n_vocab, n_embd;
	uint32_t n_head, head_dim, n_rot;	/* one KV head; n_rot even, <= head_dim */
	uint32_t q_lora, o_groups, o_lora;	/* o_groups divides n_head */
	uint32_t n_expert, n_expert_used, n_expert_shared, n_ff_exp;
	uint32_t n_hash_layer;		/* layers [0, n) route by token id */
	uint32_t window;		/* sliding window, positions including the current one */
	uint32_t n_ratio;		/* entries of ratio[], >= n_layer */
	uint32_t ratio[ARCH_MAX_LAYERS];/* 0 window only, 4 compressed sparse, 128 heavily compressed */
	uint32_t idx_head, idx_dim, idx_topk;
	uint32_t n_hc, hc_iters;	/* residual streams; Sinkhorn iterations */
	uint32_t n_mtp;			/* MTP blocks that config claims (the tensors decide) */
	uint32_t bos, eos;		/* token ids of config.json */
	float rms_eps, hc_eps;
	float rope_base, rope_base_compressed;
	bool yarn;			/* on compressed layers only */
	float yarn_factor, yarn_beta_fast, yarn_beta_slow;
	uint32_t yarn_n_ctx;		/* original context */
	float routed_scale, swiglu_limit;	/* limit 0: none */
	bool norm_topk;
	uint32_t fp8_block_rows, fp8_block_cols;	/* config's weight_block_size; 0 if none given */
	char torch_name[64];		/* architectures[0] */
};
/* From config.json's text. Other architectures, V4.1 among them, are refused by name. */
enum status arch_from_config(struct arch *a, const char *text, size_t n, const char *path,
			     struct log *notes, struct err *e) MUST_USE;
/* From that of an open checkpoint. */
enum status arch_from_checkpoint(struct arch *a, const struct checkpoint *c, struct log *notes, struct err *e) MUST_USE;
enum status arch_from_gguf(struct arch *a, const struct gguf *g, const char *path, struct err *e) MUST_USE;
/* All deepseek4.* keys. mtp: for an MTP-only file (block_count n_layer + 1). */
void arch_to_gguf(const struct arch *a, bool mtp, struct gguf_writer *w);

/* ---- names.c: the tensors of the architecture ----------------------------------------------*/

enum role {
	ROLE_EMBED, ROLE_OUTPUT, ROLE_OUTPUT_NORM,
	ROLE_OUTPUT_HC_FN, ROLE_OUTPUT_HC_BASE, ROLE_OUTPUT_HC_SCALE,
	ROLE_ATTN_NORM, ROLE_FFN_NORM, ROLE_ATTN_SINKS,
	ROLE_ATTN_Q_A, ROLE_ATTN_Q_A_NORM, ROLE_ATTN_Q_B, ROLE_ATTN_KV, ROLE_ATTN_KV_NORM,
	ROLE_ATTN_OUTPUT_A, ROLE_ATTN_OUTPUT_B,
	ROLE_HC_ATTN_FN, ROLE_HC_ATTN_BASE, ROLE_HC_ATTN_SCALE,
	ROLE_HC_FFN_FN, ROLE_HC_FFN_BASE, ROLE_HC_FFN_SCALE,
	ROLE_COMP_KV, ROLE_COMP_GATE, ROLE_COMP_APE, ROLE_COMP_NORM,
	ROLE_IDX_Q_B, ROLE_IDX_PROJ, ROLE_IDX_COMP_KV, ROLE_IDX_COMP_GATE, ROLE_IDX_COMP_APE,
	ROLE_IDX_COMP_NORM,
	ROLE_ROUTER, ROLE_ROUTER_IDS, ROLE_ROUTER_BIAS,
	ROLE_GATE_EXPS, ROLE_UP_EXPS, ROLE_DOWN_EXPS,
	ROLE_GATE_SHEXP, ROLE_UP_SHEXP, ROLE_DOWN_SHEXP,
	ROLE_MTP_EH_PROJ, ROLE_MTP_ENORM, ROLE_MTP_HNORM, ROLE_MTP_HEAD_NORM,
	ROLE_COUNT
};
/* What may become of a tensor's values. */
enum role_class {
	CLASS_MATRIX,	/* a matrix product's weight: any type a recipe names */
	CLASS_EXPERTS,	/* the same, one matrix an expert, stacked */
	CLASS_ROUTER,	/* expert choice: keeps BF16, F16 or F32 */
	CLASS_SMALL,	/* norms, biases, sinks, scales, positions, hyper-connections: F32 */
	CLASS_IDS,	/* table of expert ids: I32 */
};
enum role_class role_class(enum role r);
/* The role of a tensor of a deepseek4 GGUF by its name, or ROLE_COUNT; *layer as in struct want. */
enum role role_by_name(struct str gguf_name, uint32_t *layer);

enum { LAYER_NONE = UINT32_MAX };
/* One tensor of the model, as the GGUF holds it. */
struct want {
	char name[GGUF_MAX_NAME + 1];	/* in the GGUF */
	enum role role;
	uint32_t layer;			/* LAYER_NONE for root tensors */
	bool mtp;			/* comes from (or serves) the MTP block */
	unsigned n_dims;
	uint64_t shape[GGUF_MAX_DIMS];	/* slowest first; experts: (n_expert, rows, cols) */
};
struct wants { struct want *w; size_t n; };
enum model_part { PART_TRUNK, PART_MTP };
/* Every tensor of the trunk file, or of the MTP-only file, in file order. */
enum status wants_build(struct wants *l, const struct arch *a, enum model_part part, struct err *e) MUST_USE;
void wants_close(struct wants *l);
const struct want *wants_find(const struct wants *l, enum role r, uint32_t layer);

/* ---- peers.c: deepseek4 GGUFs of others ------------------------------------------------------*/

/* A tensor by our name, whatever the file calls it; NULL if it has none. */
const struct gguf_tensor *peer_find_tensor(const struct gguf *g, const char *name);
struct str peer_own_name(struct str name);	/* our name of a tensor; others' names of it become ours */
bool peer_is_pre(struct str pre, const char *known);	/* names of one pre-tokenizer */
/* ERR_UNSUPPORTED, with what and whose it is, for layouts that are not read here. */
enum status peer_check(const struct gguf *g, const char *path, struct err *e) MUST_USE;
/* Layers of the trunk, by the file's block_count and nextn_predict_layers and the tensors that it has. */
uint64_t peer_blocks(const struct gguf *g, uint64_t blocks, uint64_t nextn);

/* ---- census.c: what the model weighs --------------------------------------------------------*/

struct census {
	uint64_t total, routed;		/* parameters of the trunk, and of its routed experts */
	uint64_t active;		/* per token, without the embedding's look-up */
	uint64_t mtp;			/* parameters that one MTP block adds */
	size_t n_tensors;		/* of the trunk, as a GGUF holds it */
	uint32_t n_window, n_sparse, n_heavy;	/* layers of ratio 0, 4, 128 */
};
enum status census_take(struct census *c, const struct arch *a, struct err *e) MUST_USE;
/* Bytes of compressed KV cache at that many tokens, in the mixed format of the V4 report (FP8
 * with scales, BF16 rotary part, FP4 indexer keys); the windows' few MB are left out. */
double census_kv_bytes(const struct census *c, const struct arch *a, double context);
/* Arithmetic for one token after that many, in FP8-equivalent operations (FP8 x1, BF16 attention
 * x2, FP4 indexer x0.5; two operations a multiply-add). */
double census_flops(const struct census *c, const struct arch *a, double context);
double census_v32_kv_bytes(double context);	/* the same for DeepSeek-V3.2 */
double census_v32_flops(double context);

/* ---- source.c: where a tensor of the model lies in a checkpoint -----------------------------*/

enum naming { NAMING_DEEPSEEK, NAMING_TRANSFORMERS };
enum naming naming_of(const struct checkpoint *c);

enum source_kind {
	SOURCE_PLAIN,	/* numbers as they are: BF16, F16, F32, I64, I32 */
	SOURCE_FP8,	/* E4M3 times a scale per block_rows x block_cols */
	SOURCE_FP4,	/* E2M1, two a byte, low nibble first, times E8M0 per block_cols in a row */
};
/* A matrix in a checkpoint: numbers and geometry, no bytes. Value of element (r, c):
 * weight[r][c] * scale[r / block_rows][c / block_cols]. */
struct source_layout {
	enum source_kind kind;
	enum dtype type, scale_type;	/* scale_type DT_NONE for plain; F8_E8M0 or F32 */
	uint64_t rows, cols;		/* elements, not bytes */
	uint64_t block_rows, block_cols;
	uint64_t scale_cols;		/* scales in a row of blocks */
};
struct source_matrix {
	struct source_layout l;
	const struct st_tensor *weight, *scale;	/* borrowed from the checkpoint; scale may be NULL */
	uint64_t weight_off, scale_off;	/* bytes from the start of those tensors (stacked experts) */
};
/* "mtp.*": the MTP block's names, which draft modules of another make take too. */
bool source_is_mtp(const struct st_tensor *t);
/* Whether such modules (DSpark) are what is there; the architecture does not describe them. */
bool source_has_draft(const struct checkpoint *c);
/* Before a loop over every expert that config.json claims: could these tensors hold them? */
bool source_can_hold(const struct checkpoint *c, const struct arch *a);
/* How many source matrices stand side by side in each row: 2 for eh_proj (e_proj | h_proj). */
unsigned want_parts(const struct want *w);
/* Finds matrix `matrix` (expert, else 0), part `part` of w. What is missing or mis-shaped becomes
 * a line of problems, and *found is false. */
void source_bind(struct source_matrix *m, bool *found, const struct checkpoint *c, const struct arch *a,
		 const struct want *w, uint64_t matrix, unsigned part, struct log *problems);
/* Elements [e0, e1) (row-major) of a matrix lie in these bytes of its weight, counted from
 * weight_off; e0 and e1 even for FP4. */
void source_weight_range(const struct source_layout *l, uint64_t e0, uint64_t e1, uint64_t *b0, uint64_t *b1);
/* ... and use the scales [s0, s1), numbered row-major from scale_off. */
void source_scale_range(const struct source_layout *l, uint64_t e0, uint64_t e1, uint64_t *s0, uint64_t *s1);

/* ---- vocab.c: tokens, merges, special ids ---------------------------------------------------*/

enum token_type { TOKEN_NORMAL = 1, TOKEN_CONTROL = 3, TOKEN_USER = 4, TOKEN_UNUSED = 5 };
enum { TOKEN_NONE = UINT32_MAX };
struct vocab {
	char *text;			/* owned: what the strs below point into (may be several files) */
	char *text2;
	struct str *tokens;		/* owned; index = id; byte-level alphabet for normal tokens */
	uint8_t *types;			/* owned; enum token_type */
	uint32_t n_tokens;		/* = rows of the embedding */
	struct str *merges;		/* owned; "left right" */
	uint32_t n_merges;
	char *owned_strings;		/* owned; merges and fillers made here */
	uint32_t bos, eos, pad;		/* TOKEN_NONE where unknown */
	bool add_bos, add_eos;
	char pre[32];			/* llama.cpp's name of the pre-tokenizer: "joyai-llm" */
	struct str chat_template;	/* n = 0 where the source has none */
	char *template_text;		/* owned */
};
/* From tokenizer.json, with tokenizer_config.json and chat_template.jinja where present (NULL
 * else). n_vocab: rows of the embedding; ids above it are refused, holes get [PADn]. A
 * pre-tokenizer other than the known one is refused. bos, eos: config.json's. */
enum status vocab_from_files(struct vocab *v, const struct source_file *tokenizer,
			     const struct source_file *tokenizer_config,
			     const struct source_file *chat_template, uint32_t n_vocab,
			     uint32_t bos, uint32_t eos, struct log *notes, struct err *e) MUST_USE;
enum status vocab_from_gguf(struct vocab *v, const struct gguf *g, const char *path, struct err *e) MUST_USE;
/* All tokenizer.* keys. */
void vocab_to_gguf(const struct vocab *v, struct gguf_writer *w);
void vocab_close(struct vocab *v);

#endif
