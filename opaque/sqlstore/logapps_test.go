package sqlstore_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/instancetest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
)

// What has ended on one instance opens on none that has heard of it.
func (d database) severalInstances(t *testing.T) {
	leavesNothing(t)
	apptest.SharedLog(t, func(t testing.TB, now func() time.Time) opaque.Store {
		return d.store(t, d.open(t), sqlstore.Config{Prefix: "several_", Now: now})
	})
}

func TestAppsShareSQLite(t *testing.T) {
	dir := t.TempDir()
	file := func(prefix string) string { return filepath.Join(dir, prefix+".db") }
	database{dialect: sqlstore.SQLite}.appsShare(t,
		func(_, prefix string) string { return "sqlite:" + file(prefix) + "?prefix=" + prefix },
		func(t testing.TB, prefix string) *sql.DB { return open(t, "sqlite", file(prefix)) })
}

// appsShare runs three instances of an application over stores at URLs. openAt
// opens the database of a prefix.
func (d database) appsShare(t *testing.T, url func(addr, prefix string) string,
	openAt func(t testing.TB, prefix string) *sql.DB) {
	leavesNothing(t)
	instancetest.Run(t, instancetest.Store{
		Opener: opener(d.dialect), Addr: d.addr, URL: url,
		Lose: func(t *testing.T, prefix string) {
			of := database{dialect: d.dialect, open: func(t testing.TB) *sql.DB { return openAt(t, prefix) }}
			execute(t, of.open(t), "DELETE FROM "+prefix+"sessions")
			of.restore(t, prefix, nil, 0)
		},
	})
}
