package introspect_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/introspect"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// TestAnswers has the whole answer about each kind of credential, in each mode.
func TestAnswers(t *testing.T) {
	for _, mode := range apptest.Modes() {
		d := newDesk(t, mode)
		_, credential := apptest.Visit(d.m, "", func(s *session.Session) {
			require.NoError(t, s.Login("alice", session.AMR("pwd", "otp")))
		})
		service := d.serviceToken(t, credential, "orders")
		made := float64(d.Now().Unix())
		d.Advance(30 * time.Second)
		writes := d.store.Writes.Load()

		about := d.ask(t, credential)
		sid := about["sid"]
		require.NotEmpty(t, sid)
		require.Equal(t, map[string]any{
			"active": true, "iss": issuer, "aud": issuer, "sub": "alice", "client_id": issuer, "sid": sid,
			"auth_time": made, "amr": []any{"pwd", "otp"}, "iat": made, "exp": made + 30 + 15,
		}, about, mode)

		about = d.ask(t, service)
		require.InDelta(t, made, about["iat"], 5)
		delete(about, "iat")
		require.Equal(t, map[string]any{
			"active": true, "iss": issuer, "aud": "orders", "sub": "alice", "client_id": issuer, "sid": sid,
			"auth_time": made, "amr": []any{"pwd", "otp"}, "exp": made + 30 + 15, "token_type": "Bearer",
		}, about, mode)
		require.Equal(t, writes, d.store.Writes.Load())
		require.Empty(t, d.refused)
	}
}

// Each row is a credential about which nothing is said, in any mode.
func TestInactive(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, d *desk) string
	}{
		{"nobody is logged in", func(t *testing.T, d *desk) string { return apptest.Begin(t, d.m, "") }},
		{"logged out", func(t *testing.T, d *desk) string {
			c := apptest.Begin(t, d.m, "alice")
			apptest.Visit(d.m, c, logout)
			return c
		}},
		{"renewed", func(t *testing.T, d *desk) string {
			c := apptest.Begin(t, d.m, "alice")
			apptest.Visit(d.m, c, func(s *session.Session) { _ = s.Renew() })
			return c
		}},
		{"ended with the subject's others", func(t *testing.T, d *desk) string {
			c := apptest.Begin(t, d.m, "alice")
			d.Advance(time.Second)
			require.NoError(t, d.List.EndSubject(t.Context(), "alice"))
			return c
		}},
		{"idle for too long", func(t *testing.T, d *desk) string {
			c := apptest.Begin(t, d.m, "alice")
			d.Advance(20 * time.Minute)
			return c
		}},
		{"a service token of a subject whose sessions were ended", func(t *testing.T, d *desk) string {
			c := d.serviceToken(t, apptest.Begin(t, d.m, "alice"), "orders")
			d.Advance(time.Second)
			require.NoError(t, d.List.EndSubject(t.Context(), "alice"))
			return c
		}},
		{"a service token that has expired within the leeway", func(t *testing.T, d *desk) string {
			c := d.serviceToken(t, apptest.Begin(t, d.m, "alice"), "orders")
			d.Advance(61 * time.Second)
			return c
		}},
		{"a service token for another client", func(t *testing.T, d *desk) string {
			return d.serviceToken(t, apptest.Begin(t, d.m, "alice"), "https://stock.example")
		}},
		{"a service token for nobody's client", func(t *testing.T, d *desk) string {
			return d.serviceToken(t, apptest.Begin(t, d.m, "alice"), "billing")
		}},
		{"a service token with another signature", func(t *testing.T, d *desk) string {
			c := d.serviceToken(t, apptest.Begin(t, d.m, "alice"), "orders")
			return c[:len(c)-4] + "AAAA"
		}},
		{"a token of other keys", func(t *testing.T, d *desk) string {
			other := newDesk(t, "stateless")
			return other.serviceToken(t, apptest.Begin(t, other.m, "alice"), "orders")
		}},
		{"a session token of other keys", func(t *testing.T, d *desk) string {
			other := newDesk(t, "stateless")
			return apptest.Begin(t, other.m, "alice")
		}},
		{"an unknown credential", func(*testing.T, *desk) string { return apptest.UnknownID() }},
		{"a session's ID", func(t *testing.T, d *desk) (id string) {
			apptest.Visit(d.m, apptest.Begin(t, d.m, "alice"), func(s *session.Session) { id = s.ID() })
			return id
		}},
		{"two credentials", func(t *testing.T, d *desk) string {
			c := apptest.Begin(t, d.m, "alice")
			return c + " " + c
		}},
		{"a space before it", func(t *testing.T, d *desk) string { return " " + apptest.Begin(t, d.m, "alice") }},
		{"a line end behind it", func(t *testing.T, d *desk) string { return apptest.Begin(t, d.m, "alice") + "\n" }},
		{"alg none", func(*testing.T, *desk) string {
			return apptest.B64([]byte(`{"alg":"none","typ":"at+jwt","kid":"x"}`)) + "." + apptest.B64([]byte(`{}`)) + "."
		}},
		{"a header to inject", func(*testing.T, *desk) string { return "x\r\nSet-Cookie: a=b" }},
		{"not UTF-8", func(*testing.T, *desk) string { return "\xff\xfe" }},
		{"as long as may be", func(*testing.T, *desk) string { return strings.Repeat("a.", 30_000) }},
	} {
		for _, mode := range apptest.Modes() {
			t.Run(tt.name+", "+mode, func(t *testing.T) {
				d := newDesk(t, mode)
				credential := tt.make(t, d)
				writes := d.store.Writes.Load()
				d.refused = nil
				w := httptest.NewRecorder()
				d.handler.ServeHTTP(w, request("orders", ordersSecret, credential))
				require.Equal(t, http.StatusOK, w.Code)
				require.Equal(t, `{"active":false}`, w.Body.String())
				require.Equal(t, http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"},
					"X-Content-Type-Options": {"nosniff"}}, w.Header(), "all are alike")
				require.Equal(t, writes, d.store.Writes.Load(), "and nothing has changed")
				require.Len(t, d.refused, 1)
				require.ErrorContains(t, d.refused[0], `introspect: inactive for client "orders"`)
				require.NotEqual(t, session.Unavailable, session.ReasonOf(d.refused[0]))
				if len(credential) > 4 {
					require.NotContains(t, d.refused[0].Error(), credential)
				}
			})
		}
	}
}

