package timeline

import (
	"fmt"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// keys draws all rows, with a heading for each use.
func (p *painter) keys() {
	for i := range p.Rows {
		r := &p.Rows[i]
		if i == 0 || r.Use != p.Rows[i-1].Use {
			p.rows = append(p.rows,
				el("text", "class", "tl-ink", "x", margin, "y", p.y+20, "font-weight", 600, "fill", ink).text(useName(r.Use)))
			p.y += groupHeight
		}
		p.rows = append(p.rows, p.row(r))
		p.y += rowHeight
	}
}

// row draws the life of one key.
func (p *painter) row(r *rotation.Row) *element {
	mid := p.y + rowHeight/2
	g := el("g", "class", "tl-row").add(el("g").title(r.ID).add(
		el("text", "class", "tl-ink", "x", margin, "y", mid-1, "font-family", mono, "font-size", 13,
			"fill", ink).text(p.short[r.ID]),
		el("text", "class", "tl-dim", "x", margin, "y", mid+13, "font-size", 11, "fill", dim).text(kind(r)),
	))
	for _, b := range place(bars(r, p.From, p.Until), chartWidth, leastBar, false) {
		g.add(p.bar(r, b, mid))
	}
	return g
}

func kind(r *rotation.Row) string {
	text := clip(string(r.Algorithm), maxAlg)
	if r.Planned {
		text += ", planned"
	}
	return text
}

// bar draws one span, with its name if there is room.
func (p *painter) bar(r *rotation.Row, b bar, mid float64) *element {
	x, width := chartLeft+b.x0, b.x1-b.x0-1 // the 1 is a gap before the next bar
	g := el("g", "class", "tl-bar").title(hover(r, b.span))
	shape := swatch(b.span.State, r.Planned, x, mid, width)
	if r.Planned { // it is transparent, so cover the grid behind it
		under := swatch(b.span.State, false, x, mid, width)
		under.set("class", "tl-under", "fill", card, "stroke", "none")
		g.add(under)
	}
	g.add(shape)
	return g.add(p.word(r, b.span.State, x, x+width, mid)...)
}

// word names a bar, or gives a letter if the name is too long for it.
func (p *painter) word(r *rotation.Row, s keyset.State, from, until, mid float64) []*element {
	l := lookOf(s)
	if l.thin {
		return nil
	}
	color, class := l.ink, "tl-word"
	if r.Planned {
		color, class = ink, "tl-ink"
	}
	for _, name := range [...]string{s.String(), l.letter} {
		width := float64(len([]rune(name)))*charWidth + 6
		if left, right := p.clear(from, until, width); right-left >= width {
			return []*element{el("text", "class", class, "x", (left+right)/2, "y", mid+4, "text-anchor", "middle",
				"font-size", 11.5, "fill", color, "pointer-events", "none").text(name)}
		}
	}
	return nil
}

// clear returns the larger part of a bar beside the line at now, if the line
// would strike a word in the middle through.
func (p *painter) clear(from, until, width float64) (left, right float64) {
	now, mid := p.x(p.at(p.Now)), (from+until)/2
	switch {
	case !p.present() || now < mid-width/2 || now > mid+width/2:
		return from, until
	case now < mid:
		return max(from, now), until
	}
	return from, min(until, now)
}

// swatch is the shape of a state: a full bar, or a thin one if the key does
// nothing; lighter and with a dashed outline if it is not made yet. The outline
// is within the width.
func swatch(s keyset.State, planned bool, x, mid, width float64) *element {
	l := lookOf(s)
	height, fill := barHeight, l.fill
	if l.thin {
		height = thinHeight
	}
	if s == keyset.Revoked {
		fill = "url(#tl-hatch)"
	}
	shape := el("rect", "class", "tl-fill tl-"+s.String(), "x", x+0.5, "y", mid-height/2+0.5, "width", width-1,
		"height", height-1, "rx", min(2.5, (width-1)/2), "fill", fill, "stroke", l.edge)
	if planned {
		shape.set("fill-opacity", 0.35, "stroke-dasharray", "4 3")
	}
	return shape
}

// hover says all there is to say of a span.
func hover(r *rotation.Row, s rotation.Span) string {
	lines := []string{
		fmt.Sprintf("%s (%s, %s)", r.ID, r.Algorithm, r.Use),
		s.State.String() + " from " + limit(s.From, "the beginning"),
		"until " + limit(s.Until, "further notice"),
	}
	if r.Planned {
		lines[0] = "planned: " + lines[0]
	}
	if s.Reason != "" {
		lines = append(lines, "why: "+s.Reason)
	}
	return strings.Join(lines, "\n")
}

// legend explains what occurs in the window.
func (p *painter) legend() []*element {
	states, planned := p.states()
	entries := len(states)
	if planned {
		entries++
	}
	columns := 6
	if entries > columns {
		columns = (entries + 1) / 2
	}
	var all []*element
	for i := range entries {
		if i > 0 && i%columns == 0 {
			p.y += 40
		}
		x := margin + float64(i%columns)*(pageWidth-2*margin)/float64(max(columns, 6))
		if i < len(states) {
			s := states[i]
			all = append(all, p.entry(x, swatch(s, false, x, p.y+16, 24), s.String(), lookOf(s).meaning)...)
		} else {
			all = append(all, p.entry(x, swatch(keyset.Active, true, x, p.y+16, 24), "planned", "not made yet")...)
		}
	}
	p.y += 32 + margin
	return all
}

func (p *painter) entry(x float64, shape *element, name, meaning string) []*element {
	return []*element{
		shape,
		el("text", "class", "tl-ink", "x", x+32, "y", p.y+15, "font-weight", 600, "fill", ink).text(name),
		el("text", "class", "tl-dim", "x", x+32, "y", p.y+29, "font-size", 11, "fill", dim).text(meaning),
	}
}
