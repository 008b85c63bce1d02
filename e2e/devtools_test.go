//go:build unix

package e2e_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// patience is how long a page may take, on a busy machine.
const patience = 60 * time.Second

// A devtools drives a browser with the Chrome DevTools Protocol, over a pair of
// pipes. Messages are JSON, each followed by a zero byte.
type devtools struct {
	t  *testing.T
	in io.Writer

	mu      sync.Mutex // guards the rest, and writes to in
	last    int
	waiting map[int]chan answer // by the ID of the call
}

// An answer is that of the browser to a call.
type answer struct {
	ID     int
	Result json.RawMessage
	Error  struct{ Message string }
}

// newDevtools starts a browser that it can drive.
func newDevtools(t *testing.T) *devtools {
	t.Helper()
	theirIn, in := pipe(t)
	out, theirOut := pipe(t)
	d := &devtools{t: t, in: in, waiting: map[int]chan answer{}}
	openBrowser(t, "about:blank", theirIn, theirOut)
	go d.read(out)
	return d
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Close()
		_ = w.Close()
	})
	return r, w
}

// read hands each answer to the call that waits for it.
func (d *devtools) read(from io.Reader) {
	in := bufio.NewReader(from)
	for {
		message, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var a answer
		if json.Unmarshal(message[:len(message)-1], &a) != nil {
			continue
		}
		d.mu.Lock()
		if to := d.waiting[a.ID]; to != nil {
			to <- a
			delete(d.waiting, a.ID)
		}
		d.mu.Unlock()
	}
}

// call calls a method of the protocol. session is that of a page, or "".
func (d *devtools) call(session, method string, params map[string]any, result any) error {
	message := map[string]any{"method": method, "params": params}
	if session != "" {
		message["sessionId"] = session
	}
	got := make(chan answer, 1)
	d.mu.Lock()
	d.last++
	message["id"], d.waiting[d.last] = d.last, got
	text, err := json.Marshal(message)
	if err == nil {
		_, err = d.in.Write(append(text, 0))
	}
	d.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case a := <-got:
		if a.Error.Message != "" {
			return fmt.Errorf("%s: %s", method, a.Error.Message)
		}
		return json.Unmarshal(a.Result, result)
	case <-time.After(patience):
		return fmt.Errorf("%s: no answer after %v", method, patience)
	}
}

// must is call for what always works.
func (d *devtools) must(session, method string, params map[string]any, result any) {
	d.t.Helper()
	if err := d.call(session, method, params, result); err != nil {
		d.t.Fatal(err)
	}
}

// A visitor is a page in a browser that shares no cookies with those of other
// visitors.
type visitor struct {
	*devtools
	session string
}

func (d *devtools) visitor() *visitor {
	d.t.Helper()
	var profile struct{ BrowserContextID string }
	d.must("", "Target.createBrowserContext", nil, &profile)
	var page struct{ TargetID string }
	d.must("", "Target.createTarget",
		map[string]any{"url": "about:blank", "browserContextId": profile.BrowserContextID}, &page)
	var attached struct{ SessionID string }
	d.must("", "Target.attachToTarget", map[string]any{"targetId": page.TargetID, "flatten": true}, &attached)
	return &visitor{d, attached.SessionID}
}

// resize makes the window as wide as that of a phone, or of a desk.
func (v *visitor) resize(width int) {
	v.t.Helper()
	v.must(v.session, "Emulation.setDeviceMetricsOverride",
		map[string]any{"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}, &struct{}{})
}

// open opens a page.
func (v *visitor) open(url string) {
	v.t.Helper()
	v.must(v.session, "Page.navigate", map[string]any{"url": url}, &struct{}{})
	v.await(fmt.Sprintf("location.href === %q && document.readyState === 'complete'", url))
}

// eval returns the value of an expression in the page.
func (v *visitor) eval(expression string) (any, error) {
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	err := v.call(v.session, "Runtime.evaluate",
		map[string]any{"expression": expression, "returnByValue": true, "userGesture": true}, &got)
	if err == nil && got.ExceptionDetails != nil {
		err = fmt.Errorf("%s: %s", expression, got.ExceptionDetails.Text)
	}
	return got.Result.Value, err
}

// await waits until an expression is true. While a page gives way to the next,
// there is an error.
func (v *visitor) await(expression string) {
	v.t.Helper()
	var got any
	var err error
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(50 * time.Millisecond) {
		if got, err = v.eval(expression); got == true {
			return
		}
	}
	text, _ := v.eval("document.body.innerText")
	v.t.Fatalf("%s is never true, but %v (%v); the page says:\n%v", expression, got, err, text)
}

// click clicks on the element that the selector finds.
func (v *visitor) click(selector string) {
	v.t.Helper()
	if _, err := v.eval(fmt.Sprintf("document.querySelector(%q).click()", selector)); err != nil {
		v.t.Fatal(err)
	}
}

// look expects that the page is not wider than the window, and takes a picture
// of it, which go test -artifacts keeps.
func (v *visitor) look(name string) {
	v.t.Helper()
	wide, err := v.eval("document.documentElement.scrollWidth > innerWidth")
	if wide != false || err != nil {
		v.t.Errorf("%s: wider than the window: %v %v", name, wide, err)
	}
	var picture struct{ Data string }
	v.must(v.session, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &picture)
	data, err := base64.StdEncoding.DecodeString(picture.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(v.t.ArtifactDir(), name+".png"), data, 0o600)
	}
	if err != nil {
		v.t.Error(err)
	}
}
