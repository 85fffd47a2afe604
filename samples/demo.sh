#!/bin/sh
# Sets up a Debian machine, builds, and does the main job on the bundled sample: convert, verify,
# perplexity of the source and of the result.
set -eu
cd "$(dirname "$0")/.."
packages="make gcc pkg-config zlib1g-dev libarchive-dev libcjson-dev libssl-dev"
if ! dpkg -s $packages >/dev/null 2>&1; then
	sudo=; [ "$(id -u)" -eq 0 ] || sudo=sudo
	$sudo apt-get update
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages
fi
make
bin=build/gcc-release/ingot
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
run() { printf '\n$ ingot %s\n' "$*"; "$bin" "$@"; }
run verify samples/v4-tiny
run inspect samples/v4-tiny
run convert samples/v4-tiny -o "$out/v4-tiny.gguf"
run verify "$out/v4-tiny.gguf"
run perplexity samples/v4-tiny -f samples/heldout.txt --chunks 4
run perplexity "$out/v4-tiny.gguf" -f samples/heldout.txt --chunks 4 --reference samples/v4-tiny --max-kld 0
run convert samples/v4-tiny -o "$out/v4-tiny-q8.gguf" --recipe q8
run verify "$out/v4-tiny-q8.gguf"
run perplexity "$out/v4-tiny-q8.gguf" -f samples/heldout.txt --chunks 4 --reference samples/v4-tiny
