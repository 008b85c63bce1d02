// Package fault makes errors in the form that all our packages use: the name of
// the package once, and then a sentence.
//
// Use [Mistakes] in a constructor for the mistakes in its Config, and
// [Error.In] if that Config was filled from a document whose fields have other
// names. Use [Inner] for the error of another package at the end of a sentence.
package fault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Name is a field as Go spells it, with its struct: "Policy.IdleTimeout".
type Name string

// An Error says what is wrong with one field, and what to do.
type Error struct {
	Field  Name
	pkg    string
	format string
	args   []any
}

// Errorf returns an error about a field. what is the field with its package,
// such as "session: Policy.IdleTimeout". format and args are the rest of the
// sentence. An argument that names another field has the type [Name].
func Errorf(what, format string, args ...any) *Error {
	pkg, name, _ := strings.Cut(what, ": ")
	return &Error{Field: Name(name), pkg: pkg, format: format, args: args}
}

// Error implements error. Fields have their names in Go.
func (e *Error) Error() string {
	return e.pkg + ": " + string(e.Field) + " " + fmt.Errorf(e.format, e.args...).Error()
}

// Unwrap returns the error that the format wraps with %w, or nil.
func (e *Error) Unwrap() error { return errors.Unwrap(fmt.Errorf(e.format, e.args...)) }

// In returns the text after the field's name. say replaces each argument first,
// for example the names of other fields.
func (e *Error) In(say func(arg any) any) string {
	args := make([]any, len(e.args))
	for i, arg := range e.args {
		args[i] = say(arg)
	}
	return fmt.Errorf(e.format, args...).Error()
}

// Mistakes collects everything that is wrong with one Config, so that a
// constructor reports it at once.
type Mistakes struct {
	of   string
	errs []error
}

// In returns the mistakes of the Config called of, such as "token:
// CarrierConfig".
func In(of string) *Mistakes { return &Mistakes{of: of} }

// If adds a mistake, the one that [Errorf] makes for the field, if there is
// one.
func (m *Mistakes) If(wrong bool, field, format string, args ...any) {
	if wrong {
		m.Add(Errorf(m.of+"."+field, format, args...))
	}
}

// Add adds mistakes that were found elsewhere; a nil one is none.
func (m *Mistakes) Add(errs ...error) { m.errs = append(m.errs, errs...) }

// Err returns all of them as one error, or nil.
func (m *Mistakes) Err() error { return errors.Join(m.errs...) }

// Inner returns err without the name of our package at the beginning of its
// text.
func Inner(err error) error {
	pkg, text, ok := strings.Cut(err.Error(), ": ")
	if !ok || !slices.Contains(packages(), pkg) {
		return err
	}
	return inner{err, text}
}

func packages() []string {
	return []string{
		"backchannel", "config", "durable", "introspect", "jose", "keys", "memcachestore", "middleware", "opaque",
		"redisstore", "revocation", "rotation", "session", "sqlstore", "token",
	}
}

// An inner is an error with a shorter text.
type inner struct {
	error
	text string
}

func (e inner) Error() string { return e.text }

func (e inner) Unwrap() error { return e.error }
