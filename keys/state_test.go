package keys_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
)

func TestStateAt(t *testing.T) {
	at := func(hours int) time.Time { return t0.Add(time.Duration(hours) * time.Hour) }
	life := keys.Dates{Created: at(-1), PublishAt: at(1), SignFrom: at(2), SignUntil: at(3), VerifyUntil: at(4)}
	tests := []struct {
		name    string
		dates   keys.Dates
		revoked bool
		now     time.Time
		want    keys.State
	}{
		{"before publication", life, false, at(1).Add(-1), keys.Staged},
		{"publication", life, false, at(1), keys.Pending},
		{"before signing", life, false, at(2).Add(-1), keys.Pending},
		{"signing", life, false, at(2), keys.Active},
		{"before the end of signing", life, false, at(3).Add(-1), keys.Active},
		{"end of signing", life, false, at(3), keys.Retiring},
		{"before the end", life, false, at(4).Add(-1), keys.Retiring},
		{"end", life, false, at(4), keys.Expired},
		{"long after", life, false, at(100000), keys.Expired},
		{"long before", life, false, time.Time{}, keys.Staged},
		{"no dates", keys.Dates{}, false, at(0), keys.Active},
		{"no dates, no time", keys.Dates{}, false, time.Time{}, keys.Active},
		{"no end of signing", keys.Dates{SignFrom: at(1)}, false, at(100000), keys.Active},
		{"no publication", keys.Dates{SignFrom: at(1)}, false, at(0), keys.Pending},
		{"no end of verifying", keys.Dates{SignUntil: at(1)}, false, at(100000), keys.Retiring},
		{"never active", keys.Dates{PublishAt: at(1), SignFrom: at(2), SignUntil: at(2), VerifyUntil: at(3)}, false, at(2), keys.Retiring},
		{"creation says nothing", keys.Dates{Created: at(5)}, false, at(0), keys.Active},
		{"revoked before publication", life, true, at(0), keys.Revoked},
		{"revoked when active", life, true, at(2), keys.Revoked},
		{"revoked after the end", life, true, at(5), keys.Revoked},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, keys.StateAt(tt.dates, tt.revoked, tt.now))
		})
	}
}

// Whatever the dates, a key goes through its states in one direction.
func TestStatesOnlyAdvance(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var d keys.Dates
		at := t0
		for _, date := range []*time.Time{&d.PublishAt, &d.SignFrom, &d.SignUntil, &d.VerifyUntil} {
			if at = at.Add(time.Duration(random.IntN(3)) * time.Hour); random.IntN(4) > 0 {
				*date = at
			}
		}
		last := keys.Staged
		for now := t0.Add(-time.Hour); now.Before(t0.Add(12 * time.Hour)); now = now.Add(20 * time.Minute) {
			state := keys.StateAt(d, false, now)
			require.GreaterOrEqual(t, state, last, "%+v at %v", d, now)
			last = state
		}
	}
}

func TestStateString(t *testing.T) {
	want := []string{"unknown", "staged", "pending", "active", "retiring", "expired", "revoked", "unknown"}
	for i, s := range want {
		require.Equal(t, s, keys.State(i).String())
	}
}
