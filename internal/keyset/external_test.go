package keyset_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// A kms signs with a key that nobody sees, and misbehaves if it is told to.
type kms struct {
	crypto.Signer                     // the key
	public        crypto.PublicKey    // what it says that its public key is, if not the key's
	calls         atomic.Int64        // of Sign
	err           error               // what Sign answers
	answer        func([]byte) []byte // what becomes of a signature
	digest        []byte              // that Sign got last, if it is the only caller
	opts          crypto.SignerOpts
}

func (s *kms) Public() crypto.PublicKey {
	if s.public != nil || s.Signer == nil {
		return s.public
	}
	return s.Signer.Public()
}

func (s *kms) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if s.calls.Add(1) == 1 {
		s.digest, s.opts = bytes.Clone(digest), opts
	}
	if s.err != nil {
		return nil, s.err
	}
	signature, err := s.Signer.Sign(r, digest, opts)
	if err == nil && s.answer != nil {
		signature = s.answer(signature)
	}
	return signature, err
}

// newKMS returns a key whose private half is in a KMS.
func newKMS(t testing.TB, alg keyset.Algorithm) (*keyset.Key, *kms) {
	t.Helper()
	s := &kms{Signer: newPrivate(t, alg)}
	k, err := keyset.Import(alg, s, keyset.Dates{})
	require.NoError(t, err)
	return k, s
}

func TestExternalSign(t *testing.T) {
	digest := sha256.Sum256([]byte("a.b"))
	tests := []struct {
		alg    keyset.Algorithm
		digest []byte
		opts   crypto.SignerOpts
	}{
		{keyset.ES256, digest[:], crypto.SHA256},
		{keyset.EdDSA, []byte("a.b"), crypto.Hash(0)},
		{keyset.PS256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}},
		{keyset.RS256, digest[:], crypto.SHA256},
	}
	for _, tt := range tests {
		t.Run(string(tt.alg), func(t *testing.T) {
			k, s := newKMS(t, tt.alg)
			require.True(t, k.HasPrivate())
			require.Zero(t, s.calls.Load(), "a signature costs money")
			signature, err := k.Sign("a.b")
			require.NoError(t, err)
			require.Equal(t, tt.digest, s.digest)
			require.Equal(t, tt.opts, s.opts)
			require.Len(t, signature, k.SignatureLength())
			require.NoError(t, k.Verify("a.b", signature))
			require.EqualValues(t, 1, s.calls.Load())

			public, err := keyset.Import(tt.alg, s.Public(), keyset.Dates{})
			require.NoError(t, err)
			require.Equal(t, public.ID(), k.ID())
			require.NoError(t, public.Verify("a.b", signature), "those who have the public key alone")
			require.EqualValues(t, 1, s.calls.Load(), "Verify needs no KMS")
		})
	}
}

// A KMS that hashes itself gets the message.
type messageKMS struct{ *kms }

func (s messageKMS) SignMessage(r io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if string(message) != "a.b" {
		return nil, errors.New("not the message")
	}
	if opts.HashFunc() == crypto.SHA256 {
		digest := sha256.Sum256(message)
		message = digest[:]
	}
	return s.Signer.Sign(r, message, opts)
}

func TestExternalMessageSigner(t *testing.T) {
	for _, alg := range external {
		s := messageKMS{&kms{Signer: newPrivate(t, alg)}}
		k, err := keyset.Import(alg, s, keyset.Dates{})
		require.NoError(t, err)
		works(t, k)
		require.Zero(t, s.calls.Load(), "not Sign")
	}
}

