//go:build unix

package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
)

// startDemo starts two instances of the demo over one Redis, and returns
// their URLs.
func startDemo(t *testing.T) (a, b string) {
	t.Helper()
	redis := servertest.FreeAddr(t)
	_, port, err := net.SplitHostPort(redis)
	if err != nil {
		t.Fatal(err)
	}
	servertest.Start(t, servertest.Config{
		Program: servertest.Program(t, "redis-server"),
		Args:    []string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--shutdown-timeout", "0"},
		Ready:   servertest.Dial(redis),
	})
	program := filepath.Join(t.TempDir(), "demo")
	build := exec.Command("go", "build", "-tags", "redis", "-o", program, ".")
	build.Dir, build.Env = "../cmd/demo", append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	a, b = servertest.FreeAddr(t), servertest.FreeAddr(t)
	servertest.Start(t, servertest.Config{
		Program: program,
		Args: []string{"-instances", "2", "-store", "redis://" + redis,
			"-addr", a, "-addr2", b, "-api-addr", servertest.FreeAddr(t)},
		Ready: servertest.Dial(b),
	})
	return "http://" + a, "http://" + b
}

// logIn logs in, and ends at the page of the session.
func (v *visitor) logIn(site, name string) {
	v.t.Helper()
	v.open(site + "/")
	if _, err := v.eval(fmt.Sprintf("document.querySelector('#subject').value = %q", name)); err != nil {
		v.t.Fatal(err)
	}
	v.click("form[action='/login'] button")
	v.await(fmt.Sprintf("document.querySelector('.name')?.innerText === %q", name))
}

// A visitor ends the session of another device, and an admin those of a user,
// on one instance. The pages that are open on the other close by themselves,
// and don't connect again.
func TestDevicesPage(t *testing.T) {
	findBrowser(t)
	a, b := startDemo(t)
	const sessions = "document.querySelectorAll('.devices li:has(form)').length"
	const state = "document.querySelector('#live').dataset.state"
	browser := newDevtools(t)
	desk, phone, admin := browser.visitor(), browser.visitor(), browser.visitor()
	admin.logIn(b, "admin")
	for _, width := range []int{390, 1280} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			browser.t = t
			name := fmt.Sprintf("alice%d", width)
			for _, v := range []*visitor{desk, phone, admin} {
				v.resize(width)
			}
			desk.logIn(a, name)
			phone.logIn(b, name)
			phone.open(b + "/live")
			phone.await(state + " === 'alive'")
			phone.look("live")

			desk.open(a + "/devices")
			desk.await(sessions + " === 2")
			desk.look("devices")
			desk.click(".devices li:not(:has(.good)) button")
			desk.await(sessions + " === 1")
			phone.await(state + " === 'ended'")
			phone.look("ended")
			phone.await("source.readyState === EventSource.CLOSED")

			desk.open(a + "/live")
			desk.await(state + " === 'alive'")
			admin.open(b + "/admin?user=" + name)
			admin.await(sessions + " === 1")
			admin.look("admin")
			admin.click("form[action='/admin/end-all'] button")
			admin.await(sessions + " === 0")
			desk.await(state + " === 'ended'")
		})
	}
}
