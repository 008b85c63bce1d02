package config_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/cloakroom-go/cloakroom/config"
)

// An application is what has sessions among other things.
type application struct {
	Addr     string        `json:"addr" yaml:"addr"`
	Sessions config.Config `json:"sessions" yaml:"sessions"`
}

// libraries decode an application's struct, each in its own way.
func libraries() map[string]func([]byte, any) error {
	return map[string]func([]byte, any) error{
		"encoding/json": json.Unmarshal,
		"yaml.v3":       yamlv3.Unmarshal,
		"goccy":         yaml.Unmarshal,
	}
}

func inEachLibrary(t *testing.T, f func(t *testing.T, unmarshal func([]byte, any) error)) {
	for name, unmarshal := range libraries() {
		t.Run(name, func(t *testing.T) { f(t, unmarshal) })
	}
}

// Whatever library decodes an application's struct, the part about sessions is
// read as Parse reads it.
func TestEmbedded(t *testing.T) {
	inEachLibrary(t, func(t *testing.T, unmarshal func([]byte, any) error) {
		var app application
		require.NoError(t,
			unmarshal([]byte(`{"addr": ":8080", "sessions": `+strings.ReplaceAll(wholeJSON, `\/`, "/")+`}`), &app))
		require.Equal(t, application{Addr: ":8080", Sessions: whole()}, app)
	})
}

// It is as strict as Parse, and names the field.
func TestEmbeddedRefused(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{`{"modus": "auto"}`, `config: field "modus" is unknown; did you mean "mode"?`},
		{`{"session": {"idle_timout": "20m"}}`, `config: field "session.idle_timout" is unknown; did you mean "session.idle_timeout"?`},
		{`{"session": {"idle_timeout": 20}}`, `config: field "session.idle_timeout": "20" has no unit; write 20s, 20m, 20h or 20d`},
		{`{"session": {"idle_timeout": "2h", "lifetime": "1h"}}`, `config: field "session.idle_timeout": 2h is longer than the lifetime of 1h: shorten it, or set session.lifetime to 2h or more`},
		{`{"token_memory": "64MB"}`, `config: field "token_memory": "64MB" is not a size`},
		{`{"store": {"max_sessions": "5"}}`, `config: field "store.max_sessions": must be a whole number, not 5`},
		{`{"session": {"persistent": "true"}}`, `config: field "session.persistent": must be true or false without quotes`},
		{`{"mode": "server"}`, `config: field "mode": "server" is not one of stateless, opaque, auto`},
		{`{"issuer": null}`, `config: field "issuer" is empty; give it a value, or leave it out for its default`},
		{`{"keys": {"kek_env": 12345}}`, `config: field "keys.kek_env": must be a text; put it in quotes`},
		{`{"cookie": ["a"]}`, `config: field "cookie": must be a mapping of fields, not a list`},
		{`"opaque"`, `config: the document must be a mapping`},
		{`{"mode": "opaque", "mode": "auto"}`, `already defined`},
	} {
		t.Run(row.in, func(t *testing.T) {
			inEachLibrary(t, func(t *testing.T, unmarshal func([]byte, any) error) {
				app := application{Sessions: config.Config{Issuer: "before", AcceptOtherForm: new(true)}}
				err := unmarshal([]byte(`{"sessions": `+row.in+`}`), &app)
				require.ErrorContains(t, err, row.want)
				require.NotContains(t, err.Error(), "12345", "it may be a secret")
				require.Equal(t, config.Config{Issuer: "before", AcceptOtherForm: new(true)}, app.Sessions, "nothing has changed")
			})
		})
	}
}

// Fields that are not named keep what they had, and nothing is written through
// pointers that were copied before.
func TestEmbeddedOverDefaults(t *testing.T) {
	inEachLibrary(t, func(t *testing.T, unmarshal func([]byte, any) error) {
		defaults := config.Config{Issuer: "shop", AcceptOtherForm: new(true),
			Session: config.SessionConfig{Lifetime: config.Duration(time.Hour)}}
		app := application{Sessions: defaults}
		require.NoError(t,
			unmarshal([]byte(`{"sessions": {"accept_other_form": false, "session": {"touch_every": "5s"}}}`), &app))
		require.Equal(t, config.Config{
			Issuer: "shop", AcceptOtherForm: new(false),
			Session: config.SessionConfig{Lifetime: config.Duration(time.Hour), TouchEvery: config.Duration(5 * time.Second)},
		}, app.Sessions)
		require.True(t, *defaults.AcceptOtherForm)
	})
}

func TestEmbeddedIsWrittenBack(t *testing.T) {
	app := application{Addr: ":8080", Sessions: config.Config{Mode: config.Auto, TokenMemory: 16 << 20}}
	out, err := json.Marshal(app)
	require.NoError(t, err)
	require.JSONEq(t, `{"addr":":8080","sessions":{"mode":"auto","token_memory":"16MiB"}}`, string(out),
		"what has its default is left out")
}
