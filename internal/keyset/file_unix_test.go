//go:build unix

package keyset_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

func TestReadFileRefusesFiles(t *testing.T) {
	dir := t.TempDir()
	good := create(t, generate(t, keyset.EdDSA))
	mode := func(name string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		copyFile(t, good, path, mode)
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
		{"a directory", dir, keyset.ErrInvalidFile, "is a directory"},
		{"a pipe", pipe, keyset.ErrInvalidFile, "not a regular file"},
		{"a device", "/dev/null", keyset.ErrInvalidFile, "not a regular file"},
		{"too large", large, keyset.ErrInvalidFile, "1 MiB"},
		{"readable by all", mode("0644", 0o644), keyset.ErrUnsafeFile, "chmod 600"},
		{"readable by the group", mode("0640", 0o640), keyset.ErrUnsafeFile, "chmod 600"},
		{"writable by all", mode("0602", 0o602), keyset.ErrUnsafeFile, "chmod 600"},
		{"executable by all", mode("0601", 0o601), keyset.ErrUnsafeFile, "chmod 600"},
		{"dangling link", link("dangling", "nowhere"), fs.ErrNotExist, "make one there"},
		{"link to an unsafe file", link("link", "0644"), keyset.ErrUnsafeFile, "chmod 600"},
		{"good", good, nil, ""},
		{"link to a good file", link("good", good), nil, ""},
		{"read-only", mode("0400", 0o400), nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := keyset.File{Path: tt.path}.Read()
			require.ErrorIs(t, err, tt.want)
			if tt.want != nil {
				require.ErrorContains(t, err, tt.text)
				require.ErrorContains(t, err, "keys: ")
			}
		})
	}
}

// Whatever lies where the file should be: every method refuses it at once, and
// leaves it as it is.
func TestFileMethodsRefuseFiles(t *testing.T) {
	sparse := func(t *testing.T, path string) {
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Truncate(path, 1<<30)) // takes no room on the disk
	}
	rows := []struct {
		name string
		make func(t *testing.T, path string)
		want error
		text string
	}{
		{"a sparse file of 1 GiB", sparse, keyset.ErrInvalidFile, "larger than 1 MiB"},
		{"a directory", func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, keyset.ErrInvalidFile, "is a directory"},
		{"a pipe that nobody writes to", func(t *testing.T, path string) { require.NoError(t, syscall.Mkfifo(path, 0o600)) }, keyset.ErrInvalidFile, "not a regular file"},
		{"a link to a pipe", func(t *testing.T, path string) {
			require.NoError(t, syscall.Mkfifo(path+".pipe", 0o600))
			require.NoError(t, os.Symlink(path+".pipe", path))
		}, keyset.ErrInvalidFile, "not a regular file"},
		{"a device", func(t *testing.T, path string) { require.NoError(t, os.Symlink("/dev/zero", path)) }, keyset.ErrInvalidFile, "not a regular file"},
		{"readable by all", func(t *testing.T, path string) { copyFile(t, rich(t, keyset.File{}).Path, path, 0o644) }, keyset.ErrUnsafeFile, "chmod 600"},
		{"of another user", func(t *testing.T, path string) { giveAway(t, path) }, keyset.ErrUnsafeFile, "belongs to user 12345"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f := keyset.File{Path: filepath.Join(t.TempDir(), "keys.json")}
			row.make(t, f.Path)
			before, err := os.Lstat(f.Path)
			require.NoError(t, err)
			change := func(*keyset.Set) error { panic("there are no keys to change") }
			_, read := f.Read()
			_, text := f.InsecurePrivateSet()
			_, ring := keys.OpenRing(keys.RingConfig{File: keys.File(f)})
			errs := []error{read, text, ring}
			if !strings.HasPrefix(row.name, "a device") { // whose lock would lie in /dev
				errs = append(errs, f.Update(t.Context(), change), f.Protect(t.Context(), keyset.File{}))
			}
			for _, err := range errs {
				require.ErrorIs(t, err, row.want)
				require.ErrorContains(t, err, row.text)
			}
			require.ErrorIs(t, f.Create(t.Context(), newSet(t, generate(t, keyset.EdDSA))), fs.ErrExist)
			after, err := os.Lstat(f.Path)
			require.NoError(t, err)
			require.True(t, os.SameFile(before, after))
			require.Equal(t, []any{before.Size(), before.Mode(), before.ModTime()},
				[]any{after.Size(), after.Mode(), after.ModTime()})
		})
	}
}

