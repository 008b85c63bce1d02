// Package timeline draws the lives of keys: a row for each key, a colour for
// each state, a line at today, and when and why each state begins.
//
// Use [Text] for a terminal, [SVG] for a picture in documentation or in a page
// of your own, and [HTML] for a page to open or to send. The pictures have no
// scripts, no inline styles and nothing that is loaded from elsewhere, so that
// they work as files and under a strict Content-Security-Policy. All times are
// UTC, and the same timeline gives the same bytes.
//
// Key IDs and reasons come from files. Characters that can't be printed are
// shown as escape sequences, and the rest is quoted for the format, so that no
// text can control a terminal, forge a line or add an element. A timeline that
// can't be drawn is an error: one without Now, with an empty window, with spans
// out of order, or with an unknown state.
package timeline

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// maxYears bounds the window: ticks are at most 500 years apart, and a scale
// needs two of them.
const maxYears = 1000

// A chart is a timeline that has passed check. Its times are in UTC, and its
// texts are safe in every format.
type chart struct {
	*rotation.Timeline
	short map[string]string // the beginning of each key ID, by the ID
}

func newChart(t *rotation.Timeline) (*chart, error) {
	if err := check(t); err != nil {
		return nil, err
	}
	clean := &rotation.Timeline{Now: t.Now.UTC(), From: t.From.UTC(), Until: t.Until.UTC()}
	for _, row := range t.Rows {
		clean.Rows = append(clean.Rows, cleanRow(row))
	}
	return &chart{clean, shortIDs(clean.Rows)}, nil
}

func cleanRow(r rotation.Row) rotation.Row {
	// Names are shown in ASCII: with letters that look alike, two keys could
	// look like one.
	r.ID, r.Use = ascii(r.ID), keyset.Use(ascii(string(r.Use)))
	r.Algorithm = keyset.Algorithm(ascii(string(r.Algorithm)))
	r.Spans = slices.Clone(r.Spans) // the caller's stay as they are
	for i, s := range r.Spans {
		r.Spans[i] = rotation.Span{State: s.State, From: s.From.UTC(), Until: s.Until.UTC(), Reason: printable(s.Reason)}
	}
	return r
}

func check(t *rotation.Timeline) error {
	switch {
	case t == nil:
		return errors.New("timeline: no timeline")
	case t.Now.IsZero() || t.From.IsZero() || t.Until.IsZero():
		return errors.New("timeline: Timeline.Now, From and Until are required")
	case !t.Until.After(t.From):
		return fmt.Errorf("timeline: Timeline.Until must be after From, but is %s, and From %s",
			instant(t.Until), instant(t.From))
	case t.From.UTC().Year() < 1 || t.Until.UTC().Year() > 9999 || t.Until.After(t.From.AddDate(maxYears, 0, 0)):
		return fmt.Errorf("timeline: Timeline.From and Until must be in the years 1 to 9999, "+
			"and at most %d years apart", maxYears)
	}
	var errs []error
	for _, r := range t.Rows {
		if problem := checkSpans(r.Spans); problem != "" {
			errs = append(errs, fmt.Errorf("timeline: key %q: %s", r.ID, problem))
		}
	}
	return errors.Join(errs...)
}

// checkSpans says what is wrong with the first span that can't be drawn.
func checkSpans(spans []rotation.Span) string {
	var before rotation.Span
	for i, s := range spans {
		switch {
		case s.State < keyset.Staged || s.State > keyset.Revoked:
			return fmt.Sprintf("span %d has the unknown state %d", i+1, s.State)
		case !s.Until.IsZero() && s.Until.Before(s.From):
			return fmt.Sprintf("span %d (%s) ends before it begins", i+1, s.State)
		case i > 0 && before.Until.IsZero():
			return fmt.Sprintf("span %d (%s) has no end, and is not the last", i, before.State)
		case i > 0 && s.From.Before(before.Until):
			return fmt.Sprintf("span %d (%s) begins before the span before it ends", i+1, s.State)
		}
		before = s
	}
	return ""
}

// Many reports whether the dates must stand above the chart too, because those
// below it may be off the screen: a terminal shows about 24 lines.
func (c *chart) Many() bool { return len(c.Rows) > 20 }

// present reports whether now is in the window, so that there is a line to
// draw. A plan can be drawn for a time that is all past or all to come.
func (c *chart) present() bool { return !c.Now.Before(c.From) && !c.Now.After(c.Until) }

// at returns the place of t in the window: 0 at its beginning, 1 at its end.
func (c *chart) at(t time.Time) float64 {
	return seconds(c.From, t) / seconds(c.From, c.Until)
}

// seconds returns the time between two instants. A time.Duration would overflow
// after 292 years.
func seconds(from, until time.Time) float64 {
	return float64(until.Unix()-from.Unix()) + float64(until.Nanosecond()-from.Nanosecond())/1e9
}

// states returns the states in the window, in the order of a key's life, and
// whether any key in it is planned.
func (c *chart) states() (seen []keyset.State, planned bool) {
	for i := range c.Rows {
		for _, b := range bars(&c.Rows[i], c.From, c.Until) {
			seen = append(seen, b.span.State)
			planned = planned || c.Rows[i].Planned
		}
	}
	slices.Sort(seen)
	return slices.Compact(seen), planned
}

// history splits the events into past and future ones.
func (c *chart) history() (past, future []rotation.Event) {
	all := c.Events()
	i := slices.IndexFunc(all, func(e rotation.Event) bool { return e.At.After(c.Now) })
	if i < 0 {
		i = len(all)
	}
	return all[:i], all[i:]
}
