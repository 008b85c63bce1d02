package middleware_test

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
)

const visits session.Key[int] = "visits"

type person struct {
	Name string   `json:"name"`
	Tags []string `json:"tags,omitempty"`
}

// TestBehaviour is what handlers can rely on, in every mode alike.
func TestBehaviour(t *testing.T) {
	tests := []struct {
		name string
		run  func(t *testing.T, w *world, b *browser)
	}{
		{"a read creates nothing", readCreatesNothing},
		{"values come back", valuesComeBack},
		{"every kind of JSON value comes back with its type", everyKind},
		{"delete and clear", deleteAndClear},
		{"flash", flash},
		{"isNew", isNew},
		{"login changes the credential, not the ID", login},
		{"login of another subject clears the values", loginOfAnother},
		{"login needs a subject", loginNeedsSubject},
		{"renew", renew},
		{"destroy", destroy},
		{"destroy is final for the request", destroyIsFinal},
		{"destroy before anything was kept", destroyNothing},
		{"idle expiry", idleExpiry},
		{"activity keeps a session alive", activity},
		{"absolute expiry", absoluteExpiry},
		{"a login starts the lifetime anew", loginRestartsLifetime},
		{"remember", remember},
		{"a value that can't be encoded fails where it is set", badValues},
		{"a value of another type is told apart", wrongType},
		{"a handler can save by itself", explicitSave},
		{"a failed save leaves the session as it was", failedSave},
		{"a login counts in the request itself", loginInRequest},
	}
	for _, mode := range modes {
		for _, tt := range tests {
			t.Run(mode+"/"+tt.name, func(t *testing.T) {
				w := newWorld(t)
				tt.run(t, w, newSite(t, w.middleware(t, mode)).browser())
			})
		}
	}
}

func readCreatesNothing(t *testing.T, w *world, b *browser) {
	got := b.do(func(s *session.Session) {
		assert.Empty(t, s.ID())
		assert.Empty(t, s.Subject())
		assert.True(t, s.Snapshot().CreatedAt.IsZero())
		assert.True(t, s.ExpiresAt().IsZero())
		assert.Zero(t, visits.Get(s))
		assert.Zero(t, len(s.Keys()))
		assert.NoError(t, session.Key[any]("absent").Delete(s))
		assert.NoError(t, s.Clear())
		assert.NoError(t, s.Renew())
		assert.NoError(t, s.Save(t.Context()))
	})
	assert.Empty(t, got.Header["Set-Cookie"])
	assert.Equal(t, "Cookie", got.Header.Get("Vary"))
	assert.Zero(t, w.memory.Len())
}

func valuesComeBack(t *testing.T, _ *world, b *browser) {
	var id string
	got := b.do(func(s *session.Session) {
		assert.NoError(t, visits.Set(s, 1))
		assert.Equal(t, 1, visits.Get(s))
		id = s.ID()
		assert.Len(t, id, 22)
	})
	assert.Equal(t, "no-store", got.Header.Get("Cache-Control"))
	cookie := got.Header.Get("Set-Cookie")
	for _, attribute := range []string{"__Host-session=", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
		assert.Contains(t, cookie, attribute)
	}
	assert.NotContains(t, cookie, "Domain")
	assert.NotContains(t, cookie, "Max-Age")
	b.do(func(s *session.Session) {
		assert.Equal(t, id, s.ID())
		assert.Equal(t, 1, visits.Get(s))
		assert.Equal(t, []string{"visits"}, s.Keys())
		assert.True(t, s.Has("visits"))
		n, err := visits.Update(s, func(n int) int { return n + 1 })
		assert.NoError(t, err)
		assert.Equal(t, 2, n)
	})
	got = b.do(func(s *session.Session) { assert.Equal(t, 2, visits.Get(s)) })
	assert.Empty(t, got.Header["Set-Cookie"], "a read sends no cookie")
}

