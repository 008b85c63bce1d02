package keyset_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"
	"github.com/lestrrat-go/jwx/v3/jwe/jwebb"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

const (
	notOpened = "wrong passphrase or key, or the file is damaged"

	headerOfKey = `{"alg":"A256KW","cty":"jwk-set+json","enc":"A256GCM"}`
)

var (
	goldenText       = []byte(`{"generation":1,"keys":[]}` + "\n")
	goldenPassphrase = []byte("correct horse battery staple")
)

// goldenKey opens goldenFile, and goldenPassphrase opens goldenPassphraseFile:
// files that the first version wrote.
const (
	goldenKey  = "8f1c3a5e7092b4d6e8fa0c1e30527496b8dafc1d3f517395b7d9fb0d2f416385"
	goldenFile = "eyJhbGciOiJBMjU2S1ciLCJjdHkiOiJqd2stc2V0K2pzb24iLCJlbmMiOiJBMjU2R0NNIn0.2E1Y_u30g3dvjEvP6" +
		"OUWw2-LKSRnxyCqThUmnMN9sZ2uhb1QroXNkw.qMaMnCeJhpec8tXG.aw8e94VAcfPhFFAF12PCLHo2tJBTd3xCncS6.i274dpGvEWabusSqa75KZw\n"
	goldenPassphraseFile = "eyJhbGciOiJQQkVTMi1IUzUxMitBMjU2S1ciLCJjdHkiOiJqd2stc2V0K2pzb24iLCJlbmMiOiJBMjU2R0NNIiwic" +
		"DJjIjo2MDAwMDAsInAycyI6IjEzc0hOZ3BLYnAzNWZ4N3o2aVJGYnFROFk2OFpockJOT2VYdUoxRm9wU28ifQ.lbt2XgXm0_H2ihh1se4N8QrMJ" +
		"-bnj_S2wO4xJt6zSuPY-ad-k5eozQ.SplHDT7EUHvqzTvq.AwaI8ABzwj0q3eDruVoCYYF3S6xXTJduLoFw.ZhSdmNshCR8t4_a7waFhfQ\n"
)

// underPassphrase is shared by many tests: its key takes a third of a second.
var underPassphrase = sync.OnceValue(func() []byte {
	file, err := keyset.Encrypt(goldenPassphrase, nil, goldenText)
	if err != nil {
		panic(err)
	}
	return file
})

