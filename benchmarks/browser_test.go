package benchmarks_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// A browser sends one request after the other to a handler, and keeps the
// cookie. It is the request's ResponseWriter, too, so that the cost of a
// recorder isn't measured.
type browser struct {
	connection context.Context
	request    *http.Request
	header     http.Header
	status     int
	body       []byte
}

func newBrowser() *browser {
	return &browser{
		connection: context.Background(),
		request:    httptest.NewRequest(http.MethodGet, "/", nil),
		header:     http.Header{},
	}
}

func (b *browser) Header() http.Header { return b.header }

func (b *browser) WriteHeader(status int) { b.status = status }

func (b *browser) Write(p []byte) (int, error) {
	b.body = append(b.body, p...)
	return len(p), nil
}

// do sends a request whose context can be cancelled, as those of a server can,
// and returns the body of the response if its status is 200.
func (b *browser) do(h http.Handler) string {
	clear(b.header)
	b.status, b.body = http.StatusOK, b.body[:0]
	ctx, cancel := context.WithCancel(b.connection)
	defer cancel()
	h.ServeHTTP(b, b.request.WithContext(ctx))
	for _, cookie := range b.header["Set-Cookie"] {
		pair, _, _ := strings.Cut(cookie, ";")
		b.request.Header["Cookie"] = []string{pair}
	}
	if b.status != http.StatusOK {
		return http.StatusText(b.status)
	}
	return string(b.body)
}

// forget drops the cookie: the next request is that of a new visitor.
func (b *browser) forget() { delete(b.request.Header, "Cookie") }

// An action is a kind of request.
type action string

const (
	read      action = "read"      // answers with a value of the session, the number 1
	touch     action = "touch"     // does the same, and the session's activity is written
	increment action = "increment" // adds 1 to the value, and answers with the result
	create    action = "create"    // begins a session in which somebody is logged in, with three values
)

// actions are in the order in which they are measured: create leaves sessions
// behind, which would slow down the others.
func actions() []action { return []action{read, touch, increment, create} }

// isRight reports whether body answers an action.
func (a action) isRight(body string) bool {
	switch a {
	case create:
		return body == "welcome"
	case increment:
		return isNumber(body)
	default:
		return body == "1"
	}
}

func isNumber(body string) bool {
	return body != "" && strings.Trim(body, "0123456789") == ""
}

// measure sends b.N requests from so many clients at once, each a visitor with
// a session of its own.
func measure(b *testing.B, a *app, act action, clients int) {
	browsers := make([]*browser, clients)
	for i := range browsers {
		browsers[i] = newBrowser()
		if h := a.on[create]; h != nil {
			require.Equal(b, "welcome", browsers[i].do(h))
		}
	}
	h := a.on[act]
	request := func(client *browser) {
		if act == create {
			client.forget()
		}
		if body := client.do(h); !act.isRight(body) {
			b.Errorf("%s: unexpected answer %q", a.peer, body)
		}
	}
	send(b, browsers, warmUp*clients, request) // makes the connections
	b.ReportAllocs()
	if clients == 1 {
		for b.Loop() {
			request(browsers[0])
		}
		return
	}
	b.ResetTimer()
	send(b, browsers, b.N, request)
}

const warmUp = 10 // requests of each client

// send sends so many requests, from all clients at once.
func send(b *testing.B, clients []*browser, requests int, request func(*browser)) {
	var sent atomic.Int64
	var running sync.WaitGroup
	for _, client := range clients {
		running.Go(func() {
			for sent.Add(1) <= int64(requests) && !b.Failed() {
				request(client)
			}
		})
	}
	running.Wait()
}
