package rotation_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/span"
	"github.com/cloakroom-go/cloakroom/keys"
)

const (
	day        = 24 * time.Hour
	month      = 30 * day                                   // the rotation period of the example
	lead       = time.Hour + 3*time.Minute + 30*time.Second // of the example: 2m + 30s + 1m + 1h
	spread     = 3*time.Minute + 30*time.Second             // of the example: 2m + 30s + 1m
	verifyOnly = time.Hour + 17*time.Minute                 // verify-only of the example: 15m + 1m + 1m + 1h
)

// example is a policy whose numbers are easy to follow by hand.
func example() keyset.Policy {
	return keyset.Policy{TokenLife: 15 * time.Minute, Leeway: time.Minute, ClockSkew: time.Minute,
		DistributionLag: 2 * time.Minute, ReloadInterval: 30 * time.Second, CacheLife: time.Hour, Grace: time.Hour,
		RotationPeriod: month, PeakRate: 500}
}

// with is the example with changes.
func with(edit func(p *keyset.Policy)) keyset.Policy {
	p := example()
	edit(&p)
	return p
}

// zero is when the keys of most tests are made.
func zero() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// A desk is where an operator takes steps, one after the other. It names the
// keys in the order in which it meets them: sig1, sig2, enc1 and so on.
type desk struct {
	testing.TB
	set   *keyset.Set
	names map[string]string // by kid
	count map[keyset.Use]int
}

func newDesk(t testing.TB, set *keyset.Set) *desk {
	d := &desk{TB: t, set: set, names: make(map[string]string), count: make(map[keyset.Use]int)}
	d.name()
	return d
}

// open makes a file at zero with the policy of the example.
func open(t testing.TB, algs ...keyset.Algorithm) *desk {
	t.Helper()
	return openWith(t, example(), algs...)
}

func openWith(t testing.TB, p keyset.Policy, algs ...keyset.Algorithm) *desk {
	t.Helper()
	set, err := rotation.New(p, zero(), algs...)
	require.NoError(t, err)
	return newDesk(t, set)
}

// legacy is a desk with keys that were not made by rotation, under the policy
// of the example.
func legacy(t testing.TB, list ...*keyset.Key) *desk {
	t.Helper()
	set, err := keyset.NewSet(list...)
	require.NoError(t, err)
	require.NoError(t, set.SetPolicy(example()))
	return newDesk(t, set)
}

func generate(t testing.TB, alg keyset.Algorithm, d keyset.Dates) *keyset.Key {
	t.Helper()
	k, err := keyset.Generate(alg, d)
	require.NoError(t, err)
	return k
}

func (d *desk) name() {
	for _, k := range slices.Concat(d.set.Keys(), d.set.Pruned()) {
		if d.names[k.ID()] == "" {
			d.count[k.Use()]++
			d.names[k.ID()] = fmt.Sprintf("%s%d", k.Use(), d.count[k.Use()])
		}
	}
}

// id returns the kid of a key by its name.
func (d *desk) id(name string) string {
	d.Helper()
	for id, n := range d.names {
		if n == name {
			return id
		}
	}
	d.Fatalf("no key is called %s", name)
	return ""
}

// plain puts names in place of kids.
func (d *desk) plain(text string) string {
	for id, name := range d.names {
		text = strings.ReplaceAll(text, id, name)
	}
	return text
}

// try tries a step at an instant after zero, and sees to it that the set is
// left alone.
func (d *desk) try(s rotation.Step, at time.Duration) (*keyset.Set, error) {
	d.Helper()
	before := d.set.Clone()
	after, err := s.Try(d.set, zero().Add(at))
	same(d, before, d.set)
	require.Equal(d, err == nil, after != nil, "a set or an error")
	return after, err
}

// take takes a step at an instant after zero.
func (d *desk) take(s rotation.Step, at time.Duration) *desk {
	d.Helper()
	after, err := d.try(s, at)
	require.NoError(d, err)
	d.set = after
	d.name()
	return d
}

// unchanged says that a step changes nothing.
func (d *desk) unchanged(s rotation.Step, at time.Duration) {
	d.Helper()
	after, err := d.try(s, at)
	require.NoError(d, err)
	require.Empty(d, rotation.Diff(d.set, after))
}

// refuse says that a step is refused, with these parts in the text of the
// error.
func (d *desk) refuse(s rotation.Step, at time.Duration, parts ...string) {
	d.Helper()
	_, err := d.try(s, at)
	require.ErrorIs(d, err, rotation.ErrRefused)
	for _, part := range parts {
		require.Contains(d, d.plain(err.Error()), part)
	}
}

