/* SPDX-License-Identifier: MIT
 *
 * format.h - the containers: types of numbers, safetensors shards, a checkpoint directory,
 * GGUF, and the seal inside a GGUF. No model is known here; see model.h for that.
 *
 * One shape order everywhere in memory: slowest dimension first, as safetensors writes it.
 * GGUF's reverse order exists only inside gguf_read.c and gguf_write.c.
 */
#ifndef FORMAT_FORMAT_H
#define FORMAT_FORMAT_H

#include "format/base.h"

/* ---- dtype.c: THE table of number types -------------------------------------------------*/

enum dtype {
	DT_NONE,
	/* known to safetensors, most of them to GGUF too */
	DT_F64, DT_F32, DT_F16, DT_BF16, DT_I64, DT_I32, DT_I16, DT_I8,
	DT_U64, DT_U32, DT_U16, DT_U8, DT_BOOL, DT_C64,
	DT_F8_E4M3, DT_F8_E5M2, DT_F8_E8M0, DT_F8_E4M3FNUZ, DT_F8_E5M2FNUZ,
	DT_F6_E2M3, DT_F6_E3M2, DT_F4,
	/* blocks, known to GGUF only */
	DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1, DT_Q8_0, DT_Q8_1, DT_Q2_K, DT_Q3_K, DT_Q4_K, DT_Q5_K,
	DT_Q6_K, DT_Q8_K, DT_IQ2_XXS, DT_IQ2_XS, DT_IQ3_XXS, DT_IQ1_S, DT_IQ4_NL, DT_IQ3_S,
	DT_IQ2_S, DT_IQ4_XS, DT_IQ1_M, DT_TQ1_0, DT_TQ2_0, DT_MXFP4, DT_NVFP4, DT_Q1_0, DT_Q2_0,
	/* in memory only, no format has it: see quantize/packed.c */
	DT_E4M3_128,
	DT_COUNT
};
struct dtype_info {
	const char *name;	/* upper case, as both formats spell it */
	int gguf_id;		/* ggml type id, -1 where GGUF has none */
	bool in_safetensors;
	uint16_t block;		/* elements in a block; 1 for plain types */
	uint16_t bytes;		/* bytes in a block */
};
const struct dtype_info *dtype_info(enum dtype t);	/* never NULL for a valid t */
enum dtype dtype_by_name(const char *name, bool fold);	/* fold: ignore case, '-' and '_' */
enum dtype dtype_by_gguf_id(uint32_t id);		/* DT_NONE if unknown or removed */
/* Bytes of n elements in rows of row elements; false if a row is no whole number of blocks
 * (safetensors' sub-byte types: the whole tensor instead) or a product does not fit. */
bool dtype_bytes(enum dtype t, uint64_t n_rows, uint64_t row, uint64_t *bytes) MUST_USE;

/* ---- safetensors.c: one shard's header ---------------------------------------------------*/

enum { ST_MAX_RANK = 8, ST_MAX_NAME = 1024 };
enum { ST_MAX_HEADER = 100000000 };

struct st_tensor {
	const char *name;	/* borrowed from the shard's header text; terminated */
	uint64_t shape[ST_MAX_RANK];
	uint64_t off, bytes;	/* from the start of the file */
	uint32_t shard;		/* index into the checkpoint's shards */
	uint8_t dtype, n_dims;
};
/* A shard's tensors in order of their offsets; they tile [data_off, file size) exactly. */
struct st_header {
	char *text;		/* owned: names point into it */
	struct st_tensor *tensors;	/* owned */
	size_t n_tensors;
	uint64_t data_off;	/* 8 + header length */
};
/* Reads and checks a header by every rule of ../docs/format.md "What is accepted". Warnings
 * (accepted oddities) go to notes. shard is stored into each tensor. */
enum status st_read(struct st_header *h, const struct file *f, uint32_t shard, struct log *notes,
		    struct err *e) MUST_USE;
void st_close(struct st_header *h);
uint64_t st_elements(const struct st_tensor *t);

/* ---- hub.c: a source directory, and the digests that others left on this disk --------------*/

enum anchor { ANCHOR_NONE, ANCHOR_HUB_LOCAL_DIR, ANCHOR_HUB_CACHE, ANCHOR_DIGESTS_FILE,
	      ANCHOR_SEAL /* a sealed GGUF vouches for itself */ };
