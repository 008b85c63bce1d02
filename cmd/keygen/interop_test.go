package main

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// opensslVerifies checks the signature of a token with a public key in PEM:
// opensslVerifies TOKEN KEY
func opensslVerifies(ts *testscript.TestScript, neg bool, args []string) {
	token := strings.TrimSpace(ts.ReadFile(args[0]))
	end := strings.LastIndexByte(token, '.')
	signature, err := jose.Bytes(token[end+1:])
	ts.Check(err)
	var header struct{ Alg string }
	head, _, _ := strings.Cut(token, ".")
	text, err := jose.Bytes(head)
	ts.Check(err)
	ts.Check(json.Unmarshal(text, &header))
	input, sig, key := ts.MkAbs("signing-input"), ts.MkAbs("signature"), ts.MkAbs(args[1])
	if header.Alg == "ES256" { // r and s in 32 bytes each (RFC 7518, Section 3.4); openssl wants DER
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		signature, err = asn1.Marshal(struct{ R, S *big.Int }{r, s})
		ts.Check(err)
	}
	ts.Check(os.WriteFile(input, []byte(token[:end]), 0o600))
	ts.Check(os.WriteFile(sig, signature, 0o600))
	command := map[string][]string{
		"ES256": {"dgst", "-sha256", "-verify", key, "-signature", sig, input},
		"RS256": {"dgst", "-sha256", "-verify", key, "-signature", sig, input},
		"PS256": {"dgst", "-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest", "-verify", key,
			"-signature", sig, input},
		"EdDSA": {"pkeyutl", "-verify", "-pubin", "-inkey", key, "-rawin", "-in", input, "-sigfile", sig},
	}[header.Alg]
	if err := ts.Exec("openssl", command...); (err == nil) == neg {
		ts.Fatalf("openssl %s: %v", strings.Join(command, " "), err)
	}
}

// opensslOpens opens an encrypted key file with openssl's PBKDF2 and AES key
// wrap (RFC 7518, Section 4.8), and fails unless it is a key set: opensslOpens
// FILE PASSPHRASE. (Debian's jose refuses more than 32,768 iterations.)
func opensslOpens(ts *testscript.TestScript, _ bool, args []string) {
	segments := strings.Split(strings.TrimSpace(ts.ReadFile(args[0])), ".")
	var raw [5][]byte
	for i := range raw {
		var err error
		raw[i], err = jose.Bytes(segments[i])
		ts.Check(err)
	}
	var header struct {
		Alg, P2s string
		P2c      json.Number
	}
	ts.Check(json.Unmarshal(raw[0], &header))
	salt, err := jose.Bytes(header.P2s)
	ts.Check(err)
	ts.Check(ts.Exec("openssl", "kdf", "-keylen", "32", "-kdfopt", "digest:SHA512", "-kdfopt",
		"pass:"+strings.TrimSpace(ts.ReadFile(args[1])),
		"-kdfopt", "hexsalt:"+hex.EncodeToString(append([]byte(header.Alg+"\x00"), salt...)), "-kdfopt",
		"iter:"+header.P2c.String(), "PBKDF2"))
	kek := strings.ReplaceAll(strings.TrimSpace(ts.ReadFile("stdout")), ":", "")
	wrapped, unwrapped := ts.MkAbs("wrapped"), ts.MkAbs("unwrapped")
	ts.Check(os.WriteFile(wrapped, raw[1], 0o600))
	ts.Check(ts.Exec("openssl", "enc", "-d", "-id-aes256-wrap", "-K", kek, "-iv", "A6A6A6A6A6A6A6A6", "-in", wrapped,
		"-out", unwrapped))
	contentKey, err := os.ReadFile(filepath.Clean(unwrapped))
	ts.Check(err)
	block, err := aes.NewCipher(contentKey)
	ts.Check(err)
	gcm, err := cipher.NewGCM(block)
	ts.Check(err)
	text, err := gcm.Open(nil, raw[2], append(raw[3], raw[4]...), []byte(segments[0]))
	ts.Check(err)
	if !strings.Contains(string(text), `"keys"`) {
		ts.Fatalf("no key set")
	}
}

// On a machine that has only Go, go test passes; in CI nothing is skipped
// because a program is missing.
func TestMissingProgramSkipsTheScript(t *testing.T) {
	for _, c := range []struct{ ci, want string }{
		{"", "--- SKIP: TestScripts/interop-jose"},
		{"true", "--- FAIL: TestScripts/interop-jose"},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestScripts$/^interop-jose$", "-test.v")
		cmd.Env = append(os.Environ(), "PATH="+t.TempDir(), "CI="+c.ci, "GORACE=atexit_sleep_ms=0")
		out, err := cmd.CombinedOutput()
		require.Equal(t, c.ci == "", err == nil, "%s", out)
		require.Contains(t, string(out), c.want)
		require.Contains(t, string(out), "jose is not installed")
	}
}
