package keys_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// The process, or its machine, stood still for longer than the grace, so that
// nothing has looked at the file. The first token afterwards makes the ring
// look, and what it finds decides.
func TestSigningLooksOnceMoreBeforeItRefuses(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, f keyset.File, id string){
		"unchanged": func(*testing.T, keyset.File, string) {},
		"revoked": func(t *testing.T, f keyset.File, id string) {
			require.NoError(t, f.Update(t.Context(), func(s *keyset.Set) error {
				return errors.Join(s.Revoke(id, time.Now(), ""), s.Add(generate(t, keyset.EdDSA)))
			}))
		},
		"missing": func(t *testing.T, f keyset.File, _ string) { require.NoError(t, os.Remove(f.Path)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stood := time.Duration(0)
				clock := func() time.Time { return time.Now().Add(stood) }
				k, enc := generate(t, keyset.EdDSA), generate(t, keyset.Direct)
				f := place(t, filepath.Join(t.TempDir(), "keys.json"), newSet(t, k, enc), 1)
				r := watchBy(t, f, time.Minute, clock)
				defer r.stop(t)
				change(t, f, k.ID())
				stood = 2 * time.Hour
				got, err := r.Current(keys.Signature, clock())
				sealer, sealErr := r.Current(keys.Encryption, clock())
				switch name {
				case "missing":
					require.ErrorIs(t, err, keys.ErrUnavailable)
					require.ErrorIs(t, sealErr, keys.ErrUnavailable)
					require.NotEmpty(t, r.Health(clock()).Problems)
					return
				case "revoked":
					require.NotEqual(t, k.ID(), got.ID(), "it was revoked meanwhile")
				default:
					require.Equal(t, k.ID(), got.ID())
				}
				require.NoError(t, err)
				require.NoError(t, sealErr)
				require.Equal(t, enc.ID(), sealer.ID())
				stood = 4 * time.Hour
				require.Empty(t, r.Health(clock()).Problems, "no false alarm either")
			})
		})
	}
}

// The ring looks for a missing file at a bounded rate, however many tokens are
// to be made.
func TestLateLooksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		later := time.Now().Add(2 * time.Hour)
		r := watchBy(t, withPolicy(t, newSet(t, generate(t, keyset.EdDSA))), time.Minute, func() time.Time { return later })
		defer r.stop(t)
		good, err := os.ReadFile(r.Path())
		require.NoError(t, err)
		require.NoError(t, os.Remove(r.Path()))
		later = later.Add(2 * time.Hour)
		for range 3 {
			_, err := r.Current(keys.Signature, later)
			require.ErrorIs(t, err, keys.ErrUnavailable)
		}
		require.NoError(t, os.WriteFile(r.Path(), good, 0o600))
		_, err = r.Current(keys.Signature, later)
		require.ErrorIs(t, err, keys.ErrUnavailable, "too early for another look")
		later = later.Add(time.Minute)
		_, err = r.Current(keys.Signature, later)
		require.NoError(t, err)
	})
}

// Health looks at the file first, as signing does.
func TestHealthAfterAStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := watch(t, withPolicy(t, newSet(t, generate(t, keyset.EdDSA))), time.Minute)
		defer r.stop(t)
		require.NoError(t, keyset.File{Path: r.Path()}.Update(t.Context(), addOne(t)))
		require.EqualValues(t, 2, r.Health(time.Now().Add(2*time.Hour)).Generation)
	})
}

// The clock here is behind the clock of the machine that made the file.
func TestClockBehindAFreshKey(t *testing.T) {
	k, enc := generate(t, keyset.ES256, life(0)), generate(t, keyset.Direct, life(0))
	r := openRing(t, enc, k, generate(t, keyset.ES256, life(2)))
	for _, now := range []time.Time{at(-3), at(0)} {
		_, err := r.Current(keys.Signature, now)
		require.ErrorIs(t, err, keyset.ErrNoActiveKey)
		require.ErrorContains(t, err,
			"key "+k.ID()+" does from "+at(1).Format(time.RFC3339)+" on; set the clock if it is behind")
		require.ErrorContains(t, err, "this clock says "+now.Format(time.RFC3339))
	}
	rotate := "; run: keygen rotate (this clock says " + at(6).Format(time.RFC3339) + ")"
	_, err := r.Current(keys.Signature, at(6))
	require.ErrorContains(t, err, "no active key that signs"+rotate)
	_, err = r.Current(keys.Encryption, at(6))
	require.ErrorContains(t, err, "no active key that encrypts"+rotate)

	// The dates of keys that never sign say nothing about the clock: a key that
	// encrypts, one that was withdrawn before it signed, and a public half.
	withdrawn := keyset.Dates{PublishAt: at(0), SignFrom: at(1), SignUntil: at(1), VerifyUntil: at(5)}
	external, err := keyset.Import(keyset.ES256, generate(t, keyset.ES256).Public(), life(0))
	require.NoError(t, err)
	r = newRing(t, enc, generate(t, keyset.ES256, withdrawn), external)
	_, err = r.Current(keys.Signature, at(0))
	require.ErrorContains(t, err, "no active key that signs; run: keygen rotate")
}

