package main

import (
	"fmt"
	"math"
	"strings"
)

// A target is how a figure of ours should be.
type target struct {
	what    string
	value   float64 // NaN if it was not measured
	unit    string
	limit   float64
	atLeast bool // limit is the least good value, not the highest
}

// targets returns what was measured of the targets. Times are above those of a
// bare handler, which are in both figures of a ratio or difference.
func (f *figures) targets() []target {
	at := func(benchmark, labels, peer string) float64 { return f.value(row{benchmark, labels, "ns/op"}, peer) }
	million := func(unit string) float64 { return f.value(row{"Volume", "1000000", unit}, "ours") }
	redis := func(peer string) float64 { return at("Redis", "read | 64", peer) }
	sql := func(database, clients, peer string) float64 { return at(database, "read | "+clients, peer) }
	perSelect := func(database, clients string) float64 {
		return sql(database, clients, "ours") / sql(database, clients, "select-with-deadline")
	}
	const µs, times = "µs", "times"
	return []target{
		{"in memory: read one value", at("Memory", "read | 1", "ours"), µs, 1.3, false},
		{"in memory: increment", at("Memory", "increment | 1", "ours"), µs, 3, false},
		{"in memory: create, logged in, three values", at("Memory", "create | 1", "ours"), µs, 8, false},
		{"in memory: one of 1 million sessions", million("B/session"), "B", 300, false},
		{"in memory: a garbage collection with 1 million sessions", million("gc-ms"), "ms", 20, false},
		{"in memory: p99.999 of a look-up while half of 1 million expire, to that without expiry",
			million("expire-p99.999-µs") / million("quiet-p99.999-µs"), times, 1.2, false},
		{"stateless: read one value", at("Stateless", "read | 1", "ours"), µs, 1.1, false},
		{"stateless: increment, HS256 in A256GCM", at("Stateless", "increment | 1", "ours"), µs, 7, false},
		{"stateless: increment, ES256 in A256GCM", at("Stateless", "increment | 1", "ours-ES256"), µs, 40, false},
		{"Redis: read, 64 clients, above a bare GET of valkey-go", redis("ours") - redis("valkey-go"), µs, 4, false},
		{"Redis: read, 64 clients, scs with go-redis to ours", redis("scs-go-redis") / redis("ours"), times, 2, true},
		{"the same with our client-side cache", redis("scs-go-redis") / redis("ours-cached"), times, 10, true},
		{"PostgreSQL: read, to the same SELECT with a deadline", perSelect("PostgreSQL", "1"), times, 1.25, false},
		{"the same with 8 clients", perSelect("PostgreSQL", "8"), times, 1.25, false},
		{"MariaDB: read, to the same SELECT with a deadline", perSelect("MariaDB", "1"), times, 1.25, false},
		{"the same with 8 clients", perSelect("MariaDB", "8"), times, 1.25, false},
		{"SQLite: read, above the same SELECT with a deadline",
			sql("SQLite", "1", "ours") - sql("SQLite", "1", "select-with-deadline"), µs, 5, false},
	}
}

// value is the median, or NaN if it was not measured.
func (f *figures) value(r row, peer string) float64 {
	if value, ok := f.median(r, peer); ok {
		return value
	}
	return math.NaN()
}

func (f *figures) targetTable() string {
	var b strings.Builder
	b.WriteString("### Targets\n\n| | target | measured | |\n|---|---|---|---|\n")
	for _, t := range f.targets() {
		bound, reached := "at most", t.value <= t.limit
		if t.atLeast {
			bound, reached = "at least", t.value >= t.limit
		}
		verdict := map[bool]string{true: "reached", false: "**missed**"}[reached]
		measured := short(t.value) + " " + t.unit
		if math.IsNaN(t.value) {
			measured, verdict = "not measured", ""
		}
		fmt.Fprintf(&b, "| %s | %s %g %s | %s | %s |\n", t.what, bound, t.limit, t.unit, measured, verdict)
	}
	return b.String()
}
