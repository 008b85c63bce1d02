package tool

import "fmt"

// How bad a finding is.
const (
	OK      = "ok"
	Warning = "warning"
	Problem = "problem" // what makes the thing unsafe or unusable
)

// A Finding is one result of doctor or of jwks check.
type Finding struct {
	Severity string `json:"severity"`
	Check    string `json:"check"`
	Text     string `json:"text"`
}

// Found returns a finding with its text.
func Found(severity, check, format string, args ...any) Finding {
	return Finding{severity, check, fmt.Sprintf(format, args...)}
}

// Findings are in the order of the checks.
type Findings []Finding

// Add appends a finding.
func (f *Findings) Add(severity, check, format string, args ...any) {
	*f = append(*f, Found(severity, check, format, args...))
}

// Count returns how many findings have a severity.
func (f Findings) Count(severity string) (n int) {
	for _, x := range f {
		if x.Severity == severity {
			n++
		}
	}
	return n
}

// Print prints the findings as a table, in the order of the checks.
func (f Findings) Print(t *Tool) error {
	w := NewTable(t.Stdout)
	for _, x := range f {
		w.Row(x.Severity, Words(x.Check), x.Text)
	}
	return w.Flush()
}
