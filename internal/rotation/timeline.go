package rotation

import (
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// A Timeline is the lives of keys side by side, with what is to come if
// rotation goes on as planned. Package timeline draws it.
type Timeline struct {
	Now         time.Time // the instant that divides what was from what is planned
	From, Until time.Time // the window; spans may begin before and end after it
	Rows        []Row     // signature keys first; within a use, in the order in which they sign
}

// A Row is the life of one key.
type Row struct {
	ID        string           // kid; of a key that is only planned, "sig+1", "enc+2" and so on
	Use       keyset.Use       // what the key is for
	Algorithm keyset.Algorithm // what it is for alone
	Planned   bool             // the key does not exist yet
	Spans     []Span           // in order, without gaps; the first begins when the key was, or will be, made
}

// A Span is the time that a key spends in one state.
type Span struct {
	State       keyset.State // what the key may do meanwhile
	From, Until time.Time    // Until is zero if the span has no end
	Reason      string       // why the key comes into this state at From, for people
}

// An Event is a change of a key's state.
type Event struct {
	At       time.Time    // when it happens
	ID       string       // as in Row
	Use      keyset.Use   // as in Row
	From, To keyset.State // From is 0 when the key is made
	Planned  bool         // the key does not exist yet
	Reason   string       // as in Span
}
