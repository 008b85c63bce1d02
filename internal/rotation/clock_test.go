package rotation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// An emergency is an emergency, whatever a clock that was ahead has made; and
// what it has made can be got rid of one by one.
func TestRevokeAfterAClockThatWasAhead(t *testing.T) {
	ahead := func() *desk {
		d := open(t, keyset.ES256).take(rotation.IfDue(), 71*day) // in force: sig1, then sig2
		d.refuse(rotation.IfDue(), 40*day, "revoke all keys that were made then")
		return d
	}
	d := ahead()
	d.take(revoke(d, "sig1"), 10*day)
	require.Equal(t, "sig2 none", d.signers(10*day))
	d = ahead()
	for _, name := range []string{"sig3", "sig4"} {
		d.take(revoke(d, name), 10*day)
	}
	d.due(10*day, 100*day)
	require.NoError(t, errorsOf(d, 100*day))
	require.NotContains(t, d.signers(100*day), "error")
}

// One run by a clock that is far ahead does harm: it erases, makes or prunes
// what is in force by every other clock. The next one by a clock that is right
// sees to it that some key signs, and then nothing is left to do.
func TestIfDueRecoversFromAClockThatWasAhead(t *testing.T) {
	shortGrace := with(func(p *keyset.Policy) { p.Grace = p.Spread() + p.ReloadInterval })
	for name, p := range map[string]keyset.Policy{"example": example(), "short grace": shortGrace, "default": {}} {
		for _, alg := range []keyset.Algorithm{keyset.EdDSA, keyset.HS256} {
			for _, early := range []time.Duration{time.Minute, 30 * time.Minute, 25 * day} {
				for _, ahead := range []time.Duration{5 * time.Minute, 91*time.Minute + time.Second, 12 * time.Hour, 40 * day,
					400 * day} {
					t.Run(fmt.Sprint(name, alg, early, ahead), func(t *testing.T) {
						d := openWith(t, p, alg, keyset.Direct)
						now := month - early
						d.take(rotation.IfDue(), now+ahead).take(rotation.IfDue(), now+ahead)
						d.take(rotation.IfDue(), now+time.Minute)
						require.NotContains(t, d.signers(now+time.Minute), "error", "%v", d.lives())
						d.take(rotation.IfDue(), now+time.Minute)
						d.unchanged(rotation.IfDue(), now+time.Minute)
					})
				}
			}
		}
	}
}