// 1 MiB is read, and a byte more is not.
func TestReadSizes(t *testing.T) {
	f := rich(t, keyset.File{})
	text, err := os.ReadFile(f.Path)
	require.NoError(t, err)
	good := unsummed(t, text)
	for size, want := range map[int]error{1 << 20: nil, 1<<20 + 1: keyset.ErrInvalidFile} {
		require.NoError(t, os.WriteFile(f.Path, []byte(good+strings.Repeat(" ", size-len(good))), 0o600))
		_, err := f.Read()
		require.ErrorIs(t, err, want)
	}
}

func copyFile(t testing.TB, from, to string, mode fs.FileMode) {
	t.Helper()
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, data, mode))
	require.NoError(t, os.Chmod(to, mode))
}

func giveAway(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	copyFile(t, rich(t, keyset.File{}).Path, path, 0o600)
	require.NoError(t, os.Chown(path, 12345, 12345))
}

func TestInsecureGroupReadable(t *testing.T) {
	path := create(t, generate(t, keyset.EdDSA))
	tests := []struct {
		mode fs.FileMode
		ok   bool
	}{{0o440, true}, {0o640, true}, {0o600, true}, {0o444, false}, {0o660, false}, {0o450, false}, {0o604, false}}
	for _, tt := range tests {
		require.NoError(t, os.Chmod(path, tt.mode))
		_, err := keyset.File{Path: path, InsecureGroupReadable: true}.Read()
		require.Equal(t, tt.ok, err == nil, "%o: %v", tt.mode, err)
	}
}

// What only an unprivileged user sees. As root the test runs itself again as
// nobody.
func TestReadFileUnprivileged(t *testing.T) {
	if dir := os.Getenv("KEYS_TEST_DIR"); dir != "" {
		readUnprivileged(t, dir)
		return
	}
	dir := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"unreadable": 0o000, "foreign": 0o644, "own": 0o600} {
		path := filepath.Join(dir, name)
		require.NoError(t, keyset.File{Path: path}.Create(t.Context(), newSet(t, generate(t, keyset.EdDSA))))
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
	_, err := keyset.File{Path: filepath.Join(dir, "unreadable")}.Read()
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "run it as the file's owner")
	_, err = keyset.File{Path: filepath.Join(dir, "own")}.Read()
	require.NoError(t, err)
	if os.Getenv("KEYS_TEST_OWNER") == "same" {
		return // this user can't give files away
	}
	_, err = keyset.File{Path: filepath.Join(dir, "foreign")}.Read()
	require.ErrorIs(t, err, keyset.ErrUnsafeFile)
	// No write access to the directory: clear errors, and nothing is left behind.
	err = keyset.File{Path: filepath.Join(dir, "own")}.Update(t.Context(),
		func(s *keyset.Set) error { return s.Add(generate(t, keyset.EdDSA)) })
	require.ErrorIs(t, err, fs.ErrPermission)
	err = keyset.File{Path: filepath.Join(dir, "new")}.Create(t.Context(), newSet(t, generate(t, keyset.EdDSA)))
	require.ErrorIs(t, err, fs.ErrPermission)
}

// rerunAs runs this test again as another user, who can reach dir but not write
// to it.
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
	path := create(t, generate(t, keyset.EdDSA))
	require.NoError(t, os.Chown(path, 12345, 12345))
	_, err := keyset.File{Path: path}.Read()
	require.ErrorIs(t, err, keyset.ErrUnsafeFile)
	require.ErrorContains(t, err, "belongs to user 12345")
}
