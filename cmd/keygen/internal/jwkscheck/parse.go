package jwkscheck

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// A member is one key of a served set, as it stands there.
type member struct {
	Kid, Kty, Alg, Use string
	leaks              []string // names of private members that it has
	unusable           error    // why verifiers of this module leave it out; nil if they don't
}

// read looks at the set as a verifier does, and at each member besides, since a
// verifier says nothing of what it passes over.
func (a *answer) read() {
	var set struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(a.body, &set); err != nil {
		a.err = misstep("the answer is no JWK Set: " + contentOf(a.header))
		return
	}
	for _, m := range set.Keys {
		a.members = append(a.members, readMember(m))
	}
	list, err := keyset.ParsePublicSet(a.body)
	if err != nil && !errors.Is(err, keyset.ErrUnknownKey) {
		a.err = misstep("verifiers refuse the set: " + strings.TrimPrefix(err.Error(), "keys: "))
		return
	}
	a.keys = make(map[string]*keyset.Key)
	for _, k := range list {
		a.keys[k.ID()] = k
		a.kids = append(a.kids, k.ID())
	}
	for i, m := range set.Keys {
		if a.keys[a.members[i].Kid] == nil {
			a.members[i].unusable = whyUnusable(m)
		}
	}
}

// whyUnusable asks about a key alone: of the keys of a larger set that are left
// out, an error names only the first.
func whyUnusable(m map[string]json.RawMessage) error {
	text, err := json.Marshal(map[string]any{"keys": []any{m}})
	if err == nil {
		_, err = keyset.ParsePublicSet(text)
	}
	var e interface {
		error
		LeftOut() (kid string, reason error)
	}
	if errors.As(err, &e) {
		_, reason := e.LeftOut()
		return reason
	}
	return errors.New("they can't verify with it")
}

func contentOf(h http.Header) string {
	if t := h.Get("Content-Type"); t != "" {
		return "it comes as " + t
	}
	return "it has no Content-Type"
}

func readMember(m map[string]json.RawMessage) member {
	text := func(name string) (s string) {
		_ = json.Unmarshal(m[name], &s) // of another type is as good as missing
		return s
	}
	out := member{Kid: text("kid"), Kty: text("kty"), Alg: text("alg"), Use: text("use")}
	// RFC 7518, Sections 6.2.2, 6.3.2 and 6.4.1, RFC 8037, Section 2, and RFC 9964.
	for _, name := range [...]string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, ok := m[name]; ok {
			out.leaks = append(out.leaks, name)
		}
	}
	return out
}

// remarks are what is wrong with a member, though verifiers may pass it over.
func (m *member) remarks() (all []string) {
	if !slices.Contains([]string{"EC", "OKP", "RSA"}, m.Kty) {
		all = append(all, fmt.Sprintf("kty %q: some verifiers refuse the whole set because of it", m.Kty))
	} else if m.unusable != nil {
		all = append(all, "verifiers of this module pass it over: "+strings.TrimPrefix(m.unusable.Error(), "keys: "))
	}
	if m.Kid == "" {
		all = append(all, "no kid: tokens can't name it")
	}
	if m.Alg == "" {
		all = append(all, "no alg: verifiers have to guess, or believe the token")
	}
	if m.Use != "sig" {
		all = append(all, "use is not sig")
	}
	return all
}

// A caching is what the headers say of how long an answer may be kept.
type caching struct {
	known   bool          // they say it at all
	life    time.Duration // for how long a verifier may go on with it
	noStore bool
	why     string // what life is made of, in words
}

// cachingOf reads Cache-Control and its kin (RFC 9111, Sections 5.1 to 5.3; RFC 5861).
func cachingOf(h http.Header) caching {
	d := directives(h)
	_, noStore := d["no-store"]
	_, noCache := d["no-cache"]
	if noStore || noCache {
		return caching{known: true, noStore: noStore, why: "no-store or no-cache"}
	}
	fresh, ok := seconds(d, "max-age")
	c := caching{known: ok, why: "max-age"}
	if expires, err := http.ParseTime(h.Get("Expires")); err == nil && !ok {
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			fresh, c.known, c.why = max(0, expires.Sub(date)), true, "Expires"
		}
	}
	c.life = fresh
	if stale := max(orZero(d, "stale-while-revalidate"), orZero(d, "stale-if-error")); stale > 0 {
		c.life += stale
		c.why += " and stale-while-revalidate or stale-if-error"
	}
	if _, shared := h["Age"]; shared && c.known {
		// Few JWKS clients deduct Age, so they keep an answer for its whole life
		// after a cache on the way has kept it for as long.
		kept, ok := seconds(d, "s-maxage")
		if !ok {
			kept = fresh
		}
		c.life += kept
		c.why += " and a cache on the way"
	}
	return c
}

func orZero(directives map[string]string, name string) time.Duration {
	d, _ := seconds(directives, name)
	return d
}

// directives returns those of Cache-Control, in lower case. The first of two counts.
func directives(h http.Header) map[string]string {
	all := make(map[string]string)
	for d := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(d), "=")
		if name = strings.ToLower(name); name == "" {
			continue
		}
		if _, twice := all[name]; !twice {
			all[name] = strings.Trim(value, `"`)
		}
	}
	return all
}

func seconds(directives map[string]string, name string) (time.Duration, bool) {
	n, err := strconv.ParseUint(directives[name], 10, 31)
	if errors.Is(err, strconv.ErrRange) {
		return 1 << 31 * time.Second, true // RFC 9111, Section 1.2.2
	}
	if err != nil {
		return 0, false
	}
	return time.Duration(n) * time.Second, true
}
