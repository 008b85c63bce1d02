package middleware

import (
	"context"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// An Observer measures what happens to sessions, for metrics. Its methods are
// called while a request, or a call that ends sessions, waits for them. So they
// must be quick, and safe for concurrent use.
type Observer interface {
	// Event is told what [Config].OnEvent is told, after it.
	Event(ctx context.Context, e Event)

	// Operation is told of each call of a carrier that has returned. ctx is that
	// of the call: it may have ended, and has the values of the request's context.
	Operation(ctx context.Context, o Operation)
}

// An Operation is one call of a [Carrier]. It holds nothing that belongs to a
// session.
type Operation struct {
	// Name is the method that was called: "open" (Open or Reopen), "issue",
	// "save", "retire", "forget" or "end". If the visitor has a session already, a
	// login, a renewal or a move is one issue and one retire.
	Name string

	// Form is "stateless" for a carrier whose credentials are the session, such as
	// token.Carrier, and "opaque" for one that saves in place.
	Form string

	// Took is the time that the call took, by the monotonic clock.
	Took time.Duration

	// Conflicts is how often another request was faster in this call, so that the
	// change had to start again from a newer record.
	Conflicts int

	// Err is what the call returned; [session.ReasonOf] gives its reason. A
	// credential that opens nothing is an error here, too.
	Err error
}

// observed returns c so that its Observer, if there is one, is told of all
// events and operations. Without one, nothing is measured and nothing costs.
func (c Config) observed() Config {
	if c.Observer == nil {
		return c
	}
	onEvent, observer := c.OnEvent, c.Observer
	c.OnEvent = func(ctx context.Context, e Event) {
		onEvent(ctx, e)
		observer.Event(ctx, e)
	}
	c.Carrier = observe(c.Carrier, observer)
	if c.Overflow != nil {
		c.Overflow = observe(c.Overflow, observer)
	}
	for i := range c.Accept {
		c.Accept[i] = observe(c.Accept[i], observer)
	}
	return c
}

// An observedCarrier is a carrier that tells an observer of each call.
type observedCarrier struct {
	Carrier
	form     string
	observer Observer
}

func observe(c Carrier, by Observer) Carrier {
	form := "stateless"
	if c.InPlace() {
		form = "opaque"
	}
	return &observedCarrier{c, form, by}
}

// tell tells the observer of a call that has just returned.
func (c *observedCarrier) tell(ctx context.Context, name string, began time.Time, restarts int, err error) {
	o := Operation{Name: name, Form: c.form, Took: time.Since(began), Conflicts: restarts, Err: err}
	if session.ReasonOf(err) == session.Conflict {
		o.Conflicts++
	}
	c.observer.Operation(ctx, o)
}

// Open implements Carrier.
func (c *observedCarrier) Open(ctx context.Context, credential string) (*session.Record, string, error) {
	began := time.Now()
	rec, current, err := c.Carrier.Open(ctx, credential)
	c.tell(ctx, "open", began, 0, err)
	return rec, current, err
}

// Reopen implements Carrier.
func (c *observedCarrier) Reopen(
	ctx context.Context, credential string, known *session.Record,
) (*session.Record, string, error) {
	began := time.Now()
	rec, current, err := c.Carrier.Reopen(ctx, credential, known)
	c.tell(ctx, "open", began, 0, err)
	return rec, current, err
}

// Issue implements Carrier.
func (c *observedCarrier) Issue(ctx context.Context, rec *session.Record, replaces string) (string, error) {
	began := time.Now()
	credential, err := c.Carrier.Issue(ctx, rec, replaces)
	c.tell(ctx, "issue", began, 0, err)
	return credential, err
}

// Save implements Carrier. A carrier applies the changes once more whenever
// another request was faster.
func (c *observedCarrier) Save(
	ctx context.Context, credential string, base *session.Record, changes *session.Changes,
) (*session.Record, string, error) {
	began, before := time.Now(), changes.Applied()
	rec, current, err := c.Carrier.Save(ctx, credential, base, changes)
	c.tell(ctx, "save", began, max(0, changes.Applied()-before-1), err)
	return rec, current, err
}

// Retire implements Carrier.
func (c *observedCarrier) Retire(
	ctx context.Context, credential string, base *session.Record, successor string, grace time.Duration,
) (string, error) {
	began := time.Now()
	hold, err := c.Carrier.Retire(ctx, credential, base, successor, grace)
	c.tell(ctx, "retire", began, 0, err)
	return hold, err
}

// Forget implements Carrier.
func (c *observedCarrier) Forget(ctx context.Context, credential string) error {
	began := time.Now()
	err := c.Carrier.Forget(ctx, credential)
	c.tell(ctx, "forget", began, 0, err)
	return err
}

// End implements Carrier.
func (c *observedCarrier) End(ctx context.Context, credential string, rec *session.Record) error {
	began := time.Now()
	err := c.Carrier.End(ctx, credential, rec)
	c.tell(ctx, "end", began, 0, err)
	return err
}
