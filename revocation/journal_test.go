package revocation_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// fill ends n sessions and returns the journal's size after each, beginning
// with none.
func fill(t *testing.T, l *revocation.List, path string, n int) (sizes []int) {
	t.Helper()
	sizes = append(sizes, len(read(t, path)))
	for i := range n {
		require.NoError(t, l.EndSession(t.Context(), until(fmt.Sprint(i), 0, start.Add(lifetime))))
		sizes = append(sizes, len(read(t, path)))
	}
	return sizes
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

func TestJournalSurvivesARestart(t *testing.T) {
	c, path := newClock(), journalPath(t)
	l := open(t, path, c)
	require.NoError(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))))
	ok, err := l.EndBelow(t.Context(), until("b", 1<<30-4, start.Add(lifetime)))
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, l.EndSubject(t.Context(), "alice"))
	c.advance(time.Minute)
	require.NoError(t, l.Close())

	l = open(t, path, c)
	require.Equal(t, 3, l.Len())
	require.ErrorIs(t, l.Check(record("a", 1)), session.Ended)
	require.ErrorIs(t, l.Check(record("b", 1<<30-4)), session.Ended)
	require.NoError(t, l.Check(record("b", 1<<30-3)), "generations are exact")
	require.ErrorIs(t, l.Check(login("alice", start)), session.Ended)
	require.NoError(t, l.Check(login("alice", start.Add(time.Millisecond))))
	ok, err = l.EndBelow(t.Context(), until("b", 1<<30-4, start.Add(lifetime)))
	require.NoError(t, err)
	require.False(t, ok, "the first was before the restart")

	require.NoError(t, l.EndAll(t.Context()))
	require.NoError(t, l.Close())
	require.ErrorIs(t, open(t, path, c).Check(anonymous(start)), session.Ended)
}

func TestJournalNamesNoSubject(t *testing.T) {
	path := journalPath(t)
	l := open(t, path, newClock())
	require.NoError(t, l.EndSubject(t.Context(), "alice@example.org"))
	require.NotContains(t, string(read(t, path)), "alice")
}

