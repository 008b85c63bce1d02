//go:build unix

package servertest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// PostgreSQL sets up a server of its own, which doesn't wait for the disk, and
// returns what [Start] needs, except Ready. Its database is postgres, and its
// user app needs no password. What Start has started may be stopped and started
// again with the same Config.
func PostgreSQL(tb testing.TB, args ...string) (addr string, c Config) {
	tb.Helper()
	program := func(name string) string {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // Debian keeps them out of PATH
		return Program(tb, append(found, name)...)
	}
	as := User(tb, "postgres")
	dir, addr := Dir(tb, as), FreeAddr(tb)
	data := filepath.Join(dir, "data")
	run(tb, as, dir, program("initdb"), "-D", data, "-U", "app", "--auth=trust", "--no-sync",
		"--encoding=UTF8", "--locale=C")
	host, port := split(tb, addr)
	return addr, Config{
		Program: program("postgres"), As: as, Dir: dir, Stop: syscall.SIGINT, // closes connections
		Args: append([]string{"-D", data, "-h", host, "-p", port, "-k", dir, "-c", "fsync=off"}, args...),
	}
}

// MariaDB is like [PostgreSQL]. Its database is app, and its user root needs no
// password.
func MariaDB(tb testing.TB, args ...string) (addr string, c Config) {
	tb.Helper()
	mariadbd, install := Program(tb, "mariadbd", "/usr/sbin/mariadbd"), Program(tb, "mariadb-install-db")
	as := User(tb, "mysql")
	dir, addr := Dir(tb, as), FreeAddr(tb)
	data := filepath.Join(dir, "data")
	run(tb, as, dir, install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal",
		"--skip-test-db")
	initFile := filepath.Join(dir, "init.sql")
	if err := os.WriteFile(initFile, []byte("CREATE DATABASE IF NOT EXISTS app;\n"), 0o644); err != nil {
		tb.Fatal(err)
	}
	host, port := split(tb, addr)
	return addr, Config{
		Program: mariadbd, As: as, Dir: dir,
		Args: append([]string{
			"--no-defaults", "--datadir=" + data, "--bind-address=" + host, "--port=" + port,
			"--socket=" + filepath.Join(dir, "socket"), "--pid-file=" + filepath.Join(dir, "pid"),
			"--init-file=" + initFile, "--innodb-flush-log-at-trx-commit=0",
		}, args...),
	}
}

// run runs a program to its end.
func run(tb testing.TB, as *syscall.Credential, dir, program string, args ...string) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), program, args...)
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
	if output, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", program, err, output)
	}
}

func split(tb testing.TB, addr string) (host, port string) {
	tb.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatal(err)
	}
	return host, port
}
