package apptest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A secret is found in each encoding, wherever it stands in the text.
func TestFormsOfFind(t *testing.T) {
	find := func(secret string, text []byte) bool {
		for _, form := range FormsOf(secret) {
			if bytes.Contains(text, form) {
				return true
			}
		}
		return false
	}
	for _, secret := range []string{"zoë \"z\" a?>~b", B64(Random(32)), "w0123456789"} {
		for before := range 4 {
			text := []byte(strings.Repeat("\x00", before) + secret + "\xff\xff")
			inJSON, err := json.Marshal(strings.Repeat("x", before) + secret + "x")
			require.NoError(t, err)
			encoded := map[string][]byte{
				"as it is":       text,
				"hex":            []byte(hex.EncodeToString(text)),
				"upper-case hex": fmt.Appendf(nil, "%X", text),
				"base64":         []byte(base64.StdEncoding.EncodeToString(text)),
				"base64url":      []byte(B64(text)),
				"JSON":           inJSON,
			}
			if raw, err := base64.RawURLEncoding.DecodeString(secret); err == nil {
				encoded["content"] = append(make([]byte, before), raw...)
			}
			for name, text := range encoded {
				require.True(t, find(secret, text), "%s of %q after %d bytes", name, secret, before)
			}
			require.False(t, find(secret, []byte(B64(Random(1000)))))
		}
	}
}
