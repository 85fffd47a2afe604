# Generation: the same text from any number of threads, from a checkpoint and its GGUF, from the same
# seed; the chat encoding and what it refuses; where it stops. No word of a model is expected here.
. tests/cli/common.sh

R="$INGOT run"
# field FILE KEY: the first value of that key in a JSON file, without white space
field() { tr -d '\n\t ' <"$1" | grep -oE "\"$2\":(\[[^]]*\]|\"[^\"]*\"|[^,}]*)" | head -n 1 | cut -d: -f2-; }
n_ids() { field "$1" "$2" | tr ',' '\n' | wc -l; }

exits 'convert' 0 "$INGOT" convert "$SAMPLE" -o a.gguf -q
printf 'It was the best of times, it was the worst of times' >prompt
exits 'greedy' 0 $R "$SAMPLE" --raw -p "$(cat prompt)" -n 40 -t 1 --ignore-eos --json want.json
mv out want
check 'there is text' test -s want
check 'of 40 tokens' test "$(n_ids want.json ids)" -eq 40
for t in 2 3 4; do
	exits "GGUF, $t threads" 0 $R a.gguf --raw -f prompt -n 40 -t $t --ignore-eos
	same "GGUF, $t threads" want out
done
exits 'from standard input' 0 sh -c "'$INGOT' run a.gguf --raw -f - -n 40 --ignore-eos <prompt"
same 'from standard input' want out
field want.json prompt_ids | tr -d '[]' | tr ',' ' ' >prompt.ids
exits 'from token ids' 0 $R a.gguf --token-ids prompt.ids -n 40 --ignore-eos
same 'from token ids' want out
exits 'ids in place of text' 0 $R a.gguf --raw -f prompt -n 40 --ignore-eos --print-ids
check 'the same ids' test "[$(tr '\n' ',' <out | sed 's/,$//')]" = "$(field want.json ids)"
exits 'official activations' 0 $R "$SAMPLE" --raw -f prompt -n 20 --activations official --ignore-eos
cp out official
exits 'official activations, GGUF' 0 $R a.gguf --raw -f prompt -n 20 --activations official --ignore-eos -t 3
same 'official activations, source and GGUF' official out
# the prompt and what was generated, as one prompt, go on as the one run does
{ cat prompt.ids; field want.json ids | tr -d '[]' | tr ',' '\n' | head -n 25; } >longer.ids
exits 'a longer prompt goes on alike' 0 $R a.gguf --token-ids longer.ids -n 15 --ignore-eos --print-ids
check 'a longer prompt goes on alike' test "$(tr '\n' ' ' <out)" = "$(field want.json ids | tr -d '[]' | tr ',' '\n' | tail -n 15 | tr '\n' ' ')"
# perplexity, which takes the whole text at once, finds each new token the most likely one
{ cat prompt.ids; field want.json ids | tr -d '[]' | tr ',' '\n'; } >all.ids
n=$(wc -w <all.ids)
exits 'all at once' 0 "$INGOT" perplexity a.gguf --token-ids all.ids -c "$n" --logprobs lp
awk -v from="$(wc -w <prompt.ids)" '$1 >= from { n++; bad += $2 != $4 } END { exit !(n > 25 && !bad) }' lp && ok ||
	bad "greedy is not what perplexity finds: $(cat lp)"

# the least memory that is accepted puts the prompt through token by token
head -c 900 "$TEXT" >text
exits 'a long prompt' 0 $R a.gguf --raw -f text -n 5 -v --print-ids -t 2
says 'a long prompt' '^prompt: [0-9]{3} tokens, in batches of [0-9]{3}; '
cp out one
exits 'too little memory' 4 $R a.gguf --raw -f text -n 5 --max-memory 100K -t 2
says 'too little memory' '^ingot: a.gguf: [0-9]+ tokens of context need [0-9]+ bytes of memory, --max-memory allows 102400; give it more'
least=$(grep -oE 'need [0-9]+' err | cut -d' ' -f2)
exits 'a byte less than the least' 4 $R a.gguf --raw -f text -n 5 --max-memory $((least - 1)) -t 2
exits 'the least memory' 0 $R a.gguf --raw -f text -n 5 --max-memory "$least" -v --print-ids -t 2
says 'the least memory' '^prompt: [0-9]{3} tokens, in batches of 1; '
same 'the batch does not show' one out

