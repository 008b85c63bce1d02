package devices

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// Enter adds a new credential of a session in which somebody is logged in. key
// is the credential's key in the store, or "" if it is a token. was is the
// record that the new one replaces, and replaces is its key; was is nil for a
// new session. A middleware calls Enter after it has made the credential, and
// before it sends it or retires the old one. So an end of all sessions of the
// subject either comes before Enter, which then fails, or finds the entry.
//
// It fails with [session.Ended] if the session, or all of its subject, were
// ended meanwhile, and with [session.TooMany] beyond the limit. Then the new
// credential must be forgotten.
func (r *Registry) Enter(
	ctx context.Context, req *http.Request, rec *session.Record, key string, was *session.Record, replaces string,
) error {
	if rec.Subject == "" {
		return nil
	}
	e := r.entry(rec, key)
	e.Details = r.details(req, rec)
	if was != nil {
		// All sessions of the subject were ended, and this login counts from after
		// that. Its later CountsFrom would keep EndUntil, which may still be on its
		// way, from finding the old credential in the entry.
		if err := r.c.Revocations.Check(was); isEnded(err) && was.Subject == rec.Subject {
			return failed("note a session", err)
		}
		replaces = keyOf(was, replaces)
	}
	limit := min(max(r.c.Limit(rec.Subject), 1), MaxEntries)
	for try := 0; ; try++ {
		err := r.c.Index.Enter(ctx, hashOf(rec.Subject), e, replaces, limit)
		switch {
		case errors.Is(err, session.TooMany):
			err = r.makeRoom(ctx, rec, limit)
		case errors.Is(err, session.Conflict):
			_, _, err = r.alive(ctx, rec.Subject)
		default:
			return failed("note a session", err)
		}
		if err == nil && !pause(ctx, try) {
			err = fmt.Errorf("others kept logging in until the timeout: %w", session.Unavailable)
		}
		if err != nil {
			return failed("note a session", err)
		}
	}
}

