package apptest

import (
	"context"
	"sync"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// A recorder notes every credential that a carrier makes.
type recorder struct {
	middleware.Carrier
	l *ledger
}

// A ledger knows every credential ever made, and its generation.
type ledger struct {
	mu        sync.Mutex        // guards the rest
	made      map[string]uint64 // by credential: its generation
	ids       map[string]string // by credential: the session's ID
	delivered map[string]bool   // the credentials that a client has seen
}

func (l *ledger) note(credential string, rec *session.Record, err error) {
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made[credential], l.ids[credential] = rec.Generation, rec.ID
}

func newLedger() *ledger {
	return &ledger{made: make(map[string]uint64), ids: make(map[string]string), delivered: make(map[string]bool)}
}

// generation returns the generation of a credential.
func (l *ledger) generation(credential string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made[credential]
}

// session returns the ID of a credential's session.
func (l *ledger) session(credential string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ids[credential]
}

func (l *ledger) deliver(credential string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delivered[credential] = true
}

func (r recorder) Issue(ctx context.Context, rec *session.Record, replaces string) (string, error) {
	credential, err := r.Carrier.Issue(ctx, rec, replaces)
	r.l.note(credential, rec, err)
	return credential, err
}

func (r recorder) Save(ctx context.Context, credential string, base *session.Record,
	changes *session.Changes) (*session.Record, string, error) {
	rec, next, err := r.Carrier.Save(ctx, credential, base, changes)
	r.l.note(next, rec, err)
	return rec, next, err
}
