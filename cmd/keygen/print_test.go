package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// A token of 13 KB with 5,000 nested arrays is not printed with 50 MB of white
// space.
func TestDeepTokensArePrintedInBounds(t *testing.T) {
	segment := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for _, depth := range []int{3, 5000, 9000} {
		nested := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		token := segment(`{"alg":"ES256","typ":"JWT"}`) + "." + segment(`{"a":`+nested+`}`) + "." + segment("signature")
		for _, format := range []string{"json", "table"} {
			var stdout, stderr bytes.Buffer
			code := run([]string{"token", "decode", "--format", format}, strings.NewReader(token), &stdout, &stderr)
			require.Equal(t, tool.ExitOK, code, "%s", &stderr)
			require.Less(t, stdout.Len(), 2*len(token)+1000)
			require.Equal(t, depth, strings.Count(stdout.String(), "["))
			if format == "json" {
				require.Equal(t, depth == 3, strings.Contains(stdout.String(), "\n    \"a\""), "ours is indented")
			}
		}
	}
	var stderr bytes.Buffer
	require.Equal(t, tool.ExitToken, run([]string{"token", "decode"}, strings.NewReader(strings.Repeat("x", 1<<20)),
		new(bytes.Buffer), &stderr))
	require.Contains(t, stderr.String(), "longer than 64 KiB")
}

// Text that others wrote, in whatever file, can't steer a terminal or begin a
// line of its own.
func TestWhatOthersWroteIsEscaped(t *testing.T) {
	dir := t.TempDir()
	const evil = "\x1b]0;owned\x07\u202e\u009b2J"
	put := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	set, err := rotation.New(keyset.Policy{}, time.Now(), keyset.ES256)
	require.NoError(t, err)
	path, odd := filepath.Join(dir, "keys.json"), filepath.Join(dir, "odd.json")
	require.NoError(t, keyset.File{Path: path}.Create(context.Background(), set))
	kid := set.Keys()[0].ID()
	require.NoError(t, set.Revoke(kid, time.Now(), "lost\nkeygen: revoked\nactive\u0085\u2028\tall"))
	require.NoError(t, keyset.File{Path: odd}.Create(context.Background(), set))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	badKID := put("badkid.json", strings.ReplaceAll(string(text), `"`+kid+`"`, `"\u001b[2J\nkeygen: revoked"`))

	for _, args := range [][]string{
		{"import", "--keyset", path, put("pem", "-----BEGIN "+evil+"-----\nAAAA\n-----END "+evil+"-----\n")},
		{"import", "--keyset", path, put("jwk", `{"kty":"`+evil+`","kid":"`+evil+`"}`)},
		{"import", "--keyset", path, put("member", `{"`+evil+`":1,"`+evil+`":1}`)},
		{"import", "--keyset", path, put("jwe", "eyJ"+evil)},
		{"thumbprint", put("pem2", "-----BEGIN "+strings.Repeat(evil, 1000)+"-----\nAAAA\n-----END "+strings.Repeat(evil, 1000)+"-----\n")},
		{"list", "--keyset", put("keys"+evil, evil)},
		{"list", "--keyset", filepath.Join(dir, "none"+evil)},
		{"list", "--keyset", badKID},
		{"list", "--keyset", odd},
		{"list", "--keyset", odd, kid},
		{"plan", "--keyset", odd},
		{"check", "--keyset", odd},
		{"rotate", "--dry-run", "--force", "--keyset", odd},
		{"revoke", "--dry-run", "--keyset", odd, kid},
		{"diff", "--keyset", path, odd},
		{"doctor", "--keyset", odd},
		{"__complete", "list", "--keyset", odd, ""},
		{"token", "decode", put("token", evil)},
		{evil}, {"list", "--" + evil}, {"list", "-" + evil}, {"list", "--format", evil}, {"list", "--lock-timeout", evil}, {"list", "--at", evil}, {"help", evil},
	} {
		var stdout, stderr bytes.Buffer
		code := run(args, strings.NewReader(""), &stdout, &stderr)
		if args[0] == "list" && args[len(args)-1] == odd {
			require.Equal(t, tool.ExitOK, code, "%s", &stderr)
		}
		for _, r := range stdout.String() + stderr.String() {
			require.True(t, r == '\n' || unicode.IsPrint(r) || r == '\t' && args[0] == "__complete", "%q: %q", args,
				stdout.String()+stderr.String())
		}
		require.NotRegexp(t, `(?m)^(keygen: revoked|active)`, stdout.String()+"\n"+stderr.String(), "%q", args)
		require.Less(t, stderr.Len(), 3000, "%q", args)
	}
}

// A user who can write to the directory can replace the keys: each command that
// trusts the keys, or makes them, warns of that.
func TestCommandsWarnOfOpenDirectories(t *testing.T) {
	if !tool.HasModes {
		t.Skip("this system has no modes")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	require.NoError(t, os.Chmod(dir, 0o777))
	const want = "WARNING: "
	for _, args := range [][]string{
		{"init"}, {"list"}, {"plan"}, {"check"}, {"rotate", "--if-due"}, {"rotate", "--dry-run", "--force"}, {"policy"}, {"export"}, {"thumbprint"}, {"diff", path},
		{"token", "explain"}, {"encrypt", "--new-passphrase-file", "none"}, {"decrypt"}, {"prune"}, {"add", "--alg", "ES256"},
	} {
		for _, mode := range []fs.FileMode{0o777, 0o777 | fs.ModeSticky, 0o755} {
			require.NoError(t, os.Chmod(dir, mode))
			var stderr bytes.Buffer
			run(append(args, "--keyset", path), strings.NewReader("a.b.c"), new(bytes.Buffer), &stderr)
			warned := strings.Count(stderr.String(),
				want+dir+" has mode 0777: everybody can replace the key file; run: chmod o-w "+dir)
			if mode == 0o777 {
				require.Equal(t, 1, warned, "%v: %s", args, &stderr)
				continue
			}
			require.Zero(t, warned, "%v: %s", args, &stderr)
		}
	}
}
