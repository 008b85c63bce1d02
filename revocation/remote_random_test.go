package revocation_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// Whatever happens, in whatever order, a service says of each session what the
// lists of the application say, an interval later.
func TestServicesAgreeWithTheLists(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { agree(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func agree(t *testing.T, random *rand.Rand) {
	log, ring := newMemoryLog(), newRing(t, keys.EdDSA)
	skew := time.Duration(random.IntN(2)) * 5 * time.Second
	var lists []*revocation.List
	to := &line{}
	for range 1 + random.IntN(3) {
		l := shared(t, log, func(c *revocation.Config) { c.Skew = skew })
		lists, to.to = append(lists, l), append(to.to, handler(t, l, ring))
	}
	synctest.Wait()
	r := remote(t, to, ring)
	synctest.Wait()
	var recs []*session.Record
	for step := range 80 {
		l := lists[random.IntN(len(lists))]
		subject := fmt.Sprint("subject ", random.IntN(5))
		rec, n := pick(random, recs), random.IntN(20)
		switch {
		case rec == nil, n < 8:
			rec = recordOf(fmt.Sprint("session ", step), subject)
			rec.Tags = []session.LoginTag{session.Tag("device", fmt.Sprint(random.IntN(5)))}
			if random.IntN(3) == 0 {
				recs = append(recs, rec) // as on an instance that has not heard of any end
			} else if rec, err := l.Admit(rec); err == nil {
				recs = append(recs, rec)
			}
		case n < 11:
			if ok, err := l.EndBelow(t.Context(), rec); ok {
				require.NoError(t, err)
				next := *rec
				next.Generation++
				recs = append(recs, &next)
			}
		case n < 14:
			require.NoError(t, l.EndSession(t.Context(), rec))
		case n < 15:
			require.NoError(t, l.EndSubject(t.Context(), subject))
		case n < 16:
			require.NoError(t, l.EndTag(t.Context(), "device", fmt.Sprint(random.IntN(5))))
		case n < 17 && random.IntN(4) == 0:
			require.NoError(t, l.EndAll(t.Context()))
		case n < 18:
			for i := range 100 { // so many that the list covers some by one end of the subject
				require.NoError(t, l.EndSession(t.Context(), recordOf(fmt.Sprint(step, " ", i), subject)))
			}
		default:
			time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
		}
		if random.IntN(5) > 0 {
			continue
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for _, rec := range recs {
			for _, l := range lists {
				require.Equal(t, l.Check(rec) == nil, r.Check(rec) == nil, "step %d, %s", step, rec.ID)
			}
		}
	}
	require.NoError(t, r.Fresh())
	require.Zero(t, r.Stats().Failures)
	for _, l := range lists {
		require.NoError(t, l.Close())
	}
}

func pick(random *rand.Rand, recs []*session.Record) *session.Record {
	if len(recs) == 0 {
		return nil
	}
	return recs[random.IntN(len(recs))]
}

// Ends, answers and checks at once.
func TestServicesConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ring := revocation.NewVolatile(revocation.Config{}), newRing(t, keys.EdDSA)
		h := handler(t, l, ring)
		var all []*revocation.Remote
		for range 3 {
			all = append(all, remote(t, &line{to: []http.Handler{h}}, ring, func(c *revocation.RemoteConfig) {
				c.Interval = minimal
			}))
		}
		synctest.Wait()
		for worker := range 4 {
			go func() {
				for i := range 200 {
					rec := recordOf(fmt.Sprint(worker, " ", i), "alice")
					if i%50 == 49 {
						_ = l.EndSubject(context.Background(), fmt.Sprint("subject ", worker))
					}
					_ = l.EndSession(context.Background(), rec)
					_, _ = all[i%3].Check(rec), all[i%3].Stats()
					time.Sleep(10 * time.Millisecond)
				}
			}()
		}
		time.Sleep(10 * time.Second)
		for _, r := range all {
			for worker := range 4 {
				for i := range 200 {
					require.ErrorIs(t, r.Check(recordOf(fmt.Sprint(worker, " ", i), "alice")), session.Ended)
				}
			}
			require.NoError(t, r.Close())
		}
	})
}

const minimal = 100 * time.Millisecond
