package sessiontest_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/sessiontest"
)

const visits session.Key[int] = "visits"

// countVisit is a handler of the application under test.
func countVisit(w http.ResponseWriter, r *http.Request) {
	s := session.From(r.Context())
	n, err := visits.Update(s, func(n int) int { return n + 1 })
	if err == nil {
		err = s.Save(r.Context())
	}
	if errors.Is(err, session.Unavailable) {
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintf(w, "%s was here %d times", s.Subject(), n)
}

func logout(_ http.ResponseWriter, r *http.Request) { _ = session.From(r.Context()).Destroy() }

// A handler by itself: give it a session, and look at what it has left.
func ExampleRequest() {
	r := httptest.NewRequest(http.MethodPost, "/visits", nil)
	r = sessiontest.Request(r, sessiontest.Session{Subject: "alice", Values: map[string]any{"visits": 1}})

	w := httptest.NewRecorder()
	countVisit(w, r)

	got := sessiontest.After(r)
	fmt.Println(w.Body, "-", got.Subject, got.Values)
	// Output: alice was here 2 times - alice map[visits:2]
}

// Typed values are read as the handler reads them.
func ExampleAfter() {
	r := httptest.NewRequest(http.MethodPost, "/logout", nil)
	r = sessiontest.Request(r, sessiontest.Session{Subject: "alice", Values: map[string]any{"visits": 1}})
	fmt.Println("before:", visits.Get(session.From(r.Context())))

	logout(httptest.NewRecorder(), r)

	fmt.Println("after:", visits.Get(session.From(r.Context())), sessiontest.After(r).Destroyed)
	// Output:
	// before: 1
	// after: 0 true
}

// What a handler does when its session can't be kept.
func ExampleSession_saveError() {
	r := httptest.NewRequest(http.MethodPost, "/visits", nil)
	r = sessiontest.Request(r, sessiontest.Session{SaveError: session.Unavailable})

	w := httptest.NewRecorder()
	countVisit(w, r)
	fmt.Println(w.Code)
	// Output: 503
}

// Through the middleware: what a visitor with a cookie sees, now and after an
// hour without a request.
func ExampleNew() {
	test := func(t *testing.T) { // func TestIdleTimeout(t *testing.T)
		kit := sessiontest.New(t, func(c *middleware.Config) { c.Policy.IdleTimeout = time.Hour })
		app := kit.Middleware.Handler(http.HandlerFunc(countVisit))

		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(kit.Cookie(sessiontest.Session{Subject: "alice"}))
		w := httptest.NewRecorder()
		app.ServeHTTP(w, r)
		fmt.Printf("%q\n", w.Body)

		kit.Clock.Advance(time.Hour)
		w = httptest.NewRecorder()
		app.ServeHTTP(w, r)
		fmt.Printf("%q\n", w.Body)
	}
	test(new(testing.T))
	// Output:
	// "alice was here 1 times"
	// " was here 1 times"
}
