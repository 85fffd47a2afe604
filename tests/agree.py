#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Do Ingot's reader of shards and the format's reference reader, in Rust, agree on which files they accept? A cross-check by
hand, beside the tests: it needs the package `safetensors` from PyPI, and neither `make check` nor CI ever runs it.

  agree.py TOOL COUNT [SEED [FIRST]]     TOOL: build/gcc-release/tests/tool_agree

Makes COUNT files, numbered from FIRST (0): small valid shards of many kinds, most of them changed afterwards, in their structure
or in their bytes. Where a file differs from what docs/accepted-safetensors.md lists is found here by looking at the file, so a
verdict of ours is expected for each: the reference's, but "refused" where the file has a point of that list. Ends with a table
and `N passed, N failed`; a file that failed is kept in build/agree/ and made again by its SEED and FIRST.
"""
import collections, json, math, os, random, re, struct, subprocess, sys
import safetensors

BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
        "C64": 64, "F64": 64, "I64": 64, "U64": 64}
DTYPES = list(BITS)

# ---- what differs on purpose: docs/accepted-safetensors.md ------------------------------------------------------------------

FORMAT, LIMIT = 3, 4                                                            # enum status: ERR_FORMAT, ERR_UNSUPPORTED
NUL, DEEP, TWICE, KEY, NAME, LONG, FORM, RANK, PRODUCT, EDGE = POINTS = (
    "NUL in a string", "nesting deeper than 32", "tensor name twice", "key twice", "name empty, or with control bytes",
    "name longer than 1,024 bytes", "entry as an array, dtype as an object", "more than 8 dimensions",
    "2^58 elements or more, zeros left out", "number at the edge of doubles")
LIMITS = {DEEP, LONG, RANK}

class Object(list):
    """A JSON object as its (key, value) pairs, so that what stands there twice is seen."""
    def has_twice(self):
        return len({k for k, _ in self}) < len(self)

def walk(v, depth, found):
    """The points that any value may have."""
    if isinstance(v, str) and "\0" in v:
        found.add(NUL)
    elif isinstance(v, (int, float)) and abs(v) > 1.7976931348623e308:
        found.add(EDGE)
    elif isinstance(v, list):
        if depth > 32:
            found.add(DEEP)
        if isinstance(v, Object) and v.has_twice():
            found.add(KEY)
        for x in v:
            for part in x if isinstance(v, Object) else (x,):
                walk(part, depth + 1, found)

def look_at_entry(entry, found):
    if isinstance(entry, Object):
        fields = dict(entry)
        dtype, shape = fields.get("dtype"), fields.get("shape")
    elif isinstance(entry, list) and len(entry) == 3:
        found.add(FORM)
        dtype, shape = entry[:2]
    else:
        return
    if isinstance(dtype, Object):
        found.add(FORM)
    if isinstance(shape, list) and all(type(n) is int for n in shape):
        if len(shape) > 8:
            found.add(RANK)
        if math.prod(n for n in shape if n) >= 1 << 58:
            found.add(PRODUCT)

def points(header):
    """Which points of the list a header has, as far as it is JSON at all."""
    found = set()
    try:
        root = json.loads(header.decode(), object_pairs_hook=Object)
    except ValueError:
        return found
    if not isinstance(root, Object):
        return found
    if root.has_twice():
        found.add(TWICE)
    for name, entry in root:
        walk(name, 2, found)
        walk(entry, 2, found)
        if name != "__metadata__":
            if not name or re.search("[\1-\x1f\x7f]", name):
                found.add(NAME)
            if len(name.encode(errors="surrogatepass")) > 1024:
                found.add(LONG)
            look_at_entry(entry, found)
    return found

# ---- valid shards -----------------------------------------------------------------------------------------------------------

NAMES = ["t%d", "a%d", "model.layers.%d.mlp.experts.0.w1.weight", "layers.%d.attn.wq_b.scale", "../../x%d", " %d ", "ü%d€𝄞",
         "{\\\"%d\\\":", "%d\\\\", "a/b\\/%d", "__metadata__%d", "dtype%d", "n" * 990 + "%d"]
STRINGS = ['""', '"pt"', '"a\\nb"', '"\\u00e9\\ud834\\udd1e"', '"ÿ"', '"\u2028\x7f"', '"{}[],:\\""', '"1"']
GAPS = [""] * 6 + [" ", "\n\t", "\r\n", "  "]

class Shard:
    """members: [key text, value] each, a value being its text or, of a tensor's entry, [key text, value text] pairs."""
    def __init__(self, r):
        self.members, self.size, self.gap, self.before, self.after = [], 0, r.choice(GAPS), "", ""
        for i in range(r.choice([0, 1, 1, 2, 2, 3, 3, 4, 6])):
            self.add(r, '"' + r.choice(NAMES[:-1] if r.random() < .97 else NAMES[-1:]) % i + '"', *random_tensor(r))
        r.shuffle(self.members)
        if r.random() < .4:
            pairs = ["%s:%s" % (json.dumps("k%d" % i), r.choice(STRINGS)) for i in range(r.randrange(4))]
            self.members.insert(r.randint(0, len(self.members)), ['"__metadata__"', "{" + ",".join(pairs) + "}"])
        if r.random() < .3:
            self.after = " " * r.randrange(9)

    def add(self, r, key, dtype, shape):
        begin, self.size = self.size, self.size + math.prod(shape) * BITS[dtype] // 8
        fields = [['"dtype"', '"%s"' % dtype], ['"shape"', json.dumps(shape, separators=(",", ":"))],
                  ['"data_offsets"', "[%d,%d]" % (begin, self.size)]]
        if r.random() < .2:
            r.shuffle(fields)
        self.members.append([key, fields])

    def entries(self):
        return [m for m in self.members if isinstance(m[1], list)]

    def text(self):
        g = self.gap
        def obj(pairs):
            return "{" + g + ("," + g).join([k + g + ":" + g + v for k, v in pairs]) + g + "}"
        return self.before + obj([(k, v if isinstance(v, str) else obj(v)) for k, v in self.members]) + self.after

