package apptest

import (
	"context"
	"fmt"
	"strings"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// A madeLogin is one that a request has made.
type madeLogin struct {
	credential string // that its client holds
	kind       string
	done       bool
}

// checkLogins looks whether every login succeeded: only what was ended on
// purpose may refuse one. One that got a session of its own is logged in.
func (p *play) checkLogins() (violation string) {
	for _, l := range p.logins {
		switch {
		case !l.done && !p.over && !p.noAlice:
			return "a login failed, though nobody has ended its session"
		case !l.done || !p.opensAnother(l.credential) || p.noAlice && l.kind == "login":
			continue
		}
		p.request(context.Background(), p.instances[0], l.credential, func(s *session.Session) {
			if want := map[string]string{"login": alice, "login-other": bob}[l.kind]; s.Subject() != want {
				violation = "a login was answered 200, and its cookie is not logged in"
			}
		})
	}
	return violation
}

// check opens a credential, after all requests have returned.
func (p *play) check(m *middleware.Middleware, credential string, generation uint64) (violation string) {
	p.request(context.Background(), m, credential, func(s *session.Session) {
		s.IgnoreActivity() // nobody was given some of these credentials: don't make more of them
		rec := s.Snapshot()
		switch {
		case s.IsNew():
		case p.noAlice && rec.Subject == alice && !p.mayOpen(&rec, credential):
			violation = "a session opens whose subject's sessions were all ended"
		case p.opensAnother(credential):
			if rec.Subject == alice && !s.Has("first") {
				violation = "a login that got a session of its own lacks the values that it had loaded"
			}
		case p.over:
			violation = "a credential of a destroyed session opens"
		case !p.ledger.delivered[credential]: // of two logins at once, one made it in vain and forgot it
		case generation < p.loggedIn:
			violation = fmt.Sprintf("a credential of generation %d opens, though generation %d has begun", generation,
				p.loggedIn)
		case !p.cleared && !p.hasKept(s):
			violation = fmt.Sprintf("a saved value is gone: have %v, saved %v", s.Keys(), p.kept)
		case !p.cleared && (Visits.Get(s) < p.added || Visits.Get(s) > p.tried):
			violation = fmt.Sprintf("of %d additions, %d were saved, and the sum is %d", p.tried, p.added, Visits.Get(s))
		}
	})
	return violation
}

// opensAnother reports whether a credential is of a session of its own, which a
// login got because the one that it started from went on elsewhere.
func (p *play) opensAnother(credential string) bool { return p.ledger.session(credential) != p.id }

// mayOpen reports whether a session of alice may open although all of them were
// ended: if its login came at the same time as the end, or after it. The latter
// is refused, because the session that it started from has ended, and its token
// opens if somebody has it, but nobody was given it. What is in the store, a
// carrier removes then.
//
// This takes two requests that run at once, see stuck.
func (p *play) mayOpen(rec *session.Record, credential string) bool {
	isUnseenToken := !p.ledger.delivered[credential] && !strings.HasPrefix(credential, "cr1_")
	at := rec.CountsFrom().UnixMilli()
	return at > p.endBegan.UnixMilli() && (isUnseenToken || at <= p.endReturned.UnixMilli())
}

func (p *play) hasKept(s *session.Session) bool {
	for _, name := range p.kept {
		if !s.Has(name) {
			return false
		}
	}
	return s.Has("first")
}
