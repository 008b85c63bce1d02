package rotation_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	steps "github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/keys"
)

const (
	day   = 24 * time.Hour
	month = 30 * day
)

// with is a policy whose numbers are easy to follow by hand, with changes.
func with(edit func(p *keyset.Policy)) keyset.Policy {
	p := keyset.Policy{
		TokenLife: 15 * time.Minute, Leeway: time.Minute, ClockSkew: time.Minute, DistributionLag: 2 * time.Minute,
		ReloadInterval: 30 * time.Second, CacheLife: time.Hour, Grace: time.Hour, RotationPeriod: month, PeakRate: 500,
	}
	edit(&p)
	return p
}

// zero is when the keys of some tests are made.
func zero() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// open makes keys at zero.
func open(t testing.TB, algs ...keyset.Algorithm) *keyset.Set {
	t.Helper()
	set, err := steps.New(with(func(*keyset.Policy) {}), zero(), algs...)
	require.NoError(t, err)
	return set
}

func place(t testing.TB, set *keyset.Set) keyset.File {
	t.Helper()
	f := keyset.File{Path: filepath.Join(t.TempDir(), "keys.json")}
	require.NoError(t, f.Create(t.Context(), set.Clone()))
	return f
}

// openRing opens a ring that does not follow its file.
func openRing(t testing.TB, f keyset.File) *keys.Ring {
	t.Helper()
	ring, err := keys.OpenRing(keys.RingConfig{File: keys.File(f)})
	require.NoError(t, err)
	require.NoError(t, ring.Close())
	return ring
}

func content(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}
