#!/bin/bash
# bench_stream.sh - part of make bench: a model far larger than --max-memory, streamed from a cold disk,
# beside the disk's own rate and the run that keeps all weights. Prints figures and ratios; fails only where
# the two runs differ. GGUF (default: BENCH_DIR/flash4.gguf, made here if it is missing) should be 8 GB or
# more. Dropping the page cache needs root; without it the cold figures are those of a warm cache.
set -euo pipefail
bin=${BIN:-build/gcc-release/ingot}
make_checkpoint=${BUILD:-build/gcc-release}/samples/make_checkpoint
dir=${BENCH_DIR:-/var/tmp/ingot-bench}
model=${GGUF:-$dir/flash4.gguf}
threads=${THREADS:-2} context=${CONTEXT:-128} few=${FEW:-4}
mkdir -p "$dir"
if [ ! -f "$model" ]; then	# real widths, four layers, 15 GB
	"$make_checkpoint" "$dir/flash4" --preset flash --layers 4 --record-time 4102444800
	"$bin" convert "$dir/flash4" -o "$model" -t "$threads" --no-mtp --no-progress -q
	rm -r "$dir/flash4"
fi
work=$(mktemp -d "$dir/stream-XXXXXX")
trap 'rm -rf "$work"' EXIT
size=$(stat -c %s "$model")
cold() { sync; if [ -w /proc/sys/vm/drop_caches ]; then echo 3 >/proc/sys/vm/drop_caches; fi; }
seconds() { local t=$EPOCHREALTIME; "$@" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
	    echo "$EPOCHREALTIME $t" | awk '{ printf "%.2f", $1 - $2 }'; }
# n readers of a quarter of the file each, past the cache: GB/s together
disk() {
	local n=$1 part=$((size / (4 << 20) / 4)) i
	cold
	readers() { for ((i = 0; i < n; i++)); do dd if="$model" of=/dev/null iflag=direct bs=4M count=$part skip=$((i * part)) & done; wait; }
	awk -v s="$(seconds readers)" -v n="$n" -v b="$((part * (4 << 20)))" 'BEGIN { printf "%.2f", n * b / s / 1e9 }'
}
# figure FILE NAME: a number of a JSON report
figure() { tr -d '\n\t ' <"$1" | grep -oE "\"$2\":[0-9.e+-]+" | head -n 1 | cut -d: -f2; }
awk 'BEGIN { srand(7); for (i = 0; i < 4096; i++) print int(rand() * 32768) }' >"$work/ids"	# tokens of all kinds
awk 'BEGIN { for (i = 0; i < 4096; i++) print 17 }' >"$work/same"			# one token: few experts

# run NAME MEMORY IDS CONTEXT: one chunk
run() {
	s=$(seconds "$bin" perplexity "$model" --token-ids "$3" -c "$4" --chunks 1 --max-memory "$2" -t "$threads" \
		--no-progress -v --json "$work/$1.json" --logprobs "$work/$1.lp")
	awk -v name="$1" -v memory="$2" -v s="$s" -v n="$4" -v read="$(figure "$work/$1.json" read_bytes)" \
		-v busy="$(figure "$work/$1.json" read_seconds)" -v wait="$(figure "$work/$1.json" wait_seconds)" \
		-v peak="$(awk '/^peak/ { print $4 }' "$work/log")" 'BEGIN {
		printf "%s: --max-memory %s, %d tokens in %.1f s; %.2f GB read in %.1f s of them (%.2f GB/s), waited %.1f s; peak %s MiB\n",
			name, memory, n, s, read / 1e9, busy, read / busy / 1e9, wait, peak }'
}

echo "stream: $model, $(awk -v n="$size" 'BEGIN { printf "%.2f", n / 1e9 }') GB; $threads threads"
one=$(disk 1) two=$(disk 2)
echo "ceiling: disk past the page cache, one reader $one GB/s, two $two GB/s"
cold; run few 1G "$work/ids" "$few"
awk -v r="$(figure "$work/few.json" read_bytes)" -v s="$(figure "$work/few.json" read_seconds)" -v d="$two" \
	'BEGIN { printf "  rate %.2f of the disk with two readers (few tokens: the disk decides)\n", r / s / 1e9 / d }'
cold; run streamed 1G "$work/ids" "$context"
cold; run one-token 1G "$work/same" "$context"
echo "  the text of one token reads $(awk -v a="$(figure "$work/one-token.json" read_bytes)" -v b="$(figure "$work/streamed.json" read_bytes)" \
	'BEGIN { printf "%.2f", a / b }') of the bytes"
run resident "$((size / 1000000 * 3 / 2))M" "$work/ids" "$context"
if cmp -s "$work/streamed.lp" "$work/resident.lp"; then echo "  streamed and resident agree to the bit"
else echo "stream: streamed and resident differ"; exit 1; fi
