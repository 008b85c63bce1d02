package redisstore

import (
	"time"

	"github.com/valkey-io/valkey-go"
)

// A sweep walks through the log again and again, and deletes the entries that
// are over. With every Append it looks at more than twice as many entries as
// were appended, so each walk comes to its end, and the log has at most a few
// times more entries than live. An entry that lives long does not stop it, as
// it would stop a trim from the front. The nil sweep does nothing.
type sweep struct {
	from string   // where the walk goes on
	look int64    // how many entries it has asked for
	over []string // the IDs that the next Append deletes
}

const atFront = "-"

func newSweep() *sweep { return &sweep{from: atFront} }

// commands returns what to send behind the appended entries, so that the last
// entry of the log is never deleted: readers are there.
func (w *sweep) commands(b valkey.Builder, key string, appended int) (commands valkey.Commands) {
	if w == nil {
		return nil
	}
	w.look = int64(2*appended + 8)
	commands = append(commands, b.Xrange().Key(key).Start(w.from).End("+").Count(w.look).Build())
	if len(w.over) > 0 {
		commands = append(commands, b.Xdel().Key(key).Id(w.over...).Build())
	}
	return commands
}

// hear takes the replies to commands. What was over before then is deleted next
// time.
func (w *sweep) hear(replies []valkey.ValkeyResult, then time.Time) error {
	if w == nil {
		return nil
	}
	found, err := replies[0].AsXRangeSlices()
	if err != nil {
		return err
	}
	w.over = nil
	for _, in := range found {
		if e, ok := decodeEntry(valueOf(in)); ok && e.Until.Before(then) {
			w.over = append(w.over, in.ID)
		}
		w.from = "(" + in.ID
	}
	if int64(len(found)) < w.look {
		w.from = atFront
	}
	return nil
}
