package redisstore_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/session"
)

// BenchmarkDevices has requests of one client after the other, without and with
// the index.
func BenchmarkDevices(b *testing.B) {
	b.Setenv("SHOP_SECRET", base64.StdEncoding.EncodeToString(apptest.Random(32)))
	s := startServer(b)
	for _, enabled := range []bool{false, true} {
		c := config.Config{Mode: config.Opaque}
		c.Devices.Enabled = enabled
		app := s.start(b, c)
		run := func(name string, f func(i int)) {
			b.Run(fmt.Sprintf("%s/devices=%v", name, enabled), func(b *testing.B) {
				n := 0
				for b.Loop() {
					f(n)
					n++
				}
			})
		}
		run("login", func(i int) { app.login(fmt.Sprint("user ", i)) })
		run("login_of_20", func(i int) { app.login(fmt.Sprint("many ", i/20)) })
		cookie := app.login("alice")
		run("renew", func(int) {
			cookie = app.visit(cookie, func(_ context.Context, s *session.Session) { require.NoError(b, s.Renew()) })
		})
		run("read", func(int) { app.show(cookie) })
		if !enabled {
			continue
		}
		for range 19 {
			app.login("alice")
		}
		require.Len(b, app.list("alice"), 20)
		run("list_20", func(int) { app.list("alice") })
	}
}

// BenchmarkIndex has calls about a subject that has so many sessions.
func BenchmarkIndex(b *testing.B) {
	s := startServer(b)
	for _, n := range []int{1, 20, 100, 1000} {
		of, ctx := newSubject(open(b, s.config())), b.Context()
		e := entry("", strings.Repeat("k", 43))
		e.Details = make([]byte, 250)
		for i := range n {
			e.ID = fmt.Sprintf("%022d", i)
			require.NoError(b, of.Enter(ctx, of.name, e, "", devices.MaxEntries))
		}
		run := func(name string, f func() error) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					require.NoError(b, f())
				}
			})
		}
		run("enter", func() error {
			e.ID = itemtest.Key()[:22]
			if err := of.Enter(ctx, of.name, e, "", 2*devices.MaxEntries); err != nil {
				return err
			}
			return of.Leave(ctx, of.name, e.ID)
		})
		e.ID = fmt.Sprintf("%022d", 0)
		run("renew", func() error { return of.Enter(ctx, of.name, e, "", n) })
		run("extend", func() error {
			e.SeenAt = e.SeenAt.Add(time.Second)
			_, err := of.Extend(ctx, of.name, e.ID, e.SeenAt, e.SeenAt)
			return err
		})
		run("list", func() error { _, err := of.List(ctx, of.name); return err })
		b.Logf("%d sessions: %d bytes", n, s.number(b, "MEMORY", "USAGE", of.key(), "SAMPLES", "0"))
	}
}
