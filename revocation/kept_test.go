package revocation_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// A session is logged out on one instance while another one keeps it, and ends
// all others of its subject. However many sessions of the subject have ended
// before, the logout counts.
func TestLogoutWhileOthersEnd(t *testing.T) {
	for _, skew := range []time.Duration{0, 5 * time.Second} {
		for _, ends := range []int{0, 20} {
			synctest.Test(t, func(t *testing.T) {
				log := newMemoryLog()
				withSkew := func(c *revocation.Config) { c.Skew = skew }
				a, b := shared(t, log, withSkew), shared(t, log, withSkew)
				synctest.Wait()
				for i := range ends {
					require.NoError(t, a.EndSession(t.Context(), recordOf(fmt.Sprint(i), "alice")))
				}
				rec := recordOf("kept", "alice")
				time.Sleep(time.Second)
				require.NoError(t, a.EndSession(t.Context(), rec))
				require.NoError(t, b.EndSubject(t.Context(), "alice"))
				time.Sleep(time.Second)

				// What EndOthers makes of a session: it counts from after the end.
				kept := *rec
				kept.Generation++
				kept.Since = time.Now().Add(skew + time.Millisecond)
				require.ErrorIs(t, a.Check(&kept), session.Ended, "skew %v, %d ends", skew, ends)
				require.ErrorIs(t, b.Check(&kept), session.Ended, "skew %v, %d ends", skew, ends)
				require.NoError(t, a.Close())
				require.NoError(t, b.Close())
			})
		}
	}
}
