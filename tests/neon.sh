#!/bin/bash
# The NEON kernels and encoders against the scalar ones, to the bit: tests/test_kernels and
# tests/test_encode_sets built for AArch64 and run under qemu-user. Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static. Without them it says so and
# exits with 77: nothing was shown.
set -eu
cd "$(dirname "$0")/.."
cc=aarch64-linux-gnu-gcc
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)
if [ -z "$qemu" ] || ! command -v $cc >/dev/null; then
	echo "not run: $cc or qemu-aarch64 is missing"
	exit 77
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for test in test_kernels test_encode_sets; do
	$cc -static -O2 -std=c17 -ffp-contract=off -fno-strict-aliasing -D_GNU_SOURCE -I. -Wall -Wextra tests/$test.c \
		runtime/kernels.c runtime/kernels_scalar.c runtime/kernels_neon.c runtime/product.c runtime/pool.c \
		quantize/codec*.c quantize/encode_*.c quantize/cpu.c quantize/finite.c quantize/packed.c \
		format/dtype.c format/err.c format/file.c -o "$out/$test" -lm -pthread
	"$qemu" "$out/$test"
done
