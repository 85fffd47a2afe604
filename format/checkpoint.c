/* SPDX-License-Identifier: MIT
 *
 * checkpoint.c - a directory of shards as one set of tensors.
 *
 * The index names a shard for every tensor; the shards' headers are the truth. Both are read and
 * compared entry by entry, and whatever differs is listed, all of it. Everything is sorted by
 * name and searched by halves, so that a hostile index costs n log n, whatever its names are.
 */
#include "format/format.h"

#include <stdlib.h>
#include <string.h>

enum { INDEX_LIMIT = 512 << 20, MAX_SHARDS = 4096, MAX_LISTED = 200 };

static const char index_name[] = "model.safetensors.index.json";
static const char single_name[] = "model.safetensors";

/* weight_map as it stands in the index. */
struct index_entry { const char *tensor, *shard; };
struct index {
	char *text;			/* owned: the strings are in it */
	struct index_entry *entries;	/* owned, sorted by tensor */
	size_t n, cap;
	uint64_t total_size;
	bool has_total;
};

static void index_close(struct index *x)
{
	free(x->text);
	free(x->entries);
	*x = (struct index){ 0 };
}

static int by_tensor(const void *a, const void *b)
{
	return strcmp(((const struct index_entry *)a)->tensor, ((const struct index_entry *)b)->tensor);
}

static int by_shard(const void *a, const void *b)
{
	return strcmp(((const struct index_entry *)a)->shard, ((const struct index_entry *)b)->shard);
}

static void read_weight_map(struct index *x, struct json *j)
{
	struct str key, shard;
	struct err e = { 0 };

	if (!json_object(j))
		return;
	while (json_key(j, &key)) {
		void *p = x->entries;

		if (!json_string(j, &shard))
			return;
		if (!name_is_shard(shard.p)) {
			char shown[300];
			json_fail(j, ERR_FORMAT, "weight_map sends a tensor to '%s', which is not the plain name "
				  "of a .safetensors file in this directory",
				  escape_text(shown, sizeof shown, shard.p, shard.n));
			return;
		}
		if (mem_grow(&p, &x->cap, x->n + 1, sizeof *x->entries, "the index", &e) != OK) {
			json_fail(j, e.status, "%s", e.msg);
			return;
		}
		x->entries = p;
		x->entries[x->n++] = (struct index_entry){ key.p, shard.p };
	}
}

static enum status index_read(struct index *x, const struct file *f, struct err *e)
{
	struct str key;
	struct json j;
	bool has_map = false;
	size_t n;
	enum status st;

	TRY(file_slurp(f, INDEX_LIMIT, &x->text, &n, e));
	if (strncmp(x->text, "version https://git-lfs", 23) == 0)
		return err_set(e, ERR_FORMAT, "%s: a git-LFS pointer, not the index itself; run `git lfs pull` "
			       "or download it with hf", f->path);
	json_open(&j, x->text, n, 16, f->path);
	if (json_object(&j))
		while (json_key(&j, &key)) {
			if (str_is(key, "weight_map")) {
				has_map = true;
				read_weight_map(x, &j);
			} else if (str_is(key, "metadata") && json_peek(&j) == JSON_OBJECT) {
				json_object(&j);
				while (json_key(&j, &key))
					if (str_is(key, "total_size") && json_peek(&j) == JSON_NUMBER)
						x->has_total = json_u64(&j, &x->total_size);
					else
						json_skip(&j);
			} else {
				json_skip(&j);
			}
		}
	TRY(json_close(&j, e));
	if (!has_map || x->n == 0)
		return err_set(e, ERR_FORMAT, "%s: has no weight_map with tensors in it", f->path);
out:
	return st;
}

/* The distinct shards of the index, sorted; leaves the entries sorted by tensor. */
static enum status shard_names(struct index *x, struct names *l, const char *path, struct err *e)
{
	size_t cap = 0;
	void *p = NULL;

