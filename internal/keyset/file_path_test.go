package keyset_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// The content of a key file where its path belongs is said by no error.
func TestFileContentInPlaceOfThePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, keyset.File{Path: path}.Create(t.Context(), newSet(t, generate(t, keyset.EdDSA))))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, content := range []string{string(text), "-----BEGIN PRIVATE KEY-----\nhunter2", "eyJhbGciOiJkaXIifQ.a.b.c.d"} {
		f := keyset.File{Path: content}
		_, read := f.Read()
		_, encrypted := f.Encrypted()
		_, ring := keys.OpenRing(keys.RingConfig{File: keys.File(f)})
		create := f.Create(t.Context(), newSet(t, generate(t, keyset.EdDSA)))
		update := f.Update(t.Context(), func(*keyset.Set) error { return nil })
		for _, err := range []error{read, encrypted, ring, create, update, fmt.Errorf("%v %+v %#v", f, f, f)} {
			require.NotContains(t, err.Error(), content[:min(len(content), 40)])
			require.ErrorContains(t, err, "not a path")
		}
	}
}
