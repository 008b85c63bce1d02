package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/secret"
	"github.com/cloakroom-go/cloakroom/internal/span"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/keys/rotation"
)

func (b *builder) openKeys() {
	b.app.Keys = &keys.Ring{}
	switch {
	case secret.IsContent(b.Keys.File):
		b.fail("keys.file", errors.New("is not a path, but the content of a key file; "+
			"write that to a file of mode 0600, and name the file"))
		b.Keys.File = "" // so that no error repeats the keys
	case b.Keys.File != "":
		b.readKeys()
	case b.writesTokens():
		b.errs = append(b.errs, fmt.Errorf("config: %s, or variable %s, is missing: mode %s needs a key file; "+
			"make one with: keygen init, or choose mode opaque",
			fieldLabel("keys.file"), envOf("keys.file"), b.mode()))
	case b.Keys != KeysConfig{}:
		b.refuseKeysWithoutFile()
	case b.AcceptOtherForm != nil && *b.AcceptOtherForm:
		b.fail("accept_other_form", errors.New("is true, and without keys.file no token can be accepted; "+
			"name the key file, or leave it out"))
	}
}

// refuseKeysWithoutFile reports settings about a key file if none is named:
// they would have no effect.
func (b *builder) refuseKeysWithoutFile() {
	config := reflect.ValueOf(b.Config)
	for _, l := range leaves() {
		if strings.HasPrefix(l.path, "keys.") && !config.FieldByIndex(l.index).IsZero() {
			b.fail(l.path, errors.New("is about a key file, and keys.file names none; name it, or leave this out"))
		}
	}
}

func (b *builder) readKeys() {
	file, ok := b.keyFile()
	if !ok {
		return
	}
	ring, err := b.openRing(file)
	if b.Keys.Create && errors.Is(err, fs.ErrNotExist) {
		ring, err = b.createKeys(file)
	}
	if err != nil {
		b.fail("keys.file", b.explainKeys(err))
		return
	}
	b.app.Keys, b.file = ring, file
	b.closers = append(b.closers, ring.Close)
	if b.Keys.Rotate {
		b.checkWritable()
	}
	b.checkSigners(ring)
	if b.writesTokens() {
		b.fitPolicy(ring.Set().Policy(), "keygen policy")
	}
}

// checkKeys reports keys that can't keep sessions. First it rotates the keys if
// the config says so: after a long stop, perhaps none of them may sign. It is
// the last check, because a start that fails must not change the keys.
func (b *builder) checkKeys() {
	if b.file.Path == "" || len(b.errs) > 0 && b.Keys.Rotate {
		return
	}
	if b.Keys.Rotate {
		b.rotateKeys()
	}
	if b.writesTokens() {
		b.fail("keys.file", checkUsable(b.app.Keys, b.now()))
	}
}

// openRing opens the keys of a file, and follows its changes.
func (b *builder) openRing(file keys.File) (*keys.Ring, error) {
	return keys.OpenRing(keys.RingConfig{
		File:           file,
		ReloadInterval: max(0, time.Duration(b.Keys.Reload)),
		OnProblem:      func(err error) { b.o.Logger.Error("something is wrong with the keys", "error", err) },
		Now:            b.o.Now,
	})
}

// keyFile returns the key file with the secret that decrypts it. ok is false if
// the secret could not be read.
func (b *builder) keyFile() (f keys.File, ok bool) {
	f = keys.File{
		Path: b.Keys.File, Signers: b.o.Signers, InsecureGroupReadable: b.Keys.InsecureGroupReadable,
	}
	for _, s := range [...]struct {
		path, value string
		read        func(string) ([]byte, error)
		to          *[]byte
	}{
		{"keys.passphrase_file", b.Keys.PassphraseFile, secret.ReadFile, &f.Passphrase},
		{"keys.passphrase_env", b.Keys.PassphraseEnv, secret.Env, &f.Passphrase},
		{"keys.kek_file", b.Keys.KEKFile, secret.ReadFile, &f.Key},
		{"keys.kek_env", b.Keys.KEKEnv, secret.Env, &f.Key},
	} {
		if s.value == "" {
			continue
		}
		if f.Passphrase != nil || f.Key != nil {
			b.fail(s.path, errors.New("is a second secret for one key file; "+
				"set only one of passphrase_file, passphrase_env, kek_file, kek_env"))
			return f, false
		}
		text, err := s.read(s.value)
		if err != nil {
			b.fail(s.path, err)
			return f, false
		}
		if s.to == &f.Passphrase {
			text = bytes.TrimRight(text, "\r\n") // editors and echo add them; a raw key may end with them
		}
		*s.to = text
	}
	return f, true
}