	qsort(x->entries, x->n, sizeof *x->entries, by_shard);
	for (size_t i = 0; i < x->n; i++) {
		if (i > 0 && strcmp(x->entries[i].shard, x->entries[i - 1].shard) == 0)
			continue;
		if (l->n >= MAX_SHARDS)
			return err_set(e, ERR_UNSUPPORTED, "%s: names more than %d shards", path, MAX_SHARDS);
		if (mem_grow(&p, &cap, l->n + 1, sizeof *l->v, "shard names", e) != OK)
			return e->status;
		l->v = p;
		if (!(l->v[l->n] = mem_strdup(x->entries[i].shard, e)))
			return e->status;
		l->n++;
	}
	qsort(x->entries, x->n, sizeof *x->entries, by_tensor);
	return OK;
}

/* Opens shards and small files into c->files; missing shards are all listed. */
static enum status open_files(struct checkpoint *c, const struct names *shards, struct log *notes,
			      struct err *e)
{
	size_t n_missing = 0, n_small = 0;
	bool missing;
	enum status st = OK;

	while (source_small_files[n_small])
		n_small++;
	c->files = mem_new(shards->n + n_small, sizeof *c->files, "the list of files", e);
	c->headers = mem_new(shards->n, sizeof *c->headers, "the list of shards", e);
	if (!c->files || !c->headers)
		return e->status;
	for (size_t i = 0; i < shards->n; i++) {
		struct source_file *f = &c->files[c->n_files];

		st = source_file_open(f, &c->dir, shards->v[i], &missing, notes, e);
		if (st != OK && !missing)
			return st;
		if (st == OK) {
			f->is_shard = true;
			c->n_files++;
		} else if (n_missing++ < MAX_LISTED) {
			log_add(notes, "%s/%s: shard is missing", c->dir.path, shards->v[i]);
		}
	}
	c->n_shards = c->n_files;
	if (n_missing)
		return err_set(e, ERR_FORMAT, "%s: %zu of %zu shards are missing; finish the download",
			       c->dir.path, n_missing, shards->n);
	for (size_t i = 0; i < n_small; i++) {
		st = source_file_open(&c->files[c->n_files], &c->dir, source_small_files[i], &missing, notes, e);
		if (st == OK)
			c->n_files++;
		else if (!missing)
			return st;
	}
	return OK;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct st_tensor *const *)a)->name, (*(const struct st_tensor *const *)b)->name);
}

static enum status read_headers(struct checkpoint *c, struct log *notes, struct err *e)
{
	size_t n = 0;
	enum status st;

	for (size_t i = 0; i < c->n_shards; i++) {
		TRY(st_read(&c->headers[i], &c->files[i].file, (uint32_t)i, notes, e));
		c->n_tensors += c->headers[i].n_tensors;
	}
	c->by_name = mem_new(c->n_tensors, sizeof *c->by_name, "the list of tensors", e);
	if (!c->by_name)
		return e->status;
	for (size_t i = 0; i < c->n_shards; i++)
		for (size_t k = 0; k < c->headers[i].n_tensors; k++)
			c->by_name[n++] = &c->headers[i].tensors[k];
	qsort(c->by_name, n, sizeof *c->by_name, by_name);
	for (size_t i = 1; i < n; i++)
		if (strcmp(c->by_name[i - 1]->name, c->by_name[i]->name) == 0)
			return err_set(e, ERR_FORMAT, "%s: tensor %s is in two shards, %s and %s", c->dir.path,
				       c->by_name[i]->name, c->files[c->by_name[i - 1]->shard].name,
				       c->files[c->by_name[i]->shard].name);
	return OK;
out:
	return st;
}

/* One walk over two sorted lists: every tensor in the index is in the shard it names, and every
 * tensor of a shard is in the index. */
static enum status compare_index(const struct checkpoint *c, const struct index *x, struct log *notes,
				 struct err *e)
{
	size_t i = 0, k = 0, n_bad = 0;
	uint64_t total = 0;