const char *anchor_name(enum anchor a);	/* "none", "hub-local-dir", ... as in ingot.source.anchor */

/* One line of a SHA256SUMS file. */
struct digest_line { char *name; struct digest digest; };
struct digest_list { struct digest_line *lines; size_t n; };	/* owned; sorted by name */
/* Strict sha256sum form: "HEX  NAME" or "HEX *NAME", LF or CRLF, '#' comments; names are single
 * components; a malformed or repeated line is an error, and so is a list without entries. */
enum status digest_list_read(struct digest_list *l, const char *path, struct err *e) MUST_USE;
const struct digest *digest_list_find(const struct digest_list *l, const char *name);
void digest_list_close(struct digest_list *l);

/* How a source is opened. Zeroed (or NULL in place of one): as a model, without a digest list. */
enum source_need {
	NEED_MODEL,		/* what a conversion or a run reads */
	NEED_HEADERS,		/* of shards the headers alone: nothing is written to a disk for them */
	NEED_ALL,		/* every file */
};
struct source_options {
	const char *digests;	/* in sha256sum form, or NULL */
	enum source_need need;
	/* For the members of an archive that are stored compressed: they are unpacked into a file without a name in
	 * the folder of path `scratch` (NULL: the archive's own), which is gone with the process. */
	const char *scratch;
	volatile int *stop;	/* ends that (ERR_STOPPED), see stop_asked; may be NULL */
	void (*say)(void *arg, const char *line);	/* before it starts; may be NULL */
	void (*progress)(void *arg, uint64_t done, uint64_t total, const char *member);	/* packed bytes; may be NULL */
	void *arg;
};

struct members;
/* A directory as `hf download --local-dir` leaves it, a snapshot directory of the Hub's cache, or an archive of one. */
struct source_dir {
	char *path;			/* owned; as given; of an archive with the checkpoint's folder in it: ARCHIVE:FOLDER */
	int fd;				/* -1 of an archive */
	struct members *members;	/* owned; of an archive, else NULL */
	bool is_cache;
	char commit[41], repo[256];	/* from cache path or records; empty where unknown */
	struct digest_list digests;	/* --digests; empty if none was given */
};
#define SOURCE_DIR_NONE ((struct source_dir){ .fd = -1 })
enum status source_dir_open(struct source_dir *d, const char *path, const struct source_options *o, struct err *e) MUST_USE;
/* Whether path is a directory, or a file that is an archive by its first bytes: a source, not a GGUF. */
bool path_is_source(const char *path);
/* Whether the file there is an archive of which something may be compressed. */
bool path_is_packed(const char *path);
void source_dir_close(struct source_dir *d);
/* Names of the regular files and links in it (no directories, not recursive), sorted, each owned;
 * and of the files that a --local-dir download recorded. */
struct names { char **v; size_t n; };
enum status source_dir_list(const struct source_dir *d, bool recorded, struct names *l, struct err *e) MUST_USE;
void names_close(struct names *l);
/* The files beside the shards that a conversion reads; ends with NULL. */
extern const char *const source_small_files[];
bool name_is_shard(const char *name);	/* a plain name that ends in .safetensors */
bool name_is_plain(const char *name);	/* one component of [A-Za-z0-9._-]+, at most 255 bytes */

/* One file of the source, open, with what is known of its digest. A --digests entry comes before
 * the Hub's record. */
struct source_file {
	char *name;			/* owned, a single path component */
	struct file file;		/* open for the whole run: what is hashed is what is used */
	enum anchor anchor;
	struct digest expected;		/* kind DIGEST_NONE where nothing is known */
	bool stale;			/* the Hub's record is older than the file: it does not count */
	struct digest stale_digest;	/* what that record says */
	bool is_shard;
};
/* ERR_IO with errno ENOENT in *missing = true where there is no such file (missing may be NULL). */
enum status source_file_open(struct source_file *f, struct source_dir *d, const char *name, bool *missing,
			     struct log *notes, struct err *e) MUST_USE;
void source_file_close(struct source_file *f);

/* ---- checkpoint.c: shards, index and small files, checked against each other ---------------*/

