package timeline

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// The colours of everything except bars. The card has its own background, so
// that it can be read on any page.
const (
	card   = "#ffffff"
	border = "#d0d7de"
	past   = "#f4f6f8" // behind the past
	grid   = "#e1e6eb"
	ink    = "#1f2328"
	dim    = "#57606a"
)

const (
	sans = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', Arial, sans-serif"
	mono = "ui-monospace, 'SF Mono', 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
)

// Measures in pixels at the natural size.
const (
	pageWidth  = 960.0
	margin     = 24.0
	chartLeft  = 192.0
	chartRight = pageWidth - margin
	chartWidth = chartRight - chartLeft

	topHeight   = 74.0 // title and period
	axisHeight  = 24.0
	pillHeight  = 20.0
	groupHeight = 30.0
	rowHeight   = 38.0
	barHeight   = 22.0
	thinHeight  = 8.0
	leastBar    = 4.0 // a shorter one could be neither seen nor pointed at

	charWidth = 6.6 // of 12 pixel text; generous, because the reader's browser picks the font
	boldWidth = 7.6
)

// SVG writes t as an SVG 1.1 picture, 960 pixels wide: a row for each key, a
// colour for each state. Hover shows the ID, the exact instants and the reason.
// The picture loads nothing, and can be put into a page of HTML as it is. The
// classes of its elements begin with tl-, for pages that restyle it.
func SVG(w io.Writer, t *rotation.Timeline) error {
	c, err := newChart(t)
	if err != nil {
		return err
	}
	picture, err := c.svg(true)
	if err != nil {
		return err
	}
	_, err = w.Write(picture)
	return err
}

// svg returns the picture, with its title drawn in it or not.
func (c *chart) svg(titled bool) ([]byte, error) {
	p := &painter{chart: c, titled: titled}
	body := p.body()
	root := el("svg", "xmlns", "http://www.w3.org/2000/svg", "version", "1.1", "class", "tl", "role", "img",
		"width", pageWidth, "height", p.y,
		"viewBox", fmt.Sprintf("0 0 %s %s", value(pageWidth), value(p.y)), "font-family", sans, "font-size", 12)
	root.add(el("title").text("Lives of the keys"), el("desc").text(p.description()), p.defs())
	root.add(el("rect", "class", "tl-card", "x", 0.5, "y", 0.5, "width", pageWidth-1, "height", p.y-1, "rx", 10,
		"fill", card, "stroke", border))
	root.add(body...)
	text, err := xml.MarshalIndent(root, "", " ")
	if err != nil {
		return nil, fmt.Errorf("timeline: drawing: %w", err)
	}
	return append(text, '\n'), nil
}

// A painter draws a chart from top to bottom.
type painter struct {
	*chart
	titled bool
	y      float64 // everything above it is drawn
	rows   []*element
}

// body draws everything on the card.
func (p *painter) body() []*element {
	head := p.head()
	if len(p.Rows) == 0 {
		p.y += 30
		note := el("text", "class", "tl-dim", "x", margin, "y", p.y-14, "font-size", 13,
			"fill", dim).text("There are no keys.")
		p.y += margin
		return append(head, note)
	}
	if len(p.Rows) > manyRows {
		p.y += axisHeight
	}
	top := p.y
	if p.present() {
		p.y += pillHeight + 6
	}
	first := p.y
	p.keys()
	bottom := p.y + 6
	p.y = bottom + axisHeight + 14
	all := append(head, p.background(first, bottom)...)
	if len(p.Rows) > manyRows {
		first = top
	}
	all = append(all, p.axis(first, bottom)...)
	all = append(all, p.rows...)
	all = append(all, p.today(top, bottom)...)
	return append(all, p.legend()...)
}

func (p *painter) head() []*element {
	if !p.titled {
		p.y = margin
		return nil
	}
	p.y = topHeight
	return []*element{
		el("text", "class", "tl-ink", "x", margin, "y", 38, "font-size", 18, "font-weight", 600,
			"fill", ink).text("Lives of the keys"),
		el("text", "class", "tl-dim", "x", margin, "y", 58, "font-size", 12.5, "fill", dim).text(p.period() + " UTC"),
	}
}

