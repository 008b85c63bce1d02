package session

import (
	"fmt"
	"time"
)

// Changes is what one request did to its session: a list that can be applied
// to the record that the request began with, or to a newer one that another
// request has saved meanwhile. Two requests that change different values
// therefore never undo each other.
type Changes struct {
	ops     []op
	policy  *Policy
	now     func() time.Time
	passive bool    // the request is no activity
	over    *Record // Session.over when they were pending
	applied int     // how often Apply was called

	// base after ops is result, if that is not nil.
	base, result *Record
}

// An op is one step of a change.
type op struct {
	kind    opKind
	had     bool   // opUpdate: whether there was a value
	persist bool   // opRemember; opLogin: what a new session is
	name    string // of the value; opLogin: the subject

	json    string // opSet: the new value; opUpdate: what compute returned for was
	was     string // opUpdate, opTake: the value that the request saw
	compute func(json string, ok bool) (string, error)

	fresh *Record   // opCreate
	login login     // opLogin
	at    time.Time // opLogin, opRemember: when the request began; opRenew: Record.Since, zero for the one it has
}

type opKind uint8

const (
	opCreate opKind = iota + 1
	opSet
	opDelete
	opTake
	opUpdate
	opClear
	opRemember
	opLogin
	opRenew
	opMove
)

// TouchOnly reports whether c records activity and nothing else. A carrier may
// keep that by cheaper means than a change of the record.
func (c *Changes) TouchOnly() bool { return len(c.ops) == 0 }

// Renews reports whether c holds a login or a renewal, which makes a new
// credential and ends the old one immediately.
func (c *Changes) Renews() bool { return c.has(opLogin) || c.has(opRenew) }

// LogsIn reports whether c holds a login.
func (c *Changes) LogsIn() bool { return c.has(opLogin) }

func (c *Changes) has(kind opKind) bool {
	for i := range c.ops {
		if c.ops[i].kind == kind {
			return true
		}
	}
	return false
}

// Anew returns the changes of c for a new session that begins with the values
// of base. It is for a login whose session, base, is over or goes on under
// another credential.
func (c *Changes) Anew(base *Record) *Changes {
	anew := *c
	fresh := newRecord(c.policy, c.now(), base.Persistent)
	fresh.inherit(base)
	anew.ops, anew.result = append([]op{{kind: opCreate, fresh: fresh}}, c.ops...), nil
	return &anew
}

// Moving returns c with a move to another carrier added to it: the next record
// gets the next generation.
func (c *Changes) Moving() *Changes {
	moving := *c
	moving.ops, moving.result = append(c.ops[:len(c.ops):len(c.ops)], op{kind: opMove}), nil
	return &moving
}

// Applied returns how often Apply was called. Whenever another request was
// faster, a carrier calls it again, with the record that that one has left.
func (c *Changes) Applied() int { return c.applied }

// Apply returns the record that follows base. base is nil for a session that
// was never saved. Apply fails, with a Reason, if the session is over, or if an
// Update can't be repeated on the newer value. It must not be called
// concurrently.
func (c *Changes) Apply(base *Record) (*Record, error) {
	c.applied++
	now := c.now()
	if base != nil {
		if over := c.policy.Over(base, now); over != 0 {
			return nil, fmt.Errorf("session: ended before its changes were saved: %w", over)
		}
	}
	next, err := c.after(base)
	if err != nil {
		return nil, err
	}
	if c.passive && base != nil && !c.LogsIn() {
		now = base.SeenAt
	}
	c.policy.seen(next, now)
	if base != nil && len(c.ops) > 0 {
		next.Version = base.Version + 1
		if next.Generation != base.Generation {
			next.Generation = base.Generation + 1
			next.Lineage = newLineage()
		}
	}
	return next, nil
}

// after returns a new record: base after all steps.
func (c *Changes) after(base *Record) (*Record, error) {
	var next Record
	exists := base != nil
	switch {
	case c.result != nil && c.base == base:
		next = *c.result
		return &next, nil
	case exists:
		next = *base
	}
	for i := range c.ops {
		switch o := &c.ops[i]; {
		case o.kind == opCreate && !exists:
			next, exists = *o.fresh, true
		case exists: // every step but the first is on a session that exists
			if err := o.apply(&next, c.policy); err != nil {
				return nil, err
			}
		}
	}
	if !exists {
		return nil, fmt.Errorf("session: no record to record activity in: %w", NotFound)
	}
	return &next, nil
}

// apply changes rec by one step. opCreate changes nothing: the session exists.
// After an error rec is as it was.
func (o *op) apply(rec *Record, policy *Policy) error {
	switch o.kind {
	case opSet:
		rec.Values = rec.Values.with(o.name, o.json)
	case opDelete:
		rec.Values = rec.Values.without(o.name)
	case opTake:
		// Another request may have left a new value there since; that one stays.
		if now, ok := rec.Values.Get(o.name); ok && now == o.was {
			rec.Values = rec.Values.without(o.name)
		}
	case opUpdate:
		json, err := o.updated(rec.Values)
		if err != nil {
			return err
		}
		rec.Values = rec.Values.with(o.name, json)
	case opClear:
		rec.Values = Values{}
	case opRemember:
		o.remember(rec, policy)
	case opLogin:
		o.logIn(rec, policy)
	case opRenew, opMove:
		rec.Generation++
		if !o.at.IsZero() {
			rec.Since = o.at
		}
	}
	return nil
}

// updated returns the result of an update: the one computed before, if the
// value is still the same, else that of another run on the newer value.
func (o *op) updated(values Values) (string, error) {
	now, ok := values.Get(o.name)
	if ok == o.had && now == o.was {
		return o.json, nil
	}
	return o.compute(now, ok)
}

// show changes rec by one step for the request's own eyes: an update shows the
// value that its handler was given. It runs no function of the application, so
// it may be called with locks held.
func (o *op) show(rec *Record, policy *Policy) {
	if o.kind == opUpdate {
		rec.Values = rec.Values.with(o.name, o.json)
		return
	}
	_ = o.apply(rec, policy) // only an update can fail
}

func (o *op) logIn(rec *Record, policy *Policy) {
	if rec.Subject != "" && rec.Subject != o.name {
		rec.Values, rec.Persistent = Values{}, o.persist
	}
	rec.Subject, rec.Tags, rec.AMR = o.name, o.login.tags, o.login.amr
	rec.AuthenticatedAt, rec.Since = o.at.Truncate(time.Millisecond), time.Time{}
	policy.start(rec)
	rec.Generation++
}

// remember puts rec under other limits. Where it is under them already, its
// deadline stays as it is: nothing but a login makes a session live longer.
func (o *op) remember(rec *Record, policy *Policy) {
	if rec.Persistent == o.persist {
		return
	}
	rec.Persistent = o.persist
	policy.start(rec)
	policy.seen(rec, o.at) // which moves nothing back
}
