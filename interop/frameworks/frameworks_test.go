// Package frameworks_test runs a small site in several web frameworks, each in
// all modes. The programs are in the directories beside it.
package frameworks_test

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/keys/rotation"
)

var programs = [...]string{"chi", "echo", "gin", "gorilla", "servemux"}

func TestFrameworks(t *testing.T) {
	bin := t.TempDir()
	// The codec of MessagePack in gin takes a minute to compile.
	out, err := exec.Command("go", "build", "-tags=nomsgpack", "-o", bin, "./...").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, program := range programs {
		for _, mode := range [...]string{"stateless", "opaque", "auto"} {
			t.Run(program+"/"+mode, func(t *testing.T) {
				v := &visitor{t: t, site: start(t, filepath.Join(bin, program), mode)}
				v.logInAndOut()
				v.streamUntilLogout()
				v.talkUntilLogout()
			})
		}
	}
}

// start starts a program with keys of its own, and returns its URL.
func start(t *testing.T, binary, mode string) string {
	t.Helper()
	keyFile := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, rotation.Create(t.Context(), keys.File{Path: keyFile}, keys.Policy{}, time.Now()))
	cmd := exec.Command(binary, "-addr", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "GIN_MODE=release", "CLOAKROOM_MODE="+mode, "CLOAKROOM_KEYSET="+keyFile)
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

// A visitor is a browser with one cookie.
type visitor struct {
	t      *testing.T
	site   string
	cookie string // name=value; "" for none
}

// send sends a request with the cookie, and keeps the one that it gets.
func (v *visitor) send(method, path string, form url.Values) *http.Response {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.site+path, strings.NewReader(form.Encode()))
	require.NoError(v.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if v.cookie != "" {
		r.Header.Set("Cookie", v.cookie)
	}
	resp, err := http.DefaultTransport.RoundTrip(r) // follows no redirects
	require.NoError(v.t, err)
	for _, c := range resp.Cookies() {
		v.cookie = c.Name + "=" + c.Value
		if c.MaxAge < 0 {
			v.cookie = ""
		}
	}
	return resp
}

// get returns the text of the home page.
func (v *visitor) get() string {
	v.t.Helper()
	resp := v.send("GET", "/", nil)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(v.t, err)
	require.Equal(v.t, http.StatusOK, resp.StatusCode, "%s", text)
	return string(text)
}

// post sends a form that is answered with a redirect to the home page.
func (v *visitor) post(path string, form url.Values) {
	v.t.Helper()
	resp := v.send("POST", path, form)
	require.NoError(v.t, resp.Body.Close())
	require.Equal(v.t, http.StatusSeeOther, resp.StatusCode)
	require.Equal(v.t, "/", resp.Header.Get("Location"))
}

func (v *visitor) logIn() { v.post("/login", url.Values{"user": {"alice"}}) }

// elsewhere returns another client with v's present cookie.
func (v *visitor) elsewhere() *visitor { return &visitor{t: v.t, site: v.site, cookie: v.cookie} }

func (v *visitor) logInAndOut() {
	require.Equal(v.t, "subject= visits=1", v.get())
	require.Equal(v.t, "subject= visits=2", v.get())
	before := v.elsewhere()
	v.logIn()
	require.NotEqual(v.t, before.cookie, v.cookie, "session fixation")
	require.Equal(v.t, "subject=alice visits=3", v.get())
	loggedIn := v.elsewhere()
	v.post("/logout", nil)
	require.Empty(v.t, v.cookie)
	require.Equal(v.t, "subject= visits=1", loggedIn.get())
}

// The stream begins before its handler ends, its change is kept, and it ends
// with the session.
func (v *visitor) streamUntilLogout() {
	v.logIn()
	resp := v.send("GET", "/stream", nil)
	defer resp.Body.Close()
	require.Equal(v.t, http.StatusOK, resp.StatusCode)
	require.Equal(v.t, "text/event-stream", resp.Header.Get("Content-Type"))
	lines := bufio.NewReader(resp.Body)
	for range 2 {
		line, err := lines.ReadString('\n')
		require.NoError(v.t, err)
		require.Equal(v.t, "data: subject=alice streamed=true\n", line)
		_, err = lines.ReadString('\n')
		require.NoError(v.t, err)
	}
	v.post("/logout", nil)
	_, err := io.Copy(io.Discard, lines)
	require.NoError(v.t, err)
}

// The WebSocket has the session of its handshake, and ends with it.
func (v *visitor) talkUntilLogout() {
	v.logIn()
	url := "ws" + strings.TrimPrefix(v.site, "http") + "/ws"
	header := http.Header{"Cookie": {v.cookie}, "Origin": {v.site}}
	conn, _, err := websocket.Dial(v.t.Context(), url, &websocket.DialOptions{HTTPHeader: header})
	require.NoError(v.t, err)
	defer conn.CloseNow()
	require.NoError(v.t, conn.Write(v.t.Context(), websocket.MessageText, []byte("hello")))
	_, text, err := conn.Read(v.t.Context())
	require.NoError(v.t, err)
	require.Equal(v.t, "subject=alice streamed=false", string(text))
	v.post("/logout", nil)
	require.NoError(v.t, conn.Write(v.t.Context(), websocket.MessageText, []byte("hello")))
	_, _, err = conn.Read(v.t.Context())
	require.Equal(v.t, websocket.StatusPolicyViolation, websocket.CloseStatus(err), "%v", err)

	header.Set("Origin", "https://evil.example")
	_, resp, err := websocket.Dial(v.t.Context(), url, &websocket.DialOptions{HTTPHeader: header})
	require.Error(v.t, err)
	require.Equal(v.t, http.StatusForbidden, resp.StatusCode)
}
