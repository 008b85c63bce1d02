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
)

// pipe returns a file descriptor, for keygen to close, from which a secret can be read once.
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

// A secret comes from a file, a variable or a descriptor, as a passphrase or as a key; the key file is opened with each of them.
func TestSecretsFromEverywhere(t *testing.T) {
	kek := bytes.Repeat([]byte{7, 200, 31, 99, 4, 5, 250, 17, 8, 9, 10, 11, 12, 13, 14, 15}, 2)
	for kind, secret := range map[string][]byte{"kek": kek, "passphrase": []byte("correct horse battery\n")} {
		path := filepath.Join(t.TempDir(), "keys.json")
		keygen := func(args ...string) {
			t.Helper()
			var stdout, stderr bytes.Buffer
			require.Equal(t, exitOK, run(append(args, "--keyset", path), strings.NewReader(""), &stdout, &stderr), "%s", &stderr)
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
		require.Equal(t, exitOK, run([]string{"list", "--keyset", path, "--" + kind + "-file", file}, nil, new(bytes.Buffer), &stderr))
		require.Contains(t, stderr.String(), "WARNING: others can read "+file+" (mode 0644); run: chmod 600")
		keygen("list", "--"+kind+"-env", "KEYGEN_TEST_SECRET")
		keygen("rewrap", "--"+kind+"-fd", pipe(t, secret), "--new-"+kind+"-fd", pipe(t, secret))
		keygen("rotate", "--if-due", "--"+kind+"-fd", pipe(t, secret))
	}
}
