// Package site is what the programs beside it share: the page, the stream and
// the WebSocket of a small application, and how it is configured and served.
// What differs from framework to framework is in the programs themselves.
package site

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	visits   session.Key[int]  = "visits"
	streamed session.Key[bool] = "streamed"
)

// Serve reads the config from CLOAKROOM_ variables, calls routes with the
// middleware, and serves what it returns at the address of the flag -addr.
func Serve(routes func(*middleware.Middleware) http.Handler) {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen at")
	flag.Parse()
	c, err := config.FromEnv(config.Config{}, os.Environ())
	if err != nil {
		log.Fatal(err)
	}
	app, err := c.Build(config.Options{})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, routes(app.Middleware)))
}

// Home counts a visit, and returns the text of the page.
func Home(ctx context.Context) (string, error) {
	s := session.From(ctx)
	n, err := visits.Update(s, func(n int) int { return n + 1 })
	return fmt.Sprintf("subject=%s visits=%d", s.Subject(), n), err
}

// LogIn logs user in; a real application checks a password first.
func LogIn(ctx context.Context, user string) error { return session.From(ctx).Login(user) }

// LogOut ends the session.
func LogOut(ctx context.Context) error { return session.From(ctx).Destroy() }

// Mark is a change that a stream makes before its first byte.
func Mark(ctx context.Context) error { return streamed.Set(session.From(ctx), true) }

// Next waits a moment, and returns the next text for a stream. It fails when
// the session has ended, which ends the stream: Save without changes checks
// that the session still lives.
func Next(ctx context.Context) (string, error) {
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-time.After(20 * time.Millisecond):
	}
	return Answer(ctx)
}

// Answer returns what a stream or a WebSocket says next. It fails when the
// session has ended.
func Answer(ctx context.Context) (string, error) {
	s := session.From(ctx)
	if err := s.Save(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("subject=%s streamed=%t", s.Subject(), streamed.Get(s)), nil
}
