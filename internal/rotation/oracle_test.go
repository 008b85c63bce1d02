package rotation_test

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/keys"
)

// The rules of rotation, computed here from the durations of the policy.
// Nothing of package rotation is used for them, so that its mistakes are not
// repeated.

// leadOf is D + R + S, and C besides for keys that others verify with.
func leadOf(p keyset.Policy, alg keyset.Algorithm) time.Duration {
	lead := p.DistributionLag + p.ReloadInterval + p.ClockSkew
	if alg == keyset.ES256 || alg == keyset.EdDSA {
		lead += p.CacheLife
	}
	return lead
}

// slowCaches were filled before an instant, under an earlier policy with a
// longer cache_life.
type slowCaches struct {
	filled time.Time
	life   time.Duration
}

// lead is the longest time for which a key may have to be known before it
// signs.
func (w *world) lead(now time.Time) time.Duration {
	p := w.set.Policy()
	lead := leadOf(p, keyset.ES256)
	for _, c := range w.slow {
		if c.filled.Add(c.life + p.ClockSkew).After(now) {
			lead = max(lead, leadOf(p, keyset.HS256)+c.life)
		}
	}
	return lead
}

// verifyOnlyOf is T + L + S + G.
func verifyOnlyOf(p keyset.Policy) time.Duration {
	return p.TokenLife + p.Leeway + p.ClockSkew + p.Grace
}

// signs reports whether a key has a time to sign.
func signs(k *keyset.Key) bool {
	d := k.Dates()
	return d.SignUntil.IsZero() || d.SignUntil.After(d.SignFrom)
}

func isRevoked(k *keyset.Key) bool {
	_, _, revoked := k.Revoked()
	return revoked
}

// checkStep checks that a step has kept the rules. now is the time by the clock
// of the machine that took it.
func (w *world) checkStep(before *keyset.Set, now time.Time, first bool) {
	w.publish(now)
	now = now.Truncate(time.Second)
	if was := before.Policy().CacheLife; !first && was > w.set.Policy().CacheLife {
		w.slow = append(w.slow, slowCaches{now, was})
	}
	w.needTokens(before, now)
	for _, k := range w.set.Keys() {
		if was := before.Key(k.ID()); !isRevoked(k) && (was == nil || was.Dates() != k.Dates()) {
			w.checkLead(before, was, k, now, first)
			w.checkTrust(was, k, now)
		}
		if need, ok := w.needed[k.ID()]; ok && !isRevoked(k) {
			short := k.Dates().VerifyUntil.Before(need)
			require.False(w, short, "%s stops verifying while tokens of it live, until %s", k.ID(), after(need))
		}
	}
	w.checkHistory(before)
	w.checkDiff(before)
	w.checkInstants(before, now)
	w.since = now
}

// needTokens notes how long the tokens live that instances may sign with the
// keys of before, until they have read the file of now. It limits exp as
// token.Signer does.
func (w *world) needTokens(before *keyset.Set, now time.Time) {
	ring, err := (*keys.Set)(before).Ring()
	require.NoError(w, err)
	p, is := before.Policy(), w.set.Policy()
	lag := min(leadOf(p, keyset.HS256), leadOf(is, keyset.HS256)) // by both policies
	// An instance may be ahead by half the skew, and so may an operator.
	until := w.now.Add(lag - p.ClockSkew/2)
	at := []time.Time{now, until}
	for _, date := range dates(before) {
		if date = date.Add(-time.Second); date.After(w.since) && date.Before(until) {
			at = append(at, date)
		}
	}
	for _, at := range at {
		signer, _ := ring.Current(keys.Signature, at)
		sealer, _ := ring.Current(keys.Encryption, at)
		for _, k := range []*keys.Key{signer, sealer} {
			if k == nil {
				continue
			}
			exp := at.Add(p.TokenLife)
			if last := (*keyset.Key)(k).TokensUntil(); !last.IsZero() && exp.After(last) {
				exp = last
			}
			if need := exp.Add(p.Leeway + p.ClockSkew); need.After(w.needed[k.ID()]) {
				w.needed[k.ID()] = need
			}
		}
	}
}

