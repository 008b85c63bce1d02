package keys_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// A container has the key file mounted as a single file. Such a mount stays on
// the file that was there at the start: the container never sees a new one, and
// can't replace it.
func TestKeyFileMountedAlone(t *testing.T) {
	const inside = "KEYS_TEST_INSIDE"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKeyFileMountedAlone$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Skipf("this system gives no mount namespace: %v", err)
		}
		require.NoError(t, err, "%s", out)
		t.Logf("%s", out)
		return
	}
	dir := t.TempDir()
	outside, mounted := filepath.Join(dir, "outside.json"), filepath.Join(dir, "keys.json")
	require.NoError(t, keyset.File{Path: outside}.Create(t.Context(), newSet(t, generate(t, keyset.EdDSA))))
	require.NoError(t, os.WriteFile(mounted, nil, 0o600))
	if err := syscall.Mount(outside, mounted, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("this system does not let the test mount: %v", err)
	}
	f := keyset.File{Path: mounted}
	r := unfollowed(t, f)
	require.NoError(t, keyset.File{Path: outside}.Update(t.Context(), addOne(t)))
	require.NoError(t, r.Reload())
	require.Len(t, r.Set().Keys(), 1, "the container keeps the old file")
	text, err := json.Marshal(r.Health(t0))
	require.NoError(t, err)
	require.Contains(t, string(text),
		"is mounted as a single file, so that this process keeps the one that was there at its start")

	err = f.Update(t.Context(), addOne(t))
	require.ErrorIs(t, err, keyset.ErrUnsafeFile)
	require.ErrorContains(t, err, "can't be replaced; mount the directory that it is in")
	protected := keyset.File{Passphrase: []byte("correct horse battery")}
	require.ErrorContains(t, f.Protect(t.Context(), protected), "mount the directory")
	require.NoFileExists(t, mounted+".lock")
	_, err = os.Lstat(mounted + ".bak")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, replace(r, generate(t, keyset.EdDSA)))
	require.Empty(t, r.Health(t0).Problems, "these come from no file")
	require.NoError(t, syscall.Unmount(mounted, 0))
}