// description returns a text for people who can't see the picture.
func (p *painter) description() string {
	var active []string
	for _, r := range p.Rows {
		for _, s := range r.Spans {
			if s.State == keyset.Active && !s.From.After(p.Now) && (s.Until.IsZero() || s.Until.After(p.Now)) && !r.Planned {
				active = append(active, p.short[r.ID])
			}
		}
	}
	text := fmt.Sprintf("%s from %s UTC, with a bar for each state, as of %s.", count(len(p.Rows), "key"), p.period(),
		instant(p.Now))
	if len(active) > 0 {
		text += " Active then: " + strings.Join(active, ", ") + "."
	}
	return text
}

// defs holds the hatch of revoked keys.
func (p *painter) defs() *element {
	l := lookOf(keyset.Revoked)
	hatch := el("pattern", "id", "tl-hatch", "width", 7, "height", 7, "patternUnits", "userSpaceOnUse",
		"patternTransform", "rotate(45)")
	hatch.add(el("rect", "width", 7, "height", 7, "fill", l.fill), el("rect", "width", 2, "height", 7, "fill", l.edge))
	return el("defs").add(hatch)
}

// x is where on the picture t is.
func (p *painter) x(at float64) float64 { return chartLeft + at*chartWidth }

// background shades the past.
func (p *painter) background(top, bottom float64) []*element {
	until := 0.0
	switch {
	case p.present():
		until = p.at(p.Now)
	case p.Now.After(p.Until):
		until = 1
	}
	if until == 0 {
		return nil
	}
	return []*element{el("rect", "class", "tl-past", "x", chartLeft, "y", top, "width", until*chartWidth,
		"height", bottom-top, "fill", past)}
}

// axis draws the dates below the rows, and also above them if there are many.
func (p *painter) axis(top, bottom float64) []*element {
	var all []*element
	for _, t := range p.ticks(chartWidth, func(chars int) float64 { return float64(chars)*charWidth + 16 }) {
		x := p.x(p.at(t.at))
		all = append(all, el("line", "class", "tl-grid", "x1", x, "y1", top, "x2", x, "y2", bottom+5, "stroke", grid))
		if x+float64(len(t.label))*charWidth/2 > pageWidth-4 {
			continue // it would reach beyond the card
		}
		all = append(all, p.date(t, x, bottom+19))
		if len(p.Rows) > manyRows {
			all = append(all, p.date(t, x, top-8))
		}
	}
	return append(all, el("line", "class", "tl-axis", "x1", chartLeft, "y1", bottom, "x2", chartRight, "y2", bottom,
		"stroke", "#8b949e"))
}

func (p *painter) date(t tick, x, y float64) *element {
	return el("text", "class", "tl-dim tl-date", "x", x, "y", y, "text-anchor", "middle", "fill", dim).text(t.label)
}

// today draws the line at now, and its label.
func (p *painter) today(top, bottom float64) []*element {
	if !p.present() {
		return nil
	}
	x, text := p.x(p.at(p.Now)), p.chart.today()
	width := float64(len(text))*boldWidth + 16
	left := min(max(x-width/2, margin), pageWidth-margin-width)
	line := func(class, color string, width float64) *element {
		return el("line", "class", class, "x1", x, "y1", top+pillHeight, "x2", x, "y2", bottom, "stroke", color,
			"stroke-width", width)
	}
	return []*element{
		line("tl-halo", card, 3.5), line("tl-now", ink, 1.5), // visible on light and on dark bars
		el("rect", "class", "tl-pill", "x", left, "y", top, "width", width, "height", pillHeight, "rx", pillHeight/2,
			"fill", ink).title(instant(p.Now)),
		el("text", "class", "tl-card-ink", "x", left+width/2, "y", top+14, "text-anchor", "middle", "font-weight", 600,
			"fill", card, "pointer-events", "none").text(text),
	}
}
