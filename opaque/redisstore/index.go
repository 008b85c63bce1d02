package redisstore

import (
	"context"
	"fmt"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/internal/stored"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

var (
	_ devices.Index = (*Store)(nil)
	_ devices.Store = (*Store)(nil)
)

// indexScripts are those that change what is kept of a subject.
type indexScripts struct{ enter, extend, markOne, markAll, leave *valkey.Lua }

func newIndexScripts() indexScripts {
	return indexScripts{
		enter:   valkey.NewLuaScript(indexLibrary + enterScript),
		extend:  valkey.NewLuaScript(indexLibrary + extendScript),
		markOne: valkey.NewLuaScript(indexLibrary + markOneScript),
		markAll: valkey.NewLuaScript(indexLibrary + markAllScript),
		leave:   valkey.NewLuaScript(indexLibrary + leaveScript),
	}
}

// Enter implements [devices.Index]. A caller that doesn't know whether it has
// happened may call it again.
func (s *Store) Enter(ctx context.Context, subject string, e devices.Entry, replaces string, limit int) error {
	if err := validateEntry(e); err != nil {
		return err
	}
	args := append([]string{e.ID, headerOf(e), valkey.BinaryString(e.Details), replaces, number(int64(limit)),
		number(devices.MaxKeys)}, e.Keys...)
	reply, err := s.change(ctx, enterOp, s.index.enter, subject, args...)
	if err != nil {
		return err
	}
	switch result, err := reply.AsInt64(); {
	case err != nil:
		return s.failure(enterOp, err)
	case result == subjectEnded:
		return fmt.Errorf("redisstore: %s: all sessions of the subject were ended: %w", enterOp, session.Ended)
	case result == sessionEnded:
		return fmt.Errorf("redisstore: %s: the session was ended: %w", enterOp, session.Ended)
	case result == tooMany:
		return fmt.Errorf("redisstore: %s: the subject has %d sessions: %w", enterOp, limit, session.TooMany)
	case result == tooManyKeys:
		return fmt.Errorf("redisstore: %s: the session is being renewed too often at once: %w", enterOp, session.Conflict)
	}
	return nil
}

const enterOp = "enter a session"

// List implements [devices.Index].
func (s *Store) List(ctx context.Context, subject string) ([]devices.Entry, error) {
	const op = "list sessions"
	reply, err := s.call(ctx, op, func(ctx context.Context) valkey.ValkeyResult {
		return s.client.Do(ctx, s.client.B().Hgetall().Key(s.indexKey(subject)).Build())
	})
	if err != nil {
		return nil, err
	}
	all, err := s.entries(op, reply)
	if err != nil {
		return nil, err
	}
	listed, now := all[:0], s.now()
	for _, e := range all {
		if now.Before(e.Until) || e.Until.IsZero() { // zero: see entryVersion
			listed = append(listed, e)
		}
	}
	return listed, nil
}

// Extend implements [devices.Index].
func (s *Store) Extend(
	ctx context.Context, subject, id string, seenAt, tokenUntil time.Time,
) (ok bool, err error) {
	const op = "extend a session"
	reply, err := s.change(ctx, op, s.index.extend, subject, id, number(seenAt.Unix()), number(tokenUntil.Unix()))
	if err != nil {
		return false, err
	}
	if ok, err = reply.AsBool(); err != nil {
		return false, s.failure(op, err)
	}
	return ok, nil
}

// Mark implements [devices.Index]. It works also when the server's memory is
// full.
func (s *Store) Mark(ctx context.Context, subject, id string, until time.Time) ([]devices.Entry, error) {
	const op = "mark sessions"
	script, what := s.index.markOne, id
	if id == "" {
		script, what = s.index.markAll, number(until.UnixMilli())
	}
	reply, err := s.change(ctx, op, script, subject, what)
	if err != nil {
		return nil, err
	}
	return s.entries(op, reply)
}

// Leave implements [devices.Index].
func (s *Store) Leave(ctx context.Context, subject, id string, keys ...string) error {
	_, err := s.change(ctx, "take out a session", s.index.leave, subject, append([]string{id}, keys...)...)
	return err
}

// Headers implements [devices.Store]. It is one round trip, to each of the
// servers of a cluster at the same time, and never reads from the cache.
func (s *Store) Headers(ctx context.Context, keys []string) ([]opaque.Item, error) {
	const op = "read the headers of items"
	items := make([]opaque.Item, len(keys))
	if len(keys) == 0 {
		return items, nil
	}
	replies, err := s.pipeline(ctx, op, func(ctx context.Context) []valkey.ValkeyResult {
		b, commands := s.client.B(), make(valkey.Commands, 0, len(keys))
		for _, key := range keys {
			commands = append(commands, b.Getrange().Key(s.key(key)).Start(0).End(stored.HeaderSize-1).Build())
		}
		return s.client.DoMulti(ctx, commands...)
	})
	if err != nil {
		return nil, err
	}
	for i, reply := range replies {
		header, err := reply.AsBytes()
		if err != nil {
			return nil, s.failure(op, err)
		}
		// What is no item opens no session: it counts as absent.
		if it, ok := stored.Decode(header); ok {
			it.Data = nil
			items[i] = it
		}
	}
	return items, nil
}

// change runs a script on what is kept of a subject.
func (s *Store) change(
	ctx context.Context, op string, script *valkey.Lua, subject string, args ...string,
) (valkey.ValkeyResult, error) {
	args = append([]string{number(s.now().Unix()), number(s.cfg.Linger.Milliseconds())}, args...)
	return s.call(ctx, op, func(ctx context.Context) valkey.ValkeyResult {
		return script.Exec(ctx, s.client, []string{s.indexKey(subject)}, args)
	})
}

// entries returns those of a reply that alternates between fields and values.
func (s *Store) entries(op string, reply valkey.ValkeyResult) ([]devices.Entry, error) {
	fields, err := reply.AsStrMap()
	if err != nil {
		return nil, s.failure(op, err)
	}
	entries := make([]devices.Entry, 0, len(fields))
	for id, value := range fields {
		if id != instantField {
			entries = append(entries, decodeIndexEntry(id, value))
		}
	}
	return entries, nil
}

// indexKey is the key of a hash with all that is kept of a subject. The braces
// let other keys of the subject be on the same server of a cluster.
func (s *Store) indexKey(subject string) string { return s.cfg.Prefix + "x:{" + subject + "}" }

func validateEntry(e devices.Entry) error {
	bad := ""
	switch {
	case e.ID == "" || len(e.ID) > maxName:
		bad = "its ID must have 1 to 64 bytes"
	case len(e.Keys) == 0 || len(e.Keys) > devices.MaxKeys:
		bad = fmt.Sprintf("it must have 1 to %d keys", devices.MaxKeys)
	case e.Until.IsZero():
		bad = "it must have an Until"
	case len(e.Details) > devices.MaxDetails:
		bad = fmt.Sprintf("its Details have more than %d bytes", devices.MaxDetails)
	}
	for _, key := range e.Keys {
		if key == "" || len(key) > maxName {
			bad = "a key must have 1 to 64 bytes"
		}
	}
	if bad == "" {
		return nil
	}
	return fmt.Errorf("redisstore: %s: %s: %w", enterOp, bad, session.BadValue)
}

// maxName bounds an ID and a key, in bytes.
const maxName = 64
