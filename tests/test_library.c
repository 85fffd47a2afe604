/* SPDX-License-Identifier: MIT
 *
 * test_library.c - the public calls on the bundled sample: facts, plan, conversion that is stopped and goes on, verdicts,
 * perplexity; structures of other versions; nothing printed; two threads; another locale.
 */
#include <dirent.h>
#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library/ingot.h"
#include "tests/test.h"

#define SAMPLE "samples/v4-tiny"
#define TEXT "samples/heldout.txt"

static char dir[64], path_buf[8][128];

/* A name in the scratch folder. */
static const char *at(const char *name)
{
	static unsigned next;
	char *p = path_buf[next++ % 8];

	snprintf(p, sizeof path_buf[0], "%s/%s", dir, name);
	return p;
}

static bool exists(const char *path)
{
	struct stat s;

	return stat(path, &s) == 0;
}

static bool same_bytes(const char *a, const char *b)
{
	FILE *x = fopen(a, "rb"), *y = fopen(b, "rb");
	static char p[1 << 16], q[1 << 16];
	bool same = x && y;
	size_t n = 1;

	while (same && n > 0) {
		n = fread(p, 1, sizeof p, x);
		same = fread(q, 1, sizeof q, y) == n && memcmp(p, q, n) == 0;
	}
	if (x)
		fclose(x);
	if (y)
		fclose(y);
	return same;
}

static void flip(const char *path, long offset)
{
	FILE *f = fopen(path, "r+b");
	int c = f && fseek(f, offset, SEEK_SET) == 0 ? fgetc(f) : EOF;

	CHECK(c != EOF && fseek(f, offset, SEEK_SET) == 0 && fputc(c ^ 1, f) != EOF);
	if (f)
		fclose(f);
}

/* ---- what callbacks saw -----------------------------------------------------------------------*/

struct seen { unsigned calls, notes; uint64_t done, total, stop_at; char step[32], last[300]; bool elsewhere; pthread_t caller; };

static int progress(void *arg, const struct ingot_progress *p)
{
	struct seen *s = arg;

	s->calls++;
	s->done = p->done;
	s->total = p->total;
	s->elsewhere |= !pthread_equal(pthread_self(), s->caller) || p->size != sizeof *p;
	snprintf(s->step, sizeof s->step, "%s", p->step);
	return s->stop_at && p->done >= s->stop_at;
}

static void note(void *arg, const char *line)
{
	struct seen *s = arg;

	s->notes++;
	snprintf(s->last, sizeof s->last, "%s", line);
}

static struct ingot_run run_of(struct seen *s, unsigned threads)
{
	s->caller = pthread_self();
	return (struct ingot_run){ .size = sizeof(struct ingot_run), .threads = threads, .progress = progress, .note = note, .arg = s };
}

/* ---- tests ------------------------------------------------------------------------------------*/

static void other_versions(void)
{
	struct { struct ingot_run run; uint64_t more; } longer = { .run = { .size = sizeof longer, .threads = 1 } };
	struct { size_t size; int is_gguf; } shorter = { .size = sizeof shorter };
	struct ingot_run unset = { .threads = 1 };
	struct ingot_facts f = { 0 };
	struct ingot_model *m;
	struct ingot_error e;

	CHECK(strcmp(ingot_version(), "0.1.0") == 0);
	CHECK(ingot_model_open(&m, SAMPLE, &unset, &e) == INGOT_USAGE && !m);
	CHECK(strstr(e.message, "size is not set"));
	CHECK(ingot_model_open(&m, SAMPLE, &longer.run, &e) == INGOT_OK);
	CHECK(e.code == INGOT_OK && e.message[0] == 0);
	CHECK(ingot_model_facts(m, &f) == INGOT_USAGE);
	CHECK(ingot_model_facts(m, (struct ingot_facts *)&shorter) == INGOT_OK);
	CHECK(shorter.size == sizeof shorter && shorter.is_gguf == 0);
	ingot_model_close(m);
	longer.more = 1;
	CHECK(ingot_model_open(&m, SAMPLE, &longer.run, &e) == INGOT_USAGE);
	CHECK(strstr(e.message, "does not know"));
	ingot_model_close(NULL);
	ingot_plan_close(NULL);
	ingot_verdict_close(NULL);
}

