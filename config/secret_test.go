package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
)

// People write the secret itself where the name of a file or of a variable
// belongs: no error repeats it, whatever reads the config.
func TestSecretsInPlaceOfNames(t *testing.T) {
	path := keyFile(t)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	unsaid := func(secret string, c config.Config) {
		t.Helper()
		for _, mode := range []config.Mode{config.Stateless, config.Opaque, config.Auto} {
			c.Mode = mode
			app, err := c.Build(config.Options{})
			require.Nil(t, app)
			require.Error(t, err)
			require.NotContains(t, err.Error(), secret)
			require.NotContains(t, err.Error(), strings.TrimSpace(secret)[1:9], "nor a piece of it")
		}
	}
	for _, secret := range []string{
		"hunter2hunter2", "correct horse battery", "CORRECTHORSE", "B8gfYwQF+hEICQoLDA0ODwfIH2MEBfoRCAkKCwwNDg8=",
		"/8gfYwQF+hEICQoLDA0ODwfIH2MEBfoRCAkKCwwNDg8=",
		"07c81f630405fa1108090a0b0c0d0e0f07c81f630405fa1108090a0b0c0d0e0f", strings.Repeat("hunter2", 100),
	} {
		unsaid(secret, config.Config{Keys: config.KeysConfig{File: path, KEKEnv: secret}})
		unsaid(secret, config.Config{Keys: config.KeysConfig{File: path, KEKFile: secret}})
		unsaid(secret, config.Config{Keys: config.KeysConfig{File: path, PassphraseEnv: secret}})
		unsaid(secret, config.Config{Keys: config.KeysConfig{File: path, PassphraseFile: secret}})
	}
	for _, secret := range []string{string(content), "eyJhbGciOiJkaXIifQ.a.b.c.d"} {
		unsaid(secret, config.Config{Keys: config.KeysConfig{File: secret}})
	}
	_, err = config.Config{Keys: config.KeysConfig{File: path, KEKEnv: "SHOP_KEK"}}.Build(config.Options{})
	require.ErrorContains(t, err, "variable SHOP_KEK is not set", "what looks like a name is said")
	_, err = config.Config{Keys: config.KeysConfig{File: path, KEKFile: "/run/secrets/kek"}}.Build(config.Options{})
	require.ErrorContains(t, err, "/run/secrets/kek")
}

func TestSecretsInADocument(t *testing.T) {
	for _, value := range []string{"*hunter2", "!!bool hunter2", "867530986753", "8675309.5", "[hunter2]", "{hunter2: 1}",
		"!!int 8675309x", "@hunter2", "`hunter2`", "'hunter2", `"hunter2\q"`} {
		_, err := config.Parse([]byte("keys:\n  kek_env: " + value + "\n"))
		require.Error(t, err, "%s", value)
		require.NotContains(t, err.Error(), "hunter2")
		require.NotContains(t, err.Error(), "8675309")
	}
	for _, document := range []string{
		"keys: hunter2", "keys: 8675309", "keys: 8675309.5", "keys: |\n  hunter2",
		"cross_origin: {trusted: 'https://shop:hunter2@a.example'}",
		"cross_origin: {trusted: ['https://shop:hunter2@a.example']}",
		"cross_origin: {trusted: ['https://shop:hunter2%@a.example']}",
		"cross_origin: {trusted: ['https://shop:hunter2@*.example']}",
		"cross_origin: {trusted: ['https://shop:hunter2@a@b.example']}",
	} {
		_, err := config.Parse([]byte(document))
		require.Error(t, err, "%s", document)
		require.NotContains(t, err.Error(), "hunter2")
		require.NotContains(t, err.Error(), "8675309")
	}
}
