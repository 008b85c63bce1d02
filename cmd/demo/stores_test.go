package main

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
)

// Whatever the build tags, every store of ours can be named, and one that is
// not built in says how to build it.
func TestStores(t *testing.T) {
	var schemes []string
	for _, o := range stores() {
		schemes = append(schemes, o.Schemes...)
	}
	require.ElementsMatch(t, []string{"memcache", "redis", "rediss", "postgres", "postgresql", "mysql", "sqlite"}, schemes)
	c := config.Config{Mode: config.Opaque, Store: config.StoreConfig{URL: "sqlite:sessions.db"},
		Revocations: config.RevocationsConfig{InsecureVolatile: true}}
	_, err := c.Build(config.Options{Stores: notBuiltIn("sqlite", "sqlite"), Logger: slog.New(slog.DiscardHandler)})
	require.EqualError(t, err, `config: field "store.url": names a store that this demo was built without, `+
		`because it takes long to compile; run: go run -tags sqlite ./cmd/demo -store sqlite:…`)
}

func TestStoreFlag(t *testing.T) {
	for _, row := range []struct {
		args    string
		environ []string
		mode    config.Mode
		store   config.StoreURL
	}{
		{"", nil, config.Stateless, ""},
		{"-store memcache://h", nil, config.Opaque, "memcache://h"},
		{"-store memcache://h -mode auto", nil, config.Auto, "memcache://h"},
		{"-store memcache://h", []string{"CLOAKROOM_MODE=stateless", "CLOAKROOM_STORE_URL=redis://h"}, config.Stateless, "memcache://h"},
		{"", []string{"CLOAKROOM_STORE_URL=redis://h"}, config.Stateless, "redis://h"},
	} {
		o, err := parse(strings.Fields(row.args), nil, nil)
		require.NoError(t, err)
		o.environ = row.environ
		c, err := o.sessions()
		require.NoError(t, err)
		require.Equal(t, row.mode, c.Mode, row.args)
		require.Equal(t, row.store, c.Store.URL, row.args)
	}
}

// The secret of a store is made once, and not if the config names one.
func TestSecretOfTheStore(t *testing.T) {
	dir := t.TempDir()
	made := filepath.Join(dir, "demo-store.secret")
	for _, s := range []config.StoreConfig{
		{}, {URL: "memory:"}, {URL: "a://h", SecretFile: "x"}, {URL: "a://h", SecretEnv: "X"},
	} {
		c := config.Config{Keys: config.KeysConfig{File: filepath.Join(dir, "keys.json")}, Store: s}
		require.NoError(t, makeSecret(&c))
		require.Equal(t, s, c.Store)
		require.NoFileExists(t, made)
	}
	c := config.Config{Keys: config.KeysConfig{File: filepath.Join(dir, "keys.json")}}
	var texts [2]string
	for i := range texts {
		c.Store = config.StoreConfig{URL: "a://h"}
		require.NoError(t, makeSecret(&c))
		require.Equal(t, made, c.Store.SecretFile)
		text, err := os.ReadFile(made)
		require.NoError(t, err)
		require.Len(t, text, 45)
		texts[i] = string(text)
	}
	require.Equal(t, texts[0], texts[1])
	info, err := os.Stat(made)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	c.Store, c.Keys.File = config.StoreConfig{URL: "a://h"}, filepath.Join(dir, "none", "keys.json")
	require.ErrorIs(t, makeSecret(&c), fs.ErrNotExist)
}

// A password in the flag is printed nowhere.
func TestStoreFlagIsNotRepeated(t *testing.T) {
	for _, u := range []string{"redis://u:12/hunter2@h", "hunter2", "memcache://u:hunter2@localhost"} {
		out := newOutput()
		o, err := parse([]string{"-store", u, "-keys", newKeyPath(t)}, nil, out)
		require.NoError(t, err)
		err = serve(t.Context(), o, out)
		require.ErrorContains(t, err, `config: field "store.url"`)
		require.NotContains(t, err.Error()+out.String(), "hunter2")
	}
}
