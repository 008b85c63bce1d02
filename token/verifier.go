package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/reqcopy"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// A KeySet finds the public key that a token names. *keys.Ring and *keys.Remote
// have this method.
type KeySet interface {
	// Key returns the key called kid if it may verify at now. Errors other than
	// those of package keys mean that the keys could not be read or fetched.
	Key(ctx context.Context, kid string, now time.Time) (*keys.Key, error)
}

// VerifierConfig configures a [Verifier].
type VerifierConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Keys are the issuer's public keys: usually a keys.Remote that fetches them.
	// Required. They must be only the keys of Issuer (RFC 8725bis, Section 3.8).
	Keys KeySet

	// Issuer is the only iss that is accepted, exactly. Required.
	Issuer string

	// Audience is the name of this service, compared with aud exactly. Required.
	Audience string

	// Foreign, if set, says that the issuer is not Cloakroom, and what its tokens
	// are like.
	Foreign *Foreign

	// Revocations, if set, is asked whether the caller's session has ended since
	// the token was made. Without it a token is good until it expires. It knows
	// nothing of the sessions of a Foreign issuer.
	Revocations interface {
		Check(rec *session.Record) error
	}

	// MaxAuthAge is how long ago the user may have logged in (auth_time), in whole
	// seconds. A token that doesn't say when is refused then. 0 means any time.
	MaxAuthAge time.Duration

	// ACR are the values of acr that are accepted, which say how the user has been
	// authenticated. A token without acr is refused then. Empty means any.
	ACR []string

	// Leeway is how far the issuer's clock may be off, on exp, nbf, iat and
	// auth_time. 0 means 10 seconds, a negative Leeway means none; at most 5
	// minutes.
	Leeway time.Duration

	// OnRefused is called with the reason when [Verifier.Handler] denies a
	// request. The client is not told the reason, and the error holds no
	// credential. OnRefused is called on the request's goroutine; anybody can
	// cause such calls. If nil, nothing is reported.
	OnRefused func(ctx context.Context, err error)

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// Errors of [Verifier.Verify] that a service may want to tell apart. Each wraps
// a session.Reason as all its errors do: Forged, except for LifetimeOver in
// ErrExpired and ErrInsufficientAuthentication, and UnknownKey in
// ErrUnknownKey.
var (
	ErrUnknownKey    error = claims.ErrUnknownKey
	ErrBadSignature  error = claims.ErrBadSignature
	ErrWrongIssuer   error = claims.ErrWrongIssuer   // iss is not VerifierConfig.Issuer
	ErrWrongAudience error = claims.ErrWrongAudience // aud is not VerifierConfig.Audience
	ErrNotYetValid   error = claims.ErrNotYetValid   // iat or nbf is later than now and VerifierConfig.Leeway
	ErrExpired       error = claims.ErrExpired       // exp and VerifierConfig.Leeway have passed

	// ErrInsufficientAuthentication means that the token is good, but the user
	// must log in again: the login was too long ago for VerifierConfig.MaxAuthAge,
	// or not as VerifierConfig.ACR wants it.
	ErrInsufficientAuthentication error = fmt.Errorf("token: the user must log in again: %w", session.LifetimeOver)
)

// A Verifier accepts service tokens, and nothing else.
type Verifier struct {
	c         VerifierConfig
	keys      keyset.Finder
	kind      claims.Kind
	types     []string    // of a foreign issuer; nil for ours
	want      claims.Want // without Now
	challenge string      // for ErrInsufficientAuthentication
}

// A Caller is the user that a service token identifies.
type Caller struct {
	Issuer          string    // who says so; a subject means nothing without it
	Subject         string    // who is logged in there
	SessionID       string    // the public handle of the session; "" if a foreign issuer doesn't say
	ClientID        string    // the application that got the token; "" if a foreign issuer doesn't say
	AuthenticatedAt time.Time // when the subject logged in; zero if a foreign issuer doesn't say
	IssuedAt        time.Time // iat of the token: when it was made, or some seconds before
	ExpiresAt       time.Time // when the token expires

	AMR []string // how the user was authenticated, such as "pwd" and "otp" (RFC 8176); nil if that is not said
	ACR string   // how strong that was, in words that the issuer and its services have agreed on

	// Claims has the claims of the token for which there is no field here, such as
	// scope, as JSON. It is nil if there are none.
	Claims map[string]json.RawMessage
}

