// Package diagnose says for people why a token is accepted or refused.
//
// [Token] makes every check that a token.Carrier or a token.Verifier makes, and
// goes on after one that fails, so that all reasons come to light. Its verdict
// is theirs. It lets nobody in: applications and services use package token.
package diagnose

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// A Verdict is what [Token] says of a token.
type Verdict string

// The verdicts.
const (
	Good      Verdict = "good"    // verifiers accept it now
	OutOfTime Verdict = "expired" // nothing is wrong with it but the time: it is over, or has not come
	Bad       Verdict = "bad"     // verifiers refuse it, whatever the time
)

// A Result is what [Token] says of one check.
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

// A Diagnosis says what is wrong with a token. As JSON it holds neither the
// token nor a value of the session, but names: who issued it, for whom, and
// what the header says.
type Diagnosis struct {
	Verdict Verdict `json:"verdict"` // Good, OutOfTime or Bad
	Kind    string  `json:"kind"`    // "session", "service", or "unknown" if it could not be read
	Checks  []Check `json:"checks"`  // in the order in which verifiers make them

	KeyID          string `json:"kid,omitempty"`              // of the key that is to verify it
	KeyStateNow    string `json:"key_state_now,omitempty"`    // a keys.State in words, or "unknown"
	KeyStateIssued string `json:"key_state_issued,omitempty"` // what it was at iat

	// Of the key that is to open the token, if it is encrypted.
	EncryptionKeyID          string `json:"encryption_kid,omitempty"`
	EncryptionKeyStateNow    string `json:"encryption_key_state_now,omitempty"`
	EncryptionKeyStateIssued string `json:"encryption_key_state_issued,omitempty"`

	IssuedAt  time.Time `json:"issued_at,omitzero"`  // iat; zero if it could not be read
	ExpiresAt time.Time `json:"expires_at,omitzero"` // exp; likewise

	// The headers of the encryption and of the signature, and the claims with the
	// session's values. They are here even if the signature is not good: then
	// anybody may have written them. Each is nil if it could not be read.
	Encryption, Header, Claims json.RawMessage `json:"-"`
}

// Problem returns the first check that failed, in words; "" if none has.
func (d *Diagnosis) Problem() string {
	for _, c := range d.Checks {
		if c.Result == Failed {
			return strings.ReplaceAll(c.Name, "_", " ") + ": " + c.Text
		}
	}
	return ""
}

// Want holds the settings of the verifier that the token is meant for.
type Want struct {
	_ [0]func() // no unkeyed literals, no comparison

	Issuer   string // iss; "" if it is not to be compared
	Audience string // aud; likewise

	// Leeway is how far clocks may be off. 0 means what verifiers grant if nothing
	// is said: 10 seconds for a service token; for a session token 1 minute on iat
	// and nbf, and nothing on exp. A negative Leeway means none.
	Leeway time.Duration
}

// Token examines a token as verifiers with the keys of ring see it at now.
// Without a ring, no key is known.
func Token(ctx context.Context, ring *keys.Ring, token string, want Want, now time.Time) *Diagnosis {
	if ring == nil {
		ring = &keys.Ring{}
	}
	policy := keyset.Policy(ring.Set().Policy())
	x := &examiner{ring: ring, policy: policy, want: want, now: now, d: &Diagnosis{Kind: "unknown"}}
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
	policy keyset.Policy
	want   Want
	now    time.Time
	skew   time.Duration // how far the clocks of instances may differ
	d      *Diagnosis

	token   keyset.Reading
	kind    claims.Kind
	claims  *claims.Claims // nil if they can't be read
	badly   error          // why
	size    int            // of the member data, in bytes
	measure claims.Want    // for the rules on claims
}

func (x *examiner) read(ctx context.Context, token string) {
	x.token = keyset.Reading{Token: token, Keys: x, Now: x.now}
	x.token.Examine(ctx)
	if x.token.Outer != nil {
		x.d.Encryption = header(token)
	}
	if x.token.Frame != nil {
		x.d.Header = header(x.token.Inner)
		x.readClaims(x.token.Frame)
	}
}

// FindKey finds also keys that verifiers don't accept any more: what their
// tokens say may tell why.
func (x *examiner) FindKey(ctx context.Context, kid string, now time.Time) (*keyset.Key, error) {
	k, err := x.ring.Key(ctx, kid, now)
	if k == nil {
		return (*keyset.Set)(x.ring.Set()).Any(kid), err
	}
	return (*keyset.Key)(k), err
}

// header returns the header of a token that has been parsed.
func header(token string) json.RawMessage {
	segment, _, _ := strings.Cut(token, ".")
	text, err := jose.Bytes(segment)
	if err != nil {
		return nil
	}
	return text
}

func (x *examiner) readClaims(frame *jose.JWS) {
	if json.Valid(frame.Payload) {
		x.d.Claims = frame.Payload
	}
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
	// Whether it is an object is not asked again: the check of the claims says it.
	_ = jose.Object(frame.Payload, func(name string, value []byte) error {
		if name == "data" {
			x.size = len(value)
		}
		return nil
	})
}

// measureBy sets what the rules on claims compare with.
func (x *examiner) measureBy() {
	early, late := claims.Leeway(x.kind, x.want.Leeway, x.policy.ClockSkew)
	since, sealing := (*keyset.Set)(x.ring.Set()).UsedSince(keyset.Encryption, x.now)
	x.measure = claims.Want{
		Issuer: x.want.Issuer, Audience: x.want.Audience, Now: x.now, Early: early, Late: late,
		Encrypted: x.token.Outer != nil, Sealing: sealing, SealedSince: since,
	}
}

// report makes the checks in the order in which package token makes them.
func (x *examiner) report(token string) {
	x.add("form", "", func() (Result, string) { return x.form(token) })
	if x.token.Outer != nil {
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
		if r.Name == "encryption" && x.token.Outer != nil {
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

// sealedReason says why what is in the encryption can't be looked at; "" if it
// can.
func (x *examiner) sealedReason() string {
	if x.token.Inner == "" {
		return "the token can't be decrypted"
	}
	return ""
}

// unread says why the header of the signed token is not known; "" if it is.
func (x *examiner) unread() string {
	_, err := x.token.Result(keyset.CheckForm)
	switch {
	case err != nil:
		return "the form is no token's"
	case x.token.Inner == "":
		return x.sealedReason()
	case x.token.Frame == nil:
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
