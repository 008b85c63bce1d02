package session

import (
	"fmt"

	"github.com/cloakroom-go/cloakroom/internal/fault"
)

// A Key is the name of a value and its type. Declare it once, as a constant of
// the package that owns the value:
//
//	const Visits session.Key[int] = "visits"
type Key[T any] string

// Get returns the value, or the zero T if there is none or it isn't a T;
// [Key.Lookup] tells these apart.
func (k Key[T]) Get(s *Session) T {
	v, _, _ := k.Lookup(s)
	return v
}

// Lookup returns the value and whether there is one. A value that isn't a T is
// an error ([BadValue]): an older version of the program may have kept it. Then
// [Key.Update] fails too, and leaves the value as it is; Set and Delete work,
// and [Key.Take] removes it.
func (k Key[T]) Lookup(s *Session) (T, bool, error) {
	json, ok := s.record().Values.Get(string(k))
	if !ok {
		var zero T
		return zero, false, nil
	}
	return k.decode(json)
}

// Set keeps v; see [Session.Set].
func (k Key[T]) Set(s *Session, v T) error { return s.Set(string(k), v) }

// Delete removes the value, if there is one.
func (k Key[T]) Delete(s *Session) error { return s.Delete(string(k)) }

// Take returns the value and removes it: a flash message. A value that another
// request leaves there in the meantime isn't lost. Two requests at once may
// both take the same value; where only one may, use [Key.Update] and
// [Session.Save]. A value that isn't a T is removed as well, and the error says
// so.
func (k Key[T]) Take(s *Session) (T, bool, error) {
	var zero T
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view == nil {
		return zero, false, nil
	}
	json, ok := s.view.Values.Get(string(k))
	if !ok {
		return zero, false, nil
	}
	v, _, err := k.decode(json)
	if failed := s.addLocked(op{kind: opTake, name: string(k), was: json}, false); failed != nil {
		return v, true, failed
	}
	return v, true, err
}

// Update replaces the value by what f makes of it, the zero T standing for
// none, and returns the result. If another request has saved a newer value by
// the time this one is saved, f runs again on that one, so no update is lost:
// f must be pure, and the returned value is this request's view of it. Once
// [Session.Save] has returned nil, the last run of f is the one that was kept.
//
// In stateless mode this holds for the requests that reach one instance.
func (k Key[T]) Update(s *Session, f func(T) T) (T, error) {
	compute := func(json string, ok bool) (string, error) {
		next, _, err := k.update(json, ok, f)
		return next, err
	}
	for {
		was, had := s.record().Values.Get(string(k))
		json, result, err := k.update(was, had, f) // outside of the lock: f is not ours
		if err != nil {
			return result, err
		}
		o := op{kind: opUpdate, name: string(k), json: json, was: was, had: had, compute: compute}
		if done, err := s.changeIf(o); done || err != nil {
			return result, err
		}
	}
}

// update runs f on a value in JSON, and returns what follows in JSON and as a
// T.
func (k Key[T]) update(json string, ok bool, f func(T) T) (string, T, error) {
	var old, zero T
	if ok {
		var err error
		if old, _, err = k.decode(json); err != nil {
			return "", zero, err
		}
	}
	result := f(old)
	next, err := encode(string(k), result)
	if err != nil {
		return "", zero, err
	}
	return next, result, nil
}

// changeIf adds an update if the value is still the one that it was computed
// from.
func (s *Session) changeIf(o op) (done bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view != nil {
		if now, ok := s.view.Values.Get(o.name); ok != o.had || now != o.was {
			return false, nil
		}
	} else if o.had {
		return false, nil
	}
	return true, s.addLocked(o, true)
}

func (k Key[T]) decode(json string) (T, bool, error) {
	var v T
	if err := decode(string(k), json, &v); err != nil {
		var zero T
		return zero, true, fmt.Errorf("session: Key[%T]: %w", v, fault.Inner(err))
	}
	return v, true, nil
}
