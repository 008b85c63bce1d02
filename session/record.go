package session

import "time"

// A Record is one session at one instant: what a carrier turns into a
// credential, or keeps behind one. Records are immutable. A change makes a new
// one ([Changes.Apply]); nobody writes to a Record that was handed out.
//
// Instants are whole seconds, rounded down, so that both modes keep the same
// values; AuthenticatedAt and Since have milliseconds, because they are
// compared with the instant at which a subject's sessions were ended.
type Record struct {
	ID         string // public handle, the same from creation to end; opens nothing
	Version    uint64 // raised by each save; a touch doesn't count
	Generation uint64 // raised by each change of credential: login, renew, move
	Lineage    string // random, new in each generation: two instances may begin the same one

	Subject         string    // who is logged in; "" for nobody
	CreatedAt       time.Time // when the session began
	AuthenticatedAt time.Time // when Subject logged in; zero for nobody
	SeenAt          time.Time // the last activity that was recorded
	IdleDeadline    time.Time // over at this instant, unless there is activity before
	Deadline        time.Time // over at this instant, whatever happens
	Since           time.Time // see CountsFrom; zero if no revocation list has set it
	Persistent      bool      // under the limits of remembered sessions; the cookie outlives the browser

	Tags   []LoginTag // of the login
	AMR    []string   // how Subject authenticated; see the function AMR
	Values Values     // what handlers have set
}

// Newer reports whether r is a later state of the same session than other: by
// generation, then by version, then by recorded activity.
func (r *Record) Newer(other *Record) bool {
	if r.Generation != other.Generation {
		return r.Generation > other.Generation
	}
	if r.Version != other.Version {
		return r.Version > other.Version
	}
	return r.SeenAt.After(other.SeenAt)
}

// CountsFrom returns the instant from which the session counts: if all
// sessions, or all of its subject, are ended at that instant or later, it ends
// too. The instant is Since, if that is set; otherwise the login, or the
// beginning if nobody has logged in. A revocation list sets Since for a session
// that began after the end, if its allowance for different clocks would end
// that session too.
func (r *Record) CountsFrom() time.Time {
	if !r.Since.IsZero() {
		return r.Since
	}
	return r.startedAt()
}

// startedAt is where the absolute lifetime is counted from.
func (r *Record) startedAt() time.Time {
	if r.AuthenticatedAt.IsZero() {
		return r.CreatedAt
	}
	return r.AuthenticatedAt
}
