package devices

import (
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// DefaultLimit is how many sessions a subject has at most if Config.Limit is
// nil.
const DefaultLimit = 100

// Config configures a [Registry].
type Config struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Index keeps the entries. Required. It must outlive the sessions: in a
	// [Memory], stateless sessions would be missing after a restart.
	Index Index

	// Store keeps the sessions that are not stateless. nil means that all are.
	Store Store

	// Revocations knows the sessions that ended early, and ends them. Required.
	Revocations Revocations

	// Secrets encrypt what an entry says of a device: the first one encrypts, all
	// decrypt, as in opaque.CarrierConfig. Required unless Index is a [Memory].
	Secrets [][]byte

	// Lifetime is the longest lifetime that any session has: the entry of a
	// session is kept that long after its login, unless it is found to be over
	// earlier. Required.
	Lifetime time.Duration

	// Limit returns how many sessions a subject may have at once, from 1 to
	// MaxEntries. If nil, [DefaultLimit]. It gets subjects that clients have
	// proved to be, but is called in each login, so it must be quick.
	Limit func(subject string) int

	// RefuseNew says what happens to a login beyond the limit: it fails with
	// [session.TooMany]. Otherwise the session whose last activity is the oldest
	// ends, as far as activity is recorded: see [Registry.List].
	RefuseNew bool

	// Client returns what a list is to show of the device that logs in. It may be
	// a user agent and an address; behind a proxy only the application knows
	// whose address that is. They are cut to 200 and 64 bytes of ASCII. If nil,
	// neither is kept.
	Client func(*http.Request) (userAgent, address string)

	// OnEnd is called after each End, also of a login beyond the limit, with the
	// error that End returns. If err is not nil, the session may go on. OnEnd is
	// not called with session.NotFound, nor when the session of ctx itself has
	// ended, which the middleware reports. May be nil.
	OnEnd func(ctx context.Context, subject, id string, err error)

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// A Store has the items of sessions. The stores of package opaque and its
// modules are Stores, except Memcached.
type Store interface {
	// Headers returns the items under keys, in this order, without Data. An item
	// that is absent is the zero Item.
	Headers(ctx context.Context, keys []string) ([]opaque.Item, error)

	// Delete is that of opaque.Store.
	Delete(ctx context.Context, key string) error
}

// Revocations is what a Registry needs of a revocation list. *revocation.List
// has these methods.
type Revocations interface {
	// Check returns an error that wraps session.Ended if rec has ended.
	Check(rec *session.Record) error
	// EndSession ends rec's session, in each form.
	EndSession(ctx context.Context, rec *session.Record) error
}

// A Registry keeps which sessions each subject has. Its methods may be called
// concurrently. Make one with [New].
type Registry struct {
	c     Config
	boxes []cipher.AEAD // of the details, the newest first; none for a Memory

	seen    chan activity
	working sync.WaitGroup
	stop    context.CancelFunc
}

// New checks c and returns a Registry. It reports every mistake at once. Close
// the Registry when the server has shut down.
func New(c Config) (*Registry, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Limit == nil {
		c.Limit = func(string) int { return DefaultLimit }
	}
	r := &Registry{c: c, boxes: newBoxes(c.Secrets), seen: make(chan activity, maxWaiting)}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.working.Go(func() { r.work(ctx) })
	return r, nil
}

func (c Config) validate() error {
	_, inMemory := c.Index.(*Memory)
	bad := fault.In("devices: Config")
	bad.If(c.Index == nil, "Index", "is required: NewMemory makes one for a single process")
	bad.If(c.Revocations == nil, "Revocations", "is required: only it ends sessions in tokens")
	bad.If(c.Index != nil && !inMemory && len(c.Secrets) == 0, "Secrets",
		"is required: without a secret, a copy of the index would show devices and addresses")
	for i, secret := range c.Secrets {
		bad.If(len(secret) < minSecret, "Secrets", "has %d bytes at index %d: use %d random ones", len(secret), i, minSecret)
	}
	bad.If(c.Lifetime <= 0, "Lifetime", "is %v: give the longest lifetime that a session has", c.Lifetime)
	return bad.Err()
}

// Close stops the goroutine of the Registry and waits for it. Calls of Seen do
// nothing from then on.
func (r *Registry) Close() error {
	r.stop()
	r.working.Wait()
	return nil
}

// A Session is a session of a subject, as a list shows it.
type Session struct {
	ID         string    // session.Session.ID; may be shown and logged
	CreatedAt  time.Time // when the session began
	LoggedInAt time.Time // when the subject logged in; a renewal does not change it
	SeenAt     time.Time // the last activity that was recorded: see List
	Remembered bool      // the session outlives the browser
	Current    bool      // it is the session of the context
	UserAgent  string    // as Config.Client returned it at the login or the last renewal; "" if unknown
	Address    string    // the same
}

// List returns the sessions of subject, the one with the newest activity first.
// ctx is the context of the visitor's request, or another one: it decides which
// session is Current.
//
// SeenAt is up to session.Policy.TouchEvery behind, and that of a stateless
// session up to half an idle timeout. A stateless session that nobody uses is
// listed for up to half an idle timeout after it is over. List also removes the
// entries that it finds to be over.
func (r *Registry) List(ctx context.Context, subject string) ([]Session, error) {
	alive, _, err := r.alive(ctx, subject)
	if err != nil {
		return nil, err
	}
	current, list := session.From(ctx).ID(), make([]Session, 0, len(alive))
	for _, e := range alive {
		s := Session{ID: e.ID, SeenAt: e.SeenAt, Current: e.ID == current}
		r.open(subject, e).show(&s)
		list = append(list, s)
	}
	return list, nil
}

// End ends the session of subject with this ID, in each form, on all instances.
// If it is the session of ctx, it ends as after [session.Session.Destroy]. The
// error wraps [session.NotFound] if subject has no such session, whoever else
// has one. After another error the session may go on, or may have ended only on
// this instance; End can be repeated.
func (r *Registry) End(ctx context.Context, subject, id string) error {
	here := session.From(ctx)
	isHere := id != "" && here.ID() == id && here.Subject() == subject
	err := r.end(ctx, subject, id, r.finish)
	if err == nil && isHere && here.Destroy() == nil {
		return here.Save(ctx) // the middleware reports it
	}
	r.tell(ctx, subject, id, err)
	return err
}

func (r *Registry) tell(ctx context.Context, subject, id string, err error) {
	if r.c.OnEnd != nil && session.ReasonOf(err) != session.NotFound {
		r.c.OnEnd(ctx, subject, id, err)
	}
}

// end marks the session, and lets remove do the rest.
func (r *Registry) end(
	ctx context.Context, subject, id string, remove func(context.Context, string, Entry) error,
) error {
	if id == "" {
		return notFound()
	}
	marked, err := r.c.Index.Mark(ctx, hashOf(subject), id, time.Time{})
	switch {
	case err != nil:
		return failed("end a session", err)
	case len(marked) == 0:
		return notFound()
	}
	return remove(ctx, subject, marked[0])
}

func notFound() error {
	return fmt.Errorf("devices: the subject has no session with this ID: %w", session.NotFound)
}

// EndUntil ends all sessions of subject that count from until or earlier, in
// the store; see session.Record.CountsFrom. A revocation list calls it, which
// ends the tokens. A login that is under way fails with [session.Ended] if it
// counts from until or earlier.
func (r *Registry) EndUntil(ctx context.Context, subject string, until time.Time) error {
	marked, err := r.c.Index.Mark(ctx, hashOf(subject), "", until)
	if err != nil {
		return failed("end the sessions of a subject", err)
	}
	return r.removeAll(marked, func(e Entry) error { return r.drop(ctx, subject, e) })
}

// atOnce is how many entries are removed at once: each takes two round trips or
// more.
const atOnce = 16

// removeAll calls remove for several entries, some at a time.
func (r *Registry) removeAll(entries []Entry, remove func(Entry) error) error {
	var errs []error
	for some := range slices.Chunk(entries, atOnce) {
		failures := make([]error, len(some))
		var all sync.WaitGroup
		for i, e := range some {
			all.Go(func() { failures[i] = remove(e) })
		}
		all.Wait()
		errs = append(errs, failures...)
	}
	return errors.Join(errs...)
}

// finish ends a session that is marked in each form, and then removes its
// entry. In the other order, a failure in between would leave a session that
// nobody finds again.
func (r *Registry) finish(ctx context.Context, subject string, e Entry) error {
	err := errors.Join(r.deleteItems(ctx, e), r.c.Revocations.EndSession(ctx, r.record(subject, e)))
	if err != nil {
		return err
	}
	return failed("end a session", r.c.Index.Leave(ctx, hashOf(subject), e.ID, e.Keys...))
}

// drop is finish for a session that the revocation list refuses, or is going to
// refuse, in any case.
func (r *Registry) drop(ctx context.Context, subject string, e Entry) error {
	if err := r.deleteItems(ctx, e); err != nil {
		return err
	}
	// Only these keys: a session that EndOthers keeps may have entered another.
	return failed("end a session", r.c.Index.Leave(ctx, hashOf(subject), e.ID, e.Keys...))
}

func (r *Registry) deleteItems(ctx context.Context, e Entry) error {
	if r.c.Store == nil {
		return nil
	}
	var errs []error
	for _, key := range e.Keys {
		if !isToken(key) {
			errs = append(errs, failed("end a session", r.c.Store.Delete(ctx, key)))
		}
	}
	return errors.Join(errs...)
}

// record returns what a revocation list needs to know of the session of e.
func (r *Registry) record(subject string, e Entry) *session.Record {
	return &session.Record{
		ID: e.ID, Subject: subject, Since: e.CountsFrom, SeenAt: e.SeenAt, IdleDeadline: e.Until, Deadline: e.Until,
		Generation: anyGeneration,
	}
}

// anyGeneration is the highest generation that a renewal can begin. So the list
// refuses a record with it for the end of its session, its subject or a tag,
// and not for a renewal. In an end it says that no login counts from later: the
// entry would have that.
const anyGeneration = 1<<30 - 2

// hashOf returns the name of a subject in an [Index].
func hashOf(subject string) string {
	sum := sha256.Sum256([]byte("cloakroom subject\x00" + subject))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("devices: can't %s: %w", what, err)
}
