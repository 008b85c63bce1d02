//go:build unix

package sqlstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
)

// BenchmarkIndex has what an index adds to a login and to a renewal, beside a
// Create, and what it takes to note activity and to list 20 sessions. Compare
// within one run:
//
//	go test -run - -bench Index -benchtime 300x .
func BenchmarkIndex(b *testing.B) { onEach(b, database.benchmarkIndex) }

func (d database) benchmarkIndex(b *testing.B) {
	const devices = 20
	s := d.store(b, d.open(b), sqlstore.Config{})
	ctx, subject := b.Context(), itemtest.Key()
	var keys []string
	for i := range devices {
		keys = append(keys, itemtest.Key())
		require.NoError(b, s.Create(ctx, keys[i], itemtest.New(1, "data")))
		require.NoError(b, s.Enter(ctx, subject, entry(fmt.Sprint("session ", i), keys[i]), "", 100))
	}
	last, at := keys[0], time.Now()
	for _, f := range []struct {
		name string
		do   func() error
	}{
		{"create", func() error { return s.Create(ctx, itemtest.Key(), sized(132)) }},
		{"login", func() error { return s.Enter(ctx, itemtest.Key(), entry("a", itemtest.Key()), "", 100) }},
		{"renewal", func() error {
			next := itemtest.Key()
			err := s.Enter(ctx, subject, entry("session 0", next), last, 100)
			last = next
			return err
		}},
		{"activity", func() error {
			at = at.Add(time.Second)
			_, err := s.Extend(ctx, subject, "session 1", at, at)
			return err
		}},
		{"list", func() error {
			all, err := s.List(ctx, subject)
			require.Len(b, all, devices)
			if err == nil {
				_, err = s.Headers(ctx, keys)
			}
			return err
		}},
	} {
		b.Run(f.name, func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, f.do())
			}
		})
	}
}
