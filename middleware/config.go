package middleware

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/session"
)

// moveGrace is how long at least a credential that was moved to another carrier
// leads to the session: for the other requests of the same page, and for a
// visitor whose response got lost. Carriers may remember it for longer.
const moveGrace = time.Minute

// Config says how a [Middleware] keeps sessions.
type Config struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Carrier is the form that sessions get: a token.Carrier for stateless
	// sessions, an opaque.Carrier for sessions on the server. Required.
	Carrier Carrier

	// Overflow, if set, takes the sessions that don't fit Carrier. They go back to
	// Carrier when they fill less than three quarters of a cookie. With a
	// token.Carrier above and an opaque.Carrier here, this is the mode "auto".
	Overflow Carrier

	// Accept lists carriers whose credentials are still accepted, after a change
	// of mode. Their sessions move to Carrier at their next save; what doesn't
	// fit it stays where it is.
	Accept []Carrier

	// Revocations, if set, is asked about each session that begins and each login,
	// and about sessions for which a handler has called session.Session.Ended.
	// Give it the list that the carriers have: *revocation.List has this method.
	// Without it, a login shortly after all sessions of its subject were ended may
	// make a session that has ended already, and Ended learns only what its own
	// request does.
	Revocations Revocations

	// Registry, if set, keeps which sessions each subject has: *devices.Registry
	// has this method.
	Registry Registry

	// Policy says how long sessions live. The zero Policy stands for its defaults.
	Policy session.Policy

	// Cookie says how the credential travels. The zero Cookie stands for a
	// __Host-session cookie that ends with the browser.
	Cookie Cookie

	// CrossOrigin refuses unsafe requests from other origins, and answers them
	// with its deny handler, unless there is an ErrorHandler. If it has none, the
	// standard library sends its reason. If nil, the zero
	// http.CrossOriginProtection refuses them, which is safe without settings, and
	// the answer gives no reason.
	//
	// A WebSocket handshake is a GET, but counts as a POST here: where its Origin
	// is neither the request's Host nor trusted, it is refused. The deny handler
	// gets a copy of such a handshake with the method POST, and a bypass pattern
	// exempts handshakes if it names no method. A request with a bearer token and
	// no cookie is not checked.
	CrossOrigin *http.CrossOriginProtection

	// Timeout is how long a request waits for its carrier, once to open its
	// session and once to save it. After it the request is denied with 503. 0
	// means 2 seconds.
	Timeout time.Duration

	// ErrorHandler answers the requests that the middleware denies: with 403 for
	// another origin, or a login beyond the limit of sessions, 409 for a session
	// that has ended meanwhile, 500 for changes that can't be kept, and 503 for
	// what could not be opened or kept for now.
	// status is one of these; err wraps a session.Reason and is meant for a log,
	// not for the client. The header is as it was before the handler ran. Write
	// without WriteHeader sends status. The answer is never cached, and the
	// session's cookie stays. If the ErrorHandler writes nothing, the client gets
	// the standard text of status. If ErrorHandler is nil, the client always gets
	// that text, except that a CrossOrigin that is set answers with 403 itself.
	ErrorHandler func(w http.ResponseWriter, r *http.Request, status int, err error)

	// OnTimeout is called for a request that presents the credential of a session
	// that is over, once for each session, before the handler runs. why is
	// session.IdleTimeout or session.LifetimeOver.
	OnTimeout func(ctx context.Context, ended *session.Record, why session.Reason)

	// OnEvent is told what happens to sessions; see LogEvents. It is called on
	// the request's goroutine.
	OnEvent func(ctx context.Context, event Event)

	// Observer is told what is worth measuring; package otelcloakroom has one for
	// OpenTelemetry and Prometheus. If nil, nothing is measured.
	Observer Observer

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// withDefaults returns c with its zero fields filled in.
func (c Config) withDefaults() Config {
	c.Policy = c.Policy.WithDefaults()
	c.Cookie = c.Cookie.withDefaults()
	if c.CrossOrigin == nil {
		c.CrossOrigin = http.NewCrossOriginProtection()
		c.CrossOrigin.SetDenyHandler(http.HandlerFunc(forbid))
	}
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Second
	}
	if c.OnTimeout == nil {
		c.OnTimeout = func(context.Context, *session.Record, session.Reason) {}
	}
	if c.OnEvent == nil {
		c.OnEvent = func(context.Context, Event) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Accept = slices.Clone(c.Accept)
	return c
}

// validate reports every mistake at once.
func (c Config) validate() error {
	bad := fault.In("middleware: Config")
	bad.Add(c.Policy.Validate(), c.Cookie.validate())
	bad.If(c.Carrier == nil, "Carrier",
		"is required: a token.Carrier for stateless sessions, an opaque.Carrier for sessions on the server")
	bad.If(slices.Contains(c.Accept, nil), "Accept", "contains nil: leave out a carrier that doesn't exist")
	name := c.Cookie.withDefaults().Name
	for _, carrier := range append([]Carrier{c.Carrier, c.Overflow}, c.Accept...) {
		if carrier != nil && len(name)+carrier.MaxLength() > MaxCookieBytes {
			bad.Add(fault.Errorf("middleware: Cookie.Name", "%q leaves a credential %d bytes of a cookie's "+
				"%d, but %T makes them as long as %d: shorten the name, or lower the carrier's MaxLength",
				name, MaxCookieBytes-len(name), MaxCookieBytes, carrier, carrier.MaxLength()))
		}
	}
	bad.If(c.Overflow != nil && c.Overflow == c.Carrier, "Overflow", "is the same as Carrier: leave it nil")
	bad.Add(c.checkRemembered())
	bad.If(c.Timeout < 0, "Timeout", "%v is negative: 0 stands for the default", c.Timeout)
	return bad.Err()
}

// checkRemembered refuses limits that would not be those of new sessions,
// though whoever has set them thinks so.
func (c Config) checkRemembered() error {
	if !c.Cookie.Persistent {
		return nil
	}
	const cookiePersistent fault.Name = "Cookie.Persistent"
	const missing = "is missing: with %s, new sessions are remembered, and not under %s: set it"
	p, bad := c.Policy, fault.In("middleware: Policy")
	bad.If(p.IdleTimeout != 0 && p.RememberedIdleTimeout == 0, "RememberedIdleTimeout", missing,
		cookiePersistent, fault.Name("Policy.IdleTimeout"))
	bad.If(p.Lifetime != 0 && p.RememberedLifetime == 0, "RememberedLifetime", missing,
		cookiePersistent, fault.Name("Policy.Lifetime"))
	return bad.Err()
}
