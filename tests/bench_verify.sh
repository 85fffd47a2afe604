#!/bin/bash
# verify beside the tools that only hash, over one sealed file in the page cache, by turns in one run: speed and
# peak memory of each. Prints figures; passes or fails nothing. Needs 4 GB in BENCH_DIR (default
# /var/tmp/ingot-bench) and /usr/bin/time. Called by make bench.
set -euo pipefail
build=${BUILD:-build/gcc-release}
bin=${BIN:-$build/ingot}
dir=${BENCH_DIR:-/var/tmp/ingot-bench}
threads=${THREADS:-2} rounds=${ROUNDS:-3}
small=$dir/flash-2g file=$dir/verify.gguf
[ -x /usr/bin/time ] || { echo 'verify: not measured, /usr/bin/time is not there (package time)'; exit 0; }
mkdir -p "$dir"
trap 'rm -f "$file" "$dir/log"' EXIT
[ -d "$small" ] || "$build"/samples/make_checkpoint "$small" --preset flash --layers 1 --n-hash 1 --n-expert 16 \
	--record-time 4102444800 >/dev/null
rm -f "$file"
"$bin" convert "$small" -o "$file" --no-mtp --no-progress >/dev/null 2>&1
size=$(stat -c %s "$file")
cat "$file" >/dev/null

measure() {	# NAME COMMAND...
	local name=$1 t s; shift
	t=$EPOCHREALTIME
	/usr/bin/time -f %M -o "$dir/log" "$@" >/dev/null
	s=$(echo "$EPOCHREALTIME $t" | awk '{ printf "%.3f", $1 - $2 }')
	awk -v n="$size" -v s="$s" -v name="$name" '{ printf "  %-34s %6.2f GB/s, peak %5.1f MiB\n", name, n / s / 1e9, $1 / 1024 }' \
		"$dir/log"
}
echo "verify: a sealed file of $(awk -v n="$size" 'BEGIN { printf "%.2f", n / 1e9 }') GB in memory; asked: 2 GB/s on 2 cores, 64 MiB"
for i in $(seq "$rounds"); do
	echo "run $i:"
	measure 'sha256sum' sha256sum "$file"
	measure 'openssl dgst -sha256' openssl dgst -sha256 "$file"
	measure 'ingot verify, 1 thread' "$bin" verify "$file" -t 1 --no-progress
	measure "ingot verify, $threads threads" "$bin" verify "$file" -t "$threads" --no-progress
	measure "ingot verify --deep, $threads threads" "$bin" verify "$file" --deep -t "$threads" --no-progress
done
