package middleware

import (
	"context"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// Peek returns the session that credential opens, and when it is over if there
// is no more activity. It takes the forms that requests may bring in their
// cookies. It changes nothing: the session is not in use, it doesn't move to
// another form, and nobody is told of its end. Package introspect uses it.
//
// An error wraps a [session.Reason]: [session.Unavailable] if the store or the
// keys could not answer, any other one if credential opens nothing.
func (m *Middleware) Peek(ctx context.Context, credential string) (rec *session.Record, end time.Time, err error) {
	if m.c.Carrier == nil {
		return nil, time.Time{}, fmt.Errorf("middleware: made without New: %w", session.Unavailable)
	}
	now := m.c.Now() // what is read after it is at least as new
	limited := deadline{Context: ctx, timeout: m.c.Timeout}
	defer limited.cancel()
	if rec, err = m.peek(&limited, credential); err != nil {
		return nil, time.Time{}, err
	}
	if why := m.c.Policy.Over(rec, now); why != 0 {
		return nil, time.Time{}, fmt.Errorf("middleware: the session is over: %w", why)
	}
	return rec, m.c.Policy.End(rec), nil
}

// peek follows a credential to the present record of its session.
func (m *Middleware) peek(ctx context.Context, credential string) (*session.Record, error) {
	for range maxHops {
		carrier := m.carrier(credential)
		if carrier == nil {
			return nil, fmt.Errorf("middleware: not a credential of a form that is accepted here: %w", session.Malformed)
		}
		rec, current, err := carrier.Peek(ctx, credential)
		if err != nil || rec != nil {
			return rec, err
		}
		credential = current
	}
	return nil, fmt.Errorf("middleware: a credential led to more than %d others: %w", maxHops, session.Ended)
}
