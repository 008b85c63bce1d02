package interop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
)

// gateways returns the programs that stand in front of a service, and tell it
// who the subject is.
func gateways() []program {
	return []program{
		{"HAProxy", debian("haproxy"), "keys as PEM, by a script", haproxy},
		{"mod_auth_openidc", debian("libapache2-mod-auth-openidc"), "", apache("mod_auth_openidc.conf", "auth_openidc")},
		{"mod_auth_openidc, from metadata", debian("libapache2-mod-auth-openidc"), "",
			apache("mod_auth_openidc_metadata.conf", "auth_openidc")},
		{"mod_oauth2", debian("libapache2-mod-oauth2"), "`expiry`", apache("mod_oauth2.conf", "oauth2")},
	}
}

// backend is a service behind a gateway, which answers with the name of the
// user. It returns the address.
func backend(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Join(r.Header["X-User"], ", "))
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// through returns a verifier that sends a token through the gateway at addr.
func through(addr string) verifier {
	return func(ctx context.Context, token string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
		if err != nil {
			return "", broken{err}
		}
		request.Header.Set("X-User", "mallory")
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return "", broken{err}
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		switch {
		case err != nil:
			return "", broken{err}
		case response.StatusCode == http.StatusOK:
			return string(body), nil
		case response.StatusCode == http.StatusUnauthorized, response.StatusCode == http.StatusForbidden:
			return "", errors.New(response.Status)
		}
		return "", broken{fmt.Errorf("%s: %s", response.Status, body)}
	}
}

// haproxy starts HAProxy with the keys that the script has fetched.
func haproxy(t *testing.T, a *application) verifier {
	t.Helper()
	program := servertest.Program(t, "haproxy", "/usr/sbin/haproxy")
	python := servertest.Program(t, "/usr/bin/python3", "python3")
	dir, addr := t.TempDir(), servertest.FreeAddr(t)
	output, err := exec.Command(python, "gateways/jwks2pem.py", a.jwks(), dir).CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.Equal(t, "changed\nchanged\nchanged\n", string(output))
	config, err := filepath.Abs("gateways/haproxy.cfg")
	require.NoError(t, err)
	servertest.Start(t, servertest.Config{
		Program: program, Args: []string{"-db", "-f", config}, Ready: servertest.Dial(addr),
		Env: append(a.environment(), "LISTEN="+addr, "KEYS="+dir, "BACKEND="+backend(t)),
	})
	return through(addr)
}

// apache returns a way to start Apache with one of the modules for tokens, and
// the configuration of that name.
func apache(config, module string) func(*testing.T, *application) verifier {
	return func(t *testing.T, a *application) verifier {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("gateways", config))
		require.NoError(t, err)
		// mod_oauth2 can't be told to trust another authority, and this test doesn't
		// wait for 10 seconds.
		tested := strings.NewReplacer(".ssl_verify=true", ".ssl_verify=false", "expiry=10", "expiry=1")
		addr := servertest.FreeAddr(t)
		startApache(t, a, addr, module, tested.Replace(string(text)))
		return through(addr)
	}
}

// startApache starts Apache with what a configuration for one site leaves out.
func startApache(t *testing.T, a *application, addr, module, config string) {
	t.Helper()
	program := servertest.Program(t, "apache2", "/usr/sbin/apache2")
	as := servertest.User(t, "www-data") // it would not serve requests as root
	dir := servertest.Dir(t, as)
	modules := ""
	for _, name := range []string{"mpm_event", "authn_core", "authz_core", "headers", "proxy", "proxy_http", module} {
		path := "/usr/lib/apache2/modules/mod_" + name + ".so"
		if _, err := os.Stat(path); err != nil {
			missing(t, "Apache's module %s is not installed", name)
		}
		modules += fmt.Sprintf("LoadModule %s_module %s\n", name, path)
	}
	config = modules + fmt.Sprintf(`
Listen %s
ServerName localhost
ServerRoot %s
DefaultRuntimeDir %[2]s
PidFile %[2]s/pid
ErrorLog %[2]s/log
Mutex file:%[2]s
StartServers 1
ThreadsPerChild 8
MinSpareThreads 1
MaxSpareThreads 8
MaxRequestWorkers 8
`, addr, dir) + config
	file := filepath.Join(dir, "apache2.conf")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o644))
	t.Cleanup(func() {
		if log, _ := os.ReadFile(filepath.Join(dir, "log")); t.Failed() {
			t.Logf("log of Apache:\n%s", log)
		}
	})
	servertest.Start(t, servertest.Config{
		Program: program, Args: []string{"-D", "FOREGROUND", "-f", file}, As: as, Dir: dir,
		Env: append(a.environment(), "BACKEND=http://"+backend(t)+"/"), Ready: servertest.Dial(addr),
	})
}
