/* SPDX-License-Identifier: MIT
 *
 * runtime.h - a model that is run: from a GGUF or from a checkpoint directory, layer by layer over
 * a batch of tokens, in float32 with weights streamed from the file.
 *
 * Invariant: every figure is the same for any number of threads, any tile size, any processor,
 * and for a checkpoint and its lossless GGUF: an output element is computed by one thread, in an
 * order that only shapes decide, from weights decoded exactly to float32. The official roundings
 * of activations are an option of a run (round.c) and keep this.
 * Reading order: ops.c, weights.c, linear.c, forward.c, kv.c, then hyper.c, attention.c, compressor.c,
 * moe.c, round.c, mtp.c; perplexity.c uses them, and parity.c for two models; session.c for one
 * sequence, which run.h builds on.
 */
#ifndef RUNTIME_RUNTIME_H
#define RUNTIME_RUNTIME_H

#include <pthread.h>
#include <stdatomic.h>

#include "quantize/quantize.h"

/* ---- pool.c: threads that wait for work ---------------------------------------------------*/

enum { POOL_MAX_THREADS = 256 };
struct pool_worker { struct pool *pool; pthread_t thread; unsigned i; };
/* Zeroed = closed; not to be moved while open. */
struct pool {
	unsigned n;			/* threads, the caller's included */
	struct pool_worker *workers;	/* owned; n - 1 started */
	unsigned n_started;
	pthread_mutex_t mutex;
	pthread_cond_t start, done;
	void (*task)(void *ctx, unsigned i, unsigned n);
	void *ctx;
	_Atomic uint64_t round;
	_Atomic unsigned pending;
	_Atomic bool quit;
	bool open, spins;
};
enum status pool_open(struct pool *p, unsigned n_threads, struct err *e) MUST_USE;
/* Calls task(ctx, i, n) for i = 0..n-1, each in its own thread (0 in the caller's), and waits. */
void pool_run(struct pool *p, void (*task)(void *ctx, unsigned i, unsigned n), void *ctx);
void pool_close(struct pool *p);
/* Share i of n of n_items: [*from, *to). */
void pool_share(size_t n_items, unsigned i, unsigned n, size_t *from, size_t *to);

/* ---- kernels.c: inner loops for the processor at hand ----------------------------------------*/

/* Takes the set that INGOT_KERNELS names; ERR_USAGE where there is none such or it cannot run here.
 * Without the variable the widest usable set is taken. All sets give the same bits. */
enum status kernels_init(struct err *e) MUST_USE;
const char *kernels_name(void);

/* ---- ops.c: arithmetic on float32 in memory -----------------------------------------------*/

enum { HYPER_MAX = 8 };			/* residual streams */
/* y[t * y_stride + r] = sum over c of w[r * cols + c] * x[t * x_stride + c].
 * Sixteen float32 lanes (c modulo 16, ascending) of fused multiply-adds, then added as a fixed tree:
 * 8, 4, 2, 1 apart. */
struct matmul {
	const float *w;			/* (rows, cols) */
	size_t rows, cols;
	const float *x;			/* (n, x_stride) */
	size_t n, x_stride;
	float *y;			/* (n, y_stride) */
	size_t y_stride;
	bool wide;			/* the lanes are double: for results that are then rounded */
};
void ops_matmul(const struct matmul *m);
double ops_dot_wide(const float *w, const float *x, size_t n);	/* one sum of a wide product */
/* out[c] = fused a[i] * rows[i * d + c] + out[c] for i = 0..n-1 in this order. */
void ops_mix(float *out, size_t d, const float *rows, const float *a, size_t n);
/* The same for out (heads, d), each with its own a (heads, a_stride). */
void ops_mix_heads(float *out, size_t heads, size_t d, const float *rows, const float *a, size_t a_stride,
		   size_t n);
/* x[i] = exp(x[i] scale - top) / (sum of them + exp(sink - top)), top the largest of all. */
void ops_softmax(float *x, size_t n, double scale, double sink);
float ops_exp(float x);			/* to 1 ulp, the same on every processor */
/* gate = silu(min(gate, limit)) * clamp(up, -limit, limit) * weight */
void ops_swiglu(float *gate, const float *up, size_t n, float limit, float weight);
/* The softmax-weighted mean over i < n of every channel c < d of value[i], by gate[i] + bias[i]. */
void ops_pool(float *out, size_t d, size_t n, const float *const *gate, const float *const *bias,
	      const float *const *value);
