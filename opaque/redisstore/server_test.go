package redisstore_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
)

// A server is a redis-server, and what a test needs to talk to it.
type server struct {
	addr    string
	process *servertest.Process
}

// startServer starts a server without persistence, and which waits for no
// replica.
func startServer(t testing.TB, args ...string) server {
	t.Helper()
	return startServerAt(t, servertest.FreeAddr(t), args...)
}

func startServerAt(t testing.TB, addr string, args ...string) server {
	t.Helper()
	s := server{addr: addr}
	_, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	s.process = servertest.Start(t, servertest.Config{
		Program: servertest.Program(t, "redis-server"),
		Args: append([]string{"--bind", "127.0.0.1", "--port", port, "--save", "",
			"--shutdown-timeout", "0", "--repl-diskless-sync-delay", "0"}, args...),
		Ready: func(ctx context.Context) error { return ping(ctx, s.addr) },
	})
	return s
}

// ping returns nil if the server answers, be it that it wants a password first
// or still reads its data.
func ping(ctx context.Context, addr string) error {
	answer, err := ask(ctx, addr, "PING")
	code, _, _ := strings.Cut(answer, " ")
	if err == nil && !slices.Contains([]string{"+PONG", "-NOAUTH", "-LOADING"}, code) {
		err = fmt.Errorf("the server says %q", answer)
	}
	return err
}

// ask sends a command over a connection of its own, and returns the first line
// of the answer, or the string that it announces.
func ask(ctx context.Context, addr string, args ...string) (string, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	command := fmt.Sprintf("*%d\r\n", len(args))
	for _, arg := range args {
		command += fmt.Sprintf("$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := conn.Write([]byte(command)); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	line = strings.TrimSpace(line)
	if length, isString := strings.CutPrefix(line, "$"); isString && length != "-1" {
		n, err := strconv.Atoi(length)
		if err != nil {
			return "", err
		}
		text := make([]byte, n)
		_, err = io.ReadFull(r, text)
		return string(text), err
	}
	return line, err
}

// command asks the server, and fails the test on an error.
func (s server) command(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	answer, err := ask(ctx, s.addr, args...)
	require.NoError(t, err)
	require.False(t, strings.HasPrefix(answer, "-"), "%v: %s", args, answer)
	return answer
}

// number asks for a number.
func (s server) number(t testing.TB, args ...string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimPrefix(s.command(t, args...), ":"))
	require.NoError(t, err)
	return n
}

// config has a Timeout for items of 4 MiB on a busy machine. Tests of trouble
// have a deadline in the context.
func (s server) config() redisstore.Config {
	return redisstore.Config{Addrs: []string{s.addr}, Timeout: patience}
}

const patience = 20 * time.Second

// open returns a store that is closed when the test ends.
func open(t testing.TB, cfg redisstore.Config) *redisstore.Store {
	t.Helper()
	store, err := redisstore.New(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// certificate writes a certificate for 127.0.0.1 and its key into dir, and
// returns roots that trust it.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: private},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return roots
}

// leastRights are those of the package comment, for one server.
var leastRights = strings.Fields("on >secret resetkeys ~cloakroom:* -@all " + redisstore.Rights(redisstore.Config{}))

// startTLS starts a server that speaks only TLS, and knows the user "app" with
// the least rights.
func startTLS(t *testing.T) redisstore.Config {
	t.Helper()
	dir, addr := servertest.Dir(t, nil), servertest.FreeAddr(t)
	roots := certificate(t, dir)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	tlsConfig := &tls.Config{RootCAs: roots}
	args := []string{"--bind", "127.0.0.1", "--port", "0", "--tls-port", port, "--save", "", "--tls-auth-clients", "no",
		"--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--user", "default", "off", "--user", "app"}
	servertest.Start(t, servertest.Config{
		Program: servertest.Program(t, "redis-server"),
		Args:    append(args, leastRights...),
		Dir:     dir,
		Ready: func(ctx context.Context) error {
			conn, err := (&tls.Dialer{Config: tlsConfig}).DialContext(ctx, "tcp", addr)
			if err != nil {
				return err
			}
			return conn.Close()
		},
	})
	return redisstore.Config{
		Addrs: []string{addr}, TLS: tlsConfig, Username: "app", Password: "secret", Timeout: patience,
	}
}
