package token

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/keys"
)

// A Verdict is what [Diagnose] says of a token.
type Verdict string

// The verdicts.
const (
	Good      Verdict = "good"    // verifiers accept it now
	OutOfTime Verdict = "expired" // nothing is wrong with it but the time: it is over, or has not come
	Bad       Verdict = "bad"     // verifiers refuse it, whatever the time
)

// A Result is what [Diagnose] says of one check.
type Result string

// The results.
const (
	Passed  Result = "ok"
	Warning Result = "warning" // verifiers pass it over, and an operator should not
	Failed  Result = "failed"
	Skipped Result = "not_checked" // the text says why
)

// A Check is one thing that verifiers look at.
type Check struct {
	Name   string `json:"check"`   // such as "signature"
	Result Result `json:"verdict"` // whether it was passed
	Text   string `json:"text"`    // for people
	time   bool   // whoever fails only this is good at another time
}

// A Diagnosis says what is wrong with a token. It holds neither the token nor a
// value of the session, but names: who issued it, for whom, and what the header says.
type Diagnosis struct {
	Verdict Verdict `json:"verdict"` // Good, Expired or Bad
	Kind    string  `json:"kind"`    // "session", "service", or "unknown" if it could not be read
	Checks  []Check `json:"checks"`  // in the order in which verifiers make them

	KeyID          string `json:"kid,omitempty"`              // of the key that is to verify it
	KeyStateNow    string `json:"key_state_now,omitempty"`    // a keys.State in words, or "unknown"
	KeyStateIssued string `json:"key_state_issued,omitempty"` // what it was at iat

	EncryptionKeyID          string `json:"encryption_kid,omitempty"`              // of the key that is to open it, if it is encrypted
	EncryptionKeyStateNow    string `json:"encryption_key_state_now,omitempty"`    // likewise
	EncryptionKeyStateIssued string `json:"encryption_key_state_issued,omitempty"` // likewise

	IssuedAt  time.Time `json:"issued_at,omitzero"`  // iat; zero if it could not be read
	ExpiresAt time.Time `json:"expires_at,omitzero"` // exp; likewise
}

// Expected is what a verifier expects of a token, for [Diagnose].
type Expected struct {
	_ [0]func() // no unkeyed literals, no comparison

	Issuer   string // iss; "" if it is not to be compared
	Audience string // aud; likewise

	// Leeway is how far clocks may be off. 0 means what verifiers grant if nothing
	// is said: 10 seconds for a service token; for a session token 1 minute on iat
	// and nbf, and nothing on exp. A negative Leeway means none.
	Leeway time.Duration
}

// Diagnose makes every check that a [Carrier] or a [Verifier] makes of a token,
// and goes on after one that fails, so that all reasons come to light. It is for
// people and decides nothing. Without a ring, no key is known.
//
// What a token says is reported also if its signature is not good: then anybody
// may have written it.
func Diagnose(ctx context.Context, ring *keys.Ring, token string, want Expected, now time.Time) *Diagnosis {
	if ring == nil {
		ring = &keys.Ring{}
	}
	x := &examiner{ring: ring, policy: ring.Policy(), want: want, now: now, d: &Diagnosis{Kind: "unknown"}}
	x.skew, _ = claims.Leeway(claims.Session, 0, x.policy.ClockSkew)
	x.read(ctx, token)
	x.measureBy()
	x.report(token)
	x.conclude()
	return x.d
}

// An examiner first reads as much of a token as can be read, and then reports.
type examiner struct {
	ring   *keys.Ring
	policy keys.Policy
	want   Expected
	now    time.Time
	skew   time.Duration // how far the clocks of instances may differ
	d      *Diagnosis

	formErr  error     // why it is no token
	outer    *jose.JWE // nil if it is signed only
	sealer   keyRef    // of outer
	openErr  error     // why outer can't be opened
	innerErr error     // why what is in outer is no token
	frame    *jose.JWS // nil if it can't be read, then the first of the errors says why
	signer   keyRef    // of frame
	kind     claims.Kind
	claims   *claims.Claims // nil if they can't be read
	badly    error          // why
	size     int            // of the member data, in bytes
	measure  claims.Want    // for the rules on claims
}

// A keyRef is the key that the kid of a header resolved to.
type keyRef struct {
	kid    string
	key    *keys.Key // nil if there is none
	err    error     // why verifiers don't trust it
	pruned bool
}

func (x *examiner) read(ctx context.Context, token string) {
	inner := token
	if strings.Count(token, ".") == 4 {
		if x.outer, x.formErr = jose.ParseJWE(token); x.formErr != nil {
			return
		}
		x.sealer = x.find(ctx, x.outer.Header.Kid)
		if x.sealer.key == nil {
			x.openErr = keys.ErrUnknownKey
			return
		}
		// Also with a key that nobody trusts any more: what is in it may say why.
		var plain []byte
		if plain, x.openErr = x.sealer.key.Open(x.outer); x.openErr != nil {
			return
		}
		inner = string(plain)
	}
	frame, err := jose.ParseJWS(inner)
	switch {
	case err != nil && x.outer != nil:
		x.innerErr = err
	case err != nil:
		x.formErr = err
	default:
		x.readFrame(ctx, frame)
	}
}

