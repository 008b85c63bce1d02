package apptest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// actor makes the n-th request, of the given kind, to instance i.
func (p *several) actor(n int, kind string, m *middleware.Middleware, i int) func(ctx context.Context) {
	switch kind {
	case "end-subject", "end-all":
		return func(ctx context.Context) { p.endMany(ctx, kind, i) }
	case "probe":
		return func(ctx context.Context) {
			all := p.credentials()
			p.probe(ctx, i, all[p.s.random.IntN(len(all))], "meanwhile")
		}
	}
	return func(ctx context.Context) {
		p.s.step(ctx)
		credential := p.cookie
		if kind == "fresh-login" {
			credential = ""
		}
		login := p.beginLogin(i, kind)
		var logout *happened
		found := false
		status, next := p.request(ctx, m, credential, func(s *session.Session) {
			found = !s.IsNew()
			if found || kind == "fresh-login" {
				logout = p.act(ctx, s, kind, n, i)
			}
		})
		p.say("%d %s on %d: found %t, status %d", n, kind, i, found, status)
		failed := error(nil)
		if status != http.StatusOK {
			failed = fmt.Errorf("status %d", status)
		}
		if logout != nil {
			p.done(logout, failed)
		}
		if found || kind == "fresh-login" {
			p.endLogin(login, status, next)
		}
		if kind == "twice" && status == http.StatusOK { // goes on with what it was given
			p.request(ctx, m, next, func(s *session.Session) {
				if !s.IsNew() {
					_ = session.Key[any]("again").Set(s, n)
				}
			})
		}
	}
}

// act does the handler's part. It returns the end that the response decides.
func (p *several) act(ctx context.Context, s *session.Session, kind string, n, i int) (logout *happened) {
	switch kind {
	case "destroy":
		logout = p.begin(i, "logged out", s.ID())
		_ = s.Destroy()
	case "end-others":
		if s.Subject() != p.alice {
			return nil
		}
		e := p.begin(i, "others ended", s.ID())
		e.subject = p.alice
		err := p.instances[i].list.EndOthers(session.NewContext(ctx, s))
		rec := s.Snapshot()
		e.since = rec.Since
		p.Clock.Advance(time.Millisecond)
		p.done(e, err)
	default:
		change(s, kind, n, p.alice, p.bob)
	}
	return logout
}

// endMany ends all sessions of the subject, or of everybody.
func (p *several) endMany(ctx context.Context, kind string, i int) {
	p.s.step(ctx)
	e := p.begin(i, kind, "")
	var err error
	if kind == "end-all" {
		err = p.instances[i].list.EndAll(ctx)
	} else {
		e.subject = p.alice
		err = p.instances[i].list.EndSubject(ctx, p.alice)
	}
	p.s.step(ctx)
	p.Clock.Advance(time.Millisecond) // a list with a clock of its own waits for that
	p.done(e, err)
	p.say("%s on %d: %v", kind, i, err)
}
