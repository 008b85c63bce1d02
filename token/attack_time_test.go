package token_test

import (
	"crypto/elliptic"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

func TestAttackBoundaryOfTime(t *testing.T) {
	for i, lives := range []time.Duration{20 * time.Minute, 20 * time.Minute, time.Minute} {
		s := newSettings(t, keys.ES256, keys.Direct, "")[i]
		seen := s.good()
		require.NoError(t, s.open(seen))
		s.world.Advance(lives - time.Second)
		require.NoError(t, s.open(seen))
		require.NoError(t, s.open(s.withClaims(s.claims.with("sid", `"first sight"`).String())))
		s.world.Advance(time.Second)
		s.must0(t, []string{seen, s.withClaims(s.claims.with("sid", `"late"`).String())})
		s.world.Advance(-lives - 62*time.Second) // before it was made: the clock was wrong
		s.must0(t, []string{s.withClaims(s.claims.with("sid", `"early"`).String())})
	}
}

// A key that has ended ends its tokens, whatever their exp, remembered or not.
func TestAttackKeyNotAfter(t *testing.T) {
	for _, ends := range []string{"sign", "encrypt"} {
		w := newWorld(t)
		m := newMaterial(t, w.Now(), keys.ES256, keys.Direct)
		signs, _ := keyEntry(t, m.private, m.sig, m.sigKID, w.Now())
		seals, _ := keyEntry(t, m.secret, m.enc, m.encKID, w.Now())
		ending := map[string]map[string]any{"sign": signs, "encrypt": seals}[ends]
		ending["sign_until"], ending["verify_until"] = w.Now().Add(time.Minute).Unix(), w.Now().Add(10*time.Minute).Unix()
		s := newCookieSetting(t, w, "encrypted", writeKeys(t, signs, seals), newForge(t, m, w.Now(), false, true, ""))
		seen := s.good()
		require.NoError(t, s.open(seen))
		w.Advance(10*time.Minute - time.Second)
		require.NoError(t, s.open(seen))
		w.Advance(time.Second)
		s.must0(t, []string{seen, s.withClaims(s.claims.with("sid", `"late"`).String())})
	}
}

// Tokens that are remembered are refused as soon as their key is out of the
// ring, and signed ones as soon as tokens are encrypted and were when they were
// made.
func TestAttackRemembered(t *testing.T) {
	for _, s := range newSettings(t, keys.ES256, keys.Direct, "") {
		seen := s.good()
		require.NoError(t, s.open(seen))
		both := openRing(t, s.both).Set().Keys()
		if s.name == "signed" {
			require.NoError(t, s.ring.Replace(both...)) // the encryption key is older than the token
			s.refusal = s.send("AAAA..AAAA.AAAA.AAAA")
			s.must0(t, []string{seen, s.good()})
			continue
		}
		require.NoError(t, s.ring.Replace(apptest.NewRing(t, s.world.Now).Set().Keys()...))
		s.must0(t, []string{seen, s.good()})
	}
}

// The second form of an ECDSA signature is another text of the same token: it
// opens as long as that does, and no longer.
func TestAttackSecondSignature(t *testing.T) {
	settings := newSettings(t, keys.ES256, keys.Direct, "")
	both := make(map[*setting][]string)
	for _, s := range settings {
		first := s.jws(s.header.String(), s.claims.String())
		dot := strings.LastIndexByte(first, '.')
		signature := unb64(t, first[dot+1:])
		high := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(signature[32:]))
		second := first[:dot+1] + b64(slices.Concat(signature[:32], high.FillBytes(make([]byte, 32))))
		both[s] = []string{s.seal(first), s.seal(second)}
		for _, c := range both[s] {
			require.NoError(t, s.open(c))
		}
	}
	require.NoError(t, settings[0].world.list.EndSession(t.Context(), &session.Record{ID: attackID}))
	for _, s := range settings {
		s.must0(t, both[s])
	}
}

// A token that was good once is refused with the same bytes as one that nobody
// has made.
func TestAttackTokenErrorOracle(t *testing.T) {
	settings := newSettings(t, keys.ES256, keys.Direct, "")
	credentials := make(map[*setting][]string)
	for _, s := range settings {
		for _, claims := range []object{s.claims, s.claims.with("sid", `"of eve"`).with("sub", `"eve"`),
			s.claims.with("sid", `"renewed"`)} {
			credentials[s] = append(credentials[s], s.withClaims(claims.String()))
		}
		for _, c := range credentials[s] {
			require.NoError(t, s.open(c))
		}
		credentials[s] = append(credentials[s], slicesOf(outOfTime, psychic, relayed)(s.forge)...)
	}
	list := settings[0].world.list
	require.NoError(t, list.EndSession(t.Context(), &session.Record{ID: attackID}))
	require.NoError(t, list.EndSubject(t.Context(), "eve"))
	_, err := list.EndBelow(t.Context(), &session.Record{ID: "renewed", Generation: 1})
	require.NoError(t, err)
	for _, s := range settings {
		s.must0(t, credentials[s])
	}
}

// slicesOf is several attacks as one.
func slicesOf(attacks ...func(*forge) []string) func(*forge) []string {
	return func(f *forge) (all []string) {
		for _, attack := range attacks {
			all = append(all, attack(f)...)
		}
		return all
	}
}
