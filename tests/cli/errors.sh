# What a person can get wrong, and what is said then: `ingot: FILE: WHAT (tensor, bytes): WHY; NEXT STEP`. One line a case:
# expected exit code, words that the message must have (between bars), the command line. To add a message, add a line.
. tests/cli/common.sh
unset INGOT_PROGRESS_EVERY INGOT_KERNELS

# try CODE WORDS ARGUMENT...: ingot ARGUMENT... ends so; its last line on standard error has all words, a next step behind
# a semicolon, and no control byte
try() {
	want=$1 words=$2; shift 2
	"$INGOT" "$@" >out 2>err; got=$?
	line=$(grep '^ingot: ' err | tail -n 1)
	wrong=
	[ "$got" -eq "$want" ] || wrong="exit code $got, expected $want"
	case $line in 'ingot: '*'; '*) ;; *) wrong="$wrong; no next step" ;; esac
	[ "$(tr -d '\n\040-\176\200-\377' <err | wc -c)" -eq 0 ] || wrong="$wrong; control bytes"
	while [ -n "$words" ]; do
		w=${words%%|*}
		case $words in *'|'*) words=${words#*|} ;; *) words= ;; esac
		case $line in *"$w"*) ;; *) wrong="$wrong; does not say '$w'" ;; esac
	done
	if [ -z "$wrong" ]; then ok; else bad "ingot $*: $wrong"; cat err >&2; fi
}
# edit FILE SED: m is the sample without records, with FILE edited
edit() { rm -rf m; cp -r src m; LC_ALL=C sed -i "$2" "m/$1"; }

cp -r "$SAMPLE" src; rm -rf src/.cache; mkdir empty
"$INGOT" convert "$SAMPLE" -o a.gguf --no-mtp -q >/dev/null 2>&1
"$INGOT" quantize a.gguf -o q.gguf --recipe q8 -q >/dev/null 2>&1
cp "$SRC"/tests/golden/sign/ed25519.pem key.pem; cp "$SRC"/tests/golden/sign/ed25519.pub.pem key.pub
cp "$SRC"/tests/golden/sign/p256.pem other.pem; cp "$SRC"/tests/golden/sign/p256.pub.pem other.pub
cp q.gguf signed.gguf; "$INGOT" sign signed.gguf --key key.pem >/dev/null 2>&1
cp a.gguf damaged.gguf; printf XXXX | dd of=damaged.gguf bs=1 seek=3000000 conv=notrunc 2>/dev/null
head -c 100000 a.gguf >cut.gguf; printf GGUF >tiny.gguf; { cat a.gguf; printf x; } >long.gguf
printf 'GGUF\001\0\0\0%032d' 0 >old.gguf

