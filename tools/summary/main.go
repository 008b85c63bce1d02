// Command summary reads the output of go test -json, shows what go test
// shows without -json, and writes to a file which tests were skipped, and why:
//
//	go test -json ./... | summary skipped.txt
//
// Lines that are not JSON pass through. The exit code is 0 also where tests
// failed: go test itself has the last word on that.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// An event is a line of go test -json; see go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

type testID struct{ pkg, test string }

// A summary holds the output of tests that are still running, and the names of
// skipped tests by reason.
type summary struct {
	out     io.Writer
	pending map[testID][]string
	reasons []string
	skipped map[string][]string
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ./... | summary FILE")
		os.Exit(2)
	}
	text, err := summarize(os.Stdin, os.Stdout)
	if err == nil {
		err = os.WriteFile(os.Args[1], []byte(text), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(1)
	}
}

// summarize copies in to out, without the output of tests that passed, and
// returns the tests that were skipped as one line.
func summarize(in io.Reader, out io.Writer) (string, error) {
	s := &summary{out: out, pending: map[testID][]string{}, skipped: map[string][]string{}}
	lines := bufio.NewReader(in) // a Scanner would have a longest line
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			s.line(line)
		}
		if err == io.EOF {
			return s.skips(), nil
		}
		if err != nil {
			return "", err
		}
	}
}

func (s *summary) line(line string) {
	var e event
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(s.out, line)
		return
	}
	switch id := (testID{e.Package, e.Test}); e.Action {
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "output":
		s.output(id, e.Output)
	case "fail":
		s.fail(id)
	case "skip":
		s.skip(id)
		delete(s.pending, id)
	case "pass":
		delete(s.pending, id)
	}
}

// output keeps what a test prints until its end, and shows the verdict on a
// package.
func (s *summary) output(id testID, text string) {
	verdict := strings.HasPrefix(text, "ok  \t") || strings.HasPrefix(text, "?   \t")
	switch {
	case id.test == "" && verdict:
		fmt.Fprint(s.out, text)
	case !strings.HasPrefix(text, "=== "):
		s.pending[id] = append(s.pending[id], text)
	}
}

// fail shows what a test printed. A package that fails also shows what its
// unfinished tests printed: a process that dies reports no test's end.
func (s *summary) fail(id testID) {
	for _, other := range slices.SortedFunc(maps.Keys(s.pending), byName) {
		if other == id || id.test == "" && other.pkg == id.pkg {
			fmt.Fprint(s.out, strings.Join(s.pending[other], ""))
			delete(s.pending, other)
		}
	}
}

// byName sorts a package after its tests.
func byName(a, b testID) int {
	if a.test == "" || b.test == "" {
		return -strings.Compare(a.test, b.test)
	}
	return strings.Compare(a.test, b.test)
}

// skip notes a test with the reason that it gave.
func (s *summary) skip(id testID) {
	if id.test == "" {
		return // a package without tests
	}
	why := reason(s.pending[id])
	if s.skipped[why] == nil {
		s.reasons = append(s.reasons, why)
	}
	s.skipped[why] = append(s.skipped[why], id.test)
}

// reason returns the first line that has a place in the source, without that
// place. What follows comes from deferred functions.
func reason(lines []string) string {
	for _, line := range lines {
		place, text, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if ok && strings.Contains(place, ".go:") {
			return text
		}
	}
	return "no reason given"
}

func (s *summary) skips() string {
	var groups []string
	for _, reason := range s.reasons {
		groups = append(groups, fmt.Sprintf("%s (%s)", strings.Join(s.skipped[reason], ", "), reason))
	}
	return strings.Join(groups, "; ")
}
