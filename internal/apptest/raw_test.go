package apptest_test

import (
	"bytes"
	"context"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/stored"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A server is a store whose items can be read and written directly. One that
// claims to be in the process gets records that are not encrypted. One with a
// plain write has no look at the version.
type server struct {
	now                  func() time.Time
	inProcess, plainSwap bool

	mu    sync.Mutex // guards items
	items map[string][]byte
}

func (s *server) InProcess() bool { return s.inProcess }

func (s *server) Get(_ context.Context, key string) (opaque.Item, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, ok := stored.Decode(s.items[key])
	return item, ok, nil
}

func (s *server) Create(_ context.Context, key string, item opaque.Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.items[key]; ok {
		return session.Conflict
	}
	s.items[key] = stored.Encode(item)
	return nil
}

func (s *server) change(key string, change func(item *opaque.Item) bool) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, ok := stored.Decode(s.items[key])
	if ok = ok && s.now().Before(item.OverAt()) && change(&item); ok {
		s.items[key] = stored.Encode(item)
	}
	return ok, nil
}

func (s *server) Swap(_ context.Context, key string, version uint64, next opaque.Item) (bool, error) {
	return s.change(key, func(item *opaque.Item) bool {
		ok := item.Version == version || s.plainSwap
		*item = next
		return ok
	})
}

func (s *server) Touch(_ context.Context, key string, seenAt, idleDeadline time.Time) (bool, error) {
	return s.change(key, func(item *opaque.Item) bool {
		item.SeenAt = slices.MaxFunc([]time.Time{item.SeenAt, seenAt}, time.Time.Compare)
		item.IdleDeadline = slices.MaxFunc([]time.Time{item.IdleDeadline, idleDeadline}, time.Time.Compare)
		return true
	})
}

func (s *server) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.items, key)
	return nil
}

// Keys, Read and Write are for somebody who has broken in.
func (s *server) Keys(testing.TB) []string                 { return slices.Collect(maps.Keys(s.items)) }
func (s *server) Read(_ testing.TB, key string) []byte     { return bytes.Clone(s.items[key]) }
func (s *server) Write(_ testing.TB, key string, v []byte) { s.items[key] = bytes.Clone(v) }

func TestRunRaw(t *testing.T) {
	s := &server{items: make(map[string][]byte), inProcess: flaw("plain records"), plainSwap: flaw("plain swap")}
	newStore := func(_ testing.TB, now func() time.Time) opaque.Store { s.now = now; return s }
	if s.plainSwap {
		apptest.Run(t, newStore)
		return
	}
	apptest.RunRaw(t, newStore, s)
}

func flaw(name string) bool { return os.Getenv("APPTEST_FLAW") == name }

// withFlaw runs TestRunRaw in another process, where it must fail.
func withFlaw(t *testing.T, flaw, run string) (output string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run="+run)
	cmd.Env = append(os.Environ(), "APPTEST_FLAW="+flaw)
	got, err := cmd.CombinedOutput()
	require.Error(t, err)
	return string(got)
}

func TestRunFindsPlainSwap(t *testing.T) {
	output := withFlaw(t, "plain swap", "^TestRunRaw$/^application$/^behaviour$/^opaque$/^parallel_updates_all_count$")
	require.Contains(t, output, "--- FAIL: TestRunRaw/application/behaviour/opaque/parallel_updates_all_count")
}

func TestRunRawFindsPlainRecords(t *testing.T) {
	output := withFlaw(t, "plain records", "^TestRunRaw$")
	for _, name := range []string{"a_dump_shows_nothing,_and_opens_nothing", "damaged", "swapped", "rolled_back"} {
		require.Contains(t, output, "--- FAIL: TestRunRaw/server/"+name)
	}
}
