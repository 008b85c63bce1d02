package rotation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// maxSteps bounds the handovers of a plan: with a rotation period of a day it
// reaches five years.
const maxSteps = 2000

// Plan returns the lives of the keys of s between from and until. It includes
// the keys that will be created if IfDue is taken whenever something is due
// from now on.
func Plan(s *keyset.Set, now, from, until time.Time) (*Timeline, error) {
	if !until.After(from) {
		return nil, errors.New("rotation: a plan must end after it begins")
	}
	st := newPlanState(s, now)
	for range maxSteps {
		for _, use := range st.uses() {
			st.ensureSigner(use)
		}
		next := st.nextHandover()
		if next.IsZero() || next.After(until) {
			return st.timeline(now, from, until), nil
		}
		st.now, st.created = next, next
		for _, k := range st.keys {
			k.was = k.dates
		}
	}
	return nil, fmt.Errorf("rotation: a plan until %s would have more than %d steps; choose a nearer end",
		stamp(until), maxSteps)
}

// nextHandover returns when the next key begins to sign, and so needs a
// standby.
func (st *planState) nextHandover() (next time.Time) {
	for _, k := range st.keys {
		if t := k.dates.SignFrom; !k.pruned && !k.revoked && t.After(st.now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// NextDue returns when IfDue next has something to do. That is now if something
// is due already, and zero if nothing ever will be.
func NextDue(s *keyset.Set, now time.Time) (next time.Time) {
	for _, t := range append([]time.Time{now}, newPlanState(s, now).turningPoints()...) {
		if newPlanState(s, t).due() {
			return t
		}
	}
	return time.Time{}
}

// turningPoints returns, in order, the future instants at which something may
// become due.
func (st *planState) turningPoints() (all []time.Time) {
	for _, k := range st.keys {
		if k.pruned {
			continue
		}
		d, byEveryClock := k.dates, k.dates.SignFrom.Add(st.policy.ClockSkew)
		for _, t := range [...]time.Time{d.SignFrom, byEveryClock, d.SignUntil, st.graceEnd(k), d.VerifyUntil} {
			if t.After(st.now) {
				all = append(all, t)
			}
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}

// graceEnd returns when a key stops signing even if its successor is missing,
// or zero for never.
func (st *planState) graceEnd(k *keyState) time.Time { return k.Life().GraceEnd(st.policy.Grace) }

// due does what IfDue does, and reports whether that changed anything.
func (st *planState) due() bool {
	st.ifDue()
	return slices.ContainsFunc(st.keys, func(k *keyState) bool {
		return k.planned || k.erase || k.prune || !sameDates(k.was, k.dates)
	})
}

func (st *planState) timeline(now, from, until time.Time) *Timeline {
	t := &Timeline{Now: now, From: from, Until: until}
	for _, use := range keyset.Uses() {
		all := slices.DeleteFunc(st.keysOf(use), func(k *keyState) bool { return !k.within(from, until) })
		slices.SortStableFunc(all, func(x, y *keyState) int { return x.dates.SignFrom.Compare(y.dates.SignFrom) })
		for _, k := range all {
			t.Rows = append(t.Rows, Row{ID: k.id, Use: use, Algorithm: k.alg, Planned: k.planned, Spans: st.spans(k)})
		}
	}
	return t
}

// within reports whether any of the key's life is in the window. A pruned key
// counts like any other, with the dates of the note that is left of it.
func (k *keyState) within(from, until time.Time) bool {
	born := instant.Earliest(k.dates.Created, k.dates.PublishAt)
	end := k.dates.VerifyUntil
	if k.revoked {
		end = k.revokedAt
	}
	return !born.After(until) && (end.IsZero() || !end.Before(from))
}

// spans returns the states of a key in order, each with its reason.
func (st *planState) spans(k *keyState) []Span {
	d, p := k.dates, st.policy
	begin := d.Created
	if begin.IsZero() || d.PublishAt.Before(begin) {
		begin = d.PublishAt
	}
	does, did, trusts, published := "signs", "signed", "verifies", "published"
	if k.use() == keyset.Encryption { // its private keys reach only the instances
		does, did, trusts, published = "encrypts", "encrypted", "decrypts", "published to all instances"
	}
	retiring := fmt.Sprintf("%s no more; %s for %s", does, trusts, verifyFormula(p))
	if !d.Signs() {
		retiring = "withdrawn before it " + did
	}
	pending := fmt.Sprintf("%s; must be known for %s before it %s", published, span.Format(p.Lead(k.alg)), does)
	all := []Span{
		{keyset.Staged, begin, d.PublishAt, "made; to be published later"},
		{keyset.Pending, d.PublishAt, d.SignFrom, pending},
		{keyset.Active, d.SignFrom, d.SignUntil, does + st.successionOf(k)},
		{keyset.Retiring, d.SignUntil, d.VerifyUntil, retiring},
		{keyset.Expired, d.VerifyUntil, time.Time{}, "the tokens that it " + did + " have expired"},
	}
	if k.open() {
		all = all[:3]
	}
	return cut(all, k)
}

// successionOf says which key k follows, or nothing if it follows none.
func (st *planState) successionOf(k *keyState) string {
	for _, other := range st.keysOf(k.use()) {
		signs := other != k && other.dates.Signs() && !other.revoked
		if signs && !other.open() && other.dates.SignUntil.Equal(k.dates.SignFrom) {
			period := span.Format(st.policy.RotationPeriod)
			return fmt.Sprintf(" in place of %s, for a rotation period of %s", other.id, period)
		}
	}
	return ""
}

// cut drops the spans that take no time, and those after a revocation.
func cut(all []Span, k *keyState) (spans []Span) {
	for _, s := range all {
		last := s.State == keyset.Expired || s.Until.IsZero()
		if !last && !s.Until.After(s.From) {
			continue
		}
		if k.revoked && (last || s.Until.After(k.revokedAt)) {
			if s.From.Before(k.revokedAt) {
				s.Until = k.revokedAt
				spans = append(spans, s)
			}
			reason := "revoked"
			if k.reason != "" {
				reason += ": " + k.reason
			}
			return append(spans, Span{State: keyset.Revoked, From: k.revokedAt, Reason: reason})
		}
		spans = append(spans, s)
	}
	return spans
}