/* streams (n, d), n <= HYPER_MAX: new[k] = post[k] y + sum over j of comb[j * n + k] old[j]. */
void ops_spread(float *streams, size_t d, size_t n, const float *y, const float *post, const float *comb);
/* y = x / sqrt(mean(x^2) + eps) * w, the mean in double; w may be NULL, y may be x. */
void ops_rms_norm(float *y, const float *x, const float *w, size_t n, double eps);
double ops_rms_scale(const float *x, size_t n, double eps);	/* 1 / sqrt(mean(x^2) + eps) */
double ops_sigmoid(double x);
double ops_softplus(double x);
/* Sylvester's Walsh-Hadamard transform times n^-0.5; n a power of two. */
void ops_hadamard(float *x, size_t n);
/* Angles per position of pair i of n_rot / 2, by layer kind (YaRN on compressed layers only). */
void ops_rope_freqs(double *freq, const struct arch *a, bool compressed);
/* cos and sin of pos * freq[i], i < n_pairs, interleaved. */
void ops_rope_row(double *cos_sin, const double *freq, size_t n_pairs, uint64_t pos);
/* Turns adjacent pairs x[2i], x[2i + 1], in float32; backwards if inverse. */
void ops_rope(float *x, const double *cos_sin, size_t n_pairs, bool inverse);
/* log of the sum of exp(z[i] - z[*top]) in double, in index order; *top: the lowest index of the
 * maximum. */
double ops_log_sum(const float *z, size_t n, size_t *top);
/* log softmax(z)[target] in double, in index order; *best: the lowest index of the maximum. */
double ops_log_prob(const float *z, size_t n, size_t target, uint32_t *best);

/* ---- topk.c ------------------------------------------------------------------------------*/

/* The k <= n < 2^32 indexes of the largest scores, ascending; among equals the lowest index wins, NaN
 * counts as -infinity. Linear in n whatever the scores are; scratch has room for n. */
void ops_top_k(const double *score, size_t n, size_t k, uint64_t *scratch, uint32_t *out);

/* ---- model.c: a GGUF file or a checkpoint directory ---------------------------------------*/

/* Zeroed is NOT closed (descriptors): start from MODEL_NONE. */
struct model {
	char *path;			/* owned */
	const struct source_options *source;	/* borrowed; may be NULL */
	bool is_gguf;
	struct gguf_set set;		/* the GGUF's files */
	struct checkpoint ckpt;
	struct arch arch;
	enum model_part part;
	struct wants wants;		/* of the trunk, or of the MTP block */
	struct weight *weights;		/* owned; bound, one a want */
	uint32_t *weight_at;		/* owned; by layer and role, 1 + index into weights, or 0 */
	size_t n_weight_at;
	struct store *store;		/* owned: weights in memory, closed until store_start */
};
#define MODEL_NONE ((struct model){ .ckpt = CHECKPOINT_NONE })
/* Reads headers and checks that every tensor of the trunk is there, of the right shape and of a
 * type that can be decoded. What is wrong beyond the first finding is in notes. */
enum status model_open(struct model *m, const char *path, struct log *notes, struct err *e) MUST_USE;
/* The same for the one part: what a run of the MTP block needs (mtp_open). source: how a checkpoint is opened, borrowed for
 * the model's life; may be NULL. */
enum status model_open_part(struct model *m, const char *path, enum model_part part, const struct source_options *source,
			    struct log *notes, struct err *e) MUST_USE;
/* The trunk of headers that are open already, of a checkpoint or of a GGUF (the other is NULL), which say a. They are the
 * model's from here on, also if it fails, and what was given is closed. */
enum status model_take(struct model *m, const char *path, struct checkpoint *c, struct gguf_set *s, const struct arch *a,
		       struct log *notes, struct err *e) MUST_USE;
/* The model's own vocabulary; *found false where the model carries none. */
enum status model_vocab(const struct model *m, struct vocab *v, bool *found, struct log *notes,
			struct err *e) MUST_USE;