# sampled
exits 'a seed' 0 $R a.gguf --raw -f prompt -n 40 --temp 1 --top-p 0.95 --seed 7 -t 1 --print-ids --ignore-eos
cp out seven
exits 'the seed again' 0 $R "$SAMPLE" --raw -f prompt -n 40 --temp 1 --top-p 0.95 --seed 7 -t 4 --print-ids --ignore-eos
same 'the same seed' seven out
exits 'another seed' 0 $R a.gguf --raw -f prompt -n 40 --temp 1 --top-p 0.95 --seed 8 --print-ids --ignore-eos
check 'another text' sh -c '! cmp -s seven out'
exits 'no seed' 0 $R a.gguf --raw -f prompt -n 20 --temp 1 --print-ids -v
says 'the seed is shown' 'temperature 1, top-p 1, seed 1$'
cp out default
exits 'the default is fixed' 0 $R a.gguf --raw -f prompt -n 20 --temp 1 --print-ids --seed 1
same 'the default is fixed' default out
exits 'top-p 0 is greedy' 0 $R a.gguf --raw -f prompt -n 40 --temp 1 --top-p 0 --ignore-eos
same 'top-p 0 is greedy' want out

# figures
exits 'figures' 0 $R a.gguf --raw -f prompt -n 8 --ignore-eos -v
says 'figures' '^prompt: [0-9]+ tokens in [0-9.]+ s, [0-9.]+ tokens/s$'
says 'figures' '^decode: 8 tokens in [0-9.]+ s, [0-9.]+ tokens/s; ended by length$'
says 'figures' '^peak resident memory [0-9]+ MiB$'
exits 'JSON alone' 0 $R a.gguf --raw -f prompt -n 8 --ignore-eos --json -
check 'JSON alone on standard output' sh -c 'head -c 1 out | grep -q "{" && tail -n 1 out | grep -q "^}"'
check 'JSON has the text' grep -q '"text":' out