static void facts(void)
{
	struct ingot_facts f = { .size = sizeof f };
	struct ingot_tensor t = { .size = sizeof t };
	struct ingot_model *m;
	struct ingot_error e;
	uint64_t bytes = 0;

	CHECK(ingot_model_open(&m, SAMPLE, NULL, &e) == INGOT_OK);
	if (!m)
		return;
	CHECK(ingot_model_facts(m, &f) == INGOT_OK && !f.is_gguf && f.n_files == 3 && f.n_layer > 0);
	CHECK(strcmp(f.architecture, "deepseek4") == 0 && f.parameters > f.parameters_active);
	CHECK(!f.is_sealed && f.root[0] == 0);
	for (uint64_t i = 0; i < f.n_tensors; i++) {
		CHECK(ingot_model_tensor(m, i, &t) == INGOT_OK && t.name[0] && t.n_dims <= INGOT_MAX_DIMS);
		CHECK(strstr(t.file, "model-0000"));
		bytes += t.bytes;
	}
	CHECK(bytes > 0 && bytes < f.bytes);
	CHECK(ingot_model_tensor(m, f.n_tensors, &t) == INGOT_USAGE);
	ingot_model_close(m);
	CHECK(ingot_model_open(&m, at("nothing"), NULL, &e) == INGOT_SYSTEM && !m && strstr(e.message, "nothing"));
	CHECK(ingot_model_open(&m, TEXT, NULL, NULL) == INGOT_FORMAT && !m);
}

static void plan(void)
{
	static const char *const lines[] = { "ffn_.*_exps=Q4_K|IQ4_NL" };
	const struct ingot_convert_options o = { .size = sizeof o, .recipe = "q8", .tensor_types = lines, .n_tensor_types = 1 };
	struct ingot_plan_facts f = { .size = sizeof f };
	struct ingot_output out = { .size = sizeof out };
	struct ingot_planned t = { .size = sizeof t };
	struct seen s = { 0 };
	struct ingot_run run = run_of(&s, 2);
	struct ingot_plan *p;
	struct ingot_error e;
	uint64_t encoded = 0, exact = 0, end = 0;

	CHECK(ingot_plan(&p, SAMPLE, at("plan.gguf"), &o, &run, &e) == INGOT_OK);
	if (!p)
		return;
	CHECK(strcmp(s.step, "plan") == 0);
	CHECK(ingot_plan_facts(p, &f) == INGOT_OK && f.n_outputs == 2 && f.n_workers > 0);
	CHECK(ingot_plan_output(p, 0, &out) == INGOT_OK && out.root[0] == 0 && out.n_chunks >= out.n_tensors);
	for (uint64_t i = 0; i < out.n_tensors; i++) {
		CHECK(ingot_plan_tensor(p, 0, i, &t) == INGOT_OK && t.expected_error >= 0);
		encoded += strstr(t.name, "_exps.weight") && strcmp(t.type, "IQ4_NL") == 0 && t.expected_error > 0;
		exact += t.expected_error <= 0;
		end = t.offset + t.bytes;
	}
	CHECK(encoded > 0 && exact > 0 && end <= out.bytes);
	CHECK(ingot_plan_tensor(p, 2, 0, &t) == INGOT_USAGE && ingot_plan_output(p, 2, &out) == INGOT_USAGE);
	ingot_plan_close(p);
	CHECK(!exists(at("plan.gguf")));
}

static void refusals(void)
{
	struct ingot_convert_options o = { .size = sizeof o, .flags = 1u << 30 };
	struct ingot_error e;

	CHECK(ingot_convert(NULL, SAMPLE, at("no.gguf"), &o, NULL, &e) == INGOT_USAGE && strstr(e.message, "0x40000000"));
	o.flags = 0;
	o.part = 3;
	o.n_parts = 2;
	CHECK(ingot_convert(NULL, SAMPLE, at("no.gguf"), &o, NULL, &e) == INGOT_USAGE);
	o.part = o.n_parts = 0;
	o.recipe = "q8";
	o.target_size = 1 << 20;
	CHECK(ingot_convert(NULL, SAMPLE, at("no.gguf"), &o, NULL, &e) == INGOT_USAGE);
	o.target_size = 0;
	CHECK(ingot_convert(NULL, TEXT, at("no.gguf"), &o, NULL, &e) == INGOT_FORMAT);
	o.part = o.n_parts = 1;
	o.flags = INGOT_FINISH;
	CHECK(ingot_convert(NULL, SAMPLE, at("no.gguf"), &o, NULL, &e) == INGOT_USAGE && strstr(e.message, "are two runs"));
	CHECK(!exists(at("no.gguf")) && !exists(at("no.gguf.partial")));
}

