package opaque

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/session"
)

// Revocations knows the sessions that ended early: all sessions of a subject,
// or this one in its stateless form. *revocation.List has these methods.
type Revocations interface {
	// Check returns an error that wraps session.Ended if rec has ended. It must be
	// quick.
	Check(rec *session.Record) error
	// EndSession ends rec's session, whatever form it has meanwhile.
	EndSession(ctx context.Context, rec *session.Record) error
}

// CarrierConfig configures a [Carrier].
type CarrierConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Store keeps the sessions. Required. Records are encrypted, except in an
	// [InProcessStore]. Those that were decrypted in the last minute or two stay
	// in memory, at most 16 MiB, so that a Store which returns the same bytes
	// again costs no decryption.
	Store Store

	// Secrets keep those who can write to the Store from making sessions: the
	// keys of the records are derived from a secret and the credential. Each is at
	// least 32 random bytes, the same in every process that shares the Store. The
	// first one encrypts, all of them decrypt. To change it without logging
	// anybody out, add the new one as the last to every process, then make it the
	// first in every process, and leave the old one out when the sessions from
	// before have ended. Required, except with an [InProcessStore].
	Secrets [][]byte

	// Revocations, if set, is asked about each session. Without it, sessions that
	// may also be stateless can't be ended, nor all sessions of a subject. What
	// it says has ended is ended in the store, too, once a client comes with it.
	Revocations Revocations

	// MaxBytes is how large a session may be when encoded. 0 means 1 MiB.
	MaxBytes int

	// Now is the clock. It decides how long the old credential of a session that
	// was renewed or has moved is remembered. If nil, time.Now.
	Now func() time.Time
}

// A Carrier keeps sessions behind opaque credentials. It implements
// middleware.Carrier, which describes its methods. They may be called
// concurrently. Make one with [NewCarrier].
type Carrier struct {
	c       CarrierConfig
	sealed  bool     // records are encrypted
	secrets [][]byte // at least one, the newest first
	opened  opened   // records that were decrypted
}

