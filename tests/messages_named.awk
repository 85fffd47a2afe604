# After messages_parts.awk. ARGV[1]: FILE<tab>TEXT; then the tests. Prints the texts of which no test has n characters in a row.
FILENAME == ARGV[1] { text[++m] = $0; next }
{ gsub(/\\"/, "\""); for (i = 1; i + n - 1 <= length($0); i++) seen[substr($0, i, n)] = 1 }
END {
	for (k = 1; k <= m; k++) {
		split(text[k], part, "\t"); count = fixed_parts(part[2], piece); named = 0
		for (p = 1; p <= count && !named; p++)
			for (i = 1; i + n - 1 <= length(piece[p]) && !named; i++) named = substr(piece[p], i, n) in seen
		if (!named) print text[k]
	}
}
