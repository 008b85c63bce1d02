package sqlstore_test

import (
	"database/sql"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/instancetest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	someAgent   = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)"
	someAddress = "203.0.113.77"
)

func TestAppsListDevicesSQLite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sessions.db")
	d := database{dialect: sqlstore.SQLite, open: func(t testing.TB) *sql.DB { return open(t, "sqlite", file) }}
	d.appsListDevices(t, "sqlite:"+file+"?")
}

// Two instances share a database. One of them lists and ends what logged in on
// the other one, in each mode, and a copy of the database shows of whom the
// sessions are to nobody.
func (d database) appsListDevices(t *testing.T, at string) {
	leavesNothing(t)
	t.Setenv("SHOP_SECRET", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=")
	for _, mode := range []config.Mode{config.Opaque, config.Stateless, config.Auto} {
		t.Run(string(mode), func(t *testing.T) {
			prefix := "devices_" + string(mode) + "_"
			c := config.Config{Mode: mode, Devices: config.DevicesConfig{Enabled: true}}
			c.Store = config.StoreConfig{URL: config.StoreURL(at + "prefix=" + prefix), SecretEnv: "SHOP_SECRET"}
			if mode != config.Opaque {
				c.Keys.File = instancetest.KeyFile(t, t.TempDir())
			}
			a, b := d.appWithDevices(t, c), d.appWithDevices(t, c)
			endsOnTheOther(t, a, b)
			d.showsNobody(t, prefix, "alice", "bob", "carol", someAgent, "Mozilla", someAddress)
		})
	}
}

func (d database) appWithDevices(t *testing.T, c config.Config) *config.App {
	t.Helper()
	app, err := c.Build(config.Options{
		Stores: []opaque.Opener{opener(d.dialect)}, Logger: slog.New(slog.DiscardHandler),
		Client: func(*http.Request) (string, string) { return someAgent, someAddress },
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, app.Close()) })
	require.Eventually(t, func() bool { return app.Ready(t.Context()) == nil }, 10*time.Second, time.Millisecond)
	return app
}

func endsOnTheOther(t *testing.T, a, b *config.App) {
	t.Helper()
	login := func(subject string) (credential, id string) {
		credential = apptest.Begin(t, b.Middleware, subject)
		apptest.Visit(b.Middleware, credential, func(s *session.Session) { id = s.ID() })
		return credential, id
	}
	visit := func(credential string, f func(s *session.Session)) (next string) {
		status, next := apptest.Visit(b.Middleware, credential, f)
		require.Equal(t, http.StatusOK, status)
		return next
	}
	desk, deskID := login("alice")
	phone, phoneID := login("alice")
	other, otherID := login("bob")
	desk = visit(desk, func(s *session.Session) { require.NoError(t, s.Renew()) })
	require.ElementsMatch(t, []string{deskID, phoneID}, idsOf(t, a, "alice"))
	require.Equal(t, []string{otherID}, idsOf(t, a, "bob"))
	list, err := a.Devices.List(t.Context(), "alice")
	require.NoError(t, err)
	require.Equal(t, someAgent, list[0].UserAgent)
	require.Equal(t, someAddress, list[0].Address)

	require.ErrorIs(t, a.Devices.End(t.Context(), "bob", deskID), session.NotFound)
	require.NoError(t, a.Devices.End(t.Context(), "alice", phoneID))
	requireOver(t, b, phone)
	require.Equal(t, []string{deskID}, idsOf(t, b, "alice"))
	require.ErrorIs(t, a.Devices.End(t.Context(), "alice", phoneID), session.NotFound)
	require.Equal(t, "alice", apptest.SubjectOf(b.Middleware, desk))

	require.NoError(t, a.Revocations.EndSubject(t.Context(), "alice"))
	requireOver(t, b, desk)
	require.Empty(t, idsOf(t, b, "alice"))
	require.Equal(t, "bob", apptest.SubjectOf(b.Middleware, other))
	visit(other, func(s *session.Session) { require.NoError(t, s.Destroy()) })
	require.Empty(t, idsOf(t, a, "bob"))
	login("carol")
}

func requireOver(t *testing.T, app *config.App, credential string) {
	t.Helper()
	require.Eventually(t, func() bool { return apptest.SubjectOf(app.Middleware, credential) == "" }, 10*time.Second,
		time.Millisecond)
}

func idsOf(t *testing.T, app *config.App, subject string) (ids []string) {
	t.Helper()
	list, err := app.Devices.List(t.Context(), subject)
	require.NoError(t, err)
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	return ids
}

// showsNobody looks for words in all rows of the tables.
func (d database) showsNobody(t *testing.T, prefix string, words ...string) {
	t.Helper()
	db := d.open(t)
	for _, table := range []string{"sessions", "meta", "ended", "subjects", "entries"} {
		rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+prefix+table)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		n := 0
		for values := make([]sql.RawBytes, len(columns)); rows.Next(); n++ {
			into := make([]any, len(columns))
			for i := range into {
				into[i] = &values[i]
			}
			require.NoError(t, rows.Scan(into...))
			for i, value := range values {
				for _, word := range words {
					require.NotContains(t, strings.ToLower(string(value)), strings.ToLower(word), "%s.%s", table, columns[i])
				}
			}
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
		require.True(t, n > 0 || table == "sessions" || table == "ended", "%s is empty", table)
	}
}
