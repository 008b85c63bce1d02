package introspect_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/introspect"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// A line carries requests to a handler, without a network, and counts them.
type line struct {
	handler http.Handler
	asked   atomic.Int64
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	l.asked.Add(1)
	w := httptest.NewRecorder()
	l.handler.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// newClient is one of orders, whose requests h answers.
func newClient(
	t testing.TB, h http.Handler, change ...func(*introspect.ClientConfig),
) (*introspect.Client, *line) {
	l := &line{handler: h}
	c := introspect.ClientConfig{
		URL: "https://app.example/introspect", ID: "orders", Secret: ordersSecret, Transport: l,
	}
	for _, f := range change {
		f(&c)
	}
	client, err := introspect.NewClient(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client, l
}

// says answers each request with that.
func says(status int, kind, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

// Over TLS, with both sides as they are.
func TestClientAndHandler(t *testing.T) {
	for _, mode := range apptest.Modes() {
		d := newDesk(t, mode)
		server := httptest.NewTLSServer(d.handler)
		defer server.Close()
		client, err := introspect.NewClient(introspect.ClientConfig{
			URL: server.URL + "/introspect", ID: "orders", Secret: ordersSecret, MaxAge: -1,
			Transport: server.Client().Transport, Now: d.Now,
		})
		require.NoError(t, err)
		defer client.Close()
		credential := apptest.Begin(t, d.m, "alice")
		service := d.serviceToken(t, credential, "orders")

		caller, err := client.Introspect(t.Context(), service)
		require.NoError(t, err)
		require.Equal(t, []string{issuer, "alice"}, []string{caller.Issuer, caller.Subject})
		require.NotEmpty(t, caller.SessionID)
		require.WithinDuration(t, d.Now(), caller.AuthenticatedAt, 0)
		require.WithinDuration(t, d.Now().Add(introspect.AnswerFor), caller.ExpiresAt, 0)
		got, ok := token.CallerFrom(token.NewContext(t.Context(), caller))
		require.True(t, ok)
		require.Equal(t, "alice", got.Subject)

		_, err = client.Introspect(t.Context(), credential)
		require.ErrorIs(t, err, token.ErrWrongAudience, "the credential of a session is for the application")
		apptest.Visit(d.m, credential, logout)
		_, err = client.Introspect(t.Context(), service)
		require.ErrorIs(t, err, introspect.ErrInactive)

		gateway, err := introspect.NewClient(introspect.ClientConfig{
			URL: server.URL + "/introspect", ID: "stock", Secret: stockSecret, Audience: issuer,
			Transport: server.Client().Transport, Now: d.Now,
		})
		require.NoError(t, err)
		defer gateway.Close()
		caller, err = gateway.Introspect(t.Context(), apptest.Begin(t, d.m, "bob"))
		require.NoError(t, err)
		require.Equal(t, "bob", caller.Subject)
	}
}

// A good answer is used again for MaxAge, and never beyond its exp.
func TestClientKeepsGoodAnswers(t *testing.T) {
	for _, tt := range []struct {
		maxAge, exp, after time.Duration
		again              bool
	}{
		{0, time.Minute, 9 * time.Second, true},
		{0, time.Minute, 10 * time.Second, false},
		{0, 5 * time.Second, 4 * time.Second, true},
		{0, 5 * time.Second, 5 * time.Second, false},
		{30 * time.Second, time.Minute, 29 * time.Second, true},
		{30 * time.Second, time.Minute, 30 * time.Second, false},
		{time.Minute, 0, 59 * time.Second, true},
		{time.Minute, 0, 60 * time.Second, false},
		{-1, time.Minute, 0, false},
		{0, -time.Minute, 0, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			exp := ""
			if tt.exp != 0 {
				exp = fmt.Sprintf(`,"exp":%d`, time.Now().Add(tt.exp).Unix())
			}
			body := `{"active":true,"sub":"alice","aud":"orders","amr":["pwd"],"client_id":"shop"` + exp + `}`
			client, l := newClient(t, says(200, "application/json", body),
				func(c *introspect.ClientConfig) { c.MaxAge = tt.maxAge })
			first, err := client.Introspect(t.Context(), "x")
			require.NoError(t, err)
			require.Equal(t, []string{"pwd"}, first.AMR)
			first.Subject, first.AMR[0] = "changed", "otp"
			time.Sleep(tt.after) // of the test's own clock
			second, err := client.Introspect(t.Context(), "x")
			require.NoError(t, err)
			require.Equal(t, []string{"alice", "shop", "pwd"}, []string{second.Subject, second.ClientID, second.AMR[0]})
			require.EqualValues(t, map[bool]int{true: 1, false: 2}[tt.again], l.asked.Load(), "%+v", tt)
			_, err = client.Introspect(t.Context(), "y")
			require.NoError(t, err)
			require.EqualValues(t, map[bool]int{true: 2, false: 3}[tt.again], l.asked.Load(), "another token")
		})
	}
}

// Bad answers are never kept, and push no good one out.
func TestClientForgetsBadAnswers(t *testing.T) {
	d := newDesk(t, "stateless")
	client, l := newClient(t, d.handler, func(c *introspect.ClientConfig) { c.Now, c.MemoryBytes = d.Now, 4000 })
	good := d.serviceToken(t, apptest.Begin(t, d.m, "alice"), "orders")
	_, err := client.Introspect(t.Context(), good)
	require.NoError(t, err)
	for i := range 50 {
		_, err := client.Introspect(t.Context(), "invented"+fmt.Sprint(i%5))
		require.ErrorIs(t, err, introspect.ErrInactive)
	}
	_, err = client.Introspect(t.Context(), good)
	require.NoError(t, err)
	require.EqualValues(t, 51, l.asked.Load())
}

// However many answers there are, the memory is bounded.
func TestClientBoundsItsMemory(t *testing.T) {
	client, l := newClient(t, says(200, "application/json", `{"active":true,"sub":"alice","aud":"orders"}`),
		func(c *introspect.ClientConfig) { c.MemoryBytes = 20_000 })
	for i := range 200 {
		_, err := client.Introspect(t.Context(), fmt.Sprint(i))
		require.NoError(t, err)
	}
	_, err := client.Introspect(t.Context(), "199")
	require.NoError(t, err)
	require.EqualValues(t, 200, l.asked.Load(), "the newest is kept")
	_, err = client.Introspect(t.Context(), "0")
	require.NoError(t, err)
	require.EqualValues(t, 201, l.asked.Load(), "the oldest is not")
}

// Equal questions share a request. One who gives up takes nothing from the
// others.
func TestClientJoinsQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		client, l := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-open
			says(200, "application/json", `{"active":true,"sub":"alice","aud":"orders"}`).ServeHTTP(w, r)
		}), func(c *introspect.ClientConfig) { c.MaxAge = -1 })
		hasty, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			_, err := client.Introspect(hasty, "x")
			assert.ErrorIs(t, err, session.Unavailable)
			assert.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait()
		for range 20 {
			group.Go(func() {
				caller, err := client.Introspect(t.Context(), "x")
				assert.NoError(t, err)
				assert.Equal(t, "alice", caller.Subject)
			})
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(open)
		group.Wait()
		require.EqualValues(t, 1, l.asked.Load())
	})
}