// Whatever a KMS answers, no wrong signature gets out.
func TestExternalRefusesAnswers(t *testing.T) {
	edit := func(from int, b ...byte) func([]byte) []byte {
		return func(s []byte) []byte { return append(bytes.Clone(s[:from]), b...) }
	}
	for _, alg := range external {
		other, again := newPrivate(t, alg), newECDSA(t, elliptic.P384())
		if alg == keyset.PS256 || alg == keyset.RS256 {
			private, err := rsa.GenerateKey(rand.Reader, 2048)
			require.NoError(t, err)
			other = private
		}
		tests := []struct {
			name   string
			answer func([]byte) []byte
		}{
			{"nil", func([]byte) []byte { return nil }},
			{"empty", edit(0)},
			{"garbage", func([]byte) []byte { return random(64) }},
			{"as long as it should be", func(s []byte) []byte { return make([]byte, len(s)) }},
			{"one bit", func(s []byte) []byte { s[len(s)-1] ^= 1; return s }},
			{"byte at the end", func(s []byte) []byte { return append(s, 0) }},
			{"byte missing", func(s []byte) []byte { return s[:len(s)-1] }},
			{"byte before", func(s []byte) []byte { return append([]byte{0}, s...) }},
			{"huge", func(s []byte) []byte { return append(s, make([]byte, 1<<20)...) }},
			{"another key's", func([]byte) []byte { return answerOf(t, other, alg, "a.b") }},
			{"another curve's", func([]byte) []byte { return answerOf(t, again, keyset.ES256, "a.b") }},
			{"another message's", nil},
		}
		for _, tt := range tests {
			t.Run(string(alg)+" "+tt.name, func(t *testing.T) {
				k, s := newKMS(t, alg)
				s.answer = tt.answer
				if s.answer == nil {
					s.answer = func([]byte) []byte { return answerOf(t, s.Signer, alg, "a.c") }
				}
				signature, err := k.Sign("a.b")
				require.ErrorContains(t, err, "keys: sign with key "+k.ID()+": the signer's answer ")
				require.NotErrorIs(t, err, keyset.ErrForged, "no token is at fault")
				require.Nil(t, signature)
			})
		}
	}
}

// answerOf is what a good KMS answers.
func answerOf(t testing.TB, s crypto.Signer, alg keyset.Algorithm, message string) []byte {
	t.Helper()
	opts := map[keyset.Algorithm]crypto.SignerOpts{keyset.EdDSA: crypto.Hash(0),
		keyset.PS256: &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}}[alg]
	if opts == nil {
		opts = crypto.SHA256
	}
	signature, err := crypto.SignMessage(s, rand.Reader, []byte(message), opts)
	require.NoError(t, err)
	return signature
}

// A KMS that signs with another algorithm than the key's: the key is the same,
// the signature is not.
func TestExternalRefusesOtherRSAPadding(t *testing.T) {
	for _, alg := range []keyset.Algorithm{keyset.PS256, keyset.RS256} {
		k, s := newKMS(t, alg)
		wrong := map[keyset.Algorithm]keyset.Algorithm{keyset.PS256: keyset.RS256, keyset.RS256: keyset.PS256}[alg]
		s.answer = func([]byte) []byte { return answerOf(t, s.Signer, wrong, "a.b") }
		_, err := k.Sign("a.b")
		require.ErrorContains(t, err, "does not verify")
	}
	k, s := newKMS(t, keyset.PS256)
	s.answer = func([]byte) []byte {
		digest := sha256.Sum256([]byte("a.b"))
		signature, err := rsa.SignPSS(rand.Reader, s.Signer.(*rsa.PrivateKey), crypto.SHA256, digest[:],
			&rsa.PSSOptions{SaltLength: 20})
		require.NoError(t, err)
		return signature
	}
	_, err := k.Sign("a.b")
	require.ErrorContains(t, err, "does not verify", "RFC 7518, Section 3.5: the salt has the size of the hash")
}

