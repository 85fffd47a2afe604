# The MTP block: its perplexity from a checkpoint, from the sidecar of a GGUF, with a reference; the
# same from any number of threads and batches; models that have none are refused, with the reason.
. tests/cli/common.sh

ppl_of() { sed -n 's/^.*"second_next_ppl":[[:space:]]*\([0-9.eE+-]*\).*$/\1/p' "$1"; }
equal() { if [ -n "$2" ] && [ "$2" = "$3" ]; then ok; else bad "$1: '$2' and '$3'"; fi; }

exits 'convert' 0 "$INGOT" convert "$SAMPLE" -o a.gguf -q
exits 'source' 0 "$INGOT" perplexity "$SAMPLE" -f "$TEXT" --mtp -c 96 --chunks 5 -t 1 --json s.json --logprobs s.lp
says 'what is measured' '^MTP block: .*v4-tiny, scored on the token after the next$'
says 'over the positions that have one' '^MTP block, second next token: PPL = [0-9.]+ \+/- [0-9.]+ over 230 tokens$'
check 'the last line is still the model' sh -c 'tail -n 1 out | grep -q "^Final estimate: PPL = "'
exits 'GGUF' 0 "$INGOT" perplexity a.gguf -f "$TEXT" --mtp -c 96 --chunks 5 -t 3 --json g.json
says 'the sidecar' '^MTP block: mtp-a.gguf, '
equal 'source and GGUF' "$(ppl_of s.json)" "$(ppl_of g.json)"
exits 'one chunk at a time' 0 "$INGOT" perplexity a.gguf -f "$TEXT" --mtp -c 96 --chunks 5 -t 2 --max-memory 8M --json m.json -v
says 'one chunk at a time' '^batches: [2-5] of up to'
equal 'one chunk at a time' "$(ppl_of s.json)" "$(ppl_of m.json)"
exits 'without' 0 "$INGOT" perplexity "$SAMPLE" -f "$TEXT" -c 96 --chunks 5 --logprobs w.lp
same 'the model itself is the same with and without' s.lp w.lp
exits 'reference' 0 "$INGOT" perplexity a.gguf -f "$TEXT" --mtp -c 96 --chunks 5 --reference "$SAMPLE" --max-kld 0
says 'reference' 'of the reference [0-9.]+ .*KL divergence mean 0, maximum 0, same most likely token 100.000 %'
exits 'q8' 0 "$INGOT" convert "$SAMPLE" -o q8.gguf --recipe q8 -q
exits 'q8' 0 "$INGOT" perplexity q8.gguf -f "$TEXT" --mtp -c 96 --chunks 2 --reference a.gguf --json q.json
check 'q8 is near, not equal' sh -c 'grep -A60 "\"mtp\"" q.json | grep -qE "\"mean\":[[:space:]]*[0-9.]+e-0[3-7]|\"mean\":[[:space:]]*0\.00[0-9]+"'
exits 'official' 0 "$INGOT" perplexity a.gguf -f "$TEXT" --mtp -c 96 --chunks 2 --activations official --json o.json
exits 'official, source' 0 "$INGOT" perplexity "$SAMPLE" -f "$TEXT" --mtp -c 96 --chunks 2 --activations official --json p.json
equal 'official: source and GGUF' "$(ppl_of o.json)" "$(ppl_of p.json)"

mkdir sub && mv mtp-a.gguf sub/block.gguf
exits 'no sidecar' 3 "$INGOT" perplexity a.gguf -f "$TEXT" --mtp
says 'no sidecar' '^ingot: a.gguf: no MTP block, that would be mtp-a.gguf; .*--mtp-model'
exits 'named' 0 "$INGOT" perplexity a.gguf -f "$TEXT" --mtp-model sub/block.gguf -c 96 --chunks 5 --json n.json
equal 'named' "$(ppl_of s.json)" "$(ppl_of n.json)"
exits 'the model is not its block' 3 "$INGOT" perplexity a.gguf -f "$TEXT" --mtp-model q8.gguf
says 'the model is not its block' 'q8.gguf: holds no MTP block'
exits 'no such file' 4 "$INGOT" perplexity a.gguf -f "$TEXT" --mtp-model nothing.gguf
exits 'too short for a second next token' 2 "$INGOT" perplexity "$SAMPLE" -f "$TEXT" --mtp -c 4
says 'too short for a second next token' '5 is the least'
exits 'five tokens' 0 "$INGOT" perplexity "$SAMPLE" -f "$TEXT" --mtp -c 5 --chunks 3

small="--n-embd 64 --n-vocab 272 --head-dim 32 --n-rot 16 --single"
"$MAKE_CHECKPOINT" none $small >/dev/null
"$MAKE_CHECKPOINT" dspark $small --with-dspark >/dev/null
"$MAKE_CHECKPOINT" other $small --with-mtp >/dev/null
exits 'a checkpoint without' 3 "$INGOT" perplexity none -f "$TEXT" --mtp
says 'a checkpoint without' '^ingot: none: it has no MTP block \(tensor mtp.0.e_proj.weight\)'
exits 'DSpark' 3 "$INGOT" perplexity dspark -f "$TEXT" --mtp
says 'DSpark' 'dspark: it has no MTP block, though its config counts one: .*DSpark draft modules'
exits 'the block of another model' 1 "$INGOT" perplexity none -f "$TEXT" --mtp-model sub/block.gguf
says 'the block of another model' 'not the MTP block of none'
exits 'a reference without' 3 "$INGOT" perplexity other --reference none -f "$TEXT" --mtp
says 'a reference without' '^ingot: none: it has no MTP block'
done_testing
