package apptest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A faultyCarrier is a real one that fails as a test says.
type faultyCarrier struct {
	middleware.Carrier
	fails *faults
}

// faults says how the carriers of a world fail.
type faults struct {
	write     error // what writing fails with, nothing being done
	undurable bool  // Retire succeeds, but a crash might undo it
}

func (c *faultyCarrier) Issue(ctx context.Context, rec *session.Record, replaces string) (string, error) {
	if c.fails.write != nil {
		return "", c.fails.write
	}
	return c.Carrier.Issue(ctx, rec, replaces)
}

func (c *faultyCarrier) Save(
	ctx context.Context, credential string, base *session.Record, changes *session.Changes,
) (*session.Record, string, error) {
	if c.fails.write != nil {
		return nil, "", c.fails.write
	}
	return c.Carrier.Save(ctx, credential, base, changes)
}

func (c *faultyCarrier) Retire(
	ctx context.Context, credential string, base *session.Record, successor string, grace time.Duration,
) (string, error) {
	hold, err := c.Carrier.Retire(ctx, credential, base, successor, grace)
	if err == nil && c.fails.undurable {
		return successor, fmt.Errorf("test: not durable: %w", session.Unavailable)
	}
	return hold, err
}

func (c *faultyCarrier) End(ctx context.Context, credential string, rec *session.Record) error {
	if c.fails.write != nil {
		return c.fails.write
	}
	return c.Carrier.End(ctx, credential, rec)
}

// A stage is one instance of an application on which scripts are played.
type stage struct {
	*World
	m      *middleware.Middleware
	fails  faults
	events Events
	visits atomic.Int64 // that were made so far
}

func newStage(t *testing.T, w *World, mode string) *stage {
	p := &stage{World: w}
	p.m = p.Middleware(t, mode, Watched(&p.events), func(c *middleware.Config) {
		c.Carrier = &faultyCarrier{c.Carrier, &p.fails}
		for i := range c.Accept {
			c.Accept[i] = &faultyCarrier{c.Accept[i], &p.fails}
		}
		if c.Overflow != nil {
			c.Overflow = &faultyCarrier{c.Overflow, &p.fails}
		}
	})
	return p
}

// send lets h answer a request that presents credential, and returns the
// response, and what the handler has panicked with.
func (p *stage) send(credential string, h Handler) (w *wire, panicked any) {
	r := httptest.NewRequest(http.MethodGet, "https://app.example/", nil)
	if credential != "" {
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: credential})
	}
	w = &wire{ResponseRecorder: httptest.NewRecorder()}
	defer func() { panicked = recover() }()
	p.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h(w, r, session.From(r.Context()))
	})).ServeHTTP(w, r)
	return w, nil
}

// A wire is a connection that can be taken over.
type wire struct {
	*httptest.ResponseRecorder
	hijacked bool
}

func (w *wire) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.hijacked = true
	return nil, nil, nil
}

// opens says who a credential logs in, and with what.
func (p *stage) opens(credential string) string {
	opens := ""
	p.send(credential, func(_ http.ResponseWriter, r *http.Request, s *session.Session) {
		who, _, _ := strings.Cut(s.Subject(), "-")
		if s.IgnoreActivity(); s.ID() == "" {
			opens = "nothing"
			return
		}
		opens = fmt.Sprintf("%s/%d", who, Visits.Get(s))
	})
	return opens
}

// A scene is one request of which a script says what happens in it.
type scene struct {
	*stage
	subject    string
	credential string // that the request presents
	w          http.ResponseWriter
	r          *http.Request
	s          *session.Session
}

