# After messages_parts.awk. ARGV[1]: lines that were seen; ARGV[2]: FILE<tab>TEXT. Prints the texts that no line has: all literal pieces in order.
FILENAME == ARGV[1] { line[++m] = $0; next }
/^#/ || !NF { next }
{
	split($0, part, "\t"); count = fixed_parts(part[2], piece); found = 0
	for (k = 1; k <= m && !found; k++) {
		at = 1; ok = 1
		for (p = 1; p <= count && ok; p++) if (piece[p] != "") {
			i = index(substr(line[k], at), piece[p])
			if (!i) ok = 0; else at += i - 1 + length(piece[p])
		}
		found = ok
	}
	if (!found) print
}
