package durable_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/durable"
)

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	unlock, err := durable.Lock(ended(), path) // tries once
	require.NoError(t, err)
	requireFile(t, path+".lock", "", 0o600)

	_, err = durable.Lock(ended(), path)
	require.ErrorIs(t, err, durable.ErrLocked)
	require.ErrorIs(t, err, context.Canceled)

	other, err := durable.Lock(ended(), filepath.Join(dir, "g"))
	require.NoError(t, err, "another file has its own lock")
	require.NoError(t, other())

	require.NoError(t, unlock())
	unlock, err = durable.Lock(ended(), path)
	require.NoError(t, err)
	require.NoError(t, unlock())
}

func TestLockWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	synctest.Test(t, func(t *testing.T) {
		unlock, err := durable.Lock(t.Context(), path)
		require.NoError(t, err)
		got := make(chan error, 1)
		go func() {
			second, err := durable.Lock(context.Background(), path)
			if err == nil {
				err = second()
			}
			got <- err
		}()
		time.Sleep(time.Second)
		require.Empty(t, got, "locked twice")
		require.NoError(t, unlock())
		require.NoError(t, <-got)
	})
}

func TestLockGivesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	synctest.Test(t, func(t *testing.T) {
		unlock, err := durable.Lock(t.Context(), path)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err = durable.Lock(ctx, path)
		require.ErrorIs(t, err, durable.ErrLocked)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		require.NoError(t, unlock())
	})
}

func TestLockIsSharedThroughLinks(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "f"), filepath.Join(dir, "link")
	put(t, path, "", 0o600)
	require.NoError(t, os.Symlink("f", link))
	unlock, err := durable.Lock(ended(), path)
	require.NoError(t, err)
	_, err = durable.Lock(ended(), link)
	require.ErrorIs(t, err, durable.ErrLocked)
	require.NoError(t, unlock())
}

// A tidy job removes the lock file while somebody waits for it. He gets the
// lock of the file that is there by then.
func TestLockOfARemovedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	unlock, err := durable.Lock(t.Context(), path)
	require.NoError(t, err)
	second := make(chan func() error, 1)
	go func() {
		unlock, err := durable.Lock(t.Context(), path)
		if err != nil {
			t.Error(err)
		}
		second <- unlock
	}()
	require.NoError(t, os.Remove(path+".lock"))
	require.NoError(t, unlock())
	unlock = <-second
	_, err = durable.Lock(ended(), path)
	require.ErrorIs(t, err, durable.ErrLocked)
	require.NoError(t, unlock())

	held := flock.New(path + ".lock")
	ok, err := held.TryLock()
	require.NoError(t, err)
	require.True(t, ok && durable.StillThere(held))
	require.NoError(t, held.Unlock())
	removed := func() { require.NoError(t, os.Remove(path+".lock")) }
	replaced := func() { removed(); require.NoError(t, os.WriteFile(path+".lock", nil, 0o600)) }
	for _, change := range []func(){removed, replaced} {
		ok, err = held.TryLock()
		require.NoError(t, err)
		require.True(t, ok)
		change()
		require.False(t, durable.StillThere(held))
		require.NoError(t, held.Unlock())
	}
}

// Somebody who can write to the directory makes the lock file a link to a file
// of ours.
func TestLockDoesNotFollowLinks(t *testing.T) {
	dir := t.TempDir()
	for _, target := range []string{"victim", "nowhere"} {
		path := filepath.Join(dir, "to-"+target)
		put(t, filepath.Join(dir, "victim"), "", 0o600)
		require.NoError(t, os.Symlink(target, path+".lock"))
		_, err := durable.Lock(ended(), path)
		require.ErrorContains(t, err, "remove it")
		require.NotErrorIs(t, err, durable.ErrLocked)
		require.NoFileExists(t, filepath.Join(dir, "nowhere"))
	}
}

func TestLockFails(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "f.lock"), 0o700))
	for _, name := range []string{"missing/f", "dangling", "f"} {
		path := filepath.Join(dir, name)
		_, err := durable.Lock(t.Context(), path)
		require.ErrorContains(t, err, "durable: lock "+path+": ")
		require.NotErrorIs(t, err, durable.ErrLocked)
	}
}
