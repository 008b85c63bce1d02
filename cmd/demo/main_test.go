package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/keys/rotation"
)

// childVariable makes the test binary the demo itself, so that tests can send
// it signals.
const childVariable = "DEMO_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		main()
	}
	os.Exit(m.Run())
}

// patience is how long anything may take before a test gives up.
const patience = 20 * time.Second

// An output is standard error of a demo. It learns from it when the demo
// is ready.
type output struct {
	mu    sync.Mutex // guards buf and seen
	buf   bytes.Buffer
	seen  bool
	ready chan string // gets the URL
}

func newOutput() *output { return &output{ready: make(chan string, 1)} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	if _, rest, ok := strings.Cut(o.buf.String(), "demo: ready on "); ok && !o.seen {
		if u, _, ok := strings.Cut(rest, "\n"); ok {
			o.seen = true
			o.ready <- u
		}
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// await returns the URL of the demo once it is ready.
func (o *output) await(t *testing.T, ended <-chan struct{}) string {
	t.Helper()
	select {
	case u := <-o.ready:
		return u
	case <-ended:
		require.FailNow(t, "the demo has ended", o.String())
	case <-time.After(patience):
		require.FailNow(t, "the demo was never ready", o.String())
	}
	return ""
}

// ordersURL returns where the service of the demo listens.
func (o *output) ordersURL() string {
	_, rest, _ := strings.Cut(o.String(), "orders service on ")
	u, _, _ := strings.Cut(rest, "\n")
	return u
}

// A running demo, in this process.
type running struct {
	url string
	log *output
	end func() error // stops it and returns what serve has
}

// start runs the demo with TLS on free ports.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	log := newOutput()
	o, err := parse(append([]string{"-tls", "-addr", "127.0.0.1:0", "-api-addr", "127.0.0.1:0"}, args...), io.Discard, log)
	require.NoError(t, err, log)
	ctx, cancel := context.WithCancel(context.Background())
	var failure error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		failure = serve(ctx, o, log)
	}()
	end := sync.OnceValue(func() error {
		cancel()
		<-ended
		return failure
	})
	t.Cleanup(func() { require.NoError(t, end()) })
	return &running{url: log.await(t, ended), log: log, end: end}
}

func newKeyPath(t *testing.T) string { return filepath.Join(t.TempDir(), "keys.json") }

// A browser keeps cookies as browsers do, and follows no redirects.
type browser struct {
	t      *testing.T
	url    string
	client *http.Client
}

func (d *running) browser(t *testing.T) *browser { return browserOf(t, d.url) }

func browserOf(t *testing.T, base string) *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // a throw-away certificate
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: t, url: base, client: &http.Client{
		Transport:     transport,
		Jar:           jar,
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// credential returns what the cookie holds, "" for none.
func (b *browser) credential() string {
	for _, c := range b.client.Jar.Cookies(b.at()) {
		if c.Name == "__Host-session" {
			return c.Value
		}
	}
	return ""
}

// use gives the browser a credential.
func (b *browser) use(credential string) *browser {
	b.client.Jar.SetCookies(b.at(), []*http.Cookie{{Name: "__Host-session", Value: credential, Path: "/", Secure: true}})
	return b
}

func (b *browser) at() *url.URL {
	u, err := url.Parse(b.url)
	require.NoError(b.t, err)
	return u
}

// A reply is a response that was read to its end.
type reply struct {
	*http.Response
	body string
}

// send sends a request. header holds pairs of names and values.
func (b *browser) send(method, path, body string, header ...string) reply {
	b.t.Helper()
	target := path
	if !strings.HasPrefix(path, "https:") {
		target = b.url + path
	}
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	require.NoError(b.t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := b.client.Do(r)
	require.NoError(b.t, err)
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	require.NoError(b.t, err)
	return reply{response, string(all)}
}

// page sends what a browser sends for a person: a form, for a page.
func (b *browser) page(method, path string, form ...string) reply {
	b.t.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	return b.send(method, path, values.Encode(), "Accept", "text/html,application/xhtml+xml,*/*;q=0.8",
		"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin")
}

// want expects a status and JSON, "" for anything.
func (b *browser) want(method, path, body string, status int, want string) reply {
	b.t.Helper()
	got := b.send(method, path, body)
	require.Equal(b.t, status, got.StatusCode, "%s %s: %s", method, path, got.body)
	if want != "" {
		require.Equal(b.t, "application/json", got.Header.Get("Content-Type"))
		require.JSONEq(b.t, want, got.body)
	}
	return got
}

// A state is what GET /api/session tells.
type state struct {
	Mode            string
	ID              *string
	New             bool
	Subject         string
	CreatedAt       *time.Time `json:"created_at"`
	AuthenticatedAt *time.Time `json:"authenticated_at"`
	ExpiresAt       *time.Time `json:"expires_at"`
	Values          map[string]any
}

func (b *browser) state() state {
	b.t.Helper()
	var s state
	require.NoError(b.t, json.Unmarshal([]byte(b.want("GET", "/api/session", "", 200, "").body), &s))
	return s
}

func (b *browser) login(subject string) *browser {
	b.t.Helper()
	got := b.send("POST", "/login", `{"subject":"`+subject+`"}`, "Content-Type", "application/json")
	require.Equal(b.t, http.StatusOK, got.StatusCode, got.body)
	return b
}

// A child is a demo in a process of its own.
type child struct {
	*exec.Cmd
	url    string
	log    *output
	exited chan struct{}
}

func spawn(t *testing.T, args ...string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0], args...), log: newOutput(), exited: make(chan struct{})}
	c.Env = append(os.Environ(), childVariable+"=1")
	c.Dir, c.Stdout, c.Stderr = t.TempDir(), io.Discard, c.log
	require.NoError(t, c.Start())
	go func() {
		_ = c.Wait() // the status is in ProcessState
		close(c.exited)
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended
		<-c.exited
	})
	c.url = c.log.await(t, c.exited)
	return c
}

