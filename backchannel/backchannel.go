// Package backchannel lets an OpenID provider log its users out of an
// application: it is the receiver of OpenID Connect Back-Channel Logout 1.0,
// incorporating errata set 1.
//
// Give [Tags] to session.Session.Login when an ID token has been verified:
//
//	err := s.Login(user, backchannel.Tags(idToken.Issuer, idToken.Subject, sid)...)
//
// and mount a [Handler] for each provider, at the backchannel_logout_uri that
// is registered there. It needs no session, so it may stand outside of
// middleware.Handler. It ends sessions by their tags, in every mode: on this
// instance before it answers, on others when they hear of it.
//
// # Which sessions end
//
// A logout token with a sid ends the sessions whose login had this sid of this
// provider. If the token has a sub, too, that ends nothing more, because the
// other sessions of the user go on (Section 2.4). A token without a sid ends
// all sessions whose login had this sub of this provider. Subjects of the
// application are never ended here: the sub of a provider is a name that only
// the provider gives a meaning, and another one may use it for somebody else.
// [Config.OnLogout] can do so.
//
// Only sessions end that began before the token was made (iat). So a token that
// comes late, or once more, ends no later login, and no jti is stored. A
// session that began in the second of iat ends, too, since iat has whole
// seconds. If the clock of the provider is behind, sessions that began shortly
// before the logout would go on: set revocation.Config.Skew to at least that
// difference. See revocation.List.EndTagUntil.
//
// # What is refused
//
// Requests other than a POST of a form with exactly one logout_token; and
// tokens
//
//   - that are not signed with a key of the provider, under the algorithm of
//     that key, or are encrypted;
//   - whose typ is not logout+jwt, JWT or missing: the text recommends the
//     first, and knows that most providers send the others (Section 4.1);
//   - that are from another issuer, or have an aud without this client;
//   - that have a nonce, as only ID tokens do, or whose events don't have the
//     logout: so neither an ID token nor an access token is a logout token;
//   - without sub and sid, or without jti;
//   - that have expired, or whose iat is in the future, or more than 5 minutes
//     ago. The text prefers an exp of at most 2 minutes (Section 4); 5 leave
//     room for a provider that tries again. A token needs no exp, because that
//     became required in 2023 and many providers send none; then its age limits
//     it.
package backchannel

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// The kinds of the tags.
const (
	sessionTag = "oidc sid"
	subjectTag = "oidc sub"
)

// Tags returns the tags of a login at an OpenID provider, for
// session.Session.Login: iss, sub and sid as the verified ID token has them.
// They are two of the four that a login may have. sid is "" if the ID token has
// none. Then a logout of only this session can't reach it, but one of all
// sessions of the user does.
func Tags(issuer, subject, sid string) []session.LoginOption {
	tags := []session.LoginOption{tag(subjectTag, issuer, subject)}
	if sid != "" {
		tags = append(tags, tag(sessionTag, issuer, sid))
	}
	return tags
}

// tag returns no tag if a name is missing, so that the login fails.
func tag(kind, issuer, name string) session.LoginTag {
	if issuer == "" || name == "" {
		return session.LoginTag{}
	}
	return session.Tag(kind, joined(issuer, name))
}

// joined returns a text that no other pair of names has.
func joined(issuer, name string) string { return strconv.Itoa(len(issuer)) + ":" + issuer + name }

// Config configures a [Handler].
type Config struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Issuer is the provider: iss of its tokens, exactly. Required.
	Issuer string

	// Keys are the public keys of the provider, with which it signs ID tokens,
	// too: usually a keys.Remote for its jwks_uri. Required.
	Keys token.KeySet

	// ClientID is the client_id of the application at the provider: aud must have
	// it. Required.
	ClientID string

	// Revocations is the list on which the sessions end: config.App.Revocations.
	// Required.
	Revocations *revocation.List

	// Leeway is how far the provider's clock may be off, on iat and exp. 0 means
	// 10 seconds, a negative Leeway means none; at most 5 minutes.
	Leeway time.Duration

	// OnLogout is called for each good token when the sessions have ended, also if
	// the token comes again. Its error makes the answer 503, so that the provider
	// may try again. It is the place to end more, such as sessions with a tag that
	// stands for the application's own user: use EndTagUntil with l.Until, because
	// EndSubject would end later logins, too, each time that the token comes
	// again. If nil, nothing more ends.
	OnLogout func(ctx context.Context, l Logout) error

	// OnRefused is called with the reason when a request is answered with 4xx or
	// 503. The client is not told the reason, and the error holds nothing of the
	// token. OnRefused is called on the request's goroutine; anybody can cause
	// such calls. If nil, nothing is reported.
	OnRefused func(ctx context.Context, err error)

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// A Logout has the claims of a logout token that was accepted.
type Logout struct {
	Issuer    string    // iss, which is Config.Issuer
	Subject   string    // sub; "" if the token has none
	SessionID string    // sid at the provider; "" to end all sessions of Subject
	Until     time.Time // sessions end that began until then: the last millisecond of the second of iat
}

// A Handler receives logout tokens of one provider. It is an http.Handler.
type Handler struct {
	c    Config
	want claims.Want // without Now
}

// NewHandler checks c and returns a Handler. It reports every mistake at once.
func NewHandler(c Config) (*Handler, error) {
	bad := fault.In("backchannel: Config")
	bad.If(c.Issuer == "", "Issuer", "is required: iss of the provider's tokens")
	bad.If(c.Keys == nil, "Keys", "is required: keys.NewRemote fetches the provider's")
	bad.If(c.ClientID == "", "ClientID", "is required: the provider has given it to the application")
	bad.If(c.Revocations == nil, "Revocations", "is required: config.App.Revocations")
	bad.If(c.Leeway > claims.MaxLeeway, "Leeway", "is %v: must be at most %v", c.Leeway, claims.MaxLeeway)
	if err := bad.Err(); err != nil {
		return nil, err
	}
	if c.OnLogout == nil {
		c.OnLogout = func(context.Context, Logout) error { return nil }
	}
	if c.OnRefused == nil {
		c.OnRefused = func(context.Context, error) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	h := &Handler{c: c, want: claims.Want{Issuer: c.Issuer, Audience: c.ClientID}}
	h.want.Early, h.want.Late = claims.Leeway(claims.Logout, c.Leeway, 0)
	return h, nil
}

// ServeHTTP answers a logout token: 200 when the sessions have ended, or were
// over before; 400 when the request or the token is refused; 405 for anything
// but POST; 503 when the keys could not be fetched, when OnLogout has failed,
// or when the end could not be made durable, though it is in force here.
// Section 2.8 wants 400 for a logout that failed, too: with 503 the provider
// knows that the token was not at fault, and may try again.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := h.serve(w, r)
	if err != nil {
		h.c.OnRefused(r.Context(), err)
	}
	answer(w, err)
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	text, err := posted(w, r)
	if err != nil {
		return err
	}
	l, err := h.check(r.Context(), text)
	if err != nil {
		return err
	}
	if err := h.end(r.Context(), l); err != nil {
		return &failure{"the end of the sessions", err}
	}
	if err := h.c.OnLogout(r.Context(), *l); err != nil {
		return &failure{"OnLogout", err}
	}
	return nil
}

// end ends the sessions that l is about.
func (h *Handler) end(ctx context.Context, l *Logout) error {
	kind, name := subjectTag, l.Subject
	if l.SessionID != "" {
		kind, name = sessionTag, l.SessionID
	}
	return h.c.Revocations.EndTagUntil(ctx, kind, joined(l.Issuer, name), l.Until)
}
