package config_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A handler that is serving a session learns of its logout in every mode. With
// a log the list has an entry for it: so other instances learn of it, too.
func TestEnded(t *testing.T) {
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	defer memory.Close()
	shared := config.Options{Store: loggedStore{memory, new(atomic.Bool), new(atomic.Bool), new(atomic.Int64)}}
	keys := config.KeysConfig{File: keyFile(t)}
	store := config.StoreConfig{SecretEnv: secretVariable}
	for _, row := range []struct {
		name  string
		in    config.Config
		o     config.Options
		entry bool
	}{
		{"opaque", config.Config{Mode: config.Opaque}, config.Options{}, false},
		{"opaque, log", config.Config{Mode: config.Opaque, Store: store}, shared, true},
		{"stateless", config.Config{Mode: config.Stateless, Keys: keys}, config.Options{}, true},
		{"stateless, log", config.Config{Mode: config.Stateless, Keys: keys, Store: store}, shared, true},
		{"auto", config.Config{Mode: config.Auto, Keys: keys}, config.Options{}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			app := build(t, row.in, row.o)
			require.Eventually(t, func() bool { return app.Ready(t.Context()) == nil }, 5*time.Second, time.Millisecond)
			cookie := login(t, app, "alice")
			visit(t, app, cookie, func(s *session.Session) {
				ended := s.Ended()
				select {
				case <-ended:
					t.Error("ended before the logout")
				default:
				}
				visit(t, app, cookie, func(s *session.Session) { require.NoError(t, s.Destroy()) })
				select {
				case <-ended:
				case <-time.After(5 * time.Second):
					t.Error("not ended by the logout")
				}
			})
			require.Equal(t, row.entry, app.Revocations.Len() > 0, "%d entries", app.Revocations.Len())
		})
	}
}
