package interop_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/interop.md anew")

const (
	document = "../docs/interop.md"
	runOn    = "Results of "
	heading  = "| program | version | its option | good tokens | bad ones refused | session token for the service " +
		"| planned rotation | seconds |\n|---|---|---|---|---|---|---|---|\n"
)

// A result is a row of the table.
type result struct {
	name, version, option string
	good                  bool
	tried, refused        int  // of the bad tokens
	typ                   bool // whether it refuses a session token that names the service
	rotation              bool
	took                  time.Duration
}

// verdicts are the cells that must not change unnoticed.
func (r *result) verdicts() string {
	word := func(yes bool, is, isNot string) string {
		if yes {
			return is
		}
		return isNot
	}
	return fmt.Sprintf("| %s | %s | %d/%d | %s | %s |", cmp.Or(r.option, "none"),
		word(r.good, "accepted", "**refused**"), r.refused, r.tried, word(r.typ, "refused", "accepted"),
		word(r.rotation, "followed", "**not followed**"))
}

func (r *result) row() string {
	return fmt.Sprintf("| %s | %s %s %.1f |\n", r.name, r.version, r.verdicts(), r.took.Seconds())
}

// compare prints the results, and compares them with the table in the document.
// A program that is missing here has its row only there.
func compare(t *testing.T, results []*result) {
	t.Helper()
	var rows strings.Builder
	missing := 0
	for _, r := range results {
		if r == nil {
			missing++
			continue
		}
		rows.WriteString(r.row())
	}
	report(t, heading+rows.String())
	if *update {
		require.Zero(t, missing, "install all programs first: make needs")
		require.False(t, t.Failed(), "the table is written when all is well")
		write(t, rows.String())
	}
	committed := read(t)
	for _, r := range results {
		if r != nil {
			assert.Equal(t, committed[r.name], r.verdicts(), "%s: look why, then go test -run TestMatrix . -update", r.name)
		}
	}
	assert.Len(t, committed, len(results), "docs/interop.md has a program that does not run")
}

// read returns the verdicts that the document has on each program.
func read(t *testing.T) map[string]string {
	t.Helper()
	_, table := split(t)
	verdicts := make(map[string]string)
	for row := range strings.Lines(table) {
		cells := strings.Split(row, " | ")
		require.Len(t, cells, 8, row)
		verdicts[strings.TrimPrefix(cells[0], "| ")] = "| " + strings.Join(cells[2:7], " | ") + " |"
	}
	return verdicts
}

// split returns the document up to the date of the last run, and the rows of
// its table, which ends it.
func split(t *testing.T) (prose, rows string) {
	t.Helper()
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	prose, _, dated := strings.Cut(string(text), runOn)
	_, rows, headed := strings.Cut(string(text), heading)
	require.True(t, dated && headed, "the document lacks its date or its table")
	return prose, rows
}

func write(t *testing.T, rows string) {
	t.Helper()
	prose, _ := split(t)
	text := prose + runOn + time.Now().UTC().Format(time.DateOnly) + ":\n\n" + heading + rows
	require.NoError(t, os.WriteFile(document, []byte(text), 0o644))
}

// report shows text, also when the test passes, if make runs it.
func report(t *testing.T, text string) {
	t.Helper()
	t.Log("\n" + text)
	path := os.Getenv("TEST_REPORT")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}