// A logout is seen by the next question, and so is that of a session which has
// moved to the other form meanwhile.
func TestLogoutIsSeenAtOnce(t *testing.T) {
	for _, mode := range apptest.Modes() {
		d := newDesk(t, mode)
		old := apptest.Begin(t, d.m, "alice")
		_, credential := apptest.Visit(d.m, old, func(s *session.Session) {
			_ = session.Key[string]("big").Set(s, strings.Repeat("x", 4000))
		})
		service := d.serviceToken(t, credential, "orders")
		for _, c := range []string{old, credential, service} {
			require.Equal(t, true, d.ask(t, c)["active"], mode)
		}
		apptest.Visit(d.m, credential, logout)
		for _, c := range []string{old, credential, service} {
			require.Equal(t, inactive(), d.ask(t, c), mode)
		}
	}
}

// Asking is no activity: the session ends as if nobody had asked, and no answer
// is good beyond its end.
func TestAskingIsNoActivity(t *testing.T) {
	for _, mode := range apptest.Modes() {
		d := newDesk(t, mode)
		credential := apptest.Begin(t, d.m, "alice")
		end, writes := d.Now().Add(20*time.Minute), d.store.Writes.Load()
		for d.Now().Before(end) {
			exp := min(d.Now().Add(introspect.AnswerFor).Unix(), end.Unix())
			require.EqualValues(t, exp, d.ask(t, credential)["exp"], mode)
			d.Advance(10 * time.Second)
		}
		require.Equal(t, inactive(), d.ask(t, credential), mode)
		require.Equal(t, writes, d.store.Writes.Load())
		require.Empty(t, apptest.SubjectOf(d.m, credential))
	}
}