struct checkpoint {
	struct source_dir dir;
	struct source_file *files;	/* owned; shards first, in name order, then the small files */
	size_t n_files, n_shards;
	struct st_header *headers;	/* owned; one a shard */
	const struct st_tensor **by_name;	/* owned; all tensors, sorted by name */
	size_t n_tensors;
};
#define CHECKPOINT_NONE ((struct checkpoint){ .dir = SOURCE_DIR_NONE })
/* Sharded (with index) or a single model.safetensors. Reads and checks every shard header, index
 * and digest records; reads no tensor data. o may be NULL. Problems
 * that come in numbers (missing shards, index against headers) are listed in notes. */
enum status checkpoint_open(struct checkpoint *c, const char *path, const struct source_options *o,
			    struct log *notes, struct err *e) MUST_USE;
const struct st_tensor *checkpoint_find(const struct checkpoint *c, const char *name);
/* The open small file of that name (config.json, ...), or NULL. */
const struct source_file *checkpoint_file(const struct checkpoint *c, const char *name);
void checkpoint_close(struct checkpoint *c);

/* ---- gguf_read.c, gguf_write.c -----------------------------------------------------------*/

enum gguf_type { GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL,
		 GGUF_STR, GGUF_ARR, GGUF_U64, GGUF_I64, GGUF_F64, GGUF_TYPES };
enum { GGUF_MAX_NAME = 63, GGUF_MAX_DIMS = 4, GGUF_MAX_KV = 65536, GGUF_MAX_TENSORS = 262144,
       GGUF_MAX_KEY = 65535, GGUF_MAX_HEADER = 512 << 20 };

struct gguf_kv {
	struct str key;
	enum gguf_type type;		/* GGUF_ARR for arrays */
	enum gguf_type elem;		/* element type of an array */
	uint64_t count;			/* elements of an array, else 1 */
	const uint8_t *data;		/* first value, in the header's bytes; strings: u64 length + bytes */
	uint64_t data_bytes;
};
struct gguf_tensor {
	struct str name;
	uint64_t shape[GGUF_MAX_DIMS];	/* slowest first */
	uint8_t n_dims, dtype;
	uint16_t file;			/* which file of a set holds it: see gguf_set.c; 0 of a single one */
	uint64_t off, bytes;		/* from the start of that file */
};
struct gguf {
	uint8_t *header;		/* owned: bytes [0, data_off) of the file */
	uint64_t data_off, alignment;
	uint32_t version;
	struct gguf_kv *kv; size_t n_kv;		/* owned */
	struct gguf_tensor *tensors; size_t n_tensors;	/* owned, in file order */
	uint32_t *kv_index, *tensor_index; size_t kv_index_size, tensor_index_size;	/* owned: positions by name */
	bool trailing;			/* bytes follow the last tensor's padding */
	uint64_t end;			/* end of the last tensor, padded */
};
/* Reads and checks the header by the specification, stricter than llama.cpp (docs/format.md).
 * The file must be long enough for every tensor; padding content is left to verify. */
enum status gguf_read(struct gguf *g, const struct file *f, struct log *notes, struct err *e) MUST_USE;
void gguf_close(struct gguf *g);
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name);
/* Typed access. Each returns false where the key is absent or of another type. */
bool gguf_u64(const struct gguf *g, const char *key, uint64_t *v);	/* any integer type, not negative */
bool gguf_f32(const struct gguf *g, const char *key, float *v);		/* F32 or F64, finite */
bool gguf_bool(const struct gguf *g, const char *key, bool *v);
bool gguf_str(const struct gguf *g, const char *key, struct str *v);
/* Element i of an array of strings is found by walking: *at is 0 for the first call. */
bool gguf_next_str(const struct gguf_kv *kv, uint64_t *at, struct str *v);
/* Element i of a numeric array (integers as i64, floats through *f); false out of range. */
bool gguf_array_int(const struct gguf_kv *kv, uint64_t i, int64_t *v);
bool gguf_array_float(const struct gguf_kv *kv, uint64_t i, double *v);

/* The tensors of n headers as one list, in *all: keys and what else there is stay the first one's. It owns its tensors
 * and tensor_index; all else is parts', which have to outlive it. A name that two have is an error. */
enum status gguf_join(struct gguf *all, const struct gguf *parts, size_t n, const struct file *files, struct err *e) MUST_USE;

/* A header under construction. Keys are written in call order. All put calls are sticky: an
 * error shows in gguf_writer_finish. */
