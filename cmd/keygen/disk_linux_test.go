package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// onDisk runs a shell script with the mounts of its own, which end with it: a
// small file system at $DISK that holds the key file $FILE, and keygen as
// $KEYGEN.
func onDisk(t *testing.T, script string) string {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	c := newCrash(t)
	disk := t.TempDir()
	const mount = `mount -t tmpfs -o size=64k none "$DISK" || exit 77; cp "$TEMPLATE" "$FILE"; chmod 600 "$FILE"; `
	cmd := exec.Command("sh", "-ec", mount+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	cmd.Env = append(os.Environ(), "DISK="+disk, "FILE="+filepath.Join(disk, "keys.json"), "TEMPLATE="+c.template,
		"KEYGEN="+c.binary,
		"AT="+c.at.Format(time.RFC3339))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() == 77 {
		t.Skipf("may not mount: %v %s", err, &out)
	}
	require.NoError(t, err, "%s", &out)
	return out.String()
}

// What is tried on a disk that can't take it ends with 1, says why, and leaves
// the file and its directory as they were.
const tryToRotate = `before=$(cat "$FILE" | sha256sum; ls "$DISK")
for command in "rotate --write-at" "rotate --if-due --write-at" "revoke --all --write-at"; do
	code=0; "$KEYGEN" $command --keyset "$FILE" --at "$AT" || code=$?
	echo "exit $code"
done
[ "$before" = "$(cat "$FILE" | sha256sum; ls "$DISK")" ] && echo unchanged
"$KEYGEN" check --keyset "$FILE" --at "$AT"`

func TestFullDisk(t *testing.T) {
	const change = `"$KEYGEN" policy --token-life 23h --write-at --keyset "$FILE" --at "$AT" >/dev/null; `
	const fill = `cat /dev/zero > "$DISK/filler" 2>/dev/null || true; `
	out := onDisk(t, change+fill+tryToRotate)
	require.Equal(t, 2, strings.Count(out, "exit 1"), out)
	require.Equal(t, 1, strings.Count(out, "exit 0"), "there is nothing due: %s", out)
	require.Equal(t, 2, strings.Count(out, "no space left on device"), out)
	require.Contains(t, out, "unchanged")
}

func TestReadOnlyFileSystem(t *testing.T) {
	out := onDisk(t, `mount -o remount,ro none "$DISK"; `+tryToRotate)
	require.Equal(t, 3, strings.Count(out, "exit 1"), out)
	require.Equal(t, 3, strings.Count(out, "the file system is read-only: mount it writable, or move the file"), out)
	require.Contains(t, out, "unchanged")
}
