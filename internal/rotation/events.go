package rotation

import (
	"slices"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// Events returns the changes of state from t.From to t.Until, both included, in
// order of time. Changes at the same time come in the order of the rows, and
// those of one key in the order of its spans.
func (t *Timeline) Events() []Event {
	var events []Event
	for _, row := range t.Rows {
		events = append(events, row.events(t)...)
	}
	slices.SortStableFunc(events, func(a, b Event) int { return a.At.Compare(b.At) })
	return events
}

func (r *Row) events(t *Timeline) []Event {
	var events []Event
	var before keyset.State
	for _, s := range r.Spans {
		if !s.From.Before(t.From) && !s.From.After(t.Until) {
			events = append(events, Event{
				At: s.From, ID: r.ID, Use: r.Use, From: before, To: s.State, Planned: r.Planned, Reason: s.Reason,
			})
		}
		before = s.State
	}
	return events
}
