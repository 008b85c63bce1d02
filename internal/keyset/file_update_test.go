package keyset_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/durable"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// The file that an update replaces stays beside it, as protected as it was.
func TestUpdateKeepsThePrevious(t *testing.T) {
	for _, f := range []keyset.File{{}, {Key: random(32)}} {
		f = rich(t, f)
		var was []byte
		for generation := int64(2); generation < 5; generation++ {
			var err error
			was, err = os.ReadFile(f.Path)
			require.NoError(t, err)
			require.NoError(t, f.Update(t.Context(), addOne(t)))
			kept, err := os.ReadFile(f.Path + ".bak")
			require.NoError(t, err)
			require.Equal(t, string(was), string(kept))
			info, err := os.Stat(f.Path + ".bak")
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o600), info.Mode())
			old := f
			old.Path += ".bak"
			s, err := old.Read()
			require.NoError(t, err)
			require.Equal(t, generation-1, s.Generation())
			require.Equal(t, []string{"keys.json", "keys.json.bak", "keys.json.lock"}, names(listing(t, f)))
		}
		_, err := f.Read()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(f.Path, was[:len(was)/2], 0o600))
		_, err = f.Read()
		require.ErrorContains(t, err, "keys.json", "names the file")
		kept := f.Path + ".bak"
		if f.Key == nil {
			require.ErrorContains(t, err, "restore it from a backup, such as "+kept)
		}
	}
}

// No change: nothing is written, not even the same again.
func TestUpdateWithoutAChange(t *testing.T) {
	f := rich(t, keyset.File{})
	s, err := f.Read()
	require.NoError(t, err)
	sig, stop := s.Keys()[0], errors.New("stop")
	tests := []struct {
		name   string
		change func(*keyset.Set) error
		want   error
	}{
		{"nothing", func(*keyset.Set) error { return nil }, nil},
		{"the same policy", func(s *keyset.Set) error { return s.SetPolicy(example()) }, nil},
		{"the same dates", func(s *keyset.Set) error { return s.SetDates(sig.ID(), sig.Dates(), at(9)) }, nil},
		{"nothing to erase", func(s *keyset.Set) error { return s.Erase(s.Keys()[1].ID(), at(9)) }, nil},
		{"a change of copies", func(s *keyset.Set) error { s.Keys()[0] = nil; return s.Clone().Add(generate(t, keyset.EdDSA)) }, nil},
		{"failure", func(*keyset.Set) error { return stop }, stop},
		{"failure after a change", func(s *keyset.Set) error { return errors.Join(s.Revoke(sig.ID(), t0, ""), stop) }, stop},
	}
	before, info := listing(t, f), stat(t, f.Path)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.ErrorIs(t, f.Update(t.Context(), tt.change), tt.want)
			require.Equal(t, before, listing(t, f))
			require.True(t, os.SameFile(info, stat(t, f.Path)))
			require.Equal(t, info.ModTime(), stat(t, f.Path).ModTime())
		})
	}
	require.NoError(t, f.Update(t.Context(),
		func(s *keyset.Set) error { return s.SetPolicy(keyset.Policy{Leeway: time.Second}) }), "the policy alone")
	s, err = f.Read()
	require.NoError(t, err)
	require.EqualValues(t, 2, s.Generation())
}

func stat(t testing.TB, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info
}

func TestLocked(t *testing.T) {
	f := rich(t, keyset.File{})
	other := keyset.File{Path: filepath.Join(filepath.Dir(f.Path), "other.json")}
	for _, path := range []string{f.Path, other.Path} {
		unlock, err := durable.Lock(t.Context(), path)
		require.NoError(t, err)
		defer unlock()
	}
	before := listing(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	change := func(*keyset.Set) error { panic("under the lock of another") }
	for _, err := range []error{f.Update(ctx, change), f.Protect(ctx, keyset.File{Key: random(32)}),
		other.Create(ctx, newSet(t, generate(t, keyset.EdDSA)))} {
		require.ErrorIs(t, err, keyset.ErrLocked)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "another process is changing the key file; try again")
	}
	require.Equal(t, before, listing(t, f))
	_, err := f.Read()
	require.NoError(t, err, "reading needs no lock")
}

// Somebody who does not hold the lock has changed the file meanwhile: his
// change is not lost.
func TestUpdateOverwritesNoChangeOfOthers(t *testing.T) {
	for _, f := range []keyset.File{rich(t, keyset.File{}), rich(t, keyset.File{Key: random(32)})} {
		other := newSet(t, generate(t, keyset.EdDSA))
		var before map[string]string
		err := f.Update(t.Context(), func(s *keyset.Set) error {
			require.NoError(t, os.Remove(f.Path))
			require.NoError(t, os.Remove(f.Path+".lock"))
			require.NoError(t, f.Create(t.Context(), other)) // the lock is gone
			before = listing(t, f)
			return s.Add(generate(t, keyset.EdDSA))
		})
		require.ErrorIs(t, err, keyset.ErrLocked)
		require.ErrorContains(t, err, "another process is changing the key file, without its lock; try again")
		require.Equal(t, before, listing(t, f))
	}
}

