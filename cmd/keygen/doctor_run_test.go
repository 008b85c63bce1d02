//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
)

// A lock file that another user left behind stops every change.
func TestDoctorLockOfAnother(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write to every file")
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	var out bytes.Buffer
	require.Equal(t, tool.ExitOK, run([]string{"init", "--keyset", path}, nil, &out, &out))
	require.NoError(t, os.Remove(path+".lock"))
	require.NoError(t, os.Symlink("nowhere", path+".lock"))
	require.Equal(t, tool.ExitRefused, run([]string{"doctor", "--keyset", path}, nil, &out, &out))
	require.Contains(t, out.String(), "it can't be locked; remove it")
	require.NotEqual(t, tool.ExitOK, run([]string{"add", "--alg", "EdDSA", "--keyset", path}, nil, &out, &out))
}

// A FIFO, a file that is too large, and a loop of links.
func TestDoctorOddFiles(t *testing.T) {
	dir := t.TempDir()
	look := func(path string) (code int, text string) {
		var out, stderr bytes.Buffer
		code = run([]string{"doctor", "--keyset", path}, nil, &out, &stderr)
		return code, out.String() + stderr.String()
	}
	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	code, text := look(pipe)
	require.Equal(t, tool.ExitDamaged, code)
	require.Contains(t, text, "neither a regular file nor a link to one")

	large := filepath.Join(dir, "large")
	require.NoError(t, os.WriteFile(large, []byte(strings.Repeat("x", 2<<20)), 0o600))
	code, text = look(large)
	require.Equal(t, tool.ExitDamaged, code)
	require.Contains(t, text, fmt.Sprintf("%d bytes; a key file of more than %d can't be written", 2<<20, 512<<10))

	loop := filepath.Join(dir, "loop")
	require.NoError(t, os.Symlink(loop, loop))
	code, text = look(loop)
	require.Equal(t, tool.ExitRefused, code)
	require.Contains(t, text, "it can't be looked at")
}

// A directory that can be written to and not listed is cleaned up too.
func TestDoctorCleansUp(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may list every directory")
	}
	dir := filepath.Join(t.TempDir(), "d")
	require.NoError(t, os.Mkdir(dir, 0o700))
	path := filepath.Join(dir, "keys.json")
	var out bytes.Buffer
	require.Equal(t, tool.ExitOK, run([]string{"init", "--keyset", path}, nil, &out, &out))
	require.NoError(t, os.Chmod(dir, 0o300))
	require.Equal(t, tool.ExitOK, run([]string{"doctor", "--keyset", path}, nil, &out, &out))
	require.NoError(t, os.Chmod(dir, 0o700))
	require.Contains(t, out.String(), "the directory can't be listed")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "the key file and its lock")
}

// Where another user owns the file, doctor says what package keys will say.
func TestDoctorAsAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	var out bytes.Buffer
	require.Equal(t, tool.ExitOK, run([]string{"init", "--keyset", path}, nil, &out, &out))
	require.NoError(t, os.Chown(path, 4242, 4242))
	out.Reset()
	require.Equal(t, tool.ExitRefused, run([]string{"doctor", "--keyset", path}, nil, &out, &out))
	require.Contains(t, out.String(), "user 4242, and this runs as user 0")
	require.Contains(t, out.String(), "not looked at, because the file is not safe")
	require.NoError(t, os.Rename(path, path+".bak"))
	require.Equal(t, tool.ExitOK, run([]string{"init", "--keyset", path}, nil, &out, &out))
	out.Reset()
	require.Equal(t, tool.ExitRefused, run([]string{"doctor", "--keyset", path, "--json"}, nil, &out, &out))
	require.Contains(t, out.String(), "belongs to user 4242")
}
