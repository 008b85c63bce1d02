package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/memcachestore"
)

// stores opens what -store and store.url name. All drivers but the one of
// Memcached take long to compile, so each of them has a build tag.
func stores() []opaque.Opener {
	return slices.Concat([]opaque.Opener{memcachestore.Opener()}, redis(), postgres(), mysql(), sqlite())
}

// notBuiltIn stands for the opener of a build tag that the demo was built
// without. Its error is about store.url, and says how to build the demo.
func notBuiltIn(tag string, schemes ...string) []opaque.Opener {
	return []opaque.Opener{{
		Schemes: schemes,
		Open: func(_ context.Context, u *url.URL, _ opaque.OpenOptions) (opaque.Store, error) {
			return nil, fmt.Errorf("names a store that this demo was built without, because it takes long to compile; "+
				"run: go run -tags %s ./cmd/demo -store %s:…", tag, u.Scheme)
		},
	}}
}

// isShared reports whether the store is outside of this process.
func isShared(u config.StoreURL) bool { return u != "" && u != "memory:" }

// canList reports whether the store can list the sessions of a user: all can,
// except Memcached.
func canList(u config.StoreURL) bool { return !strings.HasPrefix(string(u), "memcache:") }

// secretFile is made beside the keys if the config names no secret for the
// store.
const secretFile = "demo-store.secret"

// makeSecret makes the secret that a store outside of this process needs, if
// nothing names one. An application leaves that to its operator: every instance
// needs the same.
func makeSecret(c *config.Config) error {
	s := &c.Store
	if !isShared(s.URL) || s.SecretFile != "" || s.SecretEnv != "" {
		return nil
	}
	s.SecretFile = filepath.Join(filepath.Dir(c.Keys.File), secretFile)
	f, err := os.OpenFile(s.SecretFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var secret [32]byte
	rand.Read(secret[:])
	_, err = fmt.Fprintln(f, base64.StdEncoding.EncodeToString(secret[:]))
	return errors.Join(err, f.Close())
}
