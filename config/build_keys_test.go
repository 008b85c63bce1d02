package config_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
)

// What is wrong with a key file comes through as package keys says it.
func TestBuildKeyFiles(t *testing.T) {
	for _, row := range []struct {
		name, want string
		is         error
		spoil      func(t *testing.T, path string)
	}{
		{"missing", "no such file or directory; make one with: keygen init --keyset ", fs.ErrNotExist, func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }},
		{"directory", "is a directory; name the file in it", keyset.ErrInvalidFile, func(t *testing.T, path string) { replace(t, path); require.NoError(t, os.Mkdir(path, 0o700)) }},
		{"unreadable", "may not read the key file", fs.ErrPermission, func(t *testing.T, path string) { onlyAsUser(t); chmod(t, path, 0) }},
		{"foreign", "belongs to user 12345", keyset.ErrUnsafeFile, func(t *testing.T, path string) { onlyAsRoot(t); require.NoError(t, os.Chown(path, 12345, -1)) }},
		{"world-readable", "run: chmod 600 ", keyset.ErrUnsafeFile, func(t *testing.T, path string) { chmod(t, path, 0o644) }},
		{"group-readable", "run: chmod 600 ", keyset.ErrUnsafeFile, func(t *testing.T, path string) { chmod(t, path, 0o640) }},
		{"mounted", "mount it with mode 0440 and set keys.insecure_group_readable to true", keyset.ErrUnsafeFile, func(t *testing.T, path string) { chmod(t, path, 0o444) }},
		{"PEM", "is a PEM file, not a key file that keygen init made", keyset.ErrInvalidFile,
			func(t *testing.T, path string) {
				require.NoError(t, os.WriteFile(path, []byte("-----BEGIN PRIVATE KEY-----"), 0o600))
			}},
		{"empty", "the file is empty; restore it from a backup", keyset.ErrInvalidFile, func(t *testing.T, path string) { cut(t, path, 0) }},
		{"truncated", "is damaged or was edited", keyset.ErrInvalidFile, func(t *testing.T, path string) { cut(t, path, 100) }},
		{"corrupt", "is damaged or was edited", keyset.ErrInvalidFile, flip},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := keyFile(t)
			row.spoil(t, path)
			c := config.Config{Keys: config.KeysConfig{File: path}}
			app, err := c.Build(config.Options{})
			require.Nil(t, app)
			require.ErrorIs(t, err, row.is)
			require.ErrorContains(t, err, `config: field "keys.file": `)
			require.ErrorContains(t, err, row.want)
			require.NotContains(t, err.Error(), "\n", "one mistake is one error")

			journal := filepath.Join(filepath.Dir(path), "revocations.journal")
			list, err := revocation.Open(revocation.Config{Path: journal, Lifetime: time.Hour})
			require.NoError(t, err, "the journal is free again")
			require.NoError(t, list.Close())
		})
	}
}

// The advice for mounted secrets is left out where it would not help.
func TestBuildKeyFileModeAdvice(t *testing.T) {
	path := keyFile(t)
	chmod(t, path, 0o444)
	_, err := config.Config{Keys: config.KeysConfig{File: path, InsecureGroupReadable: true}}.Build(config.Options{})
	require.ErrorIs(t, err, keyset.ErrUnsafeFile)
	require.NotContains(t, err.Error(), "mounted")
}

// Beside a mounted key there is no place for a journal.
func TestBuildReadOnlyDirectory(t *testing.T) {
	onlyAsUser(t)
	path := keyFile(t)
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o500))
	t.Cleanup(func() { _ = os.Chmod(filepath.Dir(path), 0o700) }) // or it could not be removed
	_, err := config.Config{Keys: config.KeysConfig{File: path}}.Build(config.Options{})
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, `config: field "revocations.file": `)
	require.ErrorContains(t, err, "; set revocations.file to a path in a writable directory that survives restarts")
}

func onlyAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
}

func onlyAsUser(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can read everything")
	}
}

func chmod(t *testing.T, path string, mode fs.FileMode) { require.NoError(t, os.Chmod(path, mode)) }

func replace(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }

func cut(t *testing.T, path string, size int64) { require.NoError(t, os.Truncate(path, size)) }