// A service token is good until its own exp, for its own audience.
func TestServiceTokens(t *testing.T) {
	d := newDesk(t, "stateless")
	credential := apptest.Begin(t, d.m, "alice")
	text := d.serviceToken(t, credential, "https://stock.example")
	end := d.Now().Add(time.Minute)
	d.Advance(50 * time.Second)
	about := d.answer(t, request("stock", stockSecret, text))
	require.Equal(t, "https://stock.example", about["aud"])
	require.EqualValues(t, end.Unix(), about["exp"])
	require.Equal(t, inactive(), d.ask(t, text))
	require.Equal(t, inactive(), d.answer(t, request("stock", stockSecret, d.serviceToken(t, credential, "stock"))),
		"stock has another audience than its ID")
}

// Without keys there are no service tokens.
func TestWithoutKeys(t *testing.T) {
	d := newDesk(t, "opaque", func(c *introspect.HandlerConfig) { c.Keys, c.Revocations = nil, nil })
	credential := apptest.Begin(t, d.m, "alice")
	require.Equal(t, true, d.ask(t, credential)["active"])
	require.Equal(t, inactive(), d.ask(t, d.serviceToken(t, credential, "orders")))
}

// What the store or the list can't tell is neither yes nor no.
func TestOutOfReach(t *testing.T) {
	for _, mode := range apptest.Modes() {
		d := newDesk(t, mode)
		credential := apptest.Begin(t, d.m, "alice")
		service := d.serviceToken(t, credential, "orders")
		d.store.Down.Store(true)
		d.list.stale.Store(true)
		want := map[string]int{service: 503, apptest.UnknownID(): 503, "garbage": 200, credential: 200}
		if mode == "opaque" {
			want[credential] = 503
		}
		for c, status := range want {
			w := httptest.NewRecorder()
			d.handler.ServeHTTP(w, request("orders", ordersSecret, c))
			require.Equal(t, status, w.Code, mode)
			if status == 503 {
				require.Equal(t, `{"error":"temporarily_unavailable"}`, w.Body.String())
				require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			}
		}
		require.NotEmpty(t, d.refused)
		require.Equal(t, http.StatusServiceUnavailable, newStatus(new(introspect.Handler), credential))
	}
}

func newStatus(h http.Handler, credential string) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("orders", ordersSecret, credential))
	return w.Code
}