// checkWritable reports that this process can't write rotated keys.
func (b *builder) checkWritable() {
	if b.Keys.InsecureGroupReadable {
		b.fail("keys.rotate", errors.New("can't be combined with keys.insecure_group_readable: "+
			"a rotated file is readable only by its owner; rotate where the secret is made"))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	change := func(*keyset.Set) error { return nil } // none: Update only tries whether it could
	err := keyset.File(b.file).Update(ctx, change)
	if err != nil && !errors.Is(err, keys.ErrLocked) { // the process that holds the lock can write
		b.fail("keys.rotate", fmt.Errorf("this process can't write the key file: %w", err))
	}
}

// A contradiction is a field of the config that the policy of the keys does not
// allow.
type contradiction struct {
	path string
	err  error
}

// fitPolicy fits the life of sessions to the policy of the keys. If the config
// leaves the idle timeout of remembered sessions open, it becomes no longer
// than tokens may live. Other times that the policy does not allow are
// mistakes, and their text says that command changes the policy.
func (b *builder) fitPolicy(p keys.Policy, command string) {
	refused := b.life.IdleTimeout != 0 && b.Session.Persistent // by the middleware
	if b.life.RememberedIdleTimeout == 0 && !refused {
		full := b.life.WithDefaults()
		b.life.RememberedIdleTimeout = max(full.IdleTimeout, min(full.RememberedIdleTimeout, p.TokenLife))
	}
	for _, m := range b.contradictions(p, command) {
		b.fail(m.path, m.err)
	}
}

// contradictions lists the times that the policy of the keys does not allow,
// with the command that changes the policy.
func (b *builder) contradictions(p keys.Policy, command string) (all []contradiction) {
	life := b.life.WithDefaults()
	tooLong := func(path string, idle time.Duration) {
		all = append(all, contradiction{path, fmt.Errorf("is %s, but the policy of the keys limits tokens to %s: "+
			"sessions would end early; run: %s --token-life %s",
			span.Format(idle), span.Format(p.TokenLife), command, span.Format(life.RememberedIdleTimeout))})
	}
	switch {
	case life.IdleTimeout > p.TokenLife:
		tooLong("session.idle_timeout", life.IdleTimeout)
	case b.life.RememberedIdleTimeout > p.TokenLife:
		tooLong("session.remembered_idle_timeout", life.RememberedIdleTimeout)
	}
	if every := time.Duration(b.Keys.Reload); every > p.ReloadInterval {
		all = append(all, contradiction{"keys.reload", fmt.Errorf("is %s, and the policy of the keys counts on %s: "+
			"a key could sign before this instance knows it; run: %s --reload-interval %s",
			span.Format(every), span.Format(p.ReloadInterval), command, span.Format(every))})
	}
	return all
}

// explainKeys adds advice to err if too many users can read the key file and
// its mode can't be changed from here, because it is a mounted secret.
func (b *builder) explainKeys(err error) error {
	if !errors.Is(err, keyset.ErrUnsafeFile) || b.Keys.InsecureGroupReadable {
		return err
	}
	if info, stat := os.Stat(b.Keys.File); stat != nil || info.Mode().Perm()&0o077 == 0 {
		return err // its mode is not what makes it unsafe
	}
	return fmt.Errorf("%w; if it is a mounted secret, mount it with mode 0440 and "+
		"set keys.insecure_group_readable to true (keys.File.InsecureGroupReadable in Go)", err)
}

// checkSigners logs which keys lack a signer, and that signers fit no key. It
// does so at the start, before a key without a signer becomes active and
// nothing can sign.
func (b *builder) checkSigners(ring *keys.Ring) {
	used := 0
	for _, k := range (*keyset.Set)(ring.Set()).Keys() {
		if k.External() {
			used++
		}
		if k.LacksSigner(b.now()) {
			b.o.Logger.Warn("a key has no private half in the key file, and none of the signers that were given fits it",
				"kid", k.ID(), "signs from", k.Dates().SignFrom)
		}
	}
	if n := len(b.o.Signers); used < n {
		b.o.Logger.Warn("signers match no key of the key file; "+
			"import their public halves with keygen import --external", "signers", n, "keys", used)
	}
}

// checkUsable returns an error if these keys can't keep sessions, now or later.
// A key that will become active is enough, and so is one in its grace.
func checkUsable(ring *keys.Ring, now time.Time) error {
	set := (*keyset.Set)(ring.Set())
	if _, err := ring.Current(keys.Signature, now); err != nil && !set.HasFuture(keyset.Signature, now) {
		for _, k := range set.Keys() {
			if k.LacksSigner(now) {
				return fmt.Errorf("has no key that signs: the private half of key %s is elsewhere; "+
					"give its crypto.Signer in config.Options.Signers", k.ID())
			}
		}
		return errors.New("has no key that signs, now or later; " +
			"run: keygen rotate --if-due, or keygen add --alg ES256 if there never was one")
	}
	if _, err := ring.Current(keys.Encryption, now); err != nil && !set.HasFuture(keyset.Encryption, now) {
		return errors.New("has no key left that encrypts, but tokens were encrypted so far; run: keygen rotate --if-due")
	}
	return nil
}

// rotateKeys keeps the keys in rotation.
func (b *builder) rotateKeys() {
	log := b.o.Logger
	rotator, err := rotation.NewRotator(rotation.RotatorConfig{
		File: b.file, Ring: b.app.Keys, Now: b.o.Now,
		OnRotated: func(changes []string) {
			log.Info("keys were rotated", "changes", len(changes), "generation", b.app.Keys.Health(b.now()).Generation)
		},
		OnProblem:   func(err error) { log.Error("keys could not be rotated; it is tried again", "error", err) },
		OnRecovered: func() { log.Info("keys can be rotated again") },
	})
	if err != nil {
		b.fail("keys.rotate", err)
		return
	}
	b.closers = append(b.closers, rotator.Close)
}
