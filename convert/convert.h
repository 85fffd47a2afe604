/* SPDX-License-Identifier: MIT
 *
 * convert.h - checkpoint -> sealed GGUF: recipe, plan, stream, seal.
 *
 * The plan knows every output byte's place and source before a data byte is read; the stream
 * reads every shard once, front to back, and fills the planned places.
 */
#ifndef CONVERT_CONVERT_H
#define CONVERT_CONVERT_H

#include <regex.h>

#include "format/model.h"
#include "quantize/error.h"

/* ---- recipe.c: which type for which tensor --------------------------------------------------*/

enum rule_source { RULE_ANY, RULE_FP4, RULE_FP8, RULE_PLAIN };
struct rule {
	char *text;		/* owned: the line as written, without comment */
	regex_t regex;		/* over the GGUF name */
	enum rule_source source;
	enum dtype type;	/* DT_NONE: KEEP, the type that loses nothing */
	enum dtype other;	/* for rows that are no whole blocks of type; DT_NONE: KEEP, or there is none */
	bool other_keep;
	bool user;		/* from the command line, not from a named recipe */
};
struct recipe { struct rule *rules; size_t n, cap; };	/* first match wins */
/* Appends a line "[@fp4:|@fp8:|@plain:]REGEX=TYPE[|TYPE]". */
enum status recipe_add(struct recipe *r, const char *line, bool user, const char *where,
		       struct err *e) MUST_USE;
/* Appends a named recipe (lossless, q8, q4) or, for a name with '/' or '.', a file of lines. */
enum status recipe_add_named(struct recipe *r, const char *name, struct err *e) MUST_USE;
enum status recipe_add_file(struct recipe *r, const char *path, bool user, struct err *e) MUST_USE;
/* What a person asks for: lines, then a file of them (or NULL), then a name (NULL: lossless). */
enum status recipe_build(struct recipe *r, const char *const *lines, size_t n, const char *file, const char *name,
			 struct err *e) MUST_USE;
const struct rule *recipe_match(const struct recipe *r, const char *tensor, enum source_kind kind);
/* The rule's first type that rows of so many elements are whole blocks of; DT_NONE where neither is. */
enum dtype rule_type(const struct rule *r, uint64_t row);
/* Writes the lines as a file that recipe_add_file reads; never over one unless force. */
enum status recipe_write(const struct recipe *r, const char *path, bool force, struct err *e) MUST_USE;
/* All lines, joined by LF; owned by the caller. */
char *recipe_text(const struct recipe *r, struct err *e) MUST_USE;
void recipe_close(struct recipe *r);
/* Name of built-in recipe i, or NULL. */
const char *recipe_builtin(size_t i);

/* ---- gguf_source.c: a GGUF in a checkpoint's place --------------------------------------------*/

/* A GGUF, each of its files a shard: its tensors as a checkpoint's, and what its seals say. */
struct gguf_source {
	struct gguf_set set;		/* owned */
	struct seal *seals;		/* owned; one a file, borrowed from its header; valid if sealed */
	bool sealed;			/* all files are */
	struct checkpoint ckpt;		/* owned: a header a file */
};
#define GGUF_SOURCE_NONE ((struct gguf_source){ .ckpt = CHECKPOINT_NONE })
/* Reads the header, looks for a digest (digests_file, the Hub's record) and a seal, and checks the
 * header against the seal. A file whose seal does not fit is refused (ERR_MISMATCH) unless unverified,
 * and then counts as unsealed. Of a split GGUF, path is any of its files. Closed in every case. */
enum status gguf_source_open(struct gguf_source *s, const char *path, const char *digests_file,
			     bool unverified, struct log *notes, struct err *e) MUST_USE;
void gguf_source_close(struct gguf_source *s);

/* ---- importance.c: how much columns matter ----------------------------------------------------*/

struct imatrix;
struct importance {
	struct imatrix *matrix;		/* owned */
	const char *name;		/* borrowed from the path: its last part */
	uint8_t sha256[SHA256_BYTES];	/* of the file */
};
enum status importance_open(struct importance *m, const char *path, struct err *e) MUST_USE;
void importance_close(struct importance *m);	/* a zeroed struct is closed */

