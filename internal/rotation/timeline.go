package rotation

import (
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// A Timeline shows the lives of keys side by side, and what will happen if
// rotation goes on as planned. Package timeline draws it.
type Timeline struct {
	Now         time.Time // divides the past from the plan
	From, Until time.Time // the window; spans may reach beyond it
	Rows        []Row     // signature keys first; within a use, in the order in which they sign
}

// A Row is the life of one key.
type Row struct {
	ID        string           // the kid; for a planned key "sig+1", "enc+2" and so on
	Use       keyset.Use       // what the key is for
	Algorithm keyset.Algorithm // the only one that the key is used with
	Planned   bool             // the key does not exist yet
	Spans     []Span           // in order, without gaps; the first begins when the key is created
}

// A Span is the time that a key spends in one state.
type Span struct {
	State       keyset.State // what the key may do during the span
	From, Until time.Time    // Until is zero if the span has no end
	Reason      string       // why the key enters this state at From, for people
}

// An Event is a change of a key's state.
type Event struct {
	At       time.Time    // when it happens
	ID       string       // as in Row
	Use      keyset.Use   // as in Row
	From, To keyset.State // From is 0 when the key is created
	Planned  bool         // the key does not exist yet
	Reason   string       // as in Span
}

// Events returns the changes of state from t.From to t.Until, both included, in
// order of time. Changes at the same time come in the order of the rows, and
// those of one key in the order of its spans.
func (t *Timeline) Events() (events []Event) {
	for _, r := range t.Rows {
		var before keyset.State
		for _, s := range r.Spans {
			if !s.From.Before(t.From) && !s.From.After(t.Until) {
				events = append(events, Event{s.From, r.ID, r.Use, before, s.State, r.Planned, s.Reason})
			}
			before = s.State
		}
	}
	slices.SortStableFunc(events, func(a, b Event) int { return a.At.Compare(b.At) })
	return events
}