// A stranger who invents tokens and hangs up leaves no requests behind.
func TestClientGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := atomic.Int64{}
		client, _ := newClient(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			under.Add(1)
			defer under.Add(-1)
			<-r.Context().Done()
		}))
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				_, err := client.Introspect(ctx, strconv.Itoa(i/2))
				assert.ErrorIs(t, err, session.Unavailable)
			})
		}
		synctest.Wait()
		require.EqualValues(t, 10, under.Load())
		cancel()
		group.Wait()
		synctest.Wait()
		require.Zero(t, under.Load())
	})
}

func TestClientTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := newClient(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		start := time.Now()
		_, err := client.Introspect(t.Context(), "x")
		require.ErrorIs(t, err, session.Unavailable)
		require.Equal(t, 5*time.Second, time.Since(start))
	})
}

// Close ends what is under way.
func TestClientClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := newClient(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		var group sync.WaitGroup
		group.Go(func() {
			_, err := client.Introspect(t.Context(), "x")
			assert.ErrorIs(t, err, session.Unavailable)
		})
		synctest.Wait()
		require.NoError(t, client.Close())
		group.Wait()
		_, err := client.Introspect(t.Context(), "x")
		require.ErrorIs(t, err, session.Unavailable)
		require.ErrorContains(t, err, "closed")
	})
}

