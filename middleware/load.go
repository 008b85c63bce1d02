package middleware

import (
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

	// maxCookies is how many cookies a request may have to be looked at: as many as
	// net/http parses.
	maxCookies = 3000

	// maxHops is how often a credential may lead to another before it is given
	// up: one hop for each move within MoveGrace.
	maxHops = 8
)

// opened is a session as it was found.
type opened struct {
	rec       *session.Record
	carrier   Carrier
	presented string // by the client
	current   string // under which the session is kept by now
}

// load opens the session that the request's cookies stand for. An error means
// that the store or the keys could not answer; a credential that opens nothing is
// no error.
func (x *exchange) load(r *http.Request) error {
	lines := r.Header["Cookie"]
	if len(lines) == 0 {
		x.withheld(r)
		x.begin(opened{})
		return nil
	}
	var list [maxTried]string
	found := x.candidates(lines, list[:0])
	x.presented = found.any
	if !found.any {
		x.withheld(r)
	}
	if len(found.list) == 0 && !found.more {
		x.begin(opened{})
		return nil
	}
	ctx, cancel := x.m.bounded(x.ctx)
	defer cancel()
	best, err := x.choose(ctx, found)
	if err != nil {
		return err
	}
	x.begin(best)
	return nil
}

// withheld notes that the browser may have kept back its cookie: one of
// SameSite=Strict, when a link on another site led to this page.
func (x *exchange) withheld(r *http.Request) {
	if x.m.c.Cookie.SameSite == http.SameSiteStrictMode && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		x.elsewhere = fmt.Errorf("middleware: the request comes from another site, so the browser keeps back its SameSite=Strict cookie, and a new one would overwrite it; don't write to the session on pages that others link to, or use SameSite=Lax: %w", session.Ended)
	}
}

// superseded notes, if that is what err says, that the client is about to get
// a newer cookie, or has it already.
func (x *exchange) superseded(err error) {
	renewed := new(session.SupersededError)
	if errors.As(err, &renewed) && renewed.Recent(x.m.c.Now()) {
		x.elsewhere = fmt.Errorf("middleware: a request that was answered meanwhile has renewed the session, and a new cookie would overwrite that one's: %w", fault.Inner(err))
	}
}

// values yields the values of the cookies called name. It reads them as net/http
// does, also in that it reads none of a request with thousands of them; but it
// takes a fraction of the time, since it doesn't look at what the carriers check
// anyway, and it never takes a quoted value for an unquoted one.
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

// candidates are the credentials of a request that are worth opening.
type candidates struct {
	list []string // of a known form, each once
	more bool     // there are others, beyond the capacity of list
	any  bool     // some cookie of the name was sent
}

// candidates appends the credentials that the cookies hold to list, up to its
// capacity: whatever a client sends, nothing grows with it.
func (x *exchange) candidates(lines, list []string) candidates {
	found, malformed := candidates{list: list}, false
	for credential := range values(lines, x.m.c.Cookie.Name) {
		found.any = true
		switch {
		case x.m.carrier(credential) == nil:
			malformed = true
		case slices.Contains(found.list, credential):
		case len(found.list) == cap(found.list):
			found.more = true
		default:
			found.list = append(found.list, credential)
		}
	}
	if malformed {
		x.event(Refused, nil, fmt.Errorf("middleware: a cookie named %s has no form that is accepted here, such as an opaque credential where there is no store, or a token where there are no keys: %w", x.m.c.Cookie.Name, session.Malformed))
	}
	return found
}

// A look is what a credential opened to.
type look struct {
	credential string
	found      opened
	err        error
}

