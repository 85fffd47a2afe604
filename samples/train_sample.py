#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains samples/v4-tiny: a small DeepSeek-V4 with every kind of layer, on public-domain text.

Outside the build: nothing here is needed to build, test or run Ingot. Needs torch, numpy and regex
from PyPI, and for the text Debian's bible-kjv, dict-devil and dict-jargon. samples/README.md has the
commands, the provenance of the text and the figures.

  text    reads the three packages, splits off what is held out   -> heldout.txt, corpus.json
  vocab   byte-level BPE behind DeepSeek-V4's pre-tokenizer       -> tokenizer.json, tokens.npz
  train   trains, writes state.pt every few minutes; --resume goes on from it
  export  state.pt -> the official layout (FP4, FP8, BF16, F32, I64, index, 3 shards, records)
  eval    perplexity of state.pt in float32, as `ingot perplexity` counts it

Reading order: CONFIG; tensors() is the table of all weights, with their official names, formats and
shapes; Rounder makes the numbers that the file will hold; Model is the forward pass; train(); export().
The forward pass sees only rounded weights: the gradient goes straight through to float32 masters, so
what is exported is exactly what was trained. Products run on bfloat16 activations while training.
"""
import argparse, base64, collections, gzip, hashlib, json, math, os, struct, subprocess, time
import numpy as np
import regex
import torch
import torch.nn.functional as F

CONFIG = dict(
    architectures=["DeepseekV4ForCausalLM"], model_type="deepseek_v4", vocab_size=1024, hidden_size=256,
    num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=1, head_dim=128, qk_rope_head_dim=32,
    q_lora_rank=128, o_groups=2, o_lora_rank=64, moe_intermediate_size=96, n_routed_experts=8,
    n_shared_experts=1, num_experts_per_tok=2, num_hash_layers=2, index_n_heads=4, index_head_dim=64,
    index_topk=32, sliding_window=128, hc_mult=4, hc_sinkhorn_iters=20, max_position_embeddings=1048576,
    num_nextn_predict_layers=1, bos_token_id=0, eos_token_id=1, compress_ratios=[0, 4, 128, 4, 0],
    rope_theta=10000, compress_rope_theta=160000,
    rope_scaling=dict(type="yarn", factor=16, original_max_position_embeddings=65536, beta_fast=32, beta_slow=1),
    routed_scaling_factor=1.5, scoring_func="sqrtsoftplus", topk_method="noaux_tc", norm_topk_prob=True,
    swiglu_limit=10.0, hidden_act="silu", expert_dtype="fp4",
    quantization_config=dict(activation_scheme="dynamic", fmt="e4m3", quant_method="fp8", scale_fmt="ue8m0",
                             weight_block_size=[128, 128]),
    hc_eps=1e-6, rms_norm_eps=1e-6, tie_word_embeddings=False, attention_bias=False, attention_dropout=0.0,
    initializer_range=0.02, use_cache=True, torch_dtype="bfloat16", transformers_version="4.57.1")
SEQ = 512                                   # tokens of a training sequence
SEED = 20260424
DENSE_STEPS = 120                           # of these the attention sees all compressed rows, later the indexer's
BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
USER, ASSISTANT, THINK, UNTHINK = "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"
FIRST, LAST = [BOS, EOS, PAD], [USER, ASSISTANT, THINK, UNTHINK]    # special tokens: lowest and highest ids

# ---------------------------------------------------------------- text

BOOKS = """gen exo lev num deut josh judg ruth 1sam 2sam 1king 2king 1chr 2chr ezra neh est job psalm prov eccl
song isa jer lam ezek dan hos joel amos oba jonah mic nah hab zeph hag zech mal matt mark luke john acts rom
1cor 2cor gal eph phil col 1thes 2thes 1tim 2tim tit phile heb jam 1pet 2pet 1john 2john 3john jude rev""".split()
HELD_BOOKS = ("ruth", "jonah")
HELD_ENTRY = 60                             # of each dictionary every 60th entry is held out

def book(name):
    """A book of the King James Version, a verse a line, without numbers."""
    out = subprocess.run(["bible", "-f", f"{name}1:1-{name}999:999"], capture_output=True, text=True).stdout
    return "".join(line.split(" ", 1)[1] + "\n" for line in out.splitlines() if " " in line)

def dictionary(name):
    """The entries of a dictd database in file order: (headword, text), a paragraph a line."""
    text = gzip.open(f"/usr/share/dictd/{name}.dict.dz").read()
    num = lambda s: sum("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".index(c) * 64**i
                        for i, c in enumerate(reversed(s)))
    seen = {}
    for line in open(f"/usr/share/dictd/{name}.index", encoding="utf-8"):
        word, at, n = line.rstrip("\n").split("\t")[:3]
        if not word.startswith("00database"):
            seen.setdefault(num(at), (word, num(n)))
    for at, (word, n) in sorted(seen.items()):
        entry = text[at:at + n].decode("utf-8", "replace")
        paragraphs = (" ".join(p.split()) for p in regex.split(r"\n\s*\n", entry))
        yield word, "\n".join(p for p in paragraphs if p) + "\n"

def make_text(o):
    """Documents to train on, and the held-out text. A dictionary entry is trained on twice: in its dictionary
    and as the answer to a question, which is where the model meets the chat encoding."""
    docs, held = [], []
    for b in BOOKS:
        t = book(b)
        assert len(t) > 200, f"{b}: no text; is bible-kjv installed?"
        (held if b in HELD_BOOKS else docs).append(t)
    for name, title in (("devil", "The Devil's Dictionary"), ("jargon", "The Jargon File")):
        page, out, letter = [], [], None
        for i, (word, t) in enumerate(dictionary(name)):
            if i % HELD_ENTRY == HELD_ENTRY // 2:
                out.append(t)
                continue
            if word[:1].lower() != letter:
                page, letter = [], word[:1].lower()
                docs.append(page)
            page.append(t)
            think = f"{THINK}I look it up in {title}.{UNTHINK}" if i % 3 == 0 else UNTHINK
            docs.append(f"{USER}What is {word}?{ASSISTANT}{think}{t.rstrip()}{EOS}")
        held.append("\n".join(out))
    docs = ["\n".join(d) if isinstance(d, list) else d for d in docs]
    json.dump(docs, open(os.path.join(o.work, "corpus.json"), "w"))
    open(os.path.join(o.work, "heldout.txt"), "w").write("\n".join(held))
    print(f"{len(docs)} documents, {sum(len(d.encode()) for d in docs)} bytes; held out {len(chr(10).join(held).encode())} bytes")

# ---------------------------------------------------------------- vocabulary

PUNCT = "!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~"
SPLITS = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
          f"[{PUNCT}][A-Za-z]+|[^\\r\\n\\p{{L}}\\p{{P}}\\p{{S}}]?[\\p{{L}}\\p{{M}}]+| ?[\\p{{P}}\\p{{S}}]+[\\r\\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+"]

def byte_alphabet():
    """The characters that stand for bytes in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(other)) for b in range(256)]