/* The files are what they were when they were opened, else ERR_IO. */
enum status model_unchanged(const struct model *m, struct err *e) MUST_USE;
uint64_t model_header_bytes(const struct model *m);	/* memory that the open model holds, about */
uint64_t model_tensor_bytes(const struct model *m);	/* of the trunk, on the disk */
void model_close(struct model *m);

/* ---- weights.c: values of one tensor ------------------------------------------------------*/

/* Row-major blocks of a type that codec_decode takes. bytes is borrowed: from the store while it is
 * held, or from the scratch it was read with until that is used again. */
struct rows { enum dtype type; const uint8_t *bytes; };
struct weight {
	const struct model *model;
	const struct want *want;
	const struct gguf_tensor *tensor;	/* NULL for a checkpoint */
	uint64_t n_matrices, rows, cols;	/* one-dimensional tensors are one row */
	unsigned parts;				/* source matrices side by side in a row */
	/* rows [r0, r1) of matrix, held in memory (weight_hold); rows.bytes NULL where none are */
	struct { size_t unit; uint64_t matrix, r0, r1; struct rows rows; bool done; } held;
};
/* Buffers of a reader; zeroed = empty; one thread at a time. */
struct weight_scratch {
	uint8_t *raw, *scale;		/* owned: as in the file */
	uint8_t *made;			/* owned: repacked or decoded */
	float *part;			/* owned: one of several parts of rows, ids */
	size_t raw_cap, scale_cap, made_cap, part_cap;
	const struct disk *disk;	/* borrowed; how it reads, NULL for the usual way */
};
/* Also checks shape and type against the file, so a bound weight can be read. */
enum status weight_bind(struct weight *w, const struct model *m, enum role role, uint32_t layer,
			struct err *e) MUST_USE;
/* Rows [r0, r1) of a matrix, all finite or an error: a GGUF's blocks as they are; of a checkpoint,
 * plain numbers as they are, FP4 as MXFP4, FP8 as BF16 where that holds every value of these rows,
 * and else float32. The same values from a source and its lossless GGUF. Held rows are given where
 * they lie (BF16 may be packed there, see store_pack), others are read into the scratch. Thread-safe. */
enum status weight_raw(const struct weight *w, uint64_t matrix, uint64_t r0, uint64_t r1, struct rows *out,
		       struct weight_scratch *s, struct err *e) MUST_USE;
/* The same as exact float32. */
enum status weight_rows(const struct weight *w, uint64_t matrix, uint64_t r0, uint64_t r1, float *out,
			struct weight_scratch *s, struct err *e) MUST_USE;
/* The same without a check, always from the file: NaN where a code stands for no number. */
enum status weight_values(const struct weight *w, uint64_t matrix, uint64_t r0, uint64_t r1, float *out,
			  struct weight_scratch *s, struct err *e) MUST_USE;
/* The whole of a small tensor, or n elements if it has that many (else ERR_FORMAT). */
enum status weight_all(const struct model *m, enum role role, uint32_t layer, float *out, uint64_t n,
		       struct weight_scratch *s, struct err *e) MUST_USE;
/* One row of a table of expert ids, checked: in range, no id twice. */
enum status weight_ids(const struct weight *w, uint64_t row, uint32_t *ids, struct weight_scratch *s,
		       struct err *e) MUST_USE;
void weight_scratch_close(struct weight_scratch *s);
enum status weights_open(struct model *m, struct err *e) MUST_USE;	/* model_open's part */

/* ---- store.c: weights in memory, read ahead of the run ----------------------------------------*/

/* Until store_start, and for the tables that are looked up by row (embedding, expert ids), weights
 * are read where they are used. After it a bounded memory holds matrices, or runs of rows of large
 * ones; threads of its own read what feed.c says comes next, and what will not be wanted for longest
 * makes room. No figure depends on any of it. */
/* Bytes: the least budget that store_start takes, and the one from which on all weights stay. */
uint64_t store_least(const struct model *m);
uint64_t store_most(const struct model *m);
/* budget: of all that the store holds, in bytes. Again: it starts anew, empty; no weight may be held.
 * ERR_NOMEM, saying what is needed, below store_least. */