/* ---- plan.c, plan_gguf.c, types.c, layout.c: the whole output from headers alone -----------------------------------*/

enum { PLAN_OUTPUTS = 2 };	/* the model, and a sidecar for its MTP block; each may be split into files */
enum { SPLIT_MOST = 999 };

struct plan_tensor {
	struct want want;		/* of a GGUF of another architecture: role ROLE_COUNT */
	enum role_class class;
	unsigned parts;			/* source matrices side by side in a row: see want_parts */
	enum dtype type;
	enum source_kind source_kind;
	enum dtype source_type;
	bool encoded, weighted;		/* with loss; under an importance of columns */
	bool fp4, measured;		/* FP4 of the source encoded with loss; errors are kept */
	uint64_t source_bytes;		/* weights and scales */
	uint64_t off, bytes;		/* in the output file */
	struct seal_layout chunks;
	uint64_t first_chunk;		/* number of its first chunk in the file */
	size_t first_matrix;		/* in plan.matrices: n_matrices x parts */
};
struct plan_output {
	enum model_part part;
	struct plan_tensor *tensors;	/* owned, in file order */
	size_t n_tensors;
	uint64_t n_chunks, file_size;
	struct gguf_writer header;	/* complete but for the digests */
	struct error_sums *errors;	/* owned; one a chunk, where any tensor is measured */
	size_t chunk_sha256_at, root_at, source_sha256_at, header_sha256_at, signature_at;
	/* of a set of several (see split.c): which of them; keys to be filled in */
	uint32_t file, n_files;
	size_t roots_at, first_header_at;
};
/* One matrix of one output tensor, fed by one run of bytes of one shard. */
struct feed {
	uint64_t off, bytes;		/* of its first part's weight, in the shard's file */
	uint32_t output, tensor;
	uint64_t matrix;
	bool again;			/* the same source bytes as the feed before: copies its result */
};
/* What becomes of a source tensor. */
enum use { USE_NONE, USE_FEED, USE_AUX /* scale, or second part */, USE_DROPPED };

struct plan_shard {
	struct feed *feeds;		/* owned, by offset */
	size_t n_feeds, cap;
	uint8_t *use;			/* owned; enum use of each of the header's tensors */
	uint32_t *aux;			/* owned; number of a USE_AUX tensor */
};
struct plan_options {
	const struct recipe *recipe;
	enum effort effort;
	const struct importance *importance;	/* borrowed for the plan's life; NULL: columns count alike */
	bool no_mtp, allow_requantize;
	bool measure;			/* keep how far values move: plan_output.errors */
	const char *name;		/* general.name, or NULL */
};
struct plan {
	const struct checkpoint *ckpt;	/* borrowed */
	const struct gguf_source *gguf;	/* borrowed; NULL: the source is a checkpoint */
	struct arch arch;		/* of a GGUF: n_expert alone */
	enum effort effort;
	const struct importance *importance;	/* borrowed; NULL without one */
	uint64_t max_cols;			/* the longest row, where there is one */
	struct plan_output *out;	/* owned */
	size_t n_outputs;
	struct source_matrix *matrices;	/* owned */
	size_t n_matrices, matrices_cap;
	struct plan_shard *shards;	/* owned; one a shard */
	const uint8_t *share;		/* borrowed: 1 for each shard that this run converts; NULL: all */
	uint32_t n_aux;
	uint64_t source_bytes;		/* of all shards: what will be read */
	char **dropped;			/* owned; lines of ingot.dropped */
	size_t n_dropped;
};
/* Binds every tensor of the architecture to the checkpoint and every tensor of the checkpoint to
 * a use. problems receives every unknown, missing and mis-shaped tensor; notes receives warnings.
 * vocab goes into the metadata. */
enum status plan_build(struct plan *p, const struct checkpoint *c, const struct arch *a,
		       const struct vocab *v, const struct plan_options *o, struct log *problems,
		       struct log *notes, struct err *e) MUST_USE;
/* The same from a GGUF of any architecture: every tensor has its place in the output, in the same
 * order, and may take another type where name and shape say that it is a product's weight. */
enum status plan_build_gguf(struct plan *p, const struct gguf_source *s, const struct plan_options *o,
			    struct log *notes, struct err *e) MUST_USE;