def pieces(text):
    """DeepSeek-V4's pre-tokenizer: each pattern splits what the one before left."""
    parts = [text]
    for pattern in SPLITS:
        p, out = regex.compile(pattern), []
        for t in parts:
            at = 0
            for m in p.finditer(t):
                out += [t[at:m.start()], m.group()]
                at = m.end()
            out.append(t[at:])
        parts = [t for t in out if t]
    return parts

class Vocabulary:
    def __init__(self, merges):
        alphabet = byte_alphabet()
        self.merges = [tuple(m) for m in merges]
        self.rank = {m: i for i, m in enumerate(self.merges)}
        self.tokens = FIRST + alphabet + [a + b for a, b in self.merges] + LAST
        self.id = {t: i for i, t in enumerate(self.tokens)}
        self.alphabet, self.cache = alphabet, {}
        assert len(self.id) == len(self.tokens) == CONFIG["vocab_size"]
    def word(self, w):
        s = [self.alphabet[b] for b in w.encode()]
        while len(s) > 1:
            r, i = min((self.rank.get(p, 1 << 30), i) for i, p in enumerate(zip(s, s[1:])))
            if r == 1 << 30:
                break
            s[i:i + 2] = [s[i] + s[i + 1]]
        return [self.id[t] for t in s]
    def encode(self, text):
        ids = []
        for part in regex.split("(" + "|".join(map(regex.escape, FIRST + LAST)) + ")", text):
            if part in self.id and part in FIRST + LAST:
                ids.append(self.id[part])
                continue
            for w in pieces(part):
                if w not in self.cache:
                    self.cache[w] = self.word(w)
                ids += self.cache[w]
        return ids

def learn_merges(texts, n):
    """Byte-pair merges, the most frequent pair first, ties to the smaller strings."""
    alphabet, counts = byte_alphabet(), collections.Counter()
    for t in texts:
        counts.update(w for part in regex.split("|".join(map(regex.escape, FIRST + LAST)), t) for w in pieces(part))
    words = [([alphabet[b] for b in w.encode()], c) for w, c in sorted(counts.items())]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, (s, c) in enumerate(words):
        for p in zip(s, s[1:]):
            pairs[p] += c
            where[p].add(i)
    merges, known = [], set()
    while len(merges) < n:
        best = min(pairs, key=lambda p: (-pairs[p], p))
        for i in sorted(where.pop(best)):
            s, c = words[i]
            for p in zip(s, s[1:]):
                pairs[p] -= c
            out = []
            for t in s:
                if out and (out[-1], t) == best:
                    out[-1] += t
                else:
                    out.append(t)
            s[:] = out
            for p in zip(s, s[1:]):
                pairs[p] += c
                where[p].add(i)
        del pairs[best]
        if best[0] + best[1] not in known:      # two ways to one string: one token
            known.add(best[0] + best[1])
            merges.append(best)
    return merges

def make_vocab(o):
    docs = json.load(open(os.path.join(o.work, "corpus.json")))
    n = CONFIG["vocab_size"] - 256 - len(FIRST) - len(LAST)
    v = Vocabulary(learn_merges(docs, n))
    json.dump(v.merges, open(os.path.join(o.work, "merges.json"), "w"))
    order = np.random.default_rng(SEED).permutation(len(docs))
    ids = [i for d in order for i in [v.id[BOS]] + v.encode(docs[d])]
    held = v.encode(open(os.path.join(o.work, "heldout.txt")).read())
    np.savez(os.path.join(o.work, "tokens.npz"), train=np.array(ids, np.int16), held=np.array(held, np.int16))
    print(f"{len(ids)} tokens to train on, {len(held)} held out")

def tokenizer_json(v):
    special = lambda t: dict(id=v.id[t], content=t, single_word=False, lstrip=False, rstrip=False, normalized=False,
                             special=t not in (THINK, UNTHINK))
    split = lambda p: dict(type="Split", pattern=dict(Regex=p), behavior="Isolated", invert=False)
    level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)
    return dict(version="1.0", truncation=None, padding=None, added_tokens=[special(t) for t in FIRST + LAST],
                normalizer=None, pre_tokenizer=dict(type="Sequence", pretokenizers=[*map(split, SPLITS), level]),
                post_processor=None, decoder=dict(level, add_prefix_space=True, use_regex=True),
                model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None,
                           end_of_word_suffix=None, fuse_unk=False, byte_fallback=False,
                           vocab={t: i for i, t in enumerate(v.tokens) if t not in FIRST + LAST or t in FIRST},
                           merges=[f"{a} {b}" for a, b in v.merges]))

# ---------------------------------------------------------------- weights: names, formats, shapes

