package middleware

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	// maxTried is how many cookies of the name are opened at most. An attacker on
	// a neighbouring host can add cookies; each costs us a signature check.
	maxTried = 4

	// maxCookies is how many cookies a request may have to be looked at: as many
	// as net/http parses.
	maxCookies = 3000

	// maxHops is how often a credential may lead to another before it is given
	// up: one hop for each move that the carriers still remember.
	maxHops = 8
)

// A finding is what the cookies of a request stand for. To find it changes
// nothing; [exchange.apply] acts on it.
type finding struct {
	session entry   // that the request has; none if it is anonymous
	client  client  // what it holds
	rivals  []entry // sessions that ambiguous cookies opened; none is used

	refusals []refusal // in the order of the cookies
}

// A refusal is a cookie that opens no session.
type refusal struct {
	err  error
	over entry // the session, if err says that its time is over
}

// load opens the session that the request's cookies stand for. An error means
// that the store or the keys could not answer; a credential that opens nothing
// is no error.
func (x *exchange) load(r *http.Request) error {
	var list [maxTried]candidate
	found, from := x.m.read(r, list[:0])
	var err error
	ctx := x.request.Context()
	if len(from.list) > 0 || from.more {
		x.looking = deadline{Context: ctx, timeout: x.m.c.Timeout}
		defer x.looking.cancel()
		ctx = &x.looking
		err = x.m.find(ctx, from, &found)
	}
	x.apply(ctx, &found)
	if err == nil {
		x.begin(&found)
	}
	return err
}

// apply reports the cookies that open nothing, and removes the sessions that
// are over.
func (x *exchange) apply(ctx context.Context, found *finding) {
	for _, refused := range found.refusals {
		over := refused.over
		if over.rec == nil {
			x.event(Refused, nil, refused.err)
			continue
		}
		_ = over.carrier.Forget(ctx, over.credential) // it is over whether or not this succeeds
		if x.m.timedOut.first(over.rec.ID) {
			x.event(Ended, over.rec, refused.err)
			x.m.c.OnTimeout(ctx, over.rec, session.ReasonOf(refused.err))
		}
	}
}

// A candidate is a credential that is worth opening.
type candidate struct {
	credential string
	carrier    Carrier // that recognizes it
}

// candidates are those of a request.
type candidates struct {
	list []candidate // each once
	more bool        // there are others, beyond the capacity of list
}

// read reads the credentials that the cookies hold into list, up to its
// capacity: whatever a client sends, nothing grows with it.
func (m *Middleware) read(r *http.Request, list []candidate) (found finding, from candidates) {
	from.list = list
	malformed := false
	if lines := r.Header["Cookie"]; len(lines) > 0 {
		for credential := range values(lines, m.c.Cookie.Name) {
			found.client.sentCookie = true
			c := candidate{credential, m.carrier(credential)}
			switch {
			case c.carrier == nil:
				malformed = true
			case slices.ContainsFunc(from.list, func(other candidate) bool { return other.credential == credential }):
			case len(from.list) == cap(from.list):
				from.more = true
			default:
				from.list = append(from.list, c)
			}
		}
	}
	if malformed {
		found.refuse(fmt.Errorf("middleware: a cookie named %s has no form that is accepted here, such as an opaque "+
			"credential where there is no store, or a token where there are no keys: %w", m.c.Cookie.Name, session.Malformed))
	}
	if !found.client.sentCookie {
		found.client.newer = m.withheld(r)
	}
	return found, from
}

func (f *finding) refuse(err error) { f.refusals = append(f.refusals, refusal{err: err}) }

// withheld returns an error if the browser may have kept back its cookie: one
// of SameSite=Strict, when a link on another site led to this page.
func (m *Middleware) withheld(r *http.Request) error {
	if m.c.Cookie.SameSite != http.SameSiteStrictMode || r.Header.Get("Sec-Fetch-Site") != "cross-site" {
		return nil
	}
	return fmt.Errorf("middleware: the request comes from another site, so the browser keeps back its "+
		"SameSite=Strict cookie, and a new one would overwrite it; don't write to the session on pages that others "+
		"link to, or use SameSite=Lax: %w", session.Ended)
}

// superseded returns an error if err says that the client is about to get a
// newer cookie, or has it already.
func (m *Middleware) superseded(err error) error {
	renewed := new(session.SupersededError)
	if !errors.As(err, &renewed) || !m.c.Now().Before(renewed.Until()) {
		return nil
	}
	return fmt.Errorf("middleware: a request that was answered meanwhile has renewed the session, and a new cookie "+
		"would overwrite that one's: %w", fault.Inner(err))
}

