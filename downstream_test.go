package cloakroom_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What docs/downstream.md shows is a file that a test runs, or a part of one in
// Go. The line above the code names the file, or says that it is not run here.
// TestConfigurations reads our own configuration.
func TestDownstreamShowsFiles(t *testing.T) {
	text, err := os.ReadFile("docs/downstream.md")
	require.NoError(t, err)
	fence := regexp.MustCompile("(?ms)([^\n]+)\n\n```([a-z]+)\n(.*?)^```$")
	link := regexp.MustCompile(`\]\(\.\./([^)]+)\)[^)]*:$`)
	shown := fence.FindAllStringSubmatch(string(text), -1)
	require.Equal(t, strings.Count(string(text), "\n```\n"), len(shown), "code without a line above it")
	files := 0
	for _, block := range shown {
		above, language, code := block[1], block[2], block[3]
		if language == "yaml" || strings.HasSuffix(strings.ToLower(above), "not run here:") {
			continue
		}
		name := link.FindStringSubmatch(above)
		require.NotNil(t, name, "which file is it? %q", above)
		file, err := os.ReadFile(filepath.FromSlash(name[1]))
		require.NoError(t, err)
		files++
		if filepath.Ext(name[1]) == ".go" {
			indented := regexp.MustCompile("(?m)^(.)").ReplaceAllString(code, "\t$1")
			assert.True(t, strings.Contains(string(file), code) || strings.Contains(string(file), indented), name[1])
		} else {
			assert.Equal(t, string(file), code, name[1])
		}
	}
	require.Greater(t, files, 5, "the test would pass without testing")
}
