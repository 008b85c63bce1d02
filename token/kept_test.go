package token_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// issue returns a token of rec for a service.
func (b *bench) issue(t testing.TB, i *token.Issuer, rec *session.Record, audience string) string {
	t.Helper()
	bearer, err := i.Issue(t.Context(), b.of(rec), audience)
	require.NoError(t, err)
	return bearer
}

// One token serves calls until half of its life is over.
func TestIssuerKeepsTokens(t *testing.T) {
	b := newBench(t, keys.ES256)
	i := b.issuer(t)
	first := b.issue(t, i, record(nil), "orders")
	for after, same := range map[time.Duration]bool{
		0: true, time.Second: true, 30 * time.Second: true, 30*time.Second + 1: false, time.Hour - time.Second: false,
		-time.Second: false, // the clock was set back, and first would live for too long
	} {
		i := b.issuer(t)
		b.now = start
		first := b.issue(t, i, record(nil), "orders")
		b.now = start.Add(after)
		rec := record(nil)
		rec.IdleDeadline = b.now.Add(20 * time.Minute) // active in between
		again := b.issue(t, i, rec, "orders")
		assert.Equal(t, same, first == again, "%v", after)
		caller, err := b.verifier(t).Verify(t.Context(), again)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, caller.ExpiresAt.Sub(b.now), 29*time.Second)
		assert.LessOrEqual(t, caller.ExpiresAt.Sub(b.now), time.Minute)
	}
	b.now = start
	values := record(map[string]string{"cart": "[1]"})
	values.Version++
	assert.Equal(t, first, b.issue(t, i, values, "orders"), "a token has none of the values")
}

// A token is kept for nothing but what it says, all of it: a login that was
// given up may have had the same generation.
func TestIssuerKeepsTokensApart(t *testing.T) {
	b := newBench(t, keys.ES256)
	var further map[string]any
	i, err := token.NewIssuer(token.IssuerConfig{Ring: b.ring, Issuer: "https://app.example", Now: b.clock,
		Claims: func(context.Context, *session.Session, string) (map[string]any, error) { return further, nil }})
	require.NoError(t, err)
	changed := func(change func(rec *session.Record)) *session.Record {
		rec := record(nil)
		change(rec)
		return rec
	}
	seen := map[string]string{}
	try := func(name string, rec *session.Record, audience string) {
		t.Helper()
		bearer := b.issue(t, i, rec, audience)
		assert.Empty(t, seen[bearer], name)
		seen[bearer] = name
		assert.Equal(t, bearer, b.issue(t, i, rec, audience), name)
	}
	try("first", record(nil), "orders")
	try("audience", record(nil), "billing")
	try("session", changed(func(rec *session.Record) { rec.ID = "b3RoZXI" }), "orders")
	try("generation", changed(func(rec *session.Record) { rec.Generation++ }), "orders")
	try("subject", changed(func(rec *session.Record) { rec.Subject = "bob" }), "orders")
	try("login", changed(func(rec *session.Record) { rec.AuthenticatedAt = start.Add(-time.Minute) }), "orders")
	try("since", changed(func(rec *session.Record) { rec.Since = start.Add(-time.Millisecond) }), "orders")
	try("tags", changed(func(rec *session.Record) { rec.Tags = rec.Tags[:1] }), "orders")
	try("amr", changed(func(rec *session.Record) { rec.AMR = rec.AMR[:1] }), "orders")
	for _, further = range []map[string]any{
		{"roles": []string{"a"}}, {"roles": []string{"a", "b"}}, {"role": "a"}, {"roles": "a"},
		{"roles": map[string]int{"a": 1, "b": 2, "c": 3}}, {"acr": "2"},
	} {
		try(fmt.Sprint(further), record(nil), "orders")
	}
	further = nil
	assert.Equal(t, "first", seen[b.issue(t, i, record(nil), "orders")])
}

// No token outlives what a new one could: the session, or the trust in its key.
func TestIssuerKeepsTokensNoLonger(t *testing.T) {
	b := newBench(t, keys.ES256)
	i := b.issuer(t)
	first := b.issue(t, i, record(nil), "orders")
	for _, shorten := range []func(rec *session.Record){
		func(rec *session.Record) { rec.Deadline = start.Add(40 * time.Second) },
		func(rec *session.Record) { rec.IdleDeadline = start.Add(40 * time.Second) },
	} {
		rec := record(nil)
		shorten(rec)
		second := b.issue(t, i, rec, "orders")
		require.NotEqual(t, first, second)
		caller, err := b.verifier(t).Verify(t.Context(), second)
		require.NoError(t, err)
		require.Equal(t, start.Add(40*time.Second).Unix(), caller.ExpiresAt.Unix())
		b.now = start.Add(39 * time.Second)
		require.Equal(t, second, b.issue(t, i, rec, "orders"), "a new one would expire then, too")
		b.now = start.Add(40 * time.Second)
		_, err = i.Issue(t.Context(), b.of(rec), "orders")
		require.ErrorIs(t, err, session.Unavailable)
		b.now = start
	}
	old := b.ring.Set()
	require.NoError(t, b.ring.Replace(apptest.NewRing(t, b.clock, keys.ES256).Set().Keys()...))
	second := b.issue(t, i, record(nil), "orders")
	require.NotEqual(t, first, second)
	_, err := b.verifier(t).Verify(t.Context(), second)
	require.NoError(t, err, "the old key may have been revoked")
	ended, err := keys.Generate(keys.ES256, keys.Dates{
		SignUntil: start.Add(20 * time.Second), VerifyUntil: start.Add(20 * time.Second)})
	require.NoError(t, err)
	require.NoError(t, b.ring.Replace(ended))
	caller, err := b.verifier(t).Verify(t.Context(), b.issue(t, i, record(nil), "orders"))
	require.NoError(t, err)
	require.Equal(t, start.Add(20*time.Second).Unix(), caller.ExpiresAt.Unix())
	require.NoError(t, b.ring.Replace(old.Keys()...))
	require.NotEqual(t, second, b.issue(t, i, record(nil), "orders"))
}

// Many sessions, each with the most that a token can say, take a bounded amount
// of memory.
func TestIssuerMemory(t *testing.T) {
	b := newBench(t, keys.EdDSA)
	i, err := token.NewIssuer(token.IssuerConfig{Ring: b.ring, Issuer: "https://app.example", Now: b.clock,
		Claims: func(context.Context, *session.Session, string) (map[string]any, error) {
			return map[string]any{"pad": strings.Repeat("x", 2000)}, nil
		}})
	require.NoError(t, err)
	before := apptest.Heap()
	for n := range 5000 {
		rec := record(nil)
		rec.ID = fmt.Sprint("session ", n)
		b.issue(t, i, rec, "orders")
	}
	assert.Less(t, apptest.Heap()-before, int64(10<<20), "they would take 17 MB")
	runtime.KeepAlive(i)
}

// Several goroutines of several requests use one Issuer.
func TestIssuerIsShared(t *testing.T) {
	b := newBench(t, keys.ES256)
	i, v := b.issuer(t), b.verifier(t)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for k := range 20 {
				rec := record(nil)
				rec.ID = fmt.Sprint(n % 2)
				bearer, err := i.Issue(t.Context(), b.of(rec), "orders")
				caller, verifyErr := v.Verify(t.Context(), bearer)
				if assert.NoError(t, errors.Join(err, verifyErr), k) {
					assert.Equal(t, rec.ID, caller.SessionID)
				}
			}
		})
	}
	all.Wait()
}
