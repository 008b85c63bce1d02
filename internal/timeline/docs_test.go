package timeline_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/timeline"
)

// The picture in docs/keys.md is what keygen plan draws. Its tokens live for a
// week, so that one can see the time in which keys only verify.
func TestPictureOfTheDocumentation(t *testing.T) {
	const path = "../../docs/keys.svg"
	start := time.Date(2026, 9, 1, 6, 0, 0, 0, time.UTC)
	set := new(keyset.Set)
	require.NoError(t, set.SetPolicy(keyset.Policy{TokenLife: 7 * 24 * time.Hour}))
	seed := byte(0)
	add := func(now time.Time) {
		next := func(d keyset.Dates) (*keyset.Key, error) {
			seed++
			random := sha256.Sum256([]byte{seed})
			return keyset.Import(keyset.EdDSA, ed25519.NewKeyFromSeed(random[:]), d)
		}
		after, err := rotation.Add(keyset.EdDSA, rotation.AddOptions{Make: next}).Try(set, now)
		require.NoError(t, err)
		set = after
	}
	add(start)
	add(start.Add(time.Hour))
	add(start.Add(32 * 24 * time.Hour))
	plan, err := rotation.Plan(set, start.Add(45*24*time.Hour), start, start.Add(135*24*time.Hour))
	require.NoError(t, err)
	var picture bytes.Buffer
	require.NoError(t, timeline.SVG(&picture, plan))
	if *update {
		require.NoError(t, os.WriteFile(path, picture.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), picture.String(), "run: go test ./internal/timeline -update")
}