# ---- the command line ----
try 2 "no command is called 'frob'|\`ingot help\`" frob
try 2 "no command is called 'frob'|\`ingot help\`" help frob
try 2 'convert: wants SOURCE -o OUT.gguf|`ingot help convert`' convert
try 2 'one argument too many: b|`ingot help convert`' convert a b c
try 2 'there is no option --frob' convert --frob x
try 2 'a value is missing after --threads' convert src --threads
try 2 '--threads takes 1 to 1024' convert src -o o.gguf --threads 0
try 2 'this value is not understood: 3X' convert src -o o.gguf --max-memory 3X
try 2 'this value is not understood: x|`ingot help inspect`' inspect a.gguf --context x
try 2 'no value goes with --dry-run=1' convert src --dry-run=1
try 2 '-o OUT.gguf is missing' convert src
try 2 "no recipe is called 'zz'; there are lossless, q8 and q4" convert src -o o.gguf --recipe zz
try 4 './zz: cannot open: No such file|look at the path' convert src -o o.gguf --recipe ./zz
try 2 "'zz' is not REGEX=TYPE|\`ingot help convert\`" convert src -o o.gguf --tensor-type zz
try 2 "'z(=Q8_0' is no regular expression" convert src -o o.gguf --tensor-type 'z(=Q8_0'
try 2 'Q9 is no GGUF type; types: KEEP' convert src -o o.gguf --tensor-type z=Q9
try 3 'this version does not write Q2_K; it writes KEEP' convert src -o o.gguf --tensor-type z=Q2_K
try 2 '--effort most: there are fast and best' convert src -o o.gguf --effort most
try 2 '--part 9: which part of how many? give K/N' convert src -o o.gguf --part 9
try 2 '--part 3/2: which part of how many? give K/N' convert src -o o.gguf --part 3/2
try 2 '--part and --finish are two runs' convert src -o o.gguf --part 1/2 --finish
try 2 'a report needs every value in one run; `ingot compare SOURCE OUT.gguf`' convert src -o o.gguf --part 1/2 --report r
try 2 '--write-recipe goes with --dry-run or --finish' convert src -o o.gguf --part 1/2 --write-recipe r
try 2 '--report is of values, and a dry run converts none' convert src -o o.gguf --report r --dry-run
try 2 '--recipe and --target-size both choose types; give one' convert src -o o.gguf --recipe q8 --target-size 1M
try 2 'quantize: to which type? give --recipe' quantize a.gguf -o o.gguf
try 2 'only `ingot convert` knows parts' quantize a.gguf -o o.gguf --recipe q8 --part 1/2
try 2 "--oms: give the signer's public key with --key" verify a.gguf --oms key.pub
try 2 '--key: a directory has no signature of its own; give the bundle with --oms' verify src --key key.pub
try 2 '--sample: only with --source' verify a.gguf --sample 3
try 2 '--imatrix: only with --source' verify a.gguf --imatrix x
try 2 '--source: only for a GGUF, with its seal' verify src --source src
try 2 "--header: only of a GGUF's own seal" verify src --header
try 2 '--strict: only for a source directory' verify a.gguf --strict
try 2 '--digests: only for a source directory' verify a.gguf --digests x
try 2 '--deep: only for a GGUF' verify a.gguf --header --deep
try 2 'sign: --key KEY.pem is missing; openssl genpkey' sign a.gguf
try 2 'perplexity: give a text, as -f TEXT' perplexity a.gguf
try 2 'a context of 2 tokens cannot be; 4 is the least' perplexity a.gguf -f "$TEXT" -c 2
try 2 "--activations is f32 or official, not 'x'" perplexity a.gguf -f "$TEXT" --activations x
try 2 'compare with a --reference; name one' perplexity a.gguf -f "$TEXT" --per-layer
try 2 'a gate below 0 would fail' perplexity a.gguf -f "$TEXT" --reference a.gguf --max-kld -1
try 2 'calibrate: give a text' calibrate a.gguf
try 2 'calibrate: name the file to write, with -o' calibrate a.gguf -f "$TEXT"
try 2 'a context of 1 tokens cannot be' calibrate a.gguf -f "$TEXT" -o i.gguf -c 1
try 2 'run: give one prompt' run a.gguf
try 2 'run: give one prompt' run a.gguf -p x -f y
try 2 "--think is none, low, high or max, not 'much'" run a.gguf -p x --think much
try 2 'belong to the chat encoding' run a.gguf -p x --raw --think high
try 2 '--bos goes with --raw; the chat encoding has its own' run a.gguf -p x --bos
try 2 "--effort is preview or 0731, not 'z'" run a.gguf -p x --effort z
try 2 '--temp is 0 or more, --top-p from 0 to 1' run a.gguf -p x --temp -1
try 2 'compare: wants A B' compare a.gguf
try 2 "'(' is no regular expression" compare a.gguf q.gguf --tensors '('
try 2 "'zzz' matches no tensor's name" compare a.gguf q.gguf --tensors zzz
export INGOT_KERNELS=zz
try 2 "INGOT_KERNELS is 'zz'|it may be" inspect a.gguf
unset INGOT_KERNELS

# ---- paths ----
for c in "inspect" "verify" "convert -o o.gguf" "quantize --recipe q8 -o o.gguf" "sign --key key.pem" "perplexity -f $TEXT" "run -p x"; do
	try 4 'nothing: cannot open|No such file or directory; look at the path' $c nothing
