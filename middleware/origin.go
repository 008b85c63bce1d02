package middleware

import (
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/cloakroom-go/cloakroom/session"
)

// checkOrigin reports an unsafe request that a page of another origin may have
// made the visitor's browser send.
//
// A request with a bearer token and no cookie at all is let through. No browser
// adds a bearer token by itself, and a page needs the leave of a CORS preflight
// to add one, so the request has only the rights that its sender already had.
// Any cookie brings the check back, not only the session's: some proxies turn a
// cookie of their own, which the browser does add, into a bearer token.
func (m *Middleware) checkOrigin(r *http.Request) error {
	err := m.c.CrossOrigin.Check(asUnsafe(r))
	if err == nil || r.Header["Cookie"] == nil && hasBearer(r.Header["Authorization"]) {
		return nil
	}
	const advice = "if that origin may send it, trust it: cross_origin.trusted in a config file, AddTrustedOrigin in Go"
	return fmt.Errorf("middleware: refused an unsafe request; %s: %w: %w", advice, session.CrossOrigin, err)
}

// denyOrigin answers a request that checkOrigin has refused: through the
// ErrorHandler, or else the deny handler of the protection, if there is one.
func (x *exchange) denyOrigin(err error) {
	w, r := x.out.inner, x.request
	e := x.about(Refused, nil, err)
	e.Origin, e.Host = r.Header.Get("Origin"), r.Host
	x.m.c.OnEvent(x.request.Context(), e)
	if x.m.c.ErrorHandler != nil {
		x.deny(http.StatusForbidden, err)
		return
	}
	noStore(w.Header())
	// A trusted origin may have been added since the check; the refusal stands.
	x.m.c.CrossOrigin.Handler(http.HandlerFunc(forbid)).ServeHTTP(w, asUnsafe(r))
}

// forbid tells the client no more than the other denials do. Without a deny
// handler, http.CrossOriginProtection would send its reason.
func forbid(w http.ResponseWriter, _ *http.Request) { deny(w, http.StatusForbidden) }

// asUnsafe returns r as http.CrossOriginProtection should see it. A WebSocket
// handshake is a GET, which it takes for safe, but opens a channel that acts
// for the visitor and that pages of any origin can open and read: cross-site
// WebSocket hijacking. So the handshake counts as a POST. Its Sec-Fetch-Site
// doesn't count, because not all browsers send one, and it would compare wss
// with https; Origin does, which all of them send (RFC 6455, Section 4.1). The
// same goes for the CONNECT that opens a WebSocket over HTTP/2 (RFC 8441).
func asUnsafe(r *http.Request) *http.Request {
	if r.Method != http.MethodConnect && !(r.Method == http.MethodGet && upgradesToWebSocket(r.Header["Upgrade"])) {
		return r
	}
	handshake := r.WithContext(r.Context())
	handshake.Header = maps.Clone(r.Header)
	handshake.Header.Del("Sec-Fetch-Site")
	if r.Method == http.MethodGet {
		handshake.Method = http.MethodPost
	}
	return handshake
}

// upgradesToWebSocket looks at Upgrade alone: servers differ in what else they
// require of a handshake.
func upgradesToWebSocket(upgrade []string) bool {
	for _, v := range upgrade {
		if strings.Contains(strings.ToLower(v), "websocket") {
			return true
		}
	}
	return false
}

// hasBearer reports whether the request carries one bearer token (RFC 6750,
// Section 2.1).
func hasBearer(authorization []string) bool {
	if len(authorization) != 1 {
		return false
	}
	scheme, credential, _ := strings.Cut(authorization[0], " ")
	return strings.EqualFold(scheme, "Bearer") && strings.Trim(credential, " ") != ""
}
