package memcachestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// An outcome is what a call of a Store returns.
type outcome struct {
	item opaque.Item
	ok   bool
	err  error
}

// await calls f in a goroutine, because the client knows no context, and
// returns when f has ended or ctx is done. In the second case f goes on for at
// most a few times the Timeout, and its outcome is lost.
func (s *Store) await(ctx context.Context, f func() outcome) outcome {
	if err := ctx.Err(); err != nil {
		return outcome{err: failure(notDone{err})}
	}
	if !s.begin() {
		return outcome{err: fmt.Errorf("memcachestore: the store is closed: %w", opaque.ErrNotDone)}
	}
	ended := make(chan outcome, 1)
	go func() {
		defer s.running.Done()
		ended <- s.explain(f())
	}()
	select {
	case got := <-ended:
		return got
	case <-ctx.Done():
		return s.explain(outcome{err: ctx.Err()})
	}
}

func (s *Store) begin() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.open {
		s.running.Add(1)
	}
	return s.open
}

// explain gives an error of the client the form of ours. When a connection was
// broken or gave no answer in time, the idle ones are closed as well: they lead
// to the same server, and each could fail one more request.
func (s *Store) explain(got outcome) outcome {
	if got.err == nil {
		return got
	}
	if isNetwork(got.err) {
		_ = s.client.Close()
	}
	return outcome{err: failure(got.err)}
}

var errWrongAnswer = errors.New("the answer of the server does not belong to the question: " +
	"let only this store write under its prefix")

// A notDone is an error before which no write was sent.
type notDone struct{ error }

func (e notDone) Unwrap() error { return e.error }

// failure returns err with its reason. It never repeats what the server has
// sent, because that could be data.
func failure(err error) error {
	reason := error(session.Unavailable)
	if isUnsent(err) {
		reason = opaque.ErrNotDone
	}
	switch text := err.Error(); {
	case errors.Is(err, session.Conflict):
		return err
	case isNetwork(err), errors.Is(err, context.Canceled):
		return fmt.Errorf("memcachestore: %w: %w", err, reason)
	case strings.Contains(text, "SERVER_ERROR object too large for cache"):
		return fmt.Errorf("memcachestore: the item is too large for the server: keep less, or start the server with "+
			"a larger -I: %w", session.TooLarge)
	case strings.Contains(text, "SERVER_ERROR out of memory"):
		return fmt.Errorf("memcachestore: the server is full: give it more memory (-m): %w", opaque.ErrNotDone)
	case errors.Is(err, memcache.ErrMalformedKey):
		return fmt.Errorf("memcachestore: the key is not one that Memcached takes: %w", opaque.ErrNotDone)
	}
	return fmt.Errorf("memcachestore: %w: %w", errWrongAnswer, reason)
}

// isUnsent reports whether no write was sent: the call had not come to it, or
// there was no connection.
func isUnsent(err error) bool {
	var timeout *memcache.ConnectTimeoutError
	var dial *net.OpError
	return errors.As(err, new(notDone)) || errors.As(err, &timeout) || errors.As(err, &dial) && dial.Op == "dial"
}

// isNetwork reports whether err is about the connection, and not an answer. A
// deadline of the context is one of those.
func isNetwork(err error) bool {
	var timeout *memcache.ConnectTimeoutError
	return errors.As(err, &timeout) || isBroken(err) || isTimeout(err)
}

// isBroken reports whether the connection has ended, or there never was one.
func isBroken(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &network) && !network.Timeout()
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}