// NewVerifier checks c and returns a Verifier. It reports every mistake at
// once.
func NewVerifier(c VerifierConfig) (*Verifier, error) {
	bad := fault.In("token: VerifierConfig")
	bad.Add(checkName("VerifierConfig.Issuer", c.Issuer, true), checkName("VerifierConfig.Audience", c.Audience, true))
	bad.If(c.Keys == nil, "Keys", "is required: keys.NewRemote fetches the issuer's")
	bad.If(c.Leeway > claims.MaxLeeway, "Leeway", "is %v: must be at most %v", c.Leeway, claims.MaxLeeway)
	bad.Add(c.checkStepUp(), c.checkForeign())
	if err := bad.Err(); err != nil {
		return nil, err
	}
	if c.OnRefused == nil {
		c.OnRefused = func(context.Context, error) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.ACR = slices.Clone(c.ACR)
	v := &Verifier{c: c, keys: claims.Finder{Set: c.Keys}, kind: claims.Service, challenge: c.challenge()}
	v.want.Issuer, v.want.Audience = c.Issuer, c.Audience
	v.want.Early, v.want.Late = claims.Leeway(claims.Service, c.Leeway, 0)
	if c.Foreign != nil {
		v.kind, v.types, v.want.MaxLife = claims.Foreign, c.Foreign.types(), c.Foreign.maxLifetime()
	}
	return v, nil
}

// Verify returns the user that token identifies. An error wraps a
// session.Reason: session.Unavailable if the keys are out of reach; otherwise
// the token is refused, and the error may be one of the errors of this
// package, such as [ErrExpired], too.
func (v *Verifier) Verify(ctx context.Context, token string) (*Caller, error) {
	want := v.want
	want.Now = v.c.Now()
	r := keyset.Reading{Token: token, Signed: true, Keys: v.keys, Now: want.Now, Types: v.types}
	if v.kind == claims.Service {
		r.Typ = claims.Service.Typ()
	}
	c, err := claims.Read(ctx, &r, v.kind, want)
	if err != nil {
		return nil, err
	}
	if v.c.Revocations != nil {
		if err := v.c.Revocations.Check(&c.Record); err != nil {
			return nil, err
		}
	}
	if err := v.stepUp(c, want); err != nil {
		return nil, err
	}
	return &Caller{
		Issuer: c.Issuer, Subject: c.Subject, SessionID: c.ID, ClientID: c.ClientID, AuthenticatedAt: c.AuthenticatedAt,
		IssuedAt: c.IssuedAt(), ExpiresAt: c.ExpiresAt(), AMR: c.AMR, ACR: c.ACR, Claims: c.Further,
	}, nil
}

// Check verifies the bearer token of r, which must be in its one Authorization
// header. Cookies, forms and the URL are never looked at.
func (v *Verifier) Check(r *http.Request) (*Caller, error) {
	fields := r.Header["Authorization"]
	if len(fields) == 0 {
		return nil, fmt.Errorf("token: no Authorization header: %w", fault.Inner(errNoToken))
	}
	if len(fields) > 1 {
		return nil, fmt.Errorf("token: several Authorization headers: %w", session.Ambiguous)
	}
	scheme, bearer, ok := strings.Cut(fields[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return nil, fmt.Errorf("token: Authorization is not of scheme Bearer: %w", fault.Inner(errNoToken))
	}
	return v.Verify(r.Context(), strings.TrimLeft(bearer, " ")) // RFC 9110, Section 11.4: one or more spaces
}

// errNoToken is the Reason of a request without a token: RFC 6750, Section 3.1
// wants no error code for it.
var errNoToken = fmt.Errorf("token: the request has no bearer token: %w", session.NotFound)

// Handler lets requests with a good token through to next, with the [Caller] in
// their context. Others get 401 and WWW-Authenticate (RFC 6750, Section 3), the
// same for each reason, or 503 if the keys could not be fetched; the reason
// goes to VerifierConfig.OnRefused. Only [ErrInsufficientAuthentication] is
// told: the client then gets what it needs for another login (RFC 9470).
func (v *Verifier) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := v.Check(r)
		if err != nil {
			v.c.OnRefused(r.Context(), err)
			v.deny(w, err)
			return
		}
		c := r.WithContext(NewContext(r.Context(), caller))
		defer reqcopy.Back(r, c)
		next.ServeHTTP(w, c)
	})
}

func (v *Verifier) deny(w http.ResponseWriter, err error) {
	status := http.StatusUnauthorized
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case errors.Is(err, session.Unavailable):
		status = http.StatusServiceUnavailable
	case errors.Is(err, errNoToken):
		w.Header().Set("WWW-Authenticate", "Bearer")
	case errors.Is(err, ErrInsufficientAuthentication):
		w.Header().Set("WWW-Authenticate", v.challenge)
	default:
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	http.Error(w, http.StatusText(status), status)
}

type callerKey struct{}

// NewContext returns a copy of ctx in which [CallerFrom] finds caller. It is
// for code that calls [Verifier.Verify] itself, such as an interceptor of gRPC;
// behind [Verifier.Handler] the Caller is there already. Give it only a Caller
// that Verify has returned: whoever reads the Caller relies on that.
func NewContext(ctx context.Context, caller *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// CallerFrom returns the Caller of the request of ctx. ok is false if the
// request didn't come through a [Verifier.Handler], and nobody has called
// [NewContext] with a Caller.
func CallerFrom(ctx context.Context) (caller *Caller, ok bool) {
	caller, _ = ctx.Value(callerKey{}).(*Caller)
	return caller, caller != nil
}
