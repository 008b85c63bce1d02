package opaque

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/session"
)

type outside struct{ Store }

// A plain record doesn't stay in memory when its session is changed, renewed or
// ended here. A store in the process needs no such memory.
func TestOpenedIsForgotten(t *testing.T) {
	memory, err := NewMemoryStore(MemoryConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { memory.Close() })
	now := time.Now().Truncate(time.Second)
	rec := &session.Record{
		ID: "id", Version: 1, Generation: 1, CreatedAt: now, SeenAt: now,
		IdleDeadline: now.Add(time.Hour), Deadline: now.Add(time.Hour),
	}
	for _, row := range []struct {
		name string
		do   func(c *Carrier, credential string) error
	}{
		{"save", func(c *Carrier, credential string) error {
			item, err := c.item(credential, storeKey(credential), &session.Record{
				Version: 2, IdleDeadline: rec.IdleDeadline, Deadline: rec.Deadline,
			})
			if err == nil {
				_, err = c.write(t.Context(), storeKey(credential), 1, item)
			}
			return err
		}},
		{"retire", func(c *Carrier, credential string) error {
			_, err := c.Retire(t.Context(), credential, rec, newCredential(), 0)
			return err
		}},
		{"end", func(c *Carrier, credential string) error { return c.End(t.Context(), credential, rec) }},
		{"forget", func(c *Carrier, credential string) error { return c.Forget(t.Context(), credential) }},
	} {
		c, err := NewCarrier(CarrierConfig{Store: outside{memory}, Secrets: [][]byte{make([]byte, minSecret)}})
		require.NoError(t, err)
		credential, err := c.Issue(t.Context(), rec, "")
		require.NoError(t, err)
		_, _, err = c.Open(t.Context(), credential)
		require.NoError(t, err)
		_, remembered := c.opened.m.Get(storeKey(credential))
		require.True(t, remembered, row.name)
		require.NoError(t, row.do(c, credential), row.name)
		_, remembered = c.opened.m.Get(storeKey(credential))
		require.False(t, remembered, row.name)
	}
	c, err := NewCarrier(CarrierConfig{Store: memory})
	require.NoError(t, err)
	credential, err := c.Issue(t.Context(), rec, "")
	require.NoError(t, err)
	_, _, err = c.Open(t.Context(), credential)
	require.NoError(t, err)
	_, remembered := c.opened.m.Get(storeKey(credential))
	require.False(t, remembered, "in process")
}
