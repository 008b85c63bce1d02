// Package fault makes the errors that our packages share the form of: the name
// of the package, once, and then a sentence.
//
// Use [Errorf] in a constructor for a mistake in a field of its Config, and
// [Error.In] where that Config was filled from a document whose fields have
// other names. Use [Inner] for the error of another package at the end of a
// sentence.
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

// Errorf returns an error about the field that what names, with its package:
// "session: Policy.IdleTimeout". The text of format and args continues the
// sentence. Another field that it speaks of is an argument of type [Name].
func Errorf(what, format string, args ...any) *Error {
	pkg, name, _ := strings.Cut(what, ": ")
	return &Error{Field: Name(name), pkg: pkg, format: format, args: args}
}

// Error implements error: the whole sentence, with the names that Go knows.
func (e *Error) Error() string {
	return e.pkg + ": " + string(e.Field) + " " + fmt.Errorf(e.format, e.args...).Error()
}

// Unwrap returns the error that the format wraps with %w, nil for none.
func (e *Error) Unwrap() error { return errors.Unwrap(fmt.Errorf(e.format, e.args...)) }

// In returns what Error says behind the field's name, with each argument as say
// returns it: the other fields by other names, for one.
func (e *Error) In(say func(arg any) any) string {
	args := make([]any, len(e.args))
	for i, arg := range e.args {
		args[i] = say(arg)
	}
	return fmt.Errorf(e.format, args...).Error()
}

// Inner returns err without the name of a package of ours in front of its text.
func Inner(err error) error {
	pkg, text, ok := strings.Cut(err.Error(), ": ")
	if !ok || !slices.Contains(packages(), pkg) {
		return err
	}
	return inner{err, text}
}

func packages() []string {
	return []string{
		"config", "durable", "jose", "keys", "middleware",
		"opaque", "revocation", "rotation", "session", "token",
	}
}

// An inner is an error with a shorter text.
type inner struct {
	error
	text string
}

func (e inner) Error() string { return e.text }

func (e inner) Unwrap() error { return e.error }
