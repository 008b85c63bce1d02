package timeline

import (
	"fmt"
	"io"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// TextOptions says what the terminal can show.
type TextOptions struct {
	// Width is in columns; 0 means 80. Less than 40 counts as 40, because a date
	// and the longest ID need that, and more than 400 as 400, because a wrong
	// width must not fill the memory.
	Width int
	Color bool // use ANSI colours; the chart is readable without them
}

// minChart is how many columns a chart needs beside its labels. With fewer, the
// usual four states of a key could hardly be told apart, so the labels get
// lines of their own.
const minChart = 20

// maxAlg and maxUse are the longest alg and use that a label has room for. All
// that exist fit; others come from a damaged file.
const maxAlg, maxUse = 14, 4

// In the list of events, a reason stands beside its change if it has minReason
// columns there. In fewer, most reasons would be broken into three lines or
// more, so they stand below, indented by under.
const (
	under     = "      "
	minReason = 40
)

// Text writes t as a bar chart for a terminal in UTF-8: a row for each key, a
// character for each state, and below it the changes of state with their
// reasons, the past ones apart from the planned ones. No line is longer than
// the width.
func Text(w io.Writer, t *rotation.Timeline, o TextOptions) error {
	c, err := newChart(t)
	if err != nil {
		return err
	}
	if o.Width == 0 {
		o.Width = 80
	}
	p := &printer{chart: c, width: min(max(o.Width, 40), 400), color: o.Color}
	p.print()
	_, err = io.WriteString(w, p.out.String())
	return err
}

// A printer writes a chart as text.
type printer struct {
	*chart
	out    strings.Builder
	width  int
	color  bool
	labels []string // beside the bars
	indent int      // columns before the chart
	wide   int      // columns of the chart
	left   int      // columns of the chart before the line at now
}

func (p *printer) print() {
	for _, line := range wrap("Keys, "+p.Period()+" UTC", p.width) {
		p.line(p.paint("1", line))
	}
	p.line("")
	if len(p.Rows) == 0 {
		p.line("There are no keys.")
		return
	}
	p.measure()
	if p.Many() {
		p.axis(false)
	}
	p.marker()
	for i := range p.Rows {
		p.row(i)
	}
	p.axis(true)
	p.line("")
	p.legend()
	past, future := p.history()
	p.events("Past", past)
	p.events("To come", future)
}

// measure decides where the chart begins and how wide it is.
func (p *printer) measure() {
	var kid, alg, use int
	labels := make([][3]string, len(p.Rows))
	for i, r := range p.Rows {
		l := [...]string{p.name(r.ID, r.Planned), clip(string(r.Algorithm), maxAlg), clip(string(r.Use), maxUse)}
		kid, alg, use = max(kid, length(l[0])), max(alg, length(l[1])), max(use, length(l[2]))
		labels[i] = l
	}
	for i, l := range labels {
		id, about := pad(l[0], kid)+" ", pad(l[1], alg)+" "+pad(l[2], use)
		if p.Rows[i].Planned {
			id, about = "", id+about
		}
		p.labels = append(p.labels, id+p.paint("2", about))
	}
	p.indent = kid + 1 + alg + 1 + use + 2
	if p.width-p.indent < minChart {
		p.indent = 0
	}
	p.wide = p.width - p.indent
	p.left = p.wide
	if !p.present() {
		return
	}
	p.left = int(p.at(p.Now)*float64(p.wide-1) + 0.5)
	// A state that has just begun or is about to end gets a column too.
	if p.Now.After(p.From) {
		p.left = max(p.left, 1)
	}
	if p.Now.Before(p.Until) {
		p.left = min(p.left, p.wide-2)
	}
}

// now stands for the line at now among the states of a row.
const now = keyset.Revoked + 1

// column returns the state of a key in each column of the chart. The past is
// left of the line and the future right of it, so that rounding never moves a
// change to the other side.
func (p *printer) column(r *rotation.Row) []keyset.State {
	cells := make([]keyset.State, p.wide)
	fill := func(cells []keyset.State, list []bar) {
		for _, b := range place(list, float64(len(cells)), 1, true) {
			for x := int(b.x0); x < int(b.x1); x++ {
				cells[x] = b.span.State
			}
		}
	}
	if !p.present() {
		fill(cells, bars(r, p.From, p.Until))
		return cells
	}
	fill(cells[:p.left], bars(r, p.From, p.Now))
	cells[p.left] = now
	fill(cells[p.left+1:], bars(r, p.Now, p.Until))
	return cells
}

// row draws the life of a key.
func (p *printer) row(i int) {
	r, head := &p.Rows[i], p.labels[i]+"  "
	if p.indent == 0 {
		p.line(head)
		head = ""
	}
	cells := p.column(r)
	for x := 0; x < len(cells); {
		n := 1
		for x+n < len(cells) && cells[x+n] == cells[x] {
			n++
		}
		head += p.run(cells[x], n, r.Planned)
		x += n
	}
	p.line(head)
}

// run draws n columns of one state; 0 is no state.
func (p *printer) run(s keyset.State, n int, planned bool) string {
	switch s {
	case 0:
		return strings.Repeat(" ", n)
	case now:
		return p.paint("1", "│")
	}
	l := lookOf(s)
	if planned {
		l.ansi = "2;" + l.ansi
	}
	return p.paint(l.ansi, strings.Repeat(l.glyph, n))
}

// marker labels the line at now.
func (p *printer) marker() {
	if !p.present() {
		return
	}
	at, text := p.indent+p.left, p.today()
	if at+2+len(text) <= p.width {
		p.line(strings.Repeat(" ", at) + p.paint("1", "▼ "+text))
		return
	}
	p.line(strings.Repeat(" ", max(0, at-1-len(text))) + p.paint("1", text+" ▼"))
}

// axis draws the ticks and their labels, below the chart or above it.
func (p *printer) axis(below bool) {
	line, tickMark := []rune(strings.Repeat("─", p.wide)), '┴'
	if below {
		tickMark = '┬'
	}
	labels := []rune(strings.Repeat(" ", p.wide))
	for _, t := range p.ticks(float64(p.wide), func(chars int) float64 { return float64(chars + 2) }) {
		x := p.columnOf(t)
		if x >= p.wide {
			continue
		}
		line[x] = tickMark
		if x+len(t.label) > p.wide {
			x -= len(t.label) - 1 // left of its tick
		}
		// Moved to the left, a label may meet the one before it.
		if strings.TrimSpace(string(labels[max(0, x-1):])) == "" {
			copy(labels[x:], []rune(t.label))
		}
	}
	if p.present() && below {
		line[p.left] = '┴'
	}
	indent := strings.Repeat(" ", p.indent)
	if !below {
		p.line(indent + string(labels))
	}
	p.line(indent + p.paint("2", string(line)))
	if below {
		p.line(indent + string(labels))
	}
}

// columnOf returns the column of a tick, which is the one that a state would
// begin in. Both sides of the line at now have their own scale, as in column.
func (p *printer) columnOf(t tick) int {
	x := func(share float64, columns int) int { return int(share*float64(columns) + 0.5) }
	switch {
	case !p.present():
		return x(p.at(t.at), p.wide)
	case t.at.Before(p.Now):
		return min(x(p.at(t.at)/p.at(p.Now), p.left), p.left-1)
	case t.at.Equal(p.Now):
		return p.left
	}
	return p.left + 1 + x(seconds(p.Now, t.at)/seconds(p.Now, p.Until), p.wide-1-p.left)
}

// legend explains the characters that occur, in as many lines as it needs.
func (p *printer) legend() {
	states, planned := p.states()
	var items []string
	for _, s := range states {
		items = append(items, p.paint(lookOf(s).ansi, lookOf(s).glyph)+" "+s.String())
	}
	if planned {
		items = append(items, "* planned, not made yet")
	}
	line := ""
	for _, item := range items {
		switch {
		case line == "":
			line = item
		case length(line+"   "+item) <= p.width:
			line += "   " + item
		default:
			p.line(line)
			line = item
		}
	}
	if line != "" {
		p.line(line)
	}
}

// events lists changes of state. Where lines are too short for a table, the
// reason stands below, and the change as well.
func (p *printer) events(title string, list []rotation.Event) {
	if len(list) == 0 {
		return
	}
	p.line("")
	p.line(p.paint("1", title) + " (UTC)")
	kid, change := 0, 0
	for _, e := range list {
		kid, change = max(kid, length(p.name(e.ID, e.Planned))), max(change, length(p.change(e)))
	}
	head := 2 + len(p.layout()) + 2 + kid + 2 + change
	for _, e := range list {
		when, name := "  "+e.At.Format(p.layout())+"  ", p.name(e.ID, e.Planned)
		switch {
		case head+2+minReason <= p.width:
			p.hang(when+pad(name, kid)+"  "+pad(p.change(e), change)+"  ", e.Reason, head+2)
			continue
		case head <= p.width:
			p.line(when + pad(name, kid) + "  " + p.change(e))
		default:
			p.line(when + name)
			p.line(under + p.change(e))
		}
		if e.Reason != "" {
			p.hang(under, e.Reason, len(under))
		}
	}
}

// hang writes text after a head, and its further lines under the first.
func (p *printer) hang(head, text string, indent int) {
	for _, line := range wrap(text, p.width-indent) {
		p.line(head + line)
		head = strings.Repeat(" ", indent)
	}
}

// name is the ID of a key as the chart has it.
func (p *printer) name(id string, planned bool) string {
	if planned {
		return p.short[id] + "*"
	}
	return p.short[id]
}

func (p *printer) change(e rotation.Event) string {
	return from(e) + " → " + p.paint(lookOf(e.To).ansi, e.To.String())
}

func (p *printer) line(s string) {
	fmt.Fprintln(&p.out, strings.TrimRight(s, " "))
}

// paint colours s; code is an SGR parameter. Blanks at the end stay outside, to
// be cut off at the end of a line.
func (p *printer) paint(code, s string) string {
	text := strings.TrimRight(s, " ")
	if !p.color || text == "" {
		return s
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m" + s[len(text):]
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-length(s)))
}