done
try 4 'nothing: cannot open' compare a.gguf nothing
try 4 'nothing: cannot open|look at the path' perplexity a.gguf -f nothing
try 4 'nothing: cannot open|look at the path' perplexity a.gguf -f "$TEXT" --reference nothing
try 4 'nothing: cannot open|look at the path' run a.gguf -f nothing
try 4 'nothing: cannot open|look at the path' verify a.gguf --key nothing
try 4 'nothing: cannot open|look at the path' verify a.gguf --source nothing
try 4 'nothing: cannot open|look at the path' verify src --digests nothing
try 4 'nothing: cannot open|look at the path' convert src -o o.gguf --imatrix nothing
try 4 'nothing: cannot open|look at the path' convert src -o o.gguf --tensor-type-file nothing
try 4 '/nowhere/j: cannot create|look at the path' convert src -o o.gguf --json /nowhere/j
try 4 '/nowhere/x: cannot create|look at the path' perplexity a.gguf -f "$TEXT" --logprobs /nowhere/x
try 4 '/nowhere/o.gguf: cannot open its directory|look at the path' convert src -o /nowhere/o.gguf --allow-unverified
try 2 'a.gguf: exists already; give another name, or --force' convert src -o a.gguf --allow-unverified
try 2 'a.gguf: exists already; give another name, or --force' calibrate a.gguf -f "$TEXT" -o a.gguf
try 2 'src/config.json: is an input of this run|give another name' convert src -o src/config.json --allow-unverified --force
try 2 'a.gguf: is an input of this run|give another name' quantize a.gguf -o a.gguf --recipe q8 --force
try 2 'o.gguf: no part of it has been made here; run --part 1/N to N/N first' convert src -o o.gguf --finish --allow-unverified
try 2 'src: is a directory|`ingot convert`' quantize src -o o.gguf --recipe q8
try 2 'empty: is a directory; give a file name' convert src -o empty --allow-unverified

# ---- a checkpoint that is not whole, or not what it says ----
try 5 'model-00001-of-00003.safetensors: no digest is known for it|--digests FILE, or --allow-unverified' convert src -o o.gguf
try 5 'src: no digest is known for 8 files|give --digests FILE' verify src
try 3 'line 1 is not "SHA256  NAME"|sha256sum' convert src -o o.gguf --digests "$TEXT"
try 5 'empty: holds no file that could be verified; give the directory' verify empty
try 3 'empty: has neither model.safetensors.index.json nor model.safetensors|finish the download' inspect empty
while IFS='~' read -r file change words; do
	edit "$file" "$change"
	try 3 "$words" convert m -o o.gguf --allow-unverified --dry-run
