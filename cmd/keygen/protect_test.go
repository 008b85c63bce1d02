package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/keytest"
)

func protectCommands() map[string]scriptCommand {
	return map[string]scriptCommand{
		"newkey": newKeyCommand, "seal": sealCommand, "join": joinJWKs, "octJWK": octJWK,
		"capture": capture, "save": save,
		"program": program, "opensslVerifies": opensslVerifies, "opensslOpens": opensslOpens,
	}
}

// programT is the key of the test among the values of a script.
type programT struct{}

// program skips the script unless the named programs are installed. Where
// CI=true a missing program is a failure: a skipped script tests nothing.
func program(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			ts.Fatalf("%s is not installed, and CI=true; make test installs it", name)
		}
		ts.Value(programT{}).(testscript.T).Skip(name + " is not installed; make test installs it")
	}
}

// capture sets a variable to what the last command printed.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// save writes what the last command printed to a file, without the line break
// at the end.
func save(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.TrimSpace(ts.ReadFile("stdout"))), 0o600))
}

// newKeyCommand makes a key, and its public half in FILE.pub: newkey FILE KIND
// FORM [NAME=VALUE...] Names are members of a JWK.
func newKeyCommand(ts *testscript.TestScript, _ bool, args []string) {
	private, public, err := keytest.Generate(args[1])
	ts.Check(err)
	text, err := keytest.Encode(args[2], private, args[3:])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
	if public == nil {
		return
	}
	text, err = keytest.Encode(args[2], public, args[3:])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pub"), text, 0o600))
}

// joinJWKs makes a JWK Set of JWKs: join SET JWK...
func joinJWKs(ts *testscript.TestScript, _ bool, args []string) {
	var all []json.RawMessage
	for _, name := range args[1:] {
		all = append(all, json.RawMessage(ts.ReadFile(name)))
	}
	text, err := json.Marshal(map[string]any{"keys": all})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

// octJWK makes a symmetric JWK of the bytes of a file: octJWK IN OUT
func octJWK(ts *testscript.TestScript, _ bool, args []string) {
	text, err := keytest.EncodeJWK([]byte(ts.ReadFile(args[0])), nil)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), text, 0o600))
}

// sealCommand encrypts a file: seal IN OUT ALG ENC SECRET P2C
func sealCommand(ts *testscript.TestScript, _ bool, args []string) {
	var p2c int
	_, err := fmt.Sscan(args[5], &p2c)
	ts.Check(err)
	secret := []byte(ts.ReadFile(args[4]))
	if strings.HasPrefix(args[2], "PBES2") { // a line; in a raw key a line break is part of it
		secret = bytes.TrimRight(secret, "\n")
	}
	out, err := keytest.Seal([]byte(ts.ReadFile(args[0])), args[2], args[3], secret, p2c)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), out, 0o600))
}
