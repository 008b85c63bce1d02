package cloakroom_test

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// Code has at most 120 characters on a line, and comments have 80. A URL can't
// be broken, and a row of a table of tests stays on one line.
func TestShortLines(t *testing.T) {
	read := 0
	for _, file := range repoFiles(t) {
		if path.Ext(file) != ".go" {
			continue
		}
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		read++
		isOutput := false // of an example
		for i, line := range strings.Split(string(data), "\n") {
			isOutput = strings.HasPrefix(line, "\t//") && (isOutput || strings.HasSuffix(line, "// Output:"))
			if n := utf8.RuneCountInString(line); n > longestLine(file, line) && !isOutput {
				t.Errorf("%s:%d: %d characters; break the line", file, i+1, n)
			}
		}
	}
	require.Positive(t, read)
}

var (
	unbroken = regexp.MustCompile(`https?://\S+$|^//(go|lint):|^\s*//\t`) // also what is set as code
	tableRow = regexp.MustCompile("^\\s*(\\{.*\\}|`[^`]*`),$")
)

func longestLine(file, line string) int {
	isComment := strings.HasPrefix(strings.TrimSpace(line), "//")
	switch {
	case isComment && unbroken.MatchString(line):
		return 1000
	case isComment:
		return 80
	case strings.HasSuffix(file, "_test.go") && tableRow.MatchString(line):
		return 1000
	}
	return 120
}