// publish notes from when the readers of the file know its keys.
func (w *world) publish(now time.Time) {
	for _, k := range w.set.Keys() {
		if since, ok := w.listed[k.ID()]; ok && !since.After(now) {
			continue
		}
		w.listed[k.ID()] = k.Dates().PublishAt
		if now.After(k.Dates().PublishAt) {
			w.listed[k.ID()] = now.Add(time.Second - 1).Truncate(time.Second)
		}
	}
}

// checkLead: a key signs only when everybody knows it, unless nothing else can
// sign.
func (w *world) checkLead(before *keyset.Set, was, k *keyset.Key, now time.Time, first bool) {
	from := k.Dates().SignFrom
	w.rushed[k.ID()] = w.rushed[k.ID()] || first
	if first || !signs(k) || was != nil && was.Dates().SignFrom.Equal(from) {
		return
	}
	p, listed := w.set.Policy(), w.listed[k.ID()]
	safe := listed.Add(leadOf(p, k.Algorithm()))
	for _, c := range w.slow {
		filled := listed.Add(leadOf(p, keyset.HS256)) // with a set that lacks the key, at the latest
		if c.filled.Before(filled) {
			filled = c.filled
		}
		if last := filled.Add(c.life); last.After(safe) && leadOf(p, k.Algorithm()) > leadOf(p, keyset.HS256) {
			safe = last
		}
	}
	if from.Before(safe) && w.recovers(before, k, now) {
		w.rushed[k.ID()] = true
		late := k.Dates().PublishAt.After(now.Add(-p.ClockSkew))
		require.False(w, was == nil && late, "instances whose clock is behind don't know it")
		return
	}
	require.False(w, from.Before(safe), "%s signs from %s, and is known only at %s", k.ID(), after(from), after(safe))
}

// recovers reports whether a key begins when no other one can sign: none did
// before, the one that did was revoked, or its grace is over.
func (w *world) recovers(before *keyset.Set, k *keyset.Key, now time.Time) bool {
	ring, err := (*keys.Set)(before).Ring()
	require.NoError(w, err)
	maker := func(now time.Time) (*keyset.Key, error) {
		k, err := ring.Current(keys.Use(k.Use()), now)
		return (*keyset.Key)(k), err
	}
	old, err := maker(now)
	switch {
	case err != nil:
		return true
	case old == nil:
		return false // nothing was encrypted yet
	}
	gone := func(was *keyset.Key) bool { is := w.set.Key(was.ID()); return is == nil || isRevoked(is) }
	then, err := maker(k.Dates().SignFrom)
	return gone(old) || old.State(now) == keyset.Retiring && (err != nil || gone(then) || then.ID() == k.ID())
}

// checkTrust: no key signs, or is trusted, for longer than it has to be.
func (w *world) checkTrust(was, k *keyset.Key, now time.Time) {
	p, d := w.set.Policy(), k.Dates()
	require.False(w, d.SignUntil.IsZero() || d.VerifyUntil.IsZero(), "without an end")
	most := verifyOnlyOf(p)
	if was != nil {
		most = max(most, was.Dates().VerifyUntil.Sub(was.Dates().SignUntil))
		if !was.Dates().SignUntil.After(now.Add(p.ClockSkew)) { // it has ended by another clock
			most += p.ClockSkew
		}
	}
	got := d.VerifyUntil.Sub(d.SignUntil)
	require.LessOrEqual(w, got, most, "trusted too long")
	if signs(k) {
		require.GreaterOrEqual(w, got, verifyOnlyOf(p), "trusted too short")
	}
	if was == nil || now.Before(was.Dates().SignFrom) {
		require.LessOrEqual(w, d.SignUntil.Sub(d.SignFrom), 2*p.RotationPeriod, "signs too long")
	} else if d.SignUntil.After(was.Dates().SignUntil) && d.SignUntil.Sub(d.SignFrom) > 2*p.RotationPeriod {
		longest := time.Second + p.ClockSkew + w.lead(now)
		require.LessOrEqual(w, d.SignUntil.Sub(now), longest, "goes on for longer than its successor needs")
	}
}

