// Package keyset holds keys, what they do with tokens, sets of keys, and the
// file of a set. It is the part of package keys that must not be called from
// outside of this module.
//
// Use [Set.Signs] and [Reading] to make and read tokens, and [File.Update] to
// change a key file. The methods that change a [Set] keep only what holds under
// any policy: history is not rewritten. Package rotation says whether a change
// would make a valid token fail.
//
// The comment of package keys lists what is refused when a key is loaded.
//
// The text of an error begins with the public package in which users meet it:
// "token" if a token that somebody presented is wrong, "keys" for everything
// else. Errors of package jose pass as they are, and parts of a text have no
// prefix.
package keyset

import (
	"errors"
	"time"
)

// Why a key can't be used. Clients get the same answer for all of them.
var (
	ErrUnknownKey  = errors.New("keys: no key with this ID")
	ErrKeyExpired  = errors.New("keys: the key has expired")
	ErrKeyRevoked  = errors.New("keys: the key was revoked")
	ErrNoActiveKey = errors.New("keys: no active key")
	ErrExhausted   = errors.New("keys: one encryption key is good for 2^31 tokens; run: keygen rotate --use enc")
)

// ErrForged means that the signature is wrong, or that the key does not decrypt
// the token.
var ErrForged = errors.New("token: not made with this key")

// errWrongKey is a mistake of the program, or a token that names a key for
// another purpose.
var errWrongKey = errors.New("keys: wrong use for this key")

// What is wrong with a key file, besides the errors of package io/fs.
var (
	ErrUnsafeFile  = errors.New("keys: key file is not safe")  // wrong owner or mode
	ErrInvalidFile = errors.New("keys: key file is not valid") // damaged, not to be decrypted, or with bad keys
	ErrLocked      = errors.New("keys: another process is changing the key file")
)

// MaxSeals is how many tokens one Direct key may encrypt: half of the limit of
// NIST SP 800-38D, Section 8.3, for random nonces. A Ring counts only the
// tokens of its own process.
const MaxSeals = 1 << 31

// JWKSMaxAge is how long caches may keep the public key set that Ring.Handler
// serves. A key must be published for longer than that before it signs.
const JWKSMaxAge = 10 * time.Minute
