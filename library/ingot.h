/* SPDX-License-Identifier: MIT
 *
 * ingot.h - Ingot as a library: what a model is, what a conversion would make, the conversion, its check, and
 * how a model predicts a text.
 *
 * Paths. SOURCE is a checkpoint as `hf download` leaves it, or an archive of it; a MODEL is a GGUF or a SOURCE.
 *
 * Structures begin with `size`: zero the whole, set size to sizeof of it, then fill in what you want; 0 and NULL
 * are the defaults. A program that was built with a shorter structure keeps working, for options and for results.
 *	struct ingot_run run = { .size = sizeof run };
 *
 * Errors. Every call that can fail returns an enum ingot_code (as int), the exit code of the same command of
 * `ingot`, and fills in the error, which may be NULL. The message is one line, "FILE: WHAT (tensor NAME, bytes A..B): WHY;
 * NEXT STEP"; where it names an option, it is the command's. Bytes that are no printable UTF-8 are \xNN in every text.
 *
 * Ownership. A handle is yours and goes back by its own _close, which takes NULL. Texts in results are the handle's
 * and live as long as it; what a callback gets lives until it returns.
 *
 * Threads. Nothing is shared between calls: any number may run at a time. A handle may be read by several threads and
 * is closed by one, last. Calls start threads of their own and have ended them when they return; callbacks come from the
 * calling thread alone. Nothing here prints, exits, changes a signal, the locale or the environment. A size limit
 * (RLIMIT_FSIZE) sends SIGXFSZ, which a program had better ignore: then it is an error.
 * The environment variable INGOT_KERNELS may name an instruction set, as for the program.
 */
#ifndef INGOT_H
#define INGOT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define INGOT_API __attribute__((visibility("default")))

/* "0.1.0" */
INGOT_API const char *ingot_version(void);

enum ingot_code {
	INGOT_OK = 0,
	INGOT_MISMATCH = 1,	/* damaged, or differs from what it should be */
	INGOT_USAGE = 2,	/* arguments that do not go together */
	INGOT_FORMAT = 3,	/* input that is malformed, or valid and not supported */
	INGOT_SYSTEM = 4,	/* the system refused, or memory does not suffice */
	INGOT_NO_DIGEST = 5,	/* a digest, seal or signature that was asked for is absent */
	INGOT_BUSY = 6,		/* another run is writing that output */
	INGOT_STOPPED = 128	/* by ingot_stop, or by a progress callback */
};
struct ingot_error { int code; char message[2044]; };

/* ---- how a call runs ----------------------------------------------------------------------------*/

/* Zeroed: go on. */
struct ingot_stop { volatile int number; };
/* Ends the calls that were given s, within a fraction of a second, with INGOT_STOPPED. From any thread, or a
 * signal's handler. number: the signal's, or -1; 0 makes it usable again. */
INGOT_API void ingot_stop(struct ingot_stop *s, int number);

struct ingot_progress {
	size_t size;
	const char *step;		/* "plan", "convert", "verify", "derive", "values" or "perplexity" */
	const char *what;		/* a tensor, a file, or "" */
	uint64_t done, total;		/* bytes; total 0: not known yet */
};
/* Shared by all long calls, which take NULL for the defaults. */
struct ingot_run {
	size_t size;
	unsigned threads;		/* 0: processors online */
	uint64_t max_memory;		/* bytes that buffers and weights may take; 0: 1 GiB */
	struct ingot_stop *stop;	/* borrowed for the call, or NULL */
	/* A few times a second. Anything but 0 ends the call (and is put into stop as -1). */
	int (*progress)(void *arg, const struct ingot_progress *p);
	/* Lines for a person beside the error: warnings, lists of findings. They come as the call ends. */
	void (*note)(void *arg, const char *line);
	void *arg;			/* of both */
};

/* ---- what a model is, from its headers alone -----------------------------------------------------*/

struct ingot_model;
INGOT_API int ingot_model_open(struct ingot_model **m, const char *model, const struct ingot_run *run, struct ingot_error *e);
INGOT_API void ingot_model_close(struct ingot_model *m);

struct ingot_facts {
	size_t size;
	int is_gguf;
	const char *architecture, *name, *commit;	/* "" where unknown */
	uint64_t bytes, n_tensors;
	uint64_t n_files, n_files_with_digest;	/* shards of a SOURCE; files of a GGUF */
	/* of DeepSeek-V4, else 0 */
	uint64_t parameters, parameters_active, parameters_mtp;	/* of the trunk; a token's; of an MTP block */
	uint64_t n_layer, n_embd, n_vocab, n_ctx, n_expert, n_expert_used;
	/* of a GGUF: what its seal (of a set, the first file's) says, which ingot_verify checks */
	int is_sealed, is_signed;
	const char *root, *recipe, *tool;	/* root: hex, of all tensors; "" where there is no seal */
};
INGOT_API int ingot_model_facts(const struct ingot_model *m, struct ingot_facts *f);

