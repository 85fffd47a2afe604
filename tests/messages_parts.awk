# The fixed parts of a message's text: piece[1..], how many. They stand between its conversions, and quotes are as printed.
function fixed_parts(text, piece,    s) {
	s = text
	gsub(/\\"/, "\"", s)
	gsub(/\\\\/, "\\", s)
	gsub(/%[-+ #0-9.*]*(ll|l|z|h)?[a-zA-Z]|%" PRI[a-z0-9]+ "/, "\001", s)
	return split(s, piece, "\001")
}
