package opaque

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// minSecret is the size of the shortest secret, in bytes: that of the keys that
// are derived from it.
const minSecret = 32

// copied returns a copy of secrets that has at least one. Without any, as for
// the markers in an InProcessStore, that is no salt (RFC 5869, Section 2.2).
func copied(secrets [][]byte) (all [][]byte) {
	for _, secret := range secrets {
		all = append(all, bytes.Clone(secret))
	}
	if all == nil {
		return [][]byte{nil}
	}
	return all
}

// seal encrypts plaintext under the newest secret.
func (c *Carrier) seal(credential, key string, kind byte, version uint64, plaintext []byte) []byte {
	return newSealer(c.secrets[0], credential, key).seal(kind, version, plaintext)
}

// unseal decrypts an item that was encrypted under any of the secrets. isNewest
// reports whether it was the newest.
func (c *Carrier) unseal(credential, key string, item Item) (plaintext []byte, isNewest bool, err error) {
	for i, secret := range c.secrets {
		plaintext, err = newSealer(secret, credential, key).open(item.Version, item.Data)
		if err == nil {
			return plaintext, i == 0, nil
		}
	}
	return nil, false, err
}

const (
	// proofLabel stands for the credential of the proof. It is not well-formed, so
	// no client can present it.
	proofLabel = "proof of the secret 1"

	// proofLife is how long the proof is kept. When half of it has passed, the
	// next start renews it.
	proofLife = 365 * 24 * time.Hour
)

// CheckSecrets finds out whether CarrierConfig.Secrets are those of the
// processes that share the store. Call it when the process starts: with a wrong
// secret it would refuse every session, and visitors would lose their cookies.
// The store keeps an item that was encrypted under the newest secret of the
// process that started last; an error says that none of the secrets opens it.
// If there is none yet, or one under an older secret, CheckSecrets makes it
// anew. With an [InProcessStore] there is nothing to check. An error that wraps
// [session.Unavailable] means that the store could not be asked.
func (c *Carrier) CheckSecrets(ctx context.Context) error {
	if !c.sealed {
		return nil
	}
	key := storeKey(proofLabel)
	for range 3 { // other processes may be starting
		done, err := c.prove(ctx, key)
		if err != nil || done {
			return err
		}
	}
	return fmt.Errorf("opaque: other processes keep changing the proof of the secret: %w", session.Unavailable)
}

// prove checks the proof once. done is false if another process has just
// changed it.
func (c *Carrier) prove(ctx context.Context, key string) (done bool, err error) {
	old, found, err := c.c.Store.Get(ctx, key)
	if err != nil {
		return false, unavailable("check the secret", err)
	}
	now := c.c.Now()
	if found {
		_, isNewest, err := c.unseal(proofLabel, key, old)
		switch {
		case !now.Before(old.Deadline):
			return true, nil // no process has started for a year, so there is nothing to compare with
		case err != nil:
			return false, errors.New("opaque: none of the secrets is the one that the other processes with this store " +
				"have, or had: give all of them the same; add a new secret as the last one before it becomes the first")
		case isNewest && old.Deadline.Sub(now) > proofLife/2:
			return true, nil
		}
	}
	end := now.Add(proofLife)
	proof := Item{Version: old.Version + 1, SeenAt: now, IdleDeadline: end, Deadline: end}
	proof.Data = c.seal(proofLabel, key, kindSealed, proof.Version, nil)
	done, err = c.send(ctx, key, old.Version, proof)
	if session.ReasonOf(err) == session.Conflict {
		return false, nil
	}
	return done, unavailable("keep the proof of the secret", err)
}
