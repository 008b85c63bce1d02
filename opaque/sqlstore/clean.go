package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	// batch is how many rows are removed at once. Their locks are held only for
	// milliseconds.
	batch = 500

	cleanEvery     = time.Minute
	cleanIdleEvery = time.Hour

	// claimFor is how long an instance is the one that cleans. It is renewed with
	// each batch.
	claimFor = 2 * time.Minute

	cleanTimeout = 10 * time.Second // of one statement
)

// errLost says that another instance has taken over the clean-up.
var errLost = errors.New("another instance cleans up")

// A cleaner removes expired rows, as long as no other instance does.
type cleaner struct {
	s        *Store
	claim    int64     // the value by which the table knows this instance
	idleNext time.Time // when it goes through all rows again
}

// clean runs until ctx is done. It first waits for Migrate, or for a while: New
// may be called before there are tables.
func (s *Store) clean(ctx context.Context) {
	defer close(s.done)
	c := &cleaner{s: s}
	for {
		timer := time.NewTimer(cleanEvery/2 + rand.N(cleanEvery)) // so that instances don't stay in step
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
		if err := c.pass(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errLost) {
			s.cfg.OnProblem(s.failedOn(ctx, "clean up", err))
		}
	}
}

// pass removes what has expired, if this instance may.
func (c *cleaner) pass(ctx context.Context) error {
	if err := c.hold(ctx); err != nil {
		return err
	}
	if err := c.removeDead(ctx); err != nil {
		return err
	}
	if err := c.removeOver(ctx); err != nil {
		return err
	}
	now := c.s.cfg.Now()
	if now.Before(c.idleNext) {
		return nil
	}
	q := c.s.q
	if err := c.removeByKey(ctx, q.findIdle, q.removeIdle); err != nil {
		return err
	}
	if err := c.removeByKey(ctx, q.findSubjects, q.removeSubjects); err != nil {
		return err
	}
	c.idleNext = now.Add(cleanIdleEvery)
	return nil
}

// hold claims the clean-up or extends this instance's claim. An instance that
// takes over writes a value that is above all those before, so the old holder
// finds its own no more.
func (c *cleaner) hold(ctx context.Context) error {
	now := c.s.cfg.Now().Unix()
	next := now + int64(claimFor/time.Second)
	if c.claim == next {
		return nil // MySQL would report that no row has changed
	}
	for _, try := range []struct {
		query string
		arg   int64
	}{{c.s.q.renew, c.claim}, {c.s.q.claim, now}} {
		n, err := c.exec(ctx, try.query, next, try.arg)
		if err != nil {
			return err
		}
		if n == 1 {
			c.claim = next
			return nil
		}
	}
	return errLost
}

// removeDead removes rows whose deadline is past, which an index finds.
func (c *cleaner) removeDead(ctx context.Context) error {
	before := c.s.lingering()
	for {
		keys, _, err := c.find(ctx, c.s.q.findDead, before, 0)
		if err != nil || len(keys) == 0 {
			return err
		}
		if err := c.remove(ctx, c.s.q.removeDead, before, keys); err != nil || len(keys) < batch {
			return err
		}
	}
}

// removeOver removes what the log and the index no longer need.
func (c *cleaner) removeOver(ctx context.Context) error {
	before := c.s.lingering()
	args := []any{before, before}
	if c.s.cfg.Dialect == MySQL {
		args = args[:1]
	}
	for _, query := range c.s.q.removeOver {
		for n := int64(batch); n == batch; {
			err := c.hold(ctx)
			if err == nil {
				n, err = c.exec(ctx, query, args...)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// removeByKey goes through all rows of a table by key, and removes those of
// which the second column is past. These are the sessions whose idle deadline
// is: an index on it would have to change with each activity. And the subjects
// that have no entries and no instant any more.
func (c *cleaner) removeByKey(ctx context.Context, find, remove string) error {
	before, after := c.s.lingering(), ""
	for {
		keys, last, err := c.find(ctx, find, after, before)
		if err != nil || last == "" {
			return err
		}
		if err := c.remove(ctx, remove, before, keys); err != nil {
			return err
		}
		after = last
	}
}

// find returns the keys of rows to remove, and the last key that it saw. A
// query with a second column has the idle deadline there.
func (c *cleaner) find(ctx context.Context, query string, arg any, before int64) (keys []any, last string, err error) {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	rows, err := c.s.db.QueryContext(ctx, query, arg)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, "", err
	}
	for rows.Next() {
		idle := before - 1
		if err := rows.Scan([]any{&last, &idle}[:len(columns)]...); err != nil {
			return nil, "", err
		}
		if idle < before {
			keys = append(keys, last)
		}
	}
	return keys, last, rows.Err()
}

// remove removes the rows under keys that have expired before an instant, if
// this instance still may. The statement has room for a batch: the last key
// fills what is left.
func (c *cleaner) remove(ctx context.Context, query string, before int64, keys []any) error {
	if len(keys) == 0 {
		return nil
	}
	if err := c.hold(ctx); err != nil {
		return err
	}
	args := append(make([]any, 0, batch+1), before)
	args = append(args, keys...)
	for len(args) < batch+1 {
		args = append(args, keys[len(keys)-1])
	}
	_, err := c.exec(ctx, query, args...)
	return err
}

func (c *cleaner) exec(ctx context.Context, query string, args ...any) (rows int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	return c.s.write(ctx, func() (sql.Result, error) { return c.s.db.ExecContext(ctx, query, args...) })
}
