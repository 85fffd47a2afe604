#!/bin/sh
# Runs every unit-test program given, then every tests/cli/*.sh, and closes with one line
# "N passed, N failed". A program that dies without its closing line counts as one failure.
set -u
passed=0 failed=0
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

count() {	# NAME STATUS: adds the closing line of $tmp/out to the totals
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$tmp/out" | tail -n 1)
	p=${line%% passed*} f=${line#*passed, } f=${f%% failed*}
	if [ -z "$line" ] || { [ "$2" -ne 0 ] && [ "$f" -eq 0 ]; }; then
		p=0 f=1
		echo "$1: ended with status $2 and without a verdict"
	fi
	[ "$f" -eq 0 ] || sed 's/^/    /' "$tmp/err"
	printf '%-34s %4d passed, %d failed\n' "$1" "$p" "$f"
	passed=$((passed + p)) failed=$((failed + f))
}

for t in "$@"; do
	"$t" >"$tmp/out" 2>"$tmp/err"
	count "$(basename "$t")" $?
done
for t in tests/cli/*.sh; do
	[ "$t" != tests/cli/common.sh ] || continue
	sh "$t" >"$tmp/out" 2>"$tmp/err"
	count "$(basename "$t")" $?
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
