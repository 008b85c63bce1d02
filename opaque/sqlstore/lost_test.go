//go:build unix

package sqlstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/session"
)

// lostAnswers has the connection break at each of the messages of a login. It
// fails in time, and has not happened where the error says so. Nobody has to
// wait for its lock afterwards.
func (s *server) lostAnswers(t *testing.T) {
	direct := s.store(t, s.open(t), sqlstore.Config{})
	proxy := servertest.NewProxy(t, s.addr)
	store := s.newStore(t, s.openAt(t, proxy.Addr()), sqlstore.Config{})
	try := func(name string, judge func(answer bool, piece []byte) servertest.Mode) (err error, there bool) {
		t.Helper()
		subject := itemtest.Key()
		proxy.SetFunc(nil)
		require.Eventually(t, func() bool {
			return store.Enter(within(t, tooLate), itemtest.Key(), entry("a", "key"), "", 1) == nil
		}, 10*time.Second, time.Millisecond, "the store uses its connections that are still good")
		proxy.SetFunc(judge)
		start := time.Now()
		err = store.Enter(within(t, patience), subject, entry("a", "key"), "", 1)
		require.Less(t, time.Since(start), tooLate, name)
		proxy.CloseConnections() // pgx leaves one open for 15 seconds that does not answer
		all, listErr := direct.List(t.Context(), subject)
		require.NoError(t, listErr)
		require.NoError(t, direct.Enter(within(t, 10*time.Second), subject, entry("b", "key"), "", 2), name)
		return err, len(all) == 1
	}
	broken := 0
	for err := error(session.Unavailable); err != nil; broken++ {
		var answers atomic.Int32
		name, nth := fmt.Sprint("answer ", broken), int32(broken+1)
		var there bool
		err, there = try(name, func(answer bool, _ []byte) servertest.Mode {
			if answer && answers.Add(1) == nth {
				return servertest.Cut
			}
			return servertest.Pass
		})
		require.True(t, err == nil && there || errors.Is(err, session.Unavailable), "%s: %v", name, err)
		require.False(t, there && errors.Is(err, opaque.ErrNotDone), "%s: %v", name, err)
	}
	require.Greater(t, broken, 5, "a login has several messages")

	err, there := try("the request to commit", func(answer bool, piece []byte) servertest.Mode {
		if !answer && isCommit(piece) {
			return servertest.Swallow
		}
		return servertest.Pass
	})
	require.ErrorIs(t, err, session.Unavailable)
	require.NotErrorIs(t, err, opaque.ErrNotDone)
	require.False(t, there)
	var committed atomic.Bool
	err, there = try("the answer to the commit", func(answer bool, piece []byte) servertest.Mode {
		if !answer && isCommit(piece) {
			committed.Store(true)
		}
		if answer && committed.Load() {
			return servertest.Swallow
		}
		return servertest.Pass
	})
	require.ErrorIs(t, err, session.Unavailable)
	require.NotErrorIs(t, err, opaque.ErrNotDone)
	require.True(t, there)
}

func isCommit(piece []byte) bool { return bytes.Contains(bytes.ToLower(piece), []byte("commit")) }

// A login on a full disk has not happened, and one that the database rolled
// back for a deadlock is tried again.
func (s *server) loginWithoutRoom(t *testing.T) {
	db := s.open(t)
	store := s.store(t, db, sqlstore.Config{})
	subject := itemtest.Key()
	end := s.raise(t, db, "cloakroom_entries", "53100", 0)
	err := store.Enter(within(t, 5*time.Second), subject, entry("a", "key"), "", 1)
	end()
	require.ErrorIs(t, err, opaque.ErrNotDone)
	require.ErrorContains(t, err, "SQLSTATE 53100")
	require.NotContains(t, err.Error(), "secret")
	all, err := store.List(t.Context(), subject)
	require.NoError(t, err)
	require.Empty(t, all)

	defer s.raise(t, db, "cloakroom_entries", "40P01", 3)()
	require.NoError(t, store.Enter(within(t, 5*time.Second), subject, entry("a", "key"), "", 1))
}
