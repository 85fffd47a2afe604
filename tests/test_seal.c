/* SPDX-License-Identifier: MIT
 *
 * test_seal.c - chunk layout, Merkle tree, leaves, header digests, reading a seal.
 *
 * Golden values come from Python's hashlib with the recursive definition of RFC 6962 2.1 (the
 * code under test pairs level by level):
 *
 *	H = lambda b: sha256(b).digest()
 *	def mth(l):                     # l: list of leaf hashes
 *	    if not l: return H(b"")
 *	    if len(l) == 1: return l[0]
 *	    k = 1
 *	    while 2 * k < len(l): k *= 2
 *	    return H(b"\1" + mth(l[:k]) + mth(l[k:]))
 */
#include "format/format.h"
#include "tests/test.h"

#include <fcntl.h>
#include <unistd.h>

static bool is_hex(const uint8_t d[SHA256_BYTES], const char *hex)
{
	for (int i = 0; i < SHA256_BYTES; i++) {
		unsigned v;
		if (sscanf(hex + 2 * i, "%2x", &v) != 1 || v != d[i])
			return false;
	}
	return true;
}

static void leaf(struct sha256 *h, const void *p, size_t n, uint8_t out[SHA256_BYTES])
{
	seal_leaf_start(h);
	sha256_add(h, p, n);
	sha256_end(h, out);
}