// TestRequests has what a request may look like, with a good credential. The
// placeholders are TOKEN, and SECRET for that of orders.
func TestRequests(t *testing.T) {
	const formType = "application/x-www-form-urlencoded"
	d := newDesk(t, "auto")
	credential := apptest.Begin(t, d.m, "alice")
	fill := strings.NewReplacer("TOKEN", url.QueryEscape(credential), "SECRET", url.QueryEscape(ordersSecret)).Replace
	good := func(r *http.Request) {}
	for _, tt := range []struct {
		name, path, kind, body string
		change                 func(*http.Request)
		status                 int
		err                    string
	}{
		{"good", "", formType, "token=TOKEN", good, 200, ""},
		{"with a hint", "", formType, "token=TOKEN&token_type_hint=access_token", good, 200, ""},
		{"with a hint that nobody knows", "", formType, "token=TOKEN&token_type_hint=pct", good, 200, ""},
		{"with a parameter that nobody knows", "", formType, "token=TOKEN&x=1&x=2", good, 200, ""},
		{"with a charset", "", formType + "; charset=UTF-8", "token=TOKEN", good, 200, ""},
		{"the client repeats itself", "", formType, "token=TOKEN&client_id=orders&client_secret=SECRET", good, 200, ""},
		{"the endpoint has a query of its own", "?tenant=1", formType, "token=TOKEN", good, 200, ""},
		{"the old secret", "", formType, "token=TOKEN", func(r *http.Request) { r.SetBasicAuth("orders", oldSecret) }, 200, ""},
		{"the secret encoded", "", formType, "token=TOKEN", func(r *http.Request) {
			r.SetBasicAuth("orders", url.QueryEscape(ordersSecret))
		}, 200, ""},

		{"GET", "?token=TOKEN", "", "", func(r *http.Request) { r.Method = "GET" }, 405, "invalid_request"},
		{"HEAD", "", formType, "token=TOKEN", func(r *http.Request) { r.Method = "HEAD" }, 405, "invalid_request"},
		{"PUT", "", formType, "token=TOKEN", func(r *http.Request) { r.Method = "PUT" }, 405, "invalid_request"},

		{"nobody", "", formType, "token=TOKEN", func(r *http.Request) { r.Header.Del("Authorization") }, 401, "invalid_client"},
		{"nobody, and the request is bad", "", "text/plain", "", func(r *http.Request) { r.Header.Del("Authorization") },
			401, "invalid_client"},
		{"only in the form", "", formType, "token=TOKEN&client_id=orders&client_secret=SECRET",
			func(r *http.Request) { r.Header.Del("Authorization") }, 401, "invalid_client"},
		{"another's secret", "", formType, "token=TOKEN", func(r *http.Request) { r.SetBasicAuth("orders", stockSecret) },
			401, "invalid_client"},
		{"an unknown client", "", formType, "token=TOKEN", func(r *http.Request) { r.SetBasicAuth("billing", ordersSecret) },
			401, "invalid_client"},
		{"the credential as a bearer token", "", formType, "token=TOKEN",
			func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+credential) }, 401, "invalid_client"},
		{"twice", "", formType, "token=TOKEN",
			func(r *http.Request) { r.Header["Authorization"] = append(r.Header["Authorization"], "Basic x") },
			401, "invalid_client"},
		{"the form names another", "", formType, "token=TOKEN&client_id=stock", good, 401, "invalid_client"},
		{"the form has another secret", "", formType, "token=TOKEN&client_secret=x", good, 401, "invalid_client"},
		{"the form has two", "", formType, "token=TOKEN&client_id=orders&client_id=orders", good, 401, "invalid_client"},

		{"no token", "", formType, "", good, 400, "invalid_request"},
		{"an empty token", "", formType, "token=", good, 400, "invalid_request"},
		{"two tokens", "", formType, "token=TOKEN&token=TOKEN", good, 400, "invalid_request"},
		{"a token and nothing", "", formType, "token=&token=TOKEN", good, 400, "invalid_request"},
		{"two hints", "", formType, "token=TOKEN&token_type_hint=a&token_type_hint=b", good, 400, "invalid_request"},
		{"JSON", "", "application/json", `{"token":"TOKEN"}`, good, 400, "invalid_request"},
		{"a form of several parts", "", "multipart/form-data; boundary=x", "token=TOKEN", good, 400, "invalid_request"},
		{"no type", "", "", "token=TOKEN", good, 400, "invalid_request"},
		{"a bad escape", "", formType, "token=%zz", good, 400, "invalid_request"},
		{"a semicolon", "", formType, "token=TOKEN;x=1", good, 400, "invalid_request"},
		{"a huge body", "", formType, "token=TOKEN&x=" + strings.Repeat("x", 64<<10), good, 400, "invalid_request"},
		{"the token only in the URL", "?token=TOKEN", formType, "", good, 400, "invalid_request"},
		{"the token in the URL too", "?token=TOKEN", formType, "token=TOKEN", good, 400, "invalid_request"},
		{"the secret in the URL", "?client_secret=SECRET", formType, "token=TOKEN", good, 400, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/introspect"+fill(tt.path), strings.NewReader(fill(tt.body)))
			if tt.kind != "" {
				r.Header.Set("Content-Type", tt.kind)
			}
			r.SetBasicAuth("orders", ordersSecret)
			tt.change(r)
			d.refused = nil
			w := httptest.NewRecorder()
			d.handler.ServeHTTP(w, r)
			require.Equal(t, tt.status, w.Code, w.Body)
			require.Equal(t, tt.status == 200, strings.HasPrefix(w.Body.String(), `{"active":true,"iss":`))
			require.Equal(t, tt.err != "", strings.HasPrefix(w.Body.String(), `{"error":"`+tt.err+`"`) && tt.err != "")
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			require.Equal(t, tt.status == 401, w.Header().Get("WWW-Authenticate") == `Basic realm="cloakroom", charset="UTF-8"`)
			require.Equal(t, tt.status == 405, w.Header().Get("Allow") == "POST")
			require.Len(t, d.refused, map[bool]int{true: 0, false: 1}[tt.status == 200])
			said := w.Body.String() + fmt.Sprint(w.Header(), d.refused)
			for _, secret := range []string{credential, ordersSecret[:16], stockSecret[:16]} {
				require.NotContains(t, said, secret)
			}
		})
	}
}

