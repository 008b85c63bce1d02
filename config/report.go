package config

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
)

// pathOf returns the path of the field that a constructor calls name, or "" if
// a document has no such field.
func pathOf(name fault.Name) string {
	return map[fault.Name]string{
		"Policy.IdleTimeout":            "session.idle_timeout",
		"Policy.Lifetime":               "session.lifetime",
		"Policy.RememberedIdleTimeout":  "session.remembered_idle_timeout",
		"Policy.RememberedLifetime":     "session.remembered_lifetime",
		"Policy.TouchEvery":             "session.touch_every",
		"Cookie.Name":                   "cookie.name",
		"Cookie.Path":                   "cookie.path",
		"Cookie.Domain":                 "cookie.domain",
		"Cookie.SameSite":               "cookie.same_site",
		"Cookie.Partitioned":            "cookie.partitioned",
		"Cookie.InsecureAllowHTTP":      "cookie.insecure_allow_http",
		"Cookie.Persistent":             "session.persistent",
		"MemoryConfig.MaxSessions":      "store.max_sessions",
		"MemoryConfig.MaxBytes":         "store.max_bytes",
		"MemoryConfig.AnonymousPercent": "store.anonymous_percent",
		"CarrierConfig.Issuer":          "issuer",
		"CarrierConfig.Audience":        "audience",
		"IssuerConfig.ClientID":         "client_id",
		"IssuerConfig.SessionAudience":  "audience",
		"Config.Path":                   "revocations.file",
		"Config.MaxStaleness":           "revocations.max_staleness",
		"HandlerConfig.Services":        "services.clients",
	}[name]
}

// report returns the mistakes in err, each with the field that it is about,
// named as in the document. If a mistake names no field, it is about the one at
// path, or about several if path is "".
func report(label labeler, path string, err error) []error {
	var all []error
	for _, err := range mistakes(err) {
		path := path
		if of, ok := err.(*fault.Error); ok && pathOf(of.Field) != "" {
			path, err = pathOf(of.Field), errors.New(of.In(inDocument))
		}
		if path == "" {
			all = append(all, fmt.Errorf("config: %w", fault.Inner(err)))
			continue
		}
		all = append(all, fmt.Errorf("config: %s: %w", label(path), fault.Inner(err)))
	}
	return all
}

// inDocument returns an argument of a constructor's error as a document spells
// it.
func inDocument(arg any) any {
	switch arg := arg.(type) {
	case time.Duration:
		return Duration(arg)
	case fault.Name:
		return cmp.Or(pathOf(arg), string(arg))
	}
	return arg
}

// mistakes returns the errors that errors.Join has joined. An error that wraps
// several others in a text of its own stays whole.
func mistakes(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || errors.Join(joined.Unwrap()...).Error() != err.Error() {
		return []error{err}
	}
	var all []error
	for _, part := range joined.Unwrap() {
		all = append(all, mistakes(part)...)
	}
	return all
}