// pause lets others finish before try number try is repeated. Many that log in
// at once would otherwise keep each other, and the index, busy. It returns
// false if ctx is done.
func pause(ctx context.Context, try int) bool {
	const step, most = 5 * time.Millisecond, 20
	if try > 0 {
		select {
		case <-time.After(rand.N(step * time.Duration(min(try, most)))):
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// makeRoom removes sessions that are over. If there are none, it ends one that
// probably is, and otherwise the one whose last activity is the oldest.
func (r *Registry) makeRoom(ctx context.Context, rec *session.Record, limit int) error {
	alive, doubtful, err := r.alive(ctx, rec.Subject)
	// Activity of the session itself may have entered it meanwhile. It must not
	// end itself; besides, a Save of the handler is under way, and End would wait
	// for that.
	known := slices.ContainsFunc(alive, func(e Entry) bool { return e.ID == rec.ID })
	switch {
	case err != nil || known || len(alive)+len(doubtful) < limit:
		return err
	case len(doubtful) > 0:
		return r.evict(ctx, rec.Subject, oldest(doubtful).ID)
	case r.c.RefuseNew:
		return fmt.Errorf("the subject has %d sessions, and may have %d: %w", len(alive), limit, session.TooMany)
	}
	return r.evict(ctx, rec.Subject, oldest(alive).ID)
}

// evict is End for a login beyond the limit. If the session is the one that the
// request came with, it goes on under another credential, and this request has
// begun another one.
func (r *Registry) evict(ctx context.Context, subject, id string) error {
	err := r.end(ctx, subject, id, r.evicted)
	if errors.Is(err, session.NotFound) {
		return nil // another login has ended it
	}
	r.tell(ctx, subject, id, err)
	return err
}

// evicted is finish for a session that makes room. If it is only in the store,
// the revocation list doesn't hear of it: otherwise somebody who logs in again
// and again would make the list end all of the subject's older sessions.
func (r *Registry) evicted(ctx context.Context, subject string, e Entry) error {
	if !slices.ContainsFunc(e.Keys, isToken) && r.drop(ctx, subject, e) == nil {
		return nil
	}
	return r.finish(ctx, subject, e)
}

// oldest returns one of the entries whose activity is the oldest: any of them,
// so that logins at once don't all end the same one and then meet again.
func oldest(alive []Entry) Entry {
	last := alive[len(alive)-1].SeenAt
	first := slices.IndexFunc(alive, func(e Entry) bool { return e.SeenAt.Equal(last) })
	return alive[first+rand.IntN(len(alive)-first)]
}

// entry returns the entry of rec under a key, without details.
func (r *Registry) entry(rec *session.Record, key string) Entry {
	e := Entry{
		ID: rec.ID, Keys: []string{keyOf(rec, key)}, CountsFrom: rec.CountsFrom(), SeenAt: rec.SeenAt,
		Until: rec.AuthenticatedAt.Add(r.c.Lifetime + time.Second).Truncate(time.Second),
	}
	e.Until = later(e.Until, rec.Deadline)
	if key == "" {
		e.TokenUntil = rec.IdleDeadline
	}
	return e
}

// keyOf returns key or, if that is "", what stands for the tokens of rec.
func keyOf(rec *session.Record, key string) string { return cmp.Or(key, token+rec.Lineage) }

const token = "~"

func isToken(key string) bool { return strings.HasPrefix(key, token) }

// Forget takes the credential of rec under key out, after Enter: it was
// forgotten. It may fail: what is left is removed when somebody lists the
// sessions.
func (r *Registry) Forget(ctx context.Context, rec *session.Record, key string) error {
	return r.leave(ctx, rec, keyOf(rec, key))
}

// Over takes out a session that is over. It may fail like Forget.
func (r *Registry) Over(ctx context.Context, rec *session.Record) error { return r.leave(ctx, rec) }

func (r *Registry) leave(ctx context.Context, rec *session.Record, keys ...string) error {
	if rec.Subject == "" {
		return nil
	}
	return failed("remove an entry", r.c.Index.Leave(ctx, hashOf(rec.Subject), rec.ID, keys...))
}

// maxWaiting is how many activities wait to be written. Beyond it, they are
// dropped.
const maxWaiting = 4096

// touchTimeout bounds the write of one.
const touchTimeout = 5 * time.Second

// An activity is that of one session.
type activity struct {
	rec *session.Record
	key string
}

// Seen notes activity in a session. was is its record before the activity, and
// is the record after it; key is that of Enter. A goroutine writes this to the
// index, at most once in half an idle timeout. If the index has no entry for
// the session, which may be older than the index, the goroutine adds one. A
// single lost write does no harm. After several in a row, a list may lack a
// stateless session until its next activity is written.
func (r *Registry) Seen(was, is *session.Record, key string) {
	every := int64(is.IdleDeadline.Sub(is.SeenAt)/time.Second) / 2
	if is.Subject == "" || every > 0 && was.SeenAt.Unix()/every == is.SeenAt.Unix()/every {
		return
	}
	select {
	case r.seen <- activity{is, key}:
	default:
	}
}

func (r *Registry) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-r.seen:
			r.touch(ctx, a.rec, a.key)
		}
	}
}

func (r *Registry) touch(ctx context.Context, rec *session.Record, key string) {
	ctx, cancel := context.WithTimeout(ctx, touchTimeout)
	defer cancel()
	e := r.entry(rec, key)
	ok, err := r.c.Index.Extend(ctx, hashOf(rec.Subject), e.ID, e.SeenAt, e.TokenUntil)
	if ok || err != nil || !r.isCurrent(ctx, rec, key) {
		return
	}
	e.Details = r.details(nil, rec)
	_ = r.c.Index.Enter(ctx, hashOf(rec.Subject), e, "", MaxEntries)
}

// isCurrent reports whether the session is still kept as rec under this key, as
// far as that is known here. It may have ended meanwhile, or somebody else has
// logged in: then a new entry would show a session that the subject doesn't
// have.
func (r *Registry) isCurrent(ctx context.Context, rec *session.Record, key string) bool {
	if r.c.Revocations.Check(rec) != nil {
		return false
	}
	if key == "" || r.c.Store == nil {
		return true
	}
	items, err := r.c.Store.Headers(ctx, []string{key})
	return err == nil && items[0].Version == rec.Version
}