static void other_refusals(void)
{
	struct ingot_verify_options v = { .size = sizeof v, .flags = 1u << 20 };
	struct ingot_perplexity_options o = { .size = sizeof o, .n_ctx = 32, .max_chunks = 1, .flags = 1u << 20 };
	struct ingot_convert_options c = { .size = sizeof c, .flags = INGOT_FINISH };
	struct ingot_perplexity_result unset = { 0 };
	struct ingot_run run = { .size = sizeof run, .threads = 100000 };
	struct ingot_error e;

	CHECK(ingot_verify(NULL, at("a.gguf"), &v, NULL, &e) == INGOT_USAGE && strstr(e.message, "flags of a check: 0x100000"));
	CHECK(ingot_perplexity(&unset, at("a.gguf"), TEXT, &o, NULL, &e) == INGOT_USAGE && strstr(e.message, "flags of a perplexity"));
	o.flags = 0;
	CHECK(ingot_perplexity(&unset, at("a.gguf"), TEXT, &o, NULL, &e) == INGOT_USAGE && strstr(e.message, "the result's size is not set"));
	CHECK(ingot_verify(NULL, at("a.gguf"), NULL, &run, &e) == INGOT_USAGE && strstr(e.message, "100000 threads: "));
	CHECK(ingot_convert(NULL, at("a.gguf"), at("no.gguf"), &c, NULL, &e) == INGOT_USAGE && strstr(e.message, "only a checkpoint has parts"));
}

/* A stop reaches an archive that is being unpacked. */
static void stopped_in_an_archive(void)
{
	char *const args[] = { (char[]){ "tar" }, (char[]){ "-czf" }, (char *)(uintptr_t)at("s.tar.gz"), (char[]){ SAMPLE }, NULL };
	struct ingot_stop stop = { 0 };
	struct ingot_run run = { .size = sizeof run, .threads = 1, .stop = &stop };
	struct ingot_model *m;
	struct ingot_error e;
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		execvp("tar", args);
		_exit(127);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(ingot_model_open(&m, at("s.tar.gz"), &run, &e) == INGOT_OK);
	ingot_model_close(m);
	ingot_stop(&stop, -1);
	CHECKF(ingot_model_open(&m, at("s.tar.gz"), &run, &e) == INGOT_STOPPED && !m, "%s", e.message);
}

static int to_gguf(const char *out, unsigned more_flags, const struct ingot_run *run, struct ingot_plan **made,
		   struct ingot_error *e)
{
	const struct ingot_convert_options o = { .size = sizeof o, .flags = INGOT_ALLOW_UNVERIFIED | more_flags,
						 .journal_every = 1 << 18 };

	return ingot_convert(made, SAMPLE, out, &o, run, e);
}

static void conversion(void)
{
	struct ingot_output out = { .size = sizeof out };
	struct ingot_facts f = { .size = sizeof f };
	struct seen s = { 0 };
	struct ingot_run run = run_of(&s, 2);
	struct ingot_plan *made;
	struct ingot_model *m;
	struct ingot_error e;

	CHECK(to_gguf(at("a.gguf"), 0, &run, &made, &e) == INGOT_OK);
	CHECK(s.calls > 0 && s.done == s.total && s.total > 0 && !s.elsewhere && strcmp(s.step, "convert") == 0);
	CHECK(made && ingot_plan_output(made, 0, &out) == INGOT_OK && strlen(out.root) == 64);
	CHECK(ingot_model_open(&m, at("a.gguf"), NULL, &e) == INGOT_OK);
	CHECK(m && ingot_model_facts(m, &f) == INGOT_OK && f.is_gguf && f.is_sealed && !f.is_signed);
	CHECK(m && made && strcmp(f.root, out.root) == 0 && f.bytes == out.bytes && f.n_tensors == out.n_tensors);
	ingot_model_close(m);
	ingot_plan_close(made);
	CHECK(to_gguf(at("a.gguf"), 0, NULL, NULL, &e) != INGOT_OK);	/* it exists */
}