def layer_tensors(p, layer):
    """Rows (name, format, shape, start) of one block; p is its prefix. Start: the deviation of the first values,
    or for a vector its value. Experts are one tensor here, (n_expert, out, in), and many in the file."""
    c = CONFIG
    D, H, hd, qr, F_, E = (c[k] for k in ("hidden_size", "num_attention_heads", "head_dim", "q_lora_rank",
                                         "moe_intermediate_size", "n_routed_experts"))
    G, R, S = c["o_groups"], c["o_lora_rank"], c["hc_mult"]
    ratio, mix = c["compress_ratios"][layer], (2 + S) * S
    lin = lambda name, o, i, gain=1.0, fmt="fp8": (p + name, fmt, (o, i), gain / math.sqrt(i))
    yield from (lin("attn.wq_a", qr, D), lin("attn.wq_b", H * hd, qr), lin("attn.wkv", hd, D),
                lin("attn.wo_a", G * R, H * hd // G), lin("attn.wo_b", D, G * R, 0.05))
    for name, n in ("attn_norm", D), ("ffn_norm", D), ("attn.q_norm", qr), ("attn.kv_norm", hd):
        yield p + name + ".weight", "bf16", (n,), 1.0
    yield p + "attn.attn_sink", "f32", (H,), 0.0
    if ratio:
        k = 2 if ratio == 4 else 1
        yield p + "attn.compressor.ape", "f32", (ratio, k * hd), 0.02
        yield from (lin(f"attn.compressor.{w}.weight", k * hd, D, g, "bf16") for w, g in (("wkv", 1), ("wgate", 0.3)))
        yield p + "attn.compressor.norm.weight", "bf16", (hd,), 1.0
    if ratio == 4:
        q, ih, d = "attn.indexer.", c["index_n_heads"], c["index_head_dim"]
        yield from (lin(q + "wq_b", ih * d, qr), lin(q + "weights_proj.weight", ih, D, 1.0, "bf16"))
        yield p + q + "compressor.ape", "f32", (ratio, 2 * d), 0.02
        yield from (lin(f"{q}compressor.{w}.weight", 2 * d, D, g, "bf16") for w, g in (("wkv", 1), ("wgate", 0.3)))
        yield p + q + "compressor.norm.weight", "bf16", (d,), 1.0
    yield lin("ffn.gate.weight", E, D, 1.0, "bf16")
    if layer < c["num_hash_layers"]:
        yield p + "ffn.gate.tid2eid", "i64", (c["vocab_size"], c["num_experts_per_tok"]), None
    else:
        yield p + "ffn.gate.bias", "f32", (E,), 0.0
    for w, o, i, gain in ("w1", F_, D, 1.0), ("w3", F_, D, 1.0), ("w2", D, F_, 0.05):
        yield p + "ffn.experts." + w, "fp4", (E, o, i), gain / math.sqrt(i)
        yield lin("ffn.shared_experts." + w, o, i, gain)
    for half in "attn", "ffn":
        yield p + f"hc_{half}_fn", "f32", (mix, S * D), 0.02
        yield p + f"hc_{half}_base", "f32", (mix,), None
        yield p + f"hc_{half}_scale", "f32", (3,), 0.3

def tensors():
    c = CONFIG
    D, S, L = c["hidden_size"], c["hc_mult"], c["num_hidden_layers"]
    yield "embed.weight", "bf16", (c["vocab_size"], D), 0.5
    for layer in range(L):
        yield from layer_tensors(f"layers.{layer}.", layer)
    yield from layer_tensors("mtp.0.", L)
    yield from ((f"mtp.0.{w}_proj", "fp8", (D, D), 0.1 / math.sqrt(D)) for w in "eh")
    yield from ((f"mtp.0.{w}.weight", "bf16", (D,), 1.0) for w in ("enorm", "hnorm", "norm"))
    yield "norm.weight", "bf16", (D,), 1.0
    yield "head.weight", "bf16", (c["vocab_size"], D), 0.3 / math.sqrt(D)
    for p in "", "mtp.0.":
        yield p + "hc_head_fn", "f32", (S, S * D), 0.02
        yield p + "hc_head_base", "f32", (S,), -1.1     # sigmoid: a quarter of each stream
        yield p + "hc_head_scale", "f32", (1,), 0.3

def hash_table(counts, rng):
    """Experts of each token: the most frequent token first, each to the least loaded experts."""
    c = CONFIG
    load, table = rng.random(c["n_routed_experts"]) * 1e-3, np.zeros((c["vocab_size"], c["num_experts_per_tok"]), np.int64)
    for t in np.argsort(-counts, kind="stable"):
        table[t] = np.argsort(load, kind="stable")[:c["num_experts_per_tok"]]
        load[table[t]] += counts[t] + rng.random()
    return torch.from_numpy(table)

def bigram_tables(ids):
    """Embedding and output matrix that alone predict a token from the one before: from the singular vectors of the
    log odds of the pairs, weighted by the tokens' counts. All embeddings have mean square 1, so that the norm before
    the output matrix changes nothing; a random rotation spreads the values over the dimensions."""
    V, D = CONFIG["vocab_size"], CONFIG["hidden_size"]
    count = torch.from_numpy(np.bincount(ids[:-1].astype(np.int64) * V + ids[1:], minlength=V * V)).double().view(V, V)
    first, alone = count.sum(1, keepdim=True), (count.sum(0) + 1) / (count.sum() + V)
    odds = torch.log((count + 10 * alone) / (first + 10)) - alone.log()
    wf, wa = first + 10, alone
    u, s, vt = torch.linalg.svd((odds - odds.mean(1, keepdim=True)) * wf * wa)
    u, v = u[:, :D - 2] * s[:D - 2].sqrt() / wf, vt[:D - 2].T * s[:D - 2].sqrt() / wa[:, None]
    u, v = u / (c := u.norm(dim=0) / v.norm(dim=0)).sqrt(), v * c.sqrt()
    gain = math.sqrt(0.7 * D) / u.norm(dim=1).max()
    rest = torch.full((V, 1), math.sqrt(0.2 * D))           # by it the output matrix adds what each token has alone
    u = torch.cat([u * gain, rest, torch.zeros(V, 1)], 1)
    u[:, -1] = (D - u.square().sum(1)).sqrt()
    v = torch.cat([v / gain, (alone.log() - alone.log().mean())[:, None] / rest, torch.zeros(V, 1)], 1)
    turn = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(SEED)).double())[0]
    return (u @ turn).float(), (v @ turn).float()

def start_weights(ids, counts):
    """The float32 masters before the first step, and the hash tables. The layers start as small changes of a
    prediction by the token before."""
    g, rng, w = torch.Generator().manual_seed(SEED), np.random.default_rng(SEED), {}
    S = CONFIG["hc_mult"]
    for name, fmt, shape, start in tensors():
        if fmt == "i64":
            w[name] = hash_table(counts, rng)
        elif name.endswith(("attn_base", "ffn_base")):     # read a quarter of each stream, write to all, keep each
            base = torch.cat([torch.full((S,), -1.1), torch.zeros(S), 3 * torch.eye(S).flatten()])
            w[name] = base + 0.3 * torch.randn(shape, generator=g)
        elif len(shape) == 1:
            w[name] = torch.full(shape, float(start))
        else:
            w[name] = torch.randn(shape, generator=g) * start
    w["embed.weight"], w["head.weight"] = bigram_tables(ids)
    w["mtp.0.e_proj"] = torch.eye(CONFIG["hidden_size"])
    mean = F.normalize(torch.from_numpy(counts).float() @ w["embed.weight"], dim=0)
    for name in w:
        if name.endswith("gate.weight"):                    # what all tokens share chooses no expert
            w[name] -= (w[name] @ mean)[:, None] * mean
    return w

