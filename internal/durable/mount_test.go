package durable_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/durable"
)

// What the kernel says of a container of Docker, of Kubernetes and of neither.
func TestIsMountPoint(t *testing.T) {
	const table = `21 26 0:20 / /proc rw,relatime - proc proc rw
26 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
714 701 254:1 /home/me/keys.json /run/secrets/keys.json ro,relatime - ext4 /dev/vda1 rw
715 701 254:1 /home/me/my\040keys.json /etc/my\040keys.json rw,relatime master:5 propagate_from:2 - ext4 /dev/vda1 rw
716 701 0:55 / /etc/app rw,relatime - tmpfs tmpfs rw,size=65536k
717 701 254:1 /var/lib/kubelet/pods/1/volume-subpaths/keys/app/0 /app/keys.json ro - ext4 /dev/vda1 rw
718 701 254:1 /x /odd/a\134040b rw - ext4 /dev/vda1 rw
short line
`
	for path, want := range map[string]bool{
		"/run/secrets/keys.json": true, "/etc/my keys.json": true, "/app/keys.json": true, "/etc/app": true,
		`/odd/a\040b`: true, "/run/secrets/../secrets/keys.json": true,
		"/etc/app/keys.json": false, "/run/secrets": false, "/run/secrets/keys.jso": false, `/etc/my\040keys.json`: false,
		"/home/me/keys.json": false, "rw": false,
	} {
		require.Equal(t, want, durable.IsMountPointIn(strings.NewReader(table), path), path)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	path, link := filepath.Join(dir, "f"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Symlink("f", link))
	mounted := "1 1 0:1 / " + path + " rw - ext4 /dev/vda1 rw\n"
	require.True(t,
		durable.IsMountPointIn(strings.NewReader(strings.Repeat("1 1 0:1 / /x "+strings.Repeat("x", 70_000)+"\n", 2)+mounted),
			link),
		"behind a link, and behind long lines")
	require.False(t, durable.IsMountPoint(path))
	require.False(t, durable.IsMountPoint(filepath.Join(dir, "none")))
}
