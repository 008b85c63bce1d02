package opaque

import (
	"bytes"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/recent"
	"github.com/cloakroom-go/cloakroom/session"
)

// opened remembers records that were decrypted in the last minute, and the data
// that they were decrypted from. If the store returns the same data under the
// same key, the record is the same, and decrypting it again would cost more
// than everything else that a look-up does in this process. The store is asked
// each time, so nothing lives longer because of this memory.
//
// It holds plain records. That is why a record is forgotten when its session is
// changed or ended here, and in any case after two minutes, if others are asked
// for.
type opened struct{ m recent.Map[openedRecord] }

type openedRecord struct {
	data []byte // of the item; nobody modifies it
	rec  *session.Record
}

const (
	openedFor   = time.Minute
	openedBytes = 16 << 20
)

func newOpened() opened {
	return opened{recent.Map[openedRecord]{Period: openedFor, MaxBytes: openedBytes}}
}

// get returns the record of an item, and nil if it isn't remembered. Activity
// changes neither version nor data, so its instants come from the item.
func (o *opened) get(key string, item Item) *session.Record {
	e, ok := o.m.Get(key)
	if !ok || e.rec.Version != item.Version || !bytes.Equal(e.data, item.Data) {
		return nil
	}
	idle := instant.Earliest(item.IdleDeadline, e.rec.Deadline) // as decodeRecord does
	if e.rec.SeenAt.Equal(item.SeenAt) && e.rec.IdleDeadline.Equal(idle) {
		return e.rec
	}
	rec := *e.rec // records are immutable, and others may have this one
	rec.SeenAt, rec.IdleDeadline = item.SeenAt, idle
	return &rec
}

func (o *opened) put(key string, item Item, rec *session.Record) {
	// The record has what was encrypted, and some 400 bytes beside it.
	o.m.Put(key, openedRecord{item.Data, rec}, 2*len(item.Data)+512)
}

func (o *opened) forget(key string) { o.m.Delete(key) }
