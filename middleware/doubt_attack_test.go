package middleware_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// A held is a ticket that nobody has opened yet.
type held struct {
	*world
	m           *middleware.Middleware
	old, ticket string
}

// newTicket begins a session of subject in the store, nobody's if that is "",
// and renews it in mode then, so that the client gets a ticket.
func newTicket(t *testing.T, then, subject string, how loss) *held {
	w := newWorld(t)
	store := &losing{Store: w.memory, loss: how}
	w.Store = store
	m := w.Middleware(t, "opaque")
	h := &held{world: w, m: m, old: begin(t, m, subject)}
	if then != "opaque" {
		h.m = w.Middleware(t, then)
	}
	store.at = map[string]int{"opaque": 3, "stateless": 2}[then] // the swap: a token's issue asks no store
	_, h.ticket = visit(h.m, h.old, func(s *session.Session) { assert.NoError(t, s.Renew()) })
	store.at = 0
	require.Equal(t, "crd1_", h.ticket[:5])
	return h
}

// Each row is what happens to a ticket, and returns credentials that must open
// nobody's session afterwards.
var ticketAttacks = []struct {
	name    string
	subject string
	do      func(t *testing.T, h *held) (dead []string)
}{
	{"opened after a logout by the old credential", "alice", func(t *testing.T, h *held) []string {
		visit(h.m, h.old, func(s *session.Session) { _ = s.Destroy() })
		if subjectOf(h.m, h.old) != "" {
			t.Error("the old credential opens after its logout")
		}
		return nil // if the renewal was done, the old credential could not log out
	}},
	{"opened after a logout by the ticket", "alice", func(t *testing.T, h *held) []string {
		visit(h.m, h.ticket, func(s *session.Session) { assert.NoError(t, s.Destroy()) })
		return []string{h.ticket, h.old}
	}},
	{"opened after the end of all sessions of the subject", "alice", func(t *testing.T, h *held) []string {
		require.NoError(t, h.List.EndSubject(t.Context(), "alice"))
		return []string{h.ticket, h.old}
	}},
	{"opened after the end of all sessions", "alice", func(t *testing.T, h *held) []string {
		require.NoError(t, h.List.EndAll(t.Context()))
		return []string{h.ticket, h.old}
	}},
	{"replayed after the next renewal", "alice", func(t *testing.T, h *held) []string {
		_, current := visit(h.m, h.ticket, func(*session.Session) {})
		_, next := visit(h.m, current, func(s *session.Session) { assert.NoError(t, s.Renew()) })
		assert.Equal(t, "alice", subjectOf(h.m, next))
		return []string{h.ticket, h.old, current}
	}},
	{"planted before a login", "", func(t *testing.T, h *held) []string {
		_, next := visit(h.m, h.ticket, func(s *session.Session) { assert.NoError(t, s.Login("victim")) })
		assert.Equal(t, "victim", subjectOf(h.m, next))
		return []string{h.ticket, h.old}
	}},
	{"planted, and opened before a login", "", func(t *testing.T, h *held) []string {
		_, current := visit(h.m, h.ticket, func(*session.Session) {})
		_, next := visit(h.m, current, func(s *session.Session) { assert.NoError(t, s.Login("victim")) })
		assert.Equal(t, "victim", subjectOf(h.m, next))
		return []string{h.ticket, h.old, current}
	}},
	{"of a subject that logged in by the old credential meanwhile", "", func(t *testing.T, h *held) []string {
		status, next := visit(h.m, h.old, func(s *session.Session) { assert.NoError(t, s.Login("victim")) })
		require.Equal(t, 200, status)
		assert.Equal(t, "victim", subjectOf(h.m, next))
		return []string{h.old, h.ticket}
	}},
}

// A ticket opens no more than the credential that it stands for.
func TestTicketAttacks(t *testing.T) {
	for _, row := range ticketAttacks {
		for _, then := range []string{"opaque", "stateless"} {
			for _, how := range []loss{thenDown, doneDown, late} {
				t.Run(fmt.Sprintf("%s, %s, %v", row.name, then, how), func(t *testing.T) {
					h := newTicket(t, then, row.subject, how)
					dead := row.do(t, h)
					for range 2 {
						for _, credential := range dead {
							assert.Contains(t, []string{"", "-"}, subjectOf(h.m, credential), credential[:5])
						}
						h.Store.(*losing).arrive() // and look again
					}
				})
			}
		}
	}
}

// A handler goes on after a renewal of which nobody knows whether it was done:
// what it then saves is saved, in whichever form the session has.
func TestSaveAfterDoubt(t *testing.T) {
	for _, then := range []string{"opaque", "stateless"} {
		for _, how := range []loss{thenDown, doneDown} {
			w := newWorld(t)
			store := &losing{Store: w.memory, loss: how}
			w.Store = store
			old := begin(t, w.Middleware(t, "opaque"), "alice")
			m := w.Middleware(t, then)
			store.at = map[string]int{"opaque": 3, "stateless": 2}[then]
			status, next := visit(m, old, func(s *session.Session) {
				assert.NoError(t, s.Renew())
				assert.ErrorIs(t, s.Save(t.Context()), session.Unavailable)
				store.at = 0
				assert.NoError(t, visits.Set(s, 7))
				assert.NoError(t, s.Save(t.Context()))
				assert.Equal(t, "alice", s.Subject())
			})
			assert.Equal(t, 200, status)
			got := look(m, next)
			assert.Equal(t, "alice", got.subject)
			assert.Equal(t, 7, got.visits)
			assert.Equal(t, map[string]string{"opaque": "opaque", "stateless": "token"}[then], form(next))
		}
	}
}
