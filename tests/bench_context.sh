#!/bin/bash
# What a longer context costs, on a small model with V4's window, ratios and number of picks: 64 to
# 131,072 tokens, one to two minutes on two cores. Prints a table and writes context.svg into BENCH_DIR.
# Called by make bench.
set -euo pipefail
build=${BUILD:-build/gcc-release}
dir=${BENCH_DIR:-/var/tmp/ingot-bench}
model=$dir/context-model
mkdir -p "$dir"
[ -d "$model" ] || "$build"/samples/make_checkpoint "$model" --ratios 0,4,128 --n-embd 128 --n-vocab 320 \
	--n-head 4 --head-dim 128 --n-rot 32 --q-lora 64 --o-groups 2 --o-lora 64 --n-ff-exp 64 --n-expert 4 \
	--n-expert-used 1 --n-hash 1 --window 128 --idx-head 2 --idx-dim 64 --idx-topk 512 --no-records >/dev/null
"$build"/tests/tool_context "$model" "${THREADS:-2}" "${FIRST:-64}" "${LAST:-131072}" "$dir"/context.svg
echo "figure: $dir/context.svg"
