//go:build unix

package revocation_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// A fileLog is a Log that several processes share: a file with a line for each
// entry, of which the last one may be cut. It is out of reach while the
// directory does not have this name.
type fileLog struct{ dir string }

func (l fileLog) path() string { return l.dir + "/log" }

func (l fileLog) away() string { return l.dir + ".away" }

func (l fileLog) Append(_ context.Context, entries []revocation.Entry) error {
	file, err := os.OpenFile(l.path(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	for _, e := range entries {
		fmt.Fprintf(&lines, "\n%s %d %d\n", base64.StdEncoding.EncodeToString([]byte(e.Key)), e.Value, e.Until.Unix())
	}
	_, err = file.Write(lines.Bytes())
	return errors.Join(err, file.Close())
}

func (l fileLog) Read(ctx context.Context, pos string, wait time.Duration) (revocation.Reading, error) {
	from, _ := strconv.ParseInt(pos, 10, 64)
	for until := time.Now().Add(wait); ; {
		if _, err := os.Stat(l.dir); err != nil {
			return revocation.Reading{}, err
		}
		data, err := os.ReadFile(l.path())
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return revocation.Reading{}, err
		}
		end := int64(bytes.LastIndexByte(data, '\n') + 1)
		if end < from {
			return revocation.Reading{Lost: true}, nil
		}
		if end > from || pos == "" || time.Now().After(until) {
			return revocation.Reading{Entries: parse(data[from:end]), Next: strconv.FormatInt(end, 10), Complete: true}, nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return revocation.Reading{}, ctx.Err()
		}
	}
}

func parse(data []byte) (entries []revocation.Entry) {
	for line := range strings.Lines(string(data)) {
		var key string
		var value, until int64
		if n, _ := fmt.Sscanf(line, "%s %d %d\n", &key, &value, &until); n == 3 {
			k, _ := base64.StdEncoding.DecodeString(key)
			entries = append(entries, revocation.Entry{Key: string(k), Value: value, Until: time.Unix(until, 0)})
		}
	}
	return entries
}

func withLog(dir string) func(*revocation.Config) {
	return func(c *revocation.Config) { c.Path, c.Log = dir+".journal", fileLog{dir} }
}

// Marks of what a child prints: what the log took, and what only the journal
// did.
const inLog, inJournal = "log ", "journal "

// shareForEver ends sessions until it is killed, and prints the ID of each when
// it has ended, and who has it.
func shareForEver(dir string) int {
	c := revocation.Config{Lifetime: time.Hour}
	withLog(dir)(&c)
	l, err := revocation.Open(c)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for n := 0; ; n++ {
				rec := loginAt(time.Now())
				rec.ID = fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, n)
				rec.Subject = rec.ID
				switch err := l.EndSession(context.Background(), rec); {
				case err == nil:
					fmt.Println(inLog + rec.ID)
				case errors.Is(err, session.Unavailable) && !strings.Contains(err.Error(), "in the journal"):
					fmt.Println(inJournal + rec.ID)
				default:
					fmt.Fprintln(os.Stderr, err)
					return
				}
			}
		})
	}
	group.Wait()
	return 1
}

// A process that is killed leaves each end that it has answered in force: in
// the log for the other instances, and what the log did not take in the
// journal, from where the next process appends it.
func TestKilledWithJournalAndLog(t *testing.T) {
	rounds := 3
	if os.Getenv("CLOAKROOM_SOAK") != "" {
		rounds = 100
	}
	dir := t.TempDir() + "/shared"
	log := fileLog{dir}
	require.NoError(t, os.Mkdir(dir, 0o700))
	var ids, shared []string
	for round := range rounds {
		more := killedSharer(t, log, 20+rand.IntN(200), round%3 > 0)
		for _, line := range more {
			id := line[strings.Index(line, " ")+1:]
			if ids = append(ids, id); strings.HasPrefix(line, inLog) {
				shared = append(shared, id)
			}
		}
		if _, err := os.Stat(dir); err == nil {
			require.NoError(t, os.Rename(dir, log.away()))
		}
		restarted := openKilled(t, withLog(dir)) // without the log
		ended(t, restarted, ids)
		require.ErrorIs(t, restarted.Fresh(), session.Unavailable)

		require.NoError(t, os.Rename(log.away(), dir))
		other := openKilled(t, func(c *revocation.Config) { c.Log = log })
		require.Eventually(t, func() bool { return other.Fresh() == nil }, 10*time.Second, time.Millisecond)
		ended(t, other, shared)
		require.Eventually(t, func() bool {
			return restarted.Fresh() == nil && other.Check(withID(ids[len(ids)-1])) != nil
		}, 10*time.Second, time.Millisecond)
		require.NoError(t, restarted.Close())
		require.NoError(t, other.Close())
		last := openKilled(t, func(c *revocation.Config) { c.Log = log })
		require.Eventually(t, func() bool { return last.Fresh() == nil }, 10*time.Second, time.Millisecond)
		ended(t, last, ids)
		require.NoError(t, last.Close())
	}
	t.Logf("%d rounds, %d sessions, %d of them were in the log when they were answered", rounds, len(ids), len(shared))
	require.NotEmpty(t, shared)
	require.Less(t, len(shared), len(ids))
}

func openKilled(t *testing.T, change func(*revocation.Config)) *revocation.List {
	t.Helper()
	c := revocation.Config{Lifetime: time.Hour}
	change(&c)
	l, err := revocation.Open(c)
	require.NoError(t, err)
	return l
}

func withID(id string) *session.Record {
	rec := loginAt(time.Now())
	rec.ID, rec.Subject = id, id
	return rec
}

func ended(t *testing.T, l *revocation.List, ids []string) {
	t.Helper()
	for _, id := range ids {
		require.ErrorIs(t, l.Check(withID(id)), session.Ended, "%s was ended, and lives again", id)
	}
}

// killedSharer returns what a child had printed when it was killed after so
// many lines. If cut is set, the log is out of reach from the middle on.
func killedSharer(t *testing.T, log fileLog, after int, cut bool) (lines []string) {
	t.Helper()
	cmd := child(t, "share", log.dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	for r := bufio.NewReader(out); ; {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		lines = append(lines, line[:len(line)-1])
		if len(lines) == after/2 && cut {
			require.NoError(t, os.Rename(log.dir, log.away()))
		}
		if len(lines) == after {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.Error(t, cmd.Wait(), "killed")
	return lines
}
