package jwkscheck

import (
	"cmp"
	"context"
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

// judge says what is wrong with the answers, and returns the keys.
func (c *jwksCheck) judge() []servedKey {
	c.judgePolls()
	c.judgeLeaks()
	if len(c.good) == 0 {
		return []servedKey{}
	}
	c.judgeMembers()
	c.judgeAgreement()
	c.judgeContentType()
	c.judgeDate()
	life := c.judgeLife()
	list := c.served()
	if c.set != nil {
		list = c.compare(list, c.policy.Spread()+life)
	}
	return list
}

// A tally counts texts, in the order in which they appeared.
type tally struct {
	texts []string
	count map[string]int
}

// add counts a text, and reports whether it is a new one.
func (t *tally) add(text string) bool {
	if t.count == nil {
		t.count = make(map[string]int)
	}
	t.count[text]++
	first := t.count[text] == 1
	if first {
		t.texts = append(t.texts, text)
	}
	return first
}

func (c *jwksCheck) judgePolls() {
	var errs, addresses, ways tally
	for _, a := range c.answers {
		if a.Address != "" {
			addresses.add(a.Address)
		}
		if len(a.Redirects) > 0 {
			ways.add(strings.Join(a.Redirects, ", and there to "))
		}
		if a.err != nil {
			errs.add(a.Error)
		}
	}
	for _, text := range errs.texts {
		c.Add(tool.Problem, "polls", "%d of %d failed: %s", errs.count[text], len(c.answers), text)
	}
	if len(errs.texts) == 0 {
		c.Add(tool.OK, "polls", "answers: %d, addresses: %d", len(c.answers), len(addresses.texts))
	}
	for _, way := range ways.texts {
		c.Add(tool.Warning, "redirect", "the URL leads to %s: not all verifiers follow; name the last URL", way)
	}
}

// judgeLeaks names the keys whose private half is served, and never repeats a
// private number: the output goes into logs.
func (c *jwksCheck) judgeLeaks() {
	leaked := c.leaked()
	kids := slices.Sorted(maps.Keys(leaked))
	ours := slices.DeleteFunc(slices.Clone(kids), func(kid string) bool { return c.set == nil || c.set.Key(kid) == nil })
	for _, kid := range kids {
		command := "revoke it"
		// People paste the command, so it never has an ID that the server chose: it
		// might hold shell code. And several keys need one revocation, see below.
		if len(ours) == 1 && ours[0] == kid {
			command = fmt.Sprintf("run: keygen revoke %s --reason key_compromise", kid)
		}
		c.Add(tool.Problem, "private_key", "ALARM: key %q is served with its PRIVATE half (%s): "+
			"everybody can make tokens; take the set down, and %s", kid, leaked[kid], command)
	}
	// Revoked one by one, each key would be replaced by a standby that may have
	// leaked as well.
	if len(ours) > 1 {
		c.Add(tool.Problem, "private_key", "%d keys of the key file are burnt; "+
			"when the set is down, run once: keygen revoke --all --reason key_compromise", len(ours))
	}
}

// leaked returns the names of the private members that were served, by kid. It
// looks at all answers, because verifiers refuse a set with private keys.
func (c *jwksCheck) leaked() map[string]string {
	found := make(map[string]string)
	for _, a := range c.answers {
		for _, m := range a.members {
			if len(m.leaks) > 0 {
				found[m.kid] = strings.Join(m.leaks, ", ")
			}
		}
	}
	return found
}

// judgeMembers remarks on each key. The same remark on several answers is made
// once.
func (c *jwksCheck) judgeMembers() {
	var said tally
	for _, a := range c.good {
		for n, m := range a.members {
			name := fmt.Sprintf("key %q", m.kid)
			if m.kid == "" {
				name = fmt.Sprintf("key number %d", n+1)
			}
			for _, remark := range m.remarks() {
				if text := name + ": " + remark; said.add(text) {
					c.Add(tool.Warning, "keys", "%s", text)
				}
			}
		}
	}
}

// judgeAgreement compares the answers with one another. A verifier that meets
// two instances with different keys refuses tokens now and then, which is hard
// to find. The order of the keys doesn't matter.
func (c *jwksCheck) judgeAgreement() {
	var sets, etags tally
	for _, a := range c.good {
		etags.add(a.ETag)
		i := slices.IndexFunc(c.good, func(b *answer) bool {
			return maps.EqualFunc(a.keys, b.keys, func(_, _ *keyset.Key) bool { return true })
		})
		sets.add(strings.Join(c.good[i].Kids, ", "))
	}
	switch {
	case len(sets.texts) > 1:
		var said []string
		for _, kids := range sets.texts {
			said = append(said, fmt.Sprintf("%d times %s", sets.count[kids], tool.Dash(kids)))
		}
		c.Add(tool.Problem, "agreement", "the answers have different keys: %s; instances have different key files, "+
			"or a cache on the way has an old answer", strings.Join(said, "; "))
	case len(etags.texts) > 1:
		c.Add(tool.Warning, "agreement", "the same keys come with %d ETags: "+
			"verifiers fetch again what they have", len(etags.texts))
	default:
		c.Add(tool.OK, "agreement", "all answers have the same keys: %s", tool.Dash(sets.texts[0]))
	}
}

// judgeContentType accepts plain JSON too, which nearly all verifiers read. The
// registered type is that of RFC 7517, Section 8.5.2.
func (c *jwksCheck) judgeContentType() {
	media, _, _ := mime.ParseMediaType(c.good[0].header.Get("Content-Type"))
	if media == "application/jwk-set+json" || media == "application/json" {
		c.Add(tool.OK, "content_type", "%s", media)
		return
	}
	c.Add(tool.Warning, "content_type", "%s: it should be application/jwk-set+json", cmp.Or(media, "none"))
}

// judgeRevalidation fetches once more, as a verifier that still has the last
// answer.
func (c *jwksCheck) judgeRevalidation(ctx context.Context) {
	if len(c.good) == 0 {
		return
	}
	etag := c.good[len(c.good)-1].ETag
	if etag == "" {
		c.Add(tool.Warning, "etag", "none: verifiers transfer the whole set each time")
		return
	}
	switch a := c.fetch(ctx, etag); {
	case a.err != nil:
		c.Add(tool.Warning, "etag", "asked again with If-None-Match: %v", a.err)
	case a.Status == http.StatusNotModified:
		c.Add(tool.OK, "etag", "an unchanged set is answered with 304")
	case a.ETag != etag:
		c.Add(tool.OK, "etag", "not tried: the next answer has another ETag")
	default:
		c.Add(tool.Warning, "etag", "If-None-Match with the same ETag is answered with 200, not with 304")
	}
}

// judgeDate compares the clock of the server with that of this machine. Keys
// change by the former, and a verifier here judges tokens by the latter.
func (c *jwksCheck) judgeDate() {
	if c.At != "" {
		return // then the clock here is made up
	}
	most, known := time.Duration(0), false
	for _, a := range c.good {
		date, err := http.ParseTime(a.header.Get("Date"))
		if err != nil {
			continue
		}
		age, _ := time.ParseDuration(a.Age + "s") // a cache keeps the Date of the origin (RFC 9111, Section 5.1)
		if off := date.Add(age).Sub(a.at).Round(time.Second); !known || off.Abs() > most.Abs() {
			most, known = off, true
		}
	}
	side := "behind"
	if most > 0 {
		side = "ahead of"
	}
	switch allowed := c.policy.ClockSkew; {
	case !known:
		c.Add(tool.Warning, "date", "the answers have no Date: the clocks can't be compared")
	case most.Abs() > allowed:
		c.Add(tool.Problem, "date", "the clock of the server is %s %s this one: one of them is wrong, "+
			"and clock_skew of the policy is %s", span.Format(most.Abs()), side, span.Format(allowed))
	default: // Date has whole seconds
		c.Add(tool.OK, "date", "the clocks differ by at most %s", span.Format(max(most.Abs(), time.Second)))
	}
}

// judgeLife returns for how long verifiers may keep an answer. The worst answer
// counts, and one that doesn't say is the worst of all.
func (c *jwksCheck) judgeLife() time.Duration {
	worst := cachingOf(c.good[0].header)
	for _, a := range c.good[1:] {
		if next := cachingOf(a.header); !next.known || worst.known && next.life > worst.life {
			worst = next
		}
	}
	life, allowed := span.Format(worst.life), span.Format(c.policy.CacheLife)
	kept := fmt.Sprintf("verifiers keep an answer for up to %s (%s)", life, worst.why)
	switch {
	case !worst.known:
		c.Add(tool.Warning, "cache_life", "the answers do not say: each verifier keeps them as it likes, "+
			"some for 12 hours; send Cache-Control: public, max-age=600")
	case c.set == nil:
		c.Add(tool.OK, "cache_life", "%s", kept)
	case worst.life > c.policy.CacheLife:
		c.Add(tool.Problem, "cache_life", "%s, and cache_life of the policy is %s: a new key may sign before they know it; "+
			"run: keygen policy --cache-life %s, or let the answers live shorter", kept, allowed, life)
	case worst.noStore:
		c.Add(tool.Warning, "cache_life", "no-store or no-cache: "+
			"verifiers fetch the set for each token, or pass the header over")
	default:
		c.Add(tool.OK, "cache_life", "%s; cache_life of the policy is %s", kept, allowed)
	}
	return worst.life
}
