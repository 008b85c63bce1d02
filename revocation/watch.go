package revocation

import (
	"container/heap"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// A lookFunc is the look of [List.Watch].
type lookFunc = func() (*session.Record, error)

// Watch calls ended, once, when the session of rec is over: ended by this list
// or by [List.Changed], logged in to by somebody else, or out of time. It is
// for requests that run long. Call stop when the request is over. A call of
// ended that has begun by then may go on.
//
// look returns the newest state of the session. An error that wraps
// [session.Unavailable] says that it can't be found out for now; any other one
// that the session is over. The list calls look soon after Watch, in case that
// the session has ended since rec was opened, and when a deadline has passed,
// in case that there was activity on another instance. One goroutine makes
// these calls for all sessions, and only while some are due.
//
// When the log could not be read for Config.MaxStaleness, the list calls ended
// for all sessions that are watched then, unless Config.InsecureServeStale is
// set: from then on it can't tell which of them have ended elsewhere.
func (l *List) Watch(rec *session.Record, look func() (*session.Record, error), ended func()) (stop func()) {
	if l.ready() != nil {
		return func() {}
	}
	w := &watcher{session: keyOf(rec.ID), look: look, ended: ended, again: l.now(), place: noPlace}
	w.learn(stateOf(rec), rec)
	l.watchers.add(w)
	// What is in force already was put there before w was added.
	if err := l.Check(rec); errors.Is(err, session.Ended) && !errors.As(err, new(*session.SupersededError)) {
		l.watchers.end(func(s *ending) { s.add(w) })
	}
	return func() { l.watchers.remove(w) }
}

// Changed tells the watchers of the session of was, and services that ask a
// [Handler], that it has ended (is is nil) or goes on as is. The list makes no
// entry for the end, since the carrier has ended the session already. look,
// unless it is nil, replaces the look of [List.Watch]. Other instances are told
// through the log if somebody has logged in, or if [List.EndOthers] keeps the
// session.
func (l *List) Changed(was, is *session.Record, look func() (*session.Record, error)) {
	l.recent.changed(was, is)
	announce := is != nil && l.feed != nil && (was.Subject != is.Subject || !was.CountsFrom().Equal(is.CountsFrom()))
	switch watched := l.watchers.count.Load() > 0; {
	case !watched && !announce:
		return
	case is == nil:
		l.watchers.endSession(keyOf(was.ID))
		return
	}
	next := stateOf(is)
	l.watchers.change(keyOf(is.ID), next, is, look)
	if announce {
		// As long as an instance may be stale, and as long again.
		until := l.overAfter(l.now(), 2*l.feed.bound)
		l.out.log.enqueue(entry{kind: ofChange, key: keyOf(is.ID), subject: next.subject, below: next.generation,
			instant: next.from, until: until})
	}
}

// hearChange tells watchers what another instance has announced.
func (l *List) hearChange(e entry) {
	l.watchers.change(e.key, state{generation: e.below, subject: e.subject, from: e.instant}, nil, nil)
}

// A state is what a watcher knows of its session. It is the same on all
// instances.
type state struct {
	generation uint32
	subject    key   // zero for nobody
	from       int64 // milliseconds: when the session counts from
}

func stateOf(rec *session.Record) state {
	s := state{generation: uint32(min(rec.Generation, everything)), from: millis(rec.CountsFrom())}
	if rec.Subject != "" {
		s.subject = hashOf(rec.Subject)
	}
	return s
}

// A watcher waits for the end of a session.
type watcher struct {
	session key
	state
	look  lookFunc
	ended func()

	idle, deadline time.Time // of the newest record that is known
	again          time.Time // when look is called next
	place          int       // in watchers.due; noPlace if it is not there
	doubtful       bool      // the last look found the session under a credential that is not known here
	gone           bool      // it is not watching any more

	ofSession, ofSubject link
	tags                 []session.LoginTag
}

const noPlace = -1

// A link joins the watchers of one session, or of one subject.
type link struct{ before, after *watcher }

// learn takes over a newer state, and the deadlines if rec is known.
func (w *watcher) learn(next state, rec *session.Record) {
	w.state, w.doubtful = next, false
	if rec != nil {
		w.idle, w.deadline, w.tags = rec.IdleDeadline, rec.Deadline, rec.Tags
	}
}

// due returns the deadline that comes first.
func (w *watcher) due() time.Time {
	if !w.deadline.IsZero() && w.deadline.Before(w.idle) {
		return w.deadline
	}
	return w.idle
}

// Watchers are those of a list. There is one timer for all, and no goroutine
// unless a look is due.
type watchers struct {
	now   func() time.Time
	count atomic.Int64 // read without mu: nearly always nobody watches

	mu       sync.Mutex // guards what follows
	sessions map[key]*watcher
	subjects map[key]*watcher
	tagged   map[key]map[*watcher]struct{}
	due      dueHeap
	timer    *time.Timer
	looking  bool
	rest     time.Time // no look before, since the last one found nothing out
}

func (t *watchers) add(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sessions == nil {
		t.sessions, t.subjects = make(map[key]*watcher), make(map[key]*watcher)
		t.tagged = make(map[key]map[*watcher]struct{})
	}
	t.count.Add(1)
	join(t.sessions, w.session, w, func(w *watcher) *link { return &w.ofSession })
	t.joinSubject(w)
	heap.Push(&t.due, w)
	t.setTimer()
}

// joinSubject joins w with the others of its subject, and of its tags.
func (t *watchers) joinSubject(w *watcher) {
	for _, tag := range w.tags {
		if t.tagged[key(tag)] == nil {
			t.tagged[key(tag)] = make(map[*watcher]struct{})
		}
		t.tagged[key(tag)][w] = struct{}{}
	}
	if w.subject != (key{}) {
		join(t.subjects, w.subject, w, func(w *watcher) *link { return &w.ofSubject })
	}
}

func (t *watchers) leaveSubject(w *watcher) {
	for _, tag := range w.tags {
		delete(t.tagged[key(tag)], w)
		if len(t.tagged[key(tag)]) == 0 {
			delete(t.tagged, key(tag))
		}
	}
	if w.subject != (key{}) {
		leave(t.subjects, w.subject, w, func(w *watcher) *link { return &w.ofSubject })
	}
}

// join puts w in front of the watchers of k.
func join(of map[key]*watcher, k key, w *watcher, links func(*watcher) *link) {
	first := of[k]
	links(w).after = first
	if first != nil {
		links(first).before = w
	}
	of[k] = w
}

func leave(of map[key]*watcher, k key, w *watcher, links func(*watcher) *link) {
	l := links(w)
	if l.after != nil {
		links(l.after).before = l.before
	}
	switch {
	case l.before != nil:
		links(l.before).after = l.after
	case l.after != nil:
		of[k] = l.after
	default:
		delete(of, k)
	}
	*l = link{}
}

func (t *watchers) remove(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeLocked(w)
}

// removeLocked reports whether w was watching.
func (t *watchers) removeLocked(w *watcher) bool {
	if w.gone {
		return false
	}
	w.gone = true
	t.count.Add(-1)
	leave(t.sessions, w.session, w, func(w *watcher) *link { return &w.ofSession })
	t.leaveSubject(w)
	if w.place != noPlace {
		heap.Remove(&t.due, w.place)
	}
	if len(t.due) == 0 && t.timer != nil {
		t.timer.Stop()
	}
	return true
}

// An ending collects the watchers whose sessions are over, while mu is held.
type ending struct {
	of    *watchers
	ended []func()
}

func (s *ending) add(w *watcher) {
	if s.of.removeLocked(w) {
		s.ended = append(s.ended, w.ended)
	}
}

// end calls ended of the watchers that f collects, with no lock held.
func (t *watchers) end(f func(*ending)) {
	if t.count.Load() == 0 {
		return
	}
	s := ending{of: t}
	t.mu.Lock()
	f(&s)
	t.mu.Unlock()
	for _, ended := range s.ended {
		ended()
	}
}

func (t *watchers) endSession(k key) {
	t.end(func(s *ending) {
		for w := t.sessions[k]; w != nil; w = t.sessions[k] {
			s.add(w)
		}
	})
}

// endSubject ends the sessions of a subject that count from at or earlier.
func (t *watchers) endSubject(k key, at int64) {
	t.end(func(s *ending) { s.addUpTo(t.subjects[k], at, func(w *watcher) *watcher { return w.ofSubject.after }) })
}

// endTag ends the sessions with a tag that count from at or earlier.
func (t *watchers) endTag(k key, at int64) {
	t.end(func(s *ending) {
		for w := range t.tagged[k] {
			if w.from <= at {
				s.add(w)
			}
		}
	})
}

// endAll ends the sessions that count from at or earlier.
func (t *watchers) endAll(at int64) {
	t.end(func(s *ending) {
		for _, first := range t.sessions {
			s.addUpTo(first, at, func(w *watcher) *watcher { return w.ofSession.after })
		}
	})
}

func (s *ending) addUpTo(w *watcher, at int64, after func(*watcher) *watcher) {
	for w != nil {
		next := after(w)
		if w.from <= at {
			s.add(w)
		}
		w = next
	}
}

// change tells the watchers of a session its next state. rec is nil if another
// instance has announced it. What comes late changes nothing.
func (t *watchers) change(k key, next state, rec *session.Record, look lookFunc) {
	t.end(func(s *ending) {
		for w := t.sessions[k]; w != nil; {
			after := w.ofSession.after
			active := rec != nil && next.generation == w.generation && rec.IdleDeadline.After(w.idle)
			if active || next.generation > w.generation {
				s.change(w, next, rec, look)
			}
			w = after
		}
		t.setTimer()
	})
}

func (s *ending) change(w *watcher, next state, rec *session.Record, look lookFunc) {
	if w.subject != (key{}) && next.subject != w.subject {
		s.add(w) // somebody else has logged in
		return
	}
	s.of.leaveSubject(w)
	w.learn(next, rec)
	s.of.joinSubject(w)
	if look != nil {
		w.look = look
	}
	if w.place != noPlace && rec != nil {
		w.again = w.due()
		heap.Fix(&s.of.due, w.place)
	}
}

// setTimer sets the timer for the look that is due first. mu is held.
func (t *watchers) setTimer() {
	if t.looking || len(t.due) == 0 {
		return
	}
	now := t.now()
	wait := max(t.due[0].again.Sub(now), t.rest.Sub(now), 0)
	if t.timer == nil {
		t.timer = time.AfterFunc(wait, t.lookAll)
		return
	}
	t.timer.Reset(wait)
}

// lookAll makes the looks that are due, one after the other.
func (t *watchers) lookAll() {
	t.mu.Lock()
	if t.looking {
		t.mu.Unlock()
		return
	}
	t.looking = true
	t.mu.Unlock()
	for t.lookNext() {
	}
}

// lookNext reports whether there may be another look to make now.
func (t *watchers) lookNext() bool {
	t.mu.Lock()
	if now := t.now(); len(t.due) == 0 || t.due[0].again.After(now) || t.rest.After(now) {
		t.looking = false
		t.setTimer()
		t.mu.Unlock()
		return false
	}
	w := heap.Pop(&t.due).(*watcher)
	look := w.look
	t.mu.Unlock()
	rec, err := look()
	t.end(func(s *ending) { s.seen(w, rec, err) })
	return true
}

// seen notes what a look has found.
func (s *ending) seen(w *watcher, rec *session.Record, err error) {
	if w.gone {
		return
	}
	soon := s.of.now().Add(retryEvery)
	switch {
	case session.ReasonOf(err) == session.Unavailable:
		s.of.rest, w.again = soon, soon
	case errors.As(err, new(*session.SupersededError)) && !w.doubtful:
		w.doubtful, w.again = true, soon // who has renewed it in this process is about to call Changed
	case err != nil:
		s.add(w)
		return
	default:
		if next := stateOf(rec); next.generation >= w.generation {
			s.change(w, next, rec, nil)
		}
		if w.again = w.due(); w.again.Before(soon) {
			w.again = soon
		}
	}
	if !w.gone {
		heap.Push(&s.of.due, w)
	}
}

// A dueHeap has the watcher whose look is due first in front.
type dueHeap []*watcher

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].again.Before(h[j].again) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *dueHeap) Push(x any) {
	w := x.(*watcher)
	w.place = len(*h)
	*h = append(*h, w)
}

func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h, w.place = (*h)[:last], noPlace
	return w
}