// acts are the words of a script.
var acts = map[string]func(v *scene) error{
	"set":      func(v *scene) error { return Visits.Set(v.s, 2) },
	"huge":     func(v *scene) error { return session.Key[any]("huge").Set(v.s, strings.Repeat("x", 2<<20)) },
	"login":    func(v *scene) error { return v.s.Login(v.subject) },
	"switch":   func(v *scene) error { return v.s.Login("bob-" + v.subject) },
	"renew":    func(v *scene) error { return v.s.Renew() },
	"remember": func(v *scene) error { return v.s.Remember(true) },
	"destroy":  func(v *scene) error { return v.s.Destroy() },
	"save":     func(v *scene) error { return v.s.Save(v.r.Context()) },
	"write":    func(v *scene) error { _, err := io.WriteString(v.w, "x"); return err },
	"hijack":   func(v *scene) error { _, _, err := http.NewResponseController(v.w).Hijack(); return err },
	"end":      func(v *scene) error { return v.List.EndSubject(v.r.Context(), v.subject) },
	"others":   func(v *scene) error { return v.List.EndOthers(v.r.Context()) },
	"panic":    func(*scene) error { panic("test") },

	// What happens around the request.
	"minute":    func(v *scene) error { v.Advance(time.Minute); return nil },
	"late":      func(v *scene) error { v.Advance(25 * time.Minute); return nil },
	"logout!":   another((*session.Session).Destroy),
	"renew!":    another((*session.Session).Renew),
	"set!":      another(func(s *session.Session) error { return session.Key[any]("more").Set(s, 1) }),
	"ended!":    func(v *scene) error { return v.List.EndSubject(context.Background(), v.subject) },
	"down":      func(v *scene) error { v.fails.write = session.Unavailable; return nil },
	"full":      func(v *scene) error { v.fails.write = session.TooLarge; return nil },
	"up":        func(v *scene) error { v.fails = faults{}; return nil },
	"undurable": func(v *scene) error { v.fails.undurable = true; return nil },
}

// another is an act of another request with the same credential.
func another(act func(s *session.Session) error) func(v *scene) error {
	return func(v *scene) error {
		v.send(v.credential, func(_ http.ResponseWriter, _ *http.Request, s *session.Session) { _ = act(s) })
		return nil
	}
}

// play plays a script in one request of a visitor who is logged in, and has one
// visit; a script that begins with "new" is for one who has no session. What
// follows "return", or "panic", happens after the handler. It returns, in one
// line:
//
//   - the status; "101" for a hijacked connection, "panic" for a panic;
//   - the cookie that the response sets: "same" for none, "new", or "clear";
//   - what the browser's cookie opens then, and "was" with what the cookie from
//     before opens, if that is something else: who is logged in and the visits;
//   - the acts that have failed, with the reason;
//   - the events of the request, in brackets.
func (p *stage) play(t *testing.T, script string) string {
	v := &scene{stage: p, subject: fmt.Sprint("alice-", p.visits.Add(1))}
	p.Advance(2 * time.Second)
	words := strings.Fields(script)
	if words[0] == "new" {
		words = words[1:]
	} else {
		first, _ := p.send("", func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
			assert.NoError(t, s.Login(v.subject))
			assert.NoError(t, Visits.Set(s, 1))
		})
		v.credential = first.Result().Cookies()[0].Value
		p.Advance(2 * time.Second)
	}
	p.events.Reset()
	var failed []string
	run := func(words []string) {
		for _, word := range words {
			require.Contains(t, acts, word)
			if err := acts[word](v); err != nil {
				failed = append(failed, word+":"+session.ReasonOf(err).String())
			}
		}
	}
	after := slices.IndexFunc(words, func(word string) bool { return word == "return" || word == "panic" }) + 1
	if after == 0 {
		after = len(words)
	}
	w, panicked := p.send(v.credential, func(w http.ResponseWriter, r *http.Request, s *session.Session) {
		v.w, v.r, v.s = w, r, s
		during := words[:after]
		if during[len(during)-1] == "return" {
			during = during[:len(during)-1]
		}
		run(during)
	})
	run(words[after:])
	p.fails = faults{}
	seen := p.events.Kinds()
	return strings.TrimSpace(p.outcome(v, w, panicked) + " " + strings.Join(append(failed, fmt.Sprint(seen)), " "))
}

// outcome returns the first three parts of what play returns.
func (p *stage) outcome(v *scene, w *wire, panicked any) string {
	status, cookie, holds := fmt.Sprint(w.Code), "same", v.credential
	switch {
	case panicked != nil:
		status = "panic"
	case w.hijacked:
		status = "101"
	}
	for _, c := range w.Result().Cookies() {
		cookie, holds = "new", c.Value
		if c.MaxAge < 0 {
			cookie = "clear"
		}
	}
	line := status + " " + cookie + " " + p.opens(holds)
	if was := p.opens(v.credential); v.credential != holds && was != "nothing" {
		line += " was " + was
	}
	return line
}

func (s *suite) transitions(t *testing.T) {
	s.eachMode(t, func(t *testing.T, mode string, w *World) {
		p := newStage(t, w, mode)
		for _, row := range transitions {
			if rand.N(s.everyNth) > 0 {
				continue
			}
			want := row.stateless
			if mode == "opaque" && row.opaque != "" {
				want = row.opaque
			}
			assert.Equal(t, want, p.play(t, row.script), row.script)
		}
	})
}
