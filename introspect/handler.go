package introspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/clientauth"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// AnswerFor is how far exp of an answer lies ahead at most. Gateways keep an
// answer until then, so they hear of a logout that much later. It is more than
// the leeway of 10 seconds that clocks usually get, because a gateway whose
// clock is ahead of exp would take no answer at all.
const AnswerFor = 15 * time.Second

// Sessions finds the session of a credential. *middleware.Middleware has this
// method.
type Sessions interface {
	// Peek returns the session that credential opens, and when it is over if there
	// is no more activity. It must not count as activity, or change anything. An
	// error wraps session.Unavailable if it is not known whether credential opens
	// a session.
	Peek(ctx context.Context, credential string) (rec *session.Record, end time.Time, err error)
}

// Revocations knows the sessions that ended before their service tokens expire.
// *revocation.List has these methods.
type Revocations interface {
	// Check returns an error that wraps session.Ended if rec has ended.
	Check(rec *session.Record) error
	// Fresh returns an error that wraps session.Unavailable if Check knows too
	// little of what has ended on other instances.
	Fresh() error
}

// A Service is a program that may ask.
type Service struct {
	_ [0]func() // no unkeyed literals, no comparison

	// ID and one of Secrets are what the program sends with HTTP Basic. ID has up
	// to 256 letters, digits and "-._~". Each of Secrets is base64 or hexadecimal
	// text for at least 32 random bytes; while a secret changes there are two.
	// Required.
	ID      string
	Secrets []string // see ID

	// Audience is aud of the service tokens that the program may ask about: those
	// that are meant for it. "" means ID.
	Audience string
}

// HandlerConfig configures a [Handler].
type HandlerConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Services are those that may ask. Each may ask about every session, and about
	// service tokens for its own audience. Required.
	Services []Service

	// Sessions finds sessions. Required.
	Sessions Sessions

	// Keys are those that sign service tokens: a keys.Ring. If nil, service tokens
	// are inactive, like everything unknown.
	Keys token.KeySet

	// Revocations is asked about each service token. Where sessions are only in a
	// store, it doesn't know of renewals, so a service token from before one stays
	// active until its exp. Required with Keys.
	Revocations Revocations

	// Issuer is iss of the application's tokens, and of all answers. Required.
	Issuer string

	// SessionAudience is aud of answers about sessions:
	// token.CarrierConfig.Audience. No service may have it as its Audience. ""
	// means Issuer.
	SessionAudience string

	// ClientID is client_id of answers about sessions:
	// token.IssuerConfig.ClientID. "" means Issuer.
	ClientID string

	// OnRefused is called with the reason when an answer is anything but "active".
	// The client is not told the reason, and the error holds no credential and no
	// secret. It is called on the request's goroutine; anybody can cause such
	// calls. If nil, nothing is reported.
	OnRefused func(ctx context.Context, err error)

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// A Handler answers introspection requests. Make one with [NewHandler]; the
// zero Handler denies every request. It belongs outside of the session
// middleware.
//
// A request is a POST with a form that has one parameter token, and HTTP Basic
// (RFC 7662, Section 2.1; RFC 6749, Section 2.3.1). token_type_hint is ignored,
// as that section allows. Cookies are never looked at.
//
//   - 200 with "active": true and iss, aud, sub, client_id, sid, auth_time, iat
//     and exp, and amr if the login has said it. token_type is "Bearer" for a
//     service token, and absent for a session, whose credential is not for
//     other services. iat of a session is when its subject logged in. exp is at
//     most [AnswerFor] ahead, and never later than the end of the token or the
//     session. Times are in seconds.
//   - 200 with {"active": false} for everything else, whatever the reason.
//   - 400 for a request that is not of that form: another Content-Type, a body
//     of more than 64 KiB, no parameter token or several, or a token or secret
//     in the URL, which gets into logs.
//   - 401 if the client doesn't prove who it is, or if client_id or
//     client_secret in the form contradict the header.
//   - 405 for another method.
//   - 503 if it is not known whether the token is active: the store, or the
//     list of what has ended, is out of reach or too old. It is never a reason
//     to let somebody in.
//
// Errors are JSON as in RFC 6749, Section 5.2. No answer may be stored.
type Handler struct {
	c        HandlerConfig
	clients  *clientauth.Clients
	services map[string]service // by ID
}

// A service is a [Service] whose secrets are not needed any more.
type service struct {
	audience string
	verifier *token.Verifier // nil without keys
}