// choose opens cookies of the same name. Their order tells nothing
// (RFC 6265bis, Section 4.2.2): if exactly one opens, it is used; if several
// open to one session, the newer state is; if they open to different sessions,
// or there are too many to try, somebody has planted some, and none is used.
func (x *exchange) choose(ctx context.Context, from candidates) (opened, error) {
	var looks [maxTried]look
	var best opened
	for i, credential := range from.list {
		found, err := x.m.open(ctx, credential, looks[:i])
		looks[i] = look{credential, found, err}
		over := false
		if err == nil {
			over, err = x.isOver(ctx, &found)
		}
		switch {
		case session.ReasonOf(err) == session.Unavailable:
			return opened{}, err
		case err != nil:
			x.superseded(err)
			x.event(Refused, nil, err)
		case over:
		case best.rec == nil:
			best = found
		case best.rec.ID != found.rec.ID:
			x.rival(found)
		case newer(found.rec, best.rec):
			best = found
		}
	}
	if !from.more && x.rivals == nil {
		return best, nil
	}
	if best.rec != nil {
		x.rival(best)
	}
	x.event(Refused, nil, fmt.Errorf("middleware: cookies named %s open to different sessions, or are too many; a login ends the others; where their path or domain was changed, change the name too: %w", x.m.c.Cookie.Name, session.Ambiguous))
	return opened{}, nil
}

// rival records a session that is not used, once per ID, in its newest state.
func (x *exchange) rival(found opened) {
	for i, other := range x.rivals {
		if other.rec.ID == found.rec.ID {
			if newer(found.rec, other.rec) {
				x.rivals[i] = found
			}
			return
		}
	}
	x.rivals = append(x.rivals, found)
}

// open follows a credential to the record that it stands for by now. before are
// the looks of the same request: what they have opened is not opened again.
func (m *Middleware) open(ctx context.Context, credential string, before []look) (opened, error) {
	next := credential
	for range maxHops {
		for _, l := range before {
			if l.credential == next {
				l.found.presented = credential
				return l.found, l.err
			}
		}
		carrier := m.carrier(next)
		if carrier == nil {
			return opened{}, fmt.Errorf("middleware: the session went on in a form that is not accepted here: %w", session.Malformed)
		}
		rec, current, err := carrier.Open(ctx, next)
		if err != nil {
			return opened{}, err
		}
		if rec != nil {
			return opened{rec: rec, carrier: carrier, presented: credential, current: current}, nil
		}
		next = current
	}
	return opened{}, fmt.Errorf("middleware: a credential led to more than %d others: %w", maxHops, session.Ended)
}

// reopen finds out what has become of a session that the same request has opened
// or made.
func (m *Middleware) reopen(ctx context.Context, was opened) (opened, error) {
	if was.rec == nil {
		return m.open(ctx, was.current, nil)
	}
	rec, current, err := was.carrier.Reopen(ctx, was.current, was.rec)
	if err != nil {
		return opened{}, err
	}
	if rec == nil {
		now, err := m.open(ctx, current, nil)
		now.presented = was.presented
		return now, err
	}
	return opened{rec: rec, carrier: was.carrier, presented: was.presented, current: current}, nil
}

// isOver decides whether a session that opens is over, and if so removes it and
// reports it.
func (x *exchange) isOver(ctx context.Context, found *opened) (bool, error) {
	if x.m.c.Policy.Over(found.rec, x.m.c.Now()) == 0 {
		return false, nil
	}
	// Another request may have been active just before the deadline, and saved
	// that while this one was looking: look again, now that it has passed.
	again, err := x.m.reopen(ctx, *found)
	if err != nil {
		return false, err
	}
	why := x.m.c.Policy.Over(again.rec, x.m.c.Now())
	if why == 0 {
		*found = again
		return false, nil
	}
	_ = again.carrier.Forget(ctx, again.current) // it is over whether or not this succeeds
	if x.m.over.first(again.rec.ID) {
		x.event(Ended, again.rec, fmt.Errorf("middleware: the session is over: %w", why))
		x.m.c.OnTimeout(ctx, again.rec, why)
	}
	return true, nil
}

// newer reports whether a is a later state than b, across generations.
func newer(a, b *session.Record) bool {
	if a.Generation != b.Generation {
		return a.Generation > b.Generation
	}
	return a.Newer(b)
}
