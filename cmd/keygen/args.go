package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxReason is how long package keys lets a reason be, in bytes.
const maxReason = 200

// checkReason refuses a reason that package keys would refuse, before anything is read or asked for.
func checkReason(reason string) error {
	odd := func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }
	if len(reason) > maxReason || !utf8.ValidString(reason) || strings.IndexFunc(reason, odd) >= 0 {
		return refuse(exitUsage, "--reason must be text of at most %d bytes", maxReason)
	}
	return nil
}