// NewHandler checks c and returns a Handler. It reports every mistake at once.
func NewHandler(c HandlerConfig) (*Handler, error) {
	bad := fault.In("introspect: HandlerConfig")
	bad.If(len(c.Services) == 0, "Services", "is required: without any, nobody may ask")
	bad.If(c.Sessions == nil, "Sessions", "is required: config.App.Middleware")
	bad.If(c.Keys != nil && c.Revocations == nil, "Revocations", "is required: config.App.Revocations")
	bad.If(c.Issuer == "", "Issuer", "is required")
	c.SessionAudience, c.ClientID = cmp.Or(c.SessionAudience, c.Issuer), cmp.Or(c.ClientID, c.Issuer)
	if c.OnRefused == nil {
		c.OnRefused = func(context.Context, error) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	h := &Handler{c: c, services: make(map[string]service, len(c.Services))}
	var clients []clientauth.Client
	for _, s := range c.Services {
		clients = append(clients, clientauth.Client{ID: s.ID, Secrets: s.Secrets})
		audience := cmp.Or(s.Audience, s.ID)
		bad.If(audience == c.SessionAudience, "Services", "has one of the audience %q, which session tokens have: "+
			"give it another", audience)
		if bad.Err() == nil {
			verifier, err := h.verifier(audience)
			bad.Add(err)
			h.services[s.ID] = service{audience, verifier}
		}
	}
	var err error
	if h.clients, err = clientauth.New(clients...); err != nil {
		bad.If(true, "Services", "can't be used: %w", err)
	}
	if err := bad.Err(); err != nil {
		return nil, err
	}
	return h, nil
}

// verifier returns what verifies service tokens for audience.
func (h *Handler) verifier(audience string) (*token.Verifier, error) {
	if h.c.Keys == nil {
		return nil, nil
	}
	return token.NewVerifier(token.VerifierConfig{
		Keys: h.c.Keys, Issuer: h.c.Issuer, Audience: audience, Revocations: fresh{h.c.Revocations}, Now: h.c.Now,
	})
}

// fresh refuses a session also if its end may not be known yet.
type fresh struct{ Revocations }

func (f fresh) Check(rec *session.Record) error {
	if err := f.Revocations.Check(rec); err != nil {
		return err
	}
	return f.Fresh()
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, body, err := h.answer(w, r)
	if err != nil && h.c.OnRefused != nil {
		h.c.OnRefused(r.Context(), err)
	}
	respond(w, status, body)
}

// answer returns the answer to a request, and why it is not "active".
func (h *Handler) answer(w http.ResponseWriter, r *http.Request) (status int, body any, err error) {
	switch {
	case h.clients == nil:
		return http.StatusServiceUnavailable, outOfReach,
			fmt.Errorf("introspect: made without NewHandler: %w", session.Unavailable)
	case r.Method != http.MethodPost:
		return http.StatusMethodNotAllowed, badRequest("the method is not POST"),
			fmt.Errorf("introspect: the method is not POST: %w", session.Malformed)
	}
	proof, err := h.clients.Check(r) // first, so that a stranger causes no more work
	if err != nil {
		return http.StatusUnauthorized, badClient, fmt.Errorf("introspect: an unknown client: %w: %w", err, session.Forged)
	}
	form, problem := readForm(w, r)
	if problem == "" && !proof.Agrees(form) {
		return http.StatusUnauthorized, badClient, fmt.Errorf("introspect: what client %q says of itself in the form "+
			"contradicts its Authorization header: %w", proof.ID, session.Forged)
	}
	if problem = cmp.Or(problem, checkForm(form)); problem != "" {
		return http.StatusBadRequest, badRequest(problem),
			fmt.Errorf("introspect: a bad request of client %q: %s: %w", proof.ID, problem, session.Malformed)
	}
	a, err := h.find(r.Context(), h.services[proof.ID], form.Get("token"))
	switch {
	case err == nil:
		return http.StatusOK, a, nil
	case errors.Is(err, session.Unavailable):
		return http.StatusServiceUnavailable, outOfReach,
			fmt.Errorf("introspect: client %q gets no answer: %w", proof.ID, fault.Inner(err))
	}
	return http.StatusOK, answer{}, fmt.Errorf("introspect: inactive for client %q: %w", proof.ID, fault.Inner(err))
}

// find returns what is known of a credential. A service token and a session
// token differ in typ, so one of the two looks ends before anything that takes
// time.
func (h *Handler) find(ctx context.Context, s service, credential string) (answer, error) {
	now := h.c.Now()
	var refused error
	if s.verifier != nil {
		caller, err := s.verifier.Verify(ctx, credential)
		if err == nil {
			return h.serviceToken(s, caller, now)
		}
		if errors.Is(err, session.Unavailable) {
			return answer{}, err
		}
		refused = err
	}
	rec, end, err := h.c.Sessions.Peek(ctx, credential)
	switch {
	case err != nil && refused != nil && !errors.Is(err, session.Unavailable):
		return answer{}, fmt.Errorf("as a session: %w; as a service token: %w", fault.Inner(err), fault.Inner(refused))
	case err != nil:
		return answer{}, err
	case rec.Subject == "":
		return answer{}, fmt.Errorf("introspect: nobody is logged in: %w", session.NotFound)
	}
	return answer{
		Active: true, Issuer: h.c.Issuer, Audience: h.c.SessionAudience, Subject: rec.Subject, ClientID: h.c.ClientID,
		SessionID: rec.ID, AuthTime: rec.AuthenticatedAt.Unix(), AMR: rec.AMR, IssuedAt: rec.AuthenticatedAt.Unix(),
		ExpiresAt: until(now, end),
	}, nil
}

// serviceToken returns the answer about a service token that was verified. The
// Verifier's leeway on exp is not for the answer, whose exp would have passed.
func (h *Handler) serviceToken(s service, c *token.Caller, now time.Time) (answer, error) {
	if !now.Before(c.ExpiresAt) {
		return answer{}, token.ErrExpired
	}
	return answer{
		Active: true, Issuer: c.Issuer, Audience: s.audience, Subject: c.Subject, ClientID: c.ClientID,
		SessionID: c.SessionID, AuthTime: c.AuthenticatedAt.Unix(), AMR: c.AMR, IssuedAt: c.IssuedAt.Unix(),
		ExpiresAt: until(now, c.ExpiresAt), TokenType: "Bearer",
	}, nil
}

// until returns exp of an answer about something that ends at end.
func until(now, end time.Time) int64 { return min(now.Add(AnswerFor).Unix(), end.Unix()) }
