package main

import (
	"strings"
	"testing"
)

const stream = `== test .
{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:5: fine\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- PASS: TestA (0.00s)\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB/sub","Output":"=== RUN   TestB/sub\n"}
{"Action":"output","Package":"p","Test":"TestB/sub","Output":"    b_test.go:7: jose is not installed: get it\n"}
{"Action":"output","Package":"p","Test":"TestB/sub","Output":"    script.go:8: the log of a script\n"}
{"Action":"output","Package":"p","Test":"TestB/sub","Output":"    --- SKIP: TestB/sub (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB/sub"}
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:9: jose is not installed: get it\n"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"skip","Package":"p","Test":"TestD"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
{"Action":"output","Package":"empty","Output":"?   \tempty\t[no test files]\n"}
{"Action":"skip","Package":"empty"}
{"ImportPath":"q","Action":"build-output","Output":"q.go:1: syntax error\n"}
{"Action":"output","Package":"r","Test":"TestE","Output":"    e_test.go:3: wrong\n"}
{"Action":"output","Package":"r","Test":"TestE","Output":"--- FAIL: TestE (0.00s)\n"}
{"Action":"fail","Package":"r","Test":"TestE"}
{"Action":"output","Package":"r","Test":"TestF","Output":"the process died\n"}
{"Action":"output","Package":"r","Output":"FAIL\n"}
{"Action":"output","Package":"r","Output":"FAIL\tr\t0.1s\n"}
{"Action":"fail","Package":"r"}
{"counted": 7
`

func TestSummarize(t *testing.T) {
	var out strings.Builder
	skipped, err := summarize(strings.NewReader(stream), &out)
	if err != nil {
		t.Fatal(err)
	}
	if want := "TestB/sub, TestC (jose is not installed: get it); TestD (no reason given)"; skipped != want {
		t.Errorf("skipped %q, want %q", skipped, want)
	}
	want := "== test .\nok  \tp\t0.1s\n?   \tempty\t[no test files]\nq.go:1: syntax error\n" +
		"    e_test.go:3: wrong\n--- FAIL: TestE (0.00s)\nthe process died\nFAIL\nFAIL\tr\t0.1s\n{\"counted\": 7\n"
	if out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}
