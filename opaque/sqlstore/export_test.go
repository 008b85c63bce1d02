package sqlstore

import (
	"context"
	"net/url"

	"github.com/cloakroom-go/cloakroom/internal/storeurl"
)

// ErrLost is what CleanUp returns while another instance has the claim.
var ErrLost = errLost

// CleanUp is one pass of an instance that has no claim yet.
func (s *Store) CleanUp(ctx context.Context) error { return (&cleaner{s: s}).pass(ctx) }

// Cleaning returns the statements that find rows to remove and that remove
// them, by deadline and by idle deadline.
func Cleaning(d Dialect, prefix string) (findDead, removeDead, findIdle, removeIdle string) {
	q := newQueries(d, prefix)
	return q.findDead, q.removeDead, q.findIdle, q.removeIdle
}

// NeverSort is what Read tells PostgreSQL about its transaction.
const NeverSort = neverSort

// Logging returns the statements that read the log, and that remove what is
// over.
func Logging(d Dialect, prefix string) (since, removeEnded string) {
	q := newQueries(d, prefix)
	return q.since, q.removeOver[0]
}

// Indexing returns the statements that remove from the index what is over.
func Indexing(d Dialect, prefix string) (removeEntries, findSubjects, removeSubjects string) {
	q := newQueries(d, prefix)
	return q.removeOver[1], q.findSubjects, q.removeSubjects
}

// Source returns what the driver gets for a URL.
func Source(d Dialect, u *url.URL, password string) (string, error) {
	return d.source(u, storeurl.ReadQuery(u, d.parameters()...), password)
}

// LockNothing makes Enter and Mark go on without the lock of the subject's row,
// which must be there. Call it before the first use of the Store.
func (s *Store) LockNothing() {
	s.index.lock.query = map[Dialect]string{
		PostgreSQL: "SELECT CAST($1 AS text), CAST($2 AS bigint), CAST($3 AS bigint)", MySQL: "DO ?, ?, ?",
	}[s.cfg.Dialect]
}
