package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// A broken writer fails, as on a full disk.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// If the redirected output was lost, keygen fails and says so.
func TestFailedWrites(t *testing.T) {
	for _, args := range []string{"help", "--help", "--version", "list --help", "help list", "completion bash",
		"completion zsh", "completion fish", "completion powershell"} {
		var stderr bytes.Buffer
		require.Equal(t, tool.ExitError, run(strings.Fields(args), nil, broken{}, &stderr), args)
		require.Contains(t, stderr.String(), "no space left", args)
		require.NotContains(t, stderr.String(), "keygen help", args)
	}
}

// After a typing error, keygen names similar commands and the help.
func TestHintsAfterWrongUsage(t *testing.T) {
	for args, want := range map[string]string{
		"rotat": "keygen: unknown command \"rotat\" for \"keygen\"\nkeygen: \nkeygen: Did you mean this?\n" +
			"keygen:   rotate\nRun \"keygen help\" for the commands.\n",
		"help foo":    "keygen: unknown command \"foo\" for \"keygen\"\nRun \"keygen help\" for the commands.\n",
		"--foo":       "keygen: unknown flag: --foo\nRun \"keygen help\" for the commands.\n",
		"rotate --if": "keygen: unknown flag: --if\nRun \"keygen help rotate\" for its usage.\n",
		"token decode a b": "keygen: token decode takes one argument, and there are 2\n" +
			"Run \"keygen help token decode\" for its usage.\n",
	} {
		var stderr bytes.Buffer
		require.Equal(t, tool.ExitUsage, run(strings.Fields(args), nil, io.Discard, &stderr), args)
		require.Equal(t, want, stderr.String(), args)
	}
}

func TestFailedWritesOfCommands(t *testing.T) {
	dir := t.TempDir()
	path, old, jwt := filepath.Join(dir, "keys.json"), filepath.Join(dir, "old.json"), filepath.Join(dir, "token")
	for _, at := range []string{path, old} {
		args := []string{"init", "--at", "-3d", "--write-at", "--keyset", at}
		require.Equal(t, tool.ExitOK, run(args, nil, io.Discard, io.Discard))
	}
	set, err := keyset.File{Path: path}.Read()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(jwt, []byte(sign((*keys.Key)(set.Keys()[0]), map[string]any{"sub": "alice"})), 0o600))
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	names := strings.NewReplacer("KID", "-- "+set.Keys()[0].ID(), "NEXT", "-- "+set.Keys()[1].ID(),
		"OLD", old, "FILE", jwt, "DIR", dir, "URL", server.URL)
	for _, args := range []string{
		"version", "list", "list --all --json", "list KID", "plan", "plan --format svg", "plan --format html", "check",
		"check --at +90d", "diff OLD", "doctor", "policy",
		"policy --token-life 1h --dry-run", "export", "export --format pem", "export --format jwk KID", "export --private",
		"export --private --format pem",
		"thumbprint", "thumbprint --json", "thumbprint KID", "token decode FILE", "token decode --format table FILE",
		"token explain FILE", "token explain --json FILE",
		"add --alg EdDSA --dry-run", "rotate --dry-run", "rotate --if-due --at +40d --dry-run", "promote --dry-run NEXT",
		"retire --dry-run KID", "revoke --dry-run KID",
		"revoke --all --dry-run --json", "init --keyset DIR/new.json", "jwks check --polls 1 URL",
		"jwks check --polls 1 --json URL",
	} {
		var stderr bytes.Buffer
		all := append([]string{"--keyset", path}, strings.Fields(names.Replace(args))...)
		require.Equal(t, tool.ExitError, run(all, nil, broken{}, &stderr), "%s: %s", args, &stderr)
		require.Contains(t, stderr.String(), "no space left", args)
	}
}

// Commands that handle secrets have an example and a long help, in lines of a
// terminal.
func TestProtectHelp(t *testing.T) {
	root := root(tool.New(strings.NewReader(""), io.Discard, io.Discard), io.Discard)
	for _, name := range []string{"export", "import", "encrypt", "decrypt", "thumbprint"} {
		cmd, _, err := root.Find([]string{name})
		require.NoError(t, err)
		require.NotEmpty(t, cmd.Example, name)
		require.Greater(t, len(cmd.Long), 200, name)
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
			require.LessOrEqual(t, len(strings.TrimSuffix(line, "\n")), 80, "%s: %s", name, line)
		}
	}
}