func everyKind(t *testing.T, _ *world, b *browser) {
	texts := map[string]string{
		"null": `null`, "true": `true`, "false": `false`, "zero": `0`, "negative": `-17`, "big": `9007199254740993`,
		"biggest": `18446744073709551615`, "fraction": `0.1`, "small": `1e-9`, "empty": `""`,
		"text":  `"straße 👋 <b> & \\ \" \n"`,
		"array": `[1,[2,[3,{}]],null]`, "object": `{"b":1,"a":{"c":[true]}}`, "name with \"quotes\" and ü": `1`,
	}
	b.do(func(s *session.Session) {
		for name, text := range texts {
			assert.NoError(t, session.Key[any](name).Set(s, json.RawMessage(text)))
		}
		assert.NoError(t, session.Key[any]("person").Set(s, person{Name: "Ada", Tags: []string{"x", "y"}}))
		assert.NoError(t, session.Key[any]("time").Set(s, time.Date(2026, 1, 1, 0, 0, 0, 5, time.UTC)))
		assert.NoError(t, session.Key[any]("int64").Set(s, int64(math.MaxInt64)))
		assert.NoError(t, session.Key[any]("bytes").Set(s, []byte{0, 255}))
	})
	b.do(func(s *session.Session) {
		assert.Equal(t, len(texts)+4, len(s.Keys()))
		for name, text := range texts {
			got, ok, err := session.Key[json.RawMessage](name).Lookup(s)
			assert.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, text, string(got), name)
		}
		p, ok, err := session.Key[person]("person").Lookup(s)
		assert.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, person{Name: "Ada", Tags: []string{"x", "y"}}, p)
		assert.Equal(t, time.Date(2026, 1, 1, 0, 0, 0, 5, time.UTC), session.Key[time.Time]("time").Get(s))
		assert.Equal(t, int64(math.MaxInt64), session.Key[int64]("int64").Get(s))
		assert.Equal(t, []byte{0, 255}, session.Key[[]byte]("bytes").Get(s))
		assert.Equal(t, uint64(math.MaxUint64), session.Key[uint64]("biggest").Get(s))
	})
}

func deleteAndClear(t *testing.T, _ *world, b *browser) {
	b.do(func(s *session.Session) {
		for _, name := range []string{"a", "b", "c"} {
			assert.NoError(t, session.Key[any](name).Set(s, name))
		}
		assert.NoError(t, session.Key[any]("b").Delete(s))
		assert.Equal(t, []string{"a", "c"}, s.Keys())
	})
	b.do(func(s *session.Session) {
		assert.Equal(t, []string{"a", "c"}, s.Keys())
		assert.NoError(t, session.Key[any]("a").Delete(s))
	})
	var id string
	b.do(func(s *session.Session) {
		assert.Equal(t, []string{"c"}, s.Keys())
		assert.NoError(t, s.Clear())
		id = s.ID()
	})
	b.do(func(s *session.Session) {
		assert.Zero(t, len(s.Keys()))
		assert.Equal(t, id, s.ID(), "clearing the values doesn't end the session")
	})
}

func flash(t *testing.T, _ *world, b *browser) {
	const message session.Key[string] = "flash"
	b.do(func(s *session.Session) { assert.NoError(t, message.Set(s, "saved")) })
	b.do(func(s *session.Session) {
		got, ok, err := message.Take(s)
		assert.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, "saved", got)
		_, ok, _ = message.Take(s)
		assert.False(t, ok)
	})
	b.do(func(s *session.Session) {
		_, ok, err := message.Take(s)
		assert.NoError(t, err)
		assert.False(t, ok)
	})
}

func isNew(t *testing.T, _ *world, b *browser) {
	b.do(func(s *session.Session) { assert.True(t, s.IsNew()) })
	b.do(func(s *session.Session) {
		assert.NoError(t, visits.Set(s, 1))
		assert.True(t, s.IsNew(), "in the request that begins it")
	})
	b.do(func(s *session.Session) { assert.False(t, s.IsNew()) })
}

func login(t *testing.T, w *world, b *browser) {
	var id string
	b.do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 3)); id = s.ID() })
	before := b.credential()
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	assert.NotEqual(t, before, b.credential())
	b.do(func(s *session.Session) {
		assert.Equal(t, "alice", s.Subject())
		assert.Equal(t, id, s.ID())
		assert.Equal(t, 3, visits.Get(s), "what an anonymous visitor had stays")
		assert.Equal(t, w.Now(), s.AuthenticatedAt().UTC())
	})
	_, ok := b.site.opens(before)
	assert.False(t, ok, "the credential from before the login is dead")
}

func loginOfAnother(t *testing.T, _ *world, b *browser) {
	b.do(func(s *session.Session) {
		assert.NoError(t, s.Login("alice"))
		assert.NoError(t, visits.Set(s, 3))
	})
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	b.do(func(s *session.Session) {
		assert.Equal(t, 3, visits.Get(s))
		assert.NoError(t, s.Login("bob"))
		assert.Zero(t, len(s.Keys()))
	})
	b.do(func(s *session.Session) {
		assert.Equal(t, "bob", s.Subject())
		assert.Zero(t, len(s.Keys()))
	})
}