// forgeFile makes an encrypted key file with any header, as somebody who knows
// the key can.
func forgeFile(t testing.TB, key []byte, header string) []byte {
	t.Helper()
	kek, err := aes.NewCipher(key)
	require.NoError(t, err)
	contentKey, iv := random(32), random(12)
	wrapped, err := jwebb.Wrap(kek, contentKey)
	require.NoError(t, err)
	block, err := aes.NewCipher(contentKey)
	require.NoError(t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(t, err)
	protected := b64([]byte(header))
	sealed := gcm.Seal(nil, iv, goldenText, []byte(protected))
	text, tag := sealed[:len(goldenText)], sealed[len(goldenText):]
	return []byte(strings.Join([]string{protected, b64(wrapped), b64(iv), b64(text), b64(tag)}, "."))
}

// deriveKey is RFC 7518, Section 4.8.1.1, from the standard library.
func deriveKey(t testing.TB, salt []byte, iterations int) []byte {
	t.Helper()
	key, err := pbkdf2.Key(sha512.New, string(goldenPassphrase), append([]byte("PBES2-HS512+A256KW\x00"), salt...),
		iterations, 32)
	require.NoError(t, err)
	return key
}

func headerText(t testing.TB, file []byte) string {
	t.Helper()
	protected, _, _ := strings.Cut(string(file), ".")
	text, err := jose.Bytes(protected)
	require.NoError(t, err)
	return string(text)
}

func TestAtRest(t *testing.T) {
	key := random(32)
	for _, size := range []int{1, 2, 3, 1000, 512 << 10} {
		text := bytes.Repeat([]byte("x"), size)
		file, err := keyset.Encrypt(nil, key, text)
		require.NoError(t, err)
		require.True(t, keyset.IsEncrypted(file))
		require.True(t, size < 3 || !bytes.Contains(file, []byte(b64(text))))
		require.Equal(t, headerOfKey, headerText(t, file))
		require.Less(t, len(file), 1<<20, "half a MiB of keys makes a file that can be read")
		got, err := keyset.Decrypt(nil, key, file)
		require.NoError(t, err)
		require.True(t, bytes.Equal(text, got))
	}
}

func TestAtRestPassphrase(t *testing.T) {
	file := underPassphrase()
	require.True(t, keyset.IsEncrypted(file))
	require.Regexp(t, `^{"alg":"PBES2-HS512\+A256KW","cty":"jwk-set\+json","enc":"A256GCM",`+
		`"p2c":600000,"p2s":"[\w-]{43}"}$`, headerText(t, file))
	_, err := keyset.Decrypt([]byte("correct horse battery stable"), nil, file)
	require.EqualError(t, err, notOpened)
}

// Later versions open the files of the first one, as do other implementations
// of RFC 7518, Section 4.8.
func TestAtRestGolden(t *testing.T) {
	key, err := hex.DecodeString(goldenKey)
	require.NoError(t, err)
	got, err := keyset.Decrypt(nil, key, []byte(goldenFile))
	require.NoError(t, err)
	require.Equal(t, goldenText, got)
	got, err = keyset.Decrypt(goldenPassphrase, nil, []byte(goldenPassphraseFile))
	require.NoError(t, err)
	require.Equal(t, goldenText, got)
}

// White space at the end does not count: secret stores, shells and editors add
// and remove it. Nothing else is passed over.
func TestAtRestWhiteSpace(t *testing.T) {
	key := random(32)
	file, err := keyset.Encrypt(nil, key, goldenText)
	require.NoError(t, err)
	require.Equal(t, 1, bytes.Count(file, []byte("\n")))
	token, found := bytes.CutSuffix(file, []byte("\n"))
	require.True(t, found)
	for _, format := range []string{"%s", "%s\n", "%s\n\n", "%s\r\n", "%s ", "%s\t\n"} {
		got, err := keyset.Decrypt(nil, key, fmt.Appendf(nil, format, token))
		require.NoError(t, err)
		require.Equal(t, goldenText, got)
	}
	for _, format := range []string{"%s\v", "%s\u00a0", " %s", "\n%s", "\ufeff%s", "%s=", "%s.", "%s\x00"} {
		changed := fmt.Appendf(nil, format, token)
		require.False(t, keyset.IsEncrypted(changed), format)
		_, err := keyset.Decrypt(nil, key, changed)
		require.EqualError(t, err, notOpened, format)
	}
}

// Each file has its own salt and its own content key.
func TestAtRestIsFresh(t *testing.T) {
	key := random(32)
	seen := map[string]bool{}
	for range 10 {
		file, err := keyset.Encrypt(nil, key, goldenText)
		require.NoError(t, err)
		for i, segment := range strings.Split(string(file), ".") {
			require.False(t, i > 0 && seen[segment], "segment %d", i)
			seen[segment] = true
		}
	}
	again, err := keyset.Encrypt(goldenPassphrase, nil, goldenText)
	require.NoError(t, err)
	require.NotEqual(t, headerText(t, underPassphrase()), headerText(t, again), "the salt")
}

// jwx opens what we write, and we open what it writes.
func TestAtRestInteroperatesWithJWX(t *testing.T) {
	headers := jwe.NewHeaders()
	require.NoError(t, headers.Set(jwe.ContentTypeKey, "jwk-set+json"))
	key := random(32)
	underKey, err := keyset.Encrypt(nil, key, goldenText)
	require.NoError(t, err)
	tests := []struct {
		name                  string
		passphrase, key, file []byte
		theirs                jwe.EncryptDecryptOption
	}{
		{"key", nil, key, underKey, jwe.WithKey(jwa.A256KW(), key)},
		{"passphrase", goldenPassphrase, nil, underPassphrase(), jwe.WithKey(jwa.PBES2_HS512_A256KW(), goldenPassphrase)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := jwe.Decrypt(bytes.TrimSpace(tt.file), tt.theirs, jwe.WithMaxPBES2Count(1_000_000))
			require.NoError(t, err)
			require.Equal(t, goldenText, got)

			token, err := jwe.Encrypt(goldenText, tt.theirs, jwe.WithContentEncryption(jwa.A256GCM()),
				jwe.WithProtectedHeaders(headers), jwe.WithPBES2Count(keyset.MinIterations+1))
			require.NoError(t, err)
			got, err = keyset.Decrypt(tt.passphrase, tt.key, token)
			require.NoError(t, err)
			require.Equal(t, goldenText, got)
		})
	}
}

