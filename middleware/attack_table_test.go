package middleware_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A coverage says which tests make an attack, as "package TestName", or why none
// does, or what is left for later.
type coverage struct {
	row, attack string
	tests       string
	reason      string
}

// coverages is the list of attacks that this module must stand, row by row.
func coverages() []coverage {
	const (
		redis = "needs a store on the network: opaque/redisstore and opaque/memcachestore bring their own tests"
		tools = "needs the operator's tool: cmd/keygen brings its own tests"
	)
	return []coverage{
		{"A1", "alg none", "middleware TestAttackTokens", ""},
		{"A2", "public key as HMAC secret", "middleware TestAttackTokens, keys TestPublicKeyIsNoSecret", ""},
		{"A3", "the same, key recovered from two signatures", "middleware TestAttackTokens", ""},
		{"A4", "key embedded in the header", "middleware TestAttackTokens", ""},
		{"A5", "jku and x5u", "middleware TestAttackTokens", ""},
		{"A6", "kid as path, SQL, command", "middleware TestAttackTokens, middleware TestAttackCost", ""},
		{"A7", "kid of another type", "middleware TestAttackTokens", ""},
		{"A8", "blank key, null signature", "middleware TestAttackTokens", ""},
		{"A9", "weak secret", "middleware TestAttackTokens, middleware TestAttackWeakSecrets", ""},
		{"A10", "psychic signature", "middleware TestAttackTokens", ""},
		{"A11", "DER, and the second form of a signature", "middleware TestAttackTokens, middleware TestAttackSecondSignature", ""},
		{"A12", "RSA padding and salt", "middleware TestAttackTokens", ""},
		{"A13", "base64 malleability", "middleware TestAttackTokens", ""},
		{"A14", "segment games", "middleware TestAttackTokens, middleware TestAttackCost", ""},
		{"A15", "JSON serialization, polyglots", "middleware TestAttackTokens", ""},
		{"A16", "sign/encrypt confusion", "middleware TestAttackTokens, middleware TestAttackRemembered", ""},
		{"A17", "billion hashes", "middleware TestAttackTokens, middleware TestAttackCost", ""},
		{"A18", "compressed content", "middleware TestAttackTokens, middleware TestAttackCost", ""},
		{"A19", "empty and short segments", "middleware TestAttackTokens", ""},
		{"A20", "invalid curve", "middleware TestAttackTokens", ""},
		{"A21", "CBC padding", "middleware TestAttackTokens", ""},
		{"A22", "RSA1_5", "middleware TestAttackTokens", "no timing: no RSA key decrypts here"},
		{"A23", "alg or enc exchanged", "middleware TestAttackTokens", ""},
		{"A24", "crit, b64", "middleware TestAttackTokens", ""},
		{"A25", "repeated names", "middleware TestAttackTokens", ""},
		{"A26", "invalid Unicode, normalization", "middleware TestAttackTokens, token TestAttackNormalization", ""},
		{"A27", "numbers, nesting", "middleware TestAttackTokens", ""},
		{"A28", "payload is no object", "middleware TestAttackTokens", ""},
		{"A29", "typ of another kind", "middleware TestAttackTokens", ""},
		{"A30", "another issuer's or audience's", "middleware TestAttackTokens", ""},
		{"A31", "time", "middleware TestAttackTokens, middleware TestAttackBoundaryOfTime, middleware TestAttackKeyNotAfter, middleware TestAttackRemembered, token TestAttackLeeway, token TestAttackNotBefore", ""},
		{"A32", "sliding forever", "middleware TestAttackSlidingForever", ""},
		{"A33", "logout replay", "middleware TestAttackLogoutReplay", "other instances: the bound is that of whatever carries revocations between them"},
		{"A34", "logout against requests at work", "token TestRaceEndedStaysEnded, middleware TestAttackLogoutDuringRequest", ""},
		{"A35", "refresh race and replay", "", "there are no refresh tokens: a session is renewed in place, and parallel requests merge (TestParallelUpdates)"},
		{"A36", "session fixation", "middleware TestAttackFixation, middleware TestAttackUnknownIDIsNotAdopted", ""},
		{"A37", "duplicate cookies", "middleware TestAttackDuplicateCookies, middleware TestAttackManyCookies", ""},
		{"A38", "cookie prefix bypass", "middleware TestAttackCookiePrefixes", ""},
		{"A39", "cookie bomb", "middleware TestAttackCookieBomb, middleware TestAttackHeaderTooLarge", ""},
		{"A40", "header and log injection", "middleware TestAttackHeaderInjection, middleware TestAttackCookieConfigInjection", ""},
		{"A41", "oversize session", "middleware TestAttackOversizeCookie, middleware TestAttackOversizeCookieOfLongName", ""},
		{"A42", "the first byte", "middleware TestSetThenFlush, middleware TestFailingSaveBeforeFlush, middleware TestEarlyHints, middleware TestHijack, middleware TestPanickingHandlerSavesNothing, middleware TestReadFromSeesFile", ""},
		{"A43", "replay of a one-time value", "middleware TestOneTimeValue", ""},
		{"A44", "store key injection", "middleware TestAttackStoreKeys", ""},
		{"A45", "store read or written by others", "middleware TestAttackStoreDump, middleware TestAttackStoredItemsExchanged", redis},
		{"A46", "crossed replies", "middleware TestAttackStoredItemsExchanged", redis},
		{"A47", "store down, slow, broken", "middleware TestStoreFails", redis},
		{"A48", "eviction drops revocations", "", redis},
		{"A49", "JWKS poisoning", "keys TestRemoteRefusesAnswers, keys TestRemoteBoundsFetches, keys TestParsePublicSet", ""},
		{"A50", "rotation gap", "", tools},
		{"A51", "key downgrade", "middleware TestAttackKeyDowngrade", "what keygen writes: " + tools},
		{"A52", "timing oracle", "", "no secret is compared: opaque credentials are looked up by SHA-256, signatures and seals are the standard library's; a statistical test is no unit test"},
		{"A53", "error oracle", "middleware TestAttackErrorOracle, middleware TestAttackTokens", ""},
		{"A54", "cross-site requests", "middleware TestAttackCrossSite", ""},
		{"A55", "proxy spoofing", "", "no X-Forwarded header is ever read: whether the cookie is Secure is a matter of the config"},
		{"A56", "paths that skip the middleware", "", "there are no skip lists"},
		{"A57", "misspelled alg", "middleware TestAttackTokens", ""},
		{"A58", "two credentials in one request", "middleware TestAttackTwoCredentials", ""},
		{"A59", "flood of credentials", "middleware TestAttackFlood, middleware TestAttackFloodOfEndedTokens, middleware TestAttackManyCookies", ""},
		{"A60", "damaged record", "middleware TestAttackStoredRecord, middleware TestAttackStoredMarker, middleware TestAttackStoredDeadlines, middleware TestAttackStoredItemsExchanged, middleware TestAttackPlainRecordInForeignStore", ""},
	}
}

