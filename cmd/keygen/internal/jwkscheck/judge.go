package jwkscheck

import (
	"context"
	"crypto"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// A servedKey is a key that was served, or should have been.
type servedKey struct {
	ID        string `json:"kid"`
	Algorithm string `json:"alg,omitempty"`
	State     string `json:"state,omitempty"`    // by the key file: of a key that it lacks, "unknown"
	Served    int    `json:"served"`             // in how many answers
	Expected  *bool  `json:"expected,omitempty"` // the key file publishes it now
}

// judge says what is wrong with the answers, and returns the keys.
func (c *jwksCheck) judge() []servedKey {
	c.judgePolls()
	c.judgeLeaks()
	good := c.good()
	if len(good) == 0 {
		return []servedKey{}
	}
	c.judgeMembers(good)
	c.judgeAgreement(good)
	c.judgeHeaders(good)
	c.judgeDate(good)
	life := c.judgeLife(good)
	return c.judgeKeys(good, life)
}

// good are the answers that verifiers accept.
func (c *jwksCheck) good() (good []*answer) {
	for _, a := range c.answers {
		if a.err == nil {
			good = append(good, a)
		}
	}
	return good
}

func (c *jwksCheck) judgePolls() {
	addresses, texts := make(map[string]bool), make(map[string]int)
	var order []string
	for _, a := range c.answers {
		if a.address != "" {
			addresses[a.address] = true
		}
		if a.err == nil {
			continue
		}
		text := a.err.Error()
		if texts[text]++; texts[text] == 1 {
			order = append(order, text)
		}
	}
	for _, text := range order {
		c.Add(tool.Problem, "polls", "%d of %d failed: %s", texts[text], len(c.answers), text)
	}
	if len(order) == 0 {
		c.Add(tool.OK, "polls", "answers: %d, addresses: %d", len(c.answers), len(addresses))
	}
	for _, a := range c.answers {
		if len(a.redirects) > 0 {
			c.Add(tool.Warning, "redirect", "the URL leads to %s: not all verifiers follow; name the last URL", strings.Join(a.redirects, ", and there to "))
			return
		}
	}
}

// judgeMembers makes each remark once.
func (c *jwksCheck) judgeMembers(good []*answer) {
	said := make(map[string]bool)
	for _, a := range good {
		for n, m := range a.members {
			name := fmt.Sprintf("key %q", m.Kid)
			if m.Kid == "" {
				name = fmt.Sprintf("key number %d", n+1)
			}
			for _, remark := range m.remarks() {
				if text := name + ": " + remark; !said[text] {
					said[text] = true
					c.Add(tool.Warning, "keys", "%s", text)
				}
			}
		}
	}
}

// judgeAgreement compares the answers with one another.
func (c *jwksCheck) judgeAgreement(good []*answer) {
	etags := make(map[string]bool)
	var sets []string // as text, in the order of their appearance
	count := make(map[string]int)
	for _, a := range good {
		etags[a.header.Get("ETag")] = true
		set := a.sameAs(good)
		if count[set]++; count[set] == 1 {
			sets = append(sets, set)
		}
	}
	switch {
	case len(sets) > 1:
		for i, set := range sets {
			sets[i] = fmt.Sprintf("%d times %s", count[set], tool.Dash(set))
		}
		c.Add(tool.Problem, "agreement", "the answers have different keys: %s; instances have different key files, or a cache on the way has an old answer", strings.Join(sets, "; "))
	case len(etags) > 1:
		c.Add(tool.Warning, "agreement", "the same keys come with %d ETags: verifiers fetch again what they have", len(etags))
	default:
		c.Add(tool.OK, "agreement", "all answers have the same keys: %s", tool.Dash(sets[0]))
	}
}

// sameAs returns the key IDs of the first answer that has the same keys as a, in any order.
func (a *answer) sameAs(all []*answer) string {
	for _, other := range all {
		if slices.Equal(slices.Sorted(maps.Keys(other.keys)), slices.Sorted(maps.Keys(a.keys))) {
			a = other
			break
		}
	}
	return strings.Join(a.kids, ", ")
}

func (c *jwksCheck) judgeHeaders(good []*answer) {
	h := good[0].header
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	switch media {
	case "application/jwk-set+json", "application/json":
		c.Add(tool.OK, "content_type", "%s", media)
	case "":
		c.Add(tool.Warning, "content_type", "none: it should be application/jwk-set+json")
	default:
		c.Add(tool.Warning, "content_type", "%s: it should be application/jwk-set+json", media)
	}
}

// judgeRevalidation asks once more, as a verifier does that has the last answer.
func (c *jwksCheck) judgeRevalidation(ctx context.Context) {
	good := c.good()
	if len(good) == 0 {
		return
	}
	etag := good[len(good)-1].header.Get("ETag")
	if etag == "" {
		c.Add(tool.Warning, "etag", "none: verifiers transfer the whole set each time")
		return
	}
	switch a := c.fetch(ctx, etag); {
	case a.err != nil:
		c.Add(tool.Warning, "etag", "asked again with If-None-Match: %v", a.err)
	case a.status == http.StatusNotModified:
		c.Add(tool.OK, "etag", "an unchanged set is answered with 304")
	case a.header.Get("ETag") != etag:
		c.Add(tool.OK, "etag", "not tried: the next answer has another ETag")
	default:
		c.Add(tool.Warning, "etag", "If-None-Match with the same ETag is answered with 200, not with 304")
	}
}

// judgeDate compares the clocks: that of the server says when keys change, that of the verifier, which is here, too.
func (c *jwksCheck) judgeDate(good []*answer) {
	if c.At != "" {
		return // then the clock here is made up
	}
	most, known := time.Duration(0), false
	for _, a := range good {
		date, err := http.ParseTime(a.header.Get("Date"))
		if err != nil {
			continue
		}
		age, _ := time.ParseDuration(a.header.Get("Age") + "s") // it is the date of the origin
		if off := date.Add(age).Sub(a.at).Round(time.Second); !known || off.Abs() > most.Abs() {
			most, known = off, true
		}
	}
	allowed := c.policy().ClockSkew
	switch {
	case !known:
		c.Add(tool.Warning, "date", "the answers have no Date: the clocks can't be compared")
	case most.Abs() > allowed:
		c.Add(tool.Problem, "date", "the clock of the server is %s %s this one: one of them is wrong, and clock_skew of the policy is %s", span.Format(most.Abs()), side(most), span.Format(allowed))
	default:
		c.Add(tool.OK, "date", "the clocks differ by at most %s", span.Format(max(most.Abs(), time.Second)))
	}
}

func side(d time.Duration) string {
	if d > 0 {
		return "ahead of"
	}
	return "behind"
}

// policy is that of the key file, or the default.
func (c *jwksCheck) policy() keyset.Policy {
	if c.set == nil {
		return keyset.Policy{}.WithDefaults()
	}
	return c.set.Policy()
}

// judgeLife says for how long verifiers may go on with an answer, and returns it.
func (c *jwksCheck) judgeLife(good []*answer) time.Duration {
	worst := cachingOf(good[0].header)
	for _, a := range good[1:] {
		if next := cachingOf(a.header); !next.known || worst.known && next.life > worst.life {
			worst = next
		}
	}
	allowed := c.policy().CacheLife
	life := span.Format(worst.life)
	switch {
	case !worst.known:
		c.Add(tool.Warning, "cache_life", "the answers do not say: each verifier keeps them as it likes, some for 12 hours; send Cache-Control: public, max-age=600")
	case c.set == nil:
		c.Add(tool.OK, "cache_life", "verifiers keep an answer for up to %s (%s)", life, worst.why)
	case worst.life > allowed:
		c.Add(tool.Problem, "cache_life", "verifiers keep an answer for up to %s (%s), and cache_life of the policy is %s: a new key may sign before they know it; run: keygen policy --cache-life %s, or let the answers live shorter", life, worst.why, span.Format(allowed), life)
	case worst.noStore:
		c.Add(tool.Warning, "cache_life", "no-store or no-cache: verifiers fetch the set for each token, or pass the header over")
	default:
		c.Add(tool.OK, "cache_life", "verifiers keep an answer for up to %s (%s); cache_life of the policy is %s", life, worst.why, span.Format(allowed))
	}
	return worst.life
}

// judgeKeys compares what was served with what the key file publishes now.
func (c *jwksCheck) judgeKeys(good []*answer, life time.Duration) []servedKey {
	list := []servedKey{}
	for _, a := range good {
		for _, kid := range a.kids {
			at := slices.IndexFunc(list, func(s servedKey) bool { return s.ID == kid })
			if at < 0 {
				at, list = len(list), append(list, servedKey{ID: kid, Algorithm: string(a.keys[kid].Algorithm())})
			}
			list[at].Served++
		}
	}
	if c.set == nil {
		return list
	}
	f := comparison{check: c, answers: good, reach: c.policy().Spread() + life}
	return f.compare(list)
}

// A comparison is of what was served with the key file.
type comparison struct {
	check   *jwksCheck
	answers []*answer
	reach   time.Duration // in which a change of the key file reaches every verifier
}

func (f *comparison) compare(list []servedKey) []servedKey {
	now := f.check.Now
	known := append(f.check.set.Keys(), f.check.set.Pruned()...)
	for i := range list {
		s := &list[i]
		at := slices.IndexFunc(known, func(k *keyset.Key) bool { return k.ID() == s.ID })
		if at < 0 {
			s.State, s.Expected = "unknown", new(bool)
			f.check.Add(tool.Problem, "keys", "key %s is served (in %d of %d), and is not in the key file: whoever has its private half can make tokens that verifiers accept", s.ID, s.Served, len(f.answers))
			continue
		}
		f.judgeServed(s, known[at], now)
	}
	for _, k := range f.check.set.Keys() {
		if !k.Published(now) {
			continue
		}
		at := slices.IndexFunc(list, func(s servedKey) bool { return s.ID == k.ID() })
		if at < 0 {
			yes := true
			list = append(list, servedKey{k.ID(), string(k.Algorithm()), k.State(now).String(), 0, &yes})
			at = len(list) - 1
		}
		if missing := len(f.answers) - list[at].Served; missing > 0 {
			f.judgeMissing(k, missing, now)
		}
	}
	return list
}

// judgeServed judges a key that was served and is, or was, in the key file.
func (f *comparison) judgeServed(s *servedKey, k *keyset.Key, now time.Time) {
	expected := k.Published(now)
	s.State, s.Expected = k.State(now).String(), &expected
	if at, reason, revoked := k.Revoked(); revoked {
		f.check.Add(tool.Problem, "keys", "key %s was revoked at %s (%q), and is served still (in %d of %d): its tokens are accepted; it should be gone everywhere by %s",
			k.ID(), tool.Date(at), reason, s.Served, len(f.answers), tool.Date(at.Add(f.reach)))
		return
	}
	if !expected {
		f.check.Add(tool.Warning, "keys", "key %s is %s, and is served all the same (in %d of %d): an instance has not read the key file, or its clock is wrong", k.ID(), s.State, s.Served, len(f.answers))
		return
	}
	for _, a := range f.answers {
		if other := a.keys[k.ID()]; other != nil && (other.Algorithm() != k.Algorithm() || !equal(other.Public(), k.Public())) {
			f.check.Add(tool.Problem, "keys", "key %s is served as another key than that of the key file, under the same ID (%s): verifiers refuse its tokens, and accept somebody else's", k.ID(), other.Algorithm())
			return
		}
	}
}

func equal(a, b crypto.PublicKey) bool {
	e, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && e.Equal(b)
}

// judgeMissing judges a key that should be served, and is missing in some answers.
func (f *comparison) judgeMissing(k *keyset.Key, missing int, now time.Time) {
	in := fmt.Sprintf("missing in %d of %d", missing, len(f.answers))
	due := k.Dates().PublishAt.Add(f.reach)
	switch state := k.State(now); {
	case state == keyset.Active:
		f.check.Add(tool.Problem, "keys", "key %s signs, and is not served (%s): verifiers refuse its tokens", k.ID(), in)
	case state == keyset.Retiring:
		f.check.Add(tool.Problem, "keys", "key %s is retiring, and is not served (%s): verifiers refuse tokens of it that have not expired", k.ID(), in)
	case now.Before(due):
		f.check.Add(tool.Warning, "keys", "key %s is pending, and is not served yet (%s): the key file reaches everybody by %s", k.ID(), in, tool.Date(due))
	default:
		f.check.Add(tool.Problem, "keys", "key %s is pending, and is not served (%s), though it was to be since %s: verifiers will refuse its tokens when it signs, from %s on", k.ID(), in, tool.Date(k.Dates().PublishAt), tool.Date(k.Dates().SignFrom))
	}
}

// A pollRow is what is printed of an answer.
type pollRow struct {
	Status       int      `json:"status,omitempty"`
	Address      string   `json:"address,omitempty"`
	Redirects    []string `json:"redirects,omitempty"`
	Kids         []string `json:"kids"`
	ETag         string   `json:"etag,omitempty"`
	CacheControl string   `json:"cache_control,omitempty"`
	Age          string   `json:"age,omitempty"`
	Error        string   `json:"error,omitempty"`
}

func (a *answer) row() pollRow {
	r := pollRow{Status: a.status, Address: a.address, Redirects: a.redirects, Kids: []string{}}
	if a.header != nil {
		r.ETag, r.CacheControl, r.Age = a.header.Get("ETag"), strings.Join(a.header.Values("Cache-Control"), ", "), a.header.Get("Age")
	}
	if a.err != nil {
		r.Error = a.err.Error()
		return r
	}
	r.Kids = append(r.Kids, a.kids...)
	return r
}

func (c *jwksCheck) report(list []servedKey) error {
	if c.Format == "json" {
		polls := []pollRow{}
		for _, a := range c.answers {
			polls = append(polls, a.row())
		}
		out := map[string]any{"url": c.url.String(), "polls": polls, "keys": list, "findings": c.Findings}
		if c.set != nil {
			out["keyset"] = c.Path()
		}
		return c.PrintJSON(out)
	}
	if len(list) > 0 {
		if err := c.printKeys(list); err != nil {
			return err
		}
	}
	return c.Print(c.Tool)
}

func (c *jwksCheck) printKeys(list []servedKey) error {
	w := tool.NewTable(c.Stdout)
	w.Row("KID", "ALG", "STATE", "SERVED")
	for _, s := range list {
		w.Row(s.ID, s.Algorithm, tool.Dash(s.State), fmt.Sprintf("%d of %d", s.Served, len(c.good())))
	}
	fmt.Fprintln(w)
	return w.Flush()
}

func (c *jwksCheck) verdict(list []servedKey) error {
	network := !slices.ContainsFunc(c.answers, func(a *answer) bool { return !a.network })
	served := slices.ContainsFunc(list, func(s servedKey) bool { return s.Served > 0 })
	problems, warnings := c.Count(tool.Problem), c.Count(tool.Warning)
	switch {
	case c.leaks():
		return tool.Refuse(tool.ExitRefused, "PRIVATE KEYS ARE SERVED")
	case network:
		return tool.Refuse(tool.ExitError, "nothing could be fetched: %v", c.answers[0].err)
	case len(c.good()) > 0 && !served:
		return tool.Refuse(tool.ExitNotFound, "the set has no keys that verify")
	case problems > 0:
		return tool.Refuse(tool.ExitRefused, "problems: %d, warnings: %d", problems, warnings)
	}
	c.Note("no problem; warnings: %d", warnings)
	return nil
}
