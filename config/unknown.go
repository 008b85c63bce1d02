package config

import "fmt"

// unknownName returns the error for a name that belongs to no field. what is
// the name, and path the field that it would be. like is the path of the field
// with the most similar name, or "". say returns the name of a field as the
// reader writes it.
func unknownName(what, path, like string, say func(path string) string) error {
	switch path {
	case "cookie.secure":
		return fmt.Errorf("config: %s is unknown; remove it: the cookie is Secure unless %s is true",
			what, say("cookie.insecure_allow_http"))
	case "cookie.http_only", "cookie.httponly":
		return fmt.Errorf("config: %s is unknown; remove it: the cookie is always HttpOnly", what)
	case "cookie.max_age", "cookie.maxage", "cookie.expires", "cookie.lifetime":
		like = "session.remembered_lifetime"
	case "store.password":
		like = "store.password_file"
	case "store.secret":
		like = "store.secret_file"
	case "session.timeout":
		like = "session.idle_timeout"
	case "session.max_age", "session.maxage", "session.ttl", "session.expires":
		like = "session.lifetime"
	}
	if like == "" {
		return fmt.Errorf("config: %s is unknown; remove it", what)
	}
	return fmt.Errorf("config: %s is unknown; did you mean %s?", what, say(like))
}
