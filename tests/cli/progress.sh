#!/bin/sh
# The progress line where a person or a log sees it: on terminals of several widths (tool_pty is one, and says what is on
# it at the end), narrowed while it runs, after --resume, stopped by ^C, in a pipe, and where it was not asked for.
. "$(dirname "$0")/common.sh"
PTY=$SRC/$BUILD/tests/tool_pty
export INGOT_PROGRESS_EVERY=0 TERM=xterm
unset NO_COLOR
esc=$(printf '\033')

# lines FILE: what was drawn, a line each
lines() { tr '\r' '\n' <"$1" | sed "s/$esc\\[J//" | grep -E 'ETA|%' | grep -v '^ingot:'; }
# no line is as wide as the terminal, nothing but CR and "erase" is sent, the cursor is never hidden, no colour
tidy() {
	widest=$(lines "$2" | awk '{ if (length($0) > n) n = length($0) } END { print n + 0 }')
	if [ "$widest" -gt 0 ] && [ "$widest" -lt "$3" ]; then ok; else bad "$1: $widest columns of $3"; fi
	rest=$(sed "s/$esc\\[J//g" "$2" | tr -d '\r\n\040-\176' | wc -c)
	if [ "$rest" -eq 0 ]; then ok; else bad "$1: other control bytes"; fi
}

"$PTY" -w 80 -o raw true >/dev/null 2>&1
[ $? -ne 125 ] || skip 'there is no pseudo-terminal here (/dev/pts)'
for wide in 120 80 40 20; do
	rm -rf ./*.gguf
	exits "on $wide columns" 0 "$PTY" -w "$wide" -o raw "$INGOT" convert "$SAMPLE" -o a.gguf --no-mtp
	tidy "on $wide columns" raw "$wide"
	if grep -q '%' out; then bad "the line is left on $wide columns"; cat out >&2; else ok; fi
done
rm -f a.gguf
exits 'the widest has all parts' 0 "$PTY" -w 120 -o raw "$INGOT" convert "$SAMPLE" -o a.gguf --no-mtp
lines raw >out
says 'all parts' '^convert +[0-9.]+%  +[0-9]+ of [0-9]+ kB  +[0-9.]+ [MGk]B/s  ETA 0:0[0-9]  blk\.[0-9]+\.[a-z_]+'
# a line that was measured before and drawn after the change is folded by the terminal: not three times running
for try in 1 2 3; do
	exits 'made narrower while it runs' 0 "$PTY" -w 120 -r 50 -o raw "$INGOT" verify "$SAMPLE" --deep
	says 'nothing wraps but the results' '^wrapped [0-9]+, drawn [1-9]'
	grep -q 'ETA' out || break
done
if grep -q 'ETA' out; then bad 'a folded line is left'; cat out >&2; else ok; fi

# every long command
for c in "verify a.gguf" "verify a.gguf --source $SAMPLE" "verify a.gguf --deep" "compare $SAMPLE a.gguf" "quantize a.gguf -o q.gguf --recipe q8" \
	"convert $SAMPLE -o plan.gguf --dry-run --target-size 6000K" "perplexity a.gguf -f $TEXT --chunks 1" \
	"calibrate a.gguf -f $TEXT --chunks 1 -o i.gguf" "run a.gguf -p Hello -n 1"; do
	exits "$c" 0 "$PTY" -w 100 -o raw "$INGOT" $c
	tidy "$c" raw 100
	lines raw >out
	says "$c names what it is at" 'ETA [0-9:-]+  [a-z0-9]'
done

# a run that goes on: what was there is in the share, not in the rate
cp -r "$SAMPLE" src
last=$(ls src/*.safetensors | tail -n 1)
flip "$last" $(($(size "$last") - 5)) 3
exits 'a damaged shard' 1 "$PTY" -w 100 "$INGOT" convert src -o b.gguf --no-mtp -t 1 --journal-every 100K
says 'the line is gone before the error' '^ingot: src/.*SHA-256'
if grep -q 'ETA' out; then bad 'the line is left before an error'; else ok; fi
flip "$last" $(($(size "$last") - 5)) 3
if [ -e b.gguf.partial ]; then ok; else bad 'no partial file to go on with'; fi
exits 'goes on' 0 "$PTY" -w 100 -o raw "$INGOT" convert src -o b.gguf --no-mtp -t 1 --resume
lines raw >out
says 'reads back first' 'reading back'
grep -v 'reading back' out | head -n 1 >first
if grep -qE '^convert +[1-9][0-9.]*%.*ETA --:--' first; then ok; else bad 'starts where it was'; cat first >&2; fi
same 'same bytes' a.gguf b.gguf

# ^C: a clean line and how to go on
exits '^C' 130 "$PTY" -w 80 -i 1 "$INGOT" convert "$SAMPLE" -o c.gguf --no-mtp -t 1 --tensor-type '.=IQ4_NL|KEEP' --effort best
says 'says how to go on' '^ingot: stopped by signal 2; .*run the same command'
if grep -q 'ETA' out; then bad 'the line is left after ^C'; else ok; fi

# a pipe, a log, a dumb terminal: whole lines, no control bytes
export NO_COLOR=1
"$INGOT" verify a.gguf >out 2>log
if grep -qE '^verify +[0-9.]+%' log && [ "$(tr -d '\n\040-\176' <log | wc -c)" -eq 0 ]; then ok; else bad 'a log'; cat -v log >&2; fi
exits 'a dumb terminal' 0 env TERM=dumb "$PTY" -w 100 -o raw "$INGOT" verify a.gguf
if ! grep -q "$esc" raw && grep -qE '^verify +[0-9.]+%' raw; then ok; else bad 'a dumb terminal'; cat -v raw >&2; fi
unset INGOT_PROGRESS_EVERY
"$INGOT" verify a.gguf >out 2>log
if [ -s log ]; then bad 'a short run in a log says nothing'; cat log >&2; else ok; fi
export INGOT_PROGRESS_EVERY=0
for o in --no-progress -q; do
	exits "$o on a terminal" 0 "$PTY" -w 100 -o raw "$INGOT" verify a.gguf "$o"
	if grep -qE "%|$esc" raw; then bad "$o on a terminal"; else ok; fi
	"$INGOT" verify a.gguf "$o" >out 2>log
	if [ -s log ]; then bad "$o in a log"; else ok; fi
done
done_testing
