//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/keys/rotation"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// inAllModes runs f with a site in each mode.
func inAllModes(t *testing.T, change func(*config.Config), f func(t *testing.T, s *site)) {
	findBrowser(t)
	for _, mode := range [...]config.Mode{config.Stateless, config.Opaque, config.Auto} {
		t.Run(string(mode), func(t *testing.T) {
			c := config.Config{Mode: mode}
			c.Keys.File = newKeys(t)
			if change != nil {
				change(&c)
			}
			f(t, newSite(t, c))
		})
	}
}

func newKeys(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := rotation.Create(t.Context(), keys.File{Path: path}, keys.Policy{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	return path
}

// A site is a server with sessions, and the parts that tests need around them.
type site struct {
	t       *testing.T
	config  config.Config
	store   *opaque.MemoryStore
	server  *httptest.Server
	reports chan map[string]any
	over    chan struct{} // closed at the end of the test, which opens all gates

	mu       sync.Mutex // guards the rest
	app      *config.App
	page     string           // the script of the page at /start
	gates    map[string]*gate // by path
	statuses []string         // of the requests that came through the middleware: "POST /login 303"
}

// A gate holds requests for a path back until it is opened.
type gate struct {
	arrived chan struct{} // gets one value for each request
	open    chan struct{} // lets one request through for each value, all when closed
}

func newSite(t *testing.T, c config.Config) *site {
	store, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{
		t: t, config: c, store: store, reports: make(chan map[string]any, 8),
		over: make(chan struct{}), gates: map[string]*gate{},
	}
	s.deploy(func(*config.Config) {})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /start", s.start)
	mux.HandleFunc("POST /report", s.report)
	mux.HandleFunc("GET /favicon.ico", http.NotFound)
	mux.HandleFunc("/", s.serve)
	s.server = httptest.NewServer(mux)
	t.Cleanup(func() {
		close(s.over)
		s.server.CloseClientConnections()
		s.server.Close()
		_ = s.app.Close()
		_ = store.Close()
	})
	return s
}

// deploy replaces the application by one with a changed config.
func (s *site) deploy(change func(*config.Config)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.app != nil {
		if err := s.app.Close(); err != nil {
			s.t.Error(err)
		}
	}
	change(&s.config)
	logger := slog.New(slog.NewTextHandler(s.t.Output(), nil))
	options := config.Options{Logger: logger}
	if s.config.Mode != config.Stateless {
		options.Store = s.store
	}
	app, err := s.config.Build(options)
	if err != nil {
		s.t.Error(err)
		return
	}
	s.app = app
}

// url is where the browser finds path: at localhost, which it trusts with
// Secure cookies without TLS, as it does 127.0.0.1, which is another site.
func (s *site) url(path string) string {
	return strings.Replace(s.server.URL, "127.0.0.1", "localhost", 1) + path
}

// visit opens a page with a script, and returns what that reports.
func (s *site) visit(script string) map[string]any {
	s.t.Helper()
	s.mu.Lock()
	s.page = script
	s.mu.Unlock()
	openBrowser(s.t, s.url("/start"))
	select {
	case got := <-s.reports:
		return got
	case <-time.After(90 * time.Second): // of a busy machine
		s.t.Fatalf("no report after 90s; the server answered %q", s.answers())
		return nil
	}
}

// expect runs a script and compares what it reports.
func (s *site) expect(script string, want map[string]any) {
	s.t.Helper()
	got := s.visit(script)
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		s.t.Errorf("the page reports %s, want %s; the server answered %q", g, w, s.answers())
	}
}

func (s *site) answers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.statuses...)
}

// The functions that scripts have.
const library = `<!doctype html><title>e2e</title><script>
const get = async path => (await fetch(path)).text()
const post = async path => (await fetch(path, {method: "POST"})).status
const report = what => fetch("/report", {method: "POST", body: JSON.stringify(what)})
const run = f => f().catch(err => report({error: String(err)}))
</script>`

func writePage(w http.ResponseWriter, script string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "%s<body><script>run(async () => { %s })</script>", library, script)
}

func (s *site) start(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	writePage(w, s.page)
}

func (s *site) report(_ http.ResponseWriter, r *http.Request) {
	var what map[string]any
	text, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(text, &what); err != nil {
		what = map[string]any{"error": err.Error()}
	}
	s.reports <- what
}

// hold makes requests for path wait. It must come before the visit.
func (s *site) hold(path string) *gate {
	g := &gate{arrived: make(chan struct{}, 8), open: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gates[path] = g
	return g
}

// serve is the application, with the gates before the middleware.
func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	g := s.gates[r.URL.Path]
	s.mu.Unlock()
	if g != nil {
		g.arrived <- struct{}{}
		select {
		case <-g.open:
		case <-s.over:
		}
	}
	s.mu.Lock()
	app := s.app
	s.mu.Unlock()
	noted := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	// A client that goes away still had its request served.
	app.Middleware.Handler(http.HandlerFunc(s.handle)).ServeHTTP(noted, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses = append(s.statuses, fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, noted.status))
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// handle does what the last element of the path says.
func (s *site) handle(w http.ResponseWriter, r *http.Request) {
	own := session.From(r.Context())
	var err error
	switch r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:] {
	case "whoami":
		fmt.Fprint(w, own.Subject())
	case "login":
		if err = own.Login("alice"); err == nil {
			http.Redirect(w, r, "/home", http.StatusSeeOther)
		}
	case "renew":
		err = own.Renew()
	case "write":
		err = session.Key[any]("written").Set(own, true)
	case "home":
		writePage(w, `report({who: await get("/whoami")})`)
	case "landing": // a page that writes, and shows itself all the same
		if err := session.Key[any]("landed").Set(own, true); err == nil {
			_ = own.Save(r.Context())
		}
		writePage(w, `report({who: await get("/whoami")})`)
	}
	if err != nil {
		http.Error(w, "Conflict", http.StatusConflict)
	}
}
