package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/durable"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"keygen": atAnyTime,
		"mint":   mint,
	})
}

// atAnyTime is main for scripts, which run as of fixed instants.
func atAnyTime() {
	if slices.Contains(os.Args, "--at") && !slices.Contains(os.Args, "--honest") {
		os.Args = append(os.Args[:1], append([]string{"--write-at"}, os.Args[1:]...)...)
	}
	os.Args = slices.DeleteFunc(os.Args, func(arg string) bool { return arg == "--honest" })
	main()
}

// TestScripts runs testdata/*.txt; it fails if there are none.
func TestScripts(t *testing.T) {
	programs := withoutRaceDetector(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			if programs != "" {
				env.Setenv("PATH", programs+string(filepath.ListSeparator)+env.Getenv("PATH"))
			}
			env.Values[programT{}] = env.T()
			return protectSecrets(env.WorkDir)
		},
		Cmds: scriptCommands(),
	})
}

// withoutRaceDetector returns a directory with the programs of TestMain, built
// without the race detector, or "" if they are without it or there is no go.
// The scripts start more than a thousand of them, each has one goroutine, and
// the detector would make them slow. It is at work in the tests that call run.
func withoutRaceDetector(t *testing.T) string {
	info, ok := debug.ReadBuildInfo()
	require.True(t, ok)
	_, err := exec.LookPath("go")
	if err != nil || !slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return ""
	}
	dir := t.TempDir()
	keygen := filepath.Join(dir, "keygen")
	out, err := exec.Command("go", "test", "-race=false", "-c", "-o", keygen, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.Link(keygen, filepath.Join(dir, "mint")))
	return dir
}

// protectSecrets gives the files without an extension, which hold secrets, the
// mode 0600: keygen refuses others.
func protectSecrets(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if err == nil && e.Type().IsRegular() && filepath.Ext(e.Name()) == "" {
			err = os.Chmod(filepath.Join(dir, e.Name()), 0o600)
		}
	}
	return err
}

type scriptCommand = func(*testscript.TestScript, bool, []string)

// scriptCommands are the commands that scripts have besides those of
// testscript.
func scriptCommands() map[string]scriptCommand {
	all := map[string]scriptCommand{"exits": exits, "mode": mode, "kid": kid, "damage": damage, "lock": lock,
		"behind": behind}
	maps.Copy(all, protectCommands())
	maps.Copy(all, lookCommands())
	return all
}

// exits runs keygen with the arguments after the first, which is the exit code
// that it must end with.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits code args...")
	}
	err := ts.Exec("keygen", args[1:]...)
	got := 0
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, err := strconv.Atoi(args[0]); err != nil || got != want {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// mode checks the permissions of a file.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode()&fs.ModePerm); (got == args[0]) == neg {
		ts.Fatalf("mode of %s is %s", args[1], got)
	}
}

// kid sets variables to the IDs of the keys of a file that have an algorithm:
// A1, A2 and so on for "kid A ALG FILE", and A to the first of them.
func kid(ts *testscript.TestScript, _ bool, args []string) {
	set, err := keyset.File{Path: ts.MkAbs(args[2])}.Read()
	ts.Check(err)
	n := 0
	for _, k := range set.Keys() {
		if string(k.Algorithm()) != args[1] {
			continue
		}
		if n++; n == 1 {
			ts.Setenv(args[0], k.ID())
		}
		ts.Setenv(fmt.Sprint(args[0], n), k.ID())
	}
	if n == 0 {
		ts.Fatalf("no key for %s", args[1])
	}
}

// behind compares the text behind the first empty line with a file: behind OUT
// WANT. "behind NAME OUT WANT" compares the member NAME of a JSON object.
func behind(ts *testscript.TestScript, neg bool, args []string) {
	text, name := ts.ReadFile(args[len(args)-2]), args[len(args)-1]
	_, got, _ := strings.Cut(text, "\n\n")
	if len(args) == 3 {
		var members map[string]json.RawMessage
		ts.Check(json.Unmarshal([]byte(text), &members))
		got = string(members[args[0]]) + "\n"
	}
	if want := ts.ReadFile(name); (got == want) == neg {
		ts.Fatalf("not as in %s:\n%s", name, got)
	}
}

// damage replaces text in a key file and removes the checksum, as an attacker
// would.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	text, err := os.ReadFile(path)
	ts.Check(err)
	changed := strings.Replace(string(text), args[1], args[2], 1)
	if changed == string(text) {
		ts.Fatalf("%q is not in %s", args[1], args[0])
	}
	changed, _, _ = strings.Cut(changed, ",\n  \"checksum\"")
	ts.Check(os.WriteFile(path, []byte(strings.TrimSuffix(changed, "\n}\n")+"\n}\n"), 0o600))
}

// lock holds the lock of a key file until the script ends.
func lock(ts *testscript.TestScript, _ bool, args []string) {
	unlock, err := durable.Lock(context.Background(), ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { _ = unlock() })
}