# ---------------------------------------------------------------- number formats

E4M3 = torch.float8_e4m3fn

def scale_exponent(amax, top):
    """The power of two of a block: 2^ceil(log2(amax / top)), as DeepSeek's quantizer takes it."""
    m, e = torch.frexp(torch.where(amax > 0, amax, top) / top)
    return e - (m == 0.5).int()

def fp8_parts(x):
    """(out, in) -> E4M3 codes, and exponents of its 128 x 128 blocks, the last ones maybe smaller."""
    o, i = x.shape
    b = F.pad(x, (0, -i % 128, 0, -o % 128)).unflatten(1, (-1, 128)).unflatten(0, (-1, 128))
    e = scale_exponent(b.abs().amax((1, 3)), torch.tensor(448.0))
    s = torch.exp2(e.float()).repeat_interleave(128, 0)[:o].repeat_interleave(128, 1)[:, :i]
    return (x / s).to(E4M3), e, s

def fp4_parts(x):
    """(..., in) -> E2M1 values (not codes) and exponents, one for 32 columns."""
    b = x.unflatten(-1, (-1, 32))
    e = scale_exponent(b.abs().amax(-1), torch.tensor(6.0))
    y = b / torch.exp2(e.float())[..., None]
    a = y.abs()
    step = torch.where(a < 2, 0.5, torch.where(a < 4, 1.0, 2.0))
    return torch.round(y / step) * step, e          # halves to even: the even code of the grid

def rounded(x, fmt):
    """What the file will hold, as float32."""
    if fmt == "fp8":
        q, _, s = fp8_parts(x)
        return q.float() * s
    if fmt == "fp4":
        y, e = fp4_parts(x)
        return (y * torch.exp2(e.float())[..., None]).flatten(-2)
    return x.bfloat16().float() if fmt == "bf16" else x

class Rounder:
    """Masters and the rounded copies the model sees. After backward() the copies' gradients are the masters'."""
    def __init__(self, masters, dtype):
        self.masters, self.dtype, self.fmt = masters, dtype, {n: f for n, f, _, _ in tensors()}
        self.seen = {n: (w.clone().to(self.type_of(n)).requires_grad_(self.trains(n)) if self.fmt[n] != "i64" else w)
                     for n, w in masters.items()}
    def trains(self, n): return self.fmt[n] != "i64" and not n.endswith("gate.bias")
    def type_of(self, n):
        """Matrices of a product in the dtype of products: exact, as these formats fit into bfloat16."""
        product = len(self.masters[n].shape) > 1 and self.fmt[n] != "f32" and not n.endswith("ffn.gate.weight") and n != "embed.weight"
        return self.dtype if product else torch.float32
    @torch.no_grad()
    def refresh(self):
        for n, w in self.masters.items():
            if self.fmt[n] != "i64":
                self.seen[n].copy_(rounded(w, self.fmt[n]))
                self.seen[n].grad = None

# ---------------------------------------------------------------- forward pass

