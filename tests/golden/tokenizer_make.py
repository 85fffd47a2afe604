#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes tokenizer.json (a small vocabulary) and tokenizer.ids (what the `tokenizers` library makes of
test texts with it), both beside this file. Needs that library; building and testing Ingot does not.

  tokenizer_make.py train TEXT...     trains tokenizer.json on these files
  tokenizer_make.py ids               writes tokenizer.ids for the tokenizer.json that is there

Committed: trained by tokenizers 0.23.3 on Debian 12's /usr/share/common-licenses/{GPL-3,Apache-2.0,
MPL-2.0}, /usr/share/perl/5.36/{CPAN.pm,perl5db.pl} (code), the translations in
/var/lib/dpkg/info/*.templates, and emoji-test.txt of package unicode-data 15.0.0-1.
"""
import json, os, sys
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
import tokenizers

HERE = os.path.dirname(os.path.abspath(__file__))
SPECIAL = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"]
LATER = ["<｜User｜>", "<｜Assistant｜>", "<｜User｜>long", "<｜fim▁hole｜>"]      # special
USER = ["<think>", "</think>", "｜DSML｜", "<think"]                              # not special
SPLITS = ["\\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
          "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
          " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"]                 # CR and LF as in DeepSeek's file

def train(files):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in SPLITS]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator((open(f, encoding="utf-8", errors="replace").read() for f in files),
        trainers.BpeTrainer(vocab_size=4000, min_frequency=2, special_tokens=SPECIAL, max_token_length=64,
                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.add_special_tokens(LATER)
    t.add_tokens([AddedToken(x, normalized=False) for x in USER])
    d = json.loads(t.to_str())
    d["model"]["merges"] = [m if isinstance(m, str) else " ".join(m) for m in d["model"]["merges"]]
    with open(os.path.join(HERE, "tokenizer.json"), "w", encoding="utf-8") as f:
        f.write(json.dumps(d, ensure_ascii=False, separators=(",", ":")).replace(',"merges":', ',\n"merges":'))
        f.write("\n")

# The generator of tests/test_tokenizer.c, step for step.
def xorshift(s):
    s ^= s << 13 & 0xFFFFFFFFFFFFFFFF
    s ^= s >> 7
    return s ^ s << 17 & 0xFFFFFFFFFFFFFFFF

RANGES = [(0x20, 0x7E), (0x61, 0x7A), (0x30, 0x39), (0x20, 0x20), (0x09, 0x0D), (0xA0, 0x24F), (0x300, 0x36F),
          (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0xDFF), (0x1680, 0x1680), (0x2000, 0x206F), (0x20A0, 0x23FF),
          (0x2460, 0x27BF), (0x3000, 0x30FF), (0x4E00, 0x4FFF), (0x9FA0, 0x9FB0), (0xAC00, 0xAFFF),
          (0xFE00, 0xFFFD), (0x10000, 0x102FF), (0x1F300, 0x1F6D7), (0x20000, 0x200FF), (0xE0100, 0xE01EF)]
N_RANDOM = 2000

def random_texts():
    s = 0x9E3779B97F4A7C15
    for _ in range(N_RANDOM):
        s = xorshift(s); n = 1 + s % 11
        t = ""
        for _ in range(n):
            s = xorshift(s); lo, hi = RANGES[s % len(RANGES)]
            s = xorshift(s); t += chr(lo + s % (hi - lo + 1))
        yield t

TEXTS = [
    b"", b"a", b" ", b"Hello, world!", b"int main(void)\n{\n\treturn x->y[3] != 0x7f;\n}\n",
    b"def f(x):\n    return {'a': [1, 2.5e-10], **x}  # comment\n\n\nclass B(object):\r\n\tpass\r\n",
    b"#include <stdio.h>\n#define A_B(c) \"\\\"%d\\n\"\n", b"https://example.org/a/b?c=d&e=%20#f", b"foo_bar.baz::qux->quux",
    "深度求索发布了新的模型，参数为1.6万亿。".encode(), "中文English混合123测试".encode(), "吾輩は猫である。名前はまだ無い。".encode(),
    "コーヒー・ショップでﾊﾝｶｸを゛゜゠ヿ゙".encode(), "ア・イ゠ウ\u3097\u3098エ".encode(), "한국어 문장도 있습니다.".encode(),
    "Привет, мир! Ёлка".encode(), "مرحبا بالعالم ١٢٣٤٥".encode(), "नमस्ते दुनिया १२३४".encode(), "สวัสดีชาวโลก".encode(),
    b"1", b"12", b"123", b"1234", b"1234567890", b"3.14159265 1,000,000 0xDEADBEEF 1e10 a1b22c333d4444",
    "①②③④ⅣⅤ½¾²³x²".encode(), "１２３４５全角".encode(),
    "😀😃 👍🏽 👨‍👩‍👧‍👦 🇩🇪🇯🇵 ❤️ 1️⃣2️⃣".encode(), "🏴‍☠️🏳️‍🌈 a😀b 😀 c".encode(),
    "e\u0301 n\u0303a \u0301\u0302 x\u0301\u0302\u0303y 1\u0301 .\u0301a \n\u0301b".encode(), "\u0301".encode(), "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢".encode(),
    b"  ", b"   a", b"a   ", b"a  b", b"\t", b"\t\ta", b" \ta", b"\n", b"\n\n\n", b"\r\n", b"\r\n\r\n  x", b" \n", b" \n ", b" \n a",
    b"\n  \n  \n  end", b"a \n\n b", b"  \r\n\t\r\n\t x", b"\x0b\x0c a", b" . ", b" ..\n\n", b" !\r\n\r\n x", b". a", b" .a", b"'s 're n't I'll",
    "a\u00a0b \u00a0 c\u00a0\u00a0d".encode(), "\u3000全角\u3000\u3000空白".encode(), "a\u2028b\u2029c \u2028 d".encode(), "a\u0085b \u0085\u0085 c\u0085".encode(),
    "\u2003\u2003x \u1680 \u202f\u205f".encode(), "a\u200bb\u200c\u200dc\ufeffd \u180e e".encode(), b"a\x00b\x00\x00 c\x1c\x1d\x1e\x1f d\x7f",
    b"don't!!stop--now...(yes) [no] {maybe} <tag attr=\"v\"/> a+b=c @user #tag $5 50% ^_^ ~/.bashrc", "“quotes” ‘single’ — dash – en … «x» ¿qué?".encode(),
    "x+y≤z∑√π ∂ €100 £5 ¥3 ©®™ °C §1 ¶".encode(), b"(abc) .abc  ,abc\t.abc\n.abc /ABCdef_GHI 9abc 9.abc", "!é !éa .ü".encode(),
    "latinкириλλην中文かなハングル한글123abc".encode(), "a1中b2あc3".encode(), "中1中 中\n中、中".encode(), "龥龦一丁 ぀ゟ゠ヿㄅ".encode(),
    b"\xff", b"a\xffb", b"\xc0\xaf", b"\xe2\x82", b"\xe2\x82a", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xf0\x9f\x98 \xf0\x9f\x98\x80", b"\xf4\x90\x80\x80", b"\x80\x80\x80",
    b"\xe4\xb8\xad\xe4\xb8", b"caf\xe9 na\xefve \xa0\xa0 x", b"\xfe\xff\x00a", b"\xf8\x88\x80\x80\x80",
    "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜></think>Hello<｜end▁of▁sentence｜>".encode(),
    "<｜User｜>longer <｜User｜>lon <｜User｜".encode(), "<think><think <thin <think>>< think>".encode(), "a <think> b".encode(), "a\n\n<think>\n\nb".encode(),
    "12<think>34 中<｜fim▁hole｜>文".encode(), "｜DSML｜<｜DSML｜invoke name=\"x\">".encode(), "<｜▁pad▁｜><|User|>".encode(), b"<\xef\xbd\x9cUser\xef\xbd", b"<<think>>\xff<think>",
    b"a" * 300, b"ab" * 100, b" " * 200, b" " * 200 + b"x", b"\n" * 70, b"-" * 100, b"=" * 64 + b"\n", b"0" * 50, ("中" * 80).encode(), ("\u0301" * 40).encode(),
    b"abcdefghijklmnopqrstuvwxyz" * 4, b"the quick brown fox jumps over the lazy dog. " * 3,
]

def escape(b):
    return "".join(chr(c) if 0x20 < c < 0x7F and c != 0x5C else "\\x%02x" % c for c in b)

def ids():
    path = os.path.join(HERE, "tokenizer.json")
    t = Tokenizer.from_file(path)
    enc = lambda s: " ".join(map(str, t.encode(s, add_special_tokens=False).ids))
    with open(os.path.join(HERE, "tokenizer.ids"), "w") as f:
        f.write(f"# Token ids by the tokenizers library {tokenizers.__version__} with tokenizer.json, which lies beside this file.\n"
                "# Made by tokenizer_make.py. First `= TEXT` (\\xNN for bytes outside ! to ~, and for \\), then its ids; the\n"
                "# library was given bytes.decode('utf-8', 'replace'). After `random` the ids of 2,000 texts, one a line, that\n"
                "# test_tokenizer.c generates again (xorshift64, seed 9E3779B97F4A7C15).\n")
        for b in TEXTS:
            f.write(f"= {escape(b)}\n{enc(b.decode('utf-8', 'replace'))}\n")
        f.write("random\n")
        for s in random_texts():
            f.write(enc(s) + "\n")

train(sys.argv[2:]) if sys.argv[1] == "train" else ids()
