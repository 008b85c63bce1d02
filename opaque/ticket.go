package opaque

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/strict"
	"github.com/cloakroom-go/cloakroom/session"
)

// A ticket is what a client holds instead of the successor's credential if the
// answer to the swap that retires the old one got lost: only the store knows
// which of the two opens the session. It names the old credential with the
// version that the swap replaces, so that opening the ticket can finish the
// swap or prevent it.
//
// It is encrypted under the secrets, so nobody makes one, and nobody takes the
// credentials in it apart: the successor must not open a session that ends
// under the old credential before the ticket is opened.
type ticket struct {
	successor string // see asOpaque
	old       string
	version   uint64
}

// A ticket's text is this prefix, and what was sealed in base64url: both
// secrets and the version (8 bytes, big endian), with a nonce of 12 bytes
// before them and a tag of 16 behind.
const (
	ticketPrefix  = "crd1_"
	ticketSecrets = 2*secretBytes + 8
	ticketBytes   = len(ticketPrefix) + (4*(12+ticketSecrets+16)+2)/3
)

// ticketLabel stands for the credential and the key of the seal.
const ticketLabel = "ticket 1"

// asOpaque returns what stands for a successor in a ticket: an opaque
// credential itself; for a token, which can be too long for a cookie with
// something else in it, an opaque credential made of its SHA-256, which opens
// nothing. The marker of the old credential has the token.
func asOpaque(successor string) string {
	if wellFormed(successor) {
		return successor
	}
	return credentialPrefix + storeKey(successor)
}

// newTicket returns the ticket for an old credential that is opaque.
func (c *Carrier) newTicket(successor, old string, version uint64) string {
	b := make([]byte, 0, ticketSecrets)
	for _, credential := range []string{asOpaque(successor), old} {
		b = must(base64url.AppendDecode(b, []byte(credential[len(credentialPrefix):])))
	}
	b = binary.BigEndian.AppendUint64(b, version)
	sealed := c.seal(ticketLabel, ticketLabel, kindTicket, 0, b)
	return ticketPrefix + base64url.EncodeToString(sealed[1:])
}

// isTicket reports whether a credential has the form of a ticket. Only a store
// outside of the process leaves doubts.
func (c *Carrier) isTicket(credential string) bool {
	text, ok := strings.CutPrefix(credential, ticketPrefix)
	return ok && c.sealed && len(credential) == ticketBytes && strict.IsBase64URL(text)
}

// openTicket returns the ticket that a credential with its form is.
func (c *Carrier) openTicket(credential string) (t ticket, err error) {
	b, err := base64url.AppendDecode([]byte{kindTicket}, []byte(credential[len(ticketPrefix):]))
	if err == nil {
		b, _, err = c.unseal(ticketLabel, ticketLabel, Item{Data: b})
	}
	if err != nil {
		return ticket{}, fmt.Errorf("opaque: a ticket that was not made here: %w", session.Forged)
	}
	secret := func(b []byte) string { return credentialPrefix + base64url.EncodeToString(b) }
	t.successor, t.old = secret(b[:secretBytes]), secret(b[secretBytes:2*secretBytes])
	t.version = binary.BigEndian.Uint64(b[2*secretBytes:])
	return t, nil
}

// forms returns the credentials under which the session of a credential may be
// kept: two for a ticket, the old one first, since its marker leads to the
// other; none for what only looks like one.
func (c *Carrier) forms(credential string) []string {
	if !c.isTicket(credential) {
		return []string{credential}
	}
	t, err := c.openTicket(credential)
	if err != nil {
		return nil
	}
	return []string{t.old, t.successor}
}

// redeem finishes the renewal that a ticket is for, if that is still possible,
// and returns the credential under which the session goes on: the successor's,
// or the old one if the successor is not in the store, or if another request
// saved, renewed or moved the session before the swap. It removes the other
// session. An error other than Unavailable and Forged says that the session has
// ended. One of these two changes nothing: an item that can't be read may have
// been the answer to another request, and the next time it is the right one.
func (c *Carrier) redeem(ctx context.Context, t ticket) (credential string, err error) {
	for range maxRedeemed {
		next, due, err := c.settlement(ctx, t)
		switch {
		case isUnknown(err):
			return "", err
		case due == nil:
			if next == t.old {
				// Nobody else has the successor's credential, so this only
				// frees room.
				_ = c.delete(ctx, storeKey(t.successor))
			}
			return next, err
		}
		item := c.marker(t.old, due, found{successor: t.successor})
		if next == t.old {
			if item, err = c.unchanged(t.old, due); err != nil {
				return "", err
			}
		}
		if ok, err := c.write(ctx, storeKey(t.old), t.version, item); ok || err != nil {
			return next, unavailable("retire a credential", err)
		}
		// Another request was faster, or the session has expired.
	}
	return "", expiredInStore()
}

// settlement finds out under which credential the session of a ticket goes on.
// If due is not nil, the swap of the renewal has not happened, and due is the
// record of the old session.
func (c *Carrier) settlement(ctx context.Context, t ticket) (next string, due *session.Record, err error) {
	old, err := c.get(ctx, t.old)
	switch {
	case isUnknown(err):
		return "", nil, err
	case err == nil && old.rec == nil && asOpaque(old.successor) == t.successor:
		return old.successor, nil, nil
	case err == nil && old.rec != nil && old.rec.Version == t.version:
		_, err := c.get(ctx, t.successor)
		switch {
		case isUnknown(err):
			return "", nil, err
		case err != nil:
			return t.old, old.rec, nil
		}
		return t.successor, old.rec, nil
	}
	return t.old, nil, err
}

// isUnknown reports whether err leaves open what the store has.
func isUnknown(err error) bool {
	reason := session.ReasonOf(err)
	return reason == session.Unavailable || reason == session.Forged
}

// unchanged returns the item of a session as it is, with the next version. The
// swap of a renewal that comes late then does nothing: its successor is a
// token, which the ticket doesn't have, or has gone.
func (c *Carrier) unchanged(credential string, rec *session.Record) (Item, error) {
	next := *rec
	next.Version++
	return c.item(credential, storeKey(credential), &next)
}

// maxRedeemed is how often redeem looks at the old session. It finds the same
// version a second time only if the store refuses to swap it because it has
// expired.
const maxRedeemed = 2

// settled returns the credential under which the client's session can be
// changed: a ticket has to be redeemed first. base is the successor's record
// then, so if the session goes on under the old credential, another request was
// faster.
func (c *Carrier) settled(ctx context.Context, credential string) (string, error) {
	if !c.isTicket(credential) {
		return credential, nil
	}
	t, err := c.openTicket(credential)
	if err != nil {
		return "", err
	}
	now, err := c.redeem(ctx, t)
	if err == nil && now != t.successor {
		err = fmt.Errorf("opaque: another request was faster: %w", session.Conflict)
	}
	return now, err
}
