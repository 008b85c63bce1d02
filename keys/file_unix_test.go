//go:build unix

package keys_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
)

func TestReadFileRefusesFiles(t *testing.T) {
	dir := t.TempDir()
	good := create(t, generate(t, keys.EdDSA))
	mode := func(name string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(good)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		require.NoError(t, os.Chmod(path, mode))
		return path
	}
	link := func(name, target string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.Symlink(target, path))
		return path
	}
	large := filepath.Join(dir, "large")
	require.NoError(t, os.WriteFile(large, bytes.Repeat([]byte(" "), 1<<20+1), 0o600))
	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	tests := []struct {
		name, path string
		want       error
		text       string
	}{
		{"missing", filepath.Join(dir, "missing"), fs.ErrNotExist, "keygen init --keyset"},
		{"a directory", dir, keys.ErrInvalidFile, "is a directory"},
		{"a pipe", pipe, keys.ErrInvalidFile, "not a regular file"},
		{"a device", "/dev/null", keys.ErrInvalidFile, "not a regular file"},
		{"too large", large, keys.ErrInvalidFile, "1 MiB"},
		{"readable by all", mode("0644", 0o644), keys.ErrUnsafeFile, "chmod 600"},
		{"readable by the group", mode("0640", 0o640), keys.ErrUnsafeFile, "chmod 600"},
		{"writable by all", mode("0602", 0o602), keys.ErrUnsafeFile, "chmod 600"},
		{"executable by all", mode("0601", 0o601), keys.ErrUnsafeFile, "chmod 600"},
		{"dangling link", link("dangling", "nowhere"), fs.ErrNotExist, "no key file"},
		{"link to an unsafe file", link("link", "0644"), keys.ErrUnsafeFile, "chmod 600"},
		{"good", good, nil, ""},
		{"link to a good file", link("good", good), nil, ""},
		{"read-only", mode("0400", 0o400), nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := keys.ReadFile(tt.path)
			require.ErrorIs(t, err, tt.want)
			if tt.want != nil {
				require.ErrorContains(t, err, tt.text)
				require.ErrorContains(t, err, "keys: ")
			}
		})
	}
}

func TestInsecureGroupReadable(t *testing.T) {
	path := create(t, generate(t, keys.EdDSA))
	tests := []struct {
		mode fs.FileMode
		ok   bool
	}{{0o440, true}, {0o640, true}, {0o600, true}, {0o444, false}, {0o660, false}, {0o450, false}, {0o604, false}}
	for _, tt := range tests {
		require.NoError(t, os.Chmod(path, tt.mode))
		_, err := keys.ReadFile(path, keys.InsecureGroupReadable())
		require.Equal(t, tt.ok, err == nil, "%o: %v", tt.mode, err)
	}
}

// What only an unprivileged user sees. As root the test runs itself again as nobody.
func TestReadFileUnprivileged(t *testing.T) {
	if dir := os.Getenv("KEYS_TEST_DIR"); dir != "" {
		readUnprivileged(t, dir)
		return
	}
	dir := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"unreadable": 0o000, "foreign": 0o644, "own": 0o600} {
		path := filepath.Join(dir, name)
		require.NoError(t, keys.Create(t.Context(), path, newSet(t, generate(t, keys.EdDSA))))
		require.NoError(t, os.Chmod(path, mode))
	}
	if os.Geteuid() != 0 {
		t.Setenv("KEYS_TEST_OWNER", "same")
		readUnprivileged(t, dir)
		return
	}
	const nobody = 65534
	require.NoError(t, os.Chown(filepath.Join(dir, "own"), nobody, nobody))
	require.NoError(t, os.Chown(filepath.Join(dir, "foreign"), 12345, 12345))
	rerunAs(t, nobody, dir)
}

func readUnprivileged(t *testing.T, dir string) {
	_, err := keys.ReadFile(filepath.Join(dir, "unreadable"))
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "run it as the file's owner")
	_, err = keys.ReadFile(filepath.Join(dir, "own"))
	require.NoError(t, err)
	if os.Getenv("KEYS_TEST_OWNER") == "same" {
		return // this user can't give files away
	}
	_, err = keys.ReadFile(filepath.Join(dir, "foreign"))
	require.ErrorIs(t, err, keys.ErrUnsafeFile)
	// No write access to the directory: clear errors, and nothing is left behind.
	err = keys.Update(t.Context(), filepath.Join(dir, "own"), func(s *keys.Set) error { return s.Add(generate(t, keys.EdDSA)) })
	require.ErrorIs(t, err, fs.ErrPermission)
	err = keys.Create(t.Context(), filepath.Join(dir, "new"), newSet(t, generate(t, keys.EdDSA)))
	require.ErrorIs(t, err, fs.ErrPermission)
}

// rerunAs runs this test again as another user, who can reach dir but not write to it.
func rerunAs(t *testing.T, uid uint32, dir string) {
	t.Helper()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		require.NoError(t, os.Chmod(d, 0o755))
	}
	binary := filepath.Join(dir, "keys.test") // the build directory is closed to others
	text, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(binary, text, 0o755))
	cmd := exec.Command(binary, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "KEYS_TEST_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
}

// Root refuses a file that another user could exchange at will.
func TestReadFileRefusesForeignOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path := create(t, generate(t, keys.EdDSA))
	require.NoError(t, os.Chown(path, 12345, 12345))
	_, err := keys.ReadFile(path)
	require.ErrorIs(t, err, keys.ErrUnsafeFile)
	require.ErrorContains(t, err, "belongs to user 12345")
}
