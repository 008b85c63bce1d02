package keyset_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

func TestStateAt(t *testing.T) {
	at := func(hours int) time.Time { return t0.Add(time.Duration(hours) * time.Hour) }
	life := keyset.Dates{Created: at(-1), PublishAt: at(1), SignFrom: at(2), SignUntil: at(3), VerifyUntil: at(4)}
	tests := []struct {
		name    string
		dates   keyset.Dates
		revoked bool
		now     time.Time
		want    keyset.State
	}{
		{"before publication", life, false, at(1).Add(-1), keyset.Staged},
		{"publication", life, false, at(1), keyset.Pending},
		{"before signing", life, false, at(2).Add(-1), keyset.Pending},
		{"signing", life, false, at(2), keyset.Active},
		{"before the end of signing", life, false, at(3).Add(-1), keyset.Active},
		{"end of signing", life, false, at(3), keyset.Retiring},
		{"before the end", life, false, at(4).Add(-1), keyset.Retiring},
		{"end", life, false, at(4), keyset.Expired},
		{"long after", life, false, at(100000), keyset.Expired},
		{"long before", life, false, time.Time{}, keyset.Staged},
		{"no dates", keyset.Dates{}, false, at(0), keyset.Active},
		{"no dates, no time", keyset.Dates{}, false, time.Time{}, keyset.Active},
		{"no end of signing", keyset.Dates{SignFrom: at(1)}, false, at(100000), keyset.Active},
		{"no publication", keyset.Dates{SignFrom: at(1)}, false, at(0), keyset.Pending},
		{"no end of verifying", keyset.Dates{SignUntil: at(1)}, false, at(100000), keyset.Retiring},
		{"never active", keyset.Dates{PublishAt: at(1), SignFrom: at(2), SignUntil: at(2), VerifyUntil: at(3)}, false, at(2), keyset.Retiring},
		{"creation says nothing", keyset.Dates{Created: at(5)}, false, at(0), keyset.Active},
		{"revoked before publication", life, true, at(0), keyset.Revoked},
		{"revoked when active", life, true, at(2), keyset.Revoked},
		{"revoked after the end", life, true, at(5), keyset.Revoked},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, keyset.StateAt(tt.dates, tt.revoked, tt.now))
		})
	}
}

// Whatever the dates, a key goes through its states in one direction.
func TestStatesOnlyAdvance(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var d keyset.Dates
		at := t0
		for _, date := range []*time.Time{&d.PublishAt, &d.SignFrom, &d.SignUntil, &d.VerifyUntil} {
			if at = at.Add(time.Duration(random.IntN(3)) * time.Hour); random.IntN(4) > 0 {
				*date = at
			}
		}
		last := keyset.Staged
		for now := t0.Add(-time.Hour); now.Before(t0.Add(12 * time.Hour)); now = now.Add(20 * time.Minute) {
			state := keyset.StateAt(d, false, now)
			require.GreaterOrEqual(t, state, last, "%+v at %v", d, now)
			last = state
		}
	}
}

func TestStateString(t *testing.T) {
	want := []string{"unknown", "staged", "pending", "active", "retiring", "expired", "revoked", "unknown"}
	for i, s := range want {
		require.Equal(t, s, keyset.State(i).String())
	}
}

// A key does not sign in its grace when it does not verify any more.
func TestGraceEnd(t *testing.T) {
	l := keyset.Life{Dates: keyset.Dates{SignUntil: at(3), VerifyUntil: at(5)}}
	require.Equal(t, at(4), l.GraceEnd(at(1).Sub(at(0))))
	require.Equal(t, at(5), l.GraceEnd(at(9).Sub(at(0))))
}
