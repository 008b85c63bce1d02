//go:build unix

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
)

// pipe returns a file descriptor, for keygen to close, from which a secret can
// be read once.
func pipe(t *testing.T, secret []byte) string {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	_, err = w.Write(secret)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	fd, err := syscall.Dup(int(r.Fd()))
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return strconv.Itoa(fd)
}

// A secret, a passphrase or a key, comes from a file, a variable or a
// descriptor. Each of them opens the key file.
func TestSecretsFromEverywhere(t *testing.T) {
	kek := bytes.Repeat([]byte{7, 200, 31, 99, 4, 5, 250, 17, 8, 9, 10, 11, 12, 13, 14, 15}, 2)
	for kind, secret := range map[string][]byte{"kek": kek, "passphrase": []byte("correct horse battery\n")} {
		path := filepath.Join(t.TempDir(), "keys.json")
		keygen := func(args ...string) {
			t.Helper()
			var stdout, stderr bytes.Buffer
			code := run(append(args, "--keyset", path), strings.NewReader(""), &stdout, &stderr)
			require.Equal(t, tool.ExitOK, code, "%s", &stderr)
		}
		file := filepath.Join(t.TempDir(), "secret")
		require.NoError(t, os.WriteFile(file, secret, 0o600))
		t.Setenv("KEYGEN_TEST_SECRET", string(bytes.TrimSpace(secret)))
		if kind == "kek" { // a variable holds no arbitrary bytes
			t.Setenv("KEYGEN_TEST_SECRET", "B8gfYwQF+hEICQoLDA0ODwfIH2MEBfoRCAkKCwwNDg8=")
		}
		keygen("init", "--new-"+kind+"-fd", pipe(t, secret))
		keygen("list", "--"+kind+"-fd", pipe(t, secret))
		keygen("list", "--"+kind+"-file", file)
		require.NoError(t, os.Chmod(file, 0o644))
		var stderr bytes.Buffer
		require.Equal(t, tool.ExitRefused, run([]string{"list", "--keyset", path, "--" + kind + "-file", file}, nil,
			new(bytes.Buffer), &stderr), "as the application")
		require.Contains(t, stderr.String(), "others can use "+file+" (mode 0644); run: chmod 600")
		require.NoError(t, os.Chmod(file, 0o640))
		keygen("list", "--"+kind+"-file", file)
		keygen("list", "--"+kind+"-env", "KEYGEN_TEST_SECRET")
		keygen("encrypt", "--"+kind+"-fd", pipe(t, secret), "--new-"+kind+"-fd", pipe(t, secret))
		keygen("rotate", "--if-due", "--"+kind+"-fd", pipe(t, secret))
	}
}

// People write the secret itself where the name of a file, of a variable or a
// number belongs.
func TestSecretsInPlaceOfNames(t *testing.T) {
	key := filepath.Join(t.TempDir(), "keys.json")
	require.Equal(t, tool.ExitOK, run([]string{"init", "--keyset", key}, nil, new(bytes.Buffer), new(bytes.Buffer)))
	text, err := os.ReadFile(key)
	require.NoError(t, err)
	secrets := []string{"hunter2hunter2", "B8gfYwQF+hEICQoLDA0ODwfIH2MEBfoRCAkKCwwNDg8=",
		"/8gfYwQF+hEICQoLDA0ODwfIH2MEBfoRCAkKCwwNDg8=", "CORRECTHORSE", "-5"}
	content := []string{string(text), "-----BEGIN PRIVATE KEY-----\nhunter2\n", "eyJhbGciOiJkaXIifQ.a.b.c.d"}
	refused := func(secret string, args ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		require.NotEqual(t, tool.ExitOK, run(args, strings.NewReader(""), &stdout, &stderr))
		require.NotContains(t, stdout.String()+stderr.String(), strings.TrimSpace(secret), "%q", args)
		require.NotContains(t, stdout.String()+stderr.String(), "hunter2", "%q", args)
	}
	for _, secret := range secrets {
		for _, kind := range []string{"passphrase", "kek"} {
			for _, from := range []string{"file", "env", "fd"} {
				refused(secret, "list", "--keyset", key, "--"+kind+"-"+from+"="+secret)
				refused(secret, "encrypt", "--keyset", key, "--new-"+kind+"-"+from+"="+secret)
				refused(secret, "doctor", "--keyset", key, "--"+kind+"-"+from+"="+secret)
			}
		}
	}
	for _, secret := range content {
		refused(secret, "list", "--keyset", secret)
		refused(secret, "doctor", "--keyset", secret)
		refused(secret, "init", "--keyset", secret)
		refused(secret, "import", "--keyset", key, secret)
		refused(secret, "import", "--keyset", key, key, "--import-passphrase-file", secret)
		refused(secret, "thumbprint", "--keyset", key, secret)
		refused(secret, "diff", secret)
		refused(secret, "token", "verify", "--keyset", key, secret)
		t.Setenv("CLOAKROOM_KEYSET", strings.ReplaceAll(secret, "\x00", ""))
		refused(secret, "check")
	}
}