// Others may write the members in another order, and with white space.
func TestAtRestOpensOtherSpellings(t *testing.T) {
	key := random(32)
	for _, spelling := range []string{headerOfKey, `{"enc":"A256GCM", "alg":"A256KW",` + "\n" + `"cty":"jwk-set+json" }`,
		`{"enc":"A256GCM","\u0061lg":"A256KW","cty":"jwk-set+json"}`} {
		got, err := keyset.Decrypt(nil, key, forgeFile(t, key, spelling))
		require.NoError(t, err, spelling)
		require.Equal(t, goldenText, got)
	}
}

// Whoever knows the key can still not make us do what encrypt does not.
func TestAtRestRefusesHeaders(t *testing.T) {
	key := random(32)
	tests := []struct{ name, in, want string }{
		{"zip", `{"alg":"A256KW","cty":"jwk-set+json","enc":"A256GCM","zip":"DEF"}`, "a member other than"},
		{"crit", `{"alg":"A256KW","crit":["exp"],"cty":"jwk-set+json","enc":"A256GCM","exp":1}`, "a member other than"},
		{"kid", `{"alg":"A256KW","cty":"jwk-set+json","enc":"A256GCM","kid":"k"}`, "a member other than"},
		{"jku", `{"alg":"A256KW","cty":"jwk-set+json","enc":"A256GCM","jku":"https://x.example"}`, "a member other than"},
		{"case", `{"Alg":"A256KW","cty":"jwk-set+json","enc":"A256GCM"}`, "a member other than"},
		{"twice", `{"alg":"A256KW","alg":"A256KW","cty":"jwk-set+json","enc":"A256GCM"}`, "repeated name"},
		{"twice, escaped", `{"alg":"A256KW","\u0061lg":"dir","cty":"jwk-set+json","enc":"A256GCM"}`, "repeated name"},
		{"no alg", `{"cty":"jwk-set+json","enc":"A256GCM"}`, "alg is neither"},
		{"other alg", `{"alg":"dir","cty":"jwk-set+json","enc":"A256GCM"}`, "alg is neither"},
		{"weaker alg", `{"alg":"A128KW","cty":"jwk-set+json","enc":"A256GCM"}`, "alg is neither"},
		{"alg of another type", `{"alg":["A256KW"],"cty":"jwk-set+json","enc":"A256GCM"}`, "not a JSON string"},
		{"no enc", `{"alg":"A256KW","cty":"jwk-set+json"}`, "enc or cty"},
		{"other enc", `{"alg":"A256KW","cty":"jwk-set+json","enc":"A128CBC-HS256"}`, "enc or cty"},
		{"enc of another type", `{"alg":"A256KW","cty":"jwk-set+json","enc":null}`, "not a JSON string"},
		{"no cty", `{"alg":"A256KW","enc":"A256GCM"}`, "enc or cty"},
		{"a token", `{"alg":"A256KW","cty":"JWT","enc":"A256GCM"}`, "enc or cty"},
		{"a single key", `{"alg":"A256KW","cty":"jwk+json","enc":"A256GCM"}`, "enc or cty"},
		{"cty of another type", `{"alg":"A256KW","cty":1,"enc":"A256GCM"}`, "not a JSON string"},
		{"p2c without passphrase", `{"alg":"A256KW","cty":"jwk-set+json","enc":"A256GCM","p2c":600000}`, "p2c and p2s go with"},
		{"p2s without passphrase", `{"alg":"A256KW","cty":"jwk-set+json","enc":"A256GCM","p2s":"AAAAAAAAAAAAAAAAAAAAAA"}`, "p2c and p2s go with"},
		{"not an object", `["A256KW"]`, "not a JSON object"},
		{"data after it", headerOfKey + `{}`, "not strict JSON"},
		{"byte order mark", "\ufeff" + headerOfKey, "not strict JSON"},
		{"empty", ``, "not strict JSON"},
		{"long", `{"alg":"A256KW","cty":"jwk-set+json","enc":"A256GCM"` + strings.Repeat(" ", 1024) + `}`, "wrong size"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := forgeFile(t, key, tt.in)
			_, err := keyset.Decrypt(nil, key, file)
			require.ErrorContains(t, err, notOpened+": ")
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// The work and the salt have bounds, which are checked before a key is derived.
func TestAtRestRefusesPassphraseHeaders(t *testing.T) {
	salt := random(16)
	tests := []struct{ name, p2c, p2s, want string }{
		{"too little work", `599999`, b64(salt), "p2c is not between"},
		{"too much work", `10000001`, b64(salt), "p2c is not between"},
		{"much too much work", `9007199254740991`, b64(salt), "p2c is not between"},
		{"beyond 2^53", `9007199254740992`, b64(salt), "not an integer"},
		{"beyond 2^64", `18446744073710151616`, b64(salt), "not an integer"},
		{"negative", `-600000`, b64(salt), "p2c is not between"},
		{"zero", `0`, b64(salt), "p2c is not between"},
		{"fraction", `600000.0`, b64(salt), "not an integer"},
		{"exponent", `6e5`, b64(salt), "not an integer"},
		{"string", `"600000"`, b64(salt), "not an integer"},
		{"null", `null`, b64(salt), "not an integer"},
		{"short salt", `600000`, b64(salt[:15]), "p2s is not between"},
		{"no salt", `600000`, ``, "p2s is not between"},
		{"long salt", `600000`, b64(random(65)), "p2s is not between"},
		{"padded salt", `600000`, b64(salt) + "==", "base64url"},
		{"salt with a line break", `600000`, b64(salt) + `\n`, "base64url"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := forgeFile(t, random(32),
				`{"alg":"PBES2-HS512+A256KW","cty":"jwk-set+json","enc":"A256GCM","p2c":`+tt.p2c+`,"p2s":"`+tt.p2s+`"}`)
			_, err := keyset.Decrypt(goldenPassphrase, nil, file)
			require.ErrorContains(t, err, notOpened+": ")
			require.ErrorContains(t, err, tt.want)
		})
	}
	for _, n := range []int64{600_000, 10_000_000} {
		for _, size := range []int{16, 64} {
			header := fmt.Sprintf(`{"p2c":%d,"p2s":%q,"enc":"A256GCM","cty":"jwk-set+json","alg":"PBES2-HS512+A256KW"}`,
				n, b64(random(size)))
			file := forgeFile(t, random(32), header)
			got, err := keyset.Iterations(string(file))
			require.NoError(t, err)
			require.Equal(t, n, got)
		}
	}
	for _, members := range []string{``, `,"p2c":600000`, `,"p2s":"` + b64(salt) + `"`} {
		_, err := keyset.Decrypt(goldenPassphrase, nil,
			forgeFile(t, random(32), `{"alg":"PBES2-HS512+A256KW","cty":"jwk-set+json","enc":"A256GCM"`+members+`}`))
		require.ErrorContains(t, err, "p2c and p2s go with", members)
	}
	_, err := keyset.Decrypt(goldenPassphrase, nil,
		forgeFile(t, random(32), `{"alg":"PBES2-HS512+A256KW","cty":"jwk-set+json","enc":"A256GCM","p2c":600000,"p2s":7}`))
	require.ErrorContains(t, err, "not a JSON string")
}

// The right passphrase does not help a file that was made with too little work.
func TestAtRestRefusesCheapFiles(t *testing.T) {
	salt := random(16)
	file := forgeFile(t, deriveKey(t, salt, 1000),
		`{"alg":"PBES2-HS512+A256KW","cty":"jwk-set+json","enc":"A256GCM","p2c":1000,"p2s":"`+b64(salt)+`"}`)
	got, err := jwe.Decrypt(file, jwe.WithKey(jwa.PBES2_HS512_A256KW(), goldenPassphrase))
	require.NoError(t, err, "the file is good")
	require.Equal(t, goldenText, got)
	_, err = keyset.Decrypt(goldenPassphrase, nil, file)
	require.ErrorContains(t, err, "p2c is not between 600000 and 10000000")
}

// Every bit of a file counts.
func TestAtRestRefusesChanges(t *testing.T) {
	key := random(32)
	file, err := keyset.Encrypt(nil, key, goldenText)
	require.NoError(t, err)
	for i := range file {
		for bit := range 8 {
			changed := bytes.Clone(file)
			changed[i] ^= 1 << bit
			got, err := keyset.Decrypt(nil, key, changed)
			require.ErrorContains(t, err, notOpened, "bit %d of byte %d", bit, i)
			require.Nil(t, got)
		}
	}
	for size := range len(file) - 1 { // the last byte is the line break
		_, err := keyset.Decrypt(nil, key, file[:size])
		require.ErrorContains(t, err, notOpened, "%d bytes", size)
	}
}

func TestAtRestRefusesChangesUnderAPassphrase(t *testing.T) {
	file := []byte(goldenPassphraseFile)
	protected, _, _ := bytes.Cut(file, []byte("."))
	// What is before p2c is compared, and no key derived.
	cheap := len(b64([]byte(`{"alg":"PBES2-HS512+A256KW","cty":"jwk-set+json","enc":"A256GCM"`))) / 4 * 4
	for i := range cheap {
		changed := bytes.Clone(file)
		changed[i] ^= 1
		_, err := keyset.Decrypt(goldenPassphrase, nil, changed)
		require.ErrorContains(t, err, notOpened, "byte %d", i)
	}
	salted := strings.Replace(headerText(t, file), `"p2s":"1`, `"p2s":"2`, 1)
	require.NotEqual(t, headerText(t, file), salted)
	_, err := keyset.Decrypt(goldenPassphrase, nil, []byte(b64([]byte(salted))+string(file[len(protected):])))
	require.EqualError(t, err, notOpened)
}

// The header is authenticated, and not only its meaning.
func TestAtRestAuthenticatesTheHeader(t *testing.T) {
	key := random(32)
	_, rest, _ := strings.Cut(string(forgeFile(t, key, headerOfKey)), ".")
	_, err := keyset.Decrypt(nil, key,
		[]byte(b64([]byte(`{"cty":"jwk-set+json","alg":"A256KW","enc":"A256GCM"}`))+"."+rest))
	require.EqualError(t, err, notOpened)
}

func TestAtRestRefusesSecrets(t *testing.T) {
	key := random(32)
	tests := []struct {
		name, want      string
		passphrase, key []byte
	}{
		{"nothing", "the passphrase is empty", nil, nil},
		{"empty passphrase", "the passphrase is empty", []byte{}, nil},
		{"short passphrase", "shorter than 8 characters", []byte("seven77"), nil},
		{"seven characters in more bytes", "shorter than 8 characters", []byte("äöüäöüä"), nil},
		{"both", "a passphrase and a key were given", goldenPassphrase, key},
		{"empty key", "of the key file has 0 bytes; exactly 32 are needed", nil, []byte{}},
		{"short key", "exactly 32 are needed", nil, key[:31]},
		{"long key", "exactly 32 are needed", nil, random(33)},
		{"text", "is text or repeats", nil, []byte(b64(random(24)))},
		{"zeros", "is text or repeats", nil, append(make([]byte, 31), 0xff)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file, err := keyset.Encrypt(tt.passphrase, tt.key, goldenText)
			require.ErrorContains(t, err, "keys: encrypt the key file: ")
			require.ErrorContains(t, err, tt.want)
			require.Nil(t, file)
		})
	}
}

// The error says what was given and what the file needs, and repeats no secret.
func TestAtRestSaysWhatIsMissing(t *testing.T) {
	key := random(32)
	underKey, err := keyset.Encrypt(nil, key, goldenText)
	require.NoError(t, err)
	tests := []struct {
		name                  string
		passphrase, key, file []byte
		want                  string
	}{
		{"nothing for a key", nil, nil, underKey, "the file is encrypted; give its passphrase or its key"},
		{"nothing for a passphrase", nil, nil, []byte(goldenPassphraseFile), "the file is encrypted; give its passphrase or its key"},
		{"passphrase for a key", goldenPassphrase, nil, underKey, "the file is encrypted under a key, and a passphrase was given"},
		{"key for a passphrase", nil, key, []byte(goldenPassphraseFile), "the file is encrypted under a passphrase, and a key was given"},
		{"both", goldenPassphrase, key, underKey, "a passphrase and a key were given; give one of them"},
		{"empty passphrase", []byte{}, nil, []byte(goldenPassphraseFile), "the passphrase is empty"},
		{"key of another size", nil, key[:16], underKey, "the key of the key file has 16 bytes; exactly 32 are needed, not encoded"},
		{"wrong key", nil, random(32), underKey, notOpened},
		{"not encrypted", nil, key, goldenText, notOpened},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := keyset.Decrypt(tt.passphrase, tt.key, tt.file)
			require.EqualError(t, err, tt.want)
		})
	}
}

