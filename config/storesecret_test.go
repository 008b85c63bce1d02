package config_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// shared returns an opener whose stores all have the same items.
func shared(t *testing.T) opaque.Opener {
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { memory.Close() })
	return opaque.Opener{
		Schemes: []string{"shelf"},
		Open: func(context.Context, *url.URL, opaque.OpenOptions) (opaque.Store, error) {
			return outside{memory}, nil
		},
	}
}

// outside hides that a store is in the process.
type outside struct{ opaque.Store }

// A secret is changed in three roll-outs, and nobody is logged out. An instance
// with another secret does not start.
func TestChangeOfTheSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.secret")
	old, next, wrong := secretOf('a'), secretOf('b'), secretOf('c')
	store := shared(t)
	start := func(secrets string) (*config.App, error) {
		require.NoError(t, os.WriteFile(path, []byte(secrets), 0o600))
		c := stored("shelf://h")
		c.Store.SecretEnv, c.Store.SecretFile = "", path
		return c.Build(with(store))
	}
	var credentials []*http.Cookie
	for _, secrets := range []string{old, old + "\n" + next + "\n", next + " " + old, next} {
		app, err := start(secrets)
		require.NoError(t, err)
		for _, credential := range credentials {
			if secrets != next {
				require.Equal(t, "alice", subjectOf(t, app, credential))
			}
		}
		credentials = append(credentials, login(t, app, "alice"))
		require.NoError(t, app.Close())
	}
	app, err := start(next)
	require.NoError(t, err)
	for i, subject := range []string{"", "", "alice", "alice"} {
		require.Equal(t, subject, subjectOf(t, app, credentials[i]), "session %d", i)
	}
	require.NoError(t, app.Close())
	for _, secrets := range []string{old, wrong, wrong + " " + old} {
		_, err = start(secrets)
		require.ErrorContains(t, err, `config: field "store.secret_file": none of the secrets is the one that the other`)
		require.NotContains(t, err.Error(), secrets)
	}
}

func TestSecretRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	good := file("good", secretOf('a'))
	for _, row := range []struct {
		name string
		in   config.StoreConfig
		want string
	}{
		{"none", config.StoreConfig{URL: "shelf://h"},
			`field "store.secret_file": is missing: the store is outside of this process, and whoever can write to it`},
		{"two", config.StoreConfig{URL: "shelf://h", SecretFile: good, SecretEnv: secretVariable},
			`field "store.secret_env": is a second place for the secret of one store`},
		{"memory", config.StoreConfig{SecretFile: good}, `field "store.secret_file": is for a store outside of this process`},
		{"memory:", config.StoreConfig{URL: "memory:", SecretEnv: secretVariable},
			`field "store.secret_env": is for a store outside of this process`},
		{"no file", config.StoreConfig{URL: "shelf://h", SecretFile: filepath.Join(dir, "none")}, `field "store.secret_file": open`},
		{"empty", config.StoreConfig{URL: "shelf://h", SecretFile: file("empty", "")}, `field "store.secret_file": it is empty`},
		{"blank", config.StoreConfig{URL: "shelf://h", SecretFile: file("blank", " \n\n")}, `field "store.secret_file": it is empty`},
		{"short", config.StoreConfig{URL: "shelf://h", SecretFile: file("short", secretOf('a')+"\nhunter2")},
			`field "store.secret_file": secret 2 in it is not 32 bytes in base64 or hexadecimal; make one with: openssl`},
		{"raw", config.StoreConfig{URL: "shelf://h", SecretFile: file("raw", strings.Repeat("x", 32))}, `secret 1 in it is not 32 bytes`},
		{"no variable", config.StoreConfig{URL: "shelf://h", SecretEnv: "SHOP_NONE"}, `variable SHOP_NONE is not set`},
		{"secret for a file", config.StoreConfig{URL: "shelf://h", SecretFile: secretOf('x')}, `field "store.secret_file": open the file that it names`},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := stored("")
			c.Store = row.in
			_, err := c.Build(with(shared(t)))
			require.ErrorContains(t, err, row.want)
			require.Len(t, strings.Split(err.Error(), "\n"), 1)
			require.NotContains(t, err.Error(), "hunter2")
			require.NotContains(t, err.Error(), secretOf('x'))
		})
	}
	require.NoError(t, os.Chmod(good, 0o644))
	c := stored("shelf://h")
	c.Store.SecretFile, c.Store.SecretEnv = good, ""
	_, err := c.Build(with(shared(t)))
	require.ErrorContains(t, err, `field "store.secret_file": the file with the secret is not safe`)
	_, err = config.Parse([]byte("store: {secret: hunter2}"))
	require.EqualError(t, err, `config: field "store.secret" is unknown; did you mean "store.secret_file"?`)
}

// A store that can't be asked says nothing about the secret.
func TestSecretIsNotBlamed(t *testing.T) {
	c := stored("")
	_, err := c.Build(config.Options{Store: broken{}})
	require.ErrorIs(t, err, session.Unavailable)
	require.NotContains(t, err.Error(), "secret_")
}

type broken struct{ opaque.Store }

func (broken) Get(context.Context, string) (opaque.Item, bool, error) {
	return opaque.Item{}, false, errors.New("down")
}
