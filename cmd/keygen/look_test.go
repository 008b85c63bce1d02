package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// lookCommands are what the scripts of token explain, doctor and jwks check
// have besides.
func lookCommands() map[string]scriptCommand {
	return map[string]scriptCommand{"issue": issue, "serve": serve, "mtime": mtime, "facts": facts}
}

// instant reads a time, or "now".
func instant(ts *testscript.TestScript, text string) time.Time {
	if text == "now" {
		return time.Now()
	}
	at, err := time.Parse(time.RFC3339, text)
	ts.Check(err)
	return at
}

// issue writes a token: issue OUT KEYFILE kind=session|service sign=KID
// [seal=KID] iat=TIME|now [life=1m] [data=JSON] [aud=NAME] [nbf=TIME]
// [without=CLAIM,CLAIM]
func issue(ts *testscript.TestScript, _ bool, args []string) {
	set, err := keyset.File{Path: ts.MkAbs(args[1])}.Read()
	ts.Check(err)
	o := map[string]string{"life": "1m", "aud": "https://billing.example", "data": "{}"}
	for _, arg := range args[2:] {
		name, value, _ := strings.Cut(arg, "=")
		o[name] = value
	}
	iat := instant(ts, o["iat"])
	life, err := time.ParseDuration(o["life"])
	ts.Check(err)
	claims := map[string]any{
		"iss": "https://app.example", "aud": o["aud"], "sub": "alice", "sid": "public-id", "jti": "AAAAAAAAAAAAAAAA",
		"gen": 1, "iat": iat.Unix(), "exp": iat.Add(life).Unix(),
		"client_id": "https://app.example", "auth_time": iat.Unix(), "since": iat.UnixMilli(),
	}
	typ := "at+jwt"
	if o["kind"] == "session" {
		typ = "cloakroom+jwt"
		claims["auth_time"] = json.Number(fmt.Sprint(iat.Unix(), ".000"))
		delete(claims, "client_id")
		delete(claims, "since")
		claims["lin"], claims["ver"], claims["crt"], claims["dl"], claims["data"] = "bGluZWFnZTE", 1, iat.Unix(),
			iat.Add(time.Hour).Unix(), json.RawMessage(o["data"])
	}
	if o["nbf"] != "" {
		claims["nbf"] = instant(ts, o["nbf"]).Unix()
	}
	for name := range strings.SplitSeq(o["without"], ",") {
		delete(claims, name)
	}
	text := signAs(ts, set.Key(o["sign"]), typ, claims)
	if o["seal"] != "" {
		text, err = set.Key(o["seal"]).Seal([]byte(text), "JWT")
		ts.Check(err)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text+"\n"), 0o600))
}

func signAs(ts *testscript.TestScript, k *keyset.Key, typ string, claims map[string]any) string {
	payload, err := json.Marshal(claims)
	ts.Check(err)
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64(fmt.Appendf(nil, `{"alg":%q,"kid":%q,"typ":%q}`, k.Algorithm(), k.ID(), typ)) + "." + b64(payload)
	signature, err := k.Sign(input)
	ts.Check(err)
	return input + "." + b64(signature)
}

// serve starts a server of key sets and puts its address into a variable: serve
// VAR TIME FILE... Each request gets the next file: a key file, keys*, as it is
// published at TIME, or now, another file as it is.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	at := instant(ts, args[1])
	var instances []http.Handler
	for _, name := range args[2:] {
		if !strings.HasPrefix(name, "keys") {
			body := ts.ReadFile(name)
			instances = append(instances, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if strings.HasSuffix(name, ".jwks") {
					w.Header().Set("Content-Type", "application/jwk-set+json")
					w.Header().Set("Cache-Control", "max-age=7200")
				}
				fmt.Fprint(w, body)
			}))
			continue
		}
		ring, err := keys.OpenRing(keys.RingConfig{
			File: keys.File{Path: ts.MkAbs(name)}, Now: func() time.Time { return at },
		})
		ts.Check(err)
		ts.Defer(func() { _ = ring.Close() })
		instances = append(instances, ring.Handler())
	}
	var next atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		instances[int(next.Add(1)-1)%len(instances)].ServeHTTP(w, r)
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], strings.TrimPrefix(server.URL, "http://"))
}

// mtime says when a file was written: mtime TIME FILE
func mtime(ts *testscript.TestScript, _ bool, args []string) {
	at, err := time.Parse(time.RFC3339, args[0])
	ts.Check(err)
	ts.Check(os.Chtimes(ts.MkAbs(args[1]), at, at))
}

// facts sets UID and SIZE to the owner and the size of a file.
func facts(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Setenv("UID", strconv.Itoa(os.Geteuid()))
	ts.Setenv("SIZE", strconv.FormatInt(info.Size(), 10))
}