// NewCarrier checks c and returns a Carrier.
func NewCarrier(c CarrierConfig) (*Carrier, error) {
	sealed := !isInProcess(c.Store)
	bad := fault.In("opaque: CarrierConfig")
	bad.If(c.Store == nil, "Store", "is required: NewMemoryStore makes one")
	bad.If(c.Store != nil && sealed && len(c.Secrets) == 0, "Secrets",
		"is required: without a secret, whoever can write to the Store can make a session for anybody")
	for i, secret := range c.Secrets {
		bad.If(len(secret) < minSecret, "Secrets", "has %d bytes at index %d: use %d random ones", len(secret), i, minSecret)
	}
	bad.If(c.MaxBytes < 0, "MaxBytes", "is %d: must not be negative", c.MaxBytes)
	if err := bad.Err(); err != nil {
		return nil, err
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Carrier{c: c, sealed: sealed, secrets: copied(c.Secrets), opened: newOpened()}, nil
}

// Recognizes implements middleware.Carrier.
func (c *Carrier) Recognizes(credential string) bool {
	return wellFormed(credential) || c.isTicket(credential)
}

// InPlace implements middleware.Carrier: a session that changes keeps its
// credential.
func (c *Carrier) InPlace() bool { return true }

// Key implements middleware.Carrier. A ticket has that of the renewed session.
func (c *Carrier) Key(credential string) string {
	if c.isTicket(credential) {
		t, err := c.openTicket(credential)
		if err != nil {
			return ""
		}
		credential = t.successor
	}
	return storeKey(credential)
}

// MaxLength implements middleware.Carrier.
func (c *Carrier) MaxLength() int { return ticketBytes }

// Open implements middleware.Carrier.
func (c *Carrier) Open(ctx context.Context, credential string) (*session.Record, string, error) {
	if c.isTicket(credential) {
		t, err := c.openTicket(credential)
		if err != nil {
			return nil, "", err
		}
		if credential, err = c.redeem(ctx, t); err != nil {
			return nil, "", err
		}
		if !wellFormed(credential) {
			return nil, credential, nil // the session went on in a token
		}
	}
	found, err := c.get(ctx, credential)
	if err != nil {
		if isRefused(err) && session.ReasonOf(err) == session.Ended && !errors.As(err, new(*session.SupersededError)) {
			_ = c.endStored(ctx, credential) // other instances may not know; the next request tries again
		}
		return nil, "", err
	}
	return c.outcome(ctx, credential, found)
}

// Peek implements middleware.Carrier. It redeems no ticket, and what the
// revocation list refuses stays in the store.
func (c *Carrier) Peek(ctx context.Context, credential string) (*session.Record, string, error) {
	if c.isTicket(credential) {
		t, err := c.openTicket(credential)
		if err != nil {
			return nil, "", err
		}
		if credential, _, err = c.settlement(ctx, t); err != nil {
			return nil, "", err
		}
		if !wellFormed(credential) {
			return nil, credential, nil
		}
	}
	found, err := c.get(ctx, credential)
	if err != nil {
		return nil, "", err
	}
	return c.outcome(ctx, credential, found)
}

// outcome returns what Open does for a credential under which something is
// kept.
func (c *Carrier) outcome(ctx context.Context, credential string, found found) (*session.Record, string, error) {
	switch {
	case found.rec != nil:
		return found.rec, credential, nil
	case found.moved && c.c.Now().Before(found.at):
		return nil, found.successor, nil
	}
	return nil, "", c.superseded(ctx, found)
}

// maxFollowed is how many renewals Open follows to find out whether a session
// still lives. Without a bound, the first credential of a long chain would cost
// a look-up for each renewal.
const maxFollowed = 4

// superseded returns the error for a credential that no longer opens its
// session: that the session goes on under another one, or why it ended.
func (c *Carrier) superseded(ctx context.Context, old found) error {
	next := old
	for range maxFollowed {
		if next.rec != nil || !wellFormed(next.successor) {
			break
		}
		var err error
		if next, err = c.get(ctx, next.successor); err != nil {
			return err
		}
	}
	var renewed session.SupersededError
	if !old.moved {
		renewed.At = old.at
	}
	return fmt.Errorf("opaque: the session was renewed, or moved some time ago: %w", &renewed)
}

// Reopen implements middleware.Carrier. It reads the store again: only what the
// store has now counts.
func (c *Carrier) Reopen(
	ctx context.Context, credential string, _ *session.Record,
) (*session.Record, string, error) {
	return c.Open(ctx, credential)
}

// Issue implements middleware.Carrier. It tells the store which item the new
// one will replace.
func (c *Carrier) Issue(ctx context.Context, rec *session.Record, replaces string) (string, error) {
	credential := newCredential()
	key := storeKey(credential)
	item, err := c.item(credential, key, rec)
	if err != nil {
		return "", err
	}
	if replaces != "" {
		item.Instead = storeKey(replaces)
	}
	if _, err := c.write(ctx, key, 0, item); err != nil {
		return "", unavailable("create a session", err)
	}
	return credential, nil
}

// Save implements middleware.Carrier. It first applies the changes to base,
// which costs no look-up. If another request was faster, it applies them to
// what is stored now.
func (c *Carrier) Save(
	ctx context.Context, credential string, base *session.Record, changes *session.Changes,
) (*session.Record, string, error) {
	credential, err := c.settled(ctx, credential)
	if err != nil {
		return nil, "", err
	}
	key := storeKey(credential)
	for {
		if err := c.check(base); err != nil {
			return nil, "", err
		}
		next, err := changes.Apply(base)
		if err != nil {
			return nil, "", err
		}
		ok, err := c.put(ctx, credential, key, base, next, changes.TouchOnly())
		if err != nil {
			return nil, "", err
		}
		if ok {
			return next, credential, nil
		}
		found, err := c.get(ctx, credential)
		if err != nil {
			return nil, "", err
		}
		if found.rec == nil {
			return nil, "", fmt.Errorf("opaque: the session goes on under another credential: %w", session.Conflict)
		}
		if changes.TouchOnly() {
			return found.rec, credential, nil // another request has just recorded activity
		}
		if found.rec.Version == base.Version {
			return nil, "", expiredInStore()
		}
		base = found.rec
	}
}

// put writes next if the stored item is still at base's version.
func (c *Carrier) put(
	ctx context.Context, credential, key string, base, next *session.Record, touchOnly bool,
) (bool, error) {
	if touchOnly {
		ok, err := c.c.Store.Touch(ctx, key, next.SeenAt, next.IdleDeadline)
		return ok, unavailable("record activity", err)
	}
	item, err := c.item(credential, key, next)
	if err != nil {
		return false, err
	}
	ok, err := c.write(ctx, key, base.Version, item)
	return ok, unavailable("save a session", err)
}

// Retire implements middleware.Carrier. It replaces the session with a marker
// that holds the successor's credential. With grace, requests follow it as long
// as the old session could have lived; logouts that began earlier always do. If
// it can't find out whether the store did that, the client gets a ticket for a
// renewal, and the next request finishes it, or finds that a renewal to a token
// has not happened and undoes it; after a move, the old credential leads to the
// new one if the store did it.
func (c *Carrier) Retire(
	ctx context.Context, credential string, base *session.Record, successor string, grace time.Duration,
) (hold string, err error) {
	if err := c.check(base); err != nil {
		return "", err
	}
	if credential, err = c.settled(ctx, credential); err != nil {
		return "", err
	}
	marker := c.marker(credential, base, found{successor: successor, moved: grace > 0})
	switch ok, err := c.write(ctx, storeKey(credential), base.Version, marker); {
	case err != nil && c.sealed && grace == 0 && !isAnswer(err):
		return c.newTicket(successor, credential, base.Version), unavailable("retire a credential", err)
	case err != nil:
		return "", unavailable("retire a credential", err)
	case !ok:
		return "", c.notRetired(ctx, credential, base)
	}
	return "", nil
}

// notRetired finds out why the store refused to retire a credential. The swap
// may have used up the time of ctx.
func (c *Carrier) notRetired(ctx context.Context, credential string, base *session.Record) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookAgain)
	defer cancel()
	now, err := c.get(ctx, credential)
	switch {
	case err != nil:
		return err
	case now.rec != nil && now.rec.Version == base.Version:
		return expiredInStore()
	}
	return fmt.Errorf("opaque: another request was faster: %w", session.Conflict)
}