// values yields the values of the cookies called name. It reads them as
// net/http does, also in that it reads none of a request with thousands of
// them; but it takes a fraction of the time, since it doesn't look at what the
// carriers check anyway, and it never takes a quoted value for an unquoted one.
func values(lines []string, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		count := 0
		for _, line := range lines {
			count += strings.Count(line, ";") + 1
		}
		if count > maxCookies {
			return
		}
		for _, line := range lines {
			for rest := line; rest != ""; {
				var pair string
				pair, rest, _ = strings.Cut(rest, ";")
				n, value, ok := strings.Cut(pair, "=")
				if ok && strings.Trim(n, " \t") == name && !yield(strings.TrimRight(value, " \t")) {
					return
				}
			}
		}
	}
}

// A look is what a credential opened to.
type look struct {
	credential string
	found      entry
	err        error
}

// find opens cookies of the same name. Their order tells nothing
// (RFC 6265bis, Section 4.2.2): if exactly one opens, it is used; if several
// open to one session, the newer state is; if they open to different sessions,
// or there are too many to try, somebody has planted some, and none is used. An
// error says that the store or the keys could not answer.
func (m *Middleware) find(ctx context.Context, from candidates, f *finding) error {
	var looks [maxTried]look
	var best entry
	for i, c := range from.list {
		credential := c.credential
		found, err := m.open(ctx, c, looks[:i])
		looks[i] = look{credential, found, err}
		why := session.Reason(0)
		if err == nil {
			found, why, err = m.over(ctx, found)
		}
		switch {
		case session.ReasonOf(err) == session.Unavailable:
			return err
		case err != nil:
			f.refuse(err)
			f.client.newer = cmp.Or(m.superseded(err), f.client.newer)
		case why != 0:
			f.refusals = append(f.refusals, refusal{fmt.Errorf("middleware: the session is over: %w", why), found})
		case best.rec == nil:
			best, f.client.holds, f.client.persistent = found, credential, found.rec.Persistent
		case best.rec.ID != found.rec.ID:
			f.rival(found)
		case found.rec.Newer(best.rec):
			best, f.client.holds, f.client.persistent = found, credential, found.rec.Persistent
		}
	}
	if !from.more && f.rivals == nil {
		f.session = best
		return nil
	}
	if best.rec != nil {
		f.rival(best)
	}
	f.client.holds, f.client.persistent = "", false
	f.refuse(fmt.Errorf("middleware: cookies named %s open to different sessions, or are too many; a login ends the "+
		"others; where their path or domain was changed, change the name too: %w", m.c.Cookie.Name, session.Ambiguous))
	return nil
}

// rival records a session that is not used, once per ID, in its newest state.
func (f *finding) rival(found entry) {
	for i, other := range f.rivals {
		if other.rec.ID == found.rec.ID {
			if found.rec.Newer(other.rec) {
				f.rivals[i] = found
			}
			return
		}
	}
	f.rivals = append(f.rivals, found)
}

// open follows a credential to the record that it stands for by now. before are
// the looks of the same request: what they have opened is not opened again.
func (m *Middleware) open(ctx context.Context, c candidate, before []look) (entry, error) {
	for range maxHops {
		for _, l := range before {
			if l.credential == c.credential {
				return l.found, l.err
			}
		}
		if c.carrier == nil {
			return entry{}, fmt.Errorf("middleware: the session went on in a form that is not accepted here: %w",
				session.Malformed)
		}
		rec, current, err := c.carrier.Open(ctx, c.credential)
		if err != nil {
			return entry{}, err
		}
		if rec != nil {
			return entry{rec, c.carrier, current}, nil
		}
		c = candidate{current, m.carrier(current)}
	}
	return entry{}, fmt.Errorf("middleware: a credential led to more than %d others: %w", maxHops, session.Ended)
}

// reopen finds out what has become of a session that the same request has
// opened or made.
func (m *Middleware) reopen(ctx context.Context, was entry) (entry, error) {
	rec, current, err := was.carrier.Reopen(ctx, was.credential, was.rec)
	if err != nil {
		return entry{}, err
	}
	if rec == nil {
		return m.open(ctx, candidate{current, m.carrier(current)}, nil)
	}
	return entry{rec, was.carrier, current}, nil
}

// over decides whether a session that opens is over, and why. It returns the
// session in its newest state.
func (m *Middleware) over(ctx context.Context, found entry) (entry, session.Reason, error) {
	if m.c.Policy.Over(found.rec, m.c.Now()) == 0 {
		return found, 0, nil
	}
	// Another request may have been active just before the deadline, and saved
	// that while this one was looking: look again, now that it has passed.
	again, err := m.reopen(ctx, found)
	if err != nil {
		return entry{}, 0, err
	}
	return again, m.c.Policy.Over(again.rec, m.c.Now()), nil
}