enum { INGOT_MAX_DIMS = 8 };
struct ingot_tensor {
	size_t size;
	const char *name, *type, *file;	/* file: the shard's name, or the path of the GGUF or of its file of the set */
	uint64_t shape[INGOT_MAX_DIMS];	/* slowest first */
	uint64_t n_dims, offset, bytes;	/* offset from the start of the file */
};
/* Number i, in the file's order (a SOURCE's by name). INGOT_USAGE beyond n_tensors. */
INGOT_API int ingot_model_tensor(const struct ingot_model *m, uint64_t i, struct ingot_tensor *t);

/* ---- plan and convert -----------------------------------------------------------------------------*/

enum ingot_convert_flags {
	INGOT_NO_MTP = 1,		/* drop the MTP block, which else becomes mtp-NAME beside the output */
	INGOT_ALLOW_UNVERIFIED = 2,	/* go on where no digest is known; the seal says so */
	INGOT_ALLOW_REQUANTIZE = 4,	/* of a GGUF: also tensors that are quantized already */
	INGOT_FORCE = 8,		/* replace an existing output once the new one is complete */
	INGOT_RESUME = 16,		/* go on with what a run left that was stopped or killed */
	INGOT_SUMS = 32,		/* also write OUT.SHA256SUMS */
	INGOT_EFFORT_BEST = 64,		/* search longer for the least error */
	INGOT_FINISH = 128		/* check and seal what all parts made */
};
struct ingot_convert_options {
	size_t size;
	const char *recipe;		/* lossless (default), q8, q4, or a file of REGEX=TYPE lines */
	const char *const *tensor_types;	/* such lines, which come first */
	size_t n_tensor_types;
	const char *imatrix;		/* a file that says how much columns matter */
	const char *digests;		/* expected digests in sha256sum form */
	const char *name;		/* general.name */
	uint64_t target_size;		/* bytes: choose types for it; not with a recipe */
	uint64_t journal_every;		/* bytes of output that a crash may cost; 0: 1 GiB */
	unsigned part, n_parts;		/* this share of so many, K of N; 0: everything */
	unsigned flags;			/* of enum ingot_convert_flags */
};
/* What will be made, or was. */
struct ingot_plan;
/* Everything but the conversion: types, places, sizes, expected errors (from a sample of the values). options may be NULL.
 * input: a SOURCE, or a GGUF of any architecture. */
INGOT_API int ingot_plan(struct ingot_plan **p, const char *input, const char *out, const struct ingot_convert_options *options,
			 const struct ingot_run *run, struct ingot_error *e);
/* Makes OUT, which has its name only when it is complete, sealed and on the disk. Every byte that is read is
 * hashed and compared with the digest that is known of its file. A run that was stopped leaves OUT.partial and
 * OUT.journal, with which INGOT_RESUME goes on. made may be NULL; else it is what was made, or NULL on failure. */
INGOT_API int ingot_convert(struct ingot_plan **made, const char *input, const char *out,
			    const struct ingot_convert_options *options, const struct ingot_run *run, struct ingot_error *e);
INGOT_API void ingot_plan_close(struct ingot_plan *p);

struct ingot_plan_facts {
	size_t size;
	uint64_t n_outputs;		/* the model, and a second where there is an MTP block */
	uint64_t source_bytes;		/* that are read */
	uint64_t memory, n_workers;	/* bytes of buffers; threads that fit max_memory */
};
INGOT_API int ingot_plan_facts(const struct ingot_plan *p, struct ingot_plan_facts *f);
struct ingot_output {
	size_t size;
	const char *path;
	uint64_t bytes, n_tensors, n_chunks;
	const char *root;		/* of the seal, hex; "" as long as it is not made */
};
INGOT_API int ingot_plan_output(const struct ingot_plan *p, uint64_t output, struct ingot_output *o);
struct ingot_planned {
	size_t size;
	const char *name, *source_type, *type;
	uint64_t source_bytes, bytes, offset;
	double expected_error;		/* relative; 0: exact; less than 0: not measured (ingot_convert measures none) */
};
INGOT_API int ingot_plan_tensor(const struct ingot_plan *p, uint64_t output, uint64_t i, struct ingot_planned *t);

/* ---- verify --------------------------------------------------------------------------------------*/