// RFC 7518, Section 3.4, has one spelling of r and s; so has DER.
func TestExternalECDSANumbers(t *testing.T) {
	k, s := newKMS(t, keyset.ES256)
	n := elliptic.P256().Params().N
	one, zero := big.NewInt(1), new(big.Int)
	type pair struct{ R, S *big.Int }
	good := func(der []byte) (p pair) {
		rest, err := asn1.Unmarshal(der, &p)
		require.NoError(t, err)
		require.Empty(t, rest)
		return p
	}
	encode := func(v any) []byte {
		der, err := asn1.Marshal(v)
		require.NoError(t, err)
		return der
	}
	const notDER, notGood = "not an ECDSA signature on P-256", "does not verify"
	tests := []struct {
		name, want string
		answer     func(p pair) []byte
	}{
		{"the answer itself", "", func(p pair) []byte { return encode(p) }},
		{"the second form", "", func(p pair) []byte { return encode(pair{p.R, new(big.Int).Sub(n, p.S)}) }},
		{"r zero", notDER, func(p pair) []byte { return encode(pair{zero, p.S}) }},
		{"s zero", notDER, func(p pair) []byte { return encode(pair{p.R, zero}) }},
		{"r negative", notDER, func(p pair) []byte { return encode(pair{new(big.Int).Neg(p.R), p.S}) }},
		{"s negative", notDER, func(p pair) []byte { return encode(pair{p.R, new(big.Int).Neg(p.S)}) }},
		{"r is n", notDER, func(p pair) []byte { return encode(pair{n, p.S}) }},
		{"s is n", notDER, func(p pair) []byte { return encode(pair{p.R, n}) }},
		{"r over n", notDER, func(p pair) []byte { return encode(pair{new(big.Int).Add(p.R, n), p.S}) }},
		{"s over n", notDER, func(p pair) []byte { return encode(pair{p.R, new(big.Int).Add(p.S, n)}) }},
		{"r of 4096 bits", notDER, func(p pair) []byte { return encode(pair{new(big.Int).Lsh(one, 4096), p.S}) }},
		{"exchanged", notGood, func(p pair) []byte { return encode(pair{p.S, p.R}) }},
		{"one and one", notGood, func(pair) []byte { return encode(pair{one, one}) }},
		{"n-1", notGood, func(p pair) []byte { return encode(pair{new(big.Int).Sub(n, one), p.S}) }},
		{"already raw", notDER, func(p pair) []byte {
			return append(p.R.FillBytes(make([]byte, 32)), p.S.FillBytes(make([]byte, 32))...)
		}},
		{"three numbers", notDER, func(p pair) []byte { return encode(struct{ R, S, T *big.Int }{p.R, p.S, one}) }},
		{"one number", notDER, func(p pair) []byte { return encode(struct{ R *big.Int }{p.R}) }},
		{"a set", notDER, func(p pair) []byte { der := encode(p); der[0] = 0x31; return der }},
		{"bytes after it", notDER, func(p pair) []byte { return append(encode(p), 5, 0) }},
		{"long form of the length", notDER, func(p pair) []byte {
			der := encode(p)
			return append([]byte{der[0], 0x81, der[1]}, der[2:]...)
		}},
		{"indefinite length", notDER, func(p pair) []byte { der := encode(p); der[1] = 0x80; return append(der, 0, 0) }},
		{"leading zero", notDER, func(p pair) []byte {
			r, s := append([]byte{0, 0}, p.R.Bytes()...), encode(p.S)
			body := append(append([]byte{2, byte(len(r))}, r...), s...)
			return append([]byte{0x30, byte(len(body))}, body...)
		}},
		{"sequence without end", notDER, func(p pair) []byte { return encode(p)[:1] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.answer = func(der []byte) []byte { return tt.answer(good(der)) }
			signature, err := k.Sign("a.b")
			if tt.want == "" {
				require.NoError(t, err)
				require.NoError(t, k.Verify("a.b", signature))
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.Nil(t, signature)
		})
	}
}

// Small r and s keep their leading zeros. Each has one in 256 signatures.
func TestExternalECDSALeadingZeros(t *testing.T) {
	k, _ := newKMS(t, keyset.ES256)
	for i := range 5000 {
		signature, err := k.Sign(fmt.Sprint(i))
		require.NoError(t, err)
		require.Len(t, signature, 64)
		if signature[0] == 0 || signature[32] == 0 {
			return
		}
	}
	t.Fatal("no number began with a zero")
}

// Errors of the KMS can be told apart by the caller: none of them says that a
// token is bad.
func TestExternalError(t *testing.T) {
	for _, alg := range external {
		k, s := newKMS(t, alg)
		s.err = fmt.Errorf("the KMS is away: %w", context.DeadlineExceeded)
		signature, err := k.Sign("a.b")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "keys: sign with key "+k.ID()+": the signer failed: the KMS is away: context deadline "+
			"exceeded")
		require.Nil(t, signature)
		s.err = nil
		works(t, k)
	}
}

// Whoever brings the signer sees its panic: it is not ours to hide.
func TestExternalPanic(t *testing.T) {
	k, s := newKMS(t, keyset.ES256)
	s.answer = func([]byte) []byte { panic("a bug of the KMS") }
	require.PanicsWithValue(t, "a bug of the KMS", func() { _, _ = k.Sign("a.b") })
}

