package config_test

import (
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// Good news of the keys is in the log too: a file that was reloaded, a key that
// signs or encrypts from now on, a problem that is over.
func TestNewsOfTheKeys(t *testing.T) {
	for _, mode := range []config.Mode{config.Stateless, config.Auto, config.Opaque} {
		synctest.Test(t, func(t *testing.T) {
			path := keyFile(t)
			var log lines
			said := func(level, text string) int {
				n := 0
				for line := range strings.Lines(log.String()) {
					if strings.Contains(line, "level="+level) && strings.Contains(line, text) {
						n++
					}
				}
				return n
			}
			c := config.Config{Mode: mode, Issuer: "https://shop.example", Keys: config.KeysConfig{File: path}}
			app, err := c.Build(logTo(&log))
			require.NoError(t, err)
			defer app.Close()
			time.Sleep(time.Hour)
			require.Empty(t, log.String(), "no news")

			later := keys.Dates{SignFrom: time.Now().Add(time.Hour)}
			sign, enc := newKey(t, keys.EdDSA, later), newKey(t, keys.Direct, later)
			require.NoError(t, keyset.File{Path: path}.Update(t.Context(), func(s *keyset.Set) error {
				require.NoError(t, s.Add((*keyset.Key)(sign)))
				return s.Add((*keyset.Key)(enc))
			}))
			time.Sleep(2 * time.Minute)
			require.Equal(t, 1, said("INFO", "the key file was reloaded"))
			require.Equal(t, 1, said("INFO", "generation=2"))
			require.Zero(t, said("INFO", "from now on"))
			time.Sleep(time.Hour)
			require.Equal(t, 1, said("INFO", `"another key signs from now on" kid=`+sign.ID()))
			require.Equal(t, 1, said("INFO", `"another key encrypts from now on" kid=`+enc.ID()))

			good, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
			time.Sleep(2 * time.Minute)
			require.NotZero(t, said("ERROR", "something is wrong with the keys"))
			require.Zero(t, said("INFO", "is over"))
			require.NoError(t, os.WriteFile(path, good, 0o600))
			time.Sleep(time.Hour)
			require.Equal(t, 1, said("INFO", "a problem with the keys is over"))
			require.Equal(t, 1, said("INFO", "the key file was reloaded"), "it is as it was")

			require.NoError(t, keyset.File{Path: path}.Update(t.Context(), func(s *keyset.Set) error {
				for _, k := range s.Keys() {
					require.NoError(t, s.Revoke(k.ID(), time.Now(), ""))
				}
				return nil
			}))
			time.Sleep(time.Hour)
			require.Equal(t, 2, said("INFO", "from now on"), "none is no other one")
		})
	}
}

// The process stood still for longer than the grace of the keys: the first
// login afterwards works.
func TestLoginAfterAStandstill(t *testing.T) {
	for _, mode := range []config.Mode{config.Stateless, config.Auto, config.Opaque} {
		synctest.Test(t, func(t *testing.T) {
			var stood atomic.Int64 // the App reads its clock in the background, too
			o := config.Options{Now: func() time.Time { return time.Now().Add(time.Duration(stood.Load())) },
				Logger: slog.New(slog.DiscardHandler)}
			app, err := config.Config{Mode: mode, Keys: config.KeysConfig{File: keyFile(t)}}.Build(o)
			require.NoError(t, err)
			defer app.Close()
			time.Sleep(time.Minute)
			stood.Store(int64(3 * time.Hour))
			require.Equal(t, "alice", subjectOf(t, app, login(t, app, "alice")))
			require.Empty(t, app.Keys.Health(o.Now()).Problems)
		})
	}
}

// Keys that the program puts into the ring have no policy that says how often
// to look at the file. While that can't be read, the App must not look without
// a pause.
func TestReplacedKeysAreWatchedAtIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := keyFile(t)
		var asked atomic.Int64
		o := config.Options{Logger: slog.New(slog.DiscardHandler), Now: func() time.Time {
			if asked.Add(1) > 10_000 {
				time.Sleep(time.Hour) // lets the test end
			}
			return time.Now()
		}}
		app, err := config.Config{Mode: config.Opaque, Keys: config.KeysConfig{File: path}}.Build(o)
		require.NoError(t, err)
		defer app.Close()
		require.NoError(t, os.Remove(path))
		require.NoError(t, app.Keys.Replace(newKey(t, keys.EdDSA, keys.Dates{})))
		time.Sleep(5 * time.Minute)
		require.Less(t, asked.Load(), int64(100))
	})
}
