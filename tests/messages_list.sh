#!/bin/sh
# Every message of an error in the sources: FILE, a tab, the text. Those of err_set, err_errno and the helpers that end there.
for f in format/*.c quantize/*.c report/*.c convert/*.c verify/*.c runtime/*.c library/*.c; do
	awk -f tests/messages_list.awk "$f"
done | sort -u
