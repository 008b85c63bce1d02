package interop_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// modules returns the versions of Go modules, whose paths are given without
// github.com.
func modules(paths ...string) func(*testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		text, err := os.ReadFile("go.mod")
		require.NoError(t, err)
		var versions []string
		for _, path := range paths {
			_, rest, ok := strings.Cut(string(text), "github.com/"+path+" v")
			require.True(t, ok, path)
			version, _, _ := strings.Cut(rest, "\n")
			versions = append(versions, version)
		}
		return strings.Join(versions, ", ")
	}
}

// ours is the version of this repository.
func ours(*testing.T) string { return "this one" }

// npm returns the versions of npm packages, as they are installed.
func npm(names ...string) func(*testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		var versions []string
		for _, name := range names {
			text, err := os.ReadFile(filepath.Join("node_modules", name, "package.json"))
			if err != nil {
				missing(t, "%s is not installed: run npm ci", name)
			}
			var about struct{ Version string }
			require.NoError(t, json.Unmarshal(text, &about))
			versions = append(versions, about.Version)
		}
		return strings.Join(versions, ", ")
	}
}

// debian returns the versions of Debian packages, without what Debian adds. On
// other systems they are not known.
func debian(names ...string) func(*testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		if _, err := exec.LookPath("dpkg-query"); err != nil {
			return "unknown"
		}
		var versions []string
		for _, name := range names {
			version, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", name).Output()
			if err != nil {
				missing(t, "the package %s is not installed", name)
			}
			upstream, _, _ := strings.Cut(string(version), "-")
			versions = append(versions, upstream)
		}
		return strings.Join(versions, ", ")
	}
}

// missing skips a test that lacks a program, or fails it if CI=true.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
