package jwkscheck

import (
	"context"
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

// A member is one key of a served set, whether or not verifiers can use it.
type member struct {
	kid, kty, alg, use string
	leaks              []string // names of private members that it has
	unusable           error    // why verifiers of this module ignore it; nil if they use it
}

// read looks at the set as a verifier does. It looks at each member itself
// as well, because a verifier refuses a set with private keys and doesn't
// name them.
func (a *answer) read(ctx context.Context) error {
	var doc struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(a.body, &doc); err != nil {
		comes := "it has no Content-Type"
		if t := a.header.Get("Content-Type"); t != "" {
			comes = "it comes as " + t
		}
		return serverError("the answer is not a JWK Set: " + comes)
	}
	for _, m := range doc.Keys {
		a.members = append(a.members, readMember(m))
	}
	set, err := keyset.ReadPublicSet(a.body)
	if err == nil {
		err = set.CheckModuli(ctx, make(map[string]error))
	}
	if err != nil {
		return serverError("verifiers refuse the set: " + strings.TrimPrefix(err.Error(), "keys: "))
	}
	a.keys = make(map[string]*keyset.Key)
	for _, k := range set.Keys {
		a.keys[k.ID()] = k
		a.Kids = append(a.Kids, k.ID())
	}
	for _, err := range set.LeftOut {
		var left interface {
			error
			Number() int
			LeftOut() (kid string, reason error)
		}
		if errors.As(err, &left) && left.Number() <= len(a.members) {
			_, a.members[left.Number()-1].unusable = left.LeftOut()
		}
	}
	return nil
}

func readMember(m map[string]json.RawMessage) member {
	text := func(name string) (s string) {
		_ = json.Unmarshal(m[name], &s) // of another type is as good as missing
		return s
	}
	lacks := func(name string) bool { _, ok := m[name]; return !ok }
	return member{
		kid: text("kid"), kty: text("kty"), alg: text("alg"), use: text("use"),
		leaks: slices.DeleteFunc(keyset.PrivateMembers(), lacks),
	}
}

// remarks returns what is wrong with a member, although verifiers may
// ignore it.
func (m *member) remarks() (all []string) {
	if !slices.Contains([]string{"EC", "OKP", "RSA"}, m.kty) {
		all = append(all, fmt.Sprintf("kty %q: some verifiers refuse the whole set because of it", m.kty))
	} else if m.unusable != nil {
		all = append(all, "verifiers of this module pass it over: "+strings.TrimPrefix(m.unusable.Error(), "keys: "))
	}
	if m.kid == "" {
		all = append(all, "no kid: tokens can't name it")
	}
	if m.alg == "" {
		all = append(all, "no alg: verifiers have to guess, or believe the token")
	}
	if m.use != "sig" {
		all = append(all, "use is not sig")
	}
	return all
}

// A caching is how long an answer may be kept, by its headers.
type caching struct {
	known   bool          // the headers say it
	life    time.Duration // a verifier may use the answer for so long
	noStore bool
	why     string // the headers that life comes from, for people
}

// cachingOf reads Cache-Control, Expires and Age (RFC 9111, Sections 5.1 to
// 5.3; RFC 5861).
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
	whileRevalidate, _ := seconds(d, "stale-while-revalidate")
	ifError, _ := seconds(d, "stale-if-error")
	if stale := max(whileRevalidate, ifError); stale > 0 {
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

// directives returns those of Cache-Control, in lower case. The first of two
// counts (RFC 9111, Section 4.2.1).
func directives(h http.Header) map[string]string {
	all := make(map[string]string)
	for d := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(d)), "=")
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
	return time.Duration(n) * time.Second, err == nil
}
