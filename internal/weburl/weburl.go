// Package weburl has the rules on the URLs of servers that this module calls:
// key sets, lists of what has ended, and services that get tokens. Use [Wrong]
// on the URL of a configuration, and [Client] and [Fetch] to get what is there.
// Use [HasHost], [IsPrivate] and [SameHost] where other rules are needed, and
// [Shown] before an error repeats a URL.
package weburl

import (
	"errors"
	"fmt"
	"io"
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

// isLocal reports whether u leads to this machine, so that nobody else sees
// what is sent there by http.
func isLocal(u *url.URL) bool {
	host := u.Hostname()
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

// IsPrivate reports whether nobody else sees what is sent to u, or may see it:
// allowHTTP accepts http on other hosts.
func IsPrivate(u *url.URL, allowHTTP bool) bool {
	return u.Scheme == "https" || u.Scheme == "http" && (allowHTTP || isLocal(u))
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

// Wrong says what is wrong with the URL of a server, as the end of a sentence,
// or returns "". danger says what an attacker could do who reads or changes
// what is sent by http.
func Wrong(text string, allowHTTP bool, danger string) string {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return "is required"
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return "must be absolute, without user, password and fragment"
	case !HasHost(u):
		return "has no host, or a port that is not between 1 and 65535"
	case !IsPrivate(u, allowHTTP):
		return "must be https: " + danger + "; InsecureAllowHTTP lifts this"
	}
	return ""
}

// Client returns a client that follows redirects as far as [CheckRedirect]
// allows. If transport is nil, it gets one like http.DefaultTransport, so that
// closing its connections closes nobody else's.
func Client(transport http.RoundTripper) *http.Client {
	if t, ok := http.DefaultTransport.(*http.Transport); ok && transport == nil {
		transport = t.Clone()
	}
	return &http.Client{Transport: transport, CheckRedirect: CheckRedirect}
}

// Fetch returns the body and the header of the answer to req. It fails if the
// status is not 200, and if the body has more than most bytes, which are whole
// MiB. The error has no query, because that may hold a credential, such as the
// signature of a signed URL.
func Fetch(client *http.Client, req *http.Request, most int64) ([]byte, http.Header, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, withoutQuery(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the server answered %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(body)) > most {
		return nil, nil, fmt.Errorf("the answer is larger than %d MiB", most>>20)
	}
	return body, resp.Header, nil
}

// withoutQuery removes the query of the URL from an error of http.Client.Do.
func withoutQuery(err error) error {
	if at := (*url.Error)(nil); errors.As(err, &at) {
		at.URL, _, _ = strings.Cut(at.URL, "?")
	}
	return err
}

// maxRedirects is how many redirects in a row are followed.
const maxRedirects = 5

// CheckRedirect is the CheckRedirect of clients that fetch what tokens are
// checked with. Whoever answers for another host, or over http, could put keys
// of his own into a key set and forge every token.
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