enum status store_start(const struct model *m, uint64_t budget, struct err *e) MUST_USE;
/* From now on, until store_start, BF16 rows that came from FP8 are packed as they are read (pack_rows): each
 * use of them reads half as much memory, and twice as many stay in it; reading takes a little longer. For
 * runs that use weights again and again, a token at a time. */
void store_pack(const struct model *m);
/* Waits until rows from r0 on are in memory, and holds them there: [r0, *end), *end <= r1. Where
 * nothing can be held *end is r1 and weight_raw reads. w is the caller's own copy, held by it until
 * weight_release. From one thread at a time, the one that runs the layers. */
enum status weight_hold(struct weight *w, uint64_t matrix, uint64_t r0, uint64_t r1, uint64_t *end,
			struct err *e) MUST_USE;
void weight_release(struct weight *w);
/* Matrices like this one, or runs of rows where it is divided, that can be held at a time and leave the
 * readers as much room; at least one. */
uint64_t weight_holds(const struct weight *w);
struct store_stats {
	uint64_t read_bytes;		/* so far, by row as well */
	uint64_t kept_bytes, budget;	/* in memory now; may be */
	double wait_seconds;		/* the run waited for a reader */
	double read_seconds;		/* at least one reader was reading */
};
void store_stats(const struct model *m, struct store_stats *st);

/* ---- feed.c: what the run will want next -----------------------------------------------------*/

struct forward;
/* A layer begins, or with LAYER_NONE the output. */
void feed_layer(const struct forward *f, uint32_t layer);
/* Its router has chosen (f->first). */
void feed_experts(const struct forward *f, uint32_t layer);

/* ---- check.c: what can be known before a long run -----------------------------------------*/

/* Reads all small tensors, routers, tables of expert ids and FP8 scales (under a hundredth of
 * a model): ERR_FORMAT for a value that is not finite or an expert that there is not. */
enum status model_check(const struct model *m, struct err *e) MUST_USE;

/* ---- linear.c: products with streamed weights ---------------------------------------------*/

enum { TILE_FLOATS = 1 << 17 };		/* of decoded weights that a thread holds at a time */
/* What one thread works in. */
struct lane {
	struct weight_scratch scratch;
	float *tile;			/* owned: rows being multiplied */
	size_t tile_cap;
	float *work;			/* owned: attention's scores and gathered rows */
	size_t work_cap;
	double *score;			/* owned */
	uint64_t *ranked;		/* owned: scratch of ops_top_k */
	size_t score_cap, ranked_cap;
	enum status status;
	struct err err;
	size_t tile_at;			/* whose error it is, if products fail */
};
struct linear;
struct engine {
	struct pool *pool;
	struct lane *lanes;		/* owned, one a thread */
	float *packed;			/* owned: tokens as products with many take them */
	size_t packed_cap;
	bool official;			/* activations are rounded as DeepSeek's code does */
	bool (*tick)(void *ctx);	/* before each product; false ends the run. May be NULL */
	void *tick_ctx;
	/* each product's inputs, as they are multiplied (n rows of x_stride). May be NULL */
	enum status (*see)(void *ctx, const struct linear *l, const float *x, struct err *e);
	void *see_ctx;
};
enum status engine_open(struct engine *g, struct pool *pool, struct err *e) MUST_USE;
void engine_close(struct engine *g);
/* Runs task in every thread; the first lane's error, in order, becomes *e. */
enum status engine_run(struct engine *g, void (*task)(void *ctx, unsigned i, unsigned n), void *ctx,
		       struct err *e) MUST_USE;
/* y = W x for rows [row0, row0 + n_rows) of one matrix and n tokens; y column 0 is row0. With
 * official activations x and y are rounded as the matrix's role asks. */
struct linear {
	const struct weight *w;
	uint64_t matrix, row0, n_rows;
	const float *x; size_t n, x_stride;
	float *rounded;			/* where x goes if it must be rounded: like x, or x itself */
	float *y; size_t y_stride;
	float *y_low;			/* like y, or NULL: official sums that are not rounded are y + y_low */
};
enum status linear(struct engine *g, const struct linear *l, struct err *e) MUST_USE;
/* n <= MOST_TOGETHER of them with the same numbers of rows and columns, at once: less waiting. Those of the
 * same tokens follow each other; if tokens differ, there are at most linear_most_tokens of them. */
