#!/bin/sh
# The rules that a compiler does not know, as a test: who may include whom, one includer for each
# library, no call that cannot be bounded, no printing or exiting in the library.
bad=0
report() { [ -z "$1" ] || { echo "$1"; echo "lint: $2"; bad=1; }; }

allow() {	# a folder may include itself and what is listed after it
	dir=$1 ok=$(echo "$@" | tr ' ' '|')
	report "$(grep -nE '^#include "(format|quantize|convert|verify|runtime|report|library|cli|tests)/' "$dir"/*.c "$dir"/*.h 2>/dev/null |
		grep -v '/cmd' | grep -vE "#include \"($ok)/")" "$dir may not include the above"
}
allow format
allow quantize format
allow convert quantize format
allow verify quantize format
allow runtime quantize format
allow report format
allow library convert verify runtime quantize format
lib=$(ls format/*.c quantize/*.c convert/*.c verify/*.c runtime/*.c report/*.c library/*.c | grep -v '/cmd')
report "$(grep -nE '(^|[^_a-z])(exit|abort|printf|puts|perror|assert|err|warn)[[:space:]]*\(' $lib)" \
	'the library never prints, exits or asserts'
report "$(grep -nE '(^|[^_a-z])(strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|atoll|atof|gets|alloca|system|popen|tmpnam|tempnam|mktemp|strncpy)[[:space:]]*\(' \
	*/*.c */*.h)" 'a call that is not used here'
report "$(grep -nE '(^|[^_a-z])(strncat|stpcpy|v?f?scanf|execl?[vp]*e?|fork|dlopen|socket|connect|strtol|strtoul)[[:space:]]*\(' $lib)" \
	'a call that the library does without'
one() {
	report "$(grep -lE "#include <$1" */*.c */*.h | grep -vE "^($2)\$")" "only $2 may include <$1>"
}
one openssl/ 'format/digest.c|format/key.c'
one cjson/ 'format/config.c|cli/.*\.c|.*/cmd[^/]*\.[ch]'
one archive 'format/archive.c|format/filter.[ch]|tests/test_archive.c'
one zlib 'format/filter.[ch]|convert/journal.c'
report "$(grep -nE '.{101}' format/*.[ch] quantize/*.[ch] convert/*.[ch] verify/*.[ch] runtime/*.[ch] report/*.[ch] library/*.[ch] cli/*.[ch] |
	awk -F: '{ s=$0; sub(/^[^:]*:[^:]*:/, "", s); gsub(/\t/, "        ", s); if (length(s) > 132) print $1 ":" $2 }')" \
	'a line is too long'
[ "$bad" -eq 0 ] && echo "lint: clean"
exit $bad