func loginNeedsSubject(t *testing.T, _ *world, b *browser) {
	b.do(func(s *session.Session) {
		for _, subject := range []string{"", strings.Repeat("x", 257), "a\xffb"} {
			assert.ErrorIs(t, s.Login(subject), session.BadValue)
		}
		assert.Empty(t, s.Subject())
	})
	assert.Empty(t, b.credential())
}

func renew(t *testing.T, _ *world, b *browser) {
	var id string
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")); id = s.ID() })
	before := b.credential()
	b.do(func(s *session.Session) { assert.NoError(t, s.Renew()) })
	assert.NotEqual(t, before, b.credential())
	b.do(func(s *session.Session) {
		assert.Equal(t, "alice", s.Subject())
		assert.Equal(t, id, s.ID())
	})
	_, ok := b.site.opens(before)
	assert.False(t, ok)
}

func destroy(t *testing.T, _ *world, b *browser) {
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	before := b.credential()
	got := b.do(func(s *session.Session) { assert.NoError(t, s.Destroy()) })
	assert.Contains(t, got.Header.Get("Set-Cookie"), "__Host-session=; ")
	assert.Contains(t, got.Header.Get("Set-Cookie"), "Max-Age=0")
	assert.Contains(t, got.Header.Get("Set-Cookie"), "; Path=/")
	assert.Empty(t, b.credential())
	_, ok := b.site.opens(before)
	assert.False(t, ok, "the browser's copy was deleted, but others may have one")
	b.do(func(s *session.Session) { assert.True(t, s.IsNew()) })
}

func destroyIsFinal(t *testing.T, _ *world, b *browser) {
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	b.do(func(s *session.Session) {
		assert.NoError(t, visits.Set(s, 1))
		assert.NoError(t, s.Destroy())
		assert.Empty(t, s.Subject())
		assert.Zero(t, len(s.Keys()))
		assert.ErrorIs(t, visits.Set(s, 1), session.Ended)
		assert.ErrorIs(t, s.Login("alice"), session.Ended)
		assert.ErrorIs(t, s.Remember(true), session.Ended)
		_, err := visits.Update(s, func(n int) int { return n + 1 })
		assert.ErrorIs(t, err, session.Ended)
		assert.NoError(t, s.Destroy(), "twice is fine")
	})
	assert.Empty(t, b.credential())
}

func destroyNothing(t *testing.T, w *world, b *browser) {
	got := b.do(func(s *session.Session) {
		assert.NoError(t, visits.Set(s, 1))
		assert.NoError(t, s.Destroy())
	})
	assert.Empty(t, got.Header["Set-Cookie"])
	assert.Zero(t, w.memory.Len())
}

func idleExpiry(t *testing.T, w *world, b *browser) {
	b.do(func(s *session.Session) {
		assert.NoError(t, visits.Set(s, 1))
		assert.Equal(t, w.Now().Add(20*time.Minute), s.ExpiresAt().UTC())
	})
	w.Advance(20*time.Minute - time.Second)
	b.do(func(s *session.Session) { assert.Equal(t, 1, visits.Get(s)) })
	w.Advance(20 * time.Minute)
	b.do(func(s *session.Session) { assert.True(t, s.IsNew(), "at the deadline it is over") })
}

func activity(t *testing.T, w *world, b *browser) {
	b.do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
	for range 30 {
		w.Advance(19 * time.Minute)
		b.do(func(s *session.Session) { assert.Equal(t, 1, visits.Get(s)) })
	}
}

func absoluteExpiry(t *testing.T, w *world, b *browser) {
	b.do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
	for range 47 { // 11 h 45 min
		w.Advance(15 * time.Minute)
		b.do(func(s *session.Session) { assert.False(t, s.IsNew()) })
	}
	b.do(func(s *session.Session) {
		assert.Equal(t, w.Now().Add(15*time.Minute), s.ExpiresAt().UTC())
		assert.NoError(t, visits.Set(s, 2))
	})
	w.Advance(15*time.Minute - time.Second)
	b.do(func(s *session.Session) { assert.False(t, s.IsNew()) })
	w.Advance(time.Second)
	b.do(func(s *session.Session) { assert.True(t, s.IsNew()) })
}

func loginRestartsLifetime(t *testing.T, w *world, b *browser) {
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	for range 2 {
		for range 44 { // 11 h
			w.Advance(15 * time.Minute)
			b.do(func(s *session.Session) { assert.False(t, s.IsNew()) })
		}
		b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	}
	b.do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
}