func TestJournalIsPrivate(t *testing.T) {
	path := journalPath(t)
	open(t, path, newClock())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// What a crash left is what a copy of the file shows: nothing was closed.
func TestJournalAfterAKill(t *testing.T) {
	c, path := newClock(), journalPath(t)
	l := open(t, path, c)
	fill(t, l, path, 10)
	left := journalPath(t)
	write(t, left, read(t, path))

	l = open(t, left, c)
	require.Equal(t, 10, l.Len())
	for i := range 10 {
		require.ErrorIs(t, l.Check(record(fmt.Sprint(i), 1)), session.Ended)
	}
}

func TestTornTailAtEveryByte(t *testing.T) {
	c, path := newClock(), journalPath(t)
	l := open(t, path, c)
	sizes := fill(t, l, path, 3)
	whole := read(t, path)
	require.NoError(t, l.Close())

	tails := map[string][]byte{"cut": nil, "zeros": make([]byte, 50), "zeros and an end": append(make([]byte, 50), '\n')}
	for name, tail := range tails {
		for cut := range len(whole) + 1 {
			if cut < sizes[0] {
				continue // the first line is written with the file, whole
			}
			torn := journalPath(t)
			write(t, torn, append(bytes.Clone(whole[:cut]), tail...))
			l, err := revocation.Open(revocation.Config{Path: torn, Lifetime: lifetime, Now: c.Now})
			require.NoError(t, err, "%s at byte %d", name, cut)
			want := 0
			for _, size := range sizes[1:] {
				if cut >= size {
					want++
				}
			}
			require.Equal(t, want, l.Len(), "%s at byte %d", name, cut)
			require.NoError(t, l.EndSession(t.Context(), until("more", 0, start.Add(lifetime))))
			require.NoError(t, l.Close())
			l = open(t, torn, c)
			require.Equal(t, want+1, l.Len(), "%s at byte %d: the tail is gone and the next entry stands on its own", name, cut)
			require.NoError(t, l.Close())
		}
	}
}

func TestDamageIsRefused(t *testing.T) {
	c, path := newClock(), journalPath(t)
	l := open(t, path, c)
	sizes := fill(t, l, path, 3)
	whole := read(t, path)
	require.NoError(t, l.Close())

	for at := range len(whole) {
		number := 1
		for _, size := range sizes[:len(sizes)-1] {
			if at >= size {
				number++
			}
		}
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x40
		bad := journalPath(t)
		write(t, bad, damaged)
		l, err := revocation.Open(revocation.Config{Path: bad, Lifetime: lifetime, Now: c.Now})
		if err == nil { // the last line's end may look as a crash leaves it
			require.GreaterOrEqual(t, at, len(whole)-1, "byte %d", at)
			require.NoError(t, l.Close())
			continue
		}
		require.Nil(t, l)
		require.ErrorContains(t, err, fmt.Sprintf("line %d", number), "byte %d", at)
		require.ErrorContains(t, err, bad)
		require.Equal(t, damaged, read(t, bad), "the file is left as it was, for the operator")
	}
}

func TestForeignFilesAreRefused(t *testing.T) {
	const (
		first   = `{"cloakroom":"revocations","version":2}` + "\n"
		id      = "mLZ0c5Yc1mXg3vJbq2tq9w"
		damaged = "restore the file from a backup; or end every session: remove the file and change the keys"
	)
	line := func(entries string) string {
		sum := crc32.Checksum([]byte(entries), crc32.MakeTable(crc32.Castagnoli))
		return fmt.Sprintf("%08x%s\n", sum, entries)
	}
	tests := []struct {
		name, content, want string
	}{
		{"empty", "", "it is empty"},
		{"empty, what to do", "", damaged},
		{"header cut short", first[:20], damaged},
		{"zeros", strings.Repeat("\x00", 100), damaged},
		{"no header", line(" s" + id + ",2,9"), damaged},
		{"keys", `{"keys":[]}` + "\n", "not a journal"},
		{"other version", `{"cloakroom":"revocations","version":3}` + "\n", "another version"},
		{"short line", first + "6a0f\n", damaged},
		{"no entries", first + line(""), damaged},
		{"no space", first + line("s"+id+",2,9"), damaged},
		{"empty entry", first + line(" "), damaged},
		{"unknown kind", first + line(" x"+id+",2,9"), damaged},
		{"short key", first + line(" s"+id[1:]+",2,9"), damaged},
		{"another spelling of a key", first + line(" s"+id[:21]+"x,2,9"), damaged},
		{"missing number", first + line(" s"+id+",2"), damaged},
		{"empty number", first + line(" s"+id+",,9"), damaged},
		{"one number more", first + line(" s"+id+",2,9,9"), damaged},
		{"sign", first + line(" s"+id+",2,-9"), damaged},
		{"large generation", first + line(" s"+id+",1073741823,9"), damaged},
		{"large time", first + line(" s"+id+",2,4294967296"), damaged},
		{"large instant", first + line(" e9223372036854775808,9"), damaged},
	}
	for _, tt := range tests {
		path := journalPath(t)
		write(t, path, []byte(tt.content))
		_, err := revocation.Open(revocation.Config{Path: path, Lifetime: lifetime})
		require.ErrorContains(t, err, tt.want, tt.name)
		require.Equal(t, tt.content, string(read(t, path)), tt.name)
	}
}

func TestOpenRefusesWhatOthersCanRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	path := journalPath(t)
	l := open(t, path, newClock())
	require.NoError(t, l.Close())
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
		require.NoError(t, os.Chmod(path, mode))
		_, err := revocation.Open(revocation.Config{Path: path, Lifetime: lifetime})
		require.ErrorContains(t, err, "chmod 600")
	}
}

