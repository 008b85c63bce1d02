package rotation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/keys/rotation"
)

// One run by a clock that is far ahead does harm: it erases, makes or prunes what is in force by every other clock. The
// next one by a clock that is right sees to it that some key signs, and then nothing is left to do.
func TestIfDueRecoversFromAClockThatWasAhead(t *testing.T) {
	shortGrace := with(func(p *keys.Policy) { p.Grace = p.Spread() })
	for name, p := range map[string]keys.Policy{"example": example(), "short grace": shortGrace, "default": {}} {
		for _, alg := range []keys.Algorithm{keys.EdDSA, keys.HS256} {
			for _, early := range []time.Duration{time.Minute, 30 * time.Minute, 25 * day} {
				for _, ahead := range []time.Duration{5 * time.Minute, 91*time.Minute + time.Second, 12 * time.Hour, 40 * day, 400 * day} {
					t.Run(fmt.Sprint(name, alg, early, ahead), func(t *testing.T) {
						d := openWith(t, p, alg, keys.Direct)
						now := month - early
						d.take(rotation.IfDue(), now+ahead).take(rotation.IfDue(), now+ahead)
						d.take(rotation.IfDue(), now+time.Minute)
						require.NotContains(t, d.signers(now+time.Minute), "error", "%v", d.lives())
						d.take(rotation.IfDue(), now+time.Minute)
						d.idle(rotation.IfDue(), now+time.Minute)
					})
				}
			}
		}
	}
}