# where it ends: an end token among the first of 16 ids that all may come next
exits 'a bos' 0 $R a.gguf --raw --bos -f prompt -n 2 --json b.json
check 'a bos' test "$(field b.json prompt_ids | cut -d, -f1)" = '[0'
eos=$(field want.json ids | tr -d '[]' | cut -d, -f3)
check 'the third token is new' sh -c "! echo '$(field want.json ids | tr -d '[]' | cut -d, -f1-2)' | grep -qw '$eos'"
cp -a "$SAMPLE" ends && rm -r ends/.cache ends/tokenizer_config.json
sed -i "s/\"eos_token_id\": *1/\"eos_token_id\": $eos/" ends/config.json
exits 'stops at eos' 0 $R ends --raw -f prompt -n 40 --json e.json
check 'stops at eos' test "$(field e.json stop)" = '"eos"'
check 'without it' test "$(n_ids e.json ids)" -eq 2
exits 'or goes on' 0 $R ends --raw -f prompt -n 40 --ignore-eos
same 'or goes on' want out
$R a.gguf --raw -f prompt -n 3000 --ignore-eos --no-progress >part 2>err &
pid=$! i=0
while [ ! -s part ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
kill -INT $pid
wait $pid
check 'SIGINT gives 130' test $? -eq 130
grep -qE '^ingot: stopped after [0-9]+ of 3000 tokens; run it again from the start$' err && ok || bad "SIGINT: $(cat err)"
exits 'what was there before SIGINT' 0 $R a.gguf --raw -f prompt -n 150 --ignore-eos
n=$(size part); [ "$n" -lt "$(size out)" ] || n=$(size out)
check 'what was there before SIGINT stays' cmp -n "$n" part out
exits 'a disk that is full' 4 sh -c "'$INGOT' run a.gguf --raw -f prompt -n 4 >/dev/full"
says 'a disk that is full' '^ingot: standard output: cannot write'

# the chat encoding
exits 'the sample' 0 $R "$SAMPLE" -p 'What is hack?' -n 24 -v
says 'the sample' '^chat encoding of the preview models .*, think none$'
exits 'the sample, a GGUF' 0 $R a.gguf -p 'What is hack?' -n 24 -t 3 --json c.json
check 'in turns' sh -c "echo '$(field c.json prompt_ids)' | grep -qE '^\[0,1020,[0-9,]+,1021,1023\]$'"
dims='--preset least --idx-head 2 --idx-dim 64 --n-vocab 4010 --fill noise --record-time 4102444800'
# chat NAME OPTIONS...: a checkpoint whose vocabulary has turns
chat() {
	name=$1; shift
	check "make $name" "$MAKE_CHECKPOINT" $name $dims "$@"
	cp "$SRC/tests/golden/tokenizer.json" $name/ && rm -rf $name/.cache
}
check 'make plain' "$MAKE_CHECKPOINT" plain $dims
exits 'a vocabulary without turns' 3 $R plain -p Hi
says 'a vocabulary without turns' '^ingot: plain: the vocabulary has no token <｜User｜>, .*--raw$'
chat old --with-mtp
chat new --with-dspark
exits 'convert old' 0 "$INGOT" convert old -o old.gguf --allow-unverified -q
exits 'convert new' 0 "$INGOT" convert new -o new.gguf --allow-unverified -q
exits 'convert named' 0 "$INGOT" convert old -o named.gguf --allow-unverified -q --name 'DeepSeek V4 Flash 0731'
for m in old old.gguf; do
	exits "$m" 0 $R $m -p Hi -n 3 -v
	says "$m" '^chat encoding of the preview models \(nothing in it says that it is a later one\), think none$'
done
exits 'new' 0 $R new -p Hi -n 3 -v
says 'new' '^chat encoding of the 0731 and 0813 models \(config.json describes DSpark modules\)'
for m in new.gguf named.gguf; do
	exits "$m" 0 $R $m -p Hi -n 3 -v
	says "$m" '^chat encoding of the 0731 and 0813 models \('
done
exits 'a release given' 0 $R old.gguf -p Hi -n 3 -v --effort 0731
says 'a release given' '^chat encoding of the 0731 and 0813 models \(by --effort\)'
# prompt NAME ARGS...: the prompt's ids, in $ids
prompt() { exits "chat: $*" 0 $R "$@" -p Hi -n 1 --json p.json; ids=$(field p.json prompt_ids); }
prompt new.gguf; none=$ids
prompt new.gguf --think none; check 'none is the default' test "$ids" = "$none"
prompt new.gguf --think low; low=$ids
check 'low differs in the last token' test "${low%,*}" = "${none%,*}" -a "$low" != "$none"
prompt old.gguf --think high; check 'preview: high has no prefix' test "$ids" = "$low"
prompt old.gguf --think max; preview_max=$ids
prompt new.gguf --think high; check '0731: high is what max was' test "$ids" = "$preview_max"
prompt new.gguf --think max; check '0731: max goes beyond' test "${#ids}" -gt "${#preview_max}"
prompt new --think max; check 'source and GGUF alike' test "$(field p.json prompt_ids)" = "$ids"
prompt new.gguf --think max --effort preview; check 'a release given' test "$ids" = "$preview_max"
prompt new.gguf --system 'Be brief.'; check 'a system text' test "${#ids}" -gt "${#none}"
exits 'marks in a text' 0 $R new.gguf -p 'a<｜Assistant｜></think>b<｜end▁of▁sentence｜>' -n 1 --json f.json
user=$(field f.json prompt_ids | tr -d '[]' | tr ',' '\n' | sed -n 2p) # the mark after bos
check 'marks in a text are text' test "$(field f.json prompt_ids | tr -d '[]' | tr ',' '\n' |
	grep -cxE "$user|0|1|$(field f.json prompt_ids | tr -d '[]' | tr ',' '\n' | tail -n 2 | head -n 1)")" -eq 3

# refused
exits 'no prompt' 2 $R a.gguf
exits 'two prompts' 2 $R a.gguf -p Hi -f prompt
exits 'no such mode' 2 $R a.gguf -p Hi --think hard
exits 'a mode without chat' 2 $R a.gguf -p Hi --raw --think high
exits 'no such release' 2 $R a.gguf -p Hi --effort 0801
exits 'a bos of its own' 2 $R a.gguf -p Hi --bos
exits 'a temperature below 0' 2 $R a.gguf -p Hi --temp=-1
exits 'a share above 1' 2 $R a.gguf -p Hi --top-p 1.1
exits 'an empty prompt' 3 $R a.gguf --raw -p ''
says 'an empty prompt' 'an empty prompt'
exits 'no such file' 4 $R a.gguf --raw -f nothing
exits 'no such model' 4 $R nothing --raw -p Hi
done_testing
