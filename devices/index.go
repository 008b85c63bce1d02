package devices

import (
	"context"
	"time"
)

// An Index keeps the entries of subjects. [Memory] is one, and so are the
// stores for Redis and SQL. Package indextest has the tests that every other
// one must pass.
//
// The subject is a SHA-256 in base64url: 43 characters. Each method is atomic
// for one subject. An entry is gone when its Until has passed, by the clock of
// the process that calls. An index forgets nothing else, and what it keeps for
// a subject goes when the last entry does, except the instant of a Mark, which
// it keeps for at least an hour.
//
// An error wraps a session.Reason, as those of opaque.Store do. With
// session.Unavailable the operation may or may not have happened; with any
// other reason nothing has.
type Index interface {
	// Enter adds e, or what is new in e to the entry with e.ID:
	//
	//   - CountsFrom, SeenAt, TokenUntil and Until become the later one of both.
	//   - The Keys of e come after those that are there, unless they are there
	//     already. If replaces is one of those, the keys before it go.
	//   - Details are replaced.
	//
	// It fails, and nothing changes:
	//
	//   - with session.Ended, if e.CountsFrom is not after the instant of a Mark
	//     of the whole subject, or the entry is marked;
	//   - with session.TooMany, if there is no entry with e.ID, and there are
	//     limit others or more, marked or not;
	//   - with session.Conflict, if the entry would have more than MaxKeys keys.
	Enter(ctx context.Context, subject string, e Entry, replaces string, limit int) error

	// List returns the entries of a subject in any order.
	List(ctx context.Context, subject string) ([]Entry, error)

	// Extend moves SeenAt and TokenUntil of an entry forward, each independently,
	// and never back. ok is false if there is no entry with this ID, or if it is
	// marked.
	Extend(ctx context.Context, subject, id string, seenAt, tokenUntil time.Time) (ok bool, err error)

	// Mark marks the entry with this ID, and returns it if there is one. If id is
	// "", Mark marks each entry whose CountsFrom is not after until, and returns
	// all marked entries of the subject, including those marked before. It then
	// also keeps until for Enter, unless it already keeps a later instant.
	Mark(ctx context.Context, subject, id string, until time.Time) ([]Entry, error)

	// Leave takes keys out of the entry with this ID. An entry without keys goes.
	// Without keys, Leave takes the whole entry out. It succeeds if there is
	// nothing to take out.
	Leave(ctx context.Context, subject, id string, keys ...string) error
}

// The limits of an Entry.
const (
	MaxKeys    = 32
	MaxDetails = 512 // bytes
	MaxEntries = 1000
)

// An Entry is a session as an Index keeps it. Instants are whole seconds,
// except CountsFrom, which has milliseconds.
//
// Keys holds at least one key, of at most 64 bytes each. A key names an item in
// the opaque.Store; one that begins with "~" stands for the tokens of one
// generation (session.Record.Lineage). A live session is under one of its keys.
// During a renewal Keys holds the old key, and one for each request that tries
// to renew.
type Entry struct {
	ID         string    // of the session: 22 characters of base64url, or another text of at most 64 bytes
	Keys       []string  // of the session's credentials, the oldest first; see above
	CountsFrom time.Time // session.Record.CountsFrom
	SeenAt     time.Time // activity; of a session in the store, its item has the newest
	TokenUntil time.Time // the last token that is known expires then; zero if there never was one
	Until      time.Time // then the entry goes
	Marked     bool      // the session is being ended
	Details    []byte    // encrypted; at most MaxDetails bytes
}
