package diagnose

import (
	"fmt"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// complete says which claims are missing or of the wrong type.
func (x *examiner) complete() (Result, string) {
	if x.badly != nil {
		return Failed, bare(x.badly)
	}
	if client := x.claims.ClientID; client != "" && client != x.claims.Issuer {
		return Passed, "all there; the client is " + quote(client)
	}
	return Passed, "all there"
}

// rule says how a token meets a rule on its claims, or why it doesn't.
func (x *examiner) rule(r claims.Rule) (Result, string) {
	ok := r.Meets(x.claims, x.measure)
	switch r.Name {
	case "issuer":
		return compare(ok, x.claims.Issuer, x.want.Issuer, "issuer")
	case "audience":
		return compare(ok, x.claims.Audience, x.want.Audience, "audience")
	case "issued_at":
		return x.begins(ok, "issued", x.claims.IssuedAt(), "the clock of who issued it is ahead of this one")
	case "not_before":
		if x.claims.NotBefore.IsZero() {
			return Passed, "none (nbf)"
		}
		return x.begins(ok, "good from then on", x.claims.NotBefore, "it is too early, or the clocks differ")
	case "lifetime":
		return x.lifetime(ok, r.Err)
	case "encryption":
		return x.encryption(ok)
	case "expiry":
		return x.ends(ok, "expires", "expired", x.claims.ExpiresAt())
	case "deadline":
		return x.ends(ok, "the session ends at the latest", "the session ended", x.claims.Deadline)
	}
	if ok {
		return Passed, ""
	}
	return Failed, bare(r.Err)
}

// compare words the comparison of two names.
func compare(same bool, got, want, what string) (Result, string) {
	switch {
	case want == "":
		return Skipped, fmt.Sprintf("the token says %s, and nothing was given to compare it with", quote(got))
	case same:
		return Passed, quote(got)
	}
	text := fmt.Sprintf("the token says %s, and the %s that was expected is %s", quote(got), what, quote(want))
	switch { // the two mistakes that are hard to see
	case strings.TrimSuffix(got, "/") == strings.TrimSuffix(want, "/"):
		text += ": one of them has a slash at the end"
	case strings.EqualFold(got, want):
		text += ": they differ in upper and lower case"
	}
	return Failed, text
}

// quote escapes and cuts what a stranger may have written.
func quote(s string) string {
	if most := 256; len(s) > most { // bytes: no issuer or audience is longer
		return fmt.Sprintf("%+q and %d bytes more", s[:most], len(s)-most)
	}
	return fmt.Sprintf("%+q", s)
}

// begins words an instant that must have come.
func (x *examiner) begins(ok bool, what string, at time.Time, why string) (Result, string) {
	text := what + " " + x.when(at)
	switch off := at.Sub(x.now); {
	case !ok:
		return Failed, text + ": " + why + "; " + x.wouldHelp(off, x.skew)
	case off > 0:
		return Passed, text + fmt.Sprintf(", within the leeway of %s", span.Format(x.measure.Early))
	}
	return Passed, text
}

// ends words an instant that must not have come.
func (x *examiner) ends(ok bool, future, past string, at time.Time) (Result, string) {
	late := x.now.Sub(at)
	switch {
	case late < 0:
		return Passed, future + " " + x.when(at)
	case ok:
		return Passed, past + " " + x.when(at) + fmt.Sprintf(", within the leeway of %s", span.Format(x.measure.Late))
	}
	text := past + " " + x.when(at) + "; " + x.wouldHelp(late, 0)
	if late < x.policy.ClockSkew {
		text += fmt.Sprintf("; clocks may differ by %s (clock_skew of the policy): "+
			"a verifier whose clock is behind may still accept it", span.Format(x.policy.ClockSkew))
	}
	return Failed, text
}

// wouldHelp says which leeway would let a token pass that is off by so much.
// Session tokens are granted a fixed one.
func (x *examiner) wouldHelp(off, fixed time.Duration) string {
	needs := off.Truncate(time.Second) + time.Second
	switch {
	case x.kind == claims.Session && fixed == 0:
		return "session tokens are granted no leeway"
	case x.kind == claims.Session:
		return fmt.Sprintf("session tokens are granted a leeway of %s", span.Format(fixed))
	case needs <= claims.MaxLeeway:
		return fmt.Sprintf("a leeway of %s would accept it", span.Format(needs))
	}
	return fmt.Sprintf("no leeway would accept it (verifiers grant at most %s)", span.Format(claims.MaxLeeway))
}

// lifetime also warns of what verifiers pass over: a token that may outlive the
// trust in its key ends its session early.
func (x *examiner) lifetime(ok bool, broken error) (Result, string) {
	life := x.claims.ExpiresAt().Sub(x.claims.IssuedAt())
	text := fmt.Sprintf("exp is %s after iat", span.Format(life))
	switch most := x.policy.TokenLife; {
	case !ok && x.kind == claims.Session:
		return Failed, bare(broken)
	case !ok:
		return Failed, text + fmt.Sprintf(", and a service token's is at most %s after",
			span.Format(claims.MaxServiceLife+claims.Backdated))
	case most > 0 && x.claims.ExpiresAt().Sub(x.claims.MadeAt(x.kind)) > most:
		return Warning, text + fmt.Sprintf(", and token_life of the policy is %s: "+
			"keys may stop verifying while the token lives", span.Format(most))
	case x.outlives():
		return Warning, text + fmt.Sprintf(", but the key verifies no token after %s", stamp(x.token.Signer.TokensUntil()))
	case most > 0:
		return Passed, text + fmt.Sprintf("; token_life of the policy is %s", span.Format(most))
	}
	return Passed, text
}

// outlives reports whether the token lives longer than its key verifies.
func (x *examiner) outlives() bool {
	k := x.token.Signer
	return k != nil && !k.TokensUntil().IsZero() && x.claims.ExpiresAt().After(k.TokensUntil())
}

// encryption says whether a token that is signed only may be.
func (x *examiner) encryption(ok bool) (Result, string) {
	since := stamp(x.measure.SealedSince)
	switch {
	case !x.measure.Sealing:
		return Passed, "signed only: there is no encryption key, and clients can read their sessions"
	case ok:
		return Passed, "signed only, which it may be: it is older than the first encryption key, of " + since
	}
	return Failed, "signed only, though session tokens are encrypted since " + since
}

// login is no rule: verifiers take a login in the future for what it is, and an
// operator should know which clock is wrong.
func (x *examiner) login() (Result, string) {
	at := x.claims.AuthenticatedAt
	switch {
	case at.IsZero():
		return Passed, "nobody is logged in"
	case at.After(x.now.Add(x.skew)):
		return Warning, "logged in " + x.when(at) + ": the clock of who issued it is ahead of this one"
	}
	text := "logged in " + x.when(at)
	if since := x.claims.CountsFrom(); since.Sub(at).Abs() >= time.Second {
		text += ", and counts from " + stamp(since)
	}
	return Passed, text + x.loginSays()
}

// loginSays counts what else the login says: the names may be personal data.
func (x *examiner) loginSays() (text string) {
	for _, of := range [...]struct {
		n          int
		one, claim string
	}{{len(x.claims.AMR), "method", "amr"}, {len(x.claims.Tags), "tag", "tg"}} {
		switch {
		case of.n == 1:
			text += fmt.Sprintf("; 1 %s (%s)", of.one, of.claim)
		case of.n > 1:
			text += fmt.Sprintf("; %d %ss (%s)", of.n, of.one, of.claim)
		}
	}
	return text
}

// values tells no name and no value, which may be personal data.
func (x *examiner) values() (Result, string) {
	return Passed, fmt.Sprintf("%d, %d bytes", x.claims.Values.Len(), x.size)
}
