package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const output = `goos: linux
cpu: Some CPU
BenchmarkBare/case=read/clients=64/peer=bare-2          	1000	   1000 ns/op	0 B/op
BenchmarkRedis/case=read/clients=64/peer=ours-2         	1000	  11000 ns/op	9 allocs/op
BenchmarkRedis/case=read/clients=64/peer=scs-go-redis-2 	1000	  21000 ns/op
BenchmarkRedis/case=read/clients=64/peer=valkey-go-2    	1000	   8000 ns/op
BenchmarkVolume/sessions=1000000/peer=ours-2            	   1	  250.0 B/session	 30.0 gc-ms
BenchmarkVolume/sessions=1000000/peer=scs-2             	   1	  500.0 B/session	 15.0 gc-ms
BenchmarkRedis/case=read/clients=64/peer=ours-2         	1000	  13000 ns/op	9 allocs/op
BenchmarkRedis/case=read/clients=64/peer=scs-go-redis-2 	1000	  25000 ns/op
PASS
`

func TestReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	require.NoError(t, os.WriteFile(file, []byte("before\n"+begin+"old\n"+end+"after\n"), 0o600))
	require.NoError(t, run([]string{file}, strings.NewReader(output)))
	require.NoError(t, run([]string{file}, strings.NewReader(output)), "it can be replaced again")
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	got := string(data)
	require.True(t, strings.HasPrefix(got, "before\n"+begin), got)
	require.True(t, strings.HasSuffix(got, end+"after\n"), got)
	require.NotContains(t, got, "old\n")
	for _, want := range []string{
		"(Some CPU)", "the median of 2 rounds",
		"| Redis: read, 64 clients, above a bare GET of valkey-go | at most 4 µs | 4.00 µs | reached |\n",
		"| Redis: read, 64 clients, scs with go-redis to ours | at least 2 times | 2.00 times | reached |\n",
		"| in memory: one of 1 million sessions | at most 300 B | 250 B | reached |\n",
		"| in memory: a garbage collection with 1 million sessions | at most 20 ms | 30.0 ms | **missed** |\n",
		"| stateless: read one value | at most 1.1 µs | not measured |  |\n",
		"\n### Redis\n\n| case | clients | ours | scs-go-redis | valkey-go |\n|---|---|---|---|---|\n",
		"| read | 64 | 11.0 | 22.0 (2.00) | 7.00 (0.64) |\n",
		"\n### Volume\n\n| sessions | figure | ours | scs |\n|---|---|---|---|\n| 1000000 | B/session | 250 | 500 (2.00) |\n",
	} {
		require.Contains(t, got, want)
	}
}

func TestReportRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	require.NoError(t, os.WriteFile(file, []byte("no markers\n"), 0o600))
	require.ErrorContains(t, run([]string{file}, strings.NewReader(output)), "lacks the markers")
	require.ErrorContains(t, run([]string{file}, strings.NewReader("PASS\n")), "no benchmarks")
	require.ErrorContains(t, run(nil, strings.NewReader(output)), "usage")
}