func TestOpenRefusesADirectory(t *testing.T) {
	_, err := revocation.Open(revocation.Config{Path: t.TempDir(), Lifetime: lifetime})
	require.ErrorContains(t, err, "is not a file")
}

func TestSecondProcessIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the wait for the lock takes no time
		path := journalPath(t)
		l := open(t, path, newClock())
		_, err := revocation.Open(revocation.Config{Path: path, Lifetime: lifetime})
		require.ErrorContains(t, err, "still open in another process")
		require.ErrorContains(t, err, path)
		require.NoError(t, l.Close())
		open(t, path, newClock())
	})
}

// A directory that is gone stands for every disk that can't be written.
func TestUnwritableJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock()
		dir := filepath.Join(t.TempDir(), "journal")
		require.NoError(t, os.Mkdir(dir, 0o700))
		path := filepath.Join(dir, "revocations")
		l := open(t, path, c)
		require.NoError(t, l.EndSession(t.Context(), until("before", 0, start.Add(lifetime))))

		require.NoError(t, os.RemoveAll(dir))
		require.ErrorIs(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))), session.Unavailable)
		require.ErrorIs(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))), session.Unavailable,
			"it still isn't written")
		require.ErrorIs(t, l.EndSubject(t.Context(), "alice"), session.Unavailable)
		ok, err := l.EndBelow(t.Context(), until("b", 1, start.Add(lifetime)))
		require.ErrorIs(t, err, session.Unavailable)
		require.True(t, ok, "the caller was the first")
		require.ErrorIs(t, l.Check(record("a", 1)), session.Ended, "in force all the same")
		require.ErrorIs(t, l.Check(record("b", 1)), session.Ended)
		require.ErrorIs(t, l.Check(login("alice", start)), session.Ended)

		require.ErrorIs(t, l.EndAll(t.Context()), session.Unavailable)

		require.NoError(t, os.Mkdir(dir, 0o700))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.NoError(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))), "it has been written meanwhile")
		require.Equal(t, 3, strings.Count(string(read(t, path)), " a"), "sessions in which nobody was logged in")
		require.NoError(t, l.EndSession(t.Context(), until("after", 0, start.Add(lifetime))))
		require.NoError(t, l.Close())
		l = open(t, path, c)
		require.Equal(t, 6, l.Len())
		require.ErrorIs(t, l.Check(anonymous(start)), session.Ended)
	})
}

// Durations whose sum overflows must not put an entry's end into the past.
func TestLongDurationsSurviveARestart(t *testing.T) {
	for _, row := range []struct{ lifetime, skew time.Duration }{
		{math.MaxInt64, 0},
		{math.MaxInt64, time.Hour},
		{time.Hour, math.MaxInt64},
		{math.MaxInt64, math.MaxInt64},
	} {
		cfg := revocation.Config{Path: journalPath(t), Lifetime: row.lifetime, Skew: row.skew, Now: newClock().Now}
		l, err := revocation.Open(cfg)
		require.NoError(t, err)
		require.NoError(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))))
		require.NoError(t, l.EndSubject(t.Context(), "alice"))
		require.NoError(t, l.EndAll(t.Context()))
		require.NoError(t, l.Close())

		l, err = revocation.Open(cfg)
		require.NoError(t, err)
		require.Equal(t, 3, l.Len(), "%v", row)
		require.ErrorIs(t, l.Check(record("a", 1)), session.Ended, "%v", row)
		require.NoError(t, l.Close())
	}
}

func TestCloseTriesOnceMore(t *testing.T) {
	c := newClock()
	dir := filepath.Join(t.TempDir(), "journal")
	require.NoError(t, os.Mkdir(dir, 0o700))
	path := filepath.Join(dir, "revocations")
	l := open(t, path, c)
	require.NoError(t, os.RemoveAll(dir))
	require.Error(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))))
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, l.Close())
	require.Equal(t, 1, open(t, path, c).Len())
}