	while (i < x->n || k < c->n_tensors) {
		const struct st_tensor *t = k < c->n_tensors ? c->by_name[k] : NULL;
		int order = !t ? -1 : i == x->n ? 1 : strcmp(x->entries[i].tensor, t->name);

		if (order < 0 && n_bad++ < MAX_LISTED)
			log_add(notes, "%s/%s: sends tensor %s to %s, which does not hold it", c->dir.path,
				index_name, x->entries[i].tensor, x->entries[i].shard);
		if (order > 0 && n_bad++ < MAX_LISTED)
			log_add(notes, "%s/%s: does not name tensor %s of %s", c->dir.path, index_name, t->name,
				c->files[t->shard].name);
		if (order == 0 && strcmp(x->entries[i].shard, c->files[t->shard].name) != 0 &&
		    n_bad++ < MAX_LISTED)
			log_add(notes, "%s/%s: sends tensor %s to %s, but it is in %s", c->dir.path, index_name,
				t->name, x->entries[i].shard, c->files[t->shard].name);
		if (t && order >= 0)
			total += t->bytes;
		i += order <= 0;
		k += order >= 0;
	}
	if (n_bad)
		return err_set(e, ERR_FORMAT, "%s: the index and the shards disagree on %zu tensors; download "
			       "both again", c->dir.path, n_bad);
	if (x->has_total && x->total_size != total)
		log_add(notes, "%s/%s: says total_size %llu, the tensors have %llu bytes", c->dir.path,
			index_name, (unsigned long long)x->total_size, (unsigned long long)total);
	return OK;
}

static enum status refuse_without_index(struct checkpoint *c, struct err *e)
{
	struct names l;
	size_t n = 0;

	if (source_dir_list(&c->dir, false, &l, e) != OK)
		return e->status;
	for (size_t i = 0; i < l.n; i++)
		n += name_is_shard(l.v[i]);
	names_close(&l);
	return err_set(e, ERR_FORMAT, "%s: has neither %s nor %s (%zu other .safetensors files): not a "
		       "complete checkpoint; finish the download", c->dir.path, index_name, single_name, n);
}

enum status checkpoint_open(struct checkpoint *c, const char *path, const struct source_options *o,
			    struct log *notes, struct err *e)
{
	struct source_file f = { .file = FILE_NONE };
	struct index x = { 0 };
	struct names shards = { 0 };
	bool missing, indexed;
	enum status st;

	*c = (struct checkpoint){ .dir = SOURCE_DIR_NONE };
	TRY(source_dir_open(&c->dir, path, o, e));
	/* opened again below with the others: that is when its notes count */
	st = source_file_open(&f, &c->dir, index_name, &missing, NULL, e);
	indexed = st == OK;
	if (indexed) {
		TRY(index_read(&x, &f.file, e));
		TRY(shard_names(&x, &shards, f.file.path, e));
	} else if (missing) {
		source_file_close(&f);
		st = source_file_open(&f, &c->dir, single_name, &missing, NULL, e);
		if (st != OK && missing)
			st = refuse_without_index(c, e);
		if (st != OK)
			goto out;
		shards.v = mem_new(1, sizeof *shards.v, "shard names", e);
		if (!shards.v || !(shards.v[0] = mem_strdup(single_name, e))) {
			st = ERR_NOMEM;
			goto out;
		}
		shards.n = 1;
	} else {
		goto out;
	}
	TRY(open_files(c, &shards, notes, e));
	TRY(read_headers(c, notes, e));
	if (indexed)
		TRY(compare_index(c, &x, notes, e));
out:
	source_file_close(&f);
	index_close(&x);
	names_close(&shards);
	if (st != OK)
		checkpoint_close(c);
	return st;
}

static int name_against(const void *key, const void *entry)
{
	return strcmp(key, (*(const struct st_tensor *const *)entry)->name);
}

const struct st_tensor *checkpoint_find(const struct checkpoint *c, const char *name)
{
	const struct st_tensor **p;

	if (c->n_tensors == 0)
		return NULL;
	p = bsearch(name, c->by_name, c->n_tensors, sizeof *c->by_name, name_against);
	return p ? *p : NULL;
}

const struct source_file *checkpoint_file(const struct checkpoint *c, const char *name)
{
	for (size_t i = c->n_shards; i < c->n_files; i++)
		if (strcmp(c->files[i].name, name) == 0)
			return &c->files[i];
	return NULL;
}

void checkpoint_close(struct checkpoint *c)
{
	for (size_t i = 0; i < c->n_files; i++)
		source_file_close(&c->files[i]);
	for (size_t i = 0; c->headers && i < c->n_shards; i++)
		st_close(&c->headers[i]);
	free(c->files);
	free(c->headers);
	free(c->by_name);
	source_dir_close(&c->dir);
	*c = (struct checkpoint){ .dir = SOURCE_DIR_NONE };
}
