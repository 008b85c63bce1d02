// Package rotation changes which keys of a key file sign and encrypt, without
// logging anybody out.
//
// Use a [Rotator] in an application that can write its key file, alone or with
// other processes on a shared file system. Everywhere else use the command
// keygen, which takes the same steps.
//
// The keys of one use sign one after the other. The dates of a key are set when it
// is made. The next key, the standby, is published while the one before it signs.
// So every instance and every verifier knows it when its time comes, and nobody
// has to write anything then.
//
// Every [Step] is checked before it is written. A step that would reject a valid
// token, or trust a key too long, is refused, with the formula and the earliest
// safe instant:
//
//   - a key that signs before it is known everywhere;
//   - a key that stops verifying while its tokens live;
//   - a time in which no key signs, or two do;
//   - a change of a date that has passed;
//   - more tokens under one AES-GCM key than it is safe for.
//
// A recovery is allowed: when no key can sign, or the one that signs is revoked,
// its successor signs immediately.
package rotation

import (
	"context"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/keys"
)

// ErrRefused means that a step would reject a valid token, or trust a key too
// long. The text has the formula, and the earliest instant at which the step is
// safe if there is one.
var ErrRefused = rotation.ErrRefused

// New returns the keys of a new file: for each algorithm a key that signs, or
// encrypts, at once, and a standby that follows it. Without algorithms it takes
// ES256 and dir. Write them with [keys.File.Create].
func New(p keys.Policy, now time.Time, algs ...keys.Algorithm) (*keys.Set, error) {
	var inner []keyset.Algorithm
	for _, alg := range algs {
		inner = append(inner, keyset.Algorithm(alg))
	}
	s, err := rotation.New(keyset.Policy(p), now, inner...)
	return (*keys.Set)(s), err
}

// A Step is something that is done to the keys of a file. The functions that
// return one say what it does; nothing happens before Apply.
type Step rotation.Step

// Apply takes the step on the keys of a file, under its lock, for which it waits
// until ctx ends. An error that wraps [ErrRefused] says why the step would do
// harm; keys.ErrUnknownKey says that there is no such key.
func (s Step) Apply(ctx context.Context, f keys.File) error {
	_, _, err := rotation.Step(s).Apply(ctx, keyset.File(f), clock(f)())
	return err
}

func clock(f keys.File) func() time.Time {
	if f.Now != nil {
		return f.Now
	}
	return time.Now
}

// IfDue does what time has made necessary, and nothing else: it publishes a
// standby where there is none, replaces a key whose time is over, erases the
// private halves of signature keys that no longer sign, and prunes keys that have
// expired. Take it as often as you like. Where the keys live in a KMS, it makes
// none.
func IfDue() Step { return Step(rotation.IfDue()) }

// Rotate lets the standby sign now, ahead of the plan, and publishes the next
// one. An empty use stands for both. Without a standby, one is published, and
// signs as soon as it may.
func Rotate(use keys.Use) Step { return Step(rotation.Rotate(keyset.Use(use))) }

// Revoke says that keys are not to be trusted any more, for what they have signed
// either: sessions in such tokens are over. If one of them signs, its standby
// signs at once. The reason is for people, such as key_compromise; at most 200
// bytes.
func Revoke(reason string, ids ...string) Step {
	return Step(rotation.Revoke(rotation.RevokeOptions{Reason: reason}, ids...))
}

// RevokeAll revokes every key: the file itself has leaked. Everybody is logged
// out.
func RevokeAll(reason string) Step { return Step(rotation.RevokeAll(reason)) }
