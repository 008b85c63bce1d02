package middleware

import (
	"net/http"
	"strings"
)

// noStore keeps the response out of every cache. Caches that have a field of
// their own obey that one, and not Cache-Control (RFC 9213, Section 2.2), so
// those fields go.
func noStore(h http.Header) {
	for name := range h {
		if overrulesNoStore(name) {
			delete(h, name)
		}
	}
	h.Set("Cache-Control", "no-store")
}

// overrulesNoStore reports whether a header field tells some cache how long to
// keep the response: CDN-Cache-Control and its vendors' variants, such as
// Cloudflare-CDN-Cache-Control, and what came before it.
func overrulesNoStore(name string) bool {
	switch name = strings.ToLower(name); name {
	case "expires", "surrogate-control", "x-accel-expires", "edge-control":
		return true
	}
	return strings.HasSuffix(name, "-cache-control")
}

// addVaryCookie tells caches that the response depends on the cookie.
func addVaryCookie(h http.Header) {
	for _, v := range h["Vary"] {
		if v == "Cookie" || v == "*" {
			return
		}
	}
	h["Vary"] = append(h["Vary"], "Cookie")
}
