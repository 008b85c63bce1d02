//go:build unix

package e2e_test

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// browserNames are what Chromium is called on different systems.
var browserNames = [...]string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// findBrowser returns the path of Chromium, or skips the test. Where CI=true,
// a missing browser is a failure.
func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range browserNames {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("chromium is not installed, and CI=true; make test installs it")
	}
	t.Skip("chromium is not installed; make test installs it")
	return ""
}

// openBrowser opens a page in a browser that knows nothing yet, and closes the
// browser at the end of the test. If there are pipes, the browser reads
// commands from the first one and answers to the second.
func openBrowser(t *testing.T, url string, pipes ...*os.File) {
	t.Helper()
	// Not t.TempDir: it fails if a child of the browser still writes.
	profile, err := os.MkdirTemp("", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(findBrowser(t), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir="+profile, url)
	if cmd.ExtraFiles = pipes; len(pipes) > 0 {
		cmd.Args = append(cmd.Args, "--remote-debugging-pipe")
	}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.WaitDelay = time.Second                           // a child may keep the pipes open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end its children too
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = os.RemoveAll(profile)
		if t.Failed() {
			t.Logf("the browser said: %s", &log)
		}
	})
}
