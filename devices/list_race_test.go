package devices_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/devices"
)

// A listHook calls after once, behind a List.
type listHook struct {
	devices.Index
	after *func()
}

func (h listHook) List(ctx context.Context, s string) ([]devices.Entry, error) {
	all, err := h.Index.List(ctx, s)
	if f := *h.after; f != nil {
		*h.after = nil
		f()
	}
	return all, err
}

// A list that began before EndOthers must not remove the entry of the session
// that is kept.
func TestListWhileOthersEnd(t *testing.T) {
	for _, inToken := range []bool{false, true} {
		var hook func()
		w := newWorld(t, nil)
		c := w.config
		c.Index = listHook{w.index, &hook}
		r := w.open(c)
		ctx := t.Context()
		rec := w.record("alice")
		key, err := w.login(ctx, rec, inToken)
		require.NoError(t, err)
		w.pass(time.Minute)
		next := w.next(rec)
		next.Since = w.now().Add(time.Second).Truncate(time.Millisecond)
		hook = func() {
			nextKey := ""
			if !inToken {
				nextKey = w.name(43)
				require.NoError(t, w.config.Store.(faultyStore).Create(ctx, nextKey, itemOf(next)))
			}
			require.NoError(t, r.Enter(ctx, &http.Request{}, next, nextKey, rec, key))
			require.NoError(t, w.revocations.EndSubject(ctx, "alice"))
		}
		_, err = r.List(ctx, "alice")
		require.NoError(t, err)
		require.NoError(t, w.revocations.Check(next), "it lives")
		list, err := r.List(ctx, "alice")
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.NoError(t, r.End(ctx, "alice", rec.ID))
	}
}
