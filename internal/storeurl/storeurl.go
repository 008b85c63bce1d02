// Package storeurl has the rules on the URLs of stores, such as
// "rediss://app@cache.example:6380/0?prefix=shop:".
//
// Use [Parse] on a URL from a configuration, and [Shown] before it is printed.
// An opener takes the server from [Addr], reads the parameters with [Query],
// and reports the mistakes of its Config with [Rename]. A server that is not
// [IsLocal] needs TLS.
//
// People forget to escape their passwords, and then pieces of these end up in
// the host, the path or the query. So no error of this package repeats a part
// of a URL, and Parse refuses a URL that looks like that.
package storeurl

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
)

// Parse parses the URL of a store.
func Parse(text string) (*url.URL, error) {
	u, err := url.Parse(text) // an error repeats the text
	if err != nil || u.Scheme == "" {
		return nil, errors.New("is not a URL like rediss://app@cache.example:6380/0; write special characters " +
			"in escaped form (%40 for @), and put the password in a file or a variable of its own")
	}
	for _, part := range []string{u.Host, u.Path, u.Opaque, u.RawQuery} {
		if strings.Contains(part, "@") {
			return nil, errors.New("has an @ behind the user; escape it as %40, and also /, ? and # in a password")
		}
	}
	if strings.Contains(text, "#") {
		return nil, errors.New("has a #; escape it as %23")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("has parameters after the ? that can't be read")
	}
	for name := range query {
		if regexp.MustCompile(`(?i)pass|pwd|secret|token`).MatchString(name) {
			return nil, errors.New("has a password among the parameters; put it in a file or a variable of its own")
		}
	}
	return u, nil
}

// Shown returns the URL with "xxxxx" in place of its password. It returns ""
// for a text that [Parse] refuses: nobody knows where the password is.
func Shown(text string) string {
	u, err := Parse(text)
	if err != nil {
		return ""
	}
	if _, has := u.User.Password(); !has {
		return text
	}
	return u.Redacted()
}

// Addr returns the address of the server that u names, with this port if u has
// none.
func Addr(u *url.URL, port string) string {
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
}

// IsLocal reports whether a host is this machine, so that nobody else sees what
// is sent there in plain text.
func IsLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// A Query holds the parameters of a URL.
type Query struct {
	values url.Values
	errs   []error
}

// ReadQuery returns the parameters of u. Every one that is not known is a
// mistake, and so is one without a value, and one that is repeated, unless its
// name ends in "[]" among the known ones.
func ReadQuery(u *url.URL, known ...string) *Query {
	q := &Query{values: u.Query()}
	for name, values := range q.values {
		switch {
		case slices.Contains(known, name+"[]"):
		case !slices.Contains(known, name):
			q.fail("%s is unknown; known are %s", named(name), list(known))
		case len(values) > 1:
			q.fail("%s is repeated", named(name))
		}
		if slices.Contains(values, "") {
			q.fail("%s has no value", named(name))
		}
	}
	return q
}

// named says which parameter it is, unless its name may be a piece of a
// password.
func named(name string) string {
	if regexp.MustCompile(`^[a-z][a-z_]{0,30}$`).MatchString(name) {
		return "the parameter " + strconv.Quote(name)
	}
	return "a parameter"
}

func list(known []string) string {
	if len(known) == 0 {
		return "none"
	}
	return strings.ReplaceAll(strings.Join(known, ", "), "[]", "")
}

func (q *Query) fail(format string, args ...any) {
	q.errs = append(q.errs, fmt.Errorf(format, args...))
}

// Text returns the value of a parameter, or "".
func (q *Query) Text(name string) string { return q.values.Get(name) }

// All returns every value of a parameter.
func (q *Query) All(name string) []string { return q.values[name] }

// Bool returns the value of a parameter that is true or false, or otherwise if
// it is missing.
func (q *Query) Bool(name string, otherwise bool) bool {
	switch q.values.Get(name) {
	case "":
		return otherwise
	case "true":
		return true
	case "false":
		return false
	}
	q.fail("%s must be true or false", named(name))
	return otherwise
}

// Int returns the value of a parameter that is a number of at least 1, or
// otherwise if it is missing.
func (q *Query) Int(name string, otherwise int) int {
	text := q.values.Get(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n == 0 {
		q.fail("%s must be a whole number, at least 1", named(name))
		return otherwise
	}
	return int(n)
}

// Duration returns the value of a parameter such as 5s or 500ms, or 0 if it is
// missing.
func (q *Query) Duration(name string) time.Duration {
	text := q.values.Get(name)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		q.fail("%s must be a duration such as 5s", named(name))
		return 0
	}
	return d
}

// Err returns all mistakes that were found, each with the name of the package
// pkg, or nil.
func (q *Query) Err(pkg string) error {
	slices.SortFunc(q.errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	var errs []error
	for _, err := range q.errs {
		errs = append(errs, fmt.Errorf("%s: %w", pkg, err))
	}
	return errors.Join(errs...)
}

// Rename returns err, an error of the constructor of pkg. Its mistakes in a
// Config name each field as names does, and no longer as in Go.
func Rename(err error, pkg string, names map[fault.Name]string) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return rename(err, pkg, names)
	}
	var errs []error
	for _, err := range joined.Unwrap() {
		errs = append(errs, rename(err, pkg, names))
	}
	return errors.Join(errs...)
}

func rename(err error, pkg string, names map[fault.Name]string) error {
	of, ok := err.(*fault.Error)
	if !ok || names[of.Field] == "" {
		return err
	}
	return fmt.Errorf("%s: %s %s", pkg, names[of.Field], of.In(func(arg any) any {
		if name, ok := arg.(fault.Name); ok && names["Config."+name] != "" {
			return names["Config."+name]
		}
		return arg
	}))
}