// checkHistory: a revoked key stays revoked, a pruned one doesn't come back,
// and no key vanishes.
func (w *world) checkHistory(before *keyset.Set) {
	for _, k := range w.set.Pruned() {
		w.pruned[k.ID()] = true
	}
	for _, k := range slices.Concat(w.set.Keys(), w.set.Pruned()) {
		at, reason, revoked := k.Revoked()
		if text, ok := w.revoked[k.ID()]; ok {
			require.True(w, revoked, "%s was revoked", k.ID())
			require.Equal(w, text, at.String()+reason)
		}
		if revoked {
			w.revoked[k.ID()] = at.String() + reason
			require.False(w, k.HasPrivate())
		}
	}
	for id := range w.pruned {
		require.Nil(w, w.set.Key(id), "%s was pruned", id)
	}
	for _, k := range before.Keys() {
		require.True(w, w.set.Key(k.ID()) != nil || w.pruned[k.ID()], "%s has vanished", k.ID())
	}
}

// checkDiff: Diff has all that differs, once.
func (w *world) checkDiff(before *keyset.Set) {
	var want, got []string
	was, is := before.Policy().Fields(), w.set.Policy().Fields()
	for i := range is {
		if was[i] != is[i] {
			want = append(want, " "+is[i][0])
		}
	}
	differ := func(id string, was, is keyset.Dates) {
		for name, at := range map[string][2]time.Time{
			"created": {was.Created, is.Created}, "publish_at": {was.PublishAt, is.PublishAt},
			"sign_from":  {was.SignFrom, is.SignFrom},
			"sign_until": {was.SignUntil, is.SignUntil}, "verify_until": {was.VerifyUntil, is.VerifyUntil},
		} {
			if !at[0].Equal(at[1]) {
				want = append(want, id+" "+name)
			}
		}
	}
	for _, k := range slices.Concat(w.set.Keys(), w.set.Pruned()) {
		was := before.Key(k.ID())
		switch {
		case was == nil && w.set.Key(k.ID()) != nil:
			want = append(want, k.ID()+" made")
			differ(k.ID(), keyset.Dates{Created: k.Dates().Created}, k.Dates())
			continue
		case was == nil:
			continue // pruned before
		case isRevoked(k) && !isRevoked(was):
			want = append(want, k.ID()+" revoked")
		case w.set.Key(k.ID()) == nil:
			want = append(want, k.ID()+" pruned")
		case was.HasPrivate() && !k.HasPrivate():
			want = append(want, k.ID()+" erased")
		}
		differ(k.ID(), was.Dates(), k.Dates())
	}
	for _, c := range rotation.Diff(before, w.set) {
		got = append(got, c.ID+" "+c.What)
	}
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(w, want, got)
}

// checkInstants: at every instant at most one key of a use is active, a key
// signs as long as one is scheduled, the public set has no secrets, and
// instances accept each other's tokens whether they have read the new file or
// not.
func (w *world) checkInstants(before *keyset.Set, now time.Time) {
	ring, err := (*keys.Set)(w.set).Ring()
	require.NoError(w, err)
	signer, err := ring.Current(keys.Signature, now)
	last := now
	if err == nil {
		last = w.reach((*keyset.Key)(signer))
	}
	for _, at := range w.instants(now) {
		active := make(map[keyset.Use]int)
		for _, k := range w.set.Keys() {
			if k.State(at) == keyset.Active {
				active[k.Use()]++
			}
		}
		require.LessOrEqual(w, active[keyset.Signature], 1, "at %s", after(at))
		require.LessOrEqual(w, active[keyset.Encryption], 1, "at %s", after(at))
		if w.rng.IntN(2) == 0 && !at.Before(now) && at.Before(last) {
			_, err := ring.Current(keys.Signature, at)
			require.NoError(w, err, "at %s", after(at))
		}
		if w.rng.IntN(8) == 0 {
			w.checkPublic(at)
		}
	}
	for id := range w.revoked {
		_, err := ring.Key(w.Context(), id, now)
		require.ErrorIs(w, err, keyset.ErrKeyRevoked)
	}
	w.checkReplicas(before, ring)
}

// reach is until when keys sign one after the other.
func (w *world) reach(signer *keyset.Key) time.Time {
	last := signer.Dates().SignUntil
	for again := true; again; {
		again = false
		for _, k := range w.set.Keys() {
			d := k.Dates()
			follows := d.SignUntil.After(last) && !d.SignFrom.After(last.Add(w.set.Policy().Grace))
			if follows && k.Use() == keyset.Signature && signs(k) && !isRevoked(k) {
				last, again = d.SignUntil, true
			}
		}
	}
	return last
}

