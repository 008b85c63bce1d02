package interop_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A verifier returns the subject of a token, or why it is refused.
type verifier func(ctx context.Context, token string) (subject string, err error)

// A program verifies service tokens.
type program struct {
	name    string
	version func(t *testing.T) string
	option  string // the one that it needs; "" for none
	start   func(t *testing.T, a *application) verifier
}

// programs returns all, in the order of the table.
func programs() []program {
	var all []program
	for _, group := range [][]program{scripts(), gateways(), goPrograms()} {
		all = append(all, group...)
	}
	return all
}

// TestMatrix has every program verify good and bad tokens, before a planned
// rotation and after.
func TestMatrix(t *testing.T) {
	all := programs()
	results := make([]*result, len(all)) // nil where the program is missing
	places := make(chan struct{}, 2)     // as many run at a time
	t.Run("programs", func(t *testing.T) {
		for i, p := range all {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				places <- struct{}{}
				defer func() { <-places }()
				results[i] = p.run(t)
			})
		}
	})
	compare(t, results)
}

// run starts the program, and returns what it did.
func (p program) run(t *testing.T) *result {
	a := newApplication(t)
	r := &result{name: p.name, version: p.version(t), option: p.option}
	began := time.Now()
	verify := p.start(t, a)
	r.good = accepts(t, verify, a.good(t)) && accepts(t, verify, a.ahead(t))
	for _, bad := range a.bad(t) {
		r.tried++
		if refuses(t, verify, bad.name, bad.token) {
			r.refused++
		}
	}
	assert.True(t, refuses(t, verify, "session token", a.sessionToken(t, "")))
	r.typ = refuses(t, verify, "", a.sessionToken(t, audience))
	a.rotate(t)
	r.rotation = accepts(t, verify, a.good(t))
	r.took = time.Since(began)
	return r
}

// accepts reports whether the program finds the subject in a token.
func accepts(t *testing.T, verify verifier, token string) bool {
	t.Helper()
	got, err := verify(t.Context(), token)
	return assert.NoError(t, err) && assert.Equal(t, subject, got)
}

// refuses reports whether the program refuses a token; if not, the test fails,
// unless name is "".
func refuses(t *testing.T, verify verifier, name, token string) bool {
	t.Helper()
	_, err := verify(t.Context(), token)
	var b broken
	require.False(t, errors.As(err, &b), "%s: %v", name, err)
	if name != "" {
		assert.Error(t, err, "accepts a bad token: %s", name)
		t.Logf("%s: %v", name, err)
	}
	return err != nil
}
