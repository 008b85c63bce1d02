package session

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// A LoginTag names something that a login belongs to, beside its subject: a
// tenant, a device, the session at an identity provider. All sessions with a
// tag can be ended together, see revocation.List. Make one with [Tag].
//
// It is half of a SHA-256, so a session shows neither kind nor value.
type LoginTag [16]byte

// Tag returns the tag of a kind, such as "tenant", with a value, such as
// "acme". Values of different kinds are different tags. Neither may be empty.
// Where several names make up a value, as issuer and sid of OpenID Connect do,
// join them so that no two pairs give the same text.
func Tag(kind, value string) LoginTag {
	if kind == "" || value == "" {
		return LoginTag{}
	}
	b := append(binary.AppendUvarint([]byte("cloakroom tag\x00"), uint64(len(kind))), kind...)
	sum := sha256.Sum256(append(b, value...))
	// The other half: a subject is known by the first half of its SHA-256.
	return LoginTag(sum[sha256.Size/2:])
}

// Ended does what [SubjectEnded] does, for the sessions with the tag.
func (t LoginTag) Ended(ctx context.Context, at time.Time) {
	From(ctx).ended(at, ending{tag: t})
}

// An ending is all sessions of a subject, all with a tag, or all.
type ending struct {
	subject string
	tag     LoginTag
}

func (e ending) isOf(rec *Record) bool {
	if rec == nil {
		return false
	}
	for _, tag := range rec.Tags {
		if tag == e.tag {
			return true
		}
	}
	return e == ending{} || e.subject != "" && e.subject == rec.Subject
}
