//go:build unix

package tool

import (
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A folder is a directory that somebody else may have.
type folder struct {
	fs.FileInfo
	owner int
	mode  fs.FileMode
}

func (e folder) Sys() any          { return &syscall.Stat_t{Uid: uint32(e.owner)} }
func (e folder) Mode() fs.FileMode { return e.mode }

// A unowned folder says nothing of its owner.
type unowned struct{ folder }

func (unowned) Sys() any { return nil }

func TestJudgeDirectory(t *testing.T) {
	const sticky = fs.ModeSticky
	for _, tt := range []struct {
		name     string
		info     fs.FileInfo
		severity string
		text     string
	}{
		{"own", folder{owner: 7, mode: 0o700}, OK, "/d, of user 7, mode 0700"},
		{"root's", folder{owner: 0, mode: 0o755}, OK, "of user 0"},
		{"another's", folder{owner: 8, mode: 0o755}, Problem, "belongs to user 8, who can replace the key file; it should belong to user 7 or to root"},
		{"another's, sticky", folder{owner: 8, mode: 0o755 | sticky}, Problem, "belongs to user 8"},
		{"open", folder{owner: 7, mode: 0o777}, Problem, "everybody can replace the key file; run: chmod o-w /d"},
		{"open, for writing alone", folder{owner: 7, mode: 0o702}, Problem, "everybody"},
		{"group", folder{owner: 7, mode: 0o775}, Warning, "its group can replace the key file"},
		{"as /tmp", folder{owner: 0, mode: 0o777 | sticky}, Warning, "open to others, who can put a lock there"},
		{"group, sticky", folder{owner: 0, mode: 0o770 | sticky}, Warning, "open to others"},
		{"unknown", unowned{}, OK, "does not say"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := judgeDirectory("/d", tt.info, 7)
			require.Equal(t, tt.severity, got.Severity)
			require.Contains(t, got.Text, tt.text)
		})
	}
}
