package session_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"time"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/sessiontest"
)

// Declare the names of values once, with their types.
const Visits session.Key[int] = "visits"

func ExampleKey_Update() {
	visit := func(w http.ResponseWriter, r *http.Request) {
		n, err := Visits.Update(session.From(r.Context()), func(n int) int { return n + 1 })
		if err != nil {
			http.Error(w, "try again", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "visit", n)
	}
	browse(visit, visit, visit)
	// Output:
	// visit 1
	// visit 2
	// visit 3
}

// A flash message is shown once.
func ExampleKey_Take() {
	const flash session.Key[string] = "flash"
	save := func(w http.ResponseWriter, r *http.Request) {
		if err := flash.Set(session.From(r.Context()), "Your changes are saved."); err != nil {
			log.Print(err)
		}
		fmt.Fprintln(w, "303 to the page")
	}
	page := func(w http.ResponseWriter, r *http.Request) {
		message, ok, err := flash.Take(session.From(r.Context()))
		fmt.Fprintf(w, "%q %t %v\n", message, ok, err)
	}
	browse(save, page, page)
	// Output:
	// 303 to the page
	// "Your changes are saved." true <nil>
	// "" false <nil>
}

func ExampleSession_Login() {
	login := func(w http.ResponseWriter, r *http.Request) {
		// After the password has been checked:
		if err := session.From(r.Context()).Login("alice"); err != nil {
			http.Error(w, "try again", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "welcome")
	}
	page := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "logged in: %q\n", session.From(r.Context()).Subject())
	}
	logout := func(w http.ResponseWriter, r *http.Request) {
		if err := session.From(r.Context()).Destroy(); err != nil {
			http.Error(w, "try again", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "bye")
	}
	browse(page, login, page, logout, page)
	// Output:
	// logged in: ""
	// welcome
	// logged in: "alice"
	// bye
	// logged in: ""
}

// The classic mistake: the cookie travels in the header, so a session can't
// begin once the body has. The error says so; other libraries lose the value.
func ExampleKey_Set_tooLate() {
	browse(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "the response has begun")
		const cart session.Key[[]string] = "cart"
		err := cart.Set(session.From(r.Context()), []string{"coat"})
		fmt.Println(err)
	})
	// Output:
	// session: the response has begun, so this change can't reach the client; make it before the first byte: too late
	// the response has begun
}

// A handler that wants to answer a failure itself saves itself.
func ExampleSession_Save() {
	browse(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		err := session.Key[[]byte]("upload").Set(s, make([]byte, 2<<20))
		if err == nil {
			err = s.Save(r.Context())
		}
		switch session.ReasonOf(err) {
		case 0:
			fmt.Fprintln(w, "kept")
		case session.TooLarge:
			fmt.Fprintln(w, "that is too much for a session:", s.Has("upload"))
		default:
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
	// Output:
	// that is too much for a session: false
}

// A stream of events ends when its visitor logs out, in whatever window, and on
// whatever instance.
func ExampleSession_Ended() {
	events := func(w http.ResponseWriter, r *http.Request) {
		ended := session.From(r.Context()).Ended()
		w.Header().Set("Content-Type", "text/event-stream")
		ticks := time.NewTicker(10 * time.Second)
		defer ticks.Stop()
		for {
			http.NewResponseController(w).Flush()
			select {
			case <-ended:
				fmt.Fprint(w, "event: logout\ndata:\n\n")
				return
			case <-ticks.C:
				fmt.Fprint(w, "event: tick\ndata:\n\n")
			case <-r.Context().Done():
				return // the client has gone
			}
		}
	}
	app, err := config.Config{Mode: config.Opaque}.Build(config.Options{OnEvent: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer app.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) { session.From(r.Context()).Login("alice") })
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) { session.From(r.Context()).Destroy() })
	mux.HandleFunc("/events", events)
	server := httptest.NewTLSServer(app.Middleware.Handler(mux))
	defer server.Close()
	client := server.Client()
	client.Jar, _ = cookiejar.New(nil)

	client.Get(server.URL + "/login")
	stream, err := client.Get(server.URL + "/events")
	if err != nil {
		log.Fatal(err)
	}
	defer stream.Body.Close()
	client.Get(server.URL + "/logout")
	io.Copy(os.Stdout, stream.Body)
	// Output:
	// event: logout
	// data:
}

// browse lets a browser visit handlers, one after the other, and prints what it
// gets.
func browse(handlers ...http.HandlerFunc) {
	app, err := config.Config{Mode: config.Opaque}.Build(config.Options{OnEvent: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer app.Close()
	var handler http.HandlerFunc
	current := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler(w, r) })
	server := httptest.NewTLSServer(app.Middleware.Handler(current))
	defer server.Close()
	client := server.Client()
	client.Jar, _ = cookiejar.New(nil)
	for _, handler = range handlers {
		response, err := client.Get(server.URL)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		fmt.Print(string(body))
	}
}

func quiet(context.Context, middleware.Event) {}

// A login form with a box "remember me": whoever ticks it is remembered for
// weeks (Policy.RememberedIdleTimeout and RememberedLifetime), and everybody
// else isn't.
func ExampleSession_Remember() {
	now := func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	login := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		_ = s.Login("alice") // after the password was checked
		_ = s.Remember(r.FormValue("remember") == "on")
		fmt.Println(s.Snapshot().Persistent, s.Snapshot().Deadline.Sub(s.Snapshot().CreatedAt))
	})
	for _, form := range []string{"", "remember=on"} {
		r := httptest.NewRequest("GET", "/login?"+form, nil)
		login.ServeHTTP(httptest.NewRecorder(), sessiontest.Request(r, sessiontest.Session{Now: now}))
	}
	// Output:
	// false 12h0m0s
	// true 720h0m0s
}