// signal sends sig, waits for the end, and returns how long that took.
func (c *child) signal(t *testing.T, sig os.Signal) time.Duration {
	t.Helper()
	began := time.Now()
	require.NoError(t, c.Process.Signal(sig))
	select {
	case <-c.exited:
	case <-time.After(patience):
		require.FailNow(t, "the demo does not end", c.log.String())
	}
	return time.Since(began)
}

func freePorts(args ...string) []string {
	return append([]string{"-tls", "-addr", "127.0.0.1:0", "-api-addr", "127.0.0.1:0"}, args...)
}

func TestSignals(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		c := spawn(t, freePorts()...)
		require.FileExists(t, filepath.Join(c.Dir, "demo-keys.json"), "the default")
		require.Contains(t, c.log.String(), "made a key file, since there was none")
		require.Contains(t, c.log.String(), "file=demo-keys.json")
		browserOf(t, c.url).login("alice") // leaves a connection open
		require.Less(t, c.signal(t, sig), 5*time.Second)
		require.Zero(t, c.ProcessState.ExitCode(), c.log)
	}
}

// A logout stays one, and a login too, when the process is killed and
// started anew.
func TestKill(t *testing.T) {
	keyPath := newKeyPath(t)
	first := spawn(t, freePorts("-keys", keyPath)...)
	alice, bob := browserOf(t, first.url).login("alice"), browserOf(t, first.url).login("bob")
	credential := alice.credential()
	alice.want("POST", "/logout", "", 200, "")
	first.signal(t, os.Kill)

	second := spawn(t, freePorts("-keys", keyPath)...)
	require.NotContains(t, second.log.String(), "made a key file")
	require.Empty(t, browserOf(t, second.url).use(credential).state().Subject, "logged out before")
	require.Equal(t, "bob", browserOf(t, second.url).use(bob.credential()).state().Subject, "still logged in")
}

// Whatever the mode was, tokens from before are good after.
func TestChangeOfMode(t *testing.T) {
	keyPath := newKeyPath(t)
	d := start(t, "-keys", keyPath)
	credential := d.browser(t).login("alice").credential()
	for _, mode := range []config.Mode{config.Opaque, config.Auto, config.Stateless} {
		require.NoError(t, d.end())
		d = start(t, "-keys", keyPath, "-mode", string(mode))
		s := d.browser(t).use(credential).state()
		require.Equal(t, "alice", s.Subject, mode)
		require.Equal(t, string(mode), s.Mode)
	}
}

func TestUsage(t *testing.T) {
	for _, row := range []struct {
		name string
		in   []string
		want int
		out  string
	}{
		{"mode", []string{"-mode", "server"}, exitUsage, "must be stateless, opaque or auto"},
		{"empty mode", []string{"-mode", ""}, exitUsage, "must be stateless, opaque or auto"},
		{"flag", []string{"-port", "1"}, exitUsage, "flag provided but not defined: -port"},
		{"instances", []string{"-instances", "3"}, exitUsage, "must be 1 or 2"},
		{"argument", []string{"stateless"}, exitUsage, `demo: unexpected argument "stateless"`},
		{"no config", []string{"-config", "/nowhere/x.yaml"}, exitError, "demo: config: open /nowhere/x.yaml"},
		{"no place for keys", []string{"-keys", "/nowhere/keys.json"}, exitError, "/nowhere/keys.json"},
		{"keys are a directory", []string{"-keys", os.TempDir()}, exitError, "is a directory; name the file in it"},
		{"address", []string{"-keys", newKeyPath(t), "-addr", "127.0.0.1:http:x"}, exitError, "too many colons"},
		{"service's address", []string{"-keys", newKeyPath(t), "-addr", "127.0.0.1:0", "-api-addr", "127.0.0.1:99999"}, exitError, "invalid port"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var out, log bytes.Buffer
			require.Equal(t, row.want, run(row.in, &out, &log), log.String())
			require.Contains(t, log.String(), row.out)
			require.Empty(t, out.String())
		})
	}
	var out, log bytes.Buffer
	require.Equal(t, exitOK, run([]string{"-h"}, &out, &log))
	require.Contains(t, out.String(), "Usage: demo [flags]")
	all := []string{"-mode mode", "-config file", "-instances number", "-addr address", "-addr2 address",
		"-api-addr address", "-keys file", "-tls"}
	for _, name := range all {
		require.Contains(t, out.String(), "  "+name+"\n")
	}
	require.Contains(t, out.String(), "(default demo-keys.json, or what the config says)")
	require.Empty(t, log.String())
}

