package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
)

func eachMode(t *testing.T, f func(t *testing.T, mode config.Mode, d *running)) {
	for _, mode := range []config.Mode{config.Stateless, config.Opaque, config.Auto} {
		t.Run(string(mode), func(t *testing.T) {
			f(t, mode, start(t, "-mode", string(mode), "-keys", newKeyPath(t)))
		})
	}
}

func TestSession(t *testing.T) {
	eachMode(t, func(t *testing.T, mode config.Mode, d *running) {
		b := d.browser(t)
		empty := fmt.Sprintf(`{"mode":%q,"id":null,"new":true,"subject":"",`+
			`"created_at":null,"authenticated_at":null,"expires_at":null,"values":{}}`, mode)
		for range 2 {
			require.Empty(t, b.want("GET", "/api/session", "", 200, empty).Cookies(), "looking creates nothing")
		}
		b.want("POST", "/api/visits", "", 200, `{"visits":1}`)
		b.want("POST", "/api/visits", "", 200, `{"visits":2}`)

		s := b.state()
		require.Len(t, *s.ID, 22)
		require.False(t, s.New)
		require.Empty(t, s.Subject)
		require.Nil(t, s.AuthenticatedAt)
		require.WithinDuration(t, time.Now(), *s.CreatedAt, 10*time.Second)
		require.WithinDuration(t, time.Now().Add(20*time.Minute), *s.ExpiresAt, 10*time.Second)
		require.Equal(t, map[string]any{"visits": 2.0}, s.Values)

		id := *s.ID
		s = b.login("alice").state()
		require.Equal(t, id, *s.ID)
		require.Equal(t, "alice", s.Subject)
		require.WithinDuration(t, time.Now(), *s.AuthenticatedAt, 10*time.Second)
		require.Equal(t, map[string]any{"visits": 2.0}, s.Values)
	})
}

// Of visits at the same time, each gets its own number.
func TestParallelVisits(t *testing.T) {
	eachMode(t, func(t *testing.T, _ config.Mode, d *running) {
		b := d.browser(t).login("alice")
		const n = 8
		var all sync.WaitGroup
		numbers := make(chan int, n)
		for range n {
			all.Go(func() {
				response, err := b.client.Post(d.url+"/api/visits", "", nil)
				if err != nil {
					return
				}
				defer response.Body.Close()
				var got struct{ Visits int }
				if json.NewDecoder(response.Body).Decode(&got) == nil {
					numbers <- got.Visits
				}
			})
		}
		all.Wait()
		close(numbers)
		seen := map[int]bool{}
		for number := range numbers {
			seen[number] = true
		}
		require.Len(t, seen, n)
		b.want("POST", "/api/visits", "", 200, fmt.Sprintf(`{"visits":%d}`, n+1))
	})
}

func TestValues(t *testing.T) {
	eachMode(t, func(t *testing.T, mode config.Mode, d *running) {
		b := d.browser(t)
		b.want("GET", "/api/values/coat", "", 404, `{"error":"The session has no value of this name.","reason":"not_found"}`)
		b.want("DELETE", "/api/values/coat", "", 404, "")
		for _, value := range []string{`"blue"`, `42`, `null`, `[1,{"a":"ü<>"}]`, `12345678901234567890.5`} {
			require.Equal(t, value+"\n", b.want("PUT", "/api/values/coat", value, 200, value).body)
			require.Equal(t, value+"\n", b.want("GET", "/api/values/coat", "", 200, value).body)
		}
		b.want("PUT", "/api/values/two%20words%2Fslash", "true", 200, "true")
		require.Contains(t, b.state().Values, "two words/slash")

		before := b.state()
		for _, bad := range []string{"", "{", "blue", `{"a":1,"a":2}`, `"a" "b"`, "\"\xff\""} {
			got := b.want("PUT", "/api/values/coat", bad, 400, "")
			require.Contains(t, got.body, `"reason":"bad_value"`)
		}
		b.want("PUT", "/api/values/"+strings.Repeat("n", 300), "1", 400, "")
		b.want("PUT", "/api/values/coat", `"`+strings.Repeat("x", maxBody)+`"`, 413, "")
		require.Equal(t, before, b.state(), "what has failed has changed nothing")

		large := `"` + strings.Repeat("x", 8000) + `"`
		if mode == config.Stateless {
			got := b.want("PUT", "/api/values/large", large, 413, "")
			require.Contains(t, got.body, `"reason":"too_large"`)
			require.Equal(t, before, b.state())
		} else {
			b.want("PUT", "/api/values/large", large, 200, large)
			require.False(t, isToken(b.credential()))
			b.want("DELETE", "/api/values/large", "", 204, "")
			require.Equal(t, mode == config.Auto, isToken(b.credential()), "auto comes back")
		}
		b.want("DELETE", "/api/values/coat", "", 204, "")
		b.want("GET", "/api/values/coat", "", 404, "")
	})
}

