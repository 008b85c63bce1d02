package opaque

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/cloakroom-go/cloakroom/session"
)

// tokenLabel keeps the markers of tokens apart from everything under an opaque
// credential: those begin with another prefix.
const tokenLabel = "session in a token 1 "

// inToken returns what stands for the credential of a session that was in a
// token: the same for every token of one generation. It is a secret that a
// reader of the store doesn't have, because the lineage is random, and only
// tokens have it.
func inToken(rec *session.Record) string {
	b := appendString([]byte(tokenLabel), rec.ID)
	b = binary.AppendUvarint(b, rec.Generation)
	return string(appendString(b, rec.Lineage))
}

// SetSuccessor keeps in the store that the session of rec, which was in a
// token, goes on under successor. It costs one item, which lives as long as the
// session could have lived in the token.
func (c *Carrier) SetSuccessor(ctx context.Context, rec *session.Record, successor string) error {
	from := inToken(rec)
	marker := c.marker(from, rec, found{successor: successor, moved: true})
	marker.Anonymous = rec.Subject == ""
	_, err := c.write(ctx, storeKey(from), 0, marker)
	return unavailable("keep where a session goes on", err)
}

// Successor returns the credential under which the session of rec, which was in
// a token, goes on. It returns "" if SetSuccessor has not kept any.
func (c *Carrier) Successor(ctx context.Context, rec *session.Record) (string, error) {
	from := inToken(rec)
	f, err := c.under(ctx, from, storeKey(from))
	switch {
	case errors.Is(err, session.Unavailable):
		return "", err
	case err != nil || f.rec != nil || !c.c.Now().Before(f.at):
		return "", nil
	}
	return f.successor, nil
}
