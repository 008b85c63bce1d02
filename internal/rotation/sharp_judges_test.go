package rotation_test

import (
	"net/http"
	"net/http/httptest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// A judge is somebody who verifies: an instance, or a service of others with a
// cache of the JWK Set.
type judge struct {
	s       *sharp
	name    string // as in the exposure report
	own     clock
	replica *instance
	remote  *keys.Remote
	shown   int

	life    time.Duration // of the cache; negative if it has no end
	unknown time.Duration // how often it fetches for a key that it does not know; negative for never
	fetched time.Time     // by its own clock
	set     map[string]*keyset.Key
}

func (j *judge) clock() clock {
	if j.replica != nil {
		return j.replica.clock
	}
	return j.own
}

// trusts returns the key that a token was signed with, if it is accepted;
// instances look at what encrypts it, too.
func (j *judge) trusts(kid, seal string) *keyset.Key {
	now := j.clock().read()
	switch {
	case j.replica != nil:
		k, err := j.replica.ring.Key(j.s.Context(), kid, now)
		if _, err2 := j.replica.ring.Key(j.s.Context(), seal, now); err != nil || seal != "" && err2 != nil {
			return nil
		}
		return (*keyset.Key)(k)
	case j.remote != nil:
		k, _ := j.remote.Key(j.s.Context(), kid, now)
		synctest.Wait() // for a refresh in the background
		return (*keyset.Key)(k)
	}
	old := j.set == nil || j.life >= 0 && !now.Before(j.fetched.Add(j.life))
	if old || j.set[kid] == nil && j.unknown >= 0 && !now.Before(j.fetched.Add(j.unknown)) {
		j.fetch(pick(j.s, j.s.replicas))
	}
	return j.set[kid]
}

// peek is trusts for a thief, who does not want the set to be fetched.
func (j *judge) peek(kid string) *keyset.Key {
	switch now := j.clock().read(); {
	case j.replica != nil:
		k, _ := j.replica.ring.Key(j.s.Context(), kid, now)
		return (*keyset.Key)(k)
	case j.remote != nil, j.life >= 0 && !now.Before(j.fetched.Add(j.life)):
		return j.trusts(kid, "")
	}
	return j.set[kid]
}

// fetch gets the set that a replica serves.
func (j *judge) fetch(from *instance) {
	list, err := keyset.ParsePublicSet(serve(from, httptest.NewRequest(http.MethodGet, "/", nil)).Body.Bytes())
	require.NoError(j.s, err)
	j.fetched, j.set = j.own.read(), make(map[string]*keyset.Key)
	for _, k := range list {
		j.set[k.ID()] = k
	}
	j.s.count["fetches"]++
}

func serve(from *instance, req *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	from.ring.Handler().ServeHTTP(w, req)
	return w
}

func (j *judge) close() {
	if j.remote != nil {
		require.NoError(j.s, j.remote.Close())
	}
}

const unlucky = "an unlucky cache"

func (s *sharp) newJudges() {
	for _, r := range s.replicas {
		s.parties = append(s.parties, &judge{s: s, name: "instances of this application", replica: r})
	}
	add := func(name string, life, unknown time.Duration) *judge {
		j := &judge{s: s, name: name, own: s.clock(), life: life, unknown: unknown}
		s.parties = append(s.parties, j)
		return j
	}
	var err error
	add("keys.Remote and token.Verifier (this module)", 11*time.Minute, 0).remote, err = keys.NewRemote(keys.RemoteConfig{
		URL: "http://localhost/", Transport: transport(func(req *http.Request) (*http.Response, error) {
			s.count["fetches"]++
			return serve(pick(s, s.replicas), req).Result(), nil
		}),
	})
	require.NoError(s, err)
	add("any other that caches the JWK Set", time.Hour, -1)
	add(unlucky, time.Hour, -1)
	add("panva/jose (JavaScript)", 10*time.Minute, 30*time.Second)
	add("keyfunc, jwkset (Go)", time.Hour, 5*time.Minute)
	add("go-oidc, zitadel/oidc (Go)", -1, 0)
}

// fillUnlucky fills a cache from the last replica that has not read the new
// file yet, right before it does.
func (s *sharp) fillUnlucky(slowest *instance) {
	for _, j := range s.parties {
		if j.name == unlucky {
			j.fetch(slowest)
		}
	}
}

// show presents a token that has not expired by the verifier's clock, with the
// leeway.
func (s *sharp) show(j *judge, token virtual) {
	j.shown++
	k := j.trusts(token.kid, token.seal)
	if s.excused(j, token, k != nil) {
		return
	}
	require.NotNil(s, k, "%s refuses a token that lives until %s, at %s", j.name, after(token.exp), after(s.now))
	if token.signature != nil {
		s.count["signatures"]++
		require.NoError(s, k.Verify(virtualInput, token.signature))
	}
}

// forge shows a token that a thief makes with a key that has expired by every
// clock: instances refuse it, and others do so when their caches have expired.
func (s *sharp) forge(k *keyset.Key) {
	ended := s.now
	for _, j := range s.parties {
		if j.life < 0 || k.Use() == keyset.Encryption && j.replica == nil {
			continue // keys never expire there
		}
		s.at(ended.Add(j.life), func() {
			s.count["forgeries"]++
			require.Nil(s, j.peek(k.ID()), "%s trusts a key that expired at %s", j.name, after(k.Dates().VerifyUntil))
		})
	}
}