def random_tensor(r):
    dtype, rank = r.choice(DTYPES), r.choice([0, 1, 1, 1, 2, 2, 2, 3, 4, 8])
    shape = [r.choice((1, 2) if rank > 4 else (1, 1, 2, 2, 3, 4, 5)) for _ in range(rank)]
    if shape and r.random() < .15:
        shape[r.randrange(rank)] = 0
    if BITS[dtype] < 8:
        shape = [4] + shape[:7]
    return dtype, shape

# ---- changes of structure; the first few leave most files acceptable --------------------------------------------------------

EDGES = ["0", "-0", "1e308", "1e309", "-1e999", "0e999", "1e-999", "1.7976931348623157e308", "1.7976931348623158e308",
         "-1.7976931348623159e308", "179769313486231580" + "0" * 291, "9" * 309, "0.1", "1E+2", "18446744073709551616", "01", "1.",
         ".5", "+1", "- 1", "1e", "NaN", "-Infinity", "0x1"]
ODD = ["true", "null", "[]", "{}", '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"',
       '"\\u12g4"', '"\\x"', '"a\tb"', "'a'", "nul", "[1,]"]

def random_value(r, depth=0):
    k = r.random()
    if k < .3 or depth > 4:
        return r.choice(STRINGS)
    if k < .5:
        return r.choice(EDGES[:7] if r.random() < .6 else EDGES)
    if k < .6:
        return r.choice(ODD[:4] if r.random() < .6 else ODD)
    inner = [random_value(r, depth + 1) for _ in range(r.randrange(4))]
    if k < .8:
        return "[" + ",".join(inner) + "]"
    return "{" + ",".join('"%s":%s' % (r.choice("abcdefgh"), v) for v in inner) + "}"

def spell(r, text):
    """One character of a string as an escape."""
    at = [i for i in range(1, len(text) - 1) if text[i] < "\uffff" and "\\" not in text[max(0, i - 6):i + 1]]
    if not at:
        return text
    i = r.choice(at)
    return text[:i] + r.choice(("\\u%04x", "\\u%04X")) % ord(text[i]) + text[i + 1:]

