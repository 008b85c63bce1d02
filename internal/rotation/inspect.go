package rotation

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// Severity says how bad a [Finding] is.
type Severity string

const (
	Error   Severity = "error"   // sessions can't be kept, or a key is not safe
	Due     Severity = "due"     // IfDue has something to do now
	Warning Severity = "warning" // unusual, but possibly intended
)

// A Finding is a problem with the keys of a file that an operator should know.
type Finding struct {
	Severity Severity `json:"severity"`      // how bad it is
	ID       string   `json:"kid,omitempty"` // "" if it concerns no single key
	Text     string   `json:"text"`          // what is wrong, and what to do
}

// Inspect returns what is wrong with a set at the time now, or will be soon. It
// returns nothing for a healthy set.
func Inspect(s *keyset.Set, now time.Time) []Finding {
	i := &inspector{st: newPlanState(s, now)}
	if err := i.st.policy.Validate(); err != nil {
		i.find(Error, "", "%w", err)
	}
	uses := i.st.uses()
	if len(uses) == 0 || uses[0] != keyset.Signature {
		i.find(Error, "", "there is no key to sign with; run: keygen add --alg ES256")
	}
	for _, use := range uses {
		i.inspectUse(use)
	}
	for _, k := range i.st.keys {
		if !k.pruned {
			i.inspectKey(k)
		}
	}
	i.inspectDue() // the last, because it takes the step
	return i.findings
}

type inspector struct {
	st       *planState
	findings []Finding
}

func (i *inspector) find(s Severity, id, format string, args ...any) {
	i.findings = append(i.findings, Finding{s, id, fmt.Errorf(format, args...).Error()})
}

func (i *inspector) inspectUse(use keyset.Use) {
	st := i.st
	current, next := st.successors(use)
	outlook, id, problem := keyset.Judge(st.keys, use, st.policy.Policy, st.external[use], st.now)
	switch {
	case outlook == keyset.Empty && st.unneeded(use):
	case problem != nil:
		severity := Error
		if outlook == keyset.Relieved {
			severity = Warning
		}
		i.find(severity, id, "%s", strings.TrimPrefix(problem.Error(), "keys: "))
	case current.open():
		i.find(Warning, id, "key %s has no end; run keygen rotate --if-due to give it one", id)
	case len(next) == 0:
		i.inspectStandby(current)
	}
	if n := len(st.listed()); use == keyset.Signature && n > st.maxListed() {
		i.find(Warning, "", "there are %d keys in the JWK Set, and every verifier has to fetch them: %d are enough",
			n, st.maxListed())
	}
	i.inspectHandovers(use, st.signers(use))
	if current != nil && current.alg == keyset.Direct {
		if err := st.policy.CheckRate(); err != nil {
			i.find(Error, current.id, "%w", err)
		}
	}
}

// inspectStandby reports a standby that has been missing for longer than a
// daily run of IfDue explains: two days, or a quarter of a period that is
// shorter than eight days.
func (i *inspector) inspectStandby(current *keyState) {
	st, d := i.st, current.dates
	late := st.now.Sub(d.SignFrom)
	if late <= min(2*24*time.Hour, st.policy.RotationPeriod/4) {
		return
	}
	since := " since it was made"
	if !d.SignFrom.IsZero() {
		since = " for " + span.Format(late)
	}
	how := keyset.Remedy(st.external[current.use()], "keygen rotate --if-due seems not to run")
	i.find(Warning, current.id, "key %s has had no standby%s: %s; it signs until %s",
		current.id, since, how, stamp(d.SignUntil))
}

// inspectHandovers reports gaps and overlaps between the keys that sign one
// after the other.
func (i *inspector) inspectHandovers(use keyset.Use, signers []*keyState) {
	for n := 1; n < len(signers); n++ {
		x, y := signers[n-1], signers[n]
		switch {
		case x.overlaps(y):
			i.find(Error, y.id, "keys %s and %s sign at the same time from %s", x.id, y.id, stamp(y.dates.SignFrom))
		case y.dates.SignFrom.After(x.dates.SignUntil):
			i.find(Error, y.id, "no key of use %s signs from %s to %s, except in its grace",
				use, stamp(x.dates.SignUntil), stamp(y.dates.SignFrom))
		}
	}
}

func (i *inspector) inspectKey(k *keyState) {
	st, d := i.st, k.dates
	if d.Created.After(st.created.Add(st.policy.ClockSkew)) {
		i.find(Error, k.id, "key %s has a creation time in the future (%s): "+
			"the clock of this machine, or of the one that made it, is wrong", k.id, stamp(d.Created))
	}
	switch s := k.state(st.now); {
	case k.revoked || !k.dates.Signs():
	case s == keyset.Pending && d.SignFrom.Before(st.safeFrom(k)):
		i.find(Warning, k.id, "key %s signs from %s, and is sure to be known everywhere only at %s: "+
			"some verifiers may reject its first tokens", k.id, stamp(d.SignFrom), stamp(st.safeFrom(k)))
	case s == keyset.Active && st.now.Before(st.safeFrom(k)) && st.follows(k):
		i.find(Warning, k.id, "key %s signs already, and is sure to be known everywhere only at %s: "+
			"some verifiers may reject its tokens until then", k.id, stamp(st.safeFrom(k)))
	case s == keyset.Retiring && d.VerifyUntil.IsZero():
		i.find(Warning, k.id, "key %s is trusted for ever; %s is enough; run: keygen revoke %s, when its tokens have expired",
			k.id, span.Format(st.policy.VerifyOnly()), k.id)
	}
	if s := k.state(st.now); (s == keyset.Pending || s == keyset.Active) && !k.private && !k.erased {
		i.find(Warning, k.id, "the private half of key %s is not in the file: "+
			"the application must have it as a crypto.Signer", k.id)
	}
}

// follows reports whether another key of its use began before k. Only then can
// verifiers hold a key set without k.
func (st *planState) follows(k *keyState) bool {
	return slices.ContainsFunc(st.keysOf(k.use()), func(other *keyState) bool {
		return other.dates.Signs() && other.dates.SignFrom.Before(k.dates.SignFrom)
	})
}

// inspectDue reports what IfDue would do.
func (i *inspector) inspectDue() {
	if !i.st.due() {
		return
	}
	for _, k := range i.st.keys {
		switch {
		case k.planned:
			i.find(Due, "", "a new key of use %s is due, to sign from %s", k.use(), stamp(k.dates.SignFrom))
		case k.pruned:
		case k.prune:
			i.find(Due, k.id, "key %s has expired; it should be pruned", k.id)
		case k.erase:
			i.find(Due, k.id, "key %s no longer signs; its private key should be erased", k.id)
		case !sameDates(k.was, k.dates):
			i.find(Due, k.id, "the dates of key %s are to be moved: it signs until %s",
				k.id, cmp.Or(date(k.dates.SignUntil), "further notice"))
		}
	}
}
