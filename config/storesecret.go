package config

import (
	"context"
	"errors"

	"github.com/cloakroom-go/cloakroom/internal/secret"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// storeSecrets returns the secrets for the records in the store, the newest
// first. ok is false if they could not be read, or if a store needs one and
// there is none.
func (b *builder) storeSecrets() (secrets [][]byte, ok bool) {
	if b.readSecrets == nil { // each mistake is reported once
		b.readSecrets = new(secretsRead)
		b.readSecrets.all, b.readSecrets.ok = b.findSecrets()
	}
	return b.readSecrets.all, b.readSecrets.ok
}

// secretsRead are those that were read.
type secretsRead struct {
	all [][]byte
	ok  bool
}

func (b *builder) findSecrets() (secrets [][]byte, ok bool) {
	c := b.Config.Store
	var text []byte
	var err error
	switch {
	case c.SecretFile != "" && c.SecretEnv != "":
		err = errors.New("is a second place for the secret of one store; set only one of secret_file and secret_env")
	case c.SecretFile != "" || c.SecretEnv != "":
		text, err = fileOrEnv(c.SecretFile, c.SecretEnv)
	case isOutside(b.app.Store):
		err = errors.New("is missing: the store is outside of this process, and whoever can write to it could make " +
			"a session for anybody; run: (umask 077; openssl rand -base64 32 > store.secret), and name that file")
	default:
		return nil, true
	}
	if err == nil {
		secrets, err = secret.Keys(text, secret.KeySize)
	}
	b.fail(c.secretPath(), err)
	return secrets, err == nil
}

// fileOrEnv returns the secret in a file or, if that is "", in an environment
// variable.
func fileOrEnv(file, env string) ([]byte, error) {
	if file != "" {
		return secret.ReadFile(file)
	}
	return secret.Env(env)
}

// secretPath returns the field that says where the secret is.
func (c StoreConfig) secretPath() string {
	if c.SecretEnv != "" {
		return "store.secret_env"
	}
	return "store.secret_file"
}

// isOutside reports whether a store keeps its items outside of this process.
func isOutside(s opaque.Store) bool {
	local, ok := s.(opaque.InProcessStore)
	return s != nil && (!ok || !local.InProcess())
}

// checkSecrets compares the secret with that of the other processes.
func (b *builder) checkSecrets(carrier *opaque.Carrier) {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	path, err := b.Config.Store.secretPath(), carrier.CheckSecrets(ctx)
	if errors.Is(err, session.Unavailable) {
		path = "" // nothing is wrong with the secret
	}
	b.fail(path, err)
}
