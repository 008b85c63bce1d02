package apptest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// A happened is an end that a request, or somebody else, has made.
type happened struct {
	kind       string
	by         int       // the instance
	id         string    // of the session; "" for more than one
	subject    string    // whose sessions were all ended; "" if not of one subject
	generation uint64    // that was retired
	moved      bool      // retired because the session went on in another form
	inStore    bool      // retired in the store, which all instances share
	since      time.Time // of the session that was kept

	began, returned int       // ticks; returned is 0 if it has not, or has failed
	length          int       // of the log when it returned
	at              time.Time // when it returned
}

// A loggedIn is a login.
type loggedIn struct {
	by         int
	began      int // tick
	at         time.Time
	known      map[*happened]bool // what the instance had heard before the request began
	status     int                // 0 if it has not returned
	returned   int                // tick
	credential string
	rec        *session.Record
}

func (p *several) begin(i int, kind, id string) *happened {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tick++
	e := &happened{kind: kind, by: i, id: id, began: p.tick}
	p.ends = append(p.ends, e)
	return e
}

func (p *several) done(e *happened, err error) {
	length := p.feed.length()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tick++
	if err == nil {
		e.returned, e.length, e.at = p.tick, length, p.Clock.Now()
	}
}

func (e *happened) isOfMany() bool { return e.id == "" || e.subject != "" }

func (e *happened) topic() string {
	switch {
	case e.subject != "":
		return aboutSubject(e.subject)
	case e.id != "":
		return aboutSession(e.id)
	}
	return everyone
}

// heardBy reports whether instance i knows of e for sure.
func (p *several) heardBy(i int, e *happened) bool {
	if e.returned == 0 {
		return false
	}
	atOnce := p.Mode == "opaque" && !e.isOfMany() || e.inStore
	return atOnce || e.by == i || p.feed.hasHeard(i, e.length, e.topic())
}

// heard returns the ends that instance i knows of for sure.
func (p *several) heard(i int) map[*happened]bool {
	heard := make(map[*happened]bool)
	for _, e := range p.happened() {
		if p.heardBy(i, e) {
			heard[e] = true
		}
	}
	return heard
}

func (p *several) happened() []*happened {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*happened(nil), p.ends...)
}

// isAlone reports whether no other end of many sessions came at the same time
// as e.
func (p *several) isAlone(e *happened) bool {
	for _, other := range p.happened() {
		before := other.returned > 0 && other.returned < e.began
		if other != e && other.isOfMany() && !before && other.began < e.returned {
			return false
		}
	}
	return true
}

