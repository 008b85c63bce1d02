package diagnose

import (
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// states returns the states of a key now and at iat, in words; "" for what
// can't be told.
func (x *examiner) states(k *keyset.Key) (now, issued string) {
	if k == nil {
		return "unknown", ""
	}
	if x.claims != nil {
		issued = stateAt(k, x.claims.MadeAt(x.kind)).String()
	}
	return k.State(x.now).String(), issued
}

// stateAt is the state that a key had at an instant. Key.State says that a
// revoked key was never good; here it counts what instances knew then.
func stateAt(k *keyset.Key, at time.Time) keyset.State {
	if revoked, _, ok := k.Revoked(); ok && !at.Before(revoked) {
		return keyset.Revoked
	}
	return k.Dates().State(at)
}

// key says whether verifiers trust a key, and whether it should have made the
// token.
func (x *examiner) key(kid string, k *keyset.Key, check keyset.Check) (Result, string) {
	_, err := x.token.Result(check)
	if k == nil {
		return Failed, fmt.Sprintf("there is no key %s here: the token is of another application, or of keys that were "+
			"replaced", kid)
	}
	result, issued := x.whenIssued(k)
	d := k.Dates()
	text := fmt.Sprintf("key %s (%s) is %s", kid, k.Algorithm(), k.State(x.now))
	switch {
	case errors.Is(err, keyset.ErrKeyRevoked):
		at, reason, _ := k.Revoked()
		text = fmt.Sprintf("key %s (%s) was revoked %s, reason %q", kid, k.Algorithm(), x.when(at), reason)
	case k.State(x.now) == keyset.Expired:
		text = fmt.Sprintf("key %s (%s) expired %s", kid, k.Algorithm(), x.when(d.VerifyUntil))
	case k.State(x.now) == keyset.Staged:
		text += fmt.Sprintf(", and known to verifiers only from %s on", stamp(d.PublishAt))
	}
	if k.IsPruned() {
		text += ", and was pruned"
	}
	if err != nil {
		result = Failed
	}
	return result, text + issued
}

// whenIssued says what the key was when the token was issued, if that is known.
func (x *examiner) whenIssued(k *keyset.Key) (Result, string) {
	if x.claims == nil {
		return Passed, ""
	}
	d, iat, made := k.Dates(), x.claims.IssuedAt(), x.claims.MadeAt(x.kind)
	state := stateAt(k, made)
	told := fmt.Sprintf("; the token was issued at %s, when the key was %s", stamp(iat), state)
	switch state {
	case keyset.Active:
		return Passed, "; it was active when the token was issued, at " + stamp(iat)
	case keyset.Staged, keyset.Pending:
		if d.SignFrom.Sub(made) <= x.policy.ClockSkew {
			return Passed, told + fmt.Sprintf(": it became active %s later, which clocks may differ by",
				roughly(d.SignFrom.Sub(made)))
		}
		return Warning, told + fmt.Sprintf(" still: it signs only from %s on; the clock of who issued it is ahead, or the "+
			"key file there is another", stamp(d.SignFrom))
	case keyset.Retiring:
		if made.Before(d.SignUntil.Add(x.policy.Grace + x.policy.ClockSkew)) {
			return Passed, told + ", in its grace"
		}
		return Warning, told + fmt.Sprintf(" already: it signed until %s; who issued it has not read the key file since",
			stamp(d.SignUntil))
	case keyset.Revoked:
		return Warning, told + " already: who issued it had not heard, or has stolen it"
	}
	return Warning, told + " already"
}

// when is an instant and how far off it is.
func (x *examiner) when(t time.Time) string {
	return fmt.Sprintf("at %s, %s", stamp(t), distance(t, x.now))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// distance is in whole seconds, as the instants are that are told.
func distance(t, now time.Time) string {
	d := t.Truncate(time.Second).Sub(now.Truncate(time.Second))
	switch {
	case d > 0:
		return roughly(d) + " from now"
	case d < 0:
		return roughly(-d) + " ago"
	}
	return "now"
}

// roughly returns a positive duration in the unit that people would use,
// rounded down. A finer unit serves up to two of the coarser one: "1 hour"
// would stand for up to 119 minutes.
func roughly(d time.Duration) string {
	n, unit := int(d/(24*time.Hour)), "day"
	for _, u := range [...]struct {
		below, unit time.Duration
		name        string
	}{
		{2 * time.Minute, time.Second, "second"}, {2 * time.Hour, time.Minute, "minute"},
		{48 * time.Hour, time.Hour, "hour"},
	} {
		if d < u.below {
			n, unit = int(d/u.unit), u.name
			break
		}
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}
