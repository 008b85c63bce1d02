package opaque_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// A spoiled store returns another item than it was given.
type spoiled struct {
	opaque.Store
	spoil func(*opaque.Item)
}

func (s *spoiled) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	item, ok, err := s.Store.Get(ctx, key)
	s.spoil(&item)
	return item, ok, err
}

func newSpoiled(t *testing.T, change ...func(*opaque.CarrierConfig)) (*place, *spoiled) {
	t.Helper()
	s := &spoiled{spoil: func(*opaque.Item) {}}
	p := newPlace(t, true, append(change, func(c *opaque.CarrierConfig) { s.Store, c.Store = c.Store, s })...)
	return p, s
}

// issue returns the credential of a session that has been opened once, and so
// is remembered.
func issue(t *testing.T, p *place) (credential string, opened *session.Record) {
	t.Helper()
	credential, err := p.Issue(t.Context(), alice(), "")
	require.NoError(t, err)
	opened, _, err = p.Open(t.Context(), credential)
	require.NoError(t, err)
	return credential, opened
}

// The same bytes need no second decryption: it is the same record.
func TestOpenedIsRemembered(t *testing.T) {
	p := newPlace(t, true)
	credential, first := issue(t, p)
	second, _, err := p.Open(t.Context(), credential)
	require.NoError(t, err)
	require.Same(t, first, second)
}

// A record that was opened counts only for the very item that the store had:
// everything else is opened as if nothing were remembered.
func TestOpenedIsNotTrusted(t *testing.T) {
	var otherData []byte
	for _, row := range []struct {
		name  string
		spoil func(*opaque.Item)
		want  session.Reason
	}{
		{"a bit", func(it *opaque.Item) { it.Data = slices.Clone(it.Data); it.Data[len(it.Data)-1] ^= 1 }, session.Forged},
		{"shorter", func(it *opaque.Item) { it.Data = it.Data[:len(it.Data)-1] }, session.Forged},
		{"no data", func(it *opaque.Item) { it.Data = nil }, session.Forged},
		{"version", func(it *opaque.Item) { it.Version++ }, session.Forged},
		{"other session", func(it *opaque.Item) { it.Data = otherData }, session.Forged},
		{"ended", func(it *opaque.Item) { it.Data = []byte("e") }, session.Ended},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, store := newSpoiled(t)
			store.spoil = func(it *opaque.Item) { otherData = it.Data }
			issue(t, p)
			store.spoil = func(*opaque.Item) {}
			credential, _ := issue(t, p)
			store.spoil = row.spoil
			_, _, err := p.Open(t.Context(), credential)
			require.ErrorIs(t, err, row.want)
			store.spoil = func(*opaque.Item) {}
			_, _, err = p.Open(t.Context(), credential)
			require.NoError(t, err)
		})
	}
}

// Activity is not part of what is encrypted. It makes another record, and
// leaves the one that others hold as it is.
func TestOpenedHasTheActivityOfTheStore(t *testing.T) {
	p, store := newSpoiled(t)
	credential, first := issue(t, p)
	before := *first
	later := first.IdleDeadline.Add(time.Minute)
	store.spoil = func(it *opaque.Item) { it.SeenAt, it.IdleDeadline = it.SeenAt.Add(time.Minute), later }
	second, _, err := p.Open(t.Context(), credential)
	require.NoError(t, err)
	require.True(t, second.IdleDeadline.Equal(later))
	require.True(t, second.SeenAt.Equal(first.SeenAt.Add(time.Minute)))
	require.Equal(t, before, *first)

	store.spoil = func(it *opaque.Item) { it.IdleDeadline = first.Deadline.Add(time.Hour) }
	third, _, err := p.Open(t.Context(), credential)
	require.NoError(t, err)
	require.True(t, third.IdleDeadline.Equal(first.Deadline), "the store can't prolong the session")
}

// The revocation list and the store are asked about each request.
func TestOpenedEnds(t *testing.T) {
	list := revocation.NewVolatile(revocation.Config{})
	t.Cleanup(func() { list.Close() })
	p := newPlace(t, true, func(c *opaque.CarrierConfig) { c.Revocations = list })
	credential, rec := issue(t, p)
	require.NoError(t, list.EndSession(t.Context(), rec))
	_, _, err := p.Open(t.Context(), credential)
	require.ErrorIs(t, err, session.Ended)
}
