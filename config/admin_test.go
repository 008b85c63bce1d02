package config_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// An indexedStore has all that a list of sessions needs. It counts what is
// written into it, except by the index.
type indexedStore struct {
	loggedStore
	devices.Index
	memory *opaque.MemoryStore
	writes *atomic.Int64
}

func newIndexedStore(t *testing.T) indexedStore {
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { memory.Close() })
	logged := loggedStore{memory, new(atomic.Bool), new(atomic.Bool), new(atomic.Int64)}
	return indexedStore{logged, devices.NewMemory(nil), memory, new(atomic.Int64)}
}

func (s indexedStore) Headers(ctx context.Context, keys []string) ([]opaque.Item, error) {
	return s.memory.Headers(ctx, keys)
}

func (s indexedStore) Create(ctx context.Context, key string, it opaque.Item) error {
	s.writes.Add(1)
	return s.memory.Create(ctx, key, it)
}

func (s indexedStore) Swap(ctx context.Context, key string, version uint64, it opaque.Item) (bool, error) {
	s.writes.Add(1)
	return s.memory.Swap(ctx, key, version, it)
}

// A program beside the application lists and ends its sessions. It writes
// nothing by itself, neither into the store nor on the disk.
func TestBuildAdmin(t *testing.T) {
	for _, mode := range []config.Mode{config.Opaque, config.Stateless} {
		t.Run(string(mode), func(t *testing.T) {
			store := newIndexedStore(t)
			c := config.Config{
				Mode: mode, Devices: config.DevicesConfig{Enabled: true},
				Keys:  config.KeysConfig{File: filepath.Join(t.TempDir(), "keys.json"), Create: true, Rotate: true},
				Store: config.StoreConfig{SecretEnv: secretVariable},
			}
			admin := func() *config.App {
				a, err := c.BuildAdmin(config.Options{Store: store})
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, a.Close()) })
				return a
			}
			a := admin()
			require.Nil(t, a.Middleware)
			require.Zero(t, store.writes.Load())
			files, err := os.ReadDir(filepath.Dir(c.Keys.File))
			require.NoError(t, err)
			require.Empty(t, files)

			app := build(t, c, config.Options{Store: store})
			require.Eventually(t, func() bool { return app.Ready(t.Context()) == nil }, 5*time.Second, time.Millisecond)
			login(t, app, "alice")
			cookie := login(t, app, "alice")
			before := store.writes.Load()
			a = admin()
			require.ElementsMatch(t, idsOf(t, app, "alice"), idsOf(t, a, "alice"))
			require.NoError(t, a.Devices.End(t.Context(), "alice", idOf(t, app, cookie)))
			require.Len(t, idsOf(t, app, "alice"), 1)
			require.NoError(t, a.Revocations.EndSubject(t.Context(), "alice"))
			require.Empty(t, idsOf(t, app, "alice"))
			require.Equal(t, before, store.writes.Load())
		})
	}
}

// Where a program beside the application could end nothing, it says so.
func TestBuildAdminRefuses(t *testing.T) {
	server := stored("shelf://h")
	server.Revocations = config.RevocationsConfig{}
	volatile := server
	volatile.Revocations.InsecureVolatile = true
	for _, row := range []struct {
		name string
		in   config.Config
		want string
	}{
		{"no store", config.Config{}, `field "store.url": names no store outside of the application`},
		{"in memory", config.Config{Store: config.StoreConfig{URL: "memory:"}}, `field "store.url": names no store outside`},
		{"no log", server, `field "store.url": names a store without a log of what has ended`},
		{"volatile", volatile, `field "revocations.insecure_volatile": is set: the application does not read`},
		{"mistake", config.Config{Mode: "x"}, `"x" is not one of stateless, opaque, auto`},
	} {
		t.Run(row.name, func(t *testing.T) {
			a, err := row.in.BuildAdmin(with(shared(t)))
			require.ErrorContains(t, err, row.want)
			require.Nil(t, a)
		})
	}
}

// With a log that can't be read or written, an end fails.
func TestBuildAdminReportsTheLog(t *testing.T) {
	store := newIndexedStore(t)
	store.unread.Store(true)
	a, err := config.Config{}.BuildAdmin(config.Options{Store: store, Logger: logTo(new(lines)).Logger})
	require.NoError(t, err)
	require.Nil(t, a.Devices)
	require.ErrorIs(t, a.Revocations.EndSubject(t.Context(), "alice"), session.Unavailable)
	require.NoError(t, a.Close())
}
