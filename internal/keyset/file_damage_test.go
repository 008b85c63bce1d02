package keyset_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// rich writes a file that has everything: keys, a policy, a revoked key and a
// note of one that was pruned.
func rich(t testing.TB, f keyset.File) keyset.File {
	t.Helper()
	if f.Path == "" {
		f.Path = filepath.Join(t.TempDir(), "keys.json")
	}
	sig, revoked, gone := generate(t, keyset.ES256, full()), generate(t, keyset.EdDSA), generate(t, keyset.Direct, full())
	s := newSet(t, sig, revoked, gone, generate(t, keyset.Direct))
	require.NoError(t, s.SetPolicy(example()))
	require.NoError(t, s.Revoke(revoked.ID(), t0, "key_compromise"))
	require.NoError(t, s.Prune(gone.ID(), at(4)))
	require.NoError(t, f.Create(t.Context(), s))
	return f
}

func addOne(t testing.TB) func(*keyset.Set) error {
	k := generate(t, keyset.EdDSA)
	return func(s *keyset.Set) error { return s.Add(k) }
}

// listing is what lies in the directory of a file: names, modes and a hash of
// the content.
func listing(t testing.TB, f keyset.File) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(f.Path))
	require.NoError(t, err)
	all := make(map[string]string)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(f.Path), e.Name()))
		require.NoError(t, err)
		info, err := e.Info()
		require.NoError(t, err)
		all[e.Name()] = fmt.Sprintf("%s %d %x", info.Mode(), len(text), sha256.Sum256(text))
	}
	return all
}

// requireRefused writes damaged content, and wants it refused.
func requireRefused(t *testing.T, f keyset.File, text []byte, what string) {
	t.Helper()
	require.NoError(t, os.WriteFile(f.Path, text, 0o600))
	s, err := f.Read()
	require.ErrorIs(t, err, keyset.ErrInvalidFile, what)
	require.Nil(t, s, what)
}

// requireLeftAlone wants damaged content refused by who would change it, and
// nothing on the disk changed.
func requireLeftAlone(t *testing.T, f keyset.File, text []byte, what string) {
	t.Helper()
	requireRefused(t, f, text, what)
	before := listing(t, f)
	require.ErrorIs(t, f.Update(t.Context(), func(*keyset.Set) error { panic("there are no keys to change") }),
		keyset.ErrInvalidFile, what)
	require.Equal(t, before, listing(t, f), what)
}

// Whatever byte a disk, a transfer or an editor has changed: the file is
// refused, and stays as it is.
func TestReadRefusesEveryFlippedByte(t *testing.T) {
	f := rich(t, keyset.File{})
	good, err := os.ReadFile(f.Path)
	require.NoError(t, err)
	for i := range good {
		damaged := bytes.Clone(good)
		damaged[i] ^= []byte{1, 0x20, 0x80}[i%3] // another character, the other case, and no ASCII
		requireRefused(t, f, damaged, fmt.Sprintf("byte %d (%q) is %q", i, good[i], damaged[i]))
		if i == len(good)-1 { // white space at the end does not count
			break
		}
		requireRefused(t, f, good[:i], fmt.Sprintf("%d bytes of %d", i, len(good)))
		requireRefused(t, f, slices.Insert(bytes.Clone(good), i, ' '), fmt.Sprintf("a space before byte %d", i))
		if i%16 == 0 {
			requireLeftAlone(t, f, good[:i], fmt.Sprintf("%d bytes of %d", i, len(good)))
		}
	}
	requireRefused(t, f, append(bytes.Clone(good), 'x'), "one byte more")
	requireRefused(t, f, bytes.ReplaceAll(good, []byte("\n"), []byte("\n ")), "indented")
	require.NoError(t, os.WriteFile(f.Path, good, 0o600))
	_, err = f.Read()
	require.NoError(t, err)
}