/* The eight inputs that Certificate Transparency's own tests use; roots recomputed as above. */
static void test_tree_ct(void)
{
	static const struct { const char *p; size_t n; } in[8] = {
		{ "", 0 }, { "\x00", 1 }, { "\x10", 1 }, { "\x20\x21", 2 }, { "\x30\x31", 2 },
		{ "\x40\x41\x42\x43", 4 }, { "\x50\x51\x52\x53\x54\x55\x56\x57", 8 },
		{ "\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16 },
	};
	static const char *const root[9] = {
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	};
	struct sha256 h;
	struct err e;
	uint8_t leaves[8][SHA256_BYTES], r[SHA256_BYTES];

	CHECK(sha256_open(&h, &e) == OK);
	for (size_t n = 0; n <= 8; n++) {
		for (size_t i = 0; i < n; i++)
			leaf(&h, in[i].p, in[i].n, leaves[i]);
		seal_tree(&h, leaves[0], n, r);
		CHECKF(is_hex(r, root[n]), "n %zu", n);
	}
	sha256_close(&h);
}

/* mth([H(b"\0" + struct.pack("<I", i)) for i in range(n)]) */
static void test_tree_sizes(void)
{
	static const struct { uint32_t n; const char *root; } c[] = {
		{ 9, "b5924769753aea10eea1bf64eae4c33487439ec614b89554db8e3b95eff73aa6" },
		{ 13, "5df5965cbe72ad929a89e94e626503a6c2b8c90b3c7d230f0d680d75386e536c" },
		{ 16, "1907b90e5ed12874ff631d16d3bcf6219779bf8546b869ae11a0ab1a4677180a" },
		{ 31, "2a619c1bc231216a7348a142369b9fad0404e6261485013a7f26d412f17a6091" },
		{ 100, "32cf1907ba02cca1e8ad03b808276795f37d63bb76ce7431e2246c92aafbd24e" },
		{ 1000, "092174a4201b998bd263ae09fea0f0306b4d6434565b19350513ce5fae499dbe" },
		{ 36001, "65dcc50817aea0ecf0b0ddfaecf151267e39bd7b5fcf5cc227cd3cc72ad15742" },
	};
	struct sha256 h;
	struct err e;
	uint8_t *leaves = malloc(36001 * SHA256_BYTES), r[SHA256_BYTES], b[4];

	CHECK(leaves && sha256_open(&h, &e) == OK);
	for (size_t k = 0; leaves && k < sizeof c / sizeof *c; k++) {
		for (uint32_t i = 0; i < c[k].n; i++) {
			store_le(b, 4, i);
			leaf(&h, b, 4, leaves + i * SHA256_BYTES);
		}
		seal_tree(&h, leaves, c[k].n, r);
		CHECKF(is_hex(r, c[k].root), "n %u", c[k].n);
	}
	sha256_close(&h);
	free(leaves);
}

/* Chunks tile the tensor in order, none empty, none over the limit, none across a matrix. */
static void check_layout(unsigned n_dims, const uint64_t *shape, uint64_t bytes, uint64_t chunk,
			 uint64_t n_matrices, uint64_t n_chunks)
{
	struct seal_layout l = seal_layout(shape, n_dims, bytes, chunk);
	uint64_t at = 0;

	CHECKF(l.n_matrices == n_matrices && l.n_chunks == n_chunks, "%u dims: %lu matrices, %lu "
	       "chunks", n_dims, (unsigned long)l.n_matrices, (unsigned long)l.n_chunks);
	for (uint64_t i = 0; i < l.n_chunks; i++) {
		struct seal_chunk c = seal_chunk(&l, i);
		CHECK(c.off == at && c.bytes > 0 && c.bytes <= chunk && c.matrix < n_matrices);
		CHECK(c.off / (bytes / n_matrices) == c.matrix);
		CHECK((c.off + c.bytes - 1) / (bytes / n_matrices) == c.matrix);
		at += c.bytes;
	}
	CHECK(at == bytes);
	CHECK(seal_chunk(&l, n_chunks).bytes == 0 && seal_chunk(&l, UINT64_MAX).bytes == 0);
}

static void test_layout(void)
{
	uint64_t s1[] = { 10 }, s2[] = { 3, 10 }, s3[] = { 3, 2, 5 }, s4[] = { 5, 1, 2, 3 };
	uint64_t big[] = { 7168, 7168 }, exps[] = { 256, 2048, 4096 };

	check_layout(1, s1, 10, 4, 1, 3);
	check_layout(1, s1, 10, 10, 1, 1);
	check_layout(1, s1, 10, 100, 1, 1);
	check_layout(1, s1, 10, 1, 1, 10);
	check_layout(2, s2, 30, 4, 1, 8);
	check_layout(3, s3, 30, 4, 3, 9);
	check_layout(3, s3, 30, 5, 3, 6);
	check_layout(3, s3, 30, 10, 3, 3);
	check_layout(3, s3, 30, 64, 3, 3);	/* a chunk never spans two experts */
	check_layout(4, s4, 30, 4, 5, 10);
	check_layout(2, big, 7168 * 7168 * 2, SEAL_CHUNK_BYTES, 1, 25);	/* 24.5 chunks */
	check_layout(3, exps, 256ull * 2048 * 4096 / 32 * 17, SEAL_CHUNK_BYTES, 256, 512);
	/* nothing there */
	uint64_t z[3] = { 0, 4, 4 }, z2[3] = { 4, 0, 4 };
	CHECK(seal_layout(z, 3, 0, 4).n_chunks == 0 && seal_layout(z2, 3, 0, 4).n_chunks == 0);
	CHECK(seal_layout(z, 1, 0, 4).n_chunks == 0 && seal_layout(s1, 1, 10, 0).n_chunks == 0);
	/* far beyond 32 bits */
	uint64_t vast[1] = { 1ull << 50 };
	struct seal_layout l = seal_layout(vast, 1, 1ull << 50, SEAL_CHUNK_BYTES);
	CHECK(l.n_chunks == 1ull << 28);
	CHECK(seal_chunk(&l, l.n_chunks - 1).off == (1ull << 50) - (4 << 20));
}

/* A 3-D I8 tensor of shape (3, 2, 5), byte i = 7 i, in chunks of 4; an F32 tensor (4096) whose
 * tensor root is H(b"\0abc"). Leaf: H(b"\0" + pack("<Q", len(name)) + name + pack("<II", ggml
 * type, n_dims) + dims fastest first as "<Q" + tensor root); file root: mth of both leaves. */
static void test_leaves(void)
{
	uint64_t shape[3] = { 3, 2, 5 }, one[1] = { 4096 };
	uint8_t data[30], leaves[9][SHA256_BYTES], two[2][SHA256_BYTES], r[SHA256_BYTES];
	struct seal_layout l = seal_layout(shape, 3, 30, 4);
	struct sha256 h;
	struct err e;

	for (int i = 0; i < 30; i++)
		data[i] = (uint8_t)(7 * i);
	CHECK(sha256_open(&h, &e) == OK && l.n_chunks == 9);
	for (uint64_t i = 0; i < 9; i++) {
		struct seal_chunk c = seal_chunk(&l, i);
		leaf(&h, data + c.off, (size_t)c.bytes, leaves[i]);
	}
	seal_tree(&h, leaves[0], 9, r);
	CHECK(is_hex(r, "7e772315197e9f8a2d8baa598fb24cf90d928c955f8c5d3cfe0eb076d3ce27d8"));
	seal_tensor_leaf(&h, STR("blk.0.t.weight"), DT_I8, 3, shape, r, two[0]);
	CHECK(is_hex(two[0], "84e1a039353a3cb2d01bf7ede4b5112750fb6048f948dce1b1f4ec1ffd605c3d"));
	leaf(&h, "abc", 3, r);
	seal_tensor_leaf(&h, STR("norm"), DT_F32, 1, one, r, two[1]);
	CHECK(is_hex(two[1], "497a04fa521316a9ef0a71cc95d955d44fd520c681f0786c566bc2b903fc6fb4"));
	seal_tree(&h, two[0], 2, r);
	CHECK(is_hex(r, "7b8aae31d33ae4bbbb2b4dc1d1e90ba6347433497f1510e3ae92c03e21a1768f"));
	sha256_close(&h);
}

/* 10000 bytes, byte i = 13 i; digest at 100 (or 9100) as zeros, signature at 5000 as spaces. */
static void test_header_digests(void)
{
	static const char before[] =
		"2b02248e96faa1656bca51c347c2b53744e510c4c2aedac6fad30ddab2b1842f";
	static uint8_t b[10000];
	uint8_t r[SHA256_BYTES];
	struct sha256 h;
	struct err e;

	for (size_t i = 0; i < sizeof b; i++)
		b[i] = (uint8_t)(13 * i);
	CHECK(sha256_open(&h, &e) == OK);
	seal_header_sha256(&h, b, sizeof b, 100, 5000, r);
	CHECK(is_hex(r, before));
	b[100] ^= 1, b[131] ^= 1, b[5000] ^= 1, b[9095] ^= 1;
	seal_header_sha256(&h, b, sizeof b, 100, 5000, r);
	CHECK(is_hex(r, before));
	b[100] ^= 1, b[131] ^= 1, b[5000] ^= 1, b[9095] ^= 1;
	const size_t edge[] = { 0, 99, 132, 4999, 9096, 9999 };
	for (size_t i = 0; i < sizeof edge / sizeof *edge; i++) {
		b[edge[i]] ^= 0x80;
		seal_header_sha256(&h, b, sizeof b, 100, 5000, r);
		CHECKF(!is_hex(r, before), "byte %zu", edge[i]);
		b[edge[i]] ^= 0x80;
	}
	seal_header_sha256(&h, b, sizeof b, 9100, 5000, r);
	CHECK(is_hex(r, "c6ec81f38ff60210c50ad1a6f9417185e997a26345570c004a883280fc4a132d"));
	seal_signed_digest(&h, b, sizeof b, 5000, r);
	CHECK(is_hex(r, "1e2031fc753df447fd15ad683c4c797b6e4de09225e1f36d93a7716a39751ca5"));
	/* offsets that no seal has: no read outside (sanitizers), and some other digest */
	seal_header_sha256(&h, b, sizeof b, 9990, UINT64_MAX - 5, r);
	seal_header_sha256(&h, b, sizeof b, 5100, 5000, r);
	CHECK(!is_hex(r, before));
	seal_signed_digest(&h, b, 10, 5000, r);
	sha256_close(&h);
}

/* ---- reading a seal ------------------------------------------------------------------------ */

/* What differs from a right seal: a key left out, or written otherwise. */
struct wrong {
	const char *omit, *retype;
	uint32_t version, chunk_bytes;
	uint64_t n_chunk_bytes, root_bytes, header_bytes, signature_bytes;
	enum gguf_type elem;
	bool no_seal;
};
static const struct wrong right = { .version = 1, .chunk_bytes = SEAL_CHUNK_BYTES,
	.n_chunk_bytes = 3 * 32, .root_bytes = 32, .header_bytes = 32, .signature_bytes = 4096,
	.elem = GGUF_U8 };

/* False if the key is to be left out, or has been written with a wrong type. */
static bool wanted(struct gguf_writer *w, const struct wrong *x, const char *key)
{
	if (x->omit && strcmp(x->omit, key) == 0)
		return false;
	if (!x->retype || strcmp(x->retype, key) != 0)
		return true;
	gguf_put_bool(w, key, true);
	return false;
}

static size_t put_seal(struct gguf_writer *w, const struct wrong *x)
{
	size_t at = 0;

	if (x->no_seal)
		return 0;
	if (wanted(w, x, SEAL_KEY_VERSION))
		gguf_put_u32(w, SEAL_KEY_VERSION, x->version);
	if (wanted(w, x, SEAL_KEY_FILE_SIZE))
		gguf_put_u64(w, SEAL_KEY_FILE_SIZE, 123456);
	if (wanted(w, x, SEAL_KEY_CHUNK_BYTES))
		gguf_put_u32(w, SEAL_KEY_CHUNK_BYTES, x->chunk_bytes);
	if (wanted(w, x, SEAL_KEY_CHUNKS))
		at = gguf_put_array(w, SEAL_KEY_CHUNKS, x->elem, NULL, x->n_chunk_bytes);
	if (wanted(w, x, SEAL_KEY_ROOT))
		gguf_put_array(w, SEAL_KEY_ROOT, GGUF_U8, NULL, x->root_bytes);
	if (wanted(w, x, SEAL_KEY_HEADER))
		gguf_put_array(w, SEAL_KEY_HEADER, GGUF_U8, NULL, x->header_bytes);
	if (wanted(w, x, SEAL_KEY_SIGNATURE))
		gguf_put_spaces(w, SEAL_KEY_SIGNATURE, x->signature_bytes);
	return at;
}

/* A file with two small matrices in one 3-D tensor and a vector: three chunks. */
static enum status read_seal(const struct wrong *x, struct seal *s, struct gguf *g,
			     size_t *chunks_at, struct err *e)
{
	static const uint64_t cube[3] = { 2, 4, 8 }, line[1] = { 8 };
	char dir[] = "/tmp/test_seal.XXXXXX", path[64];
	struct gguf_writer w;
	struct file f = FILE_NONE;
	struct log notes = { 0 };
	uint64_t size;
	enum status st;
	int fd;

	gguf_writer_open(&w, 32);
	gguf_put_str(&w, "general.architecture", STR("test"));
	*chunks_at = put_seal(&w, x);
	gguf_put_tensor(&w, "cube", DT_F32, 3, cube);
	gguf_put_tensor(&w, "line", DT_F32, 1, line);
	CHECK(gguf_writer_finish(&w, &size, e) == OK && mkdtemp(dir));
	snprintf(path, sizeof path, "%s/x", dir);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	CHECK(write(fd, w.buf, w.len) == (ssize_t)w.len && ftruncate(fd, (off_t)size) == 0);
	close(fd);
	gguf_writer_close(&w);
	CHECK(file_open(&f, AT_FDCWD, path, false, path, e) == OK);
	st = gguf_read(g, &f, &notes, e);
	CHECKF(st == OK, "%s", e->msg);
	file_close(&f);
	log_close(&notes);
	unlink(path);
	rmdir(dir);
	return seal_read(s, g, e);
}

static void seal_fails(const char *id, struct wrong x, enum status want)
{
	struct gguf g;
	struct seal s;
	struct err e = { 0 };
	size_t at;
	enum status st = read_seal(&x, &s, &g, &at, &e);

	CHECKF(st == want && e.status == want && e.msg[0], "%s: %d %s", id, (int)st, e.msg);
	CHECKF(!s.chunk_sha256 && !s.root && s.n_chunks == 0, "%s", id);
	gguf_close(&g);
}

static void test_read(void)
{
	static const char *const keys[] = {
		SEAL_KEY_VERSION, SEAL_KEY_FILE_SIZE, SEAL_KEY_CHUNK_BYTES, SEAL_KEY_CHUNKS,
		SEAL_KEY_ROOT, SEAL_KEY_HEADER, SEAL_KEY_SIGNATURE,
	};
	struct gguf g;
	struct seal s;
	struct err e;
	size_t at;

	CHECK(read_seal(&right, &s, &g, &at, &e) == OK);
	CHECK(s.file_size == 123456 && s.chunk_bytes == SEAL_CHUNK_BYTES && s.n_chunks == 3);
	CHECK(s.chunk_sha256 == g.header + at);
	CHECK(s.signature.n == 4096 && s.signature.p[4095] == ' ');
	CHECK(s.header_sha256 == g.header + s.header_sha256_off);
	CHECK((const uint8_t *)s.signature.p == g.header + s.signature_off);
	gguf_close(&g);

	struct wrong x = right;
	x.no_seal = true, seal_fails("none", x, ERR_NO_DIGEST);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		x = right, x.omit = keys[i], seal_fails(keys[i], x, ERR_FORMAT);
		x = right, x.retype = keys[i], seal_fails(keys[i], x, ERR_FORMAT);
	}
	x = right, x.version = 2, seal_fails("version 2", x, ERR_UNSUPPORTED);
	x = right, x.version = 0, seal_fails("version 0", x, ERR_UNSUPPORTED);
	x = right, x.chunk_bytes = 0, seal_fails("chunks of 0", x, ERR_FORMAT);
	x = right, x.chunk_bytes = 1, seal_fails("chunks of 1", x, ERR_FORMAT);
	x = right, x.chunk_bytes *= 2, seal_fails("same count", x, ERR_FORMAT);
	x = right, x.n_chunk_bytes = 2 * 32, seal_fails("chunk missing", x, ERR_FORMAT);
	x = right, x.n_chunk_bytes = 4 * 32, seal_fails("chunk too many", x, ERR_FORMAT);
	x = right, x.n_chunk_bytes = 3 * 32 + 1, seal_fails("odd bytes", x, ERR_FORMAT);
	x = right, x.n_chunk_bytes = 0, seal_fails("no chunks", x, ERR_FORMAT);
	x = right, x.elem = GGUF_I8, seal_fails("i8", x, ERR_FORMAT);
	x = right, x.root_bytes = 31, seal_fails("root 31", x, ERR_FORMAT);
	x = right, x.header_bytes = 64, seal_fails("header 64", x, ERR_FORMAT);
	x = right, x.signature_bytes = 4095, seal_fails("signature 4095", x, ERR_FORMAT);
	x = right, x.signature_bytes = 0, seal_fails("signature 0", x, ERR_FORMAT);
}

int main(void)
{
	RUN(test_tree_ct);
	RUN(test_tree_sizes);
	RUN(test_layout);
	RUN(test_leaves);
	RUN(test_header_digests);
	RUN(test_read);
	return test_done();
}