func remember(t *testing.T, w *world, b *browser) {
	got := b.do(func(s *session.Session) { assert.NoError(t, s.Remember(true)) })
	assert.Contains(t, got.Header.Get("Set-Cookie"), "; Max-Age=2592000")
	w.Advance(10 * time.Minute)
	b.do(func(s *session.Session) { assert.True(t, s.Snapshot().Persistent) })
	got = b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	assert.Contains(t, got.Header.Get("Set-Cookie"), "; Max-Age=2592000", "counted anew from the login")
	got = b.do(func(s *session.Session) { assert.NoError(t, s.Remember(false)) })
	assert.NotEmpty(t, got.Header.Get("Set-Cookie"))
	assert.NotContains(t, got.Header.Get("Set-Cookie"), "Max-Age")
}

func badValues(t *testing.T, _ *world, b *browser) {
	cycle := map[string]any{}
	cycle["self"] = cycle
	tests := []struct {
		name  string
		value any
	}{
		{"function", func() {}},
		{"channel", make(chan int)},
		{"not a number", math.NaN()},
		{"cycle", cycle},
		{"invalid UTF-8", "a\xffb"},
		{"repeated name", json.RawMessage(`{"a":1,"a":2}`)},
		{"lone surrogate", json.RawMessage(`"\ud800"`)},
		{"not JSON", json.RawMessage(`{`)},
		{"two values", json.RawMessage(`1 2`)},
		{"deep", json.RawMessage(strings.Repeat("[", 101) + strings.Repeat("]", 101))},
	}
	b.do(func(s *session.Session) {
		for _, tt := range tests {
			err := session.Key[any]("x").Set(s, tt.value)
			assert.ErrorIs(t, err, session.BadValue, tt.name)
			assert.False(t, s.Has("x"), tt.name)
		}
		assert.ErrorIs(t, session.Key[any]("").Set(s, 1), session.BadValue)
		assert.ErrorIs(t, session.Key[any]("a\xff").Set(s, 1), session.BadValue)
		assert.ErrorIs(t, session.Key[any](strings.Repeat("n", 257)).Set(s, 1), session.BadValue)
		deep := json.RawMessage(strings.Repeat("[", 100) + strings.Repeat("]", 100))
		assert.NoError(t, session.Key[any]("deep enough").Set(s, deep))
	})
	b.do(func(s *session.Session) { assert.Equal(t, []string{"deep enough"}, s.Keys()) })
}

func wrongType(t *testing.T, _ *world, b *browser) {
	b.do(func(s *session.Session) { assert.NoError(t, session.Key[any]("visits").Set(s, "many")) })
	b.do(func(s *session.Session) {
		assert.Zero(t, visits.Get(s))
		_, ok, err := visits.Lookup(s)
		assert.True(t, ok)
		assert.ErrorIs(t, err, session.BadValue)
		assert.NotContains(t, err.Error(), "many")
		_, err = visits.Update(s, func(n int) int { return n + 1 })
		assert.ErrorIs(t, err, session.BadValue)
		assert.Equal(t, "many", session.Key[string]("visits").Get(s))
	})
}

func explicitSave(t *testing.T, _ *world, b *browser) {
	b.do(func(s *session.Session) {
		assert.NoError(t, visits.Set(s, 1))
		assert.NoError(t, s.Save(t.Context()))
		assert.NoError(t, s.Save(t.Context()), "without changes it checks")
		assert.NoError(t, visits.Set(s, 2))
		assert.NoError(t, s.Save(t.Context()))
		assert.NoError(t, session.Key[any]("other").Set(s, true))
	})
	b.do(func(s *session.Session) {
		assert.Equal(t, 2, visits.Get(s))
		assert.True(t, s.Has("other"))
	})
}

func failedSave(t *testing.T, _ *world, b *browser) {
	b.do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
	huge := strings.Repeat("x", 2<<20) // beyond a cookie, and beyond a record in the store
	b.do(func(s *session.Session) {
		assert.NoError(t, session.Key[any]("huge").Set(s, huge))
		assert.NoError(t, visits.Set(s, 2))
		assert.ErrorIs(t, s.Save(t.Context()), session.TooLarge)
		assert.Equal(t, []string{"visits"}, s.Keys())
		assert.Equal(t, 1, visits.Get(s))
	})
	got := b.get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
		assert.NoError(t, session.Key[any]("huge").Set(s, huge))
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusSeeOther)
		_, err := io.WriteString(w, "secret page")
		assert.ErrorIs(t, err, session.TooLarge)
	})
	assert.Equal(t, http.StatusInternalServerError, got.StatusCode)
	assert.Equal(t, "Internal Server Error\n", got.body)
	assert.Empty(t, got.Header["Set-Cookie"])
	assert.Empty(t, got.Header["Location"])
	b.do(func(s *session.Session) { assert.Equal(t, 1, visits.Get(s)) })
}
