package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/cloakroom-go/cloakroom/keys"
)

// makeKeys makes a key file with the keys that "keygen init" gives, unless there
// is one. An application that is not a demo leaves that to its operator.
func makeKeys(ctx context.Context, path string, stderr io.Writer) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // whether it is any good is told when it is read
	}
	set, err := newKeys(time.Now().Truncate(time.Second))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	switch err := keys.Create(ctx, path, set); {
	case errors.Is(err, fs.ErrExist):
		return nil // somebody was faster
	case err != nil:
		return err
	}
	fmt.Fprintf(stderr, "demo: made new keys in %s; keep the file, or everybody is logged out\n", path)
	return nil
}

// newKeys returns a key to sign with and one to encrypt with, both active.
func newKeys(now time.Time) (*keys.Set, error) {
	active := keys.Dates{Created: now, PublishAt: now, SignFrom: now}
	signing, err := keys.Generate(keys.ES256, active)
	if err != nil {
		return nil, err
	}
	sealing, err := keys.Generate(keys.Direct, active)
	if err != nil {
		return nil, err
	}
	return keys.NewSet(signing, sealing)
}