func flip(t *testing.T, path string) {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[bytes.Index(data, []byte(`"d"`))+10] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

func TestBuildGroupReadable(t *testing.T) {
	path := keyFile(t)
	require.NoError(t, os.Chmod(path, 0o440))
	app := build(t, config.Config{Keys: config.KeysConfig{File: path, InsecureGroupReadable: true}}, config.Options{})
	require.Equal(t, "alice", subjectOf(t, app, login(t, app, "alice")))
}

// Keys that will never be active again are refused; those that will be are not.
func TestBuildKeysWithoutFuture(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	past, future := now.Add(-time.Hour), now.Add(time.Hour)
	retired := keys.Dates{PublishAt: past.Add(-time.Hour), SignFrom: past.Add(-time.Hour), SignUntil: past}
	grace := keys.Dates{PublishAt: past.Add(-time.Hour), SignFrom: past.Add(-time.Hour), SignUntil: past.Add(time.Second)}
	staged := keys.Dates{PublishAt: future, SignFrom: future}
	for _, row := range []struct {
		name      string
		sign, enc keys.Dates
		want      string
	}{
		{"active", keys.Dates{}, keys.Dates{}, ""},
		{"staged", staged, staged, ""},
		{"in their grace", grace, grace, ""},
		{"signature key retired", retired, keys.Dates{}, `config: field "keys.file": has no key that signs, now or later; run: keygen rotate --if-due`},
		{"encryption key retired", keys.Dates{}, retired, `config: field "keys.file": has no key left that encrypts`},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			create(t, path, newKey(t, keys.ES256, row.sign), newKey(t, keys.Direct, row.enc))
			c := config.Config{Keys: config.KeysConfig{File: path}}
			app, err := c.Build(config.Options{Now: func() time.Time { return now }})
			if row.want != "" {
				require.ErrorContains(t, err, row.want)
				return
			}
			require.NoError(t, err)
			require.NoError(t, app.Close())
		})
	}
}

// The policy is changed while the application runs: that is said, once, and the
// sessions go on.
func TestPolicyChangesUnderTheApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := keyFile(t)
		var log lines
		in := config.KeysConfig{File: path, Reload: config.Duration(30 * time.Second)}
		app, err := config.Config{Issuer: "https://shop.example", Keys: in}.Build(logTo(&log))
		require.NoError(t, err)
		defer app.Close()
		time.Sleep(time.Hour)
		require.Empty(t, log.String())
		short := keys.Policy{TokenLife: time.Minute, ReloadInterval: 10 * time.Second}
		update(t, path, func(s *keyset.Set) error { return s.SetPolicy(keyset.Policy(short)) })
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(log.String(), "level=ERROR"))
		require.Contains(t, log.String(), "contradicts the config")
		require.Contains(t, log.String(), "keygen policy --token-life 1d", "as long as a remembered session may be idle")
		require.Contains(t, log.String(), "keygen policy --reload-interval 30s")
	})
}

// A changed key file is taken up; a damaged one is reported, and changes
// nothing.
func TestKeysAreReloaded(t *testing.T) {
	for _, row := range []struct {
		reload config.Duration
		after  time.Duration
	}{{0, 30 * time.Second}, {config.Duration(10 * time.Second), 10 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			path := keyFile(t)
			var log lines
			c := config.Config{Keys: config.KeysConfig{File: path, Reload: row.reload}}
			app, err := c.Build(logTo(&log))
			require.NoError(t, err)
			defer app.Close()

			added := newKey(t, keys.EdDSA, keys.Dates{})
			update(t, path, func(s *keyset.Set) error { return s.Add((*keyset.Key)(added)) })
			time.Sleep(row.after - time.Nanosecond) // of the bubble's clock
			require.Len(t, app.Keys.Set().Keys(), 2)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			require.Len(t, app.Keys.Set().Keys(), 3)
			require.NotContains(t, log.String(), "level=ERROR")

			require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
			time.Sleep(row.after)
			synctest.Wait()
			require.Len(t, app.Keys.Set().Keys(), 3)
			require.Contains(t, log.String(), "level=ERROR")
			require.Contains(t, log.String(), "is damaged or was edited")
		})
	}
}

// Times that the policy of the keys doesn't allow for would end sessions early,
// or let a key sign that this instance doesn't know.
func TestBuildHoldsToThePolicyOfTheKeys(t *testing.T) {
	path := keyFile(t)
	for _, row := range []struct {
		name string
		in   config.Config
		want string
	}{
		{"as the policy says", config.Config{Session: config.SessionConfig{IdleTimeout: config.Duration(24 * time.Hour), Lifetime: config.Duration(48 * time.Hour)}, Keys: config.KeysConfig{Reload: config.Duration(30 * time.Second)}}, ""},
		{"long sessions that are never idle for long", config.Config{Session: config.SessionConfig{Lifetime: config.Duration(300 * 24 * time.Hour)}}, ""},
		{"idle for too long", config.Config{Session: config.SessionConfig{IdleTimeout: config.Duration(25 * time.Hour), Lifetime: config.Duration(48 * time.Hour)}}, "keygen policy --token-life 1d1h"},
		{"reads too seldom", config.Config{Keys: config.KeysConfig{Reload: config.Duration(31 * time.Second)}}, "keygen policy --reload-interval 31s"},
		{"opaque", config.Config{Mode: config.Opaque, Session: config.SessionConfig{IdleTimeout: config.Duration(25 * time.Hour), Lifetime: config.Duration(48 * time.Hour)}}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.in.Keys.File = path
			app, err := row.in.Build(config.Options{})
			if row.want != "" {
				require.ErrorContains(t, err, row.want)
				return
			}
			require.NoError(t, err)
			require.NoError(t, app.Close())
		})
	}
}

