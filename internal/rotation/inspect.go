package rotation

import (
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// Severity says how bad a Finding is.
type Severity string

const (
	Error   Severity = "error"   // sessions can't be kept, or a key is not safe
	Due     Severity = "due"     // something is to be done now: IfDue does it
	Warning Severity = "warning" // something is unusual, and may be meant
)

// A Finding is something about the keys of a file that an operator should know.
type Finding struct {
	Severity Severity `json:"severity"`      // how bad it is
	ID       string   `json:"kid,omitempty"` // "" if it is about no single key
	Text     string   `json:"text"`          // what is wrong, and what to do
}

// Inspect looks for what is wrong with a set at the time now, or is going to be. A set
// without findings is in good order.
func Inspect(s *keyset.Set, now time.Time) []Finding {
	i := &inspector{book: read(s, now)}
	if err := i.book.policy.Validate(); err != nil {
		i.find(Error, "", "%w", err)
	}
	uses := i.book.uses()
	if len(uses) == 0 || uses[0] != keyset.Signature {
		i.find(Error, "", "there is no key to sign with; run: keygen add --alg ES256")
	}
	for _, use := range uses {
		i.inspectUse(use)
	}
	for _, r := range i.book.records {
		if !r.pruned {
			i.inspectKey(r)
		}
	}
	i.inspectDue(s, now)
	return i.findings
}

type inspector struct {
	book     *book
	findings []Finding
}

func (i *inspector) find(s Severity, id, format string, args ...any) {
	i.findings = append(i.findings, Finding{s, id, fmt.Errorf(format, args...).Error()})
}

func (i *inspector) inspectUse(use keyset.Use) {
	b := i.book
	current, next := b.chain(use)
	switch last := b.last(use); {
	case current == nil && b.idle(use):
	case current == nil && last != nil && len(next) > 0 && !next[0].dates.SignFrom.After(b.graceEnd(last)):
		i.find(Warning, last.id, "key %s goes on in its grace until %s, when key %s takes over: rotation was late", last.id, stamp(next[0].dates.SignFrom), next[0].id)
	case current == nil && last == nil:
		i.find(Error, "", "no key of use %s signs now: sessions can't be kept; %s", use, b.remedy(use, "run: keygen rotate"))
	case current == nil:
		i.find(Error, last.id, "key %s goes on in its grace until %s, because its successor is missing; %s", last.id, stamp(b.graceEnd(last)), b.remedy(use, "run: keygen rotate"))
	case !current.open() && len(next) == 0 && !b.policy.SafeFrom(current.alg, b.now).Before(current.dates.SignUntil):
		i.find(Error, current.id, "key %s signs until %s, and nothing can follow it in time; %s", current.id, stamp(current.dates.SignUntil), b.remedy(use, "run keygen rotate --if-due, which lets it go on until its successor is known"))
	case current.open():
		i.find(Warning, current.id, "key %s has no end; run keygen rotate --if-due to give it one", current.id)
	case len(next) == 0:
		i.inspectStandby(current)
	}
	if n := len(b.listed()); use == keyset.Signature && n > b.maxListed() {
		i.find(Warning, "", "there are %d keys in the JWK Set, and every verifier has to fetch them: %d are enough", n, b.maxListed())
	}
	if current != nil {
		next = append([]*record{current}, next...)
	}
	i.inspectChain(use, next)
	if current != nil && current.alg == keyset.Direct {
		if err := b.policy.CheckRate(); err != nil {
			i.find(Error, current.id, "%w", err)
		}
	}
}

// remedy is what to do when a key is missing: what is given, or for keys in a KMS something else.
func (b *book) remedy(use keyset.Use, given string) string {
	if b.outside[use] {
		return "make the next one where the private keys are, and bring its public half in: keygen import --external"
	}
	return given
}

// inspectStandby says that the next key is missing for longer than a daily run of IfDue explains, or that it is high time.
func (i *inspector) inspectStandby(current *record) {
	b, d := i.book, current.dates
	period := b.policy.RotationPeriod
	switch late := b.now.Sub(d.SignFrom); {
	case !b.now.Before(d.SignUntil.Add(-period / 10)):
		i.find(Error, current.id, "key %s signs until %s, and no standby is there to follow it; %s", current.id, stamp(d.SignUntil), b.remedy(current.use(), "run: keygen rotate --if-due"))
	case late > min(2*24*time.Hour, period/4):
		since := " since it was made"
		if !d.SignFrom.IsZero() {
			since = " for " + span.Format(late)
		}
		i.find(Warning, current.id, "key %s has had no standby%s: %s; it signs until %s", current.id, since, b.remedy(current.use(), "keygen rotate --if-due seems not to run"), stamp(d.SignUntil))
	}
}

func (i *inspector) inspectChain(use keyset.Use, chain []*record) {
	for n := 1; n < len(chain); n++ {
		x, y := chain[n-1], chain[n]
		switch {
		case x.open() || y.dates.SignFrom.Before(x.dates.SignUntil):
			i.find(Error, y.id, "keys %s and %s sign at the same time from %s", x.id, y.id, stamp(y.dates.SignFrom))
		case y.dates.SignFrom.After(x.dates.SignUntil):
			i.find(Error, y.id, "no key of use %s signs from %s to %s, save in its grace", use, stamp(x.dates.SignUntil), stamp(y.dates.SignFrom))
		}
	}
}

func (i *inspector) inspectKey(r *record) {
	b, d := i.book, r.dates
	if d.Created.After(b.made.Add(b.policy.ClockSkew)) {
		i.find(Error, r.id, "key %s has a creation time in the future (%s): the clock of this machine, or of the one that made it, is wrong", r.id, stamp(d.Created))
	}
	switch s := r.state(b.now); {
	case r.revoked || !r.dates.Signs():
	case s == keyset.Pending && d.SignFrom.Before(b.safe(r)):
		i.find(Warning, r.id, "key %s signs from %s, and is sure to be known everywhere only at %s: some verifiers may reject its first tokens", r.id, stamp(d.SignFrom), stamp(b.safe(r)))
	case s == keyset.Active && b.now.Before(b.safe(r)) && b.follows(r):
		i.find(Warning, r.id, "key %s signs already, and is sure to be known everywhere only at %s: some verifiers may reject its tokens until then", r.id, stamp(b.safe(r)))
	case s == keyset.Retiring && d.VerifyUntil.IsZero():
		i.find(Warning, r.id, "key %s is trusted for ever; %s is enough; run: keygen revoke %s, when its tokens have expired", r.id, span.Format(b.policy.VerifyOnly()), r.id)
	}
	if s := r.state(b.now); (s == keyset.Pending || s == keyset.Active) && !r.private && !r.erased {
		i.find(Warning, r.id, "the private half of key %s is not in the file: the application must have it as a crypto.Signer", r.id)
	}
}

// follows reports whether another key of its use began before r, so that others have tokens already, and a key set.
func (b *book) follows(r *record) bool {
	return slices.ContainsFunc(b.usesOf(r.use()), func(other *record) bool { return other.dates.Signs() && other.dates.SignFrom.Before(r.dates.SignFrom) })
}

// inspectDue says what IfDue would do.
func (i *inspector) inspectDue(s *keyset.Set, now time.Time) {
	b := read(s, now)
	if !b.due() {
		return
	}
	for _, r := range b.records {
		switch k := s.Key(r.id); {
		case r.planned:
			i.find(Due, "", "a new key of use %s is due, to sign from %s", r.use(), stamp(r.dates.SignFrom))
		case k == nil:
		case r.prune:
			i.find(Due, r.id, "key %s has expired; it should be pruned", r.id)
		case r.erase:
			i.find(Due, r.id, "key %s no longer signs; its private key should be erased", r.id)
		case !sameDates(k.Dates(), r.dates):
			i.find(Due, r.id, "the dates of key %s are to be moved: it signs until %s", r.id, or(date(r.dates.SignUntil), "further notice"))
		}
	}
}