struct gguf_writer {
	uint8_t *buf; size_t len, cap;		/* owned */
	uint64_t n_kv, n_tensors;
	uint64_t alignment;
	uint64_t next_off;			/* of the next tensor, relative to data start */
	uint64_t kv_end;			/* buf offset where tensor infos start; 0 before */
	uint64_t items_left;			/* strings that gguf_put_strings still waits for */
	struct err err;
};
void gguf_writer_open(struct gguf_writer *w, uint64_t alignment);	/* the caller puts general.alignment */
void gguf_put_u16(struct gguf_writer *w, const char *key, uint16_t v);
void gguf_put_i32(struct gguf_writer *w, const char *key, int32_t v);
void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v);
void gguf_put_u64(struct gguf_writer *w, const char *key, uint64_t v);
void gguf_put_f32(struct gguf_writer *w, const char *key, float v);
void gguf_put_bool(struct gguf_writer *w, const char *key, bool v);
void gguf_put_str(struct gguf_writer *w, const char *key, struct str v);
/* An array of n fixed-size elements (not strings), copied from little-endian bytes; bytes NULL
 * writes zeros. Returns the buffer offset of the first element, to be filled in later. */
size_t gguf_put_array(struct gguf_writer *w, const char *key, enum gguf_type elem, const void *bytes,
		      uint64_t n);
/* An array of strings: begin with its count, then exactly that many gguf_put_item. */
void gguf_put_strings(struct gguf_writer *w, const char *key, uint64_t n);
void gguf_put_item(struct gguf_writer *w, struct str v);
/* A key with its value as it was read, of whatever type. */
void gguf_put_kv(struct gguf_writer *w, const struct gguf_kv *kv);
/* A string of exactly n spaces; returns the buffer offset of its first byte. */
size_t gguf_put_spaces(struct gguf_writer *w, const char *key, uint64_t n);
/* After all keys: one tensor info, in file order. Returns its offset relative to data start. */
uint64_t gguf_put_tensor(struct gguf_writer *w, const char *name, enum dtype t, unsigned n_dims,
			 const uint64_t *shape);
/* Counts and padding are filled in; on success buf[0, len) is the header, len its data_off, and
 * *file_size the size of the whole file. */
enum status gguf_writer_finish(struct gguf_writer *w, uint64_t *file_size, struct err *e) MUST_USE;
void gguf_writer_close(struct gguf_writer *w);

/* ---- gguf_set.c: a model in one GGUF or in several ----------------------------------------*/

/* The files of a set lie in one directory and are called STEM-00001-of-00003.gguf. Each has the keys below; the model's
 * own keys are the first file's. */
enum { GGUF_SET_MOST = 4096 };
#define SPLIT_KEY_NO		"split.no"		/* from 0 */
#define SPLIT_KEY_COUNT		"split.count"
#define SPLIT_KEY_TENSORS	"split.tensors.count"	/* of all files */
#define SPLIT_KEY_ROOTS		"ingot.split.root"	/* where sealed: every file's ingot.seal.root, 32 bytes each */
#define SPLIT_KEY_FIRST		"ingot.split.header_sha256"	/* in all but the first: its ingot.seal.header_sha256 */
/* Whether path ends like a set's: -NNNNN-of-NNNNN.gguf. number counts from 0; stem: bytes before that ending. */
struct gguf_set_name { size_t stem; unsigned number, n; };
bool gguf_set_name(const char *path, struct gguf_set_name *name);
/* The path of another number of the set; stem bytes of path are kept. Owned by the caller. */
char *gguf_set_path(const char *path, const struct gguf_set_name *name, unsigned number, struct err *e) MUST_USE;

struct gguf_set {
	struct file *files;		/* owned; in the order of their numbers; of one that is missing, fd is -1 */
	struct gguf *parts;		/* owned; the header of each */
	size_t n, n_missing;
	struct gguf gguf;		/* the whole: the first file's keys, the tensors of all; see gguf_join */
};
/* path is a GGUF, or any file of a set. All headers are read and checked against each other: numbers, counts, no tensor
 * twice, and, where sealed, that they were made together. */
enum status gguf_set_open(struct gguf_set *s, const char *path, struct log *notes, struct err *e) MUST_USE;
/* The same for one who looks closer: seals are not compared, and files may be missing: if any are, only what is there is
 * checked, and gguf is not filled. */
