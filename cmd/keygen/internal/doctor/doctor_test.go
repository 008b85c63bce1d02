//go:build unix

package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/durable"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// An entry is a file with an owner and a mode of the test's choice.
type entry struct {
	fs.FileInfo
	owner int
	mode  fs.FileMode
}

func (e entry) Sys() any          { return &syscall.Stat_t{Uid: uint32(e.owner)} }
func (e entry) Mode() fs.FileMode { return e.mode }

// A foreign entry says nothing of its owner.
type foreign struct{ entry }

func (foreign) Sys() any { return nil }

func TestJudgeOwner(t *testing.T) {
	for _, tt := range []struct {
		name     string
		info     fs.FileInfo
		user     int
		severity string
		text     string
	}{
		{"own", entry{owner: 7}, 7, tool.OK, "user 7, who runs this"},
		{"root's", entry{owner: 0}, 7, tool.OK, "root; this runs as user 7"},
		{"root's own", entry{owner: 0}, 0, tool.OK, "user 0, who runs this"},
		{"another's", entry{owner: 8}, 7, tool.Problem, "user 8, and this runs as user 7: run it, and the application, as the owner"},
		{"seen by root", entry{owner: 8}, 0, tool.Problem, "user 8, and this runs as user 0"},
		{"unknown", foreign{}, 7, tool.OK, "does not say"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := judgeOwner(tt.info, tt.user)
			require.Equal(t, tt.severity, got.Severity)
			require.Contains(t, got.Text, tt.text)
		})
	}
}

func TestJudgeMode(t *testing.T) {
	for _, tt := range []struct {
		mode     fs.FileMode
		mounted  bool
		group    bool
		severity string
		text     string
	}{
		{0o600, false, false, tool.OK, "0600"},
		{0o400, true, false, tool.OK, "0400"},
		{0o700, false, false, tool.OK, "0700"},
		{0o640, false, false, tool.Problem, "its group can read it, and sign; run: chmod 600 x"},
		{0o440, true, false, tool.Problem, "its group can read it, and sign; mount the Secret with defaultMode 0400, or with 0440, an fsGroup"},
		{0o604, false, false, tool.Problem, "others can use it; run: chmod 600 x; if somebody has read it, the keys are no longer secret: keygen revoke --all"},
		{0o620, false, false, tool.Problem, "others can use it"},
		{0o644, true, false, tool.Problem, "others can use it; mount"},
		{0o601, false, false, tool.Problem, "0601"},
		{0o640, false, true, tool.OK, "0640: its group can read it, and sign; --insecure-group-readable accepts that"},
		{0o440, true, true, tool.OK, "0440"},
		{0o600, false, true, tool.OK, "0600"},
		{0o660, false, true, tool.Problem, "others can use it"},
		{0o644, true, true, tool.Problem, "others can use it"},
	} {
		t.Run(tt.mode.String(), func(t *testing.T) {
			got := judgeMode("x", tt.mode, tt.mounted, tt.group)
			require.Equal(t, tt.severity, got.Severity)
			require.Contains(t, got.Text, tt.text)
		})
	}
}

// Judgements are those of package keys: what is a problem here is refused
// there.
func TestJudgementsAreThoseOfKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	newFile(t, path)
	for mode := fs.FileMode(0o400); mode <= 0o777; mode++ {
		if mode&0o400 == 0 {
			continue
		}
		require.NoError(t, os.Chmod(path, mode))
		for _, group := range []bool{false, true} {
			_, err := keyset.File{Path: path, InsecureGroupReadable: group}.Read()
			isProblem := judgeMode(path, mode, false, group).Severity == tool.Problem
			require.Equal(t, errors.Is(err, keyset.ErrUnsafeFile), isProblem, "%04o: %v", mode, err)
		}
	}
}

func TestJudgeWritable(t *testing.T) {
	for _, tt := range []struct {
		err      error
		mounted  bool
		severity string
		text     string
	}{
		{nil, false, tool.OK, "rotation can happen here"},
		{&fs.PathError{Op: "mkdir", Path: "x", Err: syscall.EROFS}, false, tool.OK, "normal where the application only reads: rotation must happen elsewhere"},
		{&fs.PathError{Op: "mkdir", Path: "x", Err: syscall.EROFS}, true, tool.OK, "where the file comes from"},
		{nil, true, tool.OK, "would be lost"},
		{&fs.PathError{Op: "mkdir", Path: "x", Err: syscall.EACCES}, false, tool.Warning, "or as another user"},
		{&fs.PathError{Op: "mkdir", Path: "x", Err: syscall.ENOSPC}, false, tool.Problem, "no space left"},
	} {
		got := judgeWritable(tt.err, tt.mounted)
		require.Equal(t, tt.severity, got.Severity, tt.err)
		require.Contains(t, got.Text, tt.text)
	}
}

func TestJudgeLock(t *testing.T) {
	denied := fmt.Errorf("durable: lock x: this user may not write to the lock file: run as its owner, or chown it: %w",
		fs.ErrPermission)
	for _, tt := range []struct {
		err      error
		mode     fs.FileMode
		d        doctor
		severity string
		text     string
	}{
		{nil, 0o600, doctor{writable: true}, tool.OK, "free"},
		{nil, 0o644, doctor{writable: true}, tool.Warning, "mode 0644: others can hold it"},
		{durable.ErrLocked, 0o600, doctor{writable: true}, tool.Warning, "held at this moment"},
		{denied, 0o600, doctor{writable: true}, tool.Problem, "the next change fails: durable: lock x: this user may not write to the lock file: run as its owner"},
		{denied, 0o600, doctor{}, tool.Warning, "this user can't take it"},
		{denied, 0o600, doctor{mounted: true}, tool.OK, "since the directory is read-only"},
		{syscall.EROFS, 0o600, doctor{readOnly: true}, tool.OK, "since the directory is read-only"},
	} {
		got := tt.d.judgeLock("x.lock", tt.mode, tt.err)
		require.Equal(t, tt.severity, got.Severity, tt.text)
		require.Contains(t, got.Text, tt.text)
	}
}