// instants returns the times at which something changes, those a second before
// and after, and some others.
func (w *world) instants(now time.Time) []time.Time {
	all := []time.Time{now}
	for _, at := range dates(w.set) {
		if at.After(zero().Add(-day)) {
			all = append(all, at.Add(-time.Second), at, at.Add(time.Second))
		}
	}
	for range 4 {
		all = append(all, now.Add(w.upTo(2*w.set.Policy().RotationPeriod)))
	}
	return all
}

// checkReplicas: an instance that has not read the file yet accepts the key
// that others sign with, unless that key could not wait.
func (w *world) checkReplicas(before *keyset.Set, ring *keys.Ring) {
	p := w.set.Policy()
	old, err := (*keys.Set)(before).Ring()
	require.NoError(w, err)
	for _, later := range []time.Duration{0, time.Second, p.ReloadInterval, p.DistributionLag + p.ReloadInterval - 1} {
		ahead, behind := w.now.Add(later+p.ClockSkew/2), w.now.Add(later-p.ClockSkew/2)
		signer, _ := ring.Current(keys.Signature, ahead)
		sealer, _ := ring.Current(keys.Encryption, ahead)
		for _, k := range []*keys.Key{signer, sealer} {
			if k == nil {
				continue
			}
			if was := before.Key(k.ID()); w.rushed[k.ID()] && (was == nil || behind.Before(was.Dates().PublishAt)) {
				continue
			}
			_, err := old.Key(w.Context(), k.ID(), behind)
			require.NoError(w, err, "%s, %s later", k.ID(), later)
		}
	}
}

// checkPublic: the JWK Set has the keys that others verify with, and only their
// public members.
func (w *world) checkPublic(at time.Time) {
	text, err := w.set.PublicSet(at)
	require.NoError(w, err)
	var set struct{ Keys []map[string]any }
	require.NoError(w, json.Unmarshal(text, &set))
	var want, got []string
	for _, k := range w.set.Keys() {
		state := k.State(at)
		forOthers := k.Algorithm() == keyset.ES256 || k.Algorithm() == keyset.EdDSA
		if forOthers && (state == keyset.Pending || state == keyset.Active || state == keyset.Retiring) {
			want = append(want, k.ID())
		}
	}
	for _, k := range set.Keys {
		for name := range k {
			require.Contains(w, []string{"kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"}, name)
		}
		require.Contains(w, []string{"EC", "OKP"}, k["kty"])
		require.Equal(w, "sig", k["use"])
		got = append(got, k["kid"].(string))
	}
	require.Equal(w, want, got)
}

// afterIfDue: a key of each use signs, nothing is wrong, and NextDue says when
// something is due again.
func (w *world) afterIfDue(before *keyset.Set, now time.Time) {
	old, err := (*keys.Set)(before).Ring()
	require.NoError(w, err)
	_, err1 := old.Current(keys.Signature, now)
	_, err2 := old.Current(keys.Encryption, now)
	if errors.Join(err1, err2) != nil {
		require.NoError(w, w.try(rotation.IfDue(), now)) // a recovery leaves it to the next one to clean up
	}
	ring, err := (*keys.Set)(w.set).Ring()
	require.NoError(w, err)
	_, err = ring.Current(keys.Signature, now)
	require.NoError(w, err)
	_, err = ring.Current(keys.Encryption, now)
	require.NoError(w, err)
	for _, f := range rotation.Inspect(w.set, now) {
		require.Equal(w, rotation.Warning, f.Severity, f.Text)
	}
	next := rotation.NextDue(w.set, now)
	require.True(w, next.After(now), "it was done")
	require.Equal(w, next.Truncate(time.Second), next)
	for _, at := range []time.Time{now, now.Add(w.upTo(next.Sub(now) - time.Second)), next.Add(-time.Second), next} {
		after, err := rotation.IfDue().Try(w.set, at)
		require.NoError(w, err)
		require.Equal(w, at.Equal(next), len(rotation.Diff(w.set, after)) > 0, "due at %s, not at %s", next, at)
		require.Equal(w, next, rotation.NextDue(w.set, at))
	}
}