/* Stopped at one place after the other, it goes on each time and ends with the same bytes. */
static void stop_and_go_on(void)
{
	struct seen s = { .stop_at = 1 };
	struct ingot_stop stop = { 0 };
	struct ingot_run run = run_of(&s, 1);
	struct ingot_error e;
	int code = INGOT_STOPPED, n = 0;

	run.stop = &stop;
	ingot_stop(&stop, 2);
	CHECK(to_gguf(at("b.gguf"), INGOT_RESUME, &run, NULL, &e) == INGOT_STOPPED && strstr(e.message, "signal 2"));
	while (code == INGOT_STOPPED && n < 50) {
		ingot_stop(&stop, 0);
		code = to_gguf(at("b.gguf"), INGOT_RESUME, &run, NULL, &e);
		if (code == INGOT_STOPPED) {
			CHECK(stop.number == -1 && strstr(e.message, "by the caller") && !exists(at("b.gguf")));
			CHECK(exists(at("b.gguf.partial")) == exists(at("b.gguf.journal")));
			CHECKF(!exists(at("b.gguf.journal")) || strstr(e.message, "what is done is kept"), "%s", e.message);
			n++;
		}
		s.stop_at = s.done + 400000;
	}
	CHECKF(code == INGOT_OK && n > 0, "code %d after %d stops: %s", code, n, e.message);
	CHECK(same_bytes(at("a.gguf"), at("b.gguf")) && !exists(at("b.gguf.journal")));
}

static void verdicts(void)
{
	struct ingot_verify_options o = { .size = sizeof o, .flags = INGOT_DEEP, .source = SAMPLE, .sample = 3 };
	struct ingot_verdict_facts f = { .size = sizeof f };
	struct ingot_finding x = { .size = sizeof x };
	struct seen s = { 0 };
	struct ingot_run run = run_of(&s, 2);
	struct ingot_verdict *v;
	struct ingot_error e;

	CHECK(ingot_verify(&v, at("a.gguf"), &o, &run, &e) == INGOT_OK);
	CHECK(v && ingot_verdict_facts(v, &f) == INGOT_OK && f.n_findings == 0 && f.n_matrices == 3 && f.n_all_matrices > 3);
	CHECK(f.shown == (INGOT_INTACT | INGOT_HEADER_INTACT | INGOT_DERIVED | INGOT_SOUND) && strlen(f.header_sha256) == 64);
	CHECK(strcmp(s.step, "values") == 0 && !s.elsewhere);
	ingot_verdict_close(v);

	flip(at("b.gguf"), 4000000);
	CHECK(ingot_verify(&v, at("b.gguf"), NULL, NULL, &e) == INGOT_MISMATCH && strstr(e.message, "b.gguf"));
	CHECK(v && ingot_verdict_facts(v, &f) == INGOT_OK && f.shown == 0 && f.n_findings == 1);
	CHECK(v && ingot_verdict_finding(v, 0, &x) == INGOT_OK && x.kind == INGOT_DAMAGED && strstr(x.name, ".weight"));
	CHECK(x.from <= 4000000 && x.to > 4000000);
	CHECK(v && ingot_verdict_finding(v, 1, &x) == INGOT_USAGE);
	ingot_verdict_close(v);

	o = (struct ingot_verify_options){ .size = sizeof o, .source = SAMPLE };
	CHECK(ingot_verify(&v, SAMPLE, &o, NULL, &e) == INGOT_USAGE && !v);
	o.source = NULL;
	o.digests = "samples/digests/v4-tiny.sha256";
	CHECK(ingot_verify(&v, SAMPLE, &o, NULL, &e) == INGOT_OK);
	CHECK(v && ingot_verdict_facts(v, &f) == INGOT_OK && f.shown == INGOT_INTACT && f.n_findings >= 3);
	CHECK(v && ingot_verdict_finding(v, 0, &x) == INGOT_OK && x.kind == INGOT_FILE_OK && x.name[0] && x.expert == -1);
	ingot_verdict_close(v);
	CHECK(ingot_verify(&v, at("nothing"), NULL, NULL, &e) == INGOT_SYSTEM && !v);
}