def escape(r, s):
    m = r.choice(s.members or [['""', ""]])
    pair = r.choice(m[1]) if isinstance(m[1], list) and m[1] and r.random() < .5 else m
    i = int(r.random() < .3 and isinstance(pair[1], str) and pair[1].startswith('"'))
    pair[i] = spell(r, pair[i])

def unknown_key(r, s):
    for m in s.entries()[:1]:
        key = r.choice(["x", "Dtype", "", "__metadata__", "shape ", "\\n"])
        m[1].insert(r.randint(0, len(m[1])), ['"%s"' % key, random_value(r)])

def empty_tensor(r, s):
    shape = [0] + [r.choice((1, 7, 2**31, 2**48 - 1, 2**48, 2**53 + 1, 2**57, 2**58, 2**63, 2**64 - 1, 2**64))
                   for _ in range(r.choice((1, 1, 1, 2, 3)))]
    r.shuffle(shape)
    at = r.choice(re.findall(r"\d+(?=\])", s.text()) + ["1"]) if r.random() < .7 else s.size
    s.members.insert(r.randint(0, len(s.members)), ['"e%d"' % len(s.members), [['"dtype"', '"%s"' % r.choice(DTYPES)],
                     ['"shape"', json.dumps(shape)], ['"data_offsets"', "[%s,%s]" % (at, at)]]])

def more_dims(r, s):
    for m in s.entries()[:1]:
        for f in m[1]:
            if f[0] == '"shape"' and f[1] != "[]":
                f[1] = f[1][:-1] + ",1" * r.choice((1, 2, 4, 5, 6, 7, 8, 60)) + "]"

def white_space(r, s):
    fine = "".join(r.choice(" \t\r\n") for _ in range(r.randrange(9)))
    s.before, s.after = (fine, s.after) if r.random() < .5 else (s.before, fine)
    s.gap = r.choice(GAPS)

def metadata(r, s):
    value = r.choice(["null", "{}", '{"a":"1","a":"2"}', '{"a":"1","\\u0061":"2"}', '{"a\\u0000":""}', '{"a":"\\u0000"}', '{"":""}',
                      '{"a":"%s"}' % ("x" * 2000), '{"\\n\\u001b":"\x7f"}', "[]", '{"a":null}', '{"a":%s}' % random_value(r)])
    s.members.append([spell(r, '"__metadata__"') if r.random() < .2 else '"__metadata__"', value])

def name(r, s):
    for m in r.sample(s.entries(), min(1, len(s.entries()))):
        m[0] = '"%s"' % r.choice(["", "a\\u0000", "\\u001b[2J", "\\n", "\x7f", "\x80", "\\u007f", "n" * 1024, "n" * 1025, "€" * 341,
                                  "€" * 342, "\\u20ac" * 341, "x\\ud834\\udd1e" * 205, "\ud800", "a\x01b", "\\ud800",
                                  "__METADATA__"])

def twice(r, s):
    for m in r.sample(s.entries(), min(1, len(s.entries()))):
        key = spell(r, m[0]) if r.random() < .3 else m[0]
        other = r.choice(s.entries())
        value = r.choice([[list(f) for f in m[1]], [list(f) for f in other[1]]])
        s.members.insert(r.randint(0, len(s.members)), [key, value])

def field_twice(r, s):
    for m in s.entries()[:1]:
        if m[1]:
            m[1].append(list(r.choice(m[1])))

def form(r, s):
    for m in r.sample(s.entries(), min(1, len(s.entries()))):
        if r.random() < .5:
            m[1] = "[" + ",".join([v for _, v in m[1]] + ["1"] * (r.random() < .1)) + "]"
        else:
            for f in m[1]:
                if f[0] == '"dtype"':
                    f[1] = '{%s:%s}' % (f[1], r.choice(("null", "null", "null", "1", "{}")))

def deep(r, s):
    n, m = r.choice((1, 20, 29, 30, 31, 32, 60, 120, 124, 125, 126, 127, 128)), s.entries()[:1]
    kind = r.choice((("[", "]"), ('{"a":', "}")))
    for x in m:
        x[1].append(['"d"', kind[0] * n + "1" * (kind[0] != "[") + kind[1] * n])