func (x *examiner) readFrame(ctx context.Context, frame *jose.JWS) {
	x.frame = frame
	x.signer = x.find(ctx, frame.Header.Kid)
	switch x.kind = claims.KindOf(frame.Header.Typ); x.kind {
	case claims.Session:
		x.d.Kind = "session"
	case claims.Service:
		x.d.Kind = "service"
	default:
		return
	}
	if x.claims, x.badly = claims.Decode(frame.Payload, x.kind); x.badly == nil {
		x.d.IssuedAt, x.d.ExpiresAt = x.claims.IssuedAt().UTC(), x.claims.ExpiresAt().UTC()
	}
	_ = jose.Object(frame.Payload, func(name string, value []byte) error { // the claims were read, or their check says why not
		if name == "data" {
			x.size = len(value)
		}
		return nil
	})
}

// measureBy sets what the rules on claims compare with.
func (x *examiner) measureBy() {
	early, late := claims.Leeway(x.kind, x.want.Leeway, x.policy.ClockSkew)
	since, sealing := x.ring.SealedSince(x.now)
	x.measure = claims.Want{
		Issuer: x.want.Issuer, Audience: x.want.Audience, Now: x.now, Early: early, Late: late,
		Encrypted: x.outer != nil, Sealing: sealing, SealedSince: since,
	}
}

// find looks for a key, also among those that verifiers don't accept any more.
func (x *examiner) find(ctx context.Context, kid string) keyRef {
	n := keyRef{kid: kid}
	n.key, n.err = x.ring.Key(ctx, kid, x.now)
	if n.err == nil {
		return n
	}
	for _, k := range x.ring.Keys() {
		if k.ID() == kid {
			n.key = k
		}
	}
	for _, k := range x.ring.Pruned() {
		if k.ID() == kid {
			n.key, n.pruned = k, true
		}
	}
	return n
}

// report makes the checks in the order of [codec.open], [verify] and [Verifier.Verify].
func (x *examiner) report(token string) {
	x.add("form", "", func() (Result, string) { return x.form(token) })
	if x.outer != nil {
		x.add("encryption_key", "", x.encryptionKey)
		x.add("encryption_algorithm", "", x.encryptionAlgorithm)
		x.add("decryption", "", x.decryption)
		x.add("inner_form", x.sealedReason(), x.innerForm)
	}
	unread := x.unread()
	x.add("type", unread, x.typ)
	x.add("key", unread, x.signatureKey)
	x.add("algorithm", unread, x.algorithm)
	x.add("signature", unread, x.signature)
	if unread == "" && x.d.Kind == "unknown" {
		unread = "it is no token of this module"
	}
	x.add("claims", unread, x.complete)
	if unread == "" && x.claims == nil {
		unread = "the claims can't be read"
	}
	x.reportClaims(unread)
	x.add("revocation", "only the application knows whether the session was ended", nil)
}

// reportClaims makes the checks of single claims, unless there is a reason why
// they can't be read.
func (x *examiner) reportClaims(unread string) {
	kind := x.kind
	if kind == 0 {
		kind = claims.Service // which has the rules that both have
	}
	for _, r := range claims.Rules(kind) {
		if r.Name == "encryption" && x.outer != nil {
			continue
		}
		x.add(r.Name, unread, func() (Result, string) { return x.rule(r) })
		x.d.Checks[len(x.d.Checks)-1].time = r.Time
	}
	x.add("login", unread, x.login)
	if kind == claims.Session {
		x.add("session_values", unread, x.values)
	}
}

// add makes a check, unless there is a reason why it can't be made.
func (x *examiner) add(name, blocked string, check func() (Result, string)) {
	c := Check{Name: name, Result: Skipped, Text: blocked}
	if blocked == "" {
		c.Result, c.Text = check()
	}
	x.d.Checks = append(x.d.Checks, c)
}

// sealedReason says why what is in the encryption can't be looked at; "" if it can.
func (x *examiner) sealedReason() string {
	if x.openErr != nil {
		return "the token can't be decrypted"
	}
	return ""
}

// unread says why the header of the signed token is not known; "" if it is.
func (x *examiner) unread() string {
	switch {
	case x.formErr != nil:
		return "the form is no token's"
	case x.openErr != nil:
		return x.sealedReason()
	case x.innerErr != nil:
		return "there is no signed token in the encryption"
	}
	return ""
}

// conclude sums the checks up. A token is good only if its signature is.
func (x *examiner) conclude() {
	signed, refused, late := false, false, false
	for _, c := range x.d.Checks {
		failed := c.Result == Failed
		signed = signed || c.Name == "signature" && c.Result == Passed
		refused = refused || failed && !c.time
		late = late || failed && c.time
	}
	switch {
	case refused || !signed:
		x.d.Verdict = Bad
	case late:
		x.d.Verdict = OutOfTime
	default:
		x.d.Verdict = Good
	}
}

