package diagnose_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/diagnose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// A desk has keys in every state at the instant start. Those in all can still
// do everything; the ring has what became of them.
type desk struct {
	t    testing.TB
	all  map[string]*keys.Key
	ring *keys.Ring
}

const aDay = 24 * time.Hour

func newDesk(t testing.TB) *desk {
	d := &desk{t: t, all: make(map[string]*keys.Key)}
	set := new(keyset.Set)
	for _, k := range []struct {
		name                         string
		alg                          keys.Algorithm
		publish, from, until, verify time.Duration
	}{
		{"active", keys.ES256, -9 * aDay, -8 * aDay, 20 * aDay, 23 * aDay},
		{"pending", keys.ES256, -aDay, 20 * aDay, 50 * aDay, 53 * aDay},
		{"soon", keys.ES256, -aDay, 30 * time.Second, 50 * aDay, 53 * aDay},
		{"staged", keys.ES256, aDay, 22 * aDay, 50 * aDay, 53 * aDay},
		{"retiring", keys.ES256, -40 * aDay, -38 * aDay, -8 * aDay, aDay},
		{"expired", keys.ES256, -40 * aDay, -38 * aDay, -8 * aDay, -aDay},
		{"pruned", keys.ES256, -40 * aDay, -38 * aDay, -8 * aDay, -aDay},
		{"revoked", keys.ES256, -9 * aDay, -8 * aDay, 20 * aDay, 23 * aDay},
		{"hmac", keys.HS256, -9 * aDay, -8 * aDay, 20 * aDay, 23 * aDay},
		{"enc", keys.Direct, -9 * aDay, -8 * aDay, 20 * aDay, 23 * aDay},
		{"wrap", keys.A256KW, -9 * aDay, -8 * aDay, 20 * aDay, 23 * aDay},
		{"enc expired", keys.Direct, -40 * aDay, -38 * aDay, -8 * aDay, -aDay},
		{"enc revoked", keys.Direct, -9 * aDay, -8 * aDay, 20 * aDay, 23 * aDay},
	} {
		at := func(d time.Duration) time.Time { return start.Add(d) }
		key, err := keys.Generate(k.alg, keys.Dates{Created: at(k.publish), PublishAt: at(k.publish), SignFrom: at(k.from),
			SignUntil: at(k.until), VerifyUntil: at(k.verify)})
		require.NoError(t, err)
		require.NoError(t, set.Add((*keyset.Key)(key)))
		d.all[k.name] = key
	}
	require.NoError(t, set.Prune(d.all["pruned"].ID(), start))
	require.NoError(t, set.Revoke(d.all["revoked"].ID(), start.Add(-2*time.Hour), "key_compromise"))
	require.NoError(t, set.Revoke(d.all["enc revoked"].ID(), start.Add(-2*time.Hour), ""))
	var err error
	d.all["stranger"], err = keys.Generate(keys.ES256, keys.Dates{})
	require.NoError(t, err)
	d.all["strange enc"], err = keys.Generate(keys.Direct, keys.Dates{})
	require.NoError(t, err)
	d.ring, err = (*keys.Set)(set).Ring()
	require.NoError(t, err)
	return d
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type object = map[string]any

// serviceClaims and sessionClaims are those of good tokens.
func serviceClaims(now time.Time) object {
	return object{
		"iss": "https://app.example", "aud": "https://orders.example", "sub": "alice",
		"client_id": "https://app.example", "auth_time": now.Unix(), "since": now.UnixMilli(),
		"sid": "x", "gen": 1, "jti": "x", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
}

func sessionClaims(now time.Time) object {
	return with(serviceClaims(now), object{
		"auth_time": json.RawMessage(fmt.Sprintf("%d.000", now.Unix())),
		"aud":       "https://app.example", "ver": 1, "lin": "bGluZWFnZTE",
		"crt": now.Unix(), "dl": now.Add(time.Hour).Unix(), "data": object{},
	})
}

func with(base object, more object) object {
	all := maps.Clone(base)
	for name, value := range more {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

// sign makes a token with a key and any header.
func (d *desk) sign(key string, header, claims object) string {
	k := d.all[key]
	part := func(v any) string {
		text, err := json.Marshal(v)
		require.NoError(d.t, err)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	input := part(with(object{"alg": k.Algorithm(), "kid": k.ID(), "typ": "at+jwt"}, header)) + "." +
		part(claims)
	signature, err := (*keyset.Key)(k).Sign(input)
	require.NoError(d.t, err)
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// service makes a service token that was issued a while before start.
func (d *desk) service(key string, before time.Duration, more object) string {
	return d.sign(key, nil, with(serviceClaims(start.Add(-before)), more))
}

// session makes a session token; seal is "" for none.
func (d *desk) session(key, seal string, before time.Duration, more object) string {
	text := d.sign(key, object{"typ": "cloakroom+jwt"}, with(sessionClaims(start.Add(-before)), more))
	if seal == "" {
		return text
	}
	return d.seal(seal, text, "JWT")
}

func (d *desk) seal(key, text, cty string) string {
	sealed, err := (*keyset.Key)(d.all[key]).Seal([]byte(text), cty)
	require.NoError(d.t, err)
	return sealed
}

// altered changes the character in the middle of a segment.
func altered(text string, segment int) string {
	parts := strings.Split(text, ".")
	p := []byte(parts[segment])
	other := byte('A')
	if p[len(p)/2] == other {
		other = 'B'
	}
	p[len(p)/2] = other
	parts[segment] = string(p)
	return strings.Join(parts, ".")
}

// relabel changes the header of a token.
func relabel(text string, more object) string {
	head, rest, _ := strings.Cut(text, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	var header object
	if err == nil {
		err = json.Unmarshal(raw, &header)
	}
	if err == nil {
		raw, err = json.Marshal(with(header, more))
	}
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw) + "." + rest
}

func find(d *diagnose.Diagnosis, name string) *diagnose.Check {
	for i, c := range d.Checks {
		if c.Name == name {
			return &d.Checks[i]
		}
	}
	return nil
}
