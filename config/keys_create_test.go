package config_test

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/keys/rotation"
)

func creates(path string, mode config.Mode) config.Config {
	return config.Config{Mode: mode, Keys: config.KeysConfig{File: path, Create: true, Rotate: true},
		Revocations: config.RevocationsConfig{InsecureVolatile: true}}
}

// The first start makes the key file that keygen init makes, and says so; the
// next one takes it as it is.
func TestKeysAreCreatedAtTheFirstStart(t *testing.T) {
	for _, mode := range []config.Mode{config.Stateless, config.Auto, config.Opaque} {
		path := filepath.Join(t.TempDir(), "keys.json")
		var log lines
		o := logTo(&log)
		first, err := creates(path, mode).Build(o)
		require.NoError(t, err)
		require.Contains(t, log.String(), "made a key file, since there was none")
		require.Contains(t, log.String(), path)
		made, err := os.ReadFile(path)
		require.NoError(t, err)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode())
		cookie := login(t, first, "alice")
		require.NoError(t, first.Close())

		log.buf.Reset()
		second, err := creates(path, mode).Build(o)
		require.NoError(t, err)
		defer second.Close()
		require.NotContains(t, log.String(), "made a key file")
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, made, now)
		if mode != config.Opaque {
			require.Equal(t, "alice", subjectOf(t, second, cookie))
		}

		usual := keys.File{Path: filepath.Join(t.TempDir(), "usual.json")}
		require.NoError(t, rotation.Create(t.Context(), usual, keys.Policy{}, time.Now()))
		want, err := usual.Read()
		require.NoError(t, err)
		got := second.Keys.Set()
		require.Equal(t, want.Policy(), got.Policy())
		require.Len(t, got.Keys(), len(want.Keys()))
		for i, k := range got.Keys() {
			require.Equal(t, want.Keys()[i].Algorithm(), k.Algorithm())
		}
	}
}

// Their dates are those of the application's clock.
func TestKeysAreCreatedByTheClockOfTheApplication(t *testing.T) {
	for _, ahead := range []time.Duration{-1000 * time.Hour, 1000 * time.Hour} {
		o := config.Options{Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Now().Add(ahead) }}
		app, err := creates(filepath.Join(t.TempDir(), "keys.json"), config.Stateless).Build(o)
		require.NoError(t, err)
		defer app.Close()
		require.EqualValues(t, 1, app.Keys.Health(o.Now()).Generation)
		require.Equal(t, "alice", subjectOf(t, app, login(t, app, "alice")))
	}
}

// Of several instances that start at once one makes the file, and all have its
// keys.
func TestInstancesThatStartAtOnceCreateOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	var starting sync.WaitGroup
	apps, errs := make([]*config.App, 6), make([]error, 6)
	for i := range apps {
		starting.Go(func() {
			apps[i], errs[i] = creates(path, config.Stateless).Build(config.Options{Logger: slog.New(slog.DiscardHandler)})
		})
	}
	starting.Wait()
	for i, app := range apps {
		require.NoError(t, errs[i])
		defer app.Close()
		require.Equal(t, apps[0].Keys.Health(time.Now()).Signer, app.Keys.Health(time.Now()).Signer)
		require.EqualValues(t, 1, app.Keys.Health(time.Now()).Generation)
	}
	require.Equal(t, "alice", subjectOf(t, apps[5], login(t, apps[0], "alice")))
}

// A file is made only where it is asked for, is missing, and would be of use.
func TestKeysAreNotCreated(t *testing.T) {
	for _, row := range []struct {
		name, want string
		edit       func(t *testing.T, c *config.Config)
	}{
		{"not asked", "make one with: keygen init", func(_ *testing.T, c *config.Config) { c.Keys.Create = false }},
		{"another mistake", "will be made when the other mistakes are corrected", func(_ *testing.T, c *config.Config) { c.Mode = "nonsense" }},
		{"no path", "keys.file names none", func(_ *testing.T, c *config.Config) { c.Mode, c.Keys.File = config.Opaque, "" }},
		{"read by a group", "keys.create can't be combined with keys.insecure_group_readable", func(_ *testing.T, c *config.Config) { c.Keys.InsecureGroupReadable = true }},
		{"longer sessions", "run: keygen init --token-life 1d6h", func(_ *testing.T, c *config.Config) {
			c.Session.IdleTimeout, c.Session.Lifetime = config.Duration(30*time.Hour), config.Duration(60*time.Hour)
		}},
		{"a damaged file", "is damaged or was edited", func(t *testing.T, c *config.Config) {
			require.NoError(t, os.WriteFile(c.Keys.File, []byte("{"), 0o600))
		}},
		{"a link that leads nowhere", "or remove the link", func(t *testing.T, c *config.Config) {
			require.NoError(t, os.Symlink("nowhere", c.Keys.File))
		}},
		{"no directory", `missing/keys.json" is in a directory that doesn't exist: create it`, func(_ *testing.T, c *config.Config) { c.Keys.File += "/missing/keys.json" }},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			c := creates(path, config.Stateless)
			row.edit(t, &c)
			before, _ := os.ReadFile(path)
			app, err := c.Build(config.Options{Logger: slog.New(slog.DiscardHandler)})
			require.Nil(t, app)
			require.ErrorContains(t, err, row.want)
			after, _ := os.ReadFile(path)
			require.Equal(t, before, after)
		})
	}
}
