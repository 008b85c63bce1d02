// Package weburl has the rules on the URLs of servers that this module calls:
// key sets, and services that get tokens. Use [HasHost] on a URL from a
// configuration, [IsLocal] before http is accepted, [SameHost] on the target of
// a redirect or a request, and [Shown] before an error repeats a URL.
package weburl

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// HasHost reports whether u names a host and, if it names a port, one that
// exists.
func HasHost(u *url.URL) bool {
	if u.Hostname() == "" {
		return false
	}
	if u.Port() == "" {
		return true
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && port > 0
}

// IsLocal reports whether u leads to this machine, so that nobody else sees
// what is sent there by http.
func IsLocal(u *url.URL) bool {
	host := u.Hostname()
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

// SameHost reports whether a and b have the same host and port. The case of a
// host and the default port of the scheme don't matter (RFC 9110, Section
// 4.2.3), so that http and https on their default ports are the same here.
func SameHost(a, b *url.URL) bool {
	return strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// port returns the port of u, or "" for the default one.
func port(u *url.URL) string {
	if u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
		return ""
	}
	return u.Port()
}

// maxRedirects is how many redirects in a row are followed.
const maxRedirects = 5

// CheckRedirect is the CheckRedirect of clients that fetch key sets. Whoever
// answers for another host, or over http, could put keys of his own into the
// set and forge every token.
func CheckRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return errors.New("too many redirects")
	case !SameHost(req.URL, first):
		return errors.New("redirect to another host")
	case first.Scheme == "https" && req.URL.Scheme != "https":
		return errors.New("redirect from https to http")
	}
	return nil
}

// Shown returns the text of a URL without its user and password, for an error.
// text need not be a good URL.
func Shown(text string) string {
	at := strings.LastIndex(text, "@")
	if at < 0 {
		return text
	}
	scheme, _, found := strings.Cut(text[:at], "//")
	if found {
		scheme += "//"
	} else {
		scheme = ""
	}
	return scheme + "xxxxx" + text[at:]
}