def frequencies(ratio):
    c, s = CONFIG, CONFIG["rope_scaling"]
    rd, base = c["qk_rope_head_dim"], float(c["compress_rope_theta"] if ratio else c["rope_theta"])
    f = base ** -(torch.arange(0, rd, 2, dtype=torch.float64) / rd)
    if not ratio:
        return f
    dim = lambda turns: rd * math.log(s["original_max_position_embeddings"] / (turns * 2 * math.pi)) / (2 * math.log(base))
    low, high = max(math.floor(dim(s["beta_fast"])), 0), min(math.ceil(dim(s["beta_slow"])), rd - 1)
    ramp = ((torch.arange(rd // 2, dtype=torch.float64) - low) / max(high - low, 1e-3)).clamp(0, 1)
    return f / s["factor"] * ramp + f * (1 - ramp)

def turns(pos, ratio):
    """cos and sin, (len(pos), rd / 2)"""
    a = pos.double()[:, None] * frequencies(ratio)
    return a.cos().float(), a.sin().float()

def rope(x, cos, sin):
    """Rotates adjacent pairs of the last dims of x (..., t, dim); for the inverse pass -sin."""
    rd = 2 * cos.shape[-1]
    a, b = x[..., -rd:].unflatten(-1, (-1, 2)).unbind(-1)
    return torch.cat([x[..., :-rd], torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)], -1)

def rms(x, w=None):
    y = x * torch.rsqrt((x * x).mean(-1, keepdim=True) + CONFIG["rms_norm_eps"])
    return y if w is None else y * w

def sinkhorn(m):
    """(S, S, n): softmax over columns, then rows and columns normalised in turn."""
    eps = CONFIG["hc_eps"]
    a = torch.softmax(m, 1) + eps
    a = a / (a.sum(0, keepdim=True) + eps)
    for _ in range(CONFIG["hc_sinkhorn_iters"] - 1):
        a = a / (a.sum(1, keepdim=True) + eps)
        a = a / (a.sum(0, keepdim=True) + eps)
    return a

def hc_read(x, w):
    """Mixes the streams: x (n, S, D), w (n, S) -> (n, D)."""
    return torch.bmm(w[:, None], x)[:, 0]

def hc_write(y, x, post, a):
    """Adds a sub-layer's output y (n, D) to the mixed streams; a (S, S, n), from row to column."""
    return torch.baddbmm(post[:, :, None] * y[:, None], a.permute(2, 1, 0).contiguous(), x)

def swiglu(g, u, w):
    lim = CONFIG["swiglu_limit"]
    return F.silu(g.float().clamp(max=lim)) * u.float().clamp(-lim, lim) * w

def attend(q, kv, rows, shown, sink):
    """q (b, n, H*W, d) in blocks of W queries, scaled; kv (b, n, 2W, d) their block and the one before; rows
    (b, R, d) compressed, of which shown (b, n, W, R) may be seen. -> output as q; weights of the rows (b, n, W, R).
    The sink is one more row, all zeros, that has its own score."""
    b, n, hw, d = q.shape
    W, H = kv.shape[2] // 2, hw // (kv.shape[2] // 2)
    i, j = torch.arange(W)[:, None] + W, torch.arange(2 * W)[None]
    seen = ((j <= i) & (j > i - W))[None] & ~((torch.arange(n) == 0)[:, None, None] & (j < W))
    mask = [seen[None].expand(b, n, W, 2 * W)]
    keys = [kv]
    if rows is not None:
        mask.append(shown)
        keys.append(rows[:, None].expand(b, n, -1, d))
    bias = torch.where(torch.cat(mask, 3), 0.0, -1e30)[:, :, None].expand(b, n, H, W, -1)
    bias = torch.cat([bias, sink.view(1, 1, H, 1, 1).expand(b, n, H, W, 1)], 4)
    k = torch.cat(keys + [kv.new_zeros(b, n, 1, d)], 2)
    p = torch.softmax((q @ k.mT).view(b, n, H, W, -1) + bias, -1)
    far = p[..., 2 * W:-1].detach().sum(2) if rows is not None else None
    return p.to(q.dtype).flatten(2, 3) @ k, far

def pool(u, g, ape, overlap):
    """Gated pooling of blocks: u, g (b, blocks, ratio, k * d) -> (b, blocks, d)."""
    u, g = u.float(), g.float() + ape
    if overlap:                                    # the block before by its first half of channels
        d = u.shape[-1] // 2
        u = torch.cat([F.pad(u[:, :-1, :, :d], (0, 0, 0, 0, 1, 0)), u[..., d:]], 2)
        g = torch.cat([F.pad(g[:, :-1, :, :d], (0, 0, 0, 0, 1, 0), value=-1e30), g[..., d:]], 2)
    return (torch.softmax(g, 2) * u).sum(2)

class Model:
    """The forward pass over w, a dict of weights by name. Experts' loads and the indexers' losses are left
    in self.load and self.index_loss. `dense` shows every compressed row to the attention, not the top ones."""
    def __init__(self, w, dtype):
        self.w, self.dt, self.dense, self.load, self.index_loss = w, dtype, False, {}, []
    def lin(self, name, x): return x.to(self.dt) @ self.w[name].t()

    def hc(self, p, x):
        """Weights of the streams around a sub-layer: pre (n, S), post (n, S), mixing matrix (S, S, n)."""
        S, w = CONFIG["hc_mult"], self.w
        flat = x.flatten(1)
        m = (flat @ w[p + "_fn"].t()) * torch.rsqrt((flat * flat).mean(1, keepdim=True) + CONFIG["rms_norm_eps"])
        sc, b = w[p + "_scale"], w[p + "_base"]
        if len(b) == S:
            return torch.sigmoid(m * sc + b) + CONFIG["hc_eps"]
        pre = torch.sigmoid(m[:, :S] * sc[0] + b[:S]) + CONFIG["hc_eps"]
        post = 2 * torch.sigmoid(m[:, S:2 * S] * sc[1] + b[S:2 * S])
        return pre, post, sinkhorn((m[:, 2 * S:] * sc[2] + b[2 * S:]).t().reshape(S, S, -1))

    def compress(self, p, x, ratio):
        n = x.shape[1] // ratio
        u, g = (self.lin(p + f"{k}.weight", x[:, :n * ratio]).unflatten(1, (n, ratio)) for k in ("wkv", "wgate"))
        v = rms(pool(u, g, self.w[p + "ape"], ratio == 4), self.w[p + "norm.weight"])
        return rope(v, *turns(torch.arange(n) * ratio, ratio))

    def pick(self, p, x, qr, shown):
        """The indexer's scores of the compressed rows (b, t, R) and the rows it picks, the lowest of equal ones. Its
        Hadamard rotation of queries and keys leaves their products as they are, so it is not in here."""
        c = CONFIG
        ih, d = c["index_n_heads"], c["index_head_dim"]
        cos, sin = turns(torch.arange(x.shape[1]), 4)
        q = rope(self.lin(p + "wq_b", qr).float().unflatten(-1, (ih, d)).transpose(1, 2), cos, sin)
        k = self.compress(p + "compressor.", x, 4)
        wt = self.lin(p + "weights_proj.weight", x).float() * (ih * d)**-0.5
        dot = (q.to(self.dt) @ k.to(self.dt)[:, None].mT).float().relu()
        score = (dot * wt.transpose(1, 2)[..., None]).sum(1)
        order = torch.sort(score.detach().masked_fill(~shown, -math.inf), dim=-1, descending=True, stable=True).indices
        picked = torch.zeros_like(shown.expand_as(score)).scatter(-1, order[..., :c["index_topk"]], True) & shown
        return score, picked

    def attention(self, p, ratio, x):
        """x (b, t, D); t a multiple of the window"""
        c, w = CONFIG, self.w
        H, hd, W, G, R = (c[k] for k in ("num_attention_heads", "head_dim", "sliding_window", "o_groups", "o_lora_rank"))
        b, t, _ = x.shape
        cos, sin = turns(torch.arange(t), ratio)
        qr = rms(self.lin(p + "wq_a", x).float(), w[p + "q_norm.weight"])
        q = rms(self.lin(p + "wq_b", qr).float().unflatten(-1, (H, hd)))
        q = (rope(q.transpose(1, 2), cos, sin) * hd**-0.5).to(self.dt)
        kv = rope(rms(self.lin(p + "wkv", x).float(), w[p + "kv_norm.weight"]), cos, sin).to(self.dt)
        q = q.unflatten(2, (-1, W)).transpose(1, 2).flatten(2, 3)
        block = kv.unflatten(1, (-1, W))
        near = torch.cat([F.pad(block[:, :-1], (0, 0, 0, 0, 1, 0)), block], 2)
        rows = shown = None
        if ratio:
            rows = self.compress(p + "compressor.", x, ratio).to(self.dt)
            shown = (torch.arange(rows.shape[1]) < (torch.arange(t)[:, None] + 1) // ratio)[None]
            if ratio == 4:
                score, picked = self.pick(p + "indexer.", x.detach(), qr.detach(), shown)
                allowed, shown = shown, shown if self.dense else picked
            shown = shown.expand(b, t, -1).unflatten(1, (-1, W))
        out, far = attend(q, near, rows, shown, w[p + "attn_sink"])
        if ratio == 4 and torch.is_grad_enabled():
            self.index_loss.append(index_loss(score, far.flatten(1, 2), allowed if self.dense else picked))
        out = out.unflatten(2, (H, W)).transpose(1, 2).flatten(2, 3)
        out = rope(out.float(), cos, -sin).transpose(1, 2).reshape(b, t, G, -1).to(self.dt)
        z = torch.einsum("btgd,grd->btgr", out, w[p + "wo_a"].unflatten(0, (G, R)))
        return self.lin(p + "wo_b", z.flatten(2)).float()

    def experts(self, p, x, ids):
        """x (n, D), ids (n,)"""
        c, w = CONFIG, self.w
        k, E = c["num_experts_per_tok"], c["n_routed_experts"]
        s = torch.sqrt(F.softplus(x @ w[p + "gate.weight"].t()))
        hashed = w.get(p + "gate.tid2eid")
        e = hashed[ids] if hashed is not None else (s.detach() + w[p + "gate.bias"]).topk(k, 1).indices
        wt = s.gather(1, e)
        wt = wt / wt.sum(1, keepdim=True) * c["routed_scaling_factor"]
        order = torch.argsort(e.flatten(), stable=True)
        token, n = order // k, torch.bincount(e.flatten(), minlength=E)
        self.load[p] = n
        xb = x.to(self.dt)
        product = lambda xs, m: torch.cat([v @ e.t() for v, e in zip(xs.split(n.tolist()), m.unbind(0))])
        xe = xb[token]
        a = swiglu(product(xe, w[p + "experts.w1"]), product(xe, w[p + "experts.w3"]), wt.flatten()[order][:, None])
        y = product(a.to(self.dt), w[p + "experts.w2"]).float()
        a = swiglu(*(xb @ w[p + f"shared_experts.{m}"].t() for m in ("w1", "w3")), 1.0)
        return self.lin(p + "shared_experts.w2", a).float().index_add(0, token, y)

    def block(self, p, ratio, x, ids):
        """x (b * t, S, D), ids (b, t)"""
        pre, post, a = self.hc(p + "hc_attn", x)
        y = rms(hc_read(x, pre), self.w[p + "attn_norm.weight"])
        x = hc_write(self.attention(p + "attn.", ratio, y.view(*ids.shape, -1)).flatten(0, 1), x, post, a)
        pre, post, a = self.hc(p + "hc_ffn", x)
        y = rms(hc_read(x, pre), self.w[p + "ffn_norm.weight"])
        return hc_write(self.experts(p + "ffn.", y, ids.flatten()), x, post, a)

    def head(self, p, x):
        y = rms(hc_read(x, self.hc(p + "hc_head", x)), self.w[p + "norm.weight"])
        return self.lin("head.weight", y)

    def __call__(self, ids, nexts=None):
        """ids (b, t) -> logits (b * t, V); with nexts, the ids one further, also of the MTP block: the token
        after those."""
        c, w = CONFIG, self.w
        self.index_loss, self.load = [], {}
        x = w["embed.weight"][ids.flatten()][:, None].expand(-1, c["hc_mult"], -1)
        for l in range(c["num_hidden_layers"]):
            x = self.block(f"layers.{l}.", c["compress_ratios"][l], x, ids)
        out = self.head("", x)
        if nexts is None:
            return out
        e = rms(w["embed.weight"][nexts.flatten()], w["mtp.0.enorm.weight"])
        h = rms(x, w["mtp.0.hnorm.weight"])
        x = (self.lin("mtp.0.e_proj", e)[:, None] + self.lin("mtp.0.h_proj", h)).float()
        return out, self.head("mtp.0.", self.block("mtp.0.", 0, x, nexts))

def index_loss(score, weight, shown):
    """KL divergence of the indexer's distribution over the rows shown from the attention's own, (b, t, R) each,
    where there is a choice of rows."""
    target = weight / weight.sum(-1, keepdim=True).clamp(min=1e-9)
    logp = torch.log_softmax(score.masked_fill(~shown, -1e30), -1)
    kl = (target * (target.clamp(min=1e-9).log() - logp)).masked_fill(~shown, 0).sum(-1)
    return kl[:, CONFIG["index_topk"]:].mean()

# ---------------------------------------------------------------- training

def orthogonal(g):
    """Newton-Schulz: the nearest matrix with singular values about 1, of each matrix of a stack."""
    x = g.bfloat16()
    x = x.mT if g.shape[-2] > g.shape[-1] else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.mT if g.shape[-2] > g.shape[-1] else x).float()

class Optimizer:
    """Muon for the matrices of the layers (rates muon and back), Adam for the rest."""
    RATE = dict(muon=0.012, back=0.008, table=0.004, mixer=0.00003, rest=0.003)
    def __init__(self, r):
        self.r, self.step_no = r, 0
        names = [n for n in r.masters if r.trains(n)]
        self.m = {n: torch.zeros_like(r.masters[n]) for n in names}
        self.v = {n: torch.zeros_like(r.masters[n]) for n in names if self.kind(n) not in ("muon", "back")}
    def kind(self, n):
        if n in ("embed.weight", "head.weight"):
            return "table"
        if n.endswith(("ffn.gate.weight", "_fn", "_scale", "_base")):    # gates of experts and streams: a fast one shuts for good
            return "mixer"
        if n.endswith((".w2", "wo_b")):
            return "back"                           # back into the streams
        return "muon" if self.r.masters[n].dim() > 1 and self.r.fmt[n] != "f32" else "rest"
    @torch.no_grad()
    def step(self, rate):
        self.step_no += 1
        stacks = collections.defaultdict(list)
        for n, m in self.m.items():
            if self.r.seen[n].grad is None:             # the MTP block rests
                continue
            g, lr = self.r.seen[n].grad.float(), rate * self.RATE[self.kind(n)]
            if n not in self.v:
                m.mul_(0.95).add_(g)
                stacks[g.shape[-2:]].append((n, g + 0.95 * m))
                continue
            m.lerp_(g, 0.1)
            self.v[n].lerp_(g * g, 0.05)
            v = self.v[n] / (1 - 0.95**self.step_no)
            self.r.masters[n].sub_(lr * m / (1 - 0.9**self.step_no) / (v.sqrt() + 1e-10))
        for (o, i), group in stacks.items():
            u = orthogonal(torch.cat([g.reshape(-1, o, i) for _, g in group]))
            for (n, g), d in zip(group, u.split([g[..., 0, 0].numel() for _, g in group])):
                lr = rate * self.RATE[self.kind(n)] * max(1.0, o / i)**0.5
                self.r.masters[n].mul_(1 - rate * 6e-4).sub_(lr * d.view(g.shape))

def schedule(step, steps):
    """Learning rate, as a part of the highest: up over 40 steps, then level, then down over the last half."""
    return min(1.0, (step + 1) / 40, max(0.02, (steps - step) / (0.5 * steps)))

def unigram_ppl(counts, held):
    """Perplexity of held-out tokens under the frequencies of the training tokens, each counted once more."""
    p = (counts + 1) / (counts + 1).sum()
    return float(np.exp(-np.log(p[held]).mean()))

@torch.no_grad()
def perplexity(model, ids, n_ctx, chunks):
    """As `ingot perplexity` counts it: chunks of n_ctx tokens, in each the tokens behind its middle one scored."""
    nll, t = [], torch.from_numpy(ids.astype(np.int64))
    for k in range(min(chunks, len(t) // n_ctx)):
        c = t[k * n_ctx:(k + 1) * n_ctx]
        pad = -n_ctx % CONFIG["sliding_window"]
        logits = model(F.pad(c, (0, pad))[None])[:n_ctx].float()
        nll.append(F.cross_entropy(logits[n_ctx // 2:-1], c[n_ctx // 2 + 1:], reduction="none"))
    nll = torch.cat(nll)
    return math.exp(nll.mean()), len(nll)

def save(o, r, opt, step):
    path = os.path.join(o.work, "state.pt")
    torch.save(dict(step=step, masters=r.masters, m=opt.m, v=opt.v, opt_step=opt.step_no), path + ".new")
    os.replace(path + ".new", path)

def gradients(model, ids, o, step, part):
    """Of one part of a step's batch, left at the weights; returns the losses and the loads of the experts."""
    at = np.random.default_rng([SEED, step]).integers(0, len(ids) - SEQ - 2, o.batch)[part::o.parts]
    x = torch.from_numpy(np.stack([ids[a:a + SEQ + 2] for a in at]).astype(np.int64))
    model.dense = step < DENSE_STEPS
    with_mtp = step % 3 == 0                        # a third of the batches teach the MTP block, too
    out = model(x[:, :-2], x[:, 1:-1] if with_mtp else None)
    loss = F.cross_entropy((out[0] if with_mtp else out).float(), x[:, 1:-1].flatten())
    loss2 = F.cross_entropy(out[1].float(), x[:, 2:].flatten()) if with_mtp else torch.tensor(0.0)
    index = sum(model.index_loss)
    (loss + 0.5 * loss2 + 0.3 * index).backward()
    return np.array([float(v.detach()) for v in (loss, loss2, index)]), model.load

def worker(model, ids, o, part, ours, pipe, grads):
    """A process that computes one part of each step, from weights and into gradients that it shares."""
    ours.close()                                    # so that recv() fails once the caller is gone
    torch.set_num_threads(1)
    while True:
        out = gradients(model, ids, o, pipe.recv(), part)
        for n, g in grads.items():
            if model.w[n].grad is not None:
                g.copy_(model.w[n].grad)
            model.w[n].grad = None
        pipe.send(out)

def start_workers(model, names, ids, o):
    """A pipe and the gradients of each part but the first, which is the caller's."""
    for w in model.w.values():
        w.share_memory_()
    out = []
    for part in range(1, o.parts):
        ours, theirs = torch.multiprocessing.Pipe()
        grads = {n: torch.zeros_like(model.w[n], requires_grad=False).share_memory_() for n in names}
        torch.multiprocessing.get_context("fork").Process(
            target=worker, args=(model, ids, o, part, ours, theirs, grads), daemon=True).start()
        theirs.close()
        out.append((ours, grads))
    return out

def step_gradients(model, workers, ids, o, step):
    """The whole batch's: losses (means), loads (sums)."""
    for pipe, _ in workers:
        pipe.send(step)
    losses, load = gradients(model, ids, o, step, 0)
    for pipe, grads in workers:
        more, n = pipe.recv()
        losses = losses + more
        load = {p: load[p] + n[p] for p in load}
        for name, g in grads.items():
            if model.w[name].grad is not None:
                model.w[name].grad += g
    return losses / o.parts, load

def train(o):
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    data = np.load(os.path.join(o.work, "tokens.npz"))
    ids, held = data["train"], data["held"]
    counts = np.bincount(ids, minlength=CONFIG["vocab_size"]).astype(np.float64)
    r = Rounder(start_weights(ids, counts), torch.bfloat16)
    opt, start = Optimizer(r), 0
    if o.resume:
        s = torch.load(os.path.join(o.work, "state.pt"))
        start, opt.m, opt.v, opt.step_no = s["step"], s["m"], s["v"], s["opt_step"]
        for n, w in s["masters"].items():
            r.masters[n].copy_(w)
    model = Model(r.seen, torch.bfloat16)
    print(f"{sum(w.numel() for n, w in r.masters.items() if r.fmt[n] != 'i64')} parameters, unigram PPL {unigram_ppl(counts, held):.2f}")
    workers = start_workers(model, list(opt.m), ids, o)
    begin = saved = time.time()
    for step in range(start, o.steps):              # a step's batch is the same whether resumed or not
        r.refresh()
        losses, load = step_gradients(model, workers, ids, o, step)
        opt.step(schedule(step, o.steps))
        for p, n in load.items():                   # the choice of experts moves to even loads
            if p + "gate.bias" in r.masters:
                r.masters[p + "gate.bias"] += 0.01 * schedule(step, o.steps) * torch.sign(n.float().mean() - n)
        if step % 15 == 0 or step == o.steps - 1:
            print(f"step {step} loss {losses[0]:.4f} mtp {losses[1]:.4f} index {losses[2]:.4f} "
                  f"load {max(float(n.max() / n.sum()) for n in load.values()):.3f} "
                  f"{(time.time() - begin) / (step - start + 1):.3f} s/step", flush=True)
        if time.time() - saved > 150 or step == o.steps - 1:
            saved = time.time()
            save(o, r, opt, step + 1)
            r.refresh()
            model.dense = False
            print(f"step {step}: held-out PPL {perplexity(model, held, SEQ, 8)[0]:.3f} (first 8 chunks)", flush=True)

def load_weights(o):
    """The rounded weights of state.pt."""
    s = torch.load(os.path.join(o.work, "state.pt"))
    fmt = {n: f for n, f, _, _ in tensors()}
    return {n: rounded(w, fmt[n]) for n, w in s["masters"].items()}

def evaluate(o):
    torch.set_num_threads(2)
    data = np.load(os.path.join(o.work, "tokens.npz"))
    ids, held = data["train"], data["held"]
    with torch.no_grad():
        model = Model(load_weights(o), torch.float32)
        ppl, n = perplexity(model, held, o.ctx, o.chunks)
        print(f"PPL {ppl:.6f} over {n} tokens, context {o.ctx}, float32")
    counts = np.bincount(ids, minlength=CONFIG["vocab_size"]).astype(np.float64)
    nbytes = os.path.getsize(os.path.join(o.work, "heldout.txt"))
    print(f"unigram PPL {unigram_ppl(counts, held):.3f}; {nbytes / len(held):.4f} bytes a token; "
          f"{math.log2(ppl) * len(held) / nbytes:.4f} bits a byte")

# ---------------------------------------------------------------- export

def stored(name, fmt, w):
    """The tensors of the file for one of ours: (name, dtype, shape, bytes)."""
    raw = lambda t: t.contiguous().numpy().tobytes()
    if fmt == "i64":
        return [(name, "I64", w.shape, raw(w))]
    if fmt == "f32":
        return [(name, "F32", w.shape, raw(w))]
    if fmt == "bf16":
        return [(name, "BF16", w.shape, raw(w.bfloat16().view(torch.int16)))]
    if fmt == "fp8":
        q, e, _ = fp8_parts(w)
        return [(name + ".weight", "F8_E4M3", w.shape, raw(q.view(torch.uint8))),
                (name + ".scale", "F8_E8M0", e.shape, raw((e + 127).to(torch.uint8)))]
    out, (p, m) = [], name.rsplit(".", 1)
    grid = torch.tensor([0, .5, 1, 1.5, 2, 3, 4, 6])
    for i, x in enumerate(w):
        y, e = fp4_parts(x)
        code = torch.searchsorted(grid, y.abs()) + 8 * (y < 0)
        code = code.flatten(1).to(torch.uint8)
        packed = code[:, 0::2] | code[:, 1::2] << 4
        out += [(f"{p}.{i}.{m}.weight", "I8", packed.shape, raw(packed)),
                (f"{p}.{i}.{m}.scale", "F8_E8M0", e.shape, raw((e + 127).to(torch.uint8)))]
    return out

def write_shard(path, rows):
    head, at = {}, 0
    for name, dtype, shape, data in rows:
        head[name] = dict(dtype=dtype, shape=list(shape), data_offsets=[at, at + len(data)])
        at += len(data)
    h = json.dumps(head, separators=(",", ":")).encode()
    h += b" " * (-len(h) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(h)) + h + b"".join(r[3] for r in rows))

def shards(masters):
    """Three files as DeepSeek cuts them, by layer: embedding and first layers, the other layers, the rest."""
    L, parts = CONFIG["num_hidden_layers"], [[], [], []]
    for name, fmt, _, _ in tensors():
        layer = int(name.split(".")[1]) if name.startswith("layers.") else -1 if name == "embed.weight" else L
        parts[0 if layer < (L + 1) // 2 else 1 if layer < L else 2] += stored(name, fmt, masters[name])
    return parts

def export(o):
    masters = torch.load(os.path.join(o.work, "state.pt"))["masters"]
    v = Vocabulary(json.load(open(os.path.join(o.work, "merges.json"))))
    os.makedirs(o.out, exist_ok=True)
    parts, files = shards(masters), {}
    for i, rows in enumerate(parts):
        file = f"model-{i + 1:05d}-of-{len(parts):05d}.safetensors"
        write_shard(os.path.join(o.out, file), rows)
        files.update((r[0], file) for r in rows)
    for name, content in (
            ("config.json", CONFIG), ("tokenizer.json", tokenizer_json(v)),
            ("model.safetensors.index.json",
             dict(metadata=dict(total_size=sum(len(r[3]) for p in parts for r in p)), weight_map=files)),
            ("generation_config.json", dict(_from_model_config=True, bos_token_id=0, eos_token_id=1, do_sample=True,
                                            temperature=1.0, top_p=1.0, transformers_version="4.57.1")),
            ("tokenizer_config.json", dict(add_bos_token=False, add_eos_token=False, bos_token=BOS, eos_token=EOS,
                                           pad_token=PAD, tokenizer_class="PreTrainedTokenizerFast"))):
        text = json.dumps(content, indent=1 if name != "config.json" else 2, ensure_ascii=False)
        open(os.path.join(o.out, name), "w", encoding="utf-8").write(text + "\n")
    records(o.out)

def records(d):
    """What `hf download --local-dir` leaves: commit (made up), digest and time of every file; the time is far in the
    future, as a record older than its file counts for nothing and a clone makes new files."""
    meta = os.path.join(d, ".cache/huggingface/download")
    os.makedirs(meta, exist_ok=True)
    for name in sorted(os.listdir(d)):
        if not os.path.isfile(os.path.join(d, name)):
            continue
        b = open(os.path.join(d, name), "rb").read()
        lfs = name.endswith(".safetensors") or name == "tokenizer.json"
        digest = hashlib.sha256(b) if lfs else hashlib.sha1(b"blob %d\0" % len(b) + b)
        with open(os.path.join(meta, name + ".metadata"), "w") as f:
            f.write(f"0123456789abcdef0123456789abcdef01234567\n{digest.hexdigest()}\n4102444800\n")

def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("what", choices=["text", "vocab", "train", "export", "eval"])
    a.add_argument("--work", required=True, help="directory of the corpus, the vocabulary and the state")
    a.add_argument("--out", default="samples/v4-tiny", help="export: where to")
    a.add_argument("--steps", type=int, default=1500)
    a.add_argument("--batch", type=int, default=8, help="sequences a step")
    a.add_argument("--parts", type=int, default=2, help="processes that share a step's batch, a thread each")
    a.add_argument("--resume", action="store_true")
    a.add_argument("--ctx", type=int, default=512)
    a.add_argument("--chunks", type=int, default=1 << 30)
    o = a.parse_args()
    os.makedirs(o.work, exist_ok=True)
    dict(text=make_text, vocab=make_vocab, train=train, export=export, eval=evaluate)[o.what](o)

if __name__ == "__main__":
    main()
