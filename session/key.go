package session

import (
	"encoding/json"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// A Key is the name of a value and its type. Declare it once, as a constant of
// the package that owns the value:
//
//	const Visits session.Key[int] = "visits"
//
// Where the name is known only at run time, convert it:
// session.Key[json.RawMessage](name).
type Key[T any] string

// Get returns the value, or the zero T if there is none or it isn't a T;
// [Key.Lookup] tells these apart.
func (k Key[T]) Get(s *Session) T {
	v, _, _ := k.Lookup(s)
	return v
}

// Lookup returns the value and whether there is one. A value that isn't a T is
// an error ([BadValue]): an older version of the program may have set it. Then
// [Key.Update] fails too, and leaves the value as it is; Set and Delete work,
// and [Key.Take] removes it.
func (k Key[T]) Lookup(s *Session) (T, bool, error) {
	json, ok := s.values().Get(string(k))
	if !ok {
		var zero T
		return zero, false, nil
	}
	return k.decode(json)
}

// Set encodes v as JSON and keeps that. It fails with [BadValue] if v can't be
// encoded. If the session is then too large, saving it fails with [TooLarge].
func (k Key[T]) Set(s *Session, v T) error {
	json, err := encode(string(k), v)
	if err != nil {
		return err
	}
	return s.change(op{kind: opSet, name: string(k), json: json}, true)
}

// Delete removes the value, if there is one.
func (k Key[T]) Delete(s *Session) error {
	return s.change(op{kind: opDelete, name: string(k)}, false)
}

// Take returns the value and removes it: a flash message. A value that another
// request sets meanwhile isn't lost. Two requests at once may both take the
// same value; where only one may, use [Key.Update] and [Session.Save]. A value
// that isn't a T is removed as well, and the error says so.
func (k Key[T]) Take(s *Session) (T, bool, error) {
	var zero T
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view == nil {
		return zero, false, nil
	}
	s.showLocked()
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

// Update replaces the value with what f returns for it, and returns the result.
// f gets the zero T if there is no value. If another request saves a newer
// value before this one is saved, f runs again on that value, so no update is
// lost. So f must have no side effects, and the returned value is only what
// this request sees. Once [Session.Save] has returned nil, the last run of f is
// the one that was kept.
//
// In stateless mode this holds for the requests that reach one instance.
func (k Key[T]) Update(s *Session, f func(T) T) (T, error) {
	compute := func(json string, ok bool) (string, error) {
		next, _, err := k.update(json, ok, f)
		return next, err
	}
	for {
		was, had := s.values().Get(string(k))
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
		s.showLocked()
		if now, ok := s.view.Values.Get(o.name); ok != o.had || now != o.was {
			return false, nil
		}
	} else if o.had {
		return false, nil
	}
	return true, s.addLocked(o, true)
}

// decode reads JSON text as encoding/json does.
func (k Key[T]) decode(text string) (T, bool, error) {
	var simple T
	if decodeSimple(text, &simple) {
		return simple, true, nil
	}
	var v, zero T // v escapes to the heap, and simple doesn't
	if json.Unmarshal([]byte(text), &v) == nil {
		return v, true, nil
	}
	// The library's text may quote the value, so ours names only its kind.
	return zero, true, fmt.Errorf("session: Key[%T]: value %q can't be decoded: the value is %s, and not one of that "+
		"type: %w", v, string(k), kindOf(text), BadValue)
}

// kindOf says what JSON text is.
func kindOf(text string) string {
	switch jsontext.Value(text).Kind() {
	case '{':
		return "a JSON object"
	case '[':
		return "a JSON array"
	case '"':
		return "a JSON string"
	case 't', 'f':
		return "a JSON boolean"
	case '0':
		return "a JSON number"
	}
	return "null"
}
