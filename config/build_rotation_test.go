package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/durable"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/keys/rotation"
)

// An application that rotates its keys was not running for a year.
func TestBuildRotatesAfterALongStop(t *testing.T) {
	made := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, rotation.Create(t.Context(), keys.File{Path: path}, keys.Policy{}, made, keys.ES256, keys.Direct))
	now := made.AddDate(1, 0, 0)
	c := config.Config{Keys: config.KeysConfig{File: path}}
	_, err := c.Build(config.Options{Now: func() time.Time { return now }})
	require.ErrorContains(t, err, "run: keygen rotate --if-due")
	c.Keys.Rotate = true
	wrong := func(edit func(c *config.Config)) {
		c := c
		edit(&c)
		_, err := c.Build(config.Options{Now: func() time.Time { return now }})
		require.Error(t, err)
		set, err := keys.File{Path: path}.Read()
		require.NoError(t, err)
		require.EqualValues(t, 1, (*keyset.Set)(set).Generation(), "a start that fails changes nothing")
	}
	wrong(func(c *config.Config) { c.Mode = "nonsense" })
	wrong(func(c *config.Config) { c.Keys.Reload = config.Duration(time.Minute) })
	wrong(func(c *config.Config) {
		c.Session.IdleTimeout, c.Session.Lifetime = config.Duration(25*time.Hour), config.Duration(48*time.Hour)
	})
	wrong(func(c *config.Config) { c.Revocations.File = filepath.Join(t.TempDir(), "missing", "journal") })
	app, err := c.Build(config.Options{Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	_, err = app.Keys.Current(keys.Signature, now)
	require.NoError(t, err)
	require.NoError(t, app.Close())
}

// seldom is a policy by which keys sign for two days, and instances look at
// their file every hour.
func seldom() keys.Policy {
	return keys.Policy{ReloadInterval: time.Hour, Grace: 4 * time.Hour, RotationPeriod: 48 * time.Hour}
}

// A secret that can be read once, from a pipe, is enough for all that the
// application does with it.
func TestBuildRotatesWithASecretThatIsReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.json")
		kek := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255}, 2)
		require.NoError(t, rotation.Create(t.Context(), keys.File{Path: path, Key: kek}, seldom(), time.Now(), keys.ES256))
		r, w, err := os.Pipe()
		require.NoError(t, err)
		_, err = w.Write(kek)
		require.NoError(t, errors.Join(err, w.Close()))
		defer r.Close()
		c := rotating(path)
		c.Keys.KEKFile = fmt.Sprintf("/dev/fd/%d", r.Fd())
		app, err := c.Build(config.Options{Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		defer app.Close()
		time.Sleep(7 * 24 * time.Hour)
		synctest.Wait()
		_, err = app.Keys.Current(keys.Signature, time.Now())
		require.NoError(t, err)
	})
}

// An application that can't rotate its keys says so, and tries again.
func TestBuildReportsRotationsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.json")
		require.NoError(t, rotation.Create(t.Context(), keys.File{Path: path}, seldom(), time.Now(), keys.ES256, keys.Direct))
		var log lines
		app, err := rotating(path).Build(logTo(&log))
		require.NoError(t, err)
		defer app.Close()
		unlock, err := durable.Lock(t.Context(), path)
		require.NoError(t, err)
		time.Sleep(49 * time.Hour)
		synctest.Wait()
		require.Contains(t, log.String(), "keys could not be rotated; it is tried again")
		require.Contains(t, log.String(), "another process is changing the key file")
		require.NotContains(t, log.String(), "keys were rotated")
		require.NotContains(t, log.String(), "keys can be rotated again")
		require.NoError(t, unlock())
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Contains(t, log.String(), "keys were rotated")
		require.Contains(t, log.String(), "keys can be rotated again")
	})
}

// The process keeps its keys in rotation, and signs with the new ones without a
// restart.
func TestBuildRotates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.json")
		require.NoError(t, rotation.Create(t.Context(), keys.File{Path: path}, seldom(), time.Now(), keys.ES256, keys.Direct))
		var log lines
		app, err := rotating(path).Build(logTo(&log))
		require.NoError(t, err)
		defer app.Close()
		signers := make(map[string]bool)
		for range 7 {
			signer, err := app.Keys.Current(keys.Signature, time.Now())
			require.NoError(t, err)
			signers[signer.ID()] = true
			time.Sleep(24 * time.Hour) // of the bubble's clock
			synctest.Wait()
		}
		require.Len(t, signers, 4, "one for each two days")
		require.Empty(t, app.Keys.Health(time.Now()).Problems)
		require.Contains(t, log.String(), "keys were rotated")
		require.NotContains(t, log.String(), "level=ERROR")
	})
}