// Who edits a file on purpose takes the checksum out; one that stays must be
// right, and the last member.
func TestReadChecksum(t *testing.T) {
	f := rich(t, keyset.File{})
	good, err := os.ReadFile(f.Path)
	require.NoError(t, err)
	edited := strings.Replace(string(good), "key_compromise", "key_compromize", 1)
	unedited := unsummed(t, good)
	sum := string(good[len(unedited)-len("\n}\n")+len(",\n") : len(good)-len("\n}\n")])
	require.Regexp(t, `^  "checksum": "[A-Za-z0-9_-]{43}"$`, sum)
	tests := []struct{ name, in, want string }{
		{"good", string(good), ""},
		{"without", unedited, ""},
		{"edited without", unsummed(t, []byte(edited)), ""},
		{"edited with", edited, "the checksum is not that of the file; if you have edited it on purpose, remove the member checksum"},
		{"first", "{\n" + sum + "," + unedited[1:], "the checksum is not"},
		{"twice", strings.Replace(string(good), sum, sum+",\n"+sum, 1), "not strict JSON"},
		{"empty", strings.Replace(string(good), sum, `  "checksum": ""`, 1), "the checksum is not"},
		{"null", strings.Replace(string(good), sum, `  "checksum": null`, 1), "the checksum is not"},
		{"escaped", strings.Replace(string(good), `"checksum"`, `"\u0063hecksum"`, 1), "the checksum is not"},
		{"of another file", strings.Replace(string(good), sum, `  "checksum": "`+strings.Repeat("A", 43)+`"`, 1), "the checksum is not"},
		{"in one line", strings.ReplaceAll(string(good), "\n", ""), "the checksum is not"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(f.Path, []byte(tt.in), 0o600))
			_, err := f.Read()
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, keyset.ErrInvalidFile)
			require.ErrorContains(t, err, tt.want)
		})
	}
	require.NoError(t, os.WriteFile(f.Path, []byte(unedited), 0o600))
	require.NoError(t, f.Update(t.Context(), addOne(t)))
	text, err := os.ReadFile(f.Path)
	require.NoError(t, err)
	require.Contains(t, string(text), `"checksum"`, "the next change brings it back")
}

func TestReadRefusesDamageUnderAKey(t *testing.T) {
	f := rich(t, keyset.File{Key: random(32)})
	good, err := os.ReadFile(f.Path)
	require.NoError(t, err)
	require.NotContains(t, string(good), `"kty"`)
	for i := 0; i < len(good); i += 1 + i%11 {
		for _, bit := range []byte{1, 0x20, 0x80} {
			damaged := bytes.Clone(good)
			damaged[i] ^= bit
			requireRefused(t, f, damaged, fmt.Sprintf("byte %d of %d (%q) is %q", i, len(good), good[i], damaged[i]))
		}
		if i < len(good)-1 { // the line break at the end may be missing
			requireRefused(t, f, good[:i], fmt.Sprintf("%d bytes of %d", i, len(good)))
		}
	}
	requireLeftAlone(t, f, good[:len(good)-2], "one letter and the line break are missing")
}

func TestReadRefusesDamageUnderAPassphrase(t *testing.T) {
	f := rich(t, keyset.File{Passphrase: []byte("five random words would be better")})
	good, err := os.ReadFile(f.Path)
	require.NoError(t, err)
	for _, i := range []int{0, len(good) / 2, len(good) - 3} {
		damaged := bytes.Clone(good)
		damaged[i] ^= 1
		requireRefused(t, f, damaged, fmt.Sprintf("byte %d of %d (%q) is %q", i, len(good), good[i], damaged[i]))
	}
	requireLeftAlone(t, f, good[:len(good)/2], "half of it")
}