def number(r, s):
    for m in r.sample(s.entries(), min(1, len(s.entries()))):
        able = [f for f in m[1] if re.search(r"\d", f[1]) and f[0] != '"dtype"']
        if able:
            f = r.choice(able)
            at = r.choice(list(re.finditer(r"\d+", f[1])))
            n = int(at[0])
            new = r.choice([n + 1, n - 1, n + 8, 2 * n, 0, 1, -n, "-0", "0%d" % n, "%d.0" % n, "%de0" % n, '"%d"' % n, "%d,1" % n,
                            "1,%d" % n, 2**32, 2**48, 2**61, 2**63, 2**64 - 1, 2**64, 2**64 + n, r.choice(EDGES), r.choice(ODD)])
            f[1] = f[1][:at.start()] + str(new) + f[1][at.end():]

def dtype(r, s):
    for m in s.entries()[:1]:
        for f in m[1]:
            if f[0] == '"dtype"':
                f[1] = r.choice(['"%s"' % r.choice(DTYPES), '"%s"' % r.choice(DTYPES), f[1].lower(), '"F7"', '"Q8_0"',
                                 '"MXFP4"', "1", f[1][:-1] + ' "', random_value(r)])

def fields(r, s):
    for m in s.entries()[:1]:
        i = r.randrange(len(m[1]) or 1)
        if m[1]:
            k = r.random()
            if k < .3:
                del m[1][i]
            elif k < .5:
                m[1][i][0] = m[1][i][0].title()
            else:
                m[1][i][1] = random_value(r)

def offsets(r, s):
    """Two tensors exchange their offsets, or one gets the other's, or all move."""
    found = [f for m in s.entries() for f in m[1] if f[0] == '"data_offsets"']
    if found:
        a, b = r.choice(found), r.choice(found)
        k = r.random()
        if k < .4:
            a[1], b[1] = b[1], a[1]
        elif k < .7:
            a[1] = b[1]
        else:
            step = r.choice((-1, 1, 2, 8, 64))
            for f in found if r.random() < .5 else [a]:
                f[1] = re.sub(r"\d+", lambda d: str(int(d[0]) + step), f[1])

def data_size(r, s):
    s.size = max(0, s.size + r.choice((-8, -2, -1, 1, 2, 8, 4096)))

def member(r, s):
    if s.members and r.random() < .4:
        del s.members[r.randrange(len(s.members))]
    else:
        s.members.insert(r.randint(0, len(s.members)), [r.choice(STRINGS), random_value(r)])

def bad_space(r, s):
    bad = r.choice(["\f", "\v", "\0", "\ufeff", "\xa0", "x", "{}", "/**/", "#", ",", "\x1a", "null"])
    where = r.choice(("before", "after", "gap"))
    setattr(s, where, getattr(s, where) + bad)

GENTLE = [escape, unknown_key, empty_tensor, more_dims, white_space, metadata, name, twice, field_twice, form, deep]
ROUGH = [number, number, number, dtype, fields, offsets, data_size, member, bad_space]

# ---- changes of bytes -------------------------------------------------------------------------------------------------------

TOKENS = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"1", b" ", b"\0", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80",
          b"\xc0\x80", b"\\u0000", b"\\u00e9", b"null", b"-", b".", b"e1", b",,", b"//", b"\n"]

def change_bytes(r, h):
    """One change at a place; a letter for a letter keeps most texts well-formed."""
    i = r.randrange(len(h))
    k, j = r.random(), min(len(h), i + r.choice((1, 1, 1, 2, 8, 40)))
    if k < .2:
        return h[:i] + bytes([h[i] ^ 1 << r.randrange(8)]) + h[i + 1:]
    if k < .3:
        return h[:i] + bytes([r.randrange(256)]) + h[i + 1:]
    if k < .5:
        return h[:i] + r.choice(TOKENS) + h[i:]
    if k < .6:
        return h[:i] + r.choice(TOKENS) + h[j:]
    if k < .7:
        return h[:i] + h[j:]
    if k < .8:
        return h[:j] + h[i:j] + h[j:]
    letters = [m.start() for m in re.finditer(rb"[a-z0-9]", h)]
    if letters:
        i = r.choice(letters)
        h = h[:i] + bytes([r.choice(b"abz019" if r.random() < .5 else b"0123456789")]) + h[i + 1:]
    return h

