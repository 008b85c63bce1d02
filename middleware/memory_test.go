package middleware_test

import (
	"context"
	"encoding/base64"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/require"
)

// A lastItem keeps the last item that was created.
type lastItem struct {
	*opaque.MemoryStore
	item opaque.Item
}

func (s *lastItem) Create(ctx context.Context, key string, item opaque.Item) error {
	s.item = item
	return s.MemoryStore.Create(ctx, key, item)
}

// A session of three small values takes at most 300 bytes of memory, and less
// than a tenth of an object for the garbage collector to look at. The
// middleware makes one; the others have the same size.
func TestMemoryPerSession(t *testing.T) {
	const sessions = 200_000
	w := newWorld(t)
	store := &lastItem{MemoryStore: w.memory}
	w.Store = store
	h := w.Middleware(t, "opaque").Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		require.NoError(t, s.Login("user-12345"))
		require.NoError(t, visits.Set(s, 1))
		require.NoError(t, session.Key[string]("theme").Set(s, "dark"))
		require.NoError(t, session.Key[time.Time]("last_seen").Set(s, w.Now()))
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	require.NotEmpty(t, store.item.Data)

	before := memory()
	random, sum := rand.NewChaCha8([32]byte{1}), make([]byte, 32)
	for range sessions {
		_, _ = random.Read(sum)
		if err := w.memory.Create(t.Context(), base64.RawURLEncoding.EncodeToString(sum), store.item); err != nil {
			t.Fatal(err)
		}
	}
	after := memory()
	bytes := float64(after.HeapAlloc-before.HeapAlloc) / sessions
	objects := float64(after.HeapObjects-before.HeapObjects) / sessions
	counted := float64(w.memory.Bytes()) / float64(w.memory.Len())
	t.Logf("%.0f bytes and %.3f objects a session; %d bytes of it are its record; counted as %.0f",
		bytes, objects, len(store.item.Data), counted)
	require.LessOrEqual(t, bytes, 300.0)
	require.LessOrEqual(t, bytes, counted)
	require.Less(t, objects, 0.1)
}

func memory() (m runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m
}