enum ingot_verify_flags {
	INGOT_STRICT = 1,		/* files without a record, and values that are odd, fail */
	INGOT_HEADER = 2,		/* of a GGUF: the header alone */
	INGOT_DEEP = 4			/* also look at every value */
};
struct ingot_verify_options {
	size_t size;
	const char *digests;		/* of a SOURCE: in sha256sum form */
	const char *key, *oms;		/* a public key (PEM); a Model Signing bundle by it */
	const char *source, *imatrix;	/* of a GGUF: make it again from this SOURCE */
	uint64_t sample;		/* so many matrices of it; 0: all */
	unsigned flags;			/* of enum ingot_verify_flags */
};
struct ingot_verdict;
/* INGOT_OK: all that was asked for was shown. v: what was found, also where the call fails; NULL where it did not come to a
 * look. options may be NULL. */
INGOT_API int ingot_verify(struct ingot_verdict **v, const char *model, const struct ingot_verify_options *options,
			   const struct ingot_run *run, struct ingot_error *e);
INGOT_API void ingot_verdict_close(struct ingot_verdict *v);

/* What was shown; what is not among it was not looked at, or failed. */
enum ingot_shown {
	INGOT_INTACT = 1,		/* every byte is as sealed, or every file has its digest */
	INGOT_HEADER_INTACT = 2,	/* of a GGUF, the header is */
	INGOT_AUTHENTIC = 4,		/* the key signed it */
	INGOT_DERIVED = 8,		/* the source gives these bytes (of the matrices that were looked at) */
	INGOT_SOUND = 16		/* no value, id or key is bad */
};
struct ingot_verdict_facts {
	size_t size;
	unsigned shown;			/* of enum ingot_shown */
	uint64_t n_findings;
	const char *header_sha256;	/* of a sealed GGUF: what a signature signs; else "" */
	const char *key, *key_sha256;	/* kind and fingerprint of the public key, or "" */
	const char *commit;		/* of a SOURCE, where known */
	uint64_t n_matrices, n_all_matrices;	/* made again; there are */
	uint64_t n_tensors, n_tensors_unread;	/* whose values were looked at; whose type cannot be read */
};
INGOT_API int ingot_verdict_facts(const struct ingot_verdict *v, struct ingot_verdict_facts *f);
enum ingot_finding_kind {
	INGOT_FILE_OK, INGOT_FILE_FAILED, INGOT_FILE_NO_DIGEST, INGOT_FILE_MISSING, INGOT_FILE_EXTRA,
	INGOT_DAMAGED,			/* a tensor, or the header or padding of a GGUF */
	INGOT_REWRITTEN,		/* the seal is of another file, or the header was rewritten */
	INGOT_NOT_DERIVED, INGOT_VALUE_BAD, INGOT_VALUE_ODD	/* text says it all */
};
struct ingot_finding {
	size_t size;
	int kind;			/* enum ingot_finding_kind */
	const char *name;		/* of the file or tensor; "header", "signature", "padding"; or "" */
	const char *text;		/* more of it, or "" */
	int64_t expert;			/* -1: none */
	uint64_t from, to;		/* bytes of the GGUF; of a file 0 and its size */
};
INGOT_API int ingot_verdict_finding(const struct ingot_verdict *v, uint64_t i, struct ingot_finding *f);

/* ---- perplexity ------------------------------------------------------------------------------------*/

enum ingot_perplexity_flags {
	INGOT_OFFICIAL = 1,		/* activations rounded as in DeepSeek's inference code */
	INGOT_TOKEN_IDS = 2		/* the text is white-space separated token ids */
};
struct ingot_perplexity_options {
	size_t size;
	const char *reference;		/* a MODEL that runs beside it, layer by layer */
	uint64_t n_ctx;			/* tokens of a chunk; 0: 512 */
	uint64_t max_chunks;		/* 0: all */
	unsigned flags;			/* of enum ingot_perplexity_flags */
};
struct ingot_perplexity_result {
	size_t size;
	uint64_t n_tokens, n_chunks, n_scored;
	double ppl, ppl_error, mean_nll;	/* nll: in nats */
	/* with a reference, else 0 */
	double ref_ppl, ref_ppl_error, ratio, ratio_error;	/* ratio: the model's over the reference's */
	double kld, kld_error, kld_max, kld_p99_9, kld_p99, kld_p95, kld_median;	/* nats, from the reference */
	double same_top, same_top_error;	/* share of positions with the same most likely token, 0..1 */
	double change_rms;			/* of the right token's probability */
};
/* text: UTF-8, plain or packed, FILE or FILE:MEMBER. llama-perplexity's method; the same bits for any number of threads. */
INGOT_API int ingot_perplexity(struct ingot_perplexity_result *r, const char *model, const char *text,
			       const struct ingot_perplexity_options *options, const struct ingot_run *run, struct ingot_error *e);

#ifdef __cplusplus
}
#endif

#endif