// A crash right after a revocation, or an encryption, has left the file before
// it. Who comes next removes it, though he has nothing to write.
func TestUpdateRemovesWhatACrashHasLeft(t *testing.T) {
	nothing := func(*keyset.Set) error { return nil }
	fails := func(*keyset.Set) error { return errors.New("was revoked already") }
	kept := func(f keyset.File) []byte {
		require.NoError(t, f.Update(t.Context(), addOne(t)))
		text, err := os.ReadFile(f.Path)
		require.NoError(t, err)
		return text
	}
	for _, next := range []func(*keyset.Set) error{nothing, fails} {
		f := rich(t, keyset.File{})
		old := kept(f)
		require.NoError(t, f.Update(t.Context(), nothing))
		require.FileExists(t, f.Path+".bak", "harmless")
		require.NoError(t, f.Update(t.Context(), func(s *keyset.Set) error { return s.Revoke(s.Keys()[0].ID(), t0, "") }))
		require.NoFileExists(t, f.Path+".bak")
		require.NoError(t, os.WriteFile(f.Path+".bak", old, 0o600))
		_ = f.Update(t.Context(), next)
		require.NoFileExists(t, f.Path+".bak")

		f = rich(t, keyset.File{})
		old = kept(f)
		locked := keyset.File{Path: f.Path, Key: random(32)}
		require.NoError(t, f.Protect(t.Context(), locked))
		require.NoError(t, os.WriteFile(f.Path+".bak", old, 0o600))
		_ = locked.Update(t.Context(), next)
		require.NoFileExists(t, f.Path+".bak")
	}
}

// A link to the file has nothing beside it that counts; and an encrypted file
// is not removed because a plain one was put back.
func TestUpdateRemovesNoOtherFiles(t *testing.T) {
	nothing := func(*keyset.Set) error { return nil }
	f := rich(t, keyset.File{Key: random(32)})
	require.NoError(t, f.Update(t.Context(), addOne(t)))
	link := keyset.File{Path: filepath.Join(t.TempDir(), "link.json"), Key: f.Key}
	require.NoError(t, os.Symlink(f.Path, link.Path))
	require.NoError(t, os.WriteFile(link.Path+".bak", []byte("{}"), 0o600))
	require.NoError(t, link.Update(t.Context(), nothing))
	require.FileExists(t, f.Path+".bak")
	require.FileExists(t, link.Path+".bak")

	old, err := os.ReadFile(f.Path + ".bak")
	require.NoError(t, err)
	require.NoError(t, f.Update(t.Context(), func(s *keyset.Set) error { return s.Revoke(s.Keys()[0].ID(), t0, "") }))
	require.NoError(t, os.WriteFile(f.Path+".bak", old, 0o600)) // by a crash
	require.NoError(t, link.Update(t.Context(), nothing))
	require.NoFileExists(t, f.Path+".bak")

	plain := rich(t, keyset.File{})
	require.NoError(t, os.WriteFile(plain.Path+".bak", old, 0o600))
	require.NoError(t, plain.Update(t.Context(), nothing))
	require.FileExists(t, plain.Path+".bak")
}

// What the next reader would refuse does not become the key file.
func TestWriteVerifies(t *testing.T) {
	for _, f := range []keyset.File{rich(t, keyset.File{}), rich(t, keyset.File{Key: random(32)})} {
		before := listing(t, f)
		err := f.Update(t.Context(), func(s *keyset.Set) error { keyset.BreakPolicy(s); return nil })
		require.ErrorContains(t, err, "verify: keys: policy: grace 1s is shorter")
		delete(before, "keys.json.lock")
		now := listing(t, f)
		delete(now, "keys.json.lock")
		require.Equal(t, before, now)

		s := newSet(t, generate(t, keyset.EdDSA))
		keyset.BreakPolicy(s)
		other := keyset.File{Path: filepath.Join(t.TempDir(), "other.json"), Key: f.Key}
		require.ErrorContains(t, other.Create(t.Context(), s), "verify: keys: policy: grace 1s is shorter")
		require.NoFileExists(t, other.Path)
	}
}

// A link that leads nowhere is there too.
func TestCreateAtADanglingLink(t *testing.T) {
	f := keyset.File{Path: filepath.Join(t.TempDir(), "keys.json")}
	require.NoError(t, os.Symlink("nowhere", f.Path))
	err := f.Create(t.Context(), newSet(t, generate(t, keyset.EdDSA)))
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, "there is a key file already, and it was not touched")
}

// What can't be read gets no lock file either.
func TestUpdateLeavesNothingWhereNothingIs(t *testing.T) {
	f := keyset.File{Path: filepath.Join(t.TempDir(), "keys.json")}
	require.ErrorIs(t, f.Update(t.Context(), addOne(t)), fs.ErrNotExist)
	require.Empty(t, listing(t, f))
}
