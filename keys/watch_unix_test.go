//go:build unix

package keys_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// mount is a directory as the kubelet makes it of a secret: keys.json is a link
// to ..data/keys.json, and ..data one to a directory that is never changed, but
// replaced.
type mount struct {
	dir  string
	last string
	when time.Time // of every file: neither sizes nor times tell versions apart
}

func newMount(t testing.TB, s *keyset.Set) (*mount, keyset.File) {
	m := &mount{dir: t.TempDir(), when: time.Unix(1_700_000_000, 0)}
	require.NoError(t, os.Symlink(filepath.Join("..data", "keys.json"), filepath.Join(m.dir, "keys.json")))
	m.swap(t, "..2026_1", s, 1)
	return m, keyset.File{Path: filepath.Join(m.dir, "keys.json"), InsecureGroupReadable: true}
}

// swap brings in a new version in one step, and removes the old one.
func (m *mount) swap(t testing.TB, name string, s *keyset.Set, generation int) {
	t.Helper()
	require.NoError(t, os.Mkdir(filepath.Join(m.dir, name), 0o755))
	f := place(t, filepath.Join(m.dir, name, "keys.json"), s, generation)
	require.NoError(t, os.Chmod(f.Path, 0o440))
	require.NoError(t, os.Chtimes(f.Path, m.when, m.when))
	require.NoError(t, os.Symlink(name, filepath.Join(m.dir, "..data_tmp")))
	require.NoError(t, os.Rename(filepath.Join(m.dir, "..data_tmp"), filepath.Join(m.dir, "..data")))
	if m.last != "" {
		require.NoError(t, os.RemoveAll(filepath.Join(m.dir, m.last)))
	}
	m.last = name
}

// A key file that is written into such a mount would be lost, or its readers
// could no longer read it.
func TestUpdateRefusesAMountedSecret(t *testing.T) {
	k := generate(t, keyset.EdDSA)
	m, f := newMount(t, newSet(t, k))
	real := keyset.File{Path: filepath.Join(m.dir, m.last, "keys.json"), InsecureGroupReadable: true}
	for _, f := range []keyset.File{f, real} {
		before := listing(t, real)
		err := f.Update(t.Context(), func(s *keyset.Set) error { return s.Revoke(k.ID(), t0, "") })
		require.ErrorIs(t, err, keyset.ErrUnsafeFile)
		require.ErrorContains(t, err, "the group can read")
		require.NoError(t, os.Chmod(real.Path, 0o400))
		err = f.Update(t.Context(), func(s *keyset.Set) error { return s.Revoke(k.ID(), t0, "") })
		require.ErrorIs(t, err, keyset.ErrUnsafeFile)
		require.ErrorContains(t, err, "is in a mounted Secret or ConfigMap, where a change would be lost")
		require.NoError(t, os.Chmod(real.Path, 0o440))
		_ = os.Remove(real.Path + ".lock")
		require.Equal(t, before, listing(t, real))
	}
}

func TestWatchSeesAMountedSecretChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := generate(t, keyset.EdDSA), generate(t, keyset.EdDSA)
		m, f := newMount(t, newSet(t, a))
		r := watch(t, f, 30*time.Second)
		sleep(time.Minute)
		require.Equal(t, []string{a.ID()}, ids(r.Set().Keys()))

		before := stat(t, f.Path)
		m.swap(t, "..2026_2", newSet(t, b), 2)
		require.Equal(t, before.Size(), stat(t, f.Path).Size())
		require.Equal(t, before.ModTime(), stat(t, f.Path).ModTime())
		sleep(30 * time.Second)
		require.Empty(t, r.reports())
		require.Equal(t, []string{b.ID()}, ids(r.Set().Keys()))

		require.NoError(t, os.Remove(filepath.Join(m.dir, "..data")))
		sleep(30 * time.Second)
		told := r.reports()
		require.Len(t, told, 1)
		require.ErrorIs(t, told[0], os.ErrNotExist)
		m.swap(t, "..2026_3", newSet(t, a, b), 3)
		sleep(30 * time.Second)
		require.Empty(t, r.reports())
		require.Len(t, r.Set().Keys(), 2)
		r.stop(t)
	})
}

func TestUnknownKeySeesAMountedSecretChange(t *testing.T) {
	a, b := generate(t, keyset.EdDSA), generate(t, keyset.EdDSA)
	m, f := newMount(t, newSet(t, a))
	r := unfollowed(t, f)
	m.swap(t, "..2026_2", newSet(t, b), 2)
	_, err := r.Key(t.Context(), b.ID(), t0)
	require.NoError(t, err)
	_, err = r.Key(t.Context(), a.ID(), t0)
	require.ErrorIs(t, err, keyset.ErrUnknownKey)
}
