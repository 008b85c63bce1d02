package token

import (
	"fmt"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// complete says which claims are missing or of the wrong type.
func (x *examiner) complete() (Verdict, string) {
	if x.claims == nil {
		return Failed, claimProblem(x.frame.Payload, x.frame.Header.Typ)
	}
	if x.d.Kind == "service" && x.claims.subject == "" {
		return Failed, "there is no subject (sub), and a service token vouches for one"
	}
	return Passed, "all there"
}

// claimProblem says why decodeClaims fails. It names claims of ours, and no others.
func claimProblem(payload []byte, typ string) string {
	var c claims
	var wrong, missing []string
	has := make(map[string]bool)
	err := jose.Object(payload, func(name string, value []byte) error {
		has[name] = true
		if err := c.decode(name, value); err != nil { // of unknown ones it is nil
			wrong = append(wrong, name)
		}
		return nil
	})
	if err != nil {
		return bare(err)
	}
	for _, name := range requiredClaims(typ) {
		if !has[name] {
			missing = append(missing, name)
		}
	}
	switch {
	case missing != nil:
		return "missing: " + strings.Join(missing, ", ")
	case wrong != nil:
		return "of the wrong type: " + strings.Join(wrong, ", ")
	case has["sub"] != has["auth_time"]:
		return "sub and auth_time go together, and one of them is missing"
	}
	return "sid or jti is empty"
}

func (x *examiner) issuer() (Verdict, string) {
	return compare(x.claims.issuer, x.want.Issuer, "issuer")
}

func (x *examiner) audience() (Verdict, string) {
	return compare(x.claims.audience, x.want.Audience, "audience")
}

// compare compares two names, exactly as verifiers do.
func compare(got, want, what string) (Verdict, string) {
	switch {
	case want == "":
		return Skipped, fmt.Sprintf("the token says %s, and nothing was given to compare it with", quote(got))
	case got == want:
		return Passed, quote(got)
	}
	text := fmt.Sprintf("the token says %s, and the %s that was expected is %s", quote(got), what, quote(want))
	switch {
	case strings.TrimSuffix(got, "/") == strings.TrimSuffix(want, "/"):
		text += ": one of them has a slash at the end"
	case strings.EqualFold(got, want):
		text += ": they differ in upper and lower case"
	}
	return Failed, text
}

// quote escapes and cuts what a stranger may have written.
func quote(s string) string {
	if most := 256; len(s) > most { // bytes, as checkName allows
		return fmt.Sprintf("%+q and %d bytes more", s[:most], len(s)-most)
	}
	return fmt.Sprintf("%+q", s)
}

// leeway is what is granted on exp, and on iat and nbf.
func (x *examiner) leeway() (late, early time.Duration) {
	switch {
	case x.want.Leeway > 0:
		return x.want.Leeway, x.want.Leeway
	case x.want.Leeway < 0:
		return 0, 0
	case x.d.Kind == "service":
		return defaultLeeway, defaultLeeway
	}
	return 0, skewOf(x.ring)
}

func (x *examiner) issuedAt() (Verdict, string) {
	return x.begins("issued", x.claims.issuedAt, "the clock of who issued it is ahead of this one")
}

func (x *examiner) notBefore() (Verdict, string) {
	if x.claims.notBefore.IsZero() {
		return Passed, "none (nbf)"
	}
	return x.begins("good from then on", x.claims.notBefore, "it is too early, or the clocks differ")
}

// begins checks an instant that must have come.
func (x *examiner) begins(what string, at time.Time, why string) (Verdict, string) {
	_, leeway := x.leeway()
	text := what + " " + x.when(at)
	switch off := at.Sub(x.now); {
	case off > leeway:
		return Failed, text + ": " + why + "; " + x.wouldHelp(off, skewOf(x.ring))
	case off > 0:
		return Passed, text + fmt.Sprintf(", within the leeway of %s", exactly(leeway))
	}
	return Passed, text
}

// wouldHelp says which leeway would let a token pass that is off by so much.
// Session tokens are granted a fixed one.
func (x *examiner) wouldHelp(off, fixed time.Duration) string {
	needs := off.Truncate(time.Second) + time.Second
	switch {
	case x.d.Kind == "session" && fixed == 0:
		return "session tokens are granted no leeway"
	case x.d.Kind == "session":
		return fmt.Sprintf("session tokens are granted a leeway of %s", exactly(fixed))
	case needs <= maxLeeway:
		return fmt.Sprintf("a leeway of %s would accept it", exactly(needs))
	}
	return fmt.Sprintf("no leeway would accept it (verifiers grant at most %s)", exactly(maxLeeway))
}

func (x *examiner) lifetime() (Verdict, string) {
	c := x.claims
	life := c.expiresAt.Sub(c.issuedAt)
	text := fmt.Sprintf("exp is %s after iat", exactly(life))
	switch most := x.policy.TokenLife; {
	case x.d.Kind == "session" && (life < 0 || c.expiresAt.After(c.deadline)):
		return Failed, "exp is outside of the session's life, from iat to dl"
	case x.d.Kind == "service" && life > maxServiceLifetime:
		return Failed, text + fmt.Sprintf(", and a service token lives at most %s", exactly(maxServiceLifetime))
	case most > 0 && life > most:
		return Warning, text + fmt.Sprintf(", and token_life of the policy is %s: keys may stop verifying while the token lives", exactly(most))
	case x.outlives():
		return Warning, text + fmt.Sprintf(", but the key verifies no token after %s", stamp(x.signer.key.TokensUntil()))
	case most > 0:
		return Passed, text + fmt.Sprintf("; token_life of the policy is %s", exactly(most))
	}
	return Passed, text
}

// outlives reports whether the token lives longer than its key verifies.
func (x *examiner) outlives() bool {
	k := x.signer.key
	return k != nil && !k.TokensUntil().IsZero() && x.claims.expiresAt.After(k.TokensUntil())
}

// encryption says whether a session token should have been encrypted, see codec.acceptForm.
func (x *examiner) encryption() (Verdict, string) {
	since, sealing := x.ring.SealedSince(x.now)
	switch {
	case !sealing:
		return Passed, "signed only: there is no encryption key, and clients can read their sessions"
	case x.claims.issuedAt.Before(since):
		return Passed, "signed only, which it may be: it is older than the first encryption key, of " + stamp(since)
	}
	return Failed, "signed only, though session tokens are encrypted since " + stamp(since)
}

func (x *examiner) expiry() (Verdict, string) {
	return x.ends("expires", "expired", x.claims.expiresAt)
}

func (x *examiner) deadline() (Verdict, string) {
	return x.ends("the session ends at the latest", "the session ended", x.claims.deadline)
}

// ends checks an instant that must not have come.
func (x *examiner) ends(future, past string, at time.Time) (Verdict, string) {
	leeway, _ := x.leeway()
	late := x.now.Sub(at)
	switch {
	case late < 0:
		return Passed, future + " " + x.when(at)
	case late < leeway:
		return Passed, past + " " + x.when(at) + fmt.Sprintf(", within the leeway of %s", exactly(leeway))
	}
	text := past + " " + x.when(at) + "; " + x.wouldHelp(late, 0)
	if late < x.policy.ClockSkew {
		text += fmt.Sprintf("; clocks may differ by %s (clock_skew of the policy): a verifier whose clock is behind may still accept it", exactly(x.policy.ClockSkew))
	}
	return Failed, text
}

func (x *examiner) login() (Verdict, string) {
	at := x.claims.authenticatedAt
	switch {
	case at.IsZero():
		return Passed, "nobody is logged in"
	case at.After(x.now.Add(skewOf(x.ring))):
		return Warning, "logged in " + x.when(at) + ": the clock of who issued it is ahead of this one"
	}
	return Passed, "logged in " + x.when(at)
}

func (x *examiner) values() (Verdict, string) {
	return Passed, fmt.Sprintf("%d, %d bytes", x.claims.values.Len(), x.size)
}
