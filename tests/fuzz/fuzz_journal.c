/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "convert/convert.h"
#include "convert/journal_file.h"
#include "tests/fuzz/fuzz.h"

/* The journal of an earlier conversion of the sample, forged. The first byte of the input says whether the
 * rest is the file's records as they stand, or their contents, to which the checksums are put here; the
 * outputs are files of zeros. Whatever is claimed, what still counts was read back and has its digest. */

static char dir[64], base[96], forged[128];
static struct checkpoint ckpt;
static struct arch arch;
static struct vocab vocab;
static struct recipe recipe;
static struct output outputs[PLAN_OUTPUTS];
static struct log notes;
static struct journal *fresh;	/* knows its plan, has read nothing */
static int forged_fd;

static void clean(void)
{
	unlink(forged);
	rmdir(dir);
}

static bool plan(struct plan *p, struct err *e)
{
	struct plan_options o = { .recipe = &recipe };

	return plan_build(p, &ckpt, &arch, &vocab, &o, &notes, &notes, e) == OK;
}

static bool prepare(struct plan *p, struct err *e)
{
	const struct source_file *config;
	char *text = NULL;
	size_t n;
	bool ok = checkpoint_open(&ckpt, "samples/v4-tiny", NULL, &notes, e) == OK &&
		  (config = checkpoint_file(&ckpt, "config.json")) && file_slurp(&config->file, CONFIG_LIMIT, &text, &n, e) == OK &&
		  arch_from_config(&arch, text, n, "config.json", &notes, e) == OK &&
		  vocab_from_files(&vocab, checkpoint_file(&ckpt, "tokenizer.json"), NULL, NULL, arch.n_vocab, arch.bos, arch.eos,
				   &notes, e) == OK &&
		  recipe_add_named(&recipe, "lossless", e) == OK && plan(p, e);

	free(text);
	fuzz_dir(dir);
	atexit(clean);
	snprintf(base, sizeof base, "%s/out", dir);
	snprintf(forged, sizeof forged, "%s.journal", base);
	forged_fd = fuzz_create(dir, "out.journal");
	for (size_t i = 0; ok && i < p->n_outputs; i++) {
		outputs[i] = OUTPUT_NONE;
		outputs[i].kept = true;
		outputs[i].partial = base;
		outputs[i].fd = memfd_create("output", MFD_CLOEXEC);
		ok = outputs[i].fd >= 0 && ftruncate(outputs[i].fd, (off_t)p->out[i].file_size) == 0;
	}
	return ok && journal_new(&fresh, base, p, NULL, 0, e) == OK;
}

/* kind u8, length u8, payload ... as records with their checksums. */
static size_t records(const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
	size_t at = 0;

	while (n >= 2 && cap - at >= 255 + RECORD_EXTRA) {
		size_t k = u64_min(in[1], n - 2);

		store_le(out + at, 4, in[0] % 8);
		store_le(out + at + 4, 4, k);
		memcpy(out + at + 8, in + 2, k);
		store_le(out + at + 8 + k, 4, journal_crc(out + at, 8 + k));
		at += k + RECORD_EXTRA;
		in += k + 2;
		n -= k + 2;
	}
	return at;
}

static void write_journal(const uint8_t *data, size_t n)
{
	static uint8_t text[1 << 20];
	static size_t had;

	memcpy(text, JOURNAL_MAGIC, 8);
	memcpy(text + 8, fresh->plan_sha256, SHA256_BYTES);
	store_le(text + 40, 4, journal_crc(text, 40));
	if (n > sizeof text - JOURNAL_HEAD)
		n = sizeof text - JOURNAL_HEAD;
	if (n && data[0] % 2)
		n = records(data + 1, n - 1, text + JOURNAL_HEAD, sizeof text - JOURNAL_HEAD);
	else
		memcpy(text + JOURNAL_HEAD, data, n);
	fuzz_write(forged_fd, &had, text, JOURNAL_HEAD + n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct plan p;
	static char *paths[PLAN_OUTPUTS] = { base, base };
	uint8_t sha256[4096];
	struct journal j;
	struct claims claims = { 0 };
	const struct pipeline_options run = { .threads = 1 };
	struct aux *aux = NULL;
	struct err e = { 0 };

	if (!fresh && !prepare(&p, &e)) {
		fprintf(stderr, "%s: run this in the root of the repository\n", e.msg);
		abort();
	}
	if (aux_open(&aux, &p, &e) != OK)
		abort();
	j = *fresh;
	j.aux = aux;
	write_journal(data, n);
	if (journal_find_sealed(&j, &p, paths, &claims, &e) == OK &&
	    journal_resume(&j, &p, outputs, sha256, &run, &claims, &notes, &e) == OK &&
	    (claims.n_shards > ckpt.n_shards || claims.n_chunks > p.out[0].n_chunks + p.out[1].n_chunks))
		abort();
	claims_close(&claims);
	aux_close(aux);
	log_close(&notes);
	return 0;
}
