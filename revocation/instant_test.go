package revocation_test

import (
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/require"
)

// Whoever logs in after EndSubject has returned stays logged in, however soon.
func TestLoginRightAfterEndSubject(t *testing.T) {
	l := revocation.NewVolatile(revocation.Config{})
	for range 50 {
		before := &session.Record{ID: "a", Generation: 1, Subject: "alice",
			AuthenticatedAt: time.Now().Truncate(time.Millisecond)}
		require.NoError(t, l.EndSubject(t.Context(), "alice"))
		after := &session.Record{ID: "b", Generation: 1, Subject: "alice",
			AuthenticatedAt: time.Now().Truncate(time.Millisecond)}
		require.ErrorIs(t, l.Check(before), session.Ended)
		require.NoError(t, l.Check(after))
	}
}