// Forget implements middleware.Carrier.
func (c *Carrier) Forget(ctx context.Context, credential string) error {
	var errs []error
	for _, credential := range c.forms(credential) {
		errs = append(errs, c.delete(ctx, storeKey(credential)))
	}
	return unavailable("forget a credential", errors.Join(errs...))
}

// End implements middleware.Carrier. It ends the session in the store and in
// the revocation list, even if one of them fails: the session may be in
// stateless form already, or a request may be moving it there, and only the
// list ends that form.
func (c *Carrier) End(ctx context.Context, credential string, rec *session.Record) error {
	var err error
	for _, credential := range c.forms(credential) {
		err = errors.Join(err, c.endStored(ctx, credential))
	}
	if c.c.Revocations == nil {
		return err
	}
	return errors.Join(err, c.c.Revocations.EndSession(ctx, rec))
}

// endStored ends the session in the store. If another request has renewed or
// moved it meanwhile, endStored follows it there. It first swaps the item for a
// tombstone, so that no save can happen between the look-up and the removal.
func (c *Carrier) endStored(ctx context.Context, credential string) error {
	var refused uint64 // the version at which the store has just refused to swap
	for wellFormed(credential) {
		found, err := c.get(ctx, credential)
		// What the revocation list refuses is in the store, perhaps because an end
		// before this one could not reach that. Other instances have other lists.
		inStore := isRefused(err)
		if reason := session.ReasonOf(err); !inStore && (reason == session.Ended || reason == session.NotFound) {
			return nil
		}
		if err != nil && !inStore {
			return err
		}
		if found.rec == nil {
			credential, refused = found.successor, 0
			continue
		}
		key := storeKey(credential)
		if found.rec.Version == refused { // no other request was faster, so it has expired
			_ = c.delete(ctx, key)
			return nil
		}
		end := c.tombstone(found.rec)
		end.Data = []byte{kindEnded}
		ok, err := c.write(ctx, key, found.rec.Version, end)
		if err != nil {
			return unavailable("end a session", err)
		}
		if ok {
			_ = c.delete(ctx, key) // the session has ended; this only frees memory
			return nil
		}
		refused = found.rec.Version
	}
	return nil
}