func isToken(credential string) bool { return strings.Count(credential, ".") == 4 }

func TestLogin(t *testing.T) {
	eachMode(t, func(t *testing.T, mode config.Mode, d *running) {
		b := d.browser(t)
		for _, row := range []struct{ name, kind, body string }{
			{"nothing", "", ""},
			{"form without", "application/x-www-form-urlencoded", "name=alice"},
			{"form with blanks", "application/x-www-form-urlencoded", "subject=++"},
			{"broken form", "application/x-www-form-urlencoded", "subject=%zz"},
			{"JSON without", "application/json", "{}"},
			{"empty JSON", "application/json", `{"subject":""}`},
			{"number", "application/json", `{"subject":7}`},
			{"no JSON", "application/json", "subject=alice"},
			{"too long", "application/json", `{"subject":"` + strings.Repeat("a", 300) + `"}`},
		} {
			got := b.send("POST", "/login", row.body, "Content-Type", row.kind, "Accept", "application/json")
			require.Equal(t, http.StatusBadRequest, got.StatusCode, row.name)
			require.Contains(t, got.body, `"reason":"bad_value"`, row.name)
		}
		require.Empty(t, b.credential())

		b.want("POST", "/api/visits", "", 200, "")
		old := b.credential()
		require.Equal(t, http.StatusSeeOther, b.page("POST", "/login", "subject", "alice").StatusCode)
		require.NotEqual(t, old, b.credential())
		require.Equal(t, mode != config.Opaque, isToken(b.credential()))
		require.Equal(t, "alice", b.state().Subject)
		require.True(t, d.browser(t).use(old).state().New, "the credential from before the login is dead")
		require.Empty(t, b.login("bob").state().Values, "nothing of alice is left to bob")
	})
}

func TestLogout(t *testing.T) {
	eachMode(t, func(t *testing.T, _ config.Mode, d *running) {
		d.browser(t).want("POST", "/logout", "", 200, "")
		d.browser(t).want("POST", "/logout-everywhere", "", 200, "")

		b, elsewhere, bob := d.browser(t).login("alice"), d.browser(t).login("alice"), d.browser(t).login("bob")
		old := b.credential()
		b.want("POST", "/logout", "", 200, "")
		require.Empty(t, b.credential())
		require.True(t, d.browser(t).use(old).state().New)
		require.Equal(t, "alice", elsewhere.state().Subject)

		b.login("alice")
		b.want("POST", "/logout-everywhere", "", 200, "")
		require.True(t, b.state().New)
		require.True(t, elsewhere.state().New)
		require.Equal(t, "bob", bob.state().Subject)
	})
}

