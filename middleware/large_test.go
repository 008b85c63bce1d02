package middleware_test

import (
	"context"
	"fmt"
	"net/http"
	"sort"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// From three quarters of its cookie on a session is reported, once, before its
// changes fail; where there is room for it elsewhere, it is not.
func TestNearlyFullIsReportedOnce(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			var seen []middleware.Event
			m := newWorld(t).Middleware(t, mode, func(c *middleware.Config) {
				c.OnEvent = func(_ context.Context, e middleware.Event) {
					if e.Kind == middleware.NearlyFull {
						seen = append(seen, e)
					}
				}
			})
			grow := func(credential string, n int) string {
				status, next := visit(m, credential, func(s *session.Session) {
					assert.NoError(t, session.Key[any]("large").Set(s, strings.Repeat("x", n)))
				})
				require.Equal(t, http.StatusOK, status)
				return next
			}
			credential := grow("", 1000)
			assert.Empty(t, seen)
			credential = grow(credential, 1600)
			figures := fmt.Sprintf("fills %d of the 4096 bytes that a cookie's name and value may have",
				len("__Host-session"+credential))
			for range 2 {
				credential = grow(credential, 1600)
			}
			if mode != "stateless" {
				assert.Empty(t, seen)
				return
			}
			require.Len(t, seen, 1)
			assert.NotEmpty(t, seen[0].SessionID)
			assert.ErrorContains(t, seen[0].Err, figures)
			assert.NotContains(t, seen[0].Err.Error(), "xxx")
			grow("", 1600)
			assert.Len(t, seen, 2, "another session")

			most := sort.Search(1600, func(n int) bool {
				seen = nil
				credential = grow("", n)
				return len(seen) > 0
			})
			credential = grow("", most)
			assert.InDelta(t, 3072, len("__Host-session")+len(credential), 4, "the name counts, too")
		})
	}
}