func (x *examiner) form(token string) (Result, string) {
	switch {
	case x.formErr != nil:
		return Failed, bare(x.formErr) + hint(token)
	case x.outer == nil:
		return Passed, fmt.Sprintf("a signed token of %d characters", len(token))
	case x.outer.Header.Cty != contentJWT:
		return Failed, fmt.Sprintf("the cty of the encryption is %q, and must be %q", x.outer.Header.Cty, contentJWT)
	case x.outer.Header.Typ != "":
		return Failed, fmt.Sprintf("the encryption has the typ %q, and must have none", x.outer.Header.Typ)
	}
	return Passed, fmt.Sprintf("an encrypted token of %d characters", len(token))
}

// bare is the text of an error without the package's name. None of those that
// it is for holds a part of the token.
func bare(err error) string { return fault.Inner(err).Error() }

// hint says what may have happened to a token on its way here.
func hint(token string) string {
	name, _, _ := strings.Cut(token, ".")
	switch {
	case token == "":
		return ": it is empty"
	case len(token) > 7 && strings.EqualFold(token[:7], "Bearer "):
		return ": leave out the word Bearer, which is not part of it"
	case strings.ContainsAny(token, " \t\r\n"):
		return ": it has white space in it, as from a line that was wrapped"
	case strings.ContainsAny(token, `"'`):
		return ": it has quotes"
	case strings.Contains(token, "%"):
		return ": it is percent-encoded"
	case strings.Contains(name, "="):
		return ": leave out the name of the cookie and the equals sign"
	case strings.Contains(token, "="):
		return ": it has padding, which no token has"
	case strings.Count(token, ".") != 2 && strings.Count(token, ".") != 4:
		return fmt.Sprintf(": it has %d, a signed token 3 and an encrypted one 5; it may have been cut off", strings.Count(token, ".")+1)
	}
	return ""
}

func (x *examiner) encryptionKey() (Result, string) {
	x.d.EncryptionKeyID = x.sealer.kid
	x.d.EncryptionKeyStateNow, x.d.EncryptionKeyStateIssued = x.states(x.sealer)
	return x.key(x.sealer)
}

func (x *examiner) encryptionAlgorithm() (Result, string) {
	h, k := x.outer.Header, x.sealer.key
	switch {
	case k == nil:
		return Skipped, "the key is not known"
	case k.Matches(&h) != nil:
		return Failed, fmt.Sprintf("the header says alg %s and enc %s, and the key is for %s: what counts is the key", h.Alg, h.Enc, k.Algorithm())
	}
	return Passed, fmt.Sprintf("%s with %s, as the key", h.Alg, h.Enc)
}

func (x *examiner) decryption() (Result, string) {
	k := x.sealer.key
	switch {
	case x.openErr == nil:
		return Passed, "the key opens it"
	case k == nil:
		return Skipped, "the key is not known"
	case k.Matches(&x.outer.Header) != nil:
		return Skipped, "it is not made for this key"
	case !k.HasPrivate():
		return Failed, "only its owner can open it: the private half of the key is not here"
	}
	return Failed, "the key does not open it: it was altered, or not made with this key"
}

func (x *examiner) innerForm() (Result, string) {
	if x.innerErr != nil {
		return Failed, bare(x.innerErr)
	}
	return Passed, "a signed token"
}

func (x *examiner) typ() (Result, string) {
	h := x.frame.Header
	switch {
	case x.d.Kind == "unknown":
		return Failed, fmt.Sprintf("typ is %q: neither a session token (%s) nor a service token (%s)", h.Typ, claims.Session.Typ(), claims.Service.Typ())
	case h.Cty != "":
		return Failed, fmt.Sprintf("the header has the cty %q, and must have none", h.Cty)
	case x.d.Kind == "service" && x.outer != nil:
		return Failed, "a service token, which is never encrypted"
	case x.d.Kind == "service":
		return Passed, "a service token"
	}
	return Passed, "a session token"
}

func (x *examiner) signatureKey() (Result, string) {
	x.d.KeyID = x.signer.kid
	x.d.KeyStateNow, x.d.KeyStateIssued = x.states(x.signer)
	return x.key(x.signer)
}

func (x *examiner) algorithm() (Result, string) {
	h, k := x.frame.Header, x.signer.key
	switch {
	case k == nil:
		return Skipped, "the key is not known"
	case string(k.Algorithm()) != h.Alg:
		return Failed, fmt.Sprintf("the header says %s, and the key is for %s: what counts is the key", h.Alg, k.Algorithm())
	}
	return Passed, h.Alg + ", as the key"
}

func (x *examiner) signature() (Result, string) {
	k := x.signer.key
	switch {
	case k == nil:
		return Skipped, "the key is not known"
	case string(k.Algorithm()) != x.frame.Header.Alg:
		return Skipped, "the algorithm is not the key's"
	case !k.HasPrivate() && k.Public() == nil:
		return Skipped, "only a note is left of the key"
	case k.Verify(x.frame.SigningInput, x.frame.Signature) != nil:
		return Failed, "it was not made with this key: the token was altered or forged"
	}
	return Passed, "made with this key"
}
