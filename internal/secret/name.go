package secret

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Path returns path if it names something that exists, or can only be a path;
// otherwise "".
func Path(path string) string {
	if _, err := os.Lstat(path); err == nil || isPath(path) {
		return path
	}
	return ""
}

// isPath reports whether text is certainly a path: it begins with "/", "./" or
// "../". Another relative path could also be a passphrase. A name that mixes
// cases and digits could be base64 with a slash in it.
func isPath(text string) bool {
	rooted := filepath.IsAbs(text) || strings.HasPrefix(text, "./") || strings.HasPrefix(text, "../")
	if _, isKey := decoded([]byte(text), KeySize); !rooted || isKey {
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

// random reports whether text is long, with letters of both cases and digits. A
// secret of under 12 characters would be too weak to protect here.
func random(text string) bool {
	mixed := strings.ToLower(text) != text && strings.ToUpper(text) != text
	return len(text) >= 12 && mixed && strings.ContainsAny(text, "0123456789")
}

// Variable returns name if it is spelled as names of environment variables are,
// in several words; otherwise "". A single word could be a passphrase.
func Variable(name string) string {
	if !regexp.MustCompile(`^[A-Z][A-Z0-9]{0,31}(_[A-Z0-9]{1,31}){1,8}$`).MatchString(name) {
		return ""
	}
	return name
}

// IsContent reports whether text is certainly not a path but the content of a
// key file: JSON, PEM, an encrypted JWK Set, or anything in several lines.
func IsContent(text string) bool {
	text = strings.TrimSpace(text)
	return strings.HasPrefix(text, "{") || strings.Contains(text, "-----BEGIN") ||
		strings.HasPrefix(text, "eyJ") || strings.ContainsAny(text, "\r\n\x00")
}
