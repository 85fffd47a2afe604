#!/bin/bash
# make bench: conversion, verification and inspection at real V4-Flash and V4-Pro tensor sizes, beside
# the ceilings of this machine measured in the same run. Prints figures and ratios; passes or
# fails nothing. BENCH_DIR (default /var/tmp/ingot-bench) needs about 40 GB; the checkpoints made
# there are kept for the next run.
set -euo pipefail
bin=${BIN:-build/gcc-release/ingot}
make_checkpoint=${BUILD:-build/gcc-release}/samples/make_checkpoint
dir=${BENCH_DIR:-/var/tmp/ingot-bench}
threads=${THREADS:-2}
mkdir -p "$dir"
flash=$dir/flash-12g small=$dir/flash-2g pro=$dir/pro-sparse
[ -d "$flash" ] || "$make_checkpoint" "$flash" --preset flash --layers ${LAYERS:-3} --record-time 4102444800
[ -d "$small" ] || "$make_checkpoint" "$small" --preset flash --layers 1 --n-hash 1 --n-expert 16 --record-time 4102444800
[ -d "$pro" ] || "$make_checkpoint" "$pro" --preset pro --sparse --with-mtp --record-time 4102444800

seconds() { local t=$EPOCHREALTIME; "$@" >"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
	    echo "$EPOCHREALTIME $t" | awk '{ printf "%.3f", $1 - $2 }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
rate() { awk -v n="$1" -v s="$2" 'BEGIN { printf "%.2f GB/s", n / s / 1e9 }'; }
peak() { awk '/peak resident/ { print $4 }' "$dir/log"; }
bytes=$(cat "$flash"/*.safetensors | wc -c)	# also warms the page cache
hash_all() { printf '%s\0' "$flash"/*.safetensors | xargs -0 -n 1 -P 2 openssl dgst -sha256; }
out=$dir/out.gguf

echo "source: $(ls "$flash"/*.safetensors | wc -l) shards, $(awk -v n="$bytes" 'BEGIN { printf "%.2f", n / 1e9 }') GB; $threads threads"
for i in 1 2 3; do
	h=$(seconds hash_all)
	rm -f "$out" "$dir"/mtp-out.gguf
	c=$(seconds "$bin" convert "$flash" -o "$out" -t "$threads" --no-progress -v)
	p=$(peak)
	echo "run $i: hash once, two openssl processes $h s ($(rate "$bytes" "$h")); convert $c s ($(rate "$bytes" "$c")), ratio $(ratio "$c" "$h") (floor about 2.0, asked 2.6); peak $p MiB"
done
size=$(stat -c %s "$out")
w=$(seconds dd if=/dev/zero of="$dir/ddout" bs=4M count=1000 oflag=direct)
echo "ceiling: disk, written past the page cache by one process, $(rate "$(stat -c %s "$dir/ddout")" "$w")"
rm -f "$dir/ddout"
cat "$out" >/dev/null
for i in 1 2 3; do
	o=$(seconds openssl dgst -sha256 "$out")
	v=$(seconds "$bin" verify "$out" -t "$threads" --no-progress)
	echo "run $i: openssl dgst $(rate "$size" "$o"), verify $(rate "$size" "$v"), ratio $(ratio "$o" "$v") (asked 1.7)"
done
s=$(seconds openssl speed -seconds 2 -bytes 65536 sha256)
echo "ceiling: $(awk '/^sha256/ { printf "SHA-256 %.2f GB/s a core", $2 / 1e6 }' "$dir/log")"
rm -f "$out" "$dir/mtp-out.gguf"
c=$(seconds "$bin" convert "$small" -o "$out" -t "$threads" --no-progress -v)
echo "memory: peak $(peak) MiB on $(cat "$small"/*.safetensors | wc -c) bytes, $p MiB on $bytes"
rm -f "$out"
i=$(seconds "$bin" inspect "$pro")
echo "inspect: $(ls "$pro"/*.safetensors | wc -l) shards of V4-Pro's headers in $i s (asked 1)"
/usr/bin/env bash -c "ulimit -v 262144; '$bin' inspect '$pro' >/dev/null" && echo "inspect: within 256 MiB of address space"
