//go:build sqlite

package main

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A session survives a restart, and so does its end.
func TestSQLiteSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	args := []string{"-store", "sqlite:" + filepath.Join(dir, "sessions.db"), "-keys", filepath.Join(dir, "keys.json")}
	d := start(t, args...)
	require.Contains(t, d.log.String(), "demo: mode opaque")
	require.Contains(t, d.log.String(), "demo: opaque sessions in sqlite:")
	alice := d.browser(t).login("alice")
	alice.want("POST", "/api/visits", "", http.StatusOK, `{"visits":1}`)
	gone := d.browser(t).login("gone").credential()
	d.browser(t).use(gone).want("POST", "/logout", "", http.StatusOK, "")
	require.NoError(t, d.end())

	d = start(t, args...)
	b := d.browser(t).use(alice.credential())
	require.Equal(t, "alice", b.state().Subject)
	b.want("POST", "/api/visits", "", http.StatusOK, `{"visits":2}`)
	require.True(t, d.browser(t).use(gone).state().New)
}
