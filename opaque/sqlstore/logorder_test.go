package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/revocation"
)

// follow reads a log until the appenders are done, and returns how many keys it
// has seen.
func follow(t *testing.T, log revocation.Log, done <-chan struct{}) (seen map[string]bool) {
	t.Helper()
	seen = map[string]bool{}
	for pos, last := "", false; ; {
		r, err := log.Read(within(t, 20*time.Second), pos, 0)
		require.NoError(t, err)
		require.False(t, r.Lost)
		for _, e := range r.Entries {
			seen[e.Key] = true
		}
		if pos = r.Next; last && r.Complete {
			return seen
		}
		select {
		case <-done:
			last = true
		default:
		}
	}
}

// Commits take long. Eight instances append, and a reader misses nothing. It
// would, if the numbers were drawn without a lock until the commit.
func (d database) logOrder(t *testing.T) {
	const appenders, each = 8, 12
	missed := func(t *testing.T, prefix string, open func() revocation.Log) int {
		d.slowCommits(t, prefix)
		done := make(chan struct{})
		var all sync.WaitGroup
		for i := range appenders {
			log := open()
			all.Go(func() {
				for j := range each {
					if err := log.Append(within(t, time.Minute), []revocation.Entry{ended(fmt.Sprint(i, " ", j))}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		go func() { all.Wait(); close(done) }()
		return appenders*each - len(follow(t, open(), done))
	}
	t.Run("ours", func(t *testing.T) {
		prefix, open := d.newLog(t)
		require.Zero(t, missed(t, prefix, func() revocation.Log { return open() }))
	})
	t.Run("control", func(t *testing.T) {
		prefix, _ := d.newLog(t)
		db := d.openPatient(t)
		n := missed(t, prefix, func() revocation.Log { return unlocked{db, d.dialect, prefix} })
		require.Positive(t, n)
		t.Logf("without the lock, %d of %d are missed", n, appenders*each)
	})
}

// slowCommits holds new rows back for up to 10 ms each before they become
// visible. SQLite has no function that waits.
func (d database) slowCommits(t *testing.T, prefix string) {
	t.Helper()
	db := d.open(t)
	switch d.dialect {
	case sqlstore.PostgreSQL:
		execute(t, db, "CREATE FUNCTION "+prefix+"slow() RETURNS trigger LANGUAGE plpgsql AS"+
			" $$ BEGIN PERFORM pg_sleep(random() / 100); RETURN NULL; END $$")
		execute(t, db, "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON "+prefix+"ended"+
			" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION "+prefix+"slow()")
	case sqlstore.MySQL:
		execute(t, db, "CREATE TRIGGER "+prefix+"slow AFTER INSERT ON "+prefix+"ended FOR EACH ROW DO SLEEP(RAND() / 100)")
	}
}

// An unlocked log draws each number in a transaction of its own, and reads what
// has a greater one than the last.
type unlocked struct {
	db      *sql.DB
	dialect sqlstore.Dialect
	prefix  string
}

func (u unlocked) query(text string) string {
	return raw{dialect: u.dialect}.query(strings.ReplaceAll(text, "{}", u.prefix))
}

func (u unlocked) Append(ctx context.Context, entries []revocation.Entry) error {
	n, err := u.draw(ctx)
	if err != nil {
		return err
	}
	if u.dialect == sqlstore.SQLite {
		<-time.After(rand.N(10 * time.Millisecond))
	}
	e := entries[0]
	_, err = u.db.ExecContext(ctx, u.query("INSERT INTO {}ended (k, v, until, seq) VALUES (?, ?, ?, ?)"),
		[]byte(e.Key), e.Value, e.Until.Unix(), n)
	return err
}

func (u unlocked) draw(ctx context.Context) (n int64, err error) {
	tx, err := u.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err = tx.ExecContext(ctx, u.query("UPDATE {}meta SET value = value + 1 WHERE name = 'ended'")); err != nil {
		return 0, err
	}
	err = tx.QueryRowContext(ctx, u.query("SELECT value FROM {}meta WHERE name = 'ended'")).Scan(&n)
	if err != nil {
		return 0, err
	}
	return n, tx.Commit()
}

func (u unlocked) Read(ctx context.Context, pos string, _ time.Duration) (r revocation.Reading, err error) {
	last, _ := strconv.Atoi(pos)
	rows, err := u.db.QueryContext(ctx, u.query("SELECT k, seq FROM {}ended WHERE seq > ? ORDER BY seq"), last)
	if err != nil {
		return r, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var key []byte
		if err := rows.Scan(&key, &last); err != nil {
			return r, err
		}
		r.Entries = append(r.Entries, revocation.Entry{Key: string(key)})
	}
	r.Next, r.Complete = strconv.Itoa(last), true
	return r, rows.Err()
}