/* Other types for a plan that is built: o->recipe's. notes: as far as they are of types. */
enum status plan_retype(struct plan *p, const struct vocab *v, const struct plan_options *o, struct log *notes,
			struct err *e) MUST_USE;
/* Bytes that output `number` would have by another recipe. */
enum status plan_size(const struct plan *p, size_t number, const struct recipe *r, uint64_t *bytes,
		      struct err *e) MUST_USE;
/* How a tensor's source type is called: FP4 and FP8 with their scales, or a type of the table. */
const char *plan_source_type(const struct plan_tensor *t);
void plan_close(struct plan *p);
/* split.c: every output as files of at most `most` bytes, where one is larger. The plan is in its last form. */
enum status plan_split(struct plan *p, uint64_t most, const struct vocab *v, const struct plan_options *o,
		       struct err *e) MUST_USE;
/* Bytes of out before its .gguf, if it ends so: what the files of a set are called by. */
size_t split_stem(const char *out);
/* The name of one of them: OUT, or OUT-00001-of-00003.gguf. Owned by the caller. */
char *split_path(const char *out, const struct plan_output *file, struct err *e) MUST_USE;
/* Elements of the run that chunk `chunk` of a tensor needs, and where its first byte lies in what
 * transfer writes for them. */
/* own: the first element that no unit before it holds. */
struct unit_range { uint64_t e0, e1, own, skip, bytes; };
struct unit_range plan_unit(const struct plan_tensor *t, uint64_t chunk_in_matrix);
/* Elements of a unit to be converted at a time: a whole number of what can be made alone, and few
 * enough for a core's own cache. */
uint64_t plan_piece(const struct plan_tensor *t);
/* Bytes that any unit may need: of source (a piece, or all of it where it is held), output, and scales or
 * second parts. */
struct unit_sizes { uint64_t in, out, aux, carry, importance; };
struct unit_sizes plan_unit_sizes(const struct plan *p, bool held);

/* ---- ledger.c: how far values moved -----------------------------------------------------------*/

/* Sums over a whole tensor, after the run; positions count elements of the tensor, row-major. Zeroes where
 * nothing was measured: no report was asked for, or its values are no numbers that can be decoded. */
struct error_sums ledger_tensor(const struct plan_output *out, const struct plan_tensor *t);
bool ledger_can_read(const struct plan *p, const struct plan_tensor *t);
/* What it cost to encode FP4 weights anew, in a line of notes, if any were. */
void ledger_note_fp4(const struct plan *p, struct log *notes);

/* ---- aux.c: tensors that are read apart from the stream ---------------------------------------*/

/* Scales and second parts are read where they are needed and hashed where they pass in the
 * stream; a digest per tile, taken both times, shows that both saw the same bytes. */
struct aux;
enum { AUX_TILE = 64 << 10 };
enum status aux_open(struct aux **a, const struct plan *p, struct err *e) MUST_USE;
/* Records (or compares) tile number tile of aux tensor t, n bytes. Any thread. */
enum status aux_seen(struct aux *a, uint32_t t, uint64_t tile, const void *p, size_t n,
		     struct sha256 *h, struct err *e) MUST_USE;
/* Reads bytes [b0, b1) of that tensor through whole tiles; *at points into buf, which holds
 * b1 - b0 + 2 * AUX_TILE bytes. */
enum status aux_read(struct aux *a, const struct checkpoint *c, const struct plan *p,
		     const struct st_tensor *t, uint64_t b0, uint64_t b1, uint8_t *buf,
		     const uint8_t **at, struct sha256 *h, struct err *e) MUST_USE;
/* Gives every tile's digest that is known and was not given before. */
enum status aux_export(struct aux *a, enum status (*put)(void *arg, uint32_t t, uint64_t tile,
							 const uint8_t digest[SHA256_BYTES], struct err *e),
		       void *arg, struct err *e) MUST_USE;
/* A digest from an earlier run. Not *same: no such tile, or another digest is known already. */
enum status aux_import(struct aux *a, uint32_t t, uint64_t tile, const uint8_t digest[SHA256_BYTES], bool *same,
		       struct err *e) MUST_USE;
void aux_close(struct aux *a);