enum status gguf_set_find(struct gguf_set *s, const char *path, struct log *notes, struct err *e) MUST_USE;
/* What the seals of the files that are there say of each other. ERR_MISMATCH names a file of another conversion. */
enum status gguf_set_check_seals(const struct gguf_set *s, struct err *e) MUST_USE;
enum status gguf_set_unchanged(const struct gguf_set *s, struct err *e) MUST_USE;
uint64_t gguf_set_bytes(const struct gguf_set *s);	/* of all files */
void gguf_set_close(struct gguf_set *s);		/* a zeroed struct is closed */

/* ---- seal.c: digests inside a GGUF (docs/format.md) ---------------------------------------*/

enum { SEAL_VERSION = 1, SEAL_CHUNK_BYTES = 4 << 20, SEAL_SIGNATURE_BYTES = 4096 };
#define SEAL_KEY_VERSION	"ingot.seal.version"
#define SEAL_KEY_FILE_SIZE	"ingot.seal.file_size"
#define SEAL_KEY_CHUNK_BYTES	"ingot.seal.chunk_bytes"
#define SEAL_KEY_CHUNKS		"ingot.seal.chunk_sha256"
#define SEAL_KEY_ROOT		"ingot.seal.root"
#define SEAL_KEY_HEADER		"ingot.seal.header_sha256"
#define SEAL_KEY_SIGNATURE	"ingot.seal.signature"

/* One chunk: bytes [off, off + bytes) relative to its tensor's start; it lies inside matrix
 * `matrix` (an expert of a stacked tensor, else 0). */
struct seal_chunk { uint64_t off, bytes, matrix; };
/* How a tensor divides: n_matrices runs of matrix_bytes, each cut into chunks of chunk_bytes
 * from its start. Tensors of up to two dimensions are one matrix; of three or four, the slowest
 * dimension counts matrices. An empty tensor has no chunk. */
struct seal_layout { uint64_t n_matrices, matrix_bytes, chunk_bytes, per_matrix, n_chunks; };
struct seal_layout seal_layout(const uint64_t *shape, unsigned n_dims, uint64_t bytes, uint64_t chunk_bytes);
struct seal_chunk seal_chunk(const struct seal_layout *l, uint64_t i);

/* SHA-256(0x00 || bytes), the leaf of a chunk; start, sha256_add the bytes, sha256_end. */
void seal_leaf_start(struct sha256 *h);
/* Merkle tree of RFC 6962 over n leaves of 32 bytes, an odd node promoted; leaves are consumed.
 * n = 0 gives SHA-256 of nothing. */
void seal_tree(struct sha256 *h, uint8_t *leaves, uint64_t n, uint8_t root[SHA256_BYTES]);
/* The leaf of one tensor: SHA-256(0x00 || name length u64 || name || type u32 || n_dims u32 ||
 * dims u64... || tensor root); type is the ggml id, dims are in GGUF's order (fastest first). */
void seal_tensor_leaf(struct sha256 *h, struct str name, enum dtype t, unsigned n_dims,
		      const uint64_t *shape, const uint8_t tensor_root[SHA256_BYTES],
		      uint8_t leaf[SHA256_BYTES]);

/* What a sealed file says of itself; offsets are into its header. */
struct seal {
	uint64_t file_size, chunk_bytes, n_chunks;
	const uint8_t *chunk_sha256;	/* borrowed from the gguf: 32 bytes a chunk */
	const uint8_t *root, *header_sha256;
	struct str signature;		/* SEAL_SIGNATURE_BYTES bytes, spaces if unsigned */
	uint64_t header_sha256_off, signature_off;
};
/* ERR_NO_DIGEST where g has no seal, ERR_FORMAT where it is malformed or does not fit g. */
enum status seal_read(struct seal *s, const struct gguf *g, struct err *e) MUST_USE;
bool seal_is_signed(const struct seal *s);	/* something is in the signature's slot */
/* The digest that `ingot.seal.header_sha256` holds: SHA-256 over the header with its own value
 * taken as zeros and the signature's as spaces. */
void seal_header_sha256(struct sha256 *h, const uint8_t *header, uint64_t n, uint64_t self_off,
			uint64_t signature_off, uint8_t out[SHA256_BYTES]);
/* The header digest of the contract, the one that gets signed: only the signature is blanked. */
void seal_signed_digest(struct sha256 *h, const uint8_t *header, uint64_t n, uint64_t signature_off,
			uint8_t out[SHA256_BYTES]);

#endif