func (p *several) beginLogin(i int, kind string) *loggedIn {
	if !strings.Contains(kind, "login") {
		return nil
	}
	l := &loggedIn{by: i, known: make(map[*happened]bool), at: p.Clock.Now()}
	for e := range p.heard(i) {
		// A request that begins in the millisecond of the end counts as earlier.
		if l.at.After(e.at) && l.at.After(p.feed.heardAt(i, e.topic())) {
			l.known[e] = true
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tick++
	l.began = p.tick
	return l
}

func (p *several) endLogin(l *loggedIn, status int, credential string) {
	if l == nil {
		return
	}
	l.status, l.credential, l.rec = status, credential, p.recordOf(credential)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tick++
	l.returned = p.tick
	p.logins = append(p.logins, l)
}

func (p *several) violated(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.verdict.Violation == "" {
		p.verdict.Violation = fmt.Sprintf(format, args...) + "\n" + strings.Join(p.log, "\n")
		for _, e := range p.ends {
			p.verdict.Violation += fmt.Sprintf("\n%+v", *e)
		}
	}
}

// probe opens a credential on instance i, and compares that with what the
// instance has heard before.
func (p *several) probe(ctx context.Context, i int, c madeCredential, when string) (opened *session.Record) {
	if !c.delivered && Form(c.text) == "token" {
		return nil // it was made in vain, so nobody has it; what is in the store, a carrier removes then
	}
	heard := p.heard(i)
	p.request(ctx, p.instances[i].home, c.text, func(s *session.Session) {
		s.IgnoreActivity() // nobody was given some of these credentials: don't make more of them
		if !s.IsNew() {
			rec := s.Snapshot()
			opened = &rec
		}
	})
	if opened == nil {
		return nil
	}
	for _, e := range p.happened() {
		switch p.covers(e, c, opened) {
		case mayNotOpen:
			if !heard[e] {
				p.count(&p.verdict.Early)
				continue
			}
			p.violated("%s, instance %d: a credential of generation %d (token %t) opens a session of generation %d, "+
				"subject %q, counting from %v, though it has heard: %+v", when, i, c.rec.Generation, Form(c.text) == "token",
				opened.Generation, opened.Subject, opened.CountsFrom(), *e)
		case forked:
			p.count(&p.verdict.Forks)
		}
	}
	p.count(&p.verdict.Judged)
	return opened
}

func (p *several) count(n *int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*n++
}

// covered says whether an end covers what has opened.
type covered int

const (
	mayOpen covered = iota
	mayNotOpen
	forked
)

// covers decides whether, on an instance that has heard of e, a credential made
// for rec may open a session that is in state opened.
func (p *several) covers(e *happened, c madeCredential, opened *session.Record) covered {
	rec := c.rec
	switch {
	case e.returned == 0:
		return mayOpen
	case e.kind == "logged out":
		if e.id == opened.ID || e.id == rec.ID {
			return mayNotOpen
		}
	case e.kind == "retired":
		return p.retired(e, c, opened)
	case e.subject != "" && opened.Subject != e.subject, !e.since.IsZero() && opened.Since.Equal(e.since):
	default:
		l := p.loginOf(opened)
		if l == nil || l.returned > e.began {
			return mayOpen
		}
		if !opened.Since.IsZero() && !p.isAlone(e) {
			return forked // two ends at the same time may know nothing of each other
		}
		return mayNotOpen
	}
	return mayOpen
}

// retired is covers for the end of a generation.
func (p *several) retired(e *happened, c madeCredential, opened *session.Record) covered {
	rec := c.rec
	switch {
	case e.id != opened.ID || rec.Generation > e.generation:
		return mayOpen
	case e.inStore && (Form(c.text) == "token" || p.isForked(e.id, e.generation)):
		return mayOpen // only the list ends tokens
	case e.inStore && rec.Generation < opened.Generation && opened.Generation < e.generation:
		return mayOpen // the credential leads to a token, which has an end of its own
	case opened.Generation <= e.generation:
		return mayNotOpen
	}
	// It leads to a later generation. Only moves do that.
	for _, other := range p.happened() {
		if other.id == e.id && other.moved && other.generation >= rec.Generation {
			if e.moved {
				return mayOpen
			}
			return forked
		}
	}
	return mayNotOpen
}

// isForked reports whether two instances have each retired a generation of the
// session up to this one.
func (p *several) isForked(id string, upTo uint64) bool {
	seen := make(map[uint64]bool)
	for _, e := range p.happened() {
		if e.kind == "retired" && e.id == id && e.generation <= upTo {
			if seen[e.generation] {
				return true
			}
			seen[e.generation] = true
		}
	}
	return false
}

// loginOf returns the login with which a session has its subject, nil if that
// has not succeeded.
func (p *several) loginOf(rec *session.Record) *loggedIn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.logins {
		if l.status == http.StatusOK && l.rec != nil && l.rec.ID == rec.ID && l.rec.Subject == rec.Subject &&
			l.rec.AuthenticatedAt.Equal(rec.AuthenticatedAt) {
			return l
		}
	}
	return nil
}

func (p *several) judgeAll(when string) {
	for _, c := range p.credentials() {
		for i := range p.instances {
			p.probe(context.Background(), i, c, when)
		}
	}
}

// judgeAlike looks whether all instances give one answer, when all have heard
// of everything.
func (p *several) judgeAlike() {
	for _, c := range p.credentials() {
		answer := ""
		for i := range p.instances {
			got := "nothing"
			if rec := p.probe(context.Background(), i, c, "in the end"); rec != nil {
				got = fmt.Sprintf("generation %d of %s, subject %q", rec.Generation, rec.ID, rec.Subject)
			}
			if i > 0 && got != answer {
				p.violated("a credential of generation %d (token %t) opens %s on instance %d, and %s before",
					c.rec.Generation, Form(c.text) == "token", got, i, answer)
			}
			answer = got
		}
	}
}

// judgeLogins looks whether logins hold that began after their instance had
// heard of every end that concerns them.
func (p *several) judgeLogins() {
	for _, l := range p.logins {
		if !p.mustHold(l) {
			continue
		}
		p.count(&p.verdict.Logins)
		if l.status != http.StatusOK {
			p.violated("a login on %d that began after every end was known there is answered with %d", l.by, l.status)
			continue
		}
		for i := range p.instances {
			c := madeCredential{l.credential, l.rec, true}
			if opened := p.probe(context.Background(), i, c, "logins"); opened == nil {
				p.violated("a login on %d (known %d of %d ends) is dead on instance %d, counting from %v", l.by, len(l.known),
					len(p.ends), i, l.rec.CountsFrom())
			}
		}
	}
}

func (p *several) mustHold(l *loggedIn) bool {
	after := false
	for _, e := range p.happened() {
		if e.isOfMany() {
			after = after || l.known[e]
			if !l.known[e] {
				return false
			}
			continue
		}
		concerned := e.id == p.id && (l.rec == nil || l.rec.ID == p.id)
		if concerned && !l.known[e] && (e.by != l.by || e.began < l.began || e.began > l.returned || e.kind != "retired") {
			return false
		}
	}
	return after
}

// judgeLost looks whether anybody was logged out whom nobody has.
func (p *several) judgeLost() {
	newest := uint64(0)
	for _, e := range p.happened() {
		if e.isOfMany() || e.kind == "logged out" || p.isForked(p.id, e.generation) {
			return
		}
		newest = max(newest, e.generation+1)
	}
	for _, c := range p.credentials() {
		if !c.delivered || c.rec.ID != p.id || c.rec.Generation < newest {
			continue
		}
		for i := range p.instances {
			if p.probe(context.Background(), i, c, "lost") == nil {
				p.violated("nothing has ended, and the newest credential (generation %d, token %t) opens nothing on instance %d",
					c.rec.Generation, Form(c.text) == "token", i)
			}
		}
	}
}
