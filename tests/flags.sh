#!/bin/sh
# flags.sh CC "A|B"...: of each argument's alternatives the first that the compiler takes; "+" stands for a space. Asked once a
# compiler: the answers are kept below build/.
cc=$1; shift
known=build/flags/$( { $cc --version 2>/dev/null; echo "$cc $*"; } | cksum | tr ' ' '-')
if [ ! -f "$known" ]; then
	found=
	for all in "$@"; do
		for f in $(echo "$all" | tr '|' ' '); do
			f=$(echo "$f" | tr + ' ')
			$cc -Werror -O1 $f -x c -fsyntax-only /dev/null 2>/dev/null && { found="$found $f"; break; }
		done
	done
	if mkdir -p build/flags 2>/dev/null; then echo "$found" >"$known.$$" && mv "$known.$$" "$known"; else echo "$found"; exit; fi
fi
cat "$known"
