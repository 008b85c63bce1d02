package devices

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// alive returns the entries of the sessions that go on, the one with the newest
// activity first, in an order that stays the same from list to list. doubtful
// has those of sessions that are over most likely, in the same order. Others
// are over: alive removes them, as far as that is possible now.
func (r *Registry) alive(ctx context.Context, subject string) (alive, doubtful []Entry, err error) {
	all, err := r.c.Index.List(ctx, hashOf(subject))
	if err != nil {
		return nil, nil, failed("list the sessions of a subject", err)
	}
	items, err := r.items(ctx, all)
	if err != nil {
		return nil, nil, failed("list the sessions of a subject", err)
	}
	now := r.c.Now()
	var ended []Entry // an end has failed half way, or another instance is at it
	var stale []Entry // with the keys that are to be removed
	for _, e := range all {
		if e.Marked || r.hasEnded(subject, e) {
			ended = append(ended, e)
			continue
		}
		lives, over := e.look(items, now)
		switch {
		case lives && r.isTagEnded(subject, e), !lives && len(over) < len(e.Keys):
			doubtful = append(doubtful, e)
		case lives:
			alive = append(alive, e)
		}
		if len(over) > 0 {
			e.Keys = over
			stale = append(stale, e)
		}
	}
	// What fails is left to the next list.
	_ = r.removeAll(stale, func(e Entry) error { return r.c.Index.Leave(ctx, hashOf(subject), e.ID, e.Keys...) })
	_ = r.removeAll(ended, func(e Entry) error {
		if r.hasEnded(subject, e) {
			return r.drop(ctx, subject, e)
		}
		return r.finish(ctx, subject, e)
	})
	for _, entries := range [...][]Entry{alive, doubtful} {
		slices.SortFunc(entries, func(a, b Entry) int {
			return cmp.Or(b.SeenAt.Compare(a.SeenAt), b.CountsFrom.Compare(a.CountsFrom), strings.Compare(a.ID, b.ID))
		})
	}
	return alive, doubtful, nil
}

// look reports whether the session of e goes on, and returns the keys that it
// is certainly not under any more. It sets SeenAt to what the store has.
//
// A key is used once, and its item was there before the entry. So an item that
// is absent will never be there again.
func (e *Entry) look(items map[string]opaque.Item, now time.Time) (lives bool, over []string) {
	// TokenUntil lags behind by up to half an idle timeout, and by more if a write
	// got lost. Just before the session's deadline idle is shorter.
	idle, seen := max(0, e.TokenUntil.Sub(e.SeenAt)), e.SeenAt
	for _, key := range e.Keys {
		if isToken(key) {
			lives = lives || now.Before(e.TokenUntil.Add(idle/2))
			if !now.Before(e.TokenUntil.Add(2 * idle)) {
				over = append(over, key)
			}
			continue
		}
		switch it, ok := items[key]; {
		case !ok:
			over = append(over, key)
		case now.Before(it.OverAt()):
			lives, seen = true, later(seen, it.SeenAt)
		}
	}
	e.SeenAt = seen
	return lives, over
}

// items returns the headers of the items that are there.
func (r *Registry) items(ctx context.Context, entries []Entry) (map[string]opaque.Item, error) {
	var keys []string
	for _, e := range entries {
		for _, key := range e.Keys {
			if !isToken(key) {
				keys = append(keys, key)
			}
		}
	}
	if r.c.Store == nil || len(keys) == 0 {
		return nil, nil
	}
	headers, err := r.c.Store.Headers(ctx, keys)
	if err != nil {
		return nil, err
	}
	items := make(map[string]opaque.Item, len(headers))
	for i, it := range headers {
		if it.Version > 0 {
			items[keys[i]] = it
		}
	}
	return items, nil
}

// hasEnded reports whether the revocation list refuses the session, whatever
// tags it has.
func (r *Registry) hasEnded(subject string, e Entry) bool {
	return isEnded(r.c.Revocations.Check(r.record(subject, e)))
}

// isTagEnded reports whether the revocation list refuses the session for its
// tags. They are those of the request that entered it last, which may not be
// the one whose login counts: so such an entry is not shown, and nothing of it
// is deleted.
func (r *Registry) isTagEnded(subject string, e Entry) bool {
	rec := r.record(subject, e)
	rec.Tags = r.open(subject, e).tags()
	return len(rec.Tags) > 0 && isEnded(r.c.Revocations.Check(rec))
}

// isEnded reports whether a revocation list refuses a session for good, and not
// only an old credential of it.
func isEnded(err error) bool {
	return errors.Is(err, session.Ended) && !errors.As(err, new(*session.SupersededError))
}