enum { MOST_TOGETHER = 16 };
enum status linear_together(struct engine *g, const struct linear *l, size_t n, struct err *e) MUST_USE;
size_t linear_most_tokens(size_t cols);
/* Memory of the lanes and of packed tokens for a model and batches of n_tok tokens, about. */
uint64_t engine_bytes(unsigned n_threads, uint64_t n_tok, const struct wants *wants);

/* ---- kv.c: what the layers keep of a sequence ----------------------------------------------*/

/* One layer's, after pos tokens. [0] is attention's, [1] the indexer's, NULL where it never picks. */
struct kv_layer {
	float *raw;			/* the last min(pos, window - 1) rows (head_dim), oldest first */
	float *rows[2];			/* (n_ctx / ratio, head_dim or idx_dim), pos / ratio are there */
	float *up[2], *gate[2];		/* the compressor's products that a block to come needs */
	float *up_low[2], *gate_low[2];	/* their low parts, with official activations */
};
/* Zeroed = closed. */
struct kv {
	const struct arch *arch;	/* borrowed */
	uint32_t n_ctx, pos;		/* room, and tokens so far */
	struct kv_layer *layers;	/* owned; (n_layer) */
	uint64_t bytes;			/* allocated for the above arrays: kv_bytes */
};
/* 4 bytes times the sum over layers of
 *	(min(window, n_ctx) - 1) head_dim				raw rows
 *	+ (n_ctx / r) (head_dim + idx) + 4 p (head_dim + idx)		only if r > 0 and n_ctx >= r
 * r: the layer's ratio; idx: idx_dim where a position may see more rows than the indexer may pick, else 0;
 * p: r - 1 products for an open block, 2 (2 r - 1) for r = 4: two halves, and also the block before;
 * four floats each: up and gate, and their low parts.
 * UINT64_MAX where it does not fit 64 bits. Pages that no row has reached cost address space only. */
uint64_t kv_bytes(const struct arch *a, uint32_t n_ctx);
enum status kv_open(struct kv *kv, const struct arch *a, uint32_t n_ctx, struct err *e) MUST_USE;
void kv_close(struct kv *kv);
/* Of n_kept rows followed by n_fresh ones, all `width` wide, leaves those after the first `drop` in kept. */
void kv_slide(float *kept, size_t n_kept, const float *fresh, size_t n_fresh, size_t drop, size_t width);

/* ---- forward.c: the architecture over a batch ---------------------------------------------*/

/* n_seq sequences of n_new tokens each, all at positions pos .. pos + n_new - 1; token i of sequence
 * s is row s * n_new + i everywhere. Either the sequences begin and end with the batch, or there is
 * one and `past` has the positions before it. */
