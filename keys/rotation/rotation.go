// Package rotation changes which keys of a key file sign and encrypt, without
// logging anybody out.
//
// Use a [Rotator] in an application that can write its key file, whether that
// file is its own or on a file system that other processes share. Everywhere
// else use the command keygen, which takes the same steps.
//
// The keys of one use sign one after the other. The dates of a key are set
// when it is created. The next key, the standby, is published while the
// current one still signs. So every instance and every verifier knows the
// standby before it signs, and nothing has to be written at that instant.
//
// Every [Step] is checked before it is written. A step that would make
// verifiers reject a valid token, or trust a key for too long, is refused. The
// error has the formula and the earliest safe instant. These are refused:
//
//   - a key that signs before every instance and verifier knows it;
//   - a key that stops verifying before its tokens expire;
//   - a time in which no key signs, or two do;
//   - a change of a date that has passed;
//   - more tokens under one AES-GCM key than that key can safely encrypt.
//
// A recovery is allowed to break the first rule, because waiting would reject
// every token: when no key can sign, or the one that signs is revoked, its
// successor signs immediately.
package rotation

import (
	"context"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/keys"
)

// ErrRefused means that a step would make verifiers reject a valid token, or
// trust a key for too long. The text has the formula and, if there is one, the
// earliest instant at which the step is safe.
var ErrRefused = rotation.ErrRefused

// Create makes the keys of a new file and writes it with mode 0600: for each
// algorithm one key that signs or encrypts immediately, and a standby that
// follows it. Without algorithms it uses ES256 and dir. It never overwrites: if
// the path exists, the error wraps fs.ErrExist.
func Create(ctx context.Context, f keys.File, p keys.Policy, now time.Time, algs ...keys.Algorithm) error {
	var inner []keyset.Algorithm
	for _, alg := range algs {
		inner = append(inner, keyset.Algorithm(alg))
	}
	s, err := rotation.New(keyset.Policy(p), now, inner...)
	if err != nil {
		return err
	}
	return keyset.File(f).Create(ctx, s)
}

// A Step is one change to the keys of a file, such as a rotation or a
// revocation. The function that returns it only describes it; Apply carries it
// out.
type Step rotation.Step

// Apply takes the step on the keys of a file at the time now. It holds the lock
// of the file meanwhile, and waits for the lock until ctx ends. An error that
// wraps [ErrRefused] says what harm the step would do; [keys.ErrUnknownKey]
// means that no key has the ID.
func (s Step) Apply(ctx context.Context, f keys.File, now time.Time) error {
	_, _, err := rotation.Step(s).Apply(ctx, keyset.File(f), now)
	return err
}

// IfDue does what is due, and nothing else: it publishes a standby where there
// is none, replaces a key that has reached its end, erases the private halves
// of signature keys that no longer sign, and prunes keys that have expired. It
// is safe to take at any time, however often. Where the keys live in a KMS it
// creates none, because only the KMS can.
func IfDue() Step { return Step(rotation.IfDue()) }

// Rotate makes the standby sign now, ahead of the plan, and publishes the next
// standby. An empty use means both uses. If there is no standby, Rotate
// publishes one, which signs as soon as everybody knows it.
func Rotate(use keys.Use) Step { return Step(rotation.Rotate(keyset.Use(use))) }

// Revoke ends all trust in keys, also for what they have already signed:
// sessions in such tokens are over. If one of the keys signs, its standby takes
// over immediately. The reason, such as key_compromise, is for people and has
// at most 200 bytes.
func Revoke(reason string, ids ...string) Step {
	return Step(rotation.Revoke(rotation.RevokeOptions{Reason: reason}, ids...))
}

// RevokeAll revokes every key, because the file itself has leaked. It logs
// everybody out.
func RevokeAll(reason string) Step { return Step(rotation.RevokeAll(reason)) }
