package interop_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
)

// python is Debian's, which has Debian's packages.
const python = "/usr/bin/python3"

// scripts returns the programs in other languages.
func scripts() []program {
	return []program{
		onNode("jose", "node/jose.mjs", 20, "jose"),
		onNode("jsonwebtoken, jwks-rsa", "node/jsonwebtoken.mjs", 20, "jsonwebtoken", "jwks-rsa"),
		onNode("express-oauth2-jwt-bearer", "node/express-oauth2-jwt-bearer.mjs", 18, "express-oauth2-jwt-bearer"),
		onNode("oauth4webapi", "node/oauth4webapi.mjs", 20, "oauth4webapi"),
		onNode("hono", "node/hono.mjs", 20, "hono").with("`typ`"),
		onNode("fast-jwt, get-jwks", "node/fast-jwt.mjs", 20, "fast-jwt", "get-jwks"),
		onNode("aws-jwt-verify", "node/aws-jwt-verify.mjs", 18, "aws-jwt-verify"),
		onPython("PyJWT", "python/pyjwt.py"),
		onPython("jwcrypto", "python/jwcrypto_jwt.py"),
		onPython("Authlib", "python/authlib_jose.py"),
		{
			name: "ruby-jwt", version: output("ruby", "-rjwt", "-e", "print JWT.gem_version"),
			start: script("ruby", "ruby/run.rb", "ruby/ruby_jwt.rb"),
		},
		{
			name: "Crypt::JWT", version: output("perl", "-MCrypt::JWT", "-MIO::Socket::SSL", "-e", "print $Crypt::JWT::VERSION"),
			start: script("perl", "perl/run.pl", "perl/crypt_jwt.pl"),
		},
		{
			name: "latchset jose", version: debian("jose"),
			start: script("bash", "shell/run.bash", "shell/jose.bash"),
		},
	}
}

// onNode is a program for Node of at least this major version, which may be
// newer than Debian's.
func onNode(name, file string, major int, packages ...string) program {
	version := func(t *testing.T) string {
		t.Helper()
		var have int
		text := output("node", "--version")(t)
		_, err := fmt.Sscanf(text, "v%d.", &have)
		require.NoError(t, err, text)
		if have < major {
			t.Skipf("needs Node %d, and this is %s", major, text)
		}
		return npm(packages...)(t)
	}
	return program{name: name, version: version, start: script("node", "node/run.mjs", file)}
}

func onPython(name, file string) program {
	code := fmt.Sprintf("from importlib.metadata import version; print(version(%q))", name)
	return program{name: name, version: output(python, "-c", code), start: script(python, "python/run.py", file)}
}

// with names the option that p needs.
func (p program) with(option string) program {
	p.option = option
	return p
}

// output returns what a command prints. Where it fails, something is missing.
func output(name string, args ...string) func(*testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		text, err := exec.Command(servertest.Program(t, name), args...).Output()
		if err != nil {
			missing(t, "%s %q: %v", name, args, err)
		}
		return strings.TrimSpace(string(text))
	}
}
