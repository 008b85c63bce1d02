package tool

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/secret"
)

// The exit codes, as the help of keygen documents them.
const (
	ExitOK       = 0
	ExitError    = 1
	ExitUsage    = 2
	ExitRefused  = 3
	ExitDamaged  = 4
	exitLocked   = 5
	ExitToken    = 6
	ExitExpired  = 7
	ExitNotFound = 8
	ExitDue      = 10 // something is due, or differs
)

// An exit is an error with the code to end with.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string { return e.err.Error() }
func (e *exit) Unwrap() error { return e.err }

// Refuse returns an error that ends keygen with this exit code.
func Refuse(code int, format string, args ...any) error {
	return &exit{code, fmt.Errorf(format, args...)}
}

// ExitCode returns the code with which err ends keygen.
func ExitCode(err error) int {
	var e *exit
	switch {
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, keyset.ErrUnsafeFile), errors.Is(err, secret.ErrUnsafe),
		errors.Is(err, fs.ErrExist), errors.Is(err, rotation.ErrRefused):
		return ExitRefused
	case errors.Is(err, keyset.ErrInvalidFile):
		return ExitDamaged
	case errors.Is(err, keyset.ErrLocked):
		return exitLocked
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, keyset.ErrUnknownKey):
		return ExitNotFound
	}
	return ExitError
}