struct forward {
	const struct model *trunk;	/* borrowed */
	const struct model *model;	/* whose weights are next: the trunk's, or the MTP block's */
	const struct arch *arch;	/* the model's */
	struct engine engine;
	struct kv *past;		/* borrowed, or NULL */
	uint32_t n_ctx;			/* positions that a sequence has room for */
	uint32_t pos, n_new, max_new, n_seq, max_seq;
	uint32_t keep_from, keep_to;	/* of a sequence's n_new: those that go on behind the next layer's keys */
	uint32_t layer;			/* at work, or the last that was; for progress */
	uint32_t skipped, n_rows;	/* tokens of a sequence left out before pos; its rows in kv, up and gate */
	size_t n_tok;			/* n_seq * n_new */
	uint32_t *ids;			/* (n_tok) */
	float *stream;			/* (n_tok, n_hc, n_embd) */
	float *x, *y;			/* (n_tok, n_embd): a sub-layer's input and output */
	float *mix;			/* (n_tok, (2 + n_hc) n_hc) */
	double *post, *comb;		/* (n_tok, n_hc), (n_tok, n_hc, n_hc) */
	float *low;			/* (n_tok, widest): low parts of mix, of router or of y */
	double *freq[2];		/* (n_rot / 2): plain, compressed */
	double *rope[2];		/* (n_new, n_rot): the batch's positions */
	double *turn;			/* (threads, n_turn): a row's angles, or a row of the indexer */
	size_t n_turn;
	/* attention */
	float *qa, *kv;			/* (n_tok, q_lora), (n_seq, n_rows, head_dim) */
	float *up, *gate;		/* compressor's products (n_tok, channels) */
	float *up_low, *gate_low;	/* their low parts */
	float *rows;			/* compressed rows (n_seq, n_ctx / ratio, head_dim), without a past */
	float *q, *z;			/* one group's heads (n_tok, H / G, head_dim); (n_tok, G o_lora) */
	float *idx_q, *idx_w;		/* (n_tok, idx_head, idx_dim), (n_tok, idx_head) */
	float *idx_rows;		/* (n_seq, n_ctx / ratio, idx_dim), without a past */
	double *idx_score;		/* (score_rows, n_ctx / ratio): of a few tokens at a time */
	size_t score_rows;
	uint32_t *pick;			/* (n_tok, idx_topk) where more rows than that may be visible */
	/* experts */
	float *router;			/* (n_tok, n_expert) */
	uint32_t *expert; double *expert_weight;	/* (n_tok, n_expert_used) */
	uint32_t *order;		/* (n_tok * n_expert_used), pairs sorted by expert */
	uint32_t *first;		/* (n_expert + 1) into order */
	float *ex_x, *ex_y, *ex_gate, *ex_up;	/* (n_pairs, n_embd) twice, (n_pairs, n_ff) twice */
	size_t n_pairs;			/* >= n_tok; rows of these */
	float *pair;			/* owned, grown by forward_mtp: (n_tok, 2 n_embd) */
	size_t pair_cap;
};
/* Bytes that a batch of whole sequences needs, tiles apart; UINT64_MAX where they do not fit 64 bits. */
uint64_t forward_bytes(const struct arch *a, uint32_t n_ctx, uint64_t n_seq, unsigned n_threads);
enum status forward_open(struct forward *f, const struct model *m, struct pool *pool, uint32_t n_ctx,
			 uint32_t max_seq, struct err *e) MUST_USE;
/* The same for batches of at most max_new tokens that continue one sequence; past is borrowed and its
 * bytes are not in the sum. */
uint64_t forward_step_bytes(const struct arch *a, uint32_t n_ctx, uint32_t max_new, unsigned n_threads);
enum status forward_open_past(struct forward *f, const struct model *m, struct pool *pool, struct kv *past,
			      uint32_t max_new, struct err *e) MUST_USE;
void forward_close(struct forward *f);
/* A new batch: n_seq <= max_seq sequences of n_ctx ids, all below n_vocab. */
enum status forward_start(struct forward *f, const uint32_t *ids, uint32_t n_seq, struct err *e) MUST_USE;
/* A new batch: the next n_new <= max_new ids after past->pos, which the caller moves on once every
 * layer has run. Each layer's run adds to the past: it can be done once only. */
enum status forward_step(struct forward *f, const uint32_t *ids, uint32_t n_new, struct err *e) MUST_USE;
enum status forward_layer(struct forward *f, uint32_t layer, struct err *e) MUST_USE;
/* forward_layer, after which only tokens [from, to) of each sequence's batch are wanted, from < to <= n_new: the
 * others give their keys and are then left out, so that the last layer costs no more than what is asked of it.
 * The same bits for those that stay, whose rows close up (skipped = from, n_new = to - from). */
enum status forward_last_layer(struct forward *f, uint32_t layer, uint32_t from, uint32_t to, struct err *e) MUST_USE;
/* After the last layer: hidden rows ready for the output matrix, for tokens [from, to) of each
 * sequence's batch, none of them left out, packed into x: row s * (to - from) + i. */
enum status forward_head(struct forward *f, uint32_t from, uint32_t to, struct err *e) MUST_USE;
/* Logits (n, n_vocab) of packed rows [row, row + n). */
enum status forward_logits(struct forward *f, size_t row, size_t n, float *logits, struct err *e) MUST_USE;

/* ---- mtp.c: the block that predicts one token further --------------------------------------*/

/* The MTP block of an open model: from path, or, if that is NULL, from where the trunk is (the
 * checkpoint itself; mtp-NAME beside a GGUF). ERR_UNSUPPORTED, saying why, where there is none. */