// refuseNew is refuse for a step that makes a key: its kid is given the name
// that it would have.
func (d *desk) refuseNew(s rotation.Step, at time.Duration, parts ...string) {
	d.Helper()
	_, err := d.try(s, at)
	require.ErrorIs(d, err, rotation.ErrRefused)
	text := d.plain(err.Error())
	for _, use := range [...]keyset.Use{keyset.Signature, keyset.Encryption} {
		text = newKid(use, d.count[use]+1, text, parts)
	}
	for _, part := range parts {
		require.Contains(d, text, part)
	}
}

// newKid puts a name in place of what is no name, if a key of this use is
// looked for.
func newKid(use keyset.Use, n int, text string, parts []string) string {
	name := fmt.Sprintf("%s%d", use, n)
	if !strings.Contains(strings.Join(parts, " "), name) {
		return text
	}
	return regexp.MustCompile(`\b(key|keys|and) ([A-Za-z0-9_-]{22}|[A-Za-z0-9_-]{43})( |:|,)`).ReplaceAllString(text,
		"$1 "+name+"$3")
}

// safeFrom says that a step is taken from this instant on: a second earlier, it
// is refused with this instant.
func (d *desk) safeFrom(s rotation.Step, at time.Duration, formula ...string) *desk {
	d.Helper()
	safe := "earliest safe: " + zero().Add(at).Format(time.RFC3339)
	d.refuse(s, at-time.Second, append(formula, safe)...)
	return d.take(s, at)
}

// due takes IfDue at each instant at which something is due, between two
// instants after zero.
func (d *desk) due(from, until time.Duration) *desk {
	d.Helper()
	for now := zero().Add(from); ; {
		next := rotation.NextDue(d.set, now)
		if next.IsZero() || next.After(zero().Add(until)) {
			return d
		}
		d.take(rotation.IfDue(), next.Sub(zero()))
		now = next
	}
}

// lives returns "name alg publish_at sign_from sign_until verify_until" for
// each key, with the instants as times after zero, and what has become of it.
func (d *desk) lives() []string {
	var all []string
	for _, k := range d.set.Keys() {
		line := d.names[k.ID()] + " " + string(k.Algorithm())
		dates := k.Dates()
		for _, at := range [...]time.Time{dates.PublishAt, dates.SignFrom, dates.SignUntil, dates.VerifyUntil} {
			line += " " + after(at)
		}
		if _, _, revoked := k.Revoked(); revoked {
			line += " revoked"
		} else if !k.HasPrivate() {
			line += " public"
		}
		all = append(all, line)
	}
	for _, k := range d.set.Pruned() {
		line := d.names[k.ID()] + " pruned"
		if _, _, revoked := k.Revoked(); revoked {
			line += " revoked"
		}
		all = append(all, line)
	}
	return all
}

func after(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return span.Format(at.Sub(zero()))
}

func (d *desk) want(lives ...string) {
	d.Helper()
	require.Equal(d, lives, d.lives())
}

// signers returns who signs and who encrypts at an instant after zero,
// according to a ring with the keys.
func (d *desk) signers(at time.Duration) string {
	d.Helper()
	r, err := (*keys.Set)(d.set).Ring()
	require.NoError(d, err)
	text := func(k *keys.Key, err error) string {
		switch {
		case err != nil:
			require.ErrorIs(d, err, keyset.ErrNoActiveKey)
			return "error"
		case k == nil:
			return "none"
		}
		return d.names[k.ID()]
	}
	return text(r.Current(keys.Signature, zero().Add(at))) + " " + text(r.Current(keys.Encryption, zero().Add(at)))
}

// findings returns "severity name text" for what Inspect finds.
func (d *desk) findings(at time.Duration) []string {
	var all []string
	for _, f := range rotation.Inspect(d.set, zero().Add(at)) {
		all = append(all, d.plain(fmt.Sprintf("%s %s %s", f.Severity, or(f.ID, "-"), f.Text)))
	}
	return all
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// same says that two sets hold the same.
func same(t testing.TB, want, got *keyset.Set) {
	t.Helper()
	require.Empty(t, rotation.Diff(want, got))
	require.Empty(t, rotation.Diff(got, want))
	require.Equal(t, want.Generation(), got.Generation())
	require.Equal(t, len(want.Pruned()), len(got.Pruned()))
}

// place makes a key file of a set, and returns it with the bytes that it has.
func place(t testing.TB, set *keyset.Set) keyset.File {
	t.Helper()
	f := keyset.File{Path: filepath.Join(t.TempDir(), "keys.json")}
	require.NoError(t, f.Create(t.Context(), set.Clone()))
	return f
}

func content(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}
