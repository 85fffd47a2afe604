# The texts of FILE's errors: FILE, a tab, the first string in the arguments of a function that takes one, its adjacent
# literals joined as the compiler does; what PRIu64 says is written llu.
function literals(s,    text, at) {
	text = ""
	for (;;) {
		sub(/^[ \t\n]+/, "", s)
		if (match(s, /^PRI[a-zA-Z]*64/)) {
			text = text (s ~ /^PRIx/ ? "llx" : "llu")
			s = substr(s, RLENGTH + 1)
		} else if (match(s, /^"([^"\\]|\\.)*"/)) {
			text = text substr(s, 2, RLENGTH - 2)
			s = substr(s, RLENGTH + 1)
		} else
			return text
	}
}
{ file = file $0 "\n" }
END {
	while (match(file, /(err_set|err_errno|json_fail|config_fail|refuse|fail|bad_value|bad_syntax)\([^";]*"/)) {
		file = substr(file, RSTART + RLENGTH - 1)
		text = literals(file)
		if (length(text) > 5)
			print FILENAME "\t" text
	}
}
