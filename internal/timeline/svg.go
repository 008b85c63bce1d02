package timeline

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

//go:embed page.html picture.svg
var templates embed.FS

// Measures in pixels at the natural size. What stays in its place is written
// in picture.svg.
const (
	pageWidth  = 960.0
	margin     = 24.0
	chartLeft  = 192.0
	chartWidth = pageWidth - margin - chartLeft

	topHeight   = 74.0 // title and period
	axisHeight  = 24.0
	axisGap     = 6.0  // above it
	nowHeight   = 26.0 // the label of the line at now, and a gap
	groupHeight = 30.0
	rowHeight   = 38.0
	barHeight   = 22.0
	thinHeight  = 8.0
	gap         = 1.0 // between two bars
	leastBar    = 4.0 // a shorter one could be neither seen nor pointed at

	// Of 12 pixel text. They are generous, because the reader's browser picks the
	// font: nobody has it when the picture is drawn.
	charWidth = 6.6
	boldWidth = 7.6
)

// A px is a length in pixels.
type px float64

// String has at most two digits after the point, so that the same picture has
// the same bytes on every machine.
func (v px) String() string {
	return strconv.FormatFloat(float64(int64(v*100+0.5))/100, 'f', -1, 64)
}

// SVG writes t as an SVG 1.1 picture, 960 pixels wide: a row for each key, a
// colour for each state. Hover shows the ID, the exact instants and the reason.
// The picture loads nothing, and can be put into a page of HTML as it is. The
// classes of its elements begin with tl-, for pages that restyle it.
func SVG(w io.Writer, t *rotation.Timeline) error { return draw(w, t, "picture.svg") }

// HTML writes t as one page: the picture of [SVG] without its title, and a
// table of the changes of state with their reasons, the past ones apart from
// the planned ones.
func HTML(w io.Writer, t *rotation.Timeline) error { return draw(w, t, "page.html") }

// draw executes a template. html/template escapes what comes from a file as
// each place in HTML or SVG needs it.
func draw(w io.Writer, t *rotation.Timeline, name string) error {
	c, err := newChart(t)
	if err != nil {
		return err
	}
	tmpl, err := template.New(name).Funcs(template.FuncMap{
		"add": func(x, y px) px { return x + y },
		"sub": func(x, y px) px { return x - y },

		"date":  func(t time.Time) string { return t.Format(c.layout()) },
		"exact": instant,
		"from":  from,
		"short": func(id string) string { return c.short[id] },
	}).ParseFS(templates, "*")
	if err != nil {
		return fmt.Errorf("timeline: template: %w", err)
	}
	var out bytes.Buffer // nothing is written unless all of it can be
	if err := tmpl.Execute(&out, newPicture(c, name == "picture.svg")); err != nil {
		return fmt.Errorf("timeline: drawing: %w", err)
	}
	_, err = w.Write(out.Bytes())
	return err
}

// A picture is the data of the templates: what is where.
type picture struct {
	*chart
	Titled       bool
	Top          px // of the chart with its label at now
	Grid         px // where the lines of the dates begin
	First        px // of the first row
	Bottom       px // where the axis is
	Height       px // of the card
	Lines        []line
	Legend       []swatch
	Past, Future []rotation.Event
}

// A line is a row with its place. The first of a use has a heading.
type line struct {
	*rotation.Row
	Heading, Kind string
	Mid           px
	Bars          []swatch
}

// A swatch is the shape of a state: a full bar, or a thin one if the key does
// nothing; lighter and with a dashed outline if it is not made yet. Its outline
// is within its width.
type swatch struct {
	look
	rotation.Span
	Planned       bool
	X, Y, Mid     px
	Width, Height px
	Round         px     // radius of the corners
	Word          string // in the bar, or beside it in the legend
	WordX         px
}

func newPicture(c *chart, titled bool) *picture {
	p := &picture{chart: c, Titled: titled, Top: margin}
	p.Past, p.Future = c.history()
	if titled {
		p.Top = topHeight
	}
	if len(c.Rows) == 0 {
		p.Height = p.Top + 30 + margin
		return p
	}
	if p.Many() {
		p.Top += axisHeight
	}
	p.First = p.Top
	if p.present() {
		p.First += nowHeight
	}
	p.Grid = p.First
	if p.Many() {
		p.Grid = p.Top
	}
	p.Bottom = p.First + axisGap
	for i := range p.Rows {
		p.addLine(i)
	}
	p.addLegend()
	return p
}