// The session of a cookie is nobody's business, and neither is a value.
func TestCookiesAndValues(t *testing.T) {
	for _, mode := range apptest.Modes() {
		d := newDesk(t, mode)
		credential := apptest.Begin(t, d.m, "alice")
		_, credential = apptest.Visit(d.m, credential, func(s *session.Session) {
			_ = session.Key[string]("card").Set(s, "4111111111111111")
		})
		for token, active := range map[string]bool{apptest.UnknownID(): false, credential: true} {
			r := request("orders", ordersSecret, token)
			r.Header.Set("Cookie", "__Host-session="+credential)
			w := httptest.NewRecorder()
			d.handler.ServeHTTP(w, r)
			require.Equal(t, active, strings.Contains(w.Body.String(), `"active":true`), mode)
			require.Empty(t, w.Result().Cookies())
			require.NotContains(t, w.Body.String(), "4111")
			require.NotContains(t, w.Body.String(), credential)
		}
	}
}

// A key that was revoked signs nothing any more.
func TestRevokedKeys(t *testing.T) {
	d := newDesk(t, "stateless")
	credential := apptest.Begin(t, d.m, "alice")
	service := d.serviceToken(t, credential, "orders")
	d.Ring = apptest.NewRing(t, d.Now, keys.ES256, keys.Direct)
	other := newDesk(t, "stateless", func(c *introspect.HandlerConfig) {
		c.Keys, c.Sessions, c.Now = d.Ring, d.Middleware(t, "stateless"), d.Now
	})
	require.Equal(t, inactive(), other.ask(t, credential))
	require.Equal(t, inactive(), other.ask(t, service))
}

func TestNewHandlerReportsAllMistakes(t *testing.T) {
	_, err := introspect.NewHandler(introspect.HandlerConfig{})
	for _, field := range []string{"Services", "Sessions", "Issuer"} {
		require.ErrorContains(t, err, "introspect: HandlerConfig."+field+" is required")
	}
	d := newDesk(t, "stateless")
	type config = introspect.HandlerConfig
	for want, change := range map[string]func(*config){
		"Revocations is required":            func(c *config) { c.Revocations = nil },
		`two clients have the ID "orders"`:   func(c *config) { c.Services = append(c.Services, c.Services[0]) },
		"32 random bytes":                    func(c *config) { c.Services[0].Secrets = []string{"hunter2"} },
		`"orders" has no secret`:             func(c *config) { c.Services[0].Secrets = nil },
		"letters, digits":                    func(c *config) { c.Services[0].ID = "a:b" },
		`audience "https://app.example"`:     func(c *config) { c.Services[0].Audience = issuer },
		`audience "orders"`:                  func(c *config) { c.SessionAudience = "orders" },
		"must be UTF-8 of at most 256 bytes": func(c *config) { c.Services[0].Audience = "\xff" },
	} {
		c := introspect.HandlerConfig{
			Services: []introspect.Service{{ID: "orders", Secrets: []string{ordersSecret}}},
			Sessions: d.m, Keys: d.Ring, Revocations: d.List, Issuer: issuer,
		}
		change(&c)
		h, err := introspect.NewHandler(c)
		require.ErrorContains(t, err, want)
		require.Nil(t, h)
		require.NotContains(t, err.Error(), "hunter2")
	}
}
