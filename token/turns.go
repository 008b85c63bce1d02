package token

import (
	"context"
	"fmt"
	"sync"

	"github.com/cloakroom-go/cloakroom/session"
)

// turns lets one request at a time change a session. It costs memory only for
// sessions that are being changed, and a waiting request gives up with its
// context.
type turns struct {
	mu sync.Mutex // guards m
	m  map[string]*turn
}

type turn struct {
	taken   chan struct{} // holds a value while somebody has the turn
	waiting int           // including who has it; guarded by turns.mu
}

// take waits for the turn on a session. The caller must call done.
func (t *turns) take(ctx context.Context, sessionID string) (done func(), err error) {
	t.mu.Lock()
	if t.m == nil {
		t.m = make(map[string]*turn)
	}
	mine := t.m[sessionID]
	if mine == nil {
		mine = &turn{taken: make(chan struct{}, 1)}
		t.m[sessionID] = mine
	}
	mine.waiting++
	t.mu.Unlock()
	select {
	case mine.taken <- struct{}{}:
		return func() { <-mine.taken; t.leave(sessionID, mine) }, nil
	case <-ctx.Done():
		t.leave(sessionID, mine)
		return nil, fmt.Errorf("token: other requests were changing the session until the timeout: %w", session.Unavailable)
	}
}

func (t *turns) leave(sessionID string, mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine.waiting--; mine.waiting == 0 {
		delete(t.m, sessionID)
	}
}