func TestBuildOpensEncryptedKeys(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	kek := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255}, 2)
	set, err := keyset.NewSet((*keyset.Key)(newKey(t, keys.ES256, keys.Dates{})))
	require.NoError(t, err)
	require.NoError(t, keyset.File{Path: path, Key: kek}.Create(t.Context(), set))
	file := func(name string, content []byte) string {
		name = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(name, content, 0o600))
		return name
	}
	open := func(path string, mode fs.FileMode) string {
		chmod(t, path, mode)
		return path
	}
	raw, text, wrong := file("raw", kek), file("text",
		[]byte(base64.StdEncoding.EncodeToString(kek)+"\n")), file("wrong", []byte("correct horse battery"))
	t.Setenv("TEST_KEK", hex.EncodeToString(kek))
	for _, row := range []struct {
		name string
		in   config.KeysConfig
		want string
	}{
		{"raw file", config.KeysConfig{KEKFile: raw}, ""},
		{"base64 file", config.KeysConfig{KEKFile: text}, ""},
		{"variable", config.KeysConfig{KEKEnv: "TEST_KEK"}, ""},
		{"none", config.KeysConfig{}, "keys.file"},
		{"a passphrase", config.KeysConfig{PassphraseFile: wrong}, "keys.file"},
		{"two secrets", config.KeysConfig{KEKFile: raw, PassphraseFile: wrong}, "a second secret for one key file"},
		{"no such variable", config.KeysConfig{KEKEnv: "TEST_KEK_2"}, "the environment variable TEST_KEK_2 is not set"},
		{"no such file", config.KeysConfig{KEKFile: filepath.Join(dir, "missing")}, "keys.kek_file"},
		{"empty file", config.KeysConfig{PassphraseFile: file("empty", nil)}, "it is empty"},
		{"a file that others can read", config.KeysConfig{KEKFile: open(file("open", kek), 0o644)}, "others can use"},
		{"a file for the group", config.KeysConfig{KEKFile: open(file("group", kek), 0o440)}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.in.File = path
			app, err := config.Config{Keys: row.in}.Build(config.Options{})
			if row.want != "" {
				require.ErrorContains(t, err, row.want)
				require.NotContains(t, err.Error(), "correct horse")
				return
			}
			require.NoError(t, err)
			require.NoError(t, app.Close())
		})
	}
}

// A key in a KMS needs its signer, and a signer its key: who forgets the one or
// the other hears of it in time.
func TestBuildKeysElsewhere(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	later := keys.Dates{PublishAt: now, SignFrom: now.Add(24 * time.Hour)}
	vault, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // a plain key from a vault is a signer too
	require.NoError(t, err)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	elsewhere := func(d keys.Dates) *keys.Key {
		k, err := keys.Import(keys.ES256, &vault.PublicKey, d)
		require.NoError(t, err)
		return k
	}
	for _, row := range []struct {
		name      string
		keys      []*keys.Key
		signers   []crypto.Signer
		want, log string
	}{
		{"with its signer", []*keys.Key{elsewhere(keys.Dates{})}, []crypto.Signer{vault}, "", ""},
		{"without", []*keys.Key{elsewhere(keys.Dates{})}, nil, "the private half of key " + elsewhere(keys.Dates{}).ID() + " is elsewhere; give its crypto.Signer in config.Options.Signers", ""},
		{"with another", []*keys.Key{elsewhere(keys.Dates{})}, []crypto.Signer{stranger}, "is elsewhere; give its crypto.Signer", ""},
		{"to come, without", []*keys.Key{newKey(t, keys.ES256, keys.Dates{SignUntil: later.SignFrom}), elsewhere(later)}, nil, "", "none of the signers that were given fits it"},
		{"a signer too many", []*keys.Key{elsewhere(keys.Dates{})}, []crypto.Signer{vault, stranger}, "", "signers match no key"},
		{"only to verify", []*keys.Key{newKey(t, keys.ES256, keys.Dates{}), elsewhere(keys.Dates{PublishAt: now, SignFrom: now, SignUntil: now})}, nil, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			create(t, path, row.keys...)
			var log lines
			c := config.Config{Issuer: "https://shop.example", Keys: config.KeysConfig{File: path}}
			o := logTo(&log)
			o.Now, o.Signers = func() time.Time { return now }, row.signers
			app, err := c.Build(o)
			if row.want != "" {
				require.ErrorContains(t, err, row.want)
				return
			}
			require.NoError(t, err)
			require.NoError(t, app.Close())
			require.Contains(t, log.String(), row.log)
			require.Equal(t, row.log == "", log.String() == "")
		})
	}
}