func TestAttackTable(t *testing.T) {
	exists := make(map[string]bool)
	for _, pkg := range []string{"middleware", "token", "keys"} {
		for _, name := range testsOf(t, pkg) {
			exists[pkg+" "+name] = true
		}
	}
	forged := attackRows()
	all := coverages()
	require.Len(t, all, 60)
	for i, c := range all {
		assert.Equal(t, fmt.Sprint("A", i+1), c.row)
		assert.True(t, c.tests != "" || c.reason != "", "%s %s: neither a test nor a reason", c.row, c.attack)
		for _, test := range strings.Split(c.tests, ", ") {
			assert.True(t, c.tests == "" || exists[test], "%s: there is no test %q", c.row, test)
		}
		if c.tests == "middleware TestAttackTokens" || strings.HasPrefix(c.tests, "middleware TestAttackTokens,") {
			assert.True(t, forged[c.row], "%s: TestAttackTokens has no such row", c.row)
		}
		delete(forged, c.row)
	}
	assert.Empty(t, forged, "rows of TestAttackTokens that are not in the table")
}

// testsOf lists the tests of a package of this module.
func testsOf(t *testing.T, pkg string) (names []string) {
	files, err := filepath.Glob(filepath.Join("..", pkg, "*_test.go"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}

// A key file that holds a secret which a person has chosen, or which repeats
// itself, is refused: as it is, repeated, padded, in hexadecimal and in base64.
func TestAttackWeakSecrets(t *testing.T) {
	now := newClock().Now()
	load := func(secret []byte) error {
		entry, _ := keyEntry(t, secret, keys.HS256, "", now)
		_, err := keys.OpenRing(keys.File{Path: writeKeys(t, entry)})
		return err
	}
	require.NoError(t, load(random(32)))
	for _, secret := range weakSecrets() {
		repeated := []byte(strings.Repeat(secret, 1+64/len(secret)))
		padded := append([]byte(secret), make([]byte, max(0, 32-len(secret)))...)
		for _, form := range [][]byte{[]byte(secret), repeated, repeated[:32], padded, []byte(fmt.Sprintf("%x", repeated)), []byte(b64(repeated))} {
			assert.ErrorIs(t, load(form), keys.ErrInvalidFile, "%q", form)
		}
	}
	for _, secret := range [][]byte{random(1), random(16), random(31), make([]byte, 32), []byte(strings.Repeat("\xff", 32)), []byte(strings.Repeat("\x00\xff", 32)), []byte(strings.Repeat("\xde\xad\xbe\xef", 8)), random(2000)} {
		assert.ErrorIs(t, load(secret), keys.ErrInvalidFile, "%x", secret)
	}
}