// Each row is an endpoint's answer. A row without want lets the user in.
func TestReplies(t *testing.T) {
	const alice = `"active":true,"sub":"alice","aud":"orders"`
	for _, tt := range []struct {
		name, body string
		want       error
	}{
		{"good", `{` + alice + `}`, nil},
		{"a list of audiences", `{"active":true,"sub":"alice","aud":["stock","orders"]}`, nil},
		{"members that nobody needs", `{` + alice + `,"scope":"a b","cnf":{"x5t#S256":"x"},"username":null}`, nil},
		{"inactive", `{"active":false}`, introspect.ErrInactive},
		{"inactive, and a subject", `{"active":false,"sub":"alice","aud":"orders"}`, introspect.ErrInactive},
		{"for another", `{"active":true,"sub":"alice","aud":"stock"}`, token.ErrWrongAudience},
		{"for several others", `{"active":true,"sub":"alice","aud":["stock","Orders"]}`, token.ErrWrongAudience},
		{"for nobody", `{"active":true,"sub":"alice"}`, token.ErrWrongAudience},
		{"without a subject", `{"active":true,"aud":"orders"}`, session.Forged},
		{"an empty subject", `{"active":true,"aud":"orders","sub":""}`, session.Forged},
		{"active as a text", `{"active":"true","sub":"alice","aud":"orders"}`, session.Unavailable},
		{"active as a number", `{"active":1,"sub":"alice","aud":"orders"}`, session.Unavailable},
		{"no active", `{"sub":"alice","aud":"orders"}`, session.Unavailable},
		{"active twice", `{"active":false,` + alice + `}`, session.Unavailable},
		{"a subject that is a number", `{"active":true,"sub":7,"aud":"orders"}`, session.Unavailable},
		{"exp as a text", `{` + alice + `,"exp":"tomorrow"}`, session.Unavailable},
		{"a list", `[{` + alice + `}]`, session.Unavailable},
		{"nothing", ``, session.Unavailable},
		{"two answers", `{` + alice + `}{` + alice + `}`, session.Unavailable},
		{"HTML", `<html>`, session.Unavailable},
		{"too much", `{` + alice + `,"x":"` + strings.Repeat("x", 1<<20) + `"}`, session.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, _ := newClient(t, says(200, "application/json; charset=utf-8", tt.body))
			caller, err := client.Introspect(t.Context(), "x")
			if tt.want == nil {
				require.NoError(t, err)
				require.Equal(t, "alice", caller.Subject)
				return
			}
			require.ErrorIs(t, err, tt.want)
			require.Nil(t, caller)
			require.Equal(t, tt.want == session.Unavailable, session.ReasonOf(err) == session.Unavailable)
			require.NotContains(t, err.Error(), "alice")
		})
	}
	for status, kind := range map[int]string{201: "application/json", 204: "application/json", 401: "application/json",
		500: "application/json", 503: "application/json", 200: "text/html"} {
		client, l := newClient(t, says(status, kind, `{`+alice+`}`))
		for range 2 {
			_, err := client.Introspect(t.Context(), "x")
			require.ErrorIs(t, err, session.Unavailable, "%d", status)
		}
		require.EqualValues(t, 2, l.asked.Load(), "it is not kept")
	}
}

