// Report writes the tables of docs/benchmarks.md from the output of the
// benchmarks:
//
//	report docs/benchmarks.md <output
//
// It replaces what is between the two markers in that file.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

const begin, end = "<!-- figures: make bench-peers writes them -->\n", "<!-- end of figures -->\n"

func main() {
	if err := run(os.Args[1:], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(args []string, output io.Reader) error {
	if len(args) != 1 {
		return errors.New("usage: report FILE <output")
	}
	f, err := parse(output)
	if err != nil {
		return err
	}
	doc, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	before, rest, hasBegin := bytes.Cut(doc, []byte(begin))
	_, after, hasEnd := bytes.Cut(rest, []byte(end))
	if !hasBegin || !hasEnd {
		return fmt.Errorf("%s lacks the markers %q and %q", args[0], begin, end)
	}
	text := machine(f) + "\n" + f.targetTable() + f.tables()
	return os.WriteFile(args[0], slices.Concat(before, []byte(begin+"\n"+text+"\n"+end), after), 0o644)
}

// A row is what one case measures: of one kind of request, or one number of
// sessions.
type row struct {
	benchmark string // "Redis"
	labels    string // "read | 64"
	unit      string // "ns/op" for a time, which becomes microseconds
}

// figures are the results, in the order in which they came.
type figures struct {
	cpu    string
	rounds int
	heads  map[string]string // of a benchmark's table: "case | clients"
	rows   []row
	peers  map[string][]string // of a benchmark
	values map[row]map[string][]float64
}

// parse reads the lines "BenchmarkRedis/case=read/clients=64/peer=ours-2 N
// value unit value unit …".
func parse(output io.Reader) (*figures, error) {
	f := &figures{heads: map[string]string{}, peers: map[string][]string{}, values: map[row]map[string][]float64{}}
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if cpu, ok := strings.CutPrefix(lines.Text(), "cpu: "); ok {
			f.cpu = strings.TrimSpace(cpu)
		}
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := fields[0]
		if i := strings.LastIndex(name, "-"); i > 0 {
			name = name[:i] // the number of CPUs
		}
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", lines.Text(), err)
			}
			f.add(strings.TrimPrefix(name, "Benchmark"), fields[i+1], value)
		}
	}
	if len(f.rows) == 0 {
		return nil, errors.New("there are no benchmarks in the input")
	}
	return f, lines.Err()
}

func (f *figures) add(name, unit string, value float64) {
	if unit == "B/op" || unit == "allocs/op" {
		return
	}
	benchmark, rest, _ := strings.Cut(name, "/")
	var heads, labels []string
	peer := ""
	for part := range strings.SplitSeq(rest, "/") {
		key, label, _ := strings.Cut(part, "=")
		if key == "peer" {
			peer = label
			continue
		}
		heads, labels = append(heads, key), append(labels, label)
	}
	r := row{benchmark, strings.Join(labels, " | "), unit}
	if unit != "ns/op" {
		heads = append(heads, "figure")
	}
	f.heads[benchmark] = strings.Join(heads, " | ")
	if f.values[r] == nil {
		f.values[r] = map[string][]float64{}
		f.rows = append(f.rows, r)
	}
	if !slices.Contains(f.peers[benchmark], peer) {
		f.peers[benchmark] = append(f.peers[benchmark], peer)
	}
	f.values[r][peer] = append(f.values[r][peer], value)
	f.rounds = max(f.rounds, len(f.values[r][peer]))
}

// median returns the median of what was measured. Times are in microseconds,
// without that of a bare handler.
func (f *figures) median(r row, peer string) (value float64, ok bool) {
	values := slices.Sorted(slices.Values(f.values[r][peer]))
	if len(values) == 0 {
		return 0, false
	}
	value = (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	if r.unit != "ns/op" {
		return value, true
	}
	value /= 1000
	if _, clients, ok := strings.Cut(r.labels, " | "); ok && r.benchmark != "Bare" {
		handler, _ := f.median(row{"Bare", "read | " + clients, "ns/op"}, "bare")
		value -= handler
	}
	return value, true
}

// tables returns a table for each benchmark. A cell has the value, and how many
// times that of ours it is.
func (f *figures) tables() string {
	var b strings.Builder
	benchmark := ""
	for _, r := range f.rows {
		peers := f.peers[r.benchmark]
		if r.benchmark != benchmark {
			benchmark = r.benchmark
			fmt.Fprintf(&b, "\n### %s\n\n| %s | %s |\n|%s\n", benchmark, f.heads[benchmark], strings.Join(peers, " | "),
				strings.Repeat("---|", strings.Count(f.heads[benchmark], "|")+1+len(peers)))
		}
		labels := r.labels
		if r.unit != "ns/op" {
			labels += " | " + r.unit
		}
		fmt.Fprintf(&b, "| %s |", labels)
		ours, hasOurs := f.median(r, "ours")
		for _, peer := range peers {
			value, ok := f.median(r, peer)
			switch {
			case !ok:
				b.WriteString(" |")
			case !hasOurs || peer == "ours" || ours <= 0:
				fmt.Fprintf(&b, " %s |", short(value))
			default:
				fmt.Fprintf(&b, " %s (%s) |", short(value), short(value/ours))
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// short returns v with three digits.
func short(v float64) string {
	digits := 2
	for limit := 10.0; digits > 0 && v >= limit; limit *= 10 {
		digits--
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}
