package token

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/webdoc"
	"github.com/cloakroom-go/cloakroom/internal/weburl"
	"github.com/cloakroom-go/cloakroom/keys"
)

// MetadataConfig configures a [Metadata].
type MetadataConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Issuer is IssuerConfig.Issuer: the https URL at which clients look for the
	// document, without query and fragment (RFC 8414, Section 2). It may be http
	// on this machine (localhost, 127.0.0.1, ::1). Required.
	Issuer string

	// JWKS is the URL of the key set, see keys.Ring.Handler. "" means
	// Issuer + "/.well-known/jwks.json".
	JWKS string

	// Introspection is the URL of the introspection endpoint (RFC 7662). Clients
	// must authenticate to it by HTTP Basic. "" means that there is none.
	Introspection string

	// Ring holds the keys. The document lists the algorithms of those that the key
	// set publishes. Required.
	Ring *keys.Ring

	// OpenID serves the document at the path of OpenID Connect Discovery, too:
	// some libraries for access tokens look nowhere else. It doesn't make the
	// application an OpenID provider.
	OpenID bool

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// Metadata tells services where the keys of an issuer are: its authorization
// server metadata (RFC 8414). With it, a library that verifies service tokens
// needs only the issuer's URL. It is an http.Handler, to mount at each of
// [Metadata.Paths].
//
// The document has issuer, jwks_uri, response_types_supported (which is empty:
// nobody gets a token by OAuth here), id_token_signing_alg_values_supported
// (libraries for OpenID Connect accept RS256 only unless this names others) and
// introspection_endpoint. It follows a rotation of the keys.
//
// Caches may keep it for 10 minutes, as they keep the key set. A ring without
// any keys answers 503.
type Metadata struct {
	paths []string
	says  metadata
	ring  *keys.Ring
	now   func() time.Time
}

// metadata is the document.
type metadata struct {
	Issuer            string   `json:"issuer"`
	JWKS              string   `json:"jwks_uri"`
	ResponseTypes     []string `json:"response_types_supported"`
	Algorithms        []string `json:"id_token_signing_alg_values_supported"`
	Introspection     string   `json:"introspection_endpoint,omitempty"`
	IntrospectionAuth []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
}

const (
	authorizationServerPath = "/.well-known/oauth-authorization-server" // RFC 8414, Section 7.3
	openIDPath              = "/.well-known/openid-configuration"       // OpenID Connect Discovery 1.0, Section 4
	jwksPath                = "/.well-known/jwks.json"
)

// NewMetadata checks c and returns a Metadata.
func NewMetadata(c MetadataConfig) (*Metadata, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	m := &Metadata{ring: c.Ring, now: c.Now, says: metadata{
		Issuer: c.Issuer, JWKS: c.JWKS, Introspection: c.Introspection, ResponseTypes: []string{},
	}}
	if m.now == nil {
		m.now = time.Now
	}
	// RFC 8414, Section 3.1, and Discovery, Section 4.1, remove the last slash
	// first.
	issuer, _ := url.Parse(c.Issuer)
	below := strings.TrimSuffix(issuer.Path, "/")
	m.paths = []string{authorizationServerPath + below}
	if c.OpenID {
		m.paths = append(m.paths, below+openIDPath)
	}
	if c.JWKS == "" {
		m.says.JWKS = strings.TrimSuffix(c.Issuer, "/") + jwksPath
	}
	if c.Introspection != "" {
		m.says.IntrospectionAuth = []string{"client_secret_basic"}
	}
	return m, nil
}

func (c *MetadataConfig) check() error {
	bad := fault.In("token: MetadataConfig")
	bad.If(c.Ring == nil, "Ring", "is required")
	bad.Add(checkName("MetadataConfig.Issuer", c.Issuer, true))
	for _, f := range []struct{ field, url string }{
		{"Issuer", c.Issuer}, {"JWKS", c.JWKS}, {"Introspection", c.Introspection},
	} {
		u, err := url.Parse(f.url)
		if f.url == "" {
			continue
		}
		bad.If(err != nil || !isEndpoint(u), f.field,
			"is %q: must be an absolute https URL (http only on this machine), without user, password and fragment",
			weburl.Shown(f.url))
		bad.If(f.field == "Issuer" && err == nil && !isIssuer(u), f.field,
			"is %q: must have no query, and a path without escapes, braces and empty segments", weburl.Shown(f.url))
	}
	return bad.Err()
}

// isEndpoint reports whether u is a URL that clients may be sent to.
func isEndpoint(u *url.URL) bool {
	return weburl.IsPrivate(u, false) && weburl.HasHost(u) && u.User == nil && u.Fragment == ""
}

// isIssuer reports whether u has no query (RFC 8414, Section 2), and a path
// that has one spelling and can be mounted on an http.ServeMux as it is.
func isIssuer(u *url.URL) bool {
	p := strings.TrimSuffix(u.Path, "/")
	return u.RawQuery == "" && !u.ForceQuery && u.EscapedPath() == u.Path && !strings.ContainsAny(p, "{}") &&
		(p == "" || p != "/" && path.Clean(p) == p)
}

// Paths returns the paths at which clients look for the document.
func (m *Metadata) Paths() []string { return slices.Clone(m.paths) }

// ServeHTTP answers GET and HEAD at one of [Metadata.Paths], and 404 elsewhere.
func (m *Metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !slices.Contains(m.paths, r.URL.Path) {
		http.NotFound(w, r)
		return
	}
	if !webdoc.Readable(w, r) {
		return
	}
	all := (*keyset.Set)(m.ring.Set()).Keys()
	if len(all) == 0 {
		http.Error(w, "there are no keys", http.StatusServiceUnavailable)
		return
	}
	says := m.says
	says.Algorithms = published(all, m.now())
	body, err := json.Marshal(says)
	if err != nil {
		http.Error(w, "the metadata can't be served", http.StatusInternalServerError)
		return
	}
	d := webdoc.Document{Body: body, Type: "application/json", ETag: webdoc.ETag(body)}
	if len(says.Algorithms) > 0 {
		d.MaxAge = keyset.JWKSMaxAge
	}
	webdoc.Serve(w, r, d)
}

// published returns the algorithms of the keys that the key set publishes.
func published(all []*keyset.Key, now time.Time) []string {
	algorithms := []string{}
	for _, k := range all {
		if name := string(k.Algorithm()); k.Published(now) && !slices.Contains(algorithms, name) {
			algorithms = append(algorithms, name)
		}
	}
	return algorithms
}
