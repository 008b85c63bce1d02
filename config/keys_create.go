package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/keys/rotation"
)

// createKeys makes the key file, as keygen init does, and opens it. If several
// instances start at the same time, one of them makes it. If the config has
// mistakes, or contradicts the policy of a new key file, createKeys makes
// nothing.
func (b *builder) createKeys(file keys.File) (*keys.Ring, error) {
	if b.Keys.InsecureGroupReadable {
		return nil, errors.New("is missing, and keys.create can't be combined with keys.insecure_group_readable: " +
			"a new key file is readable only by its owner; make it where the secret is made")
	}
	policy := keys.Policy(keyset.Policy{}.WithDefaults())
	if b.writesTokens() {
		b.fitPolicy(policy, "keygen init")
	}
	if len(b.errs) > 0 {
		return nil, fmt.Errorf("is missing, and will be made when the other mistakes are corrected: %w", fs.ErrNotExist)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := rotation.Create(ctx, file, keys.Policy{}, b.now())
	_, dir := os.Stat(filepath.Dir(file.Path))
	switch {
	case errors.Is(dir, fs.ErrNotExist):
		return nil, fmt.Errorf("%q is in a directory that doesn't exist: create it", file.Path)
	case err == nil:
		b.o.Logger.Info("made a key file, since there was none; keep it, or everybody is logged out", "file", file.Path)
	case !errors.Is(err, fs.ErrExist): // else another instance was faster
		return nil, err
	}
	return b.openRing(file)
}