/* ---- stream.c, pipeline.c: shards in, chunks out ----------------------------------------------*/

struct pipeline_options {
	unsigned threads;
	uint64_t max_memory;
	volatile int *stop;		/* a signal's number ends the run (ERR_STOPPED) */
	void (*progress)(void *arg, uint64_t done, uint64_t total, const char *tensor);
	void *arg;
};
/* What a run keeps besides the plan: see journal.h, aux.c. claims zeroed: nothing is done yet. */
struct journal;
struct claims;
struct run_state {
	struct output *outputs;
	struct aux *aux;
	struct journal *journal;
	const struct claims *claims;
	uint8_t *sha256;
};
/* Converts every unit of the plan that is not claimed into the open outputs, fills in chunk digests and
 * the SHA-256 of each shard (into sha256, 32 bytes a file of the checkpoint), and compares those with what is
 * expected. */
enum status pipeline_run(struct plan *p, const struct run_state *r, const struct pipeline_options *o,
			 struct err *e) MUST_USE;
/* Bytes of buffers that pipeline_run will use, and how many workers fit (0: not one). */
uint64_t pipeline_memory(const struct plan *p, unsigned threads, uint64_t max_memory, unsigned *workers);

/* ---- target.c: types for a file of a given size; see target.h ---------------------------------*/

struct target {
	struct recipe recipe;		/* the user's rules, then a line for every tensor that was free */
	size_t n_free;			/* tensors */
	uint64_t least;			/* bytes of the smallest file there is */
	double loss;			/* predicted, of the chosen types */
};

/* ---- parts.c: several runs make one output; see parts.h --------------------------------------*/

enum { PARTS_MOST = 9999 };
/* "K/N", 1 <= K <= N <= PARTS_MOST; anything else is ERR_USAGE. */
enum status parts_parse(const char *text, unsigned *k, unsigned *n, struct err *e) MUST_USE;

/* ---- convert.c: the pass list -----------------------------------------------------------------*/

struct measured;			/* measure.h */

struct convert_options {
	const char *source, *out, *digests, *name;
	const struct source_options *from;	/* for a source that is an archive; may be NULL */
	const struct recipe *recipe;
	enum effort effort;
	const struct importance *importance;
	bool no_mtp, allow_unverified, allow_requantize, force, resume, sums, dry_run, measure;
	uint64_t split_max;		/* bytes that a file may have; 0: one file */
	uint64_t target_size;		/* bytes that the model's file may have; 0: types are the recipe's */
	const char *write_recipe;	/* a file for the recipe that was used, or NULL */
	unsigned part, n_parts;		/* parts.c: only share `part` of n_parts; 0: everything */
	bool finish;			/* seals what the parts made */
	uint64_t journal_every;		/* bytes of output that a crash may cost; 0: JOURNAL_EVERY */
	struct pipeline_options run;
};
struct convert_result {
	struct plan plan;
	struct checkpoint ckpt;		/* plan.ckpt is this one, or the one of gguf */
	struct gguf_source gguf;
	struct vocab vocab;
	uint8_t *sha256;		/* owned; 32 bytes a source file, valid after the run */
	const char *base;		/* borrowed: options.out, by which journals and locks are called */
	char **paths;			/* owned; one an output */
	bool kept;			/* a run that failed left something to go on with */
	uint64_t memory;
	unsigned workers;
	struct target target;		/* where a size was asked for */
	uint8_t *share;			/* owned; of a part: its shards, 1 for each */
	/* owned; of a dry run: one a tensor, nothing measured where values stay exact */
	struct measured **expected;
};
#define CONVERT_RESULT_NONE ((struct convert_result){ .ckpt = CHECKPOINT_NONE, .gguf = GGUF_SOURCE_NONE })
/* result is valid (and to be closed) whatever is returned; its plan is filled by a dry run too. */
enum status convert_run(struct convert_result *r, const struct convert_options *o, struct log *problems,
			struct log *notes, struct err *e) MUST_USE;
/* The same for a source that is a GGUF; what is meant for checkpoints alone is left aside. */
enum status quantize_run(struct convert_result *r, const struct convert_options *o, struct log *notes,
			 struct err *e) MUST_USE;
void convert_close(struct convert_result *r);

#endif
