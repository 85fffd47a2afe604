#!/bin/bash
# The same bytes from another directory, umask, locale, time zone, number of jobs and hour: the source is copied, built
# there, and program, libraries and packages are compared with those in $BUILD. `make reproducible` calls this. QUICK=1 takes over
# the objects of the inner loops, half of all the compiler's work, and says so.
set -euo pipefail
away=$(mktemp -d)/a-directory-with-another-name
trap 'rm -rf "${away%/*}"' EXIT
mkdir "$away"
tar -cf - --exclude=./build --exclude=./.git . | tar -xf - -C "$away"
find "$away" -name '*.c' -exec touch -d '2001-02-03 04:05:06' {} +
if [ -n "${QUICK:-}" ]; then
	for o in "$BUILD"/runtime/kernels_*.o "$BUILD"/quantize/encode_*.o; do
		mkdir -p "$away/${o%/*}"
		cp "$o" "$away/$o"
		echo "not built again: $o"
	done
fi
(
	umask 077
	cd "$away"
	export LC_ALL=C.UTF-8 LANG=de_DE.UTF-8 TZ=Pacific/Kiritimati
	env -u SOURCE_DATE_EPOCH -u MAKEFLAGS -u MFLAGS $MAKE -s -j"$(nproc)" CC="$CC" BUILD="$BUILD" deb >/dev/null
)
bad=0
for f in "$BUILD"/ingot "$BUILD"/libingot.so "$BUILD"/libingot.a "$BUILD"/deb/*.deb; do
	if cmp "$f" "$away/$f"; then echo "same: ${f#"$BUILD"/}"; else bad=$((bad + 1)); fi
done
[ "$(ls "$BUILD"/deb/*.deb | wc -l)" -eq 3 ] || { echo "there are not three packages"; bad=1; }
[ "$bad" -eq 0 ]
