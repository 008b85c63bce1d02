package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
)

// The command asks the system about mounts. A mount needs a namespace, which
// only a process of its own can have.
func TestDoctorOfAMountedFile(t *testing.T) {
	const inside = "KEYGEN_TEST_INSIDE"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDoctorOfAMountedFile$", "-test.v")
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
	var out bytes.Buffer
	require.Equal(t, tool.ExitOK, run([]string{"init", "--keyset", outside}, nil, &out, &out))
	require.NoError(t, os.WriteFile(mounted, nil, 0o600))
	if err := syscall.Mount(outside, mounted, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("this system does not let the test mount: %v", err)
	}
	run([]string{"doctor", "--keyset", mounted}, nil, &out, &out)
	require.Contains(t, out.String(), "is mounted as a single file")
	require.NoError(t, syscall.Unmount(mounted, 0))
}
