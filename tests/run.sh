#!/bin/sh
# Runs every unit-test program given and every tests/cli/*.sh, as many at a time as there are processors (JOBS),
# and closes with one line "N passed, N failed". A program that dies without its closing line counts as one failure.
set -u
passed=0 failed=0
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
export tmp

count() {	# NAME: adds the closing line of its output to the totals
	status=$(cat "$tmp/$1.status" 2>/dev/null || echo none)
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$tmp/$1.out" | tail -n 1)
	p=${line%% passed*} f=${line#*passed, } f=${f%% failed*}
	if [ -z "$line" ] || { [ "$status" != 0 ] && [ "$f" -eq 0 ]; }; then
		p=0 f=1
		echo "$1: ended with status $status and without a verdict"
	fi
	[ "$f" -eq 0 ] || sed 's/^/    /' "$tmp/$1.err"
	printf '%-34s %4d passed, %d failed\n' "$1" "$p" "$f"
	passed=$((passed + p)) failed=$((failed + f))
}

for t in "$@" tests/cli/*.sh; do
	[ "$t" = tests/cli/common.sh ] || echo "$t"
done >"$tmp/tests"
xargs -n 1 -P "${JOBS:-$(nproc)}" sh -c '
	out=$tmp/$(basename "$1")
	case $1 in *.sh) sh "$1" ;; *) "$1" ;; esac >"$out.out" 2>"$out.err" </dev/null
	echo $? >"$out.status"' run <"$tmp/tests"
while read -r t; do count "$(basename "$t")"; done <"$tmp/tests"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