// mint prints a service token, or with "seal" a session token, or one of type
// $TYP, that expires so many minutes from now: mint FILE seal|plain MINUTES
// SUBJECT
func mint() {
	set, err := keyset.File{Path: os.Args[1]}.Read()
	if err != nil {
		panic(err)
	}
	ring, err := (*keys.Set)(set).Ring()
	if err != nil {
		panic(err)
	}
	now := time.Now()
	minutes, err := strconv.Atoi(os.Args[3])
	if err != nil {
		panic(err)
	}
	signer, err := ring.Current(keys.Signature, now)
	if err != nil {
		panic(err)
	}
	exp := now.Add(time.Duration(minutes) * time.Minute)
	iat := exp.Add(-10 * time.Minute).Unix()
	claims := map[string]any{
		"iss": "https://app.example", "aud": "https://billing.example", "sub": os.Args[4], "sid": "public-id",
		"jti": "AAAAAAAAAAAAAAAA",
		"gen": 1, "iat": iat, "exp": exp.Unix(),
		"client_id": "https://app.example", "auth_time": iat, "since": iat * 1000,
	}
	if os.Args[2] != "seal" {
		fmt.Println(sign(signer, claims))
		return
	}
	sealer, err := ring.Current(keys.Encryption, now)
	if err != nil {
		panic(err)
	}
	maps.Copy(claims, map[string]any{
		"lin": "bGluZWFnZTE", "ver": 1, "crt": iat, "dl": exp.Unix(), "data": struct{}{},
		"auth_time": json.Number(fmt.Sprint(iat, ".000")),
	})
	text, err := (*keyset.Key)(sealer).Seal([]byte(signType(signer, "cloakroom+jwt", claims)), "JWT")
	if err != nil {
		panic(err)
	}
	fmt.Println(text)
}

func sign(k *keys.Key, claims map[string]any) string {
	return signType(k, cmp.Or(os.Getenv("TYP"), "at+jwt"), claims)
}

func signType(k *keys.Key, typ string, claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	header := fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":%q}`, k.Algorithm(), k.ID(), typ)
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(header)) + "." + b64(payload)
	signature, err := (*keyset.Key)(k).Sign(input)
	if err != nil {
		panic(err)
	}
	return input + "." + b64(signature)
}

func TestRunWithoutFiles(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Equal(t, tool.ExitOK, run([]string{"version"}, strings.NewReader(""), &stdout, &stderr))
	require.Contains(t, stdout.String(), "keygen ")
	require.Empty(t, stderr.String())
}

// A private key shows on a terminal only with the long flag.
func TestExportToTerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here")
	}
	defer terminal.Close()
	path := filepath.Join(t.TempDir(), "keys.json")
	var discard, stderr bytes.Buffer
	require.Equal(t, tool.ExitOK, run([]string{"init", "--keyset", path}, nil, &discard, &stderr))
	export := func(args ...string) int {
		stderr.Reset()
		return run(append([]string{"export", "--keyset", path}, args...), nil, terminal, &stderr)
	}
	require.Equal(t, tool.ExitRefused, export("--private"))
	require.Contains(t, stderr.String(), "would show a private key on the terminal")
	require.Equal(t, tool.ExitRefused, export("--private", "--format", "pem"))
	require.Equal(t, tool.ExitOK, export(), "public keys are no secret")
	require.Equal(t, tool.ExitOK, export("--private", "--i-understand-this-prints-a-private-key"))
}

// Colours are for terminals, unless a flag or a variable says otherwise.
func TestColoursOfCommands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	var discard, stderr bytes.Buffer
	require.Equal(t, tool.ExitOK, run([]string{"init", "--keyset", path}, nil, &discard, &stderr))
	t.Setenv("NO_COLOR", "")
	for flag, want := range map[string]bool{"always": true, "never": false} {
		for _, command := range []string{"list", "plan"} {
			discard.Reset()
			require.Equal(t, tool.ExitOK, run([]string{command, "--keyset", path, "--color", flag}, nil, &discard, &stderr))
			require.Equal(t, want, strings.Contains(discard.String(), "\x1b["), "%s %s", command, flag)
		}
	}
}

// keygen warns if private keys go to a file that others can read.
func TestExportWarns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	var discard, stderr bytes.Buffer
	require.Equal(t, tool.ExitOK, run([]string{"init", "--keyset", path}, nil, &discard, &stderr))
	for mode, warned := range map[fs.FileMode]bool{0o644: true, 0o600: false} {
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		require.NoError(t, err)
		require.NoError(t, out.Chmod(mode))
		stderr.Reset()
		require.Equal(t, tool.ExitOK, run([]string{"export", "--private", "--keyset", path}, nil, out, &stderr))
		require.Equal(t, warned, strings.Contains(stderr.String(), "others can read"))
		require.NoError(t, out.Close())
	}
}