enum status mtp_open(struct model *mtp, const struct model *trunk, const char *path, struct log *notes,
		     struct err *e) MUST_USE;
uint64_t mtp_bytes(const struct arch *a, uint32_t n_ctx, uint64_t n_seq);	/* beyond forward_bytes */
/* After the trunk's last layer, whole sequences and all their tokens only: on through the block. Until the next
 * forward_start, forward_head and forward_logits are then the block's: the row of token t predicts
 * token t + 2; those of a sequence's last token mean nothing. */
enum status forward_mtp(struct forward *f, const struct model *mtp, struct err *e) MUST_USE;

/* ---- session.c: one sequence that grows -------------------------------------------------------*/

/* Zeroed = closed; not to be moved while open. engine.tick of f may be set between calls. */
struct session {
	struct forward f;
	struct kv kv;
	bool failed;			/* an error left the state half written */
};
/* Weights get what max_memory leaves; a second session of the model starts the store anew.
 * Room for n_ctx tokens, of which at most n_batch go through the layers together. The model and the
 * pool are borrowed until session_close. ERR_UNSUPPORTED for a context beyond the model's, ERR_NOMEM,
 * saying what is needed, where that is more than max_memory bytes. */
enum status session_open(struct session *s, const struct model *m, struct pool *pool, uint32_t n_ctx,
			 uint32_t n_batch, uint64_t max_memory, bool official, struct err *e) MUST_USE;
/* Appends n ids. logits (n_vocab) of the last one, or NULL. Bits do not depend on how a text is
 * divided over calls or batches. ERR_UNSUPPORTED, changing nothing, beyond n_ctx; after any other
 * error the session can only be closed. */
enum status session_eval(struct session *s, const uint32_t *ids, uint32_t n, float *logits,
			 struct err *e) MUST_USE;
uint32_t session_pos(const struct session *s);	/* tokens so far */
/* max_memory from which on session_open takes these; UINT64_MAX where it does not fit 64 bits. */
uint64_t session_least(const struct model *m, uint32_t n_ctx, uint32_t n_batch, unsigned n_threads);
/* Memory of a session, the threads' tiles and the model's headers apart; UINT64_MAX where it does not
 * fit 64 bits. */
uint64_t session_bytes(const struct arch *a, uint32_t n_ctx, uint32_t n_batch, unsigned n_threads);
void session_close(struct session *s);

/* ---- parity.c: how far a model is from its reference -----------------------------------------*/

/* Sum of p (ln p - ln q), p the softmax of the reference's logits and q of the model's: in double,
 * in index order, exactly 0 for equal logits. */
double parity_kld(const float *reference, const float *model, size_t n);
struct parity_row { double ref_log_prob, log_prob, kld; bool same_best; };
struct parity_sum { double sum, sum2; };
struct estimate { double mean, error; };
/* Sums over values of the residual streams. */
struct layer_error { double diff2, ref2, model2, dot, max; };
/* Zeroed = closed. The figures are there after parity_finish, and only if n > 0. */
struct parity {
	uint64_t n, room, n_same;
	double *kld;			/* owned; (room), ascending in the end */
	struct parity_sum sum_kld, sum_nll, sum_ratio, sum_change, sum_change2;
	struct layer_error *layers;	/* owned; [0] the embedding, [l + 1] after layer l. Or NULL */
	size_t n_layers;
	struct estimate ref_ppl, ratio, ln_ratio;	/* model over reference, errors of paired samples */
	struct estimate mean_kld;
	struct estimate same_best;	/* share of positions, 0..1 */
	struct estimate change, rms_change;	/* of the correct token's probability */
};
/* Room for n_scored rows, and for layers where n_layer is not 0. */
enum status parity_open(struct parity *p, uint64_t n_scored, uint32_t n_layer, struct err *e) MUST_USE;
void parity_add(struct parity *p, const struct parity_row *r);
void parity_finish(struct parity *p);
/* Of the KL divergences, 0 <= percent <= 100, linear between neighbours. */
double parity_percentile(const struct parity *p, double percent);
void parity_close(struct parity *p);
void layer_error_of(struct layer_error *l, const float *reference, const float *model, size_t n);
void layer_error_add(struct layer_error *l, const struct layer_error *more);
double layer_error_rms(const struct layer_error *l);	/* relative to the reference's */
double layer_error_cosine(const struct layer_error *l);
/* ERR_MISMATCH, naming what differs, where the two cannot be compared. */
enum status parity_check(const struct model *m, const struct model *reference, struct err *e) MUST_USE;
enum status parity_check_vocab(const struct vocab *v, const char *path, const struct vocab *reference,
			       const char *ref_path, struct err *e) MUST_USE;