// addLine draws the life of a key at the bottom.
func (p *picture) addLine(i int) {
	r := &p.Rows[i]
	l := line{Row: r, Kind: clip(string(r.Algorithm), maxAlg)}
	if i == 0 || r.Use != p.Rows[i-1].Use {
		l.Heading = useName(r.Use)
		p.Bottom += groupHeight
	}
	if r.Planned {
		l.Kind += ", planned"
	}
	l.Mid = p.Bottom - axisGap + rowHeight/2
	for _, b := range place(bars(r, p.From, p.Until), chartWidth, leastBar, false) {
		s := newSwatch(b.span, r.Planned, px(chartLeft+b.x0), l.Mid, px(b.x1-b.x0)-gap)
		p.setWord(&s)
		l.Bars = append(l.Bars, s)
	}
	p.Lines = append(p.Lines, l)
	p.Bottom += rowHeight
}

// newSwatch returns a shape of a width around mid. Its outline is 1 pixel wide
// and runs half a pixel further in, so that it covers whole pixels, and is
// sharp.
func newSwatch(s rotation.Span, planned bool, x, mid, width px) swatch {
	l, height := lookOf(s.State), px(barHeight)
	if l.thin {
		height = thinHeight
	}
	return swatch{look: l, Span: s, Planned: planned, X: x + 0.5, Y: mid - height/2 + 0.5, Mid: mid,
		Width: width - 1, Height: height - 1, Round: min(2.5, (width-1)/2)}
}

// setWord names a bar, or gives a letter if the name is too long for it.
func (p *picture) setWord(s *swatch) {
	if s.thin {
		return
	}
	for _, word := range [...]string{s.State.String(), s.letter} {
		width := px(len([]rune(word)))*charWidth + 6
		if left, right := p.clear(s.X-0.5, s.X+s.Width+0.5, width); right-left >= width {
			s.Word, s.WordX = word, (left+right)/2
			return
		}
	}
}

// clear returns the larger part of a bar beside the line at now, if the line
// would strike a word in the middle through.
func (p *picture) clear(from, until, width px) (left, right px) {
	now, mid := p.x(p.Now), (from+until)/2
	switch {
	case !p.present() || now < mid-width/2 || now > mid+width/2:
		return from, until
	case now < mid:
		return max(from, now), until
	}
	return from, min(until, now)
}

// addLegend explains what occurs in the window, and so ends the card.
func (p *picture) addLegend() {
	const perLine = 6 // a seventh entry makes two lines
	states, planned := p.states()
	entries, columns := len(states), perLine
	if planned {
		states = append(states, keyset.Active)
	}
	if len(states) > perLine {
		columns = (len(states) + 1) / 2
	}
	y := p.Bottom + axisHeight + 14
	for i, state := range states {
		if i > 0 && i%columns == 0 {
			y += 40
		}
		x := margin + px(i%columns)*(pageWidth-2*margin)/perLine
		s := newSwatch(rotation.Span{State: state}, i == entries, x, y+16, 24)
		s.Word = state.String()
		if s.Planned {
			s.Word, s.Meaning = "planned", "not made yet"
		}
		p.Legend = append(p.Legend, s)
	}
	p.Height = y + 32 + margin
}

// x is where on the picture t is.
func (p *picture) x(t time.Time) px { return px(chartLeft + p.at(t)*chartWidth) }

// Elapsed is the width of the past.
func (p *picture) Elapsed() px { return px(min(max(p.at(p.Now), 0), 1) * chartWidth) }

// A date is a label of the axis, empty if it would reach beyond the card.
type date struct {
	X     px
	Label string
}

// Dates returns the ticks with their places.
func (p *picture) Dates() (all []date) {
	for _, t := range p.ticks(chartWidth, func(chars int) float64 { return float64(chars)*charWidth + 16 }) {
		d := date{p.x(t.at), t.label}
		if d.X+px(len(t.label))*charWidth/2 > pageWidth-4 {
			d.Label = ""
		}
		all = append(all, d)
	}
	return all
}

// A mark is the line at now, with its label.
type mark struct {
	X, Left, Mid, Width px
	Text                string
}

// Today returns the mark, or nil if now is not in the window.
func (p *picture) Today() *mark {
	if !p.present() {
		return nil
	}
	m := &mark{X: p.x(p.Now), Text: p.today()}
	m.Width = px(len(m.Text))*boldWidth + 16
	m.Left = min(max(m.X-m.Width/2, margin), pageWidth-margin-m.Width)
	m.Mid = m.Left + m.Width/2
	return m
}

// Description returns a text for people who can't see the picture.
func (p *picture) Description() string {
	var active []string
	for _, r := range p.Rows {
		for _, s := range r.Spans {
			ended := !s.Until.IsZero() && !s.Until.After(p.Now)
			if s.State == keyset.Active && !s.From.After(p.Now) && !ended && !r.Planned {
				active = append(active, p.short[r.ID])
			}
		}
	}
	text := fmt.Sprintf("%s from %s UTC, with a bar for each state, as of %s.", p.Keys(), p.Period(), instant(p.Now))
	if len(active) > 0 {
		text += " Active then: " + strings.Join(active, ", ") + "."
	}
	return text
}