done <<'END'
config.json~s/256/x/~m/config.json: not valid JSON (byte 126): a value is expected
config.json~s/"hidden_size": 256/"hidden_size": 0/~m/config.json: hidden_size must be an integer from 1 to
config.json~/hidden_size/d~m/config.json: hidden_size is missing
config.json~s/"vocab_size": 1024/"vocab_size": 99999999999/~m/config.json: vocab_size must be an integer
config.json~s/"num_hidden_layers": 4/"num_hidden_layers": 6/~m/config.json: compress_ratios is shorter than the number of layers
config.json~s/DeepseekV4/Llama/~architecture 'LlamaForCausalLM' is not supported; only DeepSeek-V4
config.json~s/sqrtsoftplus/sigmoid/~scoring_func is 'sigmoid'; only 'sqrtsoftplus' is known
config.json~s/"fp8"/"gptq"/~quant_method is 'gptq'; only 'fp8' is known
config.json~s/"n_shared_experts": 1/"n_shared_experts": 2/~m/config.json: 2 shared experts; one is known
config.json~s/"hidden_size": 256/"hidden_size": 512/~missing, mis-shaped or unknown (all listed above); finish the download
model.safetensors.index.json~s/"embed.weight/"embex.weight/~the index and the shards disagree on 2 tensors; download both again
model.safetensors.index.json~$s/}/]/~m/model.safetensors.index.json: not valid JSON (byte
model.safetensors.index.json~s,model-00001-of-00003,../x,~which is not the plain name of a .safetensors file
config.json~s/: 256/: 0256/~a number with a leading zero
config.json~s/: 256/: 256.x/~a digit is expected after the point
config.json~s/: 256/: 1ex/~a digit is expected in the exponent
config.json~s/: 256/ 256/~a colon is expected after a key
config.json~s/"hidden_size"/hidden_size/~a key in double quotes is expected
config.json~s/: true/: true,/~m/config.json: not valid JSON (byte
config.json~s/deepseek_v4/\\uzzzz/~\u needs four hex digits
config.json~s/deepseek_v4/\\u0000/~\u0000 in a string
config.json~s/deepseek_v4/\xff/~not valid UTF-8
config.json~$s/}//~m/config.json: not valid JSON (byte
config.json~s/"4.57.1"/"4.57/~m/config.json: not valid JSON (byte
config.json~s/"norm_topk_prob": true/"norm_topk_prob": 3/~norm_topk_prob must be true or false
config.json~s/"routed_scaling_factor": 1.5/"routed_scaling_factor": "x"/~routed_scaling_factor must be a number from
config.json~s/"num_hash_layers": 2/"num_hash_layers": 9/~more hash-routed layers than layers
model-00003-of-00003.safetensors~1s/"BF16"/"bf16"/~m/model-00003-of-00003.safetensors|has to be spelled "BF16"
model-00003-of-00003.safetensors~1s/"BF16"/"XX16"/~m/model-00003-of-00003.safetensors|tensor |XX16
model-00003-of-00003.safetensors~1s/"shape"/"shapf"/~m/model-00003-of-00003.safetensors|shape is missing
model-00003-of-00003.safetensors~1s/"data_offsets":\[\([0-9]*\),\([0-9]*\)\]/"data_offsets":[\2,\1]/~m/model-00003-of-00003.safetensors|before they begin
tokenizer.json~s/"BPE"/"Unigram"/~a model of type 'Unigram': only BPE is read
tokenizer.json~s/"Isolated"/"Removed"/~has behavior 'Removed'|not Isolated
tokenizer.json~1s/{/[/~m/tokenizer.json: not the JSON that belongs here (byte 0): an object is expected
tokenizer.json~s/"id": 1,/"id": 0,/~have the same id 0
model-00001-of-00003.safetensors~1s/^......../x&/~m/model-00001-of-00003.safetensors
END
edit config.json ''; rm m/model-00002*
try 3 'm: 1 of 3 shards are missing; finish the download' inspect m
rm m/tokenizer.json
try 3 'm: 1 of 3 shards are missing; finish the download' convert m -o o.gguf --allow-unverified --dry-run
cp src/model-00002* m/
try 3 'm: tokenizer.json is missing; finish the download' convert m -o o.gguf --allow-unverified --dry-run
rm m/config.json
try 3 'm: config.json is missing; finish the download' inspect m

d=$(grep -hm1 safetensors "$SRC/samples/digests/v4-tiny.sha256"); printf '%s\n%s\n' "$d" "$d" >twice
try 3 'twice: names |twice' convert src -o o.gguf --digests twice

# ---- parts ----
"$INGOT" convert src -o p.gguf --no-mtp --allow-unverified --part 1/2 >/dev/null 2>&1
try 2 'p.gguf: 1 of 2 parts |--part 2/2' convert src -o p.gguf --no-mtp --allow-unverified --finish
try 2 'it is being made in 2 parts, not 3; give --part K/2' convert src -o p.gguf --no-mtp --allow-unverified --part 1/3
try 2 'p.gguf: it is being made in parts; go on with --part and --finish' convert src -o p.gguf --no-mtp --allow-unverified

# ---- sizes, memory, types ----
try 2 '--target-size 1048576: the smallest file has|writes nothing smaller' convert src -o o.gguf --target-size 1M --allow-unverified
try 4 'src: one worker needs|give --max-memory' convert src -o o.gguf --max-memory 1M --allow-unverified
try 4 'a.gguf: a chunk of 512 tokens needs|give it more (15M) or a smaller -c' perplexity a.gguf -f "$TEXT" --max-memory 1M
try 4 'a.gguf: 261 tokens of context need|give it more' run a.gguf -p x --max-memory 1M
try 3 "a.gguf: 5 tokens of prompt and|more than the model's context of 1048576; take a shorter prompt" run a.gguf -p x -n 99999999
try 2 'a.gguf: rule|rows of tensor blk.0.attn_q_b.weight have 128 elements' quantize a.gguf -o o.gguf --tensor-type .=Q6_K
try 2 'q.gguf: tensor token_embd.weight: is already quantized, as Q8_0|--allow-requantize' quantize q.gguf -o o.gguf --tensor-type '.=Q4_0|KEEP'
try 3 'a.gguf: general.type is model; an importance matrix has imatrix there' convert src -o o.gguf --imatrix a.gguf --allow-unverified
try 3 'importance matrix, legacy form (byte 4): cut short or damaged' convert src -o o.gguf --imatrix "$TEXT" --allow-unverified

# ---- GGUF files ----
try 1 'damaged.gguf: damaged (tensor blk.|, bytes |copy or convert it again' quantize damaged.gguf -o o.gguf --recipe q8
try 1 'damaged.gguf: damaged in 1 places; copy or convert it again' verify damaged.gguf
for c in verify "perplexity -f $TEXT" inspect; do
	try 3 'cut.gguf: tensor info (tensor token_embd.weight, bytes |it is cut short, fetch it again' $c cut.gguf
done
try 3 'tiny.gguf: GGUF header (bytes 0..0): 4 bytes are too few for a GGUF; fetch it again' verify tiny.gguf
try 3 'old.gguf: GGUF header (bytes 0..8): version 1; versions 2 and 3 are read' verify old.gguf
try 1 'long.gguf: bytes |follow the last tensor|cut them off or copy it again' verify long.gguf
try 3 'key.pem: GGUF header (bytes 0..0): does not begin with "GGUF"; it is another kind of file' compare a.gguf key.pem
try 3 'key.pub: holds no private key in PEM form; make one with openssl' sign a.gguf --key key.pub
try 3 'holds no public key in PEM form; make one with openssl' verify a.gguf --key "$TEXT"
try 3 '--oms: Model Signing has no Ed25519 keys; use ECDSA P-256' sign a.gguf --key key.pem --oms x.sig
try 5 'q.gguf: is not signed; `ingot sign FILE --key KEY.pem` signs it' verify q.gguf --key key.pub
try 5 'signed.gguf: is signed, but not by this key' verify signed.gguf --key other.pub
try 2 'signed.gguf: is signed with another key, or its signature was changed; --force replaces it' sign signed.gguf --key other.pem

# ---- texts, prompts, gates ----
try 3 'key.pem: |tokens are less than one chunk of 512; take a longer text or a smaller -c' perplexity a.gguf -f key.pem
try 3 'a.gguf: a context of 99999999 tokens; the model has 1048576' perplexity a.gguf -f "$TEXT" -c 99999999
try 3 'heldout.txt: bytes 0..0 are no token id below 1024; ids are decimal numbers' perplexity a.gguf --token-ids "$TEXT"
try 3 "heldout.txt: is no archive and has no member 'x'" perplexity a.gguf -f "$TEXT:x"
try 3 'a.gguf: no MTP block, that would be mtp-a.gguf; name its file with --mtp-model' perplexity a.gguf -f "$TEXT" --mtp
try 3 'a.gguf: an empty prompt; a plain text may start with --bos' run a.gguf -p '' --raw
try 1 'q.gguf: outside the gates, against a.gguf: mean KL divergence|choose finer types' \
	perplexity q.gguf -f "$TEXT" --chunks 1 --reference a.gguf --max-kld 0 --no-progress
try 1 'q.gguf: relative error |(tensor |give it a finer type' compare a.gguf q.gguf --max-relative-error 0

# ---- what is in the way of an output ----
try 2 'empty/: names a directory; give a file name' convert src -o empty/ --allow-unverified
mkdir x.gguf.lock; try 4 'x.gguf.lock: cannot create the lock|name a file' convert src -o x.gguf --no-mtp --allow-unverified
: >y.gguf.partial; try 2 'y.gguf.partial: an earlier run left it; --resume goes on with it' convert src -o y.gguf --no-mtp --allow-unverified
ln -s y.gguf.partial z.gguf.partial
try 4 'z.gguf.partial: cannot open what an earlier run left|remove the link' convert src -o z.gguf --no-mtp --allow-unverified --force
mkfifo pipe.gguf; try 2 'pipe.gguf: exists and is not a regular file' convert src -o pipe.gguf --no-mtp --allow-unverified --force
"$INGOT" convert src -o w.gguf --no-mtp --allow-unverified --part 1/2 >/dev/null 2>&1; rm w.gguf.partial; mkfifo w.gguf.partial
try 2 'w.gguf.partial: is no regular file of at most|remove it' convert src -o w.gguf --no-mtp --allow-unverified --part 2/2
"$INGOT" convert src -o v.gguf --no-mtp --allow-unverified --part 1/1 >/dev/null 2>&1; : >v.gguf.journal
try 2 'v.gguf: all parts are done; give --finish' convert src -o v.gguf --no-mtp --allow-unverified --part 1/1
try 2 'a\b.gguf: a name with a backslash' convert src -o 'a\b.gguf' --no-mtp --allow-unverified --sums
for c in "inspect a.gguf" "verify a.gguf" "compare a.gguf q.gguf" "sign q.gguf --key key.pem" "run a.gguf -p x" \
	"perplexity a.gguf -f $TEXT" "calibrate a.gguf -f $TEXT -o i.gguf" "quantize a.gguf --recipe q8 -o o.gguf"; do
	try 4 '/nowhere/j: cannot create|look at the path' $c --json /nowhere/j
done

# ---- values ----
try 2 "run: --activations is f32 or official, not 'z'" run a.gguf -p x --activations z
try 2 'run: -n and --ctx-size are below' run a.gguf -p x -n 99999999999
awk 'BEGIN { for (i = 0; i < 1100; i++) printf "a"; print "=Q8_0" }' >line; try 2 'line: a line is longer than' convert src -o o.gguf --tensor-type-file line
awk 'BEGIN { for (i = 0; i < 4100; i++) print "a=Q8_0" }' >line; try 2 'line: more than 4096 rules' convert src -o o.gguf --tensor-type-file line
try 4 'standard input: cannot read the key' sign q.gguf --key - <.
try 4 'standard input: cannot read the prompt' run a.gguf -f - <.
head -c 270000000 /dev/zero | try 3 'standard input: a prompt of more than' run a.gguf -f -

# ---- sources ----
cp -r "$SAMPLE" dl; printf '\1' | dd of=dl/model-00002-of-00003.safetensors bs=1 seek=700000 conv=notrunc 2>/dev/null
touch -d 2101-01-01 dl/model-00002-of-00003.safetensors
try 1 'dl/model-00002-of-00003.safetensors: digest is |(hub-local-dir): the file was changed after it was downloaded' convert dl -o o.gguf
(cd src && sha256sum *.json *.safetensors *.jinja 2>/dev/null) >sums; sed '/ config.json/s/^....../123456/' sums >wrong
try 1 'src/config.json: digest is |expected 123456|(digests-file): the file is damaged or of another revision' convert src -o o.gguf --digests wrong
: >src/extra; try 1 'src: 1 files that nothing on this disk vouches for' verify src --digests sums --strict; rm src/extra
while IFS='~' read -r file change words; do
	edit "$file" "$change"
	try 3 "$words" convert m -o o.gguf --allow-unverified --dry-run
done <<'END'
config.json~s/"num_key_value_heads": 1/"num_key_value_heads": 2/~num_key_value_heads is not 1
config.json~s/"tie_word_embeddings": false/"tie_word_embeddings": true/~tied embeddings are not known
tokenizer.json~0,/"Split"/s//"ByteLevel"/~pre_tokenizer step 1 is 'ByteLevel', not Split
END
edit config.json "/compress_ratios/s/\\[/[$(awk 'BEGIN { for (i = 0; i < 520; i++) printf "0," }')/"
try 3 'compress_ratios has more than 512 entries' convert m -o o.gguf --allow-unverified --dry-run
edit config.json '/bos_token_id/d'; sed -i '/bos_token/d' m/generation_config.json m/tokenizer_config.json
try 3 'm: the vocabulary names no bos token; leave --bos out' run m -p x --raw --bos
"$SRC/$BUILD/tests/tool_foreign" iq2.gguf IQ2_XXS
try 3 'tensor blk.0.attn_q.weight: IQ2_XXS cannot be read by this version, only copied' quantize iq2.gguf -o o.gguf --tensor-type .=Q4_0 --allow-requantize
edit tokenizer.json '/"merges"/{n;s/"[^ ]* /"zz /}'
try 3 'merge 0' perplexity m -f "$TEXT"

# ---- GGUF ----
LC_ALL=C sed 's/ingot\.seal\./ingot.seat./g' a.gguf >roof.gguf
try 1 'roof.gguf: has keys of a seal, but not all of them' verify roof.gguf
edit config.json 's/1048576/4096/'
try 3 'a context of 8192 tokens; the reference has 4096' perplexity a.gguf -f "$TEXT" -c 8192 --reference m
done_testing
