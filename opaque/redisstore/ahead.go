package redisstore

import (
	"context"

	"github.com/cloakroom-go/cloakroom/revocation"
)

// A pageAhead is the page of the log at a position that no Read has asked for
// yet. It arrives while the list puts the page before it in force: with a
// million entries, both take about as long.
type pageAhead struct {
	pos  string
	done chan struct{} // closed when the rest is known
	page revocation.Reading
	err  error
}

// readAhead begins to read the page after r, if there may be one.
func (s *Store) readAhead(r revocation.Reading) {
	if r.Complete || r.Lost {
		return
	}
	a := &pageAhead{pos: r.Next, done: make(chan struct{})}
	s.log.ahead.Store(a)
	go func() {
		defer close(a.done)
		a.page, a.err = s.readPage(context.Background(), parseMark(a.pos)) // for at most Timeout
	}()
}

// incomplete returns r as it is after a Read that began later than r: more may
// have been appended in between.
func incomplete(r revocation.Reading) revocation.Reading {
	if r.Complete {
		r.Complete, r.Next = false, inside+r.Next
	}
	return r
}

// takeAhead returns the page at pos if it was read ahead.
func (l *logState) takeAhead(ctx context.Context, pos string) (r revocation.Reading, ok bool) {
	a := l.ahead.Load()
	if a == nil || a.pos != pos || !l.ahead.CompareAndSwap(a, nil) {
		return r, false
	}
	select {
	case <-a.done:
		return a.page, a.err == nil
	case <-ctx.Done():
		return r, false
	}
}
