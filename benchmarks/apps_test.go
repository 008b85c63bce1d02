package benchmarks_test

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/gorilla/sessions"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/token"
)

// A place is where sessions are kept, with the apps that keep them there.
type place struct {
	name    string
	readers []int // how many clients read at once
	writers []int // how many do the other things at once
	open    func(tb testing.TB) []*app
}

func places() []place {
	few, some, many := []int{1}, []int{1, 8, 64}, []int{1, 8, 64, 256}
	return []place{
		{"Bare", many, nil, func(testing.TB) []*app { return []*app{bare()} }},
		{"Memory", some, some, inMemory},
		{"Stateless", some, few, stateless},
		{"Redis", many, []int{1, 64}, inRedis},
		{"PostgreSQL", some, []int{1, 8}, inPostgreSQL},
		{"MariaDB", some, []int{1, 8}, inMariaDB},
		{"SQLite", some, []int{1, 8}, inSQLite},
	}
}

// Every app does what is measured.
func TestApps(t *testing.T) {
	for _, p := range places() {
		t.Run(p.name, func(t *testing.T) {
			for _, a := range p.open(t) {
				visitor := newBrowser()
				if len(a.on) == 1 {
					require.Equal(t, "1", visitor.do(a.on[read]), a.peer)
					continue
				}
				for _, step := range []struct {
					does action
					want string
				}{{create, "welcome"}, {read, "1"}, {increment, "2"}, {read, "2"}, {touch, "2"}, {create, "welcome"}} {
					if h := a.on[step.does]; h != nil {
						require.Equal(t, step.want, visitor.do(h), "%s: %s", a.peer, step.does)
					}
				}
			}
		})
	}
}

func BenchmarkBare(b *testing.B)       { benchmark(b, "Bare") }
func BenchmarkMemory(b *testing.B)     { benchmark(b, "Memory") }
func BenchmarkStateless(b *testing.B)  { benchmark(b, "Stateless") }
func BenchmarkRedis(b *testing.B)      { benchmark(b, "Redis") }
func BenchmarkPostgreSQL(b *testing.B) { benchmark(b, "PostgreSQL") }
func BenchmarkMariaDB(b *testing.B)    { benchmark(b, "MariaDB") }
func BenchmarkSQLite(b *testing.B)     { benchmark(b, "SQLite") }

// benchmark measures the peers one after the other, so that what else happens
// on the machine meets all of them.
func benchmark(b *testing.B, name string) {
	for _, p := range places() {
		if p.name != name {
			continue
		}
		apps := p.open(b)
		for _, act := range actions() {
			clients := p.writers
			if act == read {
				clients = p.readers
			}
			for _, n := range clients {
				for _, a := range apps {
					if a.on[act] != nil {
						b.Run(fmt.Sprintf("case=%s/clients=%d/peer=%s", act, n, a.peer), func(b *testing.B) {
							measure(b, a, act, n)
						})
					}
				}
			}
		}
	}
}

// roomy is a limit that the benchmarks don't reach.
const roomy = 1 << 30

func inMemory(tb testing.TB) []*app {
	tb.Helper()
	store, err := opaque.NewMemoryStore(opaque.MemoryConfig{MaxSessions: roomy, MaxBytes: roomy * 100})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = store.Close() })
	return []*app{
		oursIn(tb, "ours", store, nil),
		scsIn("scs", memstore.New(), idleTimeout),
		scsIn("scs-without-idle", memstore.New(), 0),
	}
}

func stateless(tb testing.TB) []*app {
	tb.Helper()
	return []*app{
		oursInTokens(tb, "ours", keys.HS256, keys.Direct),
		oursInTokens(tb, "ours-ES256", keys.ES256, keys.Direct),
		gorillaIn("gorilla", cookieStore()),
	}
}

// cookieStore returns a store that signs and encrypts, as ours does.
func cookieStore() *sessions.CookieStore {
	store := sessions.NewCookieStore(random(32), random(32))
	store.MaxAge(int(idleTimeout / time.Second))
	return store
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// oursInTokens returns an app with stateless sessions, in tokens that are
// signed and encrypted.
func oursInTokens(tb testing.TB, peer string, algorithms ...keys.Algorithm) *app {
	tb.Helper()
	var all []*keys.Key
	for _, algorithm := range algorithms {
		key, err := keys.Generate(algorithm, keys.Dates{})
		require.NoError(tb, err)
		all = append(all, key)
	}
	ring, err := keys.NewRing(all...)
	require.NoError(tb, err)
	list := revocation.NewVolatile(revocation.Config{})
	carrier, err := token.NewCarrier(token.CarrierConfig{Ring: ring, Issuer: "https://app.example", Revocations: list})
	require.NoError(tb, err)
	return ours(tb, peer, carrier, list, nil)
}
