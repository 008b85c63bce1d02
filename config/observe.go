package config

import (
	"context"
	"fmt"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
)

// An Observer turns what an [App] does into metrics.
type Observer interface {
	// Event and Operation are told what happens to sessions.
	middleware.Observer

	// Watch is called once by Config.Build. stats returns the present figures; it
	// may be called at any time, also concurrently. App.Close calls stop before it
	// closes anything.
	Watch(stats func() Stats) (stop func(), err error)
}

// Stats are figures about an [App], all of about the same instant.
type Stats struct {
	// Revocations are those of the list of what has ended.
	Revocations revocation.Stats

	// Keys are the state of the keys: among others how often the key file was read
	// again, and when the next key begins to sign. Without a key file, no key
	// signs, which doesn't matter in mode opaque.
	Keys keys.Health

	// StoredItems and StoredBytes are how many items the store in the memory of
	// this process keeps, and how much memory they take. An item is a session, or
	// for a while the note that one has ended or moved. Both are 0 if the sessions
	// are elsewhere.
	StoredItems int
	StoredBytes int64 // see StoredItems
}

// Stats returns the present figures. It does not ask the store. If the key file
// has been out of reach for long, it may take a second, as [keys.Ring.Health]
// does.
func (a *App) Stats() Stats {
	s := Stats{Revocations: a.Revocations.Stats(), Keys: a.Keys.Health(a.now())}
	if memory, ok := a.Store.(*opaque.MemoryStore); ok {
		s.StoredItems, s.StoredBytes = memory.Len(), memory.Bytes()
	}
	return s
}

// observe lets the observer watch the App, once all of it is made.
func (b *builder) observe() {
	if b.o.Observer == nil || len(b.errs) > 0 {
		return
	}
	stop, err := b.o.Observer.Watch(b.app.Stats)
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("config: Options.Observer can't watch: %w", fault.Inner(err)))
		return
	}
	b.closers = append(b.closers, func() error {
		stop()
		return nil
	})
}

// event reports what is no part of a request.
func (b *builder) event(ctx context.Context, e middleware.Event) {
	b.o.OnEvent(ctx, e)
	if b.o.Observer != nil {
		b.o.Observer.Event(ctx, e)
	}
}