func TestCloseReportsWhatIsLost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	require.NoError(t, os.Mkdir(dir, 0o700))
	l := open(t, filepath.Join(dir, "revocations"), newClock())
	require.NoError(t, os.RemoveAll(dir))
	require.Error(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))))
	require.ErrorContains(t, l.Close(), "close journal")
	require.NoError(t, l.Close())
}

func TestRemovedJournalIsWrittenAgain(t *testing.T) {
	c, path := newClock(), journalPath(t)
	l := open(t, path, c)
	require.NoError(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))))
	require.NoError(t, os.Remove(path))
	require.NoError(t, l.EndSession(t.Context(), until("b", 0, start.Add(lifetime))))
	write(t, path, []byte("something else"))
	require.NoError(t, os.Rename(path, path+"2"))
	write(t, path, nil)
	require.NoError(t, l.EndSession(t.Context(), until("c", 0, start.Add(lifetime))))
	require.NoError(t, l.Close())
	require.Equal(t, 3, open(t, path, c).Len())
}

func TestClosedListEndsInMemoryAlone(t *testing.T) {
	l := open(t, journalPath(t), newClock())
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))), session.Unavailable)
	require.ErrorIs(t, l.Check(record("a", 1)), session.Ended)
}

func TestContextBoundsTheWaitOnly(t *testing.T) {
	c, path := newClock(), journalPath(t)
	l := open(t, path, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 100 { // the disk may be faster than the context
		if err := l.EndSession(ctx, until(fmt.Sprint(i), 0, start.Add(lifetime))); err != nil {
			require.ErrorIs(t, err, session.Unavailable)
			require.ErrorIs(t, err, context.Canceled)
		}
		require.ErrorIs(t, l.Check(record(fmt.Sprint(i), 1)), session.Ended)
	}
	require.NoError(t, l.Close())
	require.Equal(t, 100, open(t, path, c).Len())
}

func TestRepeatedLogoutWritesOnce(t *testing.T) {
	c, path := newClock(), journalPath(t)
	l := open(t, path, c)
	require.NoError(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))))
	size := len(read(t, path))
	for range 50 {
		c.advance(time.Second)
		require.NoError(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))))
	}
	require.Len(t, read(t, path), size)
}

func TestJournalIsCompactedWhileItGrows(t *testing.T) {
	c, path := newClock(), journalPath(t)
	l := open(t, path, c)
	most := 0
	for range 2500 {
		c.advance(time.Millisecond)
		require.NoError(t, l.EndSubject(t.Context(), "alice"))
		most = max(most, bytes.Count(read(t, path), []byte("\n")))
	}
	require.Less(t, most, 1100, "one entry is alive")
	require.NoError(t, l.Close())
	l = open(t, path, c)
	require.Equal(t, 1, l.Len())
	require.ErrorIs(t, l.Check(login("alice", c.Now())), session.Ended, "the newest instant")
}

func TestJournalIsCompactedAtOpen(t *testing.T) {
	c, path := newClock(), journalPath(t)
	l := open(t, path, c)
	for i := range 1100 {
		require.NoError(t, l.EndSession(t.Context(), until(fmt.Sprint(i), 0, start.Add(lifetime))))
	}
	require.NoError(t, l.Close())
	require.GreaterOrEqual(t, strings.Count(string(read(t, path)), " a"), 1100)
	c.advance(lifetime)
	l = open(t, path, c)
	require.Zero(t, l.Len())
	require.Equal(t, 1, strings.Count(string(read(t, path)), "\n"))
}

func TestSymbolicLinkStays(t *testing.T) {
	c, path := newClock(), journalPath(t)
	require.NoError(t, open(t, path, c).Close())
	link := journalPath(t)
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	l := open(t, link, c)
	require.NoError(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))))
	require.NoError(t, l.Close())
	require.Equal(t, 1, open(t, path, c).Len())
}
