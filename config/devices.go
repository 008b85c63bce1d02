package config

import (
	"context"
	"errors"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// makeDevices makes the registry of the sessions of each subject.
func (b *builder) makeDevices() {
	if !b.Devices.Enabled {
		if b.o.Client != nil || b.o.SessionLimit != nil {
			b.fail("devices.enabled", errors.New("is not set, so Options.Client and Options.SessionLimit have no effect"))
		}
		return
	}
	index, store, err := b.index()
	if err != nil {
		b.fail("devices.enabled", err)
		return
	}
	limit := b.o.SessionLimit
	if n := b.Devices.Limit; limit == nil && n > 0 {
		limit = func(string) int { return n }
	} else if n != 0 && limit != nil {
		b.fail("devices.limit", errors.New("has no effect, since the application passes in Options.SessionLimit; "+
			"leave one of them out"))
	}
	secrets, ok := b.storeSecrets()
	if !ok {
		return
	}
	life := b.life.WithDefaults()
	r, err := devices.New(devices.Config{
		Index:       index,
		Store:       store,
		Revocations: b.app.Revocations,
		Secrets:     secrets,
		Lifetime:    max(life.Lifetime, life.RememberedLifetime),
		Limit:       limit,
		RefuseNew:   b.Devices.RefuseNew,
		Client:      b.o.Client,
		OnEnd:       b.ended,
		Now:         b.o.Now,
	})
	if err != nil {
		b.fail("devices", err)
		return
	}
	b.app.Devices = r
	b.closers = append(b.closers, r.Close)
}

// index returns what keeps the entries, and the store that they are about: nil
// if no session is kept in one.
func (b *builder) index() (devices.Index, devices.Store, error) {
	memory, isMemory := b.app.Store.(*opaque.MemoryStore)
	switch {
	case b.app.Store == nil:
		return devices.NewMemory(b.o.Now), nil, nil
	case isMemory:
		return devices.NewMemory(b.o.Now), memory, nil
	}
	index, ok := b.app.Store.(devices.Index)
	store, alsoOK := b.app.Store.(devices.Store)
	if !ok || !alsoOK {
		return nil, nil, errors.New("needs a store that can list: use Redis, PostgreSQL, MySQL, MariaDB or SQLite, " +
			"or a Store that is a devices.Index and a devices.Store")
	}
	return index, store, nil
}

// registry returns that of the App as an interface that is nil if there is
// none.
func (b *builder) registry() middleware.Registry {
	if b.app.Devices == nil {
		return nil
	}
	return b.app.Devices
}

// endKept returns what a revocation list calls to end the sessions of a
// subject in the store. The list is made before the registry, which needs it.
func (b *builder) endKept() func(context.Context, string, time.Time) error {
	if !b.Devices.Enabled {
		return nil
	}
	return func(ctx context.Context, subject string, until time.Time) error {
		return b.app.Devices.EndUntil(ctx, subject, until)
	}
}

// ended reports that one session of a subject was ended from a list, or by a
// login beyond the limit, or could not be.
func (b *builder) ended(ctx context.Context, subject, id string, err error) {
	e := middleware.Event{Kind: middleware.Ended, Time: b.now(), SessionID: id, Subject: subject, Reason: session.Ended}
	if err != nil {
		e.Kind, e.Reason, e.Err = middleware.Failed, session.ReasonOf(err), err
	}
	b.event(ctx, e)
}