// isRefused reports whether err is of the revocation list, about a session that
// the store has.
func isRefused(err error) bool { return errors.As(err, new(*session.RefusedError)) }

// item returns what the store keeps of rec.
func (c *Carrier) item(credential, key string, rec *session.Record) (Item, error) {
	data := make([]byte, 1, 64+len(rec.ID)+len(rec.Subject)+len(rec.Values.Encoded()))
	data[0] = kindPlain
	data = encodeRecord(data, rec)
	if len(data) > c.c.MaxBytes {
		return Item{}, fmt.Errorf("opaque: a session of %d bytes is over CarrierConfig.MaxBytes %d: %w",
			len(data), c.c.MaxBytes, session.TooLarge)
	}
	if c.sealed {
		data = c.seal(credential, key, kindSealed, rec.Version, data[1:])
	}
	return Item{
		Version:      rec.Version,
		SeenAt:       rec.SeenAt,
		IdleDeadline: rec.IdleDeadline,
		Deadline:     rec.Deadline,
		Data:         data,
		Anonymous:    rec.Subject == "",
	}, nil
}

// tombstone returns the item, still without data, that replaces rec's. It lives
// as long as rec could have lived without another request, and a minute more
// for clocks that differ: a request that opened the session with a later idle
// deadline than rec has must still find the tombstone.
func (c *Carrier) tombstone(rec *session.Record) Item {
	idle := rec.IdleDeadline.Sub(rec.SeenAt)
	until := instant.Earliest(c.c.Now().Add(idle+time.Minute), rec.Deadline)
	return Item{Version: rec.Version + 1, SeenAt: rec.SeenAt, IdleDeadline: until, Deadline: until}
}

// marker returns the item that says where the session of credential goes on.
// After a move the old credential leads there for as long as the marker lives:
// a response that carried the new one may have got lost, and a move ends
// nothing.
func (c *Carrier) marker(credential string, base *session.Record, to found) Item {
	it := c.tombstone(base)
	if to.at = c.c.Now(); to.moved {
		to.at = it.Deadline
	}
	it.Data = c.seal(credential, storeKey(credential), kindMarker, it.Version, encodeMarker(to))
	return it
}

func (c *Carrier) check(rec *session.Record) error {
	if c.c.Revocations == nil {
		return nil
	}
	return c.c.Revocations.Check(rec)
}

// Expired wraps f for MemoryConfig.OnExpire. f is called with each session that
// timed out, and not for the markers that renewals and logouts leave behind.
func Expired(f func(rec *session.Record)) func(key string, item Item) {
	return func(_ string, item Item) {
		if len(item.Data) == 0 || item.Data[0] != kindPlain {
			return
		}
		if rec, err := decodeRecord(item.Data[1:], item); err == nil {
			f(rec)
		}
	}
}

// expiredInStore is the error for a swap that the store refused although no
// other request was faster: the store's clock is ahead of ours, and by it the
// session has expired.
func expiredInStore() error {
	return fmt.Errorf("opaque: by the store's clock the session has expired: %w", session.IdleTimeout)
}

// damaged makes a refusal of an item that can't be read: a bit was flipped, or
// the item belongs to another key or version.
func damaged(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", err, session.Forged)
}

// unavailable says what a store could not do. A reason in err is kept; without
// one the store is unavailable.
func unavailable(what string, err error) error {
	if err == nil {
		return nil
	}
	var reason session.Reason
	if errors.As(err, &reason) {
		return fmt.Errorf("opaque: can't %s: %w", what, fault.Inner(err))
	}
	return fmt.Errorf("opaque: can't %s: %w: %w", what, fault.Inner(err), session.Unavailable)
}