// No secret where one is needed, one where none is, and wrong ones.
func TestReadRefusesSecrets(t *testing.T) {
	secret := random(32)
	plain, encrypted := rich(t, keyset.File{}), rich(t, keyset.File{Key: secret})
	repeated := bytes.Repeat([]byte{7}, 32)
	tests := []struct {
		name string
		in   keyset.File
		want string
	}{
		{"passphrase for a plain file", keyset.File{Path: plain.Path, Passphrase: []byte("correct horse")}, "the file is not encrypted, and a passphrase or a key for it was given; encrypt it with keygen encrypt, or give none"},
		{"empty passphrase for a plain file", keyset.File{Path: plain.Path, Passphrase: []byte{}}, "the file is not encrypted"},
		{"key for a plain file", keyset.File{Path: plain.Path, Key: secret}, "the file is not encrypted"},
		{"none", keyset.File{Path: encrypted.Path}, "the file is encrypted; give its passphrase or its key"},
		{"wrong key", keyset.File{Path: encrypted.Path, Key: random(32)}, "wrong passphrase or key, or the file is damaged"},
		{"short key", keyset.File{Path: encrypted.Path, Key: secret[:31]}, "exactly 32"},
		{"key of one byte", keyset.File{Path: encrypted.Path, Key: repeated}, "repeats a few bytes"},
		{"passphrase", keyset.File{Path: encrypted.Path, Passphrase: []byte("correct horse")}, "encrypted under a key, and a passphrase was given"},
		{"both", keyset.File{Path: encrypted.Path, Key: secret, Passphrase: []byte("correct horse")}, "give one of them"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := listing(t, tt.in)
			_, err := tt.in.Read()
			require.ErrorIs(t, err, keyset.ErrInvalidFile)
			require.ErrorContains(t, err, tt.want)
			text, err := tt.in.InsecurePrivateSet()
			require.ErrorIs(t, err, keyset.ErrInvalidFile)
			require.Nil(t, text)
			_, err = keys.OpenRing(keys.RingConfig{File: keys.File(tt.in)})
			require.ErrorIs(t, err, keyset.ErrInvalidFile)
			require.ErrorIs(t, tt.in.Update(t.Context(), addOne(t)), keyset.ErrInvalidFile)
			require.ErrorIs(t, tt.in.Protect(t.Context(), keyset.File{}), keyset.ErrInvalidFile)
			require.Equal(t, before, listing(t, tt.in))
		})
	}
	text, err := encrypted.InsecurePrivateSet()
	require.NoError(t, err)
	require.Contains(t, string(text), `"kty"`)
}

// A key may be given as it is, or as people keep it.
func TestFileKeySpellings(t *testing.T) {
	secret := random(32)
	secret[0], secret[1], secret[2] = 0xfb, 0xff, 0xfe // the two alphabets differ
	f := rich(t, keyset.File{Key: secret})
	encrypted, err := f.Encrypted()
	require.NoError(t, err)
	require.True(t, encrypted)
	good := map[string]string{
		"raw": string(secret), "hex": fmt.Sprintf("%x", secret), "HEX": fmt.Sprintf("%X", secret),
		"line": fmt.Sprintf("%x\r\n", secret), "spaces": fmt.Sprintf("  %x ", secret),
		"base64":   base64.StdEncoding.EncodeToString(secret),
		"unpadded": base64.RawStdEncoding.EncodeToString(secret),
		"url":      base64.URLEncoding.EncodeToString(secret), "unpadded url": b64(secret) + "\n",
	}
	for name, spelling := range good {
		_, err := keyset.File{Path: f.Path, Key: []byte(spelling)}.Read()
		require.NoError(t, err, name)
	}
	for _, bad := range []string{"", " ", b64(secret)[1:], b64(secret) + "A", good["hex"][2:], good["hex"] + "00",
		"0x" + good["hex"], string(secret) + "\n", good["hex"][:32], b64(secret[:24])} {
		_, err := keyset.File{Path: f.Path, Key: []byte(bad)}.Read()
		require.ErrorIs(t, err, keyset.ErrInvalidFile)
		require.NotContains(t, err.Error(), good["hex"][:20])
	}
}

