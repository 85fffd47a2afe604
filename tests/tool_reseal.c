/* SPDX-License-Identifier: MIT
 *
 * tool_reseal.c - FILE.gguf [OFFSET HEX]...: overwrites bytes in place, then makes the seal anew, as a writer with
 * bad values or bad intent would. What is then wrong with the file, no digest shows.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/format.h"

static int die(const char *what, const struct err *e)
{
	fprintf(stderr, "tool_reseal: %s: %s\n", what, e ? e->msg : "failed");
	return 1;
}

static int poke(int fd, const char *offset, const char *hex)
{
	uint8_t b[256];
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n && i < sizeof b; i++) {
		unsigned v;

		if (sscanf(hex + 2 * i, "%2x", &v) != 1)
			return die("HEX", NULL);
		b[i] = (uint8_t)v;
	}
	return n == 0 || n > sizeof b || pwrite(fd, b, n, (off_t)strtoll(offset, NULL, 0)) != (ssize_t)n ? die(offset, NULL) : 0;
}

/* Chunk digests into the header, the root of the tree into root. */
static enum status digest_tensors(const struct gguf *g, const struct seal *s, const struct file *f, struct sha256 *h,
				  uint8_t root[SHA256_BYTES], struct err *e)
{
	uint8_t *leaves = calloc(g->n_tensors + 1, SHA256_BYTES), *to = (uint8_t *)(uintptr_t)s->chunk_sha256;
	uint8_t *buf = malloc(SEAL_CHUNK_BYTES), *copy = malloc(SHA256_BYTES * s->n_chunks + 1), tree[SHA256_BYTES];

	if (!leaves || !buf || !copy)
		return err_set(e, ERR_NOMEM, "no memory");
	for (size_t i = 0; i < g->n_tensors; i++) {
		const struct gguf_tensor *t = &g->tensors[i];
		struct seal_layout l = seal_layout(t->shape, t->n_dims, t->bytes, s->chunk_bytes);

		for (uint64_t k = 0; k < l.n_chunks; k++) {
			struct seal_chunk c = seal_chunk(&l, k);

			if (file_read(f, buf, (size_t)c.bytes, t->off + c.off, e) != OK)
				return e->status;
			seal_leaf_start(h);
			sha256_add(h, buf, (size_t)c.bytes);
			sha256_end(h, to + SHA256_BYTES * k);
		}
		memcpy(copy, to, SHA256_BYTES * l.n_chunks);
		seal_tree(h, copy, l.n_chunks, tree);
		seal_tensor_leaf(h, t->name, t->dtype, t->n_dims, t->shape, tree, leaves + SHA256_BYTES * i);
		to += SHA256_BYTES * l.n_chunks;
	}
	seal_tree(h, leaves, g->n_tensors, root);
	free(leaves);
	free(buf);
	free(copy);
	return OK;
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	struct file f;
	struct gguf g = { 0 };
	struct seal s;
	struct sha256 h = { 0 };
	struct err e = { 0 };
	struct log notes = { 0 };

	if (fd < 0 || argc % 2)
		return die("usage: tool_reseal FILE.gguf [OFFSET HEX]...", NULL);
	for (int i = 2; i + 1 < argc; i += 2)
		if (poke(fd, argv[i], argv[i + 1]))
			return 1;
	if (file_open(&f, AT_FDCWD, argv[1], true, argv[1], &e) != OK || gguf_read(&g, &f, &notes, &e) != OK ||
	    seal_read(&s, &g, &e) != OK || sha256_open(&h, &e) != OK ||
	    digest_tensors(&g, &s, &f, &h, (uint8_t *)(uintptr_t)s.root, &e) != OK)
		return die(argv[1], &e);
	seal_header_sha256(&h, g.header, g.data_off, s.header_sha256_off, s.signature_off, g.header + s.header_sha256_off);
	if (pwrite(fd, g.header, (size_t)g.data_off, 0) != (ssize_t)g.data_off || close(fd) != 0)
		return die(argv[1], NULL);
	sha256_close(&h);
	log_close(&notes);
	gguf_close(&g);
	file_close(&f);
	return 0;
}