// Editors, shells and copies change the white space at the end of a file, and
// how its lines end.
func TestWhiteSpaceAtTheEndDoesNotCount(t *testing.T) {
	k := generate(t, keyset.EdDSA)
	for _, f := range []keyset.File{{}, {Key: random(32)}, {Passphrase: []byte("correct horse battery")}} {
		f.Path = filepath.Join(t.TempDir(), "keys.json")
		require.NoError(t, f.Create(t.Context(), newSet(t, k)))
		good, err := os.ReadFile(f.Path)
		require.NoError(t, err)
		r := unfollowed(t, f)
		bare := good[:len(good)-1]
		for _, end := range []string{"", "\n", "\r\n", "\n\n\n", " ", "\t\n "} {
			require.NoError(t, os.WriteFile(f.Path, append(bare[:len(bare):len(bare)], end...), 0o600))
			require.NoError(t, r.Reload(), "%q", end)
			locked, err := f.Encrypted()
			require.NoError(t, err)
			require.Equal(t, f.Key != nil || f.Passphrase != nil, locked)
			if f.Passphrase == nil { // which takes long
				require.NoError(t, f.Update(t.Context(), func(*keyset.Set) error { return nil }))
			}
		}
		for _, end := range []string{"x", "\x00", "\v", "\u00a0"} {
			require.NoError(t, os.WriteFile(f.Path, append(bare[:len(bare):len(bare)], end...), 0o600))
			require.ErrorIs(t, r.Reload(), keyset.ErrInvalidFile, "%q", end)
		}
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	f := keyset.File{Path: path}
	require.NoError(t, f.Create(t.Context(), newSet(t, k)))
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	r := unfollowed(t, f)
	require.NoError(t, os.WriteFile(path, crlf(good), 0o600))
	require.NoError(t, r.Reload(), "an editor of Windows")
	require.NoError(t, os.WriteFile(path, crlf(good[:len(good)/2]), 0o600))
	err = r.Reload()
	require.ErrorIs(t, err, keyset.ErrInvalidFile)
	require.ErrorContains(t, err, "restart only if that is not the latest version")
	require.NoError(t, os.WriteFile(path, good, 0o600))
	require.NoError(t, r.Reload(), "as it says, no restart")
	require.NoError(t, os.Remove(path))
	err = r.Reload()
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "restart only if that is not the latest version")
	require.NoError(t, os.WriteFile(path, good, 0o600))
	require.NoError(t, r.Reload())
}

func crlf(text []byte) (out []byte) {
	for _, c := range text {
		if c == '\n' {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	return out
}

// People and programs read the answer of a health check, so errors are texts.
func TestHealthAsJSON(t *testing.T) {
	sig := generate(t, keyset.ES256, life(0))
	r := openRing(t, sig)
	keys.SetClock(r, func() time.Time { return at(3).In(time.FixedZone("", 3600)) })
	require.NoError(t, r.Reload())
	text, err := json.Marshal(r.Health(at(3)))
	require.NoError(t, err)
	end, graceEnd := at(3).Format(time.RFC3339), at(4).Format(time.RFC3339)
	require.JSONEq(t, `{"generation":1,"seen_at":"`+end+`","signer":"`+sig.ID()+`","sealer":"","sealed":0,
		"reloads":1,"failed_reloads":0,"problems":["keys: key `+sig.ID()+` (sig) should have been replaced at `+end+
		`, and goes on in its grace until `+graceEnd+`; run: keygen rotate"]}`, string(text))
	text, err = json.Marshal(newRing(t, generate(t, keyset.EdDSA)).Health(at(1)))
	require.NoError(t, err)
	require.Contains(t, string(text), `"problems":[]`)
	require.NotContains(t, string(text), "seen_at")
	require.NotContains(t, string(text), "next")
}
