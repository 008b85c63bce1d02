//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// A bench is a directory with a key file that rotate could change.
type bench struct {
	dir, path string
	secret    []string // flags
}

func newBench(t *testing.T, f keyset.File, secret ...string) *bench {
	b := &bench{dir: t.TempDir(), secret: secret}
	b.path = filepath.Join(b.dir, "keys.json")
	set, err := rotation.New(keyset.Policy{}, time.Now().Add(-24*time.Hour), keyset.ES256, keyset.Direct)
	require.NoError(t, err)
	f.Path = b.path
	require.NoError(t, f.Create(context.Background(), set))
	require.NoError(t, os.Remove(b.path+".lock"))
	return b
}

// refuses runs commands that read and that write, and checks how they end, what
// they say, and that they change nothing.
func (b *bench) refuses(t *testing.T, code int, want string) {
	t.Helper()
	before := b.snapshot(t)
	for _, args := range [][]string{{"list"}, {"rotate"}, {"rotate", "--if-due"}} {
		var stdout, stderr bytes.Buffer
		got := run(append(append(args, "--keyset", b.path), b.secret...), strings.NewReader(""), &stdout, &stderr)
		require.Equal(t, code, got, "%v: %s", args, &stderr)
		require.Contains(t, stderr.String(), want)
		require.NotContains(t, stderr.String(), "hunter2", "what was given in place of a name may be the secret")
		require.Empty(t, stdout.String())
	}
	require.Equal(t, before, b.snapshot(t))
}

// snapshot describes every file of the directory but the lock.
func (b *bench) snapshot(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	entries, err := os.ReadDir(b.dir)
	require.NoError(t, err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".lock") {
			continue
		}
		info, err := os.Lstat(filepath.Join(b.dir, e.Name()))
		require.NoError(t, err)
		all[e.Name()] = info.Mode().String()
		if info.Mode().IsRegular() && info.Size() < 1<<20 {
			content, err := os.ReadFile(filepath.Join(b.dir, e.Name()))
			require.NoError(t, err)
			all[e.Name()] += string(content)
		}
	}
	return all
}

func TestWrongFiles(t *testing.T) {
	for _, row := range []struct {
		name, want string
		code       int
		spoil      func(t *testing.T, path string)
	}{
		{"missing", "make one with: keygen init", tool.ExitNotFound, func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }},
		{"empty", "the file is empty", tool.ExitDamaged, func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) }},
		{"truncated", "restore it from a backup", tool.ExitDamaged, func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 700)) }},
		{"1 GB", "larger than 1 MiB", tool.ExitDamaged, func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 1<<30)) }},
		{"directory", "is a directory", tool.ExitDamaged, func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Mkdir(path, 0o700))
		}},
		{"FIFO", "not a regular file", tool.ExitDamaged, func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, syscall.Mkfifo(path, 0o600))
		}},
		{"others can read it", "chmod 600", tool.ExitRefused, func(t *testing.T, path string) { require.NoError(t, os.Chmod(path, 0o640)) }},
		{"another owner", "belongs to user 12345", tool.ExitRefused, func(t *testing.T, path string) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a file away")
			}
			require.NoError(t, os.Chown(path, 12345, -1))
		}},
		{"a PEM file", "keygen import", tool.ExitDamaged, func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, []byte("-----BEGIN PRIVATE KEY-----\n"), 0o600))
		}},
		{"a link that leads nowhere", "", tool.ExitNotFound, func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Symlink("nowhere", path))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t, keyset.File{})
			row.spoil(t, b.path)
			b.refuses(t, row.code, row.want)
		})
	}
}

// Each byte of the file counts.
func TestFlippedBytes(t *testing.T) {
	b := newBench(t, keyset.File{})
	good, err := os.ReadFile(b.path)
	require.NoError(t, err)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 7)
		require.NoError(t, os.WriteFile(b.path, bad, 0o600))
		var stdout, stderr bytes.Buffer
		code := run([]string{"rotate", "--keyset", b.path}, nil, &stdout, &stderr)
		require.Equal(t, tool.ExitDamaged, code, "byte %d: %s", i, &stderr)
		now, err := os.ReadFile(b.path)
		require.NoError(t, err)
		require.Equal(t, bad, now)
		require.NotContains(t, stderr.String(), string(good[max(0, i-20):min(len(good), i+20)]), "no piece of the file")
	}
	require.NoFileExists(t, b.path+".bak")
}

func TestWrongSecrets(t *testing.T) {
	kek := bytes.Repeat([]byte{7, 200, 31, 99, 4, 5, 250, 17, 8, 9, 10, 11, 12, 13, 14, 15}, 2)
	b := newBench(t, keyset.File{Key: kek})
	secret := func(name string, content []byte) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	other := bytes.Clone(kek)
	other[0]++
	for _, row := range []struct {
		name, want string
		code       int
		flags      []string
	}{
		{"another key", "wrong passphrase or key, or the file is damaged", tool.ExitDamaged, []string{"--kek-file", secret("kek", other)}},
		{"a short key", "--kek-file: this is no key of 32 bytes: give it raw, or as base64 or hexadecimal text", tool.ExitUsage, []string{"--kek-file", secret("kek", kek[:31])}},
		{"a passphrase", "", tool.ExitDamaged, []string{"--passphrase-file", secret("p", []byte("correct horse battery"))}},
		{"none, and no terminal", "a passphrase or a key is needed", tool.ExitUsage, nil},
		{"no such file", "no such file", tool.ExitNotFound, []string{"--kek-file", filepath.Join(t.TempDir(), "none")}},
		{"no such variable", "--kek-env: the environment variable that it names is not set; ", tool.ExitError, []string{"--kek-env", "hunter2hunter2"}},
		{"no such variable either", "--passphrase-env: the environment variable that it names is not set; ", tool.ExitError, []string{"--passphrase-env", "hunter2hunter2"}},
		{"two", "contradict each other", tool.ExitUsage, []string{"--kek-env", "A", "--passphrase-env", "B"}},
		{"a descriptor that is not open", "", tool.ExitError, []string{"--kek-fd", "99"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b.secret = row.flags
			b.refuses(t, row.code, row.want)
		})
	}
	b.secret = []string{"--kek-file", secret("kek", kek)}
	args := append([]string{"rotate", "--keyset", b.path}, b.secret...)
	require.Equal(t, tool.ExitOK, run(args, nil, new(bytes.Buffer), new(bytes.Buffer)))
	plain := newBench(t, keyset.File{}, b.secret...)
	plain.refuses(t, tool.ExitDamaged, "the file is not encrypted")
}