/* ---- perplexity.c --------------------------------------------------------------------------*/

struct perplexity_options {
	const uint32_t *ids;		/* borrowed: the whole text */
	uint64_t n_ids, max_chunks;	/* max_chunks 0: all */
	uint32_t n_ctx;
	uint32_t bos;			/* put in place of each chunk's first token, or TOKEN_NONE */
	uint64_t max_memory;
	bool official;			/* activations rounded as in DeepSeek's code, else float32 */
	const char *path;		/* of the text, for messages */
	const struct model *reference;	/* borrowed; run in lockstep with the model. Or NULL */
	bool per_layer;			/* with a reference: also compare the streams after each layer */
	const struct model *mtp;	/* borrowed: the model's MTP block, if it is to be measured, too */
	const struct model *ref_mtp;	/* the reference's; with a reference both are given, or none */
	struct collector *collect;	/* borrowed: sums of the model's inputs (collect.h), or NULL */
};
/* White-space separated decimal ids, each below n_vocab. *ids is owned by the caller. */
enum status perplexity_read_ids(const char *text, size_t n, uint32_t n_vocab, const char *path, uint32_t **ids,
				uint64_t *n_ids, struct err *e) MUST_USE;
enum { PERPLEXITY_MODELS = 4 };
/* How the work divides; all of it is known before a weight is read. */
struct perplexity_plan {
	uint64_t n_chunks, n_left_over;	/* whole chunks that are scored; ids after them */
	uint64_t first, scored;		/* first scored position of a chunk, and how many */
	uint64_t batch, n_batches;	/* chunks a batch; weights are read once a batch */
	uint64_t logits_rows;
	uint64_t store[PERPLEXITY_MODELS];	/* bytes for weights: of the model, the reference, MTP blocks */
	uint64_t memory;		/* all of it, these included */
	uint64_t bytes;			/* of weights passed, for progress */
};
struct perplexity_row {
	uint64_t index;			/* of the target in the text's ids */
	uint32_t ahead;			/* 1: of the next token; 2: the MTP block's, of the one after */
	uint32_t token, best;
	double log_prob, best_log_prob;
	/* only with a reference: its own, then how likely each finds what the other puts first */
	double ref_log_prob, kld, ref_best_log_prob;
	double best_by_ref, ref_best_by_model;	/* log-probabilities */
	uint32_t ref_best;
};
/* All called from the caller's thread, in index order (rows ahead by 2 follow a batch's others).
 * row and chunk may be NULL. */
struct perplexity_sink {
	void *ctx;
	bool (*go_on)(void *ctx, uint64_t done, const char *what);	/* often; false ends the run */
	enum status (*row)(void *ctx, const struct perplexity_row *r, struct err *e);
	void (*chunk)(void *ctx, uint64_t number, double estimate);
};
struct perplexity_result {
	uint64_t n_scored;
	double nll, nll2, ppl, error;
	struct parity parity;		/* owned (parity_close); empty without a reference */
};
/* ERR_MISMATCH for a reference of other dimensions,
 * ERR_UNSUPPORTED for a text that is too short or a context that does not fit the model,
 * ERR_NOMEM (saying what is needed) where one chunk does not fit max_memory. */
enum status perplexity_plan(struct perplexity_plan *p, const struct model *m, unsigned n_threads,
			    const struct perplexity_options *o, struct err *e) MUST_USE;
/* r: one result; with o->mtp two, the second that of the token after the next. */
enum status perplexity(struct perplexity_result *r, const struct model *m, struct pool *pool,
		       const struct perplexity_options *o, const struct perplexity_plan *p,
		       const struct perplexity_sink *sink, struct err *e) MUST_USE;

#endif