func TestIsEncrypted(t *testing.T) {
	tests := []struct {
		name, in string
		want     bool
	}{
		{"five segments", "a.b.c.d.e", true},
		{"line break at the end", "a.b.c.d.e\n", true},
		{"other algorithm", "a..c.d.e", true},
		{"a signed token", "a.b.c", false},
		{"six segments", "a.b.c.d.e.f", false},
		{"white space at the end", "a.b.c.d.e \r\n\n", true},
		{"white space before it", " a.b.c.d.e", false},
		{"line break within", "a.b.\nc.d.e", false},
		{"standard base64", "a.b.c.d+.e/", false},
		{"padding", "a.b.c.d.e=", false},
		{"letters beyond ASCII", "a.b.c.d.é", false},
		{"invalid UTF-8", "a.b.c.d.\xff", false},
		{"empty", "", false},
		{"JSON", `{"keys":[],"generation":1}`, false},
		{"JSON with dots", `{"a.b.c.d.e":1}`, false},
		{"PEM", "-----BEGIN PRIVATE KEY-----", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, keyset.IsEncrypted([]byte(tt.in)))
		})
	}
}

// A panic of the library is an error, which does not repeat its text.
func TestRecoverPanics(t *testing.T) {
	out, err := keyset.RecoverPanics(func() ([]byte, error) { panic("a secret") })
	require.EqualError(t, err, "the library failed")
	require.Nil(t, out)
}