func TestExternalConcurrently(t *testing.T) {
	const workers, each = 8, 20
	k, s := newKMS(t, keyset.ES256)
	ring := newRing(t, k)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range each {
				signer, err := ring.Current(keys.Signature, t0)
				if err != nil {
					t.Error(err)
					return
				}
				input := fmt.Sprintf("%d.%d", w, i)
				signature, err := (*keyset.Key)(signer).Sign(input)
				if err == nil {
					err = (*keyset.Key)(signer).Verify(input, signature)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	require.EqualValues(t, workers*each, s.calls.Load())
}

// A signer may hold anything, so nothing may write it down.
func TestExternalIsNeverWritten(t *testing.T) {
	for _, alg := range external {
		t.Run(string(alg), func(t *testing.T) {
			k, s := newKMS(t, alg)
			public, err := keyset.Import(alg, s.Public(), keyset.Dates{})
			require.NoError(t, err)
			require.Equal(t, fileText(t, public), fileText(t, k), "the public half alone")
			for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
				require.Equal(t, fmt.Sprintf("keys.Key(%s %s)", alg, k.ID()), fmt.Sprintf(format, k))
			}
			text, err := json.Marshal([]any{k})
			require.NoError(t, err)
			require.Equal(t, "[{}]", string(text))
			require.Zero(t, s.calls.Load())
		})
	}
}

// The standard library's keys are signers too; theirs is the usual way.
func TestAttach(t *testing.T) {
	for _, alg := range external {
		t.Run(string(alg), func(t *testing.T) {
			whole, s := newKMS(t, alg)
			dates := keyset.Dates{SignFrom: t0}
			k, err := keyset.Import(alg, s.Public(), dates)
			require.NoError(t, err)
			others := []crypto.Signer{&kms{Signer: newECDSA(t, elliptic.P256())}, &kms{Signer: newECDSA(t, elliptic.P384())},
				&kms{Signer: newEd25519(t)}, &kms{}, &kms{public: (*rsa.PublicKey)(nil)}, &kms{public: &ecdsa.PublicKey{}},
				&kms{public: ed25519.PublicKey{}}}

			same, err := keyset.Attach(k, others)
			require.NoError(t, err)
			require.Same(t, k, same, "none fits")

			attached, err := keyset.Attach(k, append(others, s))
			require.NoError(t, err)
			require.False(t, k.HasPrivate(), "a key does not change")
			require.True(t, attached.HasPrivate())
			require.Equal(t, whole.ID(), attached.ID())
			require.Equal(t, dates, attached.Dates())
			works(t, attached)
			require.EqualValues(t, 1, s.calls.Load())

			again, err := keyset.Attach(attached, []crypto.Signer{&kms{Signer: s.Signer}})
			require.NoError(t, err)
			require.Same(t, attached, again, "it has one already")

			local, err := keyset.Attach(k, []crypto.Signer{s.Signer})
			require.NoError(t, err)
			works(t, local)
			require.True(t, local.External(), "whatever the signer's type")
			require.Equal(t, fileText(t, k), fileText(t, local))
		})
	}
}

func TestAttachLeavesOtherKeysAlone(t *testing.T) {
	private := newECDSA(t, elliptic.P256())
	signers := []crypto.Signer{&kms{Signer: private}}
	sealer, err := keyset.Import(keyset.ECDHESA256KW, private, keyset.Dates{})
	require.NoError(t, err)
	ring := newRing(t, sealer)
	for _, k := range []*keyset.Key{sealer, (*keyset.Key)(ring.Set().Keys()[0]), one(t, keyset.HS256),
		one(t, keyset.Direct), one(t, keyset.ES256)} {
		same, err := keyset.Attach(k, signers)
		require.NoError(t, err)
		require.Same(t, k, same)
	}
}

func TestAttachRefusesNil(t *testing.T) {
	k := one(t, keyset.HS256)
	for _, s := range []crypto.Signer{nil, (*kms)(nil)} {
		_, err := keyset.Attach(k, []crypto.Signer{&kms{Signer: newEd25519(t)}, s})
		require.EqualError(t, err, "keys: signer number 2 is nil")
	}
}
