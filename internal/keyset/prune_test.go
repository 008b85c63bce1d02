package keyset_test

import (
	"crypto"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// elsewhere is a private key as a KMS shows it.
type elsewhere struct{ crypto.Signer }

func TestEraseAndPruneByState(t *testing.T) {
	tests := []struct {
		hours        int
		state        string
		erase, prune bool
	}{
		{0, "staged", false, false}, {1, "pending", false, false}, {2, "active", false, false}, {3, "retiring", true, false}, {4, "expired", true, true},
	}
	for _, alg := range []keyset.Algorithm{keyset.ES256, keyset.EdDSA, keyset.HS256, keyset.Direct, keyset.A256KW,
		keyset.ECDHESA256KW} {
		for _, tt := range tests {
			k := generate(t, alg, full())
			s := newSet(t, k)
			require.Equal(t, tt.state, k.State(at(tt.hours)).String())
			err := s.Erase(k.ID(), at(tt.hours))
			require.Equal(t, tt.erase, err == nil, "%s %s: %v", alg, tt.state, err)
			if !tt.erase {
				require.EqualError(t, err, "keys: key "+k.ID()+" is "+tt.state+": its private half is needed")
			}
			erased := tt.erase && alg.Use() == keyset.Signature && !alg.Symmetric()
			require.Equal(t, !erased, s.Key(k.ID()) == k, "nothing to erase, nothing to write")
			require.Equal(t, !erased, s.Key(k.ID()).HasPrivate())
			require.Equal(t, full(), s.Key(k.ID()).Dates())

			err = s.Prune(k.ID(), at(tt.hours))
			require.Equal(t, tt.prune, err == nil, "%s %s: %v", alg, tt.state, err)
			if !tt.prune {
				require.EqualError(t, err, "keys: key "+k.ID()+" is "+tt.state+": only keys that have expired or were revoked "+
					"can be pruned")
				require.NotNil(t, s.Key(k.ID()))
				continue
			}
			require.Empty(t, s.Keys())
			require.Len(t, s.Pruned(), 1)
			require.NotContains(t, textOf(t, s), `"kty"`)
		}
	}
}

func TestEraseKeepsWhatVerifies(t *testing.T) {
	k := generate(t, keyset.ES256, full())
	signature, err := k.Sign("a.b")
	require.NoError(t, err)
	s := newSet(t, k)
	secret := member(t, fileJWK(t, k), "d")
	require.NoError(t, s.Erase(k.ID(), at(3)))
	require.NotContains(t, textOf(t, s), secret)
	require.NoError(t, s.Key(k.ID()).Verify("a.b", signature))
	_, err = s.Key(k.ID()).Sign("a.b")
	require.ErrorIs(t, err, keyset.ErrWrongKey)
	again := s.Key(k.ID())
	require.True(t, again.Erased())
	require.False(t, k.Erased())
	require.NoError(t, s.Erase(k.ID(), at(3)))
	require.Same(t, again, s.Key(k.ID()))
	require.True(t, k.HasPrivate(), "keys are immutable")
}

// The private half of such a key is not in the file: there is nothing to erase,
// again and again.
func TestEraseLeavesKeysElsewhereAlone(t *testing.T) {
	var signer elsewhere
	k := generate(t, keyset.EdDSA, full())
	require.NoError(t, exportPrivate(t, k, &signer.Signer))
	f := keyset.File{Path: filepath.Join(t.TempDir(), "keys.json"), Signers: []crypto.Signer{signer}}
	there, err := keyset.Import(keyset.EdDSA, signer, full())
	require.NoError(t, err)
	require.NoError(t, f.Create(t.Context(), newSet(t, there)))
	for range 2 {
		require.NoError(t, f.Update(t.Context(), func(s *keyset.Set) error { return s.Erase(there.ID(), at(3)) }))
	}
	s, err := f.Read()
	require.NoError(t, err)
	require.EqualValues(t, 1, s.Generation(), "nothing was written")
	require.True(t, s.Key(there.ID()).HasPrivate())
	require.False(t, s.Key(there.ID()).Erased())
}

// A signer that is missing is no fault of the file.
func TestReadRefusesNilSigners(t *testing.T) {
	f := rich(t, keyset.File{})
	f.Signers = []crypto.Signer{nil}
	s, err := f.Read()
	require.EqualError(t, err, "keys: signer number 1 is nil")
	require.Nil(t, s)
	require.NotErrorIs(t, err, keyset.ErrInvalidFile)
}

func TestPrunedKeysDoNotComeBack(t *testing.T) {
	k, other := generate(t, keyset.Direct, full()), generate(t, keyset.EdDSA, full())
	path := create(t, k, other)
	prune := func(s *keyset.Set) error { return s.Prune(k.ID(), at(4)) }
	require.NoError(t, keyset.File{Path: path}.Update(t.Context(), prune))
	s, err := keyset.File{Path: path}.Read()
	require.NoError(t, err)
	require.ErrorContains(t, s.Add(k), "the ID "+k.ID()+" is that of a key that was pruned; it can't come back")
	require.ErrorContains(t, s.Add(s.Pruned()[0]), "not a key")
	require.Equal(t, []string{other.ID()}, ids(s.Keys()))
	require.Equal(t, []string{k.ID()}, ids(s.Pruned()))
	require.Equal(t, full(), s.Pruned()[0].Dates())
	require.Equal(t, keyset.Direct, s.Pruned()[0].Algorithm())

	note := fmt.Sprintf(`{"kid":%q,"alg":"dir","use":"enc"}`, k.ID())
	entry := keyText(t, textOf(t, newSet(t, k)))
	tests := []struct{ name, in, want string }{
		{"a note", `{"generation":1,"keys":[],"pruned":[` + note + `]}`, ""},
		{"a key and its note", `{"generation":1,"keys":[` + entry + `],"pruned":[` + note + `]}`, "two keys have one ID"},
		{"a note and its key", `{"generation":1,"pruned":[` + note + `],"keys":[` + entry + `]}`, "can't come back"},
		{"two notes", `{"generation":1,"keys":[],"pruned":[` + note + `,` + note + `]}`, "pruned key number 2"},
		{"a note with a key in it", `{"generation":1,"keys":[],"pruned":[` + entry + `]}`, "a pruned key has no key in it"},
		{"no kid", `{"generation":1,"keys":[],"pruned":[{"alg":"dir","use":"enc"}]}`, "no kid"},
		{"no alg", `{"generation":1,"keys":[],"pruned":[{"kid":"x","use":"enc"}]}`, "alg is not known"},
		{"wrong use", `{"generation":1,"keys":[],"pruned":[{"kid":"x","alg":"dir","use":"sig"}]}`, `use is not "enc"`},
		{"dates out of order", `{"generation":1,"keys":[],"pruned":[{"kid":"x","alg":"dir","use":"enc","publish_at":9}]}`, "sign_from is before publish_at"},
		{"unknown member", `{"generation":1,"keys":[],"pruned":[{"kid":"x","alg":"dir","use":"enc","why":"x"}]}`, `member "why"`},
		{"not an array", `{"generation":1,"keys":[],"pruned":{}}`, "not a JSON array"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := keyset.ParseSet([]byte(tt.in))
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func ids(list []*keyset.Key) (all []string) {
	for _, k := range list {
		all = append(all, k.ID())
	}
	return all
}

// The notes are bounded, but since when tokens are encrypted is never
// forgotten.
func TestPrunedKeepsTheFirstSealer(t *testing.T) {
	encrypts := func(from, until int) *keyset.Key {
		return generate(t, keyset.Direct, keyset.Dates{SignFrom: at(from), SignUntil: at(until), VerifyUntil: at(until)})
	}
	signs := func() *keyset.Key {
		return generate(t, keyset.HS256, keyset.Dates{SignUntil: at(1), VerifyUntil: at(1)})
	}
	first, second, withdrawn := encrypts(10, 20), encrypts(15, 20), encrypts(1, 1)
	for name, order := range map[string][]*keyset.Key{
		"in order":                 {first, second, withdrawn},
		"a signature key before":   {signs(), first, second, withdrawn},
		"the later one first":      {second, first, withdrawn}, // revoked early, say
		"one that never encrypted": {withdrawn, second, first},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSet(t)
			last := ""
			for i := range 500 {
				k := signs()
				if i < len(order) {
					k = order[i]
				}
				last = k.ID()
				require.NoError(t, s.Add(k))
				require.NoError(t, s.Prune(k.ID(), at(20)))
			}
			require.NoError(t, s.Add(generate(t, keyset.EdDSA)))
			list := ids(s.Pruned())
			require.Len(t, list, 400)
			require.Contains(t, list, first.ID())
			require.NotContains(t, list, second.ID(), "the eldest are forgotten")
			require.NotContains(t, list, withdrawn.ID())
			require.Equal(t, last, list[399])
			f := keyset.File{Path: filepath.Join(t.TempDir(), "keys.json")}
			require.NoError(t, f.Create(t.Context(), s))
			r, err := keys.OpenRing(keys.RingConfig{File: keys.File(f)})
			require.NoError(t, err)
			defer r.Close()
			since, ever := (*keyset.Set)(r.Set()).UsedSince(keyset.Encryption, at(30))
			require.True(t, ever)
			require.Equal(t, at(10), since)
		})
	}
}
