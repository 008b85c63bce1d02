package steps

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// What is wrong usage here is refused by package keys, and nothing else.
func TestReasonsAreThoseOfKeys(t *testing.T) {
	for _, reason := range []string{"", "key_compromise", "tab\tand\nline", "naïve 😀", strings.Repeat("x", 200),
		strings.Repeat("x", 201), "bell\a", "\xff", "\u202e", "\u00a0"} {
		k, err := keyset.Generate(keyset.EdDSA, keyset.Dates{})
		require.NoError(t, err)
		set, err := keyset.NewSet(k)
		require.NoError(t, err)
		err = checkReason(reason)
		require.Equal(t, set.Revoke(k.ID(), time.Now(), reason) != nil, err != nil, "%q", reason)
		if err != nil {
			require.Equal(t, tool.ExitUsage, tool.ExitCode(err))
		}
	}
}
