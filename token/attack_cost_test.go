package token_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// allocated is how many bytes f allocates, the least of three runs.
func allocated(f func()) uint64 {
	least := ^uint64(0)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// What is refused must be cheap to refuse.
func TestAttackCost(t *testing.T) {
	for _, s := range newSettings(t, keys.ES256, keys.Direct, "") {
		dots := strings.Repeat(".", 1<<20)
		assert.LessOrEqual(t, testing.AllocsPerRun(10, func() { _ = s.open(dots) }), 20.0, "A14 %s", s.name)
		assert.LessOrEqual(t, allocated(func() { _ = s.open(dots) }), uint64(4<<10), "A14 %s", s.name)
		for _, zeros := range []int{1 << 20, 9 << 20} {
			bomb := s.direct(s.outer.last("zip", `"DEF"`).String(), deflate(s.forge, strings.Repeat("\x00", zeros)))
			assert.LessOrEqual(t, allocated(func() { _ = s.open(bomb) }), uint64(64<<10), "A18 %s", s.name)
		}
		for _, credential := range append(billionHashes(s.forge),
			s.withHeader(s.header.with("kid", quoted(strings.Repeat("A", 1<<20))).String())) {
			start := time.Now()
			err := s.open(credential)
			// Deriving a key from 2,000,000,000 rounds takes minutes; this bound is
			// generous.
			assert.Less(t, time.Since(start), time.Second, "A6, A17 %s", s.name)
			assert.Contains(t, []session.Reason{session.Malformed, session.Forged, session.UnknownKey}, session.ReasonOf(err),
				"A6, A17 %s: %v", s.name, err)
		}
	}
}

// Genuine tokens of sessions that are over or have ended are not remembered
// either: somebody may have collected many.
func TestAttackFloodOfEndedTokens(t *testing.T) {
	w := newWorld(t)
	m := newMaterial(t, w.Now(), keys.HS256, keys.Direct)
	s := newCookieSetting(t, w, "signed", m.signing, newForge(t, m, w.Now(), false, false, ""))
	ended := s.claims.with("data", `{"a":"`+strings.Repeat("x", 1000)+`"}`).with("auth_time", s.claims.get("iat")+".000")
	require.NoError(t, w.list.EndSubject(t.Context(), "mallory"))
	run := func(n int) {
		for i := range n {
			if s.open(s.withClaims(ended.with("sid", fmt.Sprintf("%q", fmt.Sprint("s", i))).String())) == nil {
				t.Fatal("opens")
			}
		}
	}
	run(100)
	before := apptest.Heap()
	run(10_000)
	assert.Less(t, apptest.Heap()-before, int64(1<<20))
	runtime.KeepAlive(s)
}
