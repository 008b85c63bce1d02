package logtest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// appenders has eight callers on three instances append, while one reader
// follows and another one starts again and again. Each Reading is judged by
// what had been appended before it was called for.
func appenders(p *probe) {
	logs := []revocation.Log{p.open(), p.open(), p.open()}
	var callers, readers sync.WaitGroup
	done := make(chan struct{})
	for c := range 8 {
		callers.Go(func() {
			for i := range soak(25) {
				e, common := entry(fmt.Sprintf("%d of %d", i, c), 1), entry("common", int64(i))
				p.append(logs[c%len(logs)], e, common)
			}
		})
	}
	follows := p.reader(logs[0])
	readers.Go(func() {
		for !isClosed(done) && !p.failed() {
			follows.read(100 * time.Millisecond)
		}
	})
	readers.Go(func() {
		for !isClosed(done) && !p.failed() {
			starts := p.reader(logs[1])
			for range 10 {
				starts.read(10 * time.Millisecond)
			}
		}
	})
	callers.Wait()
	close(done)
	readers.Wait()
	follows.toEnd()
	starts := p.reader(logs[2])
	starts.toEnd()
	for _, e := range p.all() {
		_, followed := follows.known[e.Key]
		_, started := starts.known[e.Key]
		p.expect(followed && started, "%s is missing: one who follows has it: %v, one who starts: %v",
			text(e), followed, started)
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// record returns a session that began a minute ago.
func record(id, subject string) *session.Record {
	now := time.Now()
	then := now.Add(-time.Minute)
	rec := &session.Record{ID: id, Subject: subject, Generation: 3, CreatedAt: then, SeenAt: now,
		IdleDeadline: now.Add(30 * time.Minute), Deadline: now.Add(time.Hour)}
	if subject != "" {
		rec.AuthenticatedAt = then
	}
	return rec
}

// twoLists ends something of each kind on one of two lists. All of it must end
// on the other one, too, and on a third one that starts afterwards.
func twoLists(p *probe) {
	a, b := p.list(), p.list()
	visitor, alice, bob, carol := record("v", ""), record("a", "alice"), record("b", "bob"), record("c", "carol")
	renewed := *carol
	renewed.Generation++
	done := func(what string, err error) { p.expect(err == nil, "%s failed: %w", what, err) }
	done("EndSession without a subject", a.EndSession(p.ctx, visitor))
	done("EndSession", b.EndSession(p.ctx, alice))
	done("EndSubject", a.EndSubject(p.ctx, "bob"))
	ok, err := b.EndBelow(p.ctx, carol)
	p.expect(ok && err == nil, "EndBelow: ok=%v: %w", ok, err)
	everybody := func(l *revocation.List, name string) {
		for _, rec := range []*session.Record{visitor, alice, bob, carol} {
			p.eventually(fmt.Sprintf("an end of session %q %s", rec.ID, name), func() bool { return l.Check(rec) != nil })
		}
		for _, rec := range []*session.Record{&renewed, record("d", "dora")} {
			p.expect(l.Check(rec) == nil, "session %q, which goes on, has ended %s", rec.ID, name)
		}
	}
	everybody(a, "on the first list")
	everybody(b, "on the second list")
	everybody(p.list(), "on a list that starts afterwards")
	done("EndAll", b.EndAll(p.ctx))
	c := p.list()
	for name, l := range map[string]*revocation.List{"first": a, "second": b, "new": c} {
		p.eventually("an end of everything on the "+name+" list", func() bool {
			return errors.Is(l.Check(&renewed), session.Ended)
		})
	}
}

func lostRules() []rule {
	return []rule{
		{"position lost", "an instance must find out that the log has lost what it appended", positionLost},
		{"lists heal", "an instance that starts after a failover must know what ended before it", listsHeal},
	}
}

// positionLost reads on after a loss. That the log is Lost may show only with
// the Read after the next.
func positionLost(p *probe) {
	r := p.reader(p.open())
	p.append(r.log, entry("one", 1), entry("two", 1))
	r.toEnd()
	p.lose()
	for begun := time.Now(); !p.failed(); {
		got, err := r.log.Read(p.ctx, r.pos, 100*time.Millisecond)
		p.expect(err == nil, "Read failed: %w", err)
		if got.Lost {
			return
		}
		r.pos = got.Next
		p.expect(time.Since(begun) < timeout, "the log has lost its entries, and for %v Read didn't say so", timeout)
	}
}

func listsHeal(p *probe) {
	a, b := p.list(), p.list()
	alice, bob := record("a", "alice"), record("b", "bob")
	err := errors.Join(a.EndSession(p.ctx, alice), b.EndSubject(p.ctx, "bob"))
	p.expect(err == nil, "an end failed: %w", err)
	p.lose()
	has := func(l *revocation.List) bool { return l.Check(alice) != nil && l.Check(bob) != nil }
	p.eventually("everything in the log again", func() bool {
		r := p.reader(p.open())
		got, err := r.log.Read(p.ctx, "", 0)
		return err == nil && len(got.Entries) >= 2
	})
	c := p.list()
	p.eventually("what had ended, on a list that starts after the log was lost", func() bool { return has(c) })
}
