package middleware_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
)

// What package apptest has, by shorter names.
type (
	site    = apptest.Site
	browser = apptest.Browser
	reply   = apptest.Reply
	handler = apptest.Handler
	events  = apptest.Events
	answer  = apptest.Answer
)

var (
	modes     = apptest.Modes()
	newSite   = apptest.NewSite
	watched   = apptest.Watched
	form      = apptest.Form
	newRing   = apptest.NewRing
	visit     = apptest.Visit
	cookies   = apptest.Cookies
	begin     = apptest.Begin
	subjectOf = apptest.SubjectOf
	unknownID = apptest.UnknownID
	serve     = apptest.Serve
	show      = apptest.Show
	b64       = apptest.B64
	random    = apptest.Random
)

const visits = apptest.Visits

// TestTables runs the tables of behaviour, of transitions and of attacks over
// the store in memory. The stores on servers run them, too.
func TestTables(t *testing.T) {
	apptest.Run(t, func(t testing.TB, now func() time.Time) opaque.Store { return newMemory(t, now) })
}

// A world is one with a store in memory.
type world struct {
	*apptest.World
	memory *opaque.MemoryStore // World.Store is this one, or something in front of it
}

func newWorld(t testing.TB, algorithms ...keys.Algorithm) *world {
	clock := apptest.NewClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	memory := newMemory(t, clock.Now)
	w := &world{apptest.NewWorld(t, clock, memory, algorithms...), memory}
	w.Store = memory
	return w
}

func newMemory(t testing.TB, now func() time.Time) *opaque.MemoryStore {
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{Now: now})
	require.NoError(t, err)
	t.Cleanup(func() { memory.Close() })
	return memory
}

func eachMode(t *testing.T, f func(t *testing.T, mode string, w *world)) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) { f(t, mode, newWorld(t)) })
	}
}

func shortTimeout(c *middleware.Config) { c.Timeout = 50 * time.Millisecond }
