//go:build unix

package e2e_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/cloakroom-go/cloakroom/config"
)

// Two clicks on "log in" send two requests with the same cookie. The browser
// shows the answer to the second, and is logged in.
func TestDoubleClickOnLogIn(t *testing.T) {
	inAllModes(t, nil, func(t *testing.T, s *site) {
		gate := s.hold("/login")
		clicked := s.hold("/clicked")
		go func() {
			<-gate.arrived
			<-clicked.arrived
			close(clicked.open) // the page clicks again
			<-gate.arrived
			gate.open <- struct{}{}
			gate.open <- struct{}{}
		}()
		s.expect(`
			await post("/write")
			document.body.innerHTML = '<form method=post action=/login><button>Log in</button></form>'
			const button = document.querySelector("button")
			button.click()
			await get("/clicked")
			button.click()
		`, map[string]any{"who": "alice"})
		for _, answer := range s.answers() {
			if answer == "POST /login 409" {
				t.Errorf("the server answered %q", s.answers())
			}
		}
	})
}

// A poll that was sent with the old cookie reaches the server after a login or
// a renewal, and writes. It does not take the new cookie away.
func TestLatePollKeepsTheLogin(t *testing.T) {
	for _, act := range [...]string{"/login", "/renew"} {
		t.Run(act[1:], func(t *testing.T) {
			inAllModes(t, nil, func(t *testing.T, s *site) {
				gate := s.hold("/poll/write")
				sent, release := s.hold("/sent"), s.hold("/release")
				go func() {
					for range 3 {
						<-gate.arrived
						<-sent.arrived
						sent.open <- struct{}{}
						<-release.arrived
						gate.open <- struct{}{}
						release.open <- struct{}{}
					}
				}()
				s.expect(`
					await post("/write")
					`+map[string]string{"/renew": `await post("/login")`}[act]+`
					const all = []
					for (let i = 0; i < 3; i++) {
						const poll = post("/poll/write")
						await get("/sent")
						await post("`+act+`")
						const release = get("/release")
						const status = await poll
						await release
						all.push(status + " " + await get("/whoami"))
					}
					report({all: all})
				`, map[string]any{"all": []any{"409 alice", "409 alice", "409 alice"}})
			})
		})
	}
}

// A SameSite=Strict cookie is not sent when a link on another site leads here.
// The page that opens then must not overwrite the cookie.
func TestStrictCookieSurvivesALinkFromAnotherSite(t *testing.T) {
	strict := func(c *config.Config) { c.Cookie.SameSite = "strict" }
	inAllModes(t, strict, func(t *testing.T, s *site) {
		// 127.0.0.1 is not the same site as localhost.
		away := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			writePage(w, `location.href = "`+s.url("/landing")+`"`)
		})
		s.server.Config.Handler.(*http.ServeMux).Handle("GET /away", away)
		s.expect(`
			await post("/login")
			location.href = "`+s.server.URL+`/away"
		`, map[string]any{"who": "alice"})
		if !slices.Contains(s.answers(), "GET /landing 200") {
			t.Errorf("the server answered %q", s.answers())
		}
	})
}

// A deployment that changes the path of the cookie leaves two cookies of one
// name in the browser. The visitor can log in all the same.
func TestLoginAfterTheCookiePathHasChanged(t *testing.T) {
	inApp := func(c *config.Config) { c.Cookie.Name, c.Cookie.Path = "session", "/app" }
	inAllModes(t, inApp, func(t *testing.T, s *site) {
		deploy := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			s.deploy(func(c *config.Config) { c.Cookie.Path = "/" })
		})
		s.server.Config.Handler.(*http.ServeMux).Handle("GET /deploy", deploy)
		s.expect(`
			await post("/app/login")
			const before = await get("/app/whoami")
			await get("/deploy")
			await post("/write")
			const ambiguous = await get("/app/whoami")
			await post("/app/login")
			report({before, ambiguous, after: await get("/app/whoami"), elsewhere: await get("/whoami")})
		`, map[string]any{"before": "alice", "ambiguous": "", "after": "alice", "elsewhere": "alice"})
	})
}
