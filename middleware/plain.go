package middleware

import (
	"fmt"
	"net"
	"net/http"
	"strings"
)

// warnIfDropped reports, once for each Middleware, that a browser drops the
// Secure cookie that it has just been sent, because it uses plain HTTP: a login
// seems to work, and is forgotten.
func (x *exchange) warnIfDropped() {
	if x.m.warned.Load() || !usesPlainHTTP(x.request) || !x.m.warned.CompareAndSwap(false, true) {
		return
	}
	e := x.about(CookieDropped, nil, nil)
	e.Host = x.request.Host
	const advice = "serve this host over HTTPS, or allow HTTP for development: " +
		"cookie.insecure_allow_http in a config file, Cookie.InsecureAllowHTTP in Go"
	e.Err = fmt.Errorf("middleware: a browser came over plain HTTP, where it drops the Secure cookie %s, so it has "+
		"no session: %s", x.m.c.Cookie.Name, advice)
	x.m.c.OnEvent(x.request.Context(), e)
}

// usesPlainHTTP reports whether the browser itself says that its page came over
// plain HTTP from this host, which is not localhost. That the connection to us
// is in plain text says nothing: TLS may end at a proxy, and not every proxy
// says so. Browsers send Sec-Fetch-Site over HTTPS and to localhost only (W3C
// Fetch Metadata, Section 3), so a request that has it did not come that way.
func usesPlainHTTP(r *http.Request) bool {
	h := r.Header
	origin, referer := h.Get("Origin"), h.Get("Referer")
	if r.TLS != nil || h["Sec-Fetch-Site"] != nil || origin == "" && referer == "" || isLoopback(r.Host) {
		return false
	}
	for _, name := range [...]string{"X-Forwarded-Proto", "Forwarded"} {
		if strings.Contains(strings.ToLower(strings.Join(h[name], ",")), "https") {
			return false
		}
	}
	page := "http://" + r.Host
	return strings.EqualFold(origin, page) || strings.HasPrefix(referer, page+"/")
}

// isLoopback reports whether browsers take host for this machine itself. Chrome
// and Firefox keep Secure cookies there over plain HTTP.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}
