package session

import "time"

// A Record is one session at one instant: what a carrier turns into a
// credential, or keeps behind one. Records are immutable. A change makes a new
// one ([Changes.Apply]); nobody writes to a Record that was handed out.
//
// Instants are whole seconds, rounded down, so that both modes keep the same
// ones; AuthenticatedAt and Since have milliseconds, because they are compared
// with the instant at which a subject's sessions were ended.
type Record struct {
	ID         string // public handle, the same from creation to end; opens nothing
	Version    uint64 // raised by each save; a touch doesn't count
	Generation uint64 // raised by each change of credential: login, renew, move
	Lineage    string // drawn anew with each generation: two instances may begin the same one

	Subject         string    // who is logged in; "" for nobody
	CreatedAt       time.Time // when the session began
	AuthenticatedAt time.Time // when Subject logged in; zero for nobody
	SeenAt          time.Time // the last activity that was recorded
	IdleDeadline    time.Time // over at this instant, unless there is activity before
	Deadline        time.Time // over at this instant, whatever happens
	Since           time.Time // see CountsFrom; zero for where it began
	Persistent      bool      // under the limits of remembered sessions; the cookie outlives the browser

	Values Values // what handlers have set
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

// CountsFrom returns the instant that decides whether an end of all sessions of
// a subject, or of all there are, ends this one too: it does if it came at this
// instant or later. That is the login, or the beginning if nobody has logged in
// since, unless Since says otherwise: a revocation list sets Since where its
// allowance for clocks that differ would end a session that began after the
// end.
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