// What can't be said twice: flags come before the config file.
func TestConfigFile(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "sessions.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	own, flagged := newKeyPath(t), newKeyPath(t)
	require.NoError(t, rotation.Create(t.Context(), keys.File{Path: own}, keys.Policy{}, time.Now()))
	file := write("mode: auto\nissuer: https://shop.example\nkeys:\n  file: " + own + "\nsession:\n  idle_timeout: 5m\n")
	for _, row := range []struct {
		name       string
		in         []string
		mode, keys string
	}{
		{"file alone", []string{"-config", file}, "auto", own},
		{"mode", []string{"-config", file, "-mode", "opaque"}, "opaque", own},
		{"keys", []string{"-config", file, "-keys", flagged}, "auto", flagged},
		{"neither", []string{"-config", write("session: {lifetime: 1h}"), "-keys", flagged}, "stateless", flagged},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := start(t, row.in...)
			b := d.browser(t).login("alice")
			require.Equal(t, row.mode, b.state().Mode)
			require.Contains(t, d.log.String(), "keys in "+row.keys+",")
			if row.name == "file alone" {
				require.WithinDuration(t, time.Now().Add(5*time.Minute), *b.state().ExpiresAt, 10*time.Second)
				require.Contains(t, b.want("GET", "/orders", "", 200, "").body, `"issuer":"https://shop.example"`)
			}
		})
	}

	var log bytes.Buffer
	missing := filepath.Join(t.TempDir(), "none.json")
	require.Equal(t, exitError, run([]string{"-config", write("keys: {file: " + missing + "}")}, io.Discard, &log))
	require.Contains(t, log.String(), "make one with: keygen init", "the keys of a config are made by its operator")
}

// Flags come before the environment, and that before the config document.
func TestEnvironment(t *testing.T) {
	document := filepath.Join(t.TempDir(), "sessions.yaml")
	text := "mode: auto\nissuer: of-the-document\nkeys: {file: of-the-document.json}\n"
	require.NoError(t, os.WriteFile(document, []byte(text), 0o600))
	flagged := newKeyPath(t)
	for _, row := range []struct {
		name     string
		args     []string
		environ  []string
		mode     config.Mode
		keys     string
		lifetime time.Duration
	}{
		{"document", []string{"-config", document}, nil, "auto", "of-the-document.json", 0},
		{"over the document", []string{"-config", document}, []string{"CLOAKROOM_MODE=opaque", "CLOAKROOM_KEYSET=of-the-environment.json"}, "opaque", "of-the-environment.json", 0},
		{"without a document", nil, []string{"CLOAKROOM_KEYSET=of-the-environment.json", "CLOAKROOM_SESSION_LIFETIME=1h"}, "stateless", "of-the-environment.json", time.Hour},
		{"flags", []string{"-config", document, "-mode", "stateless", "-keys", flagged}, []string{"CLOAKROOM_MODE=opaque", "CLOAKROOM_KEYSET=x"}, "stateless", flagged, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			o, err := parse(row.args, io.Discard, io.Discard)
			require.NoError(t, err)
			o.environ = row.environ
			c, err := o.sessions()
			require.NoError(t, err)
			require.Equal(t, row.mode, c.Mode)
			require.Equal(t, row.keys, c.Keys.File)
			require.Equal(t, row.lifetime, time.Duration(c.Session.Lifetime))
			require.Equal(t, row.keys == flagged, c.Keys.Create, "the keys of a config are made by its operator")
		})
	}

	t.Setenv("CLOAKROOM_MODUS", "opaque")
	var log bytes.Buffer
	require.Equal(t, exitError, run([]string{"-keys", flagged}, io.Discard, &log))
	require.Contains(t, log.String(), "did you mean CLOAKROOM_MODE?")
}
