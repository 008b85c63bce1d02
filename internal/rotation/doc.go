// Package rotation plans, checks and writes the steps in the life of the keys
// of a key file. Package keys/rotation and the command keygen are built on it.
//
// Use [Step.Apply] to change a file, and [Plan] to show what will happen.
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
//
// A step works on a planState, a copy of the dates without key material. So a
// plan for years costs no key generation, and a step that is refused leaves
// nothing to undo. The names follow one order: current signs, next are the
// keys that will, and a key in its grace goes on only until another signs.
package rotation
