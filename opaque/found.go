package opaque

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// found is what the store keeps under a credential: a record, or a marker with
// the successor's credential.
type found struct {
	rec       *session.Record
	successor string
	moved     bool      // the credential opens the successor until at
	at        time.Time // the end of that, or if not moved, when the session was renewed
}

// get reads what is kept under credential. A session that has ended is an
// error.
func (c *Carrier) get(ctx context.Context, credential string) (found, error) {
	if !wellFormed(credential) {
		return found{}, fmt.Errorf("opaque: not an opaque credential: %w", session.Malformed)
	}
	return c.under(ctx, credential, storeKey(credential))
}

// under is get for the key of a credential.
func (c *Carrier) under(ctx context.Context, credential, key string) (found, error) {
	item, ok, err := c.c.Store.Get(ctx, key)
	if err != nil {
		return found{}, unavailable("look up a session", err)
	}
	if !ok {
		return found{}, fmt.Errorf("opaque: no session under this credential: %w", session.NotFound)
	}
	f, err := c.decode(credential, key, item)
	if err != nil || f.rec == nil {
		return f, err
	}
	if err := c.check(f.rec); err != nil {
		return f, &session.RefusedError{Record: f.rec, Err: err}
	}
	return f, nil
}

func (c *Carrier) decode(credential, key string, item Item) (found, error) {
	kind := byte(0)
	if len(item.Data) > 0 {
		kind = item.Data[0]
	}
	switch {
	case kind == kindEnded:
		return found{}, fmt.Errorf("opaque: the session was logged out: %w", session.Ended)
	case kind == kindPlain && !c.sealed:
		rec, err := decodeRecord(item.Data[1:], item)
		return found{rec: rec}, damaged(err)
	case kind == kindSealed && c.sealed:
		rec, err := c.decrypt(credential, key, item)
		return found{rec: rec}, damaged(err)
	case kind == kindMarker:
		plain, _, err := c.unseal(credential, key, item)
		if err != nil {
			return found{}, damaged(err)
		}
		return decodeMarker(plain)
	}
	return found{}, damaged(errDamaged)
}

func (c *Carrier) decrypt(credential, key string, item Item) (*session.Record, error) {
	if rec := c.opened.get(key, item); rec != nil {
		return rec, nil
	}
	plain, _, err := c.unseal(credential, key, item)
	if err != nil {
		return nil, err
	}
	rec, err := decodeRecord(plain, item)
	if err != nil {
		return nil, err
	}
	c.opened.put(key, item, rec)
	return rec, nil
}

// encodeMarker returns moved (one byte, 0 or 1), at (8 bytes, unix
// milliseconds) and the successor's credential.
func encodeMarker(to found) []byte {
	plain := []byte{0}
	if to.moved {
		plain[0] = 1
	}
	plain = binary.BigEndian.AppendUint64(plain, uint64(to.at.UnixMilli()))
	return append(plain, to.successor...)
}

func decodeMarker(plain []byte) (found, error) {
	if len(plain) < 9 || plain[0] > 1 {
		return found{}, damaged(errDamaged)
	}
	at := time.UnixMilli(int64(binary.BigEndian.Uint64(plain[1:])))
	return found{successor: string(plain[9:]), moved: plain[0] == 1, at: at}, nil
}