func TestEncrypted(t *testing.T) {
	plain := rich(t, keyset.File{})
	encrypted, err := plain.Encrypted()
	require.NoError(t, err)
	require.False(t, encrypted)
	plain.Passphrase = []byte("which it does not need")
	encrypted, err = plain.Encrypted()
	require.NoError(t, err)
	require.False(t, encrypted)
	require.NoError(t, os.Remove(plain.Path))
	_, err = plain.Encrypted()
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// From one protection to the next, and back; a less protected copy never stays.
func TestProtect(t *testing.T) {
	none := rich(t, keyset.File{})
	require.NoError(t, none.Update(t.Context(), addOne(t)))
	require.FileExists(t, none.Path+".bak")
	want, err := none.Read()
	require.NoError(t, err)
	steps := []keyset.File{none, {Passphrase: []byte("correct horse battery")}, {Key: random(32)}, {Key: random(32)}, {},
		{}}
	for i := 1; i < len(steps); i++ {
		from, to := steps[i-1], steps[i]
		from.Path = none.Path
		require.NoError(t, from.Protect(t.Context(), to))
		require.NoFileExists(t, none.Path+".bak")
		to.Path = none.Path
		got, err := to.Read()
		require.NoError(t, err)
		require.EqualValues(t, 2+i, got.Generation())
		require.Equal(t, ids(want.Keys()), ids(got.Keys()))
		require.Equal(t, ids(want.Pruned()), ids(got.Pruned()))
		require.Equal(t, want.Policy(), got.Policy())
		require.Equal(t, []string{"keys.json", "keys.json.lock"}, names(listing(t, to)))
		if i < len(steps)-1 {
			_, err = from.Read()
			require.ErrorIs(t, err, keyset.ErrInvalidFile, "the old secret")
			text, err := os.ReadFile(none.Path)
			require.NoError(t, err)
			require.Equal(t, i == 4, bytes.Contains(text, []byte(`"kty"`)))
		}
	}
	require.NoError(t, none.Update(t.Context(), addOne(t)))
	before := listing(t, none)
	for _, next := range []keyset.File{{Passphrase: []byte("short")}, {Passphrase: []byte{}}, {Key: random(16)},
		{Key: random(32), Passphrase: []byte("correct horse battery")}} {
		require.ErrorContains(t, none.Protect(t.Context(), next), "keys: encrypt the key file")
		require.Equal(t, before, listing(t, none), "with its .bak")
	}
}

func names(m map[string]string) (all []string) {
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func TestFileWithoutAPath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	var f keyset.File
	_, err := f.Read()
	require.ErrorContains(t, err, "File.Path is required")
	_, err = f.InsecurePrivateSet()
	require.ErrorContains(t, err, "File.Path is required")
	_, err = f.Encrypted()
	require.ErrorContains(t, err, "File.Path is required")
	require.ErrorContains(t, f.Create(t.Context(), newSet(t, generate(t, keyset.EdDSA))), "File.Path is required")
	require.ErrorContains(t, f.Update(t.Context(), func(*keyset.Set) error { return nil }), "File.Path is required")
	require.ErrorContains(t, f.Protect(t.Context(), keyset.File{Path: "x"}), "File.Path is required")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries, "no lock of nothing either")
}

func TestFilePrintsNoSecret(t *testing.T) {
	f := keyset.File{Path: "keys.json", Passphrase: []byte("hunter2hunter2"), Key: []byte("hunter2hunter2")}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		require.Equal(t, "keys.File(keys.json)", fmt.Sprintf(format, f))
		require.Equal(t, "keys.File(keys.json)", fmt.Sprintf(format, &f))
	}
}

// What stands in the place of a name may be a secret that somebody pasted
// there.
func TestReadRepeatsNoStrangeName(t *testing.T) {
	f := rich(t, keyset.File{})
	good, err := os.ReadFile(f.Path)
	require.NoError(t, err)
	for _, before := range []string{"generation", "kid", "rotation_period"} {
		for name, shown := range map[string]bool{"news": true, strings.Repeat("Secret7", 6): false, "ab/cd+e=": false} {
			text := strings.Replace(string(good), `"`+before+`"`, `"`+name+`":1,"`+before+`"`, 1)
			require.NoError(t, os.WriteFile(f.Path, []byte(text), 0o600))
			_, err := f.Read()
			require.ErrorContains(t, err, "known")
			require.Equal(t, shown, strings.Contains(err.Error(), name), "%s before %s: %v", name, before, err)
		}
	}
}