// The token and the secret go to the endpoint alone.
func TestClientSendsNothingElsewhere(t *testing.T) {
	const secretToken = "a-token-of-alice"
	for _, status := range []int{301, 302, 303, 307, 308} {
		var elsewhere atomic.Int64
		other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
		defer other.Close()
		server := httptest.NewServer(http.RedirectHandler(other.URL+"/?x="+secretToken, status))
		defer server.Close()
		client, err := introspect.NewClient(introspect.ClientConfig{URL: server.URL, ID: "orders", Secret: ordersSecret})
		require.NoError(t, err)
		defer client.Close()
		_, err = client.Introspect(t.Context(), secretToken)
		require.ErrorIs(t, err, session.Unavailable)
		require.Zero(t, elsewhere.Load())
		require.NotContains(t, err.Error(), secretToken)
		require.NotContains(t, err.Error(), ordersSecret[:16])
	}
}

// A request has what RFC 7662 and RFC 6749 ask for.
func TestClientRequest(t *testing.T) {
	client, l := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		assert.Equal(t, []string{"orders", url.QueryEscape(ordersSecret)}, []string{id, secret})
		assert.Equal(t, "POST /introspect", r.Method+" "+r.URL.RequestURI())
		assert.NoError(t, r.ParseForm())
		assert.Equal(t, url.Values{"token": {"a b+c/d=\r\n"}}, r.PostForm)
		says(200, "application/json", `{"active":false}`).ServeHTTP(w, r)
	}))
	_, err := client.Introspect(t.Context(), "a b+c/d=\r\n")
	require.ErrorIs(t, err, introspect.ErrInactive)
	for _, tooLong := range []string{"", strings.Repeat("x", 16385)} {
		_, err := client.Introspect(t.Context(), tooLong)
		require.ErrorIs(t, err, session.Malformed)
	}
	require.EqualValues(t, 1, l.asked.Load())
}

func TestNewClientReportsAllMistakes(t *testing.T) {
	_, err := introspect.NewClient(introspect.ClientConfig{
		MaxAge: 2 * time.Minute, Timeout: time.Hour, MemoryBytes: -1,
	})
	for _, want := range []string{"URL is required", "ID is required", "Secret is required", "MaxAge is 2m0s",
		"Timeout is 1h0m0s", "MemoryBytes is -1"} {
		require.ErrorContains(t, err, "introspect: ClientConfig."+want)
	}
	_, err = introspect.NewClient(introspect.ClientConfig{
		URL: "https://app.example", ID: "orders", Secret: ordersSecret + "\n",
	})
	require.ErrorContains(t, err, "introspect: ClientConfig.Secret begins or ends with white space")
	require.NotContains(t, err.Error(), ordersSecret)
	for in, want := range map[string]string{
		"http://app.example/introspect":   "must be https: whoever listens gets every token; InsecureAllowHTTP lifts this",
		"https://u:p@app.example":         "without user",
		"https://app.example/introspect#": "",
		"http://localhost:8080":           "",
		"ftp://app.example":               "must be https",
		"/introspect":                     "must be absolute",
	} {
		_, err := introspect.NewClient(introspect.ClientConfig{URL: in, ID: "orders", Secret: ordersSecret})
		if want == "" {
			require.NoError(t, err, in)
			continue
		}
		require.ErrorContains(t, err, want, in)
		require.NotContains(t, err.Error(), "u:p")
	}
	_, err = introspect.NewClient(introspect.ClientConfig{
		URL: "http://app.example", ID: "orders", Secret: ordersSecret, InsecureAllowHTTP: true,
	})
	require.NoError(t, err)
}
