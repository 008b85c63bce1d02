// Package rotation plans, checks and writes the steps in the life of the keys of a
// key file. Package keys/rotation and the command keygen are built on it.
//
// Use [Step.Apply] to change a file, and [Plan] to show what is going to happen.
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
