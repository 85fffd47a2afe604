#!/bin/sh
# Every message of an error in the sources: FILE, a tab, the text, with adjacent string literals joined as the compiler does.
# The texts of err_set, err_errno and the helpers that end there.
for f in format/*.c quantize/*.c report/*.c convert/*.c verify/*.c runtime/*.c library/*.c; do
	tr '\n' ' ' <"$f" | sed -E 's/" *PRI[a-zA-Z]*64 *"?/llu/g; s/"[[:space:]]*"//g' |
		grep -oE '(err_set|err_errno|json_fail|config_fail|refuse|fail|bad_value|bad_syntax)\([^";]*"([^"\\]|\\.)*"' |
		sed -E 's/^[^"]*"(.*)"$/\1/' | awk -v f="$f" 'length($0) > 5 { print f "\t" $0 }'
done | sort -u
