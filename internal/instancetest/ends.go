package instancetest

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/session"
)

// ends ends sessions in every way, each on one instance, and then lets the
// instances restart and the store lose everything.
func (s Store) ends(t *testing.T, mode config.Mode) {
	prefix := "i" + string(mode) + "_"
	f := newFleet(t, s.Opener, s.URL(s.Addr, prefix), mode, instances)
	together(t, map[string]func(t *testing.T){
		"logout":         f.logout,
		"renewal":        f.renewal,
		"login":          f.loginOfAVisitor,
		"end of subject": f.endOfSubject,
		"end of others":  f.endOfOthers,
	})
	f.judge(t, "afterwards")
	f.restart(t)
	f.judge(t, "after a restart")
	s.Lose(t, prefix)
	f.heal(t)
	f.endOfAll(t)
	f.judge(t, "in the end")
}

// A logout on one instance is one on all. Other sessions of the same visitor go
// on.
func (f *fleet) logout(t *testing.T) {
	for i, at := range f.apps {
		gone, stays := f.login(t, f.apps[0], "erin"), f.login(t, at, "erin")
		over := follow(f.apps[(i+1)%instances], gone)
		other := follow(f.apps[(i+2)%instances], stays)
		visit(t, at, gone, logOut(t))
		over.isOver(t, "logout")
		f.dies(t, gone)
		other.goesOn(t, "logout")
		visit(t, at, stays, logOut(t))
		other.isOver(t, "logout")
		f.dies(t, stays)
	}
}

// After a renewal, the credential from before it opens nothing.
func (f *fleet) renewal(t *testing.T) {
	for _, at := range f.apps {
		old := f.login(t, f.apps[0], "frank")
		next := visit(t, at, old, func(s *session.Session) { require.NoError(t, s.Renew()) })
		require.NotEqual(t, old, next)
		f.lives(next, "frank")
		f.dies(t, old)
	}
}

// Who has planted a cookie has nothing after the login.
func (f *fleet) loginOfAVisitor(t *testing.T) {
	for _, at := range f.apps {
		planted := visit(t, f.apps[0], "", func(s *session.Session) { require.NoError(t, apptest.Visits.Set(s, 1)) })
		next := visit(t, at, planted, func(s *session.Session) { require.NoError(t, s.Login("grace")) })
		require.NotEqual(t, planted, next)
		f.lives(next, "grace")
		f.dies(t, planted)
	}
}

// A password was reset: all sessions of the subject are over. A login that
// follows holds on every instance, though the clocks of the instances may
// differ.
func (f *fleet) endOfSubject(t *testing.T) {
	bystander := f.login(t, f.apps[0], "heidi")
	unconcerned := follow(f.apps[1], bystander)
	for i, at := range f.apps {
		first, second := f.login(t, f.apps[0], "ivan"), f.login(t, f.apps[1], "ivan")
		over := follow(f.apps[(i+1)%instances], first)
		rec := f.record(t, first)
		require.NoError(t, at.Revocations.EndSubject(t.Context(), "ivan"))
		over.isOver(t, "end of subject")
		f.dies(t, first, second)
		f.hears(t, rec)
		f.dies(t, f.holds(t, "ivan")...)
	}
	unconcerned.goesOn(t, "end of another subject")
	visit(t, f.apps[0], bystander, logOut(t))
	unconcerned.isOver(t, "logout")
	f.dies(t, bystander)
}

// hears waits until every instance has heard that the sessions like this one
// have ended. Until then, one that the store doesn't have any more opens
// nowhere, but a login may still end with the others.
func (f *fleet) hears(t *testing.T, ended session.Record) {
	t.Helper()
	for i, app := range f.apps {
		require.Eventually(t, func() bool { return app.Revocations.Check(&ended) != nil }, patience, time.Millisecond,
			"instance %d", i)
	}
}

// record returns the record of a session.
func (f *fleet) record(t *testing.T, credential string) (rec session.Record) {
	t.Helper()
	visit(t, f.apps[0], credential, func(s *session.Session) { rec = s.Snapshot() })
	require.NotEmpty(t, rec.Subject)
	return rec
}

// holds logs a subject in on every instance, and expects that the sessions open
// on all of them. Then it ends them.
func (f *fleet) holds(t *testing.T, subject string) (ended []string) {
	t.Helper()
	<-time.After(2 * time.Millisecond) // a login in the millisecond in which an instance hears of an end has ended
	for i, at := range f.apps {
		credential := f.login(t, at, subject)
		for j, on := range f.apps {
			require.Equal(t, subject, apptest.SubjectOf(on.Middleware, credential), "a login on %d after the end, on %d", i, j)
		}
		visit(t, at, credential, logOut(t))
		ended = append(ended, credential)
	}
	return ended
}

// "Log out my other devices": the session of the request is kept.
func (f *fleet) endOfOthers(t *testing.T) {
	for i, at := range f.apps {
		kept, other := f.login(t, f.apps[0], "judy"), f.login(t, f.apps[1], "judy")
		over := follow(f.apps[(i+1)%instances], other)
		h := at.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			require.NoError(t, at.Revocations.EndOthers(r.Context()))
		}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, apptest.Cookies(kept))
		require.Equal(t, http.StatusOK, w.Code)
		require.Len(t, w.Result().Cookies(), 1)
		next := w.Result().Cookies()[0].Value
		over.isOver(t, "end of others")
		f.dies(t, kept, other)
		for j, on := range f.apps {
			require.Equal(t, "judy", apptest.SubjectOf(on.Middleware, next), "kept on %d, on %d", i, j)
		}
		visit(t, at, next, logOut(t))
		f.dies(t, next)
	}
}

// endOfAll ends all sessions of everybody. Logins that follow hold.
func (f *fleet) endOfAll(t *testing.T) {
	credential := f.login(t, f.apps[0], "mallory")
	over, rec := follow(f.apps[2], credential), f.record(t, credential)
	require.NoError(t, f.apps[1].Revocations.EndAll(t.Context()))
	over.isOver(t, "end of all")
	var all []string
	for credential := range f.alive {
		all = append(all, credential)
	}
	f.dies(t, all...)
	f.hears(t, rec)
	f.dies(t, f.holds(t, "mallory")...)
}

// heal waits until the store has everything again that it has lost and that an
// instance remembers. Sessions in the store are lost: their visitors are logged
// out. What has ended stays ended, also for an instance that starts then.
func (f *fleet) heal(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	for credential := range f.alive {
		if apptest.Form(credential) == "opaque" {
			delete(f.alive, credential)
			f.dead = append(f.dead, credential)
		}
	}
	f.mu.Unlock()
	f.judge(t, "after the loss")
	extra := f.start(t, f.config)
	require.Eventually(t, func() bool { // it is ready before the others have appended everything
		for _, credential := range f.dead {
			if apptest.SubjectOf(extra.Middleware, credential) != "" {
				return false
			}
		}
		return true
	}, patience, 10*time.Millisecond, "an instance that starts after the loss")
	require.NoError(t, extra.Close())
	for i, app := range f.apps { // until then, nobody can end many sessions
		require.Eventually(t, func() bool { return app.Revocations.EndSubject(t.Context(), "nobody") == nil },
			patience, 10*time.Millisecond, "instance %d", i)
	}
	credential := f.login(t, f.apps[0], "niaj")
	visit(t, f.apps[1], credential, logOut(t))
	f.dies(t, credential)
	f.judge(t, "after the loss, in the end")
}
