package apptest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
)

// SharedLog runs [Several] over stores that are Logs, in 30 random orders; with
// CLOAKROOM_SOAK=1 in the environment in 3,000. It makes one store for each
// instance: open must return stores that share what they keep, and with it the
// log.
func SharedLog(t *testing.T, open NewStore) {
	t.Helper()
	orders := 30
	if soaks() {
		orders = 3000
	}
	clock := NewClock(time.Now())
	var stores []opaque.Store
	var logs []revocation.Log
	for range 3 {
		s := open(t, clock.Now)
		require.Implements(t, (*revocation.Log)(nil), s)
		stores, logs = append(stores, s), append(logs, s.(revocation.Log))
	}
	var sum Verdict
	for seed := range orders {
		v := Several{
			Mode: Modes()[seed%3], Seed: uint64(seed), Instances: 2 + seed/3%2,
			Store: Instances(stores...), Clock: clock, Logs: logs,
		}.Run(t)
		require.Empty(t, v.Violation, "seed %d", seed)
		sum.Add(v)
		clock.Advance(time.Minute) // so that the ends of one order are no concern of the next
	}
	require.Positive(t, sum.Early, "no instance was ever late")
	Account(t, "%s: %v", t.Name(), sum)
}

// Account adds a line to what make prints at its end, since go test is silent
// about tests that pass.
func Account(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Logf(format, args...)
	path := os.Getenv("TEST_REPORT")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	require.NoError(t, err)
	_, err = fmt.Fprintf(f, format+"\n", args...)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}