// A container that got the key file as a single file does not see what replaces
// it outside.
func TestDoctorSeesASingleFileMount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	newFile(t, path)
	for _, single := range []bool{true, false} {
		d := &doctor{Tool: &tool.Tool{Keyset: path, Now: time.Now()}, user: os.Geteuid(), trials: trials(),
			single: func(p string) bool { return single && p == path }}
		d.examine(t.Context())
		said := slices.ContainsFunc(d.Findings, func(f tool.Finding) bool {
			return f.Severity == tool.Warning && strings.Contains(f.Text, "is mounted as a single file") &&
				strings.Contains(f.Text, "mount the directory that it is in")
		})
		require.Equal(t, single, said, "%v", d.Findings)
		lost := slices.ContainsFunc(d.Findings, func(f tool.Finding) bool {
			return strings.Contains(f.Text, "rotation must happen where the file comes from")
		})
		require.Equal(t, single, lost, "%v", d.Findings)
	}
}

func TestJudgeClock(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name          string
		now           time.Time
		written, made time.Duration
		severity      string
		text          string
	}{
		{"good", now, -time.Hour, -time.Hour, tool.OK, "after all that the file knows"},
		{"within the skew", now, time.Minute, time.Minute, tool.OK, ""},
		{"made later", now, -time.Hour, time.Minute + time.Second, tool.Problem, "key K was made at 2026-05-01T00:01:01Z, 1m1s later"},
		{"written later", now, time.Hour, -time.Hour, tool.Problem, "the file was written at 2026-05-01T01:00:00Z, 1h later"},
		{"never set", time.Unix(0, 0).UTC(), 0, 0, tool.Problem, "1970-01-01T00:00:00Z: it was never set"},
		{"the last second", time.Date(2025, 12, 31, 23, 59, 59, 0, time.UTC), 0, 0, tool.Problem, "never set"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := judgeClock(tt.now, time.Minute, now.Add(tt.written), now.Add(tt.made), "K")
			require.Equal(t, tt.severity, got.Severity)
			require.Contains(t, got.Text, tt.text)
		})
	}
}

// Each thing that a file system may lack has its own severity. If one is
// lacking, those that work are not listed.
func TestFileSystemThatLacksSomething(t *testing.T) {
	for i, tt := range trials() {
		d := &doctor{Tool: &tool.Tool{}, trials: trials()}
		d.trials[i].try = func(context.Context, string) error { return errors.ErrUnsupported }
		d.tryFileSystem(t.Context(), t.TempDir())
		want := tool.Found(tt.severity, "file_system", "%s: unsupported operation: %s", tt.what, tt.without)
		require.Equal(t, tool.Findings{want}, d.Findings)
	}
}

// The trials find what they are there to find.
func TestTrials(t *testing.T) {
	for _, tt := range trials() {
		require.NoError(t, tt.try(t.Context(), t.TempDir()), tt.what)
		if tt.what == "locks" {
			continue
		}
		require.Error(t, tt.try(t.Context(), filepath.Join(t.TempDir(), "missing")), tt.what)
	}
	require.Error(t, tryLock(t.Context(), filepath.Join(t.TempDir(), "missing")))
	dir := t.TempDir()
	unlock, err := durable.Lock(t.Context(), filepath.Join(dir, "locked"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, tryLock(ctx, dir), durable.ErrLocked)
	require.NoError(t, unlock())
}

// doctor reports as leftovers of a crash what package durable removes.
func TestLeftoversAreThoseOfDurable(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	for _, name := range []string{".keys.json.1.tmp", ".keys.json.0123456789.tmp", ".keys.json..tmp", ".keys.json.x1.tmp",
		".keys.json.1.tmp.bak", "keys.json.1.tmp", ".other.json.1.tmp", ".keys.json.bak.1.tmp"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	f, err := os.CreateTemp(dir, ".keys.json.*.tmp")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	before, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NoError(t, durable.Sweep(path))
	swept := 0
	for _, e := range before {
		_, err := os.Lstat(filepath.Join(dir, e.Name()))
		gone := errors.Is(err, fs.ErrNotExist)
		require.Equal(t, gone, isTemporary(e.Name(), "keys.json"), e.Name())
		if gone {
			swept++
		}
	}
	require.Equal(t, 3, swept)
}

func TestEncryptedUnder(t *testing.T) {
	for in, want := range map[string]string{
		`{"keys":[]}`: "", "": "", "a.b.c": "",
		"eyJhbGciOiJQQkVTMi1IUzUxMitBMjU2S1cifQ.a.b.c.d\n": "a passphrase",
		"eyJhbGciOiJBMjU2S1cifQ.a.b.c.d":                   "a key",
		"e30.a.b.c.d":                                      "a key",
		"!.a.b.c.d":                                        "",
		"AAAA.a.b.c.d":                                     "something unknown",
	} {
		require.Equal(t, want, encryptedUnder([]byte(in)), in)
	}
}

// newFile makes a key file.
func newFile(t *testing.T, path string) {
	set, err := rotation.New(keyset.Policy{}, time.Now(), keyset.ES256, keyset.Direct)
	require.NoError(t, err)
	require.NoError(t, keyset.File{Path: path}.Create(t.Context(), set))
}
