package secret

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Path returns path if it names what exists, or can only be a path; else "".
func Path(path string) string {
	if _, err := os.Lstat(path); err == nil || isPath(path) {
		return path
	}
	return ""
}

// isPath reports whether text is certainly a path: from the root, or from a
// directory that it names with dots. A relative one could be a passphrase too,
// and random base64 mixes cases and digits.
func isPath(text string) bool {
	rooted := filepath.IsAbs(text) || strings.HasPrefix(text, "./") || strings.HasPrefix(text, "../")
	if _, isKey := decoded([]byte(text)); !rooted || isKey {
		return false
	}
	plain := regexp.MustCompile(`^[A-Za-z0-9._: -]*$`)
	for name := range strings.SplitSeq(filepath.ToSlash(text), "/") {
		if !plain.MatchString(name) || random(name) {
			return false
		}
	}
	return true
}

// random reports whether text is long, with letters of both cases and digits.
func random(text string) bool {
	return len(text) >= 12 && strings.ContainsAny(text, "0123456789") && strings.ToLower(text) != text && strings.ToUpper(text) != text
}

// Variable returns name if it is written as the names of variables are, in
// several words; else "". One word alone could be a passphrase.
func Variable(name string) string {
	if !regexp.MustCompile(`^[A-Z][A-Z0-9]{0,31}(_[A-Z0-9]{1,31}){1,8}$`).MatchString(name) {
		return ""
	}
	return name
}

// IsContent reports whether text is certainly no path, since it is what a file
// with keys holds: JSON, PEM, an encrypted JWK Set, or anything in several lines.
func IsContent(text string) bool {
	text = strings.TrimSpace(text)
	return strings.HasPrefix(text, "{") || strings.Contains(text, "-----BEGIN") ||
		strings.HasPrefix(text, "eyJ") || strings.ContainsAny(text, "\r\n\x00")
}
