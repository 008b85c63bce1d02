package rotation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// maxSteps bounds a plan, and with it the keys that it has.
const maxSteps = 2000

// Plan returns the lives of the keys of s from the instant from to until, with
// those that will be made if IfDue is taken whenever something is due from now on.
func Plan(s *keyset.Set, now, from, until time.Time) (*Timeline, error) {
	if !until.After(from) {
		return nil, errors.New("rotation: a plan must end after it begins")
	}
	b := read(s, now)
	for range maxSteps {
		for _, use := range b.uses() {
			b.ensure(use)
		}
		next := b.nextHandover()
		if next.IsZero() || next.After(until) {
			return b.timeline(now, from, until), nil
		}
		b.now, b.made = next, next
		for _, r := range b.records {
			r.was = r.dates
		}
	}
	return nil, fmt.Errorf("rotation: a plan until %s would have more than %d steps; choose a nearer end", stamp(until), maxSteps)
}

// nextHandover is when the next key begins to sign, and a standby is due.
func (b *book) nextHandover() (next time.Time) {
	for _, r := range b.records {
		if t := r.dates.SignFrom; !r.pruned && !r.revoked && t.After(b.now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// NextDue is when IfDue next has something to do; zero if never. It is now if it has something to do already.
func NextDue(s *keyset.Set, now time.Time) (next time.Time) {
	if b := read(s, now); b.due() {
		return now
	}
	for _, t := range read(s, now).turns() {
		if read(s, t).due() {
			return t
		}
	}
	return time.Time{}
}

// turns lists the instants to come at which something may fall due, in their order.
func (b *book) turns() (all []time.Time) {
	for _, r := range b.records {
		if r.pruned {
			continue
		}
		for _, t := range [...]time.Time{r.dates.SignFrom, r.dates.SignFrom.Add(b.policy.ClockSkew), r.dates.SignUntil, b.graceEnd(r), r.dates.VerifyUntil} {
			if t.After(b.now) {
				all = append(all, t)
			}
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}

// graceEnd is when a key ceases to sign even if its successor is missing; zero for never.
func (b *book) graceEnd(r *record) time.Time {
	if r.open() {
		return time.Time{}
	}
	end := r.dates.SignUntil.Add(b.policy.Grace)
	if verify := r.dates.VerifyUntil; !verify.IsZero() {
		end = earliest(end, verify) // the grace was shorter when it ended
	}
	return end
}

// due does what IfDue does, and reports whether that is anything.
func (b *book) due() bool {
	b.ifDue()
	return b.changes()
}

func (b *book) timeline(now, from, until time.Time) *Timeline {
	t := &Timeline{Now: now, From: from, Until: until}
	for _, use := range [...]keyset.Use{keyset.Signature, keyset.Encryption} {
		all := slices.DeleteFunc(b.usesOf(use), func(r *record) bool { return !r.within(from, until) })
		slices.SortStableFunc(all, func(x, y *record) int { return x.dates.SignFrom.Compare(y.dates.SignFrom) })
		for _, r := range all {
			t.Rows = append(t.Rows, Row{ID: r.id, Use: use, Algorithm: r.alg, Planned: r.planned, Spans: b.spans(r)})
		}
	}
	return t
}

// within reports whether anything of the key's life is in the window. What is
// left of keys that were pruned is not, and of those that ended before neither.
func (r *record) within(from, until time.Time) bool {
	born := earliest(r.dates.Created, r.dates.PublishAt)
	end := r.dates.VerifyUntil
	if r.revoked {
		end = r.at
	}
	return !born.After(until) && (end.IsZero() || !end.Before(from))
}

// spans returns the states of a key one after the other, each with its reason.
func (b *book) spans(r *record) []Span {
	d, p := r.dates, b.policy
	begin := d.Created
	if begin.IsZero() || d.PublishAt.Before(begin) {
		begin = d.PublishAt
	}
	all := []Span{
		{keyset.Staged, begin, d.PublishAt, "made; to be published later"},
		{keyset.Pending, d.PublishAt, d.SignFrom, "published; must be known for " + span.Format(p.Lead(r.alg)) + " before it signs"},
		{keyset.Active, d.SignFrom, d.SignUntil, b.activeReason(r)},
		{keyset.Retiring, d.SignUntil, d.VerifyUntil, b.retiringReason(r)},
		{keyset.Expired, d.VerifyUntil, time.Time{}, "the tokens that it signed have expired"},
	}
	if r.use() == keyset.Encryption {
		all[1].Reason = "published to all instances; must be known for " + span.Format(p.Lead(r.alg)) + " before it encrypts"
		all[4].Reason = "the tokens that it encrypted have expired"
	}
	if r.open() {
		all = all[:3]
	}
	return cut(all, r)
}

// cut leaves out the spans that take no time, and those after a revocation.
func cut(all []Span, r *record) (spans []Span) {
	for _, s := range all {
		last := s.State == keyset.Expired || s.Until.IsZero()
		if !last && !s.Until.After(s.From) {
			continue
		}
		if r.revoked && (last || s.Until.After(r.at)) {
			if s.From.Before(r.at) {
				s.Until = r.at
				spans = append(spans, s)
			}
			reason := "revoked"
			if r.reason != "" {
				reason += ": " + r.reason
			}
			return append(spans, Span{State: keyset.Revoked, From: r.at, Reason: reason})
		}
		spans = append(spans, s)
	}
	return spans
}

func (b *book) activeReason(r *record) string {
	verb := map[keyset.Use]string{keyset.Signature: "signs", keyset.Encryption: "encrypts"}[r.use()]
	for _, other := range b.usesOf(r.use()) {
		if other != r && other.dates.Signs() && !other.revoked && !other.open() && other.dates.SignUntil.Equal(r.dates.SignFrom) {
			return fmt.Sprintf("%s in place of %s, for a rotation period of %s", verb, other.id, span.Format(b.policy.RotationPeriod))
		}
	}
	return verb
}

func (b *book) retiringReason(r *record) string {
	if !r.dates.Signs() {
		return "withdrawn before it signed"
	}
	p, words := b.policy, "signs no more; verifies"
	if r.use() == keyset.Encryption {
		words = "encrypts no more; decrypts"
	}
	return words + fmt.Sprintf(" for token_life %s + leeway %s + clock_skew %s + grace %s = %s", span.Format(p.TokenLife), span.Format(p.Leeway), span.Format(p.ClockSkew), span.Format(p.Grace), span.Format(p.VerifyOnly()))
}