def change_file(r, file):
    """The length of the header, and the end of the file."""
    k, (n,) = r.random(), struct.unpack("<Q", file[:8])
    if k < .4:
        return file[:r.randrange(len(file))]
    if k < .5:
        return file + bytes(r.choice((1, 7, 8, 512)))
    if k < .55:
        return struct.pack(">Q", n) + file[8:]
    n = r.choice([n + 1, n - 1, n + 8, 0, 2 * n, len(file), len(file) - 8, 100000000, 100000001, 2**31, 2**63, 2**64 - 1,
                  n | 1 << 32])
    return struct.pack("<Q", n % 2**64) + file[8:]

def mutant(r):
    s, k = Shard(r), r.random()
    if k < .5:
        for f in r.sample(GENTLE, r.choice((0, 1, 1, 1, 2, 2, 3))):
            f(r, s)
    elif k < .75:
        for f in [r.choice(ROUGH)] + r.sample(GENTLE, r.choice((0, 0, 1))):
            f(r, s)
    header = s.text().encode(errors="surrogatepass")
    if .75 <= k < .95:
        for _ in range(r.choice((1, 1, 1, 2, 4))):
            header = change_bytes(r, header or b" ")
    file = struct.pack("<Q", len(header)) + header + bytes(s.size)
    return change_file(r, file) if k >= .95 else file

# ---- both verdicts ----------------------------------------------------------------------------------------------------------

def reference(file):
    try:
        safetensors.deserialize(file)
        return True
    except safetensors.SafetensorError:
        return False

def ours(tool, files):
    stream = b"".join(struct.pack("<I", len(f)) + f for f in files)
    done = subprocess.run([tool], input=stream, stdout=subprocess.PIPE)
    if done.returncode or len(done.stdout) != len(files):
        sys.exit("agree: the tool ended with %d after %d of %d files" % (done.returncode, len(done.stdout), len(files)))
    return done.stdout

def judge(file, theirs, status):
    """(row of the table, whether that is as documented)"""
    if status not in (0, FORMAT, LIMIT):
        return "neither accepted nor refused: status %d" % status, False
    if not theirs and status:
        return "both refuse", True
    found = points(file[8:8 + struct.unpack("<Q", file[:8])[0]])
    if not theirs:
        return "we accept alone: " + (EDGE if found == {EDGE} else "not documented"), found == {EDGE}
    found.discard(EDGE)
    if not status:
        return "both accept" + "".join(", though: " + p for p in sorted(found)), not found
    if len(found) > 1:
        return "we refuse alone: several of these", True
    p = "".join(found) or "not documented"
    if found and (status == LIMIT) != (p in LIMITS):
        return "we refuse alone, with status %d: %s" % (status, p), False
    return "we refuse alone: " + p, bool(found)

def keep(file, seed, i, row):
    os.makedirs("build/agree", exist_ok=True)
    path = "build/agree/%d-%d.safetensors" % (seed, i)
    with open(path, "wb") as f:
        f.write(file)
    print("FAILED seed %d, file %d: %s (%s)" % (seed, i, row, path), flush=True)

def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    tool, count = sys.argv[1], int(sys.argv[2])
    seed, first = (int(a) for a in sys.argv[3:] + ["1", "0"][len(sys.argv) - 3:])
    rows, n_failed = collections.Counter(), 0
    for start in range(first, first + count, 10000):
        numbers = range(start, min(start + 10000, first + count))
        files = [mutant(random.Random(seed << 40 | i)) for i in numbers]
        for i, file, status in zip(numbers, files, ours(tool, files)):
            row, good = judge(file, reference(file), status)
            rows[row] += 1
            if not good:
                n_failed += 1
                if n_failed <= 100:
                    keep(file, seed, i, row)
    for row in sorted(rows):
        print("%9d  %s" % (rows[row], row))
    print("%d passed, %d failed" % (count - n_failed, n_failed))
    return n_failed > 0

if __name__ == "__main__":
    sys.exit(main())
