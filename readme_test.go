package cloakroom_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The programs in the README compile, and the files that it links to exist.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```go\n(package main.*?)```").FindAllSubmatch(text, -1)
	require.NotEmpty(t, blocks, "no program found: the test would pass without testing")
	for _, block := range blocks {
		file := filepath.Join(t.TempDir(), "main.go")
		require.NoError(t, os.WriteFile(file, block[1], 0o600))
		out, err := exec.Command("go", "vet", file).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	links := regexp.MustCompile(`\]\(([^)]+)\)`).FindAllSubmatch(text, -1)
	require.NotEmpty(t, links)
	for _, link := range links {
		if target := string(link[1]); !strings.HasPrefix(target, "https://") {
			_, err := os.Stat(target)
			require.NoError(t, err)
		}
	}
	require.LessOrEqual(t, strings.Count(string(text), "\n"), 150, "what is longer goes into the packages' documentation")
}