static void predictions(void)
{
	const struct ingot_perplexity_options o = { .size = sizeof o, .n_ctx = 32, .max_chunks = 1, .reference = SAMPLE };
	struct ingot_perplexity_result r = { .size = sizeof r };
	struct seen s = { 0 };
	struct ingot_run run = run_of(&s, 2);
	struct ingot_error e;

	CHECKF(ingot_perplexity(&r, at("a.gguf"), TEXT, &o, &run, &e) == INGOT_OK, "%s", e.message);
	CHECK(r.n_chunks == 1 && r.n_scored == 15 && isfinite(r.ppl) && r.ppl > 1 && fabs(r.ppl - exp(r.mean_nll)) < 1e-9 * r.ppl);
	CHECK(!(r.kld > 0) && !(r.kld_max > 0) && r.same_top >= 1 && fabs(r.ppl - r.ref_ppl) <= 0);
	CHECK(strcmp(s.step, "perplexity") == 0 && s.calls > 2 && !s.elsewhere);
	s.stop_at = 1;
	CHECK(ingot_perplexity(&r, at("a.gguf"), TEXT, &o, &run, &e) == INGOT_STOPPED && strstr(e.message, "by the caller"));
}

/* Errors and results alike: not a byte on the standard outputs. */
static void silent(void)
{
	int out = dup(1), err = dup(2), f = open(at("printed"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct ingot_verify_options o = { .size = sizeof o, .flags = INGOT_DEEP };
	struct ingot_error e;
	struct stat s;
	int codes[4];

	fflush(stderr);
	CHECK(out >= 0 && err >= 0 && f >= 0 && dup2(f, 1) >= 0 && dup2(f, 2) >= 0);
	codes[0] = ingot_verify(NULL, at("b.gguf"), &o, NULL, &e);
	codes[1] = to_gguf(at("silent.gguf"), INGOT_SUMS, NULL, NULL, &e);
	codes[2] = ingot_convert(NULL, at("nothing"), at("no.gguf"), NULL, NULL, &e);
	codes[3] = ingot_model_open(&(struct ingot_model *){ NULL }, TEXT, NULL, &e);
	CHECK(dup2(out, 1) >= 0 && dup2(err, 2) >= 0);
	CHECK(codes[0] == INGOT_MISMATCH && codes[1] == INGOT_OK && codes[2] != INGOT_OK && codes[3] == INGOT_FORMAT);
	CHECK(fstat(f, &s) == 0 && s.st_size == 0);
	CHECK(exists(at("silent.gguf.SHA256SUMS")));
	close(out);
	close(err);
	close(f);
}

struct job { char out[128]; int code; struct ingot_error e; };

static void *one_of_two(void *arg)
{
	struct job *j = arg;
	struct seen s = { 0 };
	struct ingot_run run = run_of(&s, 2);

	j->code = to_gguf(j->out, 0, &run, NULL, &j->e);
	if (j->code == INGOT_OK)
		j->code = ingot_verify(NULL, j->out, NULL, &run, &j->e);
	return NULL;
}

static void two_at_a_time(void)
{
	struct job j[2];
	pthread_t t[2];

	for (int i = 0; i < 2; i++) {
		snprintf(j[i].out, sizeof j[i].out, "%s/two-%d.gguf", dir, i);
		CHECK(pthread_create(&t[i], NULL, one_of_two, &j[i]) == 0);
	}
	for (int i = 0; i < 2; i++) {
		pthread_join(t[i], NULL);
		CHECKF(j[i].code == INGOT_OK, "%s", j[i].e.message);
		CHECK(same_bytes(at("a.gguf"), j[i].out));
	}
}

/* Everything before ran in the environment's locale: tests/cli/library.sh sets one with a decimal comma. */
static void another_locale(void)
{
	struct ingot_error e;

	CHECK(setlocale(LC_ALL, "C") != NULL);
	CHECK(to_gguf(at("c.gguf"), 0, NULL, NULL, &e) == INGOT_OK && same_bytes(at("a.gguf"), at("c.gguf")));
}

static void clean(void)
{
	DIR *d = opendir(dir);
	const struct dirent *x;

	while (d && (x = readdir(d)))
		unlinkat(dirfd(d), x->d_name, 0);
	if (d)
		closedir(d);
	CHECK(rmdir(dir) == 0);
}

int main(void)
{
	snprintf(dir, sizeof dir, "%s", "/tmp/test_library.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	if (setlocale(LC_ALL, ""))
		printf("numbers have a '%s'\n", localeconv()->decimal_point);
	RUN(other_versions);
	RUN(facts);
	RUN(plan);
	RUN(refusals);
	RUN(conversion);
	RUN(stop_and_go_on);
	RUN(verdicts);
	RUN(predictions);
	RUN(other_refusals);
	RUN(stopped_in_an_archive);
	RUN(silent);
	RUN(two_at_a_time);
	RUN(another_locale);
	clean();
	return test_done();
}