func TestOrders(t *testing.T) {
	eachMode(t, func(t *testing.T, _ config.Mode, d *running) {
		b := d.browser(t)
		got := b.want("GET", "/orders", "", 401, "")
		require.Contains(t, got.body, `"reason":"not_logged_in"`)
		s := b.login("alice").state()
		b.want("GET", "/orders", "", 200, fmt.Sprintf(
			`{"subject":"alice","session":%q,"issuer":"https://cloakroom.example"}`, *s.ID))

		service := d.log.ordersURL() + "/orders"
		got = b.send("GET", service, "")
		require.Equal(t, http.StatusUnauthorized, got.StatusCode)
		require.Equal(t, "Bearer", got.Header.Get("WWW-Authenticate"))
		for _, bearer := range []string{b.credential(), "x", "a.b.c"} {
			got = b.send("GET", service, "", "Authorization", "Bearer "+bearer)
			require.Equal(t, http.StatusUnauthorized, got.StatusCode, "not even the session's own credential")
			require.Equal(t, `Bearer error="invalid_token"`, got.Header.Get("WWW-Authenticate"))
		}
		require.Equal(t, http.StatusNotFound, b.send("GET", d.log.ordersURL()+"/", "").StatusCode)

		b.want("POST", "/logout", "", 200, "")
		b.want("GET", "/orders", "", 401, "")
	})
}

// Without -tls all works but for the cookie, which only browsers send in
// the clear.
func TestPlainHTTP(t *testing.T) {
	d := start(t, "-tls=false", "-keys", newKeyPath(t))
	require.Regexp(t, `^http://127\.0\.0\.1:[0-9]+$`, d.url)
	b := d.browser(t)
	cookies := b.page("POST", "/login", "subject", "alice").Cookies()
	require.Len(t, cookies, 1)
	require.True(t, cookies[0].Secure)
	got := b.send("GET", "/orders", "", "Cookie", cookies[0].Name+"="+cookies[0].Value)
	require.Equal(t, http.StatusOK, got.StatusCode, got.body)
	require.Contains(t, got.body, `"subject":"alice"`)
}

func TestPublicKeys(t *testing.T) {
	d := start(t, "-keys", newKeyPath(t))
	got := d.browser(t).send("GET", "/.well-known/jwks.json", "")
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Equal(t, "application/jwk-set+json", got.Header.Get("Content-Type"))
	var set struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal([]byte(got.body), &set))
	require.Len(t, set.Keys, 2, "the one that signs and its standby")
	for _, k := range set.Keys {
		require.Equal(t, "EC", k["kty"])
		require.NotContains(t, k, "d")
	}
	require.Empty(t, got.Header.Get("Vary"), "public keys are the same for everybody")
}

func TestCrossOrigin(t *testing.T) {
	d := start(t, "-keys", newKeyPath(t))
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		header = append(header, "Content-Type", "application/x-www-form-urlencoded")
		got := d.browser(t).send("POST", "/login", "subject=mallory", header...)
		require.Equal(t, http.StatusForbidden, got.StatusCode)
		require.Empty(t, got.Cookies())
	}
}

// Keys that can't vouch for anybody leave the rest working.
func TestNoIssuer(t *testing.T) {
	d := start(t, "-mode", "opaque", "-keys", symmetricKeys(t))
	b := d.browser(t).login("alice")
	got := b.want("GET", "/orders", "", 503, "")
	require.Contains(t, got.body, `"reason":"unavailable"`)
	require.Equal(t, http.StatusOK, b.page("GET", "/").StatusCode)
}

// Events are told, and no credential with them.
func TestLog(t *testing.T) {
	d := start(t, "-keys", newKeyPath(t))
	b := d.browser(t).login("alice")
	credential := b.credential()
	b.use(credential[:len(credential)-4] + "AAAA").state()
	require.NoError(t, d.end())
	log := d.log.String()
	require.Contains(t, log, `msg="session created"`)
	require.Contains(t, log, "subject=alice")
	require.Contains(t, log, `msg="session refused"`)
	require.Contains(t, log, "reason=forged")
	require.NotContains(t, log, credential[:40])
}
