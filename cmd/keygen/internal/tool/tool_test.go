package tool

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

func TestPrintJSONEscapes(t *testing.T) {
	var out bytes.Buffer
	tl := &Tool{Stdout: &out}
	in := "a\u009b31m\u202e\U000e0041é😀\x7f"
	require.NoError(t, tl.PrintJSON(map[string]json.RawMessage{"x": json.RawMessage(`"` + in + `"`)}))
	require.Contains(t, out.String(), `"a\u009b31m\u202e\udb40\udc41é😀\u007f"`)
	var back map[string]string
	require.NoError(t, json.Unmarshal(out.Bytes(), &back))
	require.Equal(t, in, back["x"])
}

// keygen waits for another one as long as --lock-timeout says.
func TestLockTimeout(t *testing.T) {
	for _, d := range []time.Duration{time.Second, time.Hour} {
		ctx, cancel := (&Tool{lockTimeout: d}).LockContext(t.Context())
		defer cancel()
		deadline, ok := ctx.Deadline()
		require.True(t, ok)
		require.WithinDuration(t, time.Now().Add(d), deadline, 30*time.Second)
	}
}

func TestOnlyOnce(t *testing.T) {
	require.NoError(t, OnlyOnce())
	require.NoError(t, OnlyOnce(false, true, false))
	require.Equal(t, ExitUsage, ExitCode(OnlyOnce(true, false, true)))
	for args, want := range map[string]bool{
		"--passphrase-file=-": true, "--kek-file=-": true, "--passphrase-file=x --passphrase-env=-": false,
	} {
		var secret SecretFlags
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		secret.Add(flags, "")
		require.NoError(t, flags.Parse(strings.Fields(args)))
		require.Equal(t, want, secret.StandardInput(), args)
	}
}

// A new passphrase is typed twice, and only on a terminal.
func TestAskNewNeedsTerminal(t *testing.T) {
	var stderr bytes.Buffer
	_, err := (&Tool{Stdin: strings.NewReader("correct horse\ncorrect horse\n"), Stderr: &stderr}).AskNew()
	require.Equal(t, ExitUsage, ExitCode(err))
	require.ErrorContains(t, err, "--new-passphrase-file")
	require.Empty(t, stderr.String(), "nobody is asked")
}

// Colours are for terminals, unless a flag or a variable says otherwise.
func TestColours(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here")
	}
	defer terminal.Close()
	for _, row := range []struct {
		noColor, flag      string
		onTerminal, inFile bool
	}{
		{"", "auto", true, false},
		{"1", "auto", false, false},
		{"", "always", true, true},
		{"1", "always", true, true},
		{"", "never", false, false},
	} {
		t.Setenv("NO_COLOR", row.noColor)
		for out, want := range map[io.Writer]bool{terminal: row.onTerminal, io.Discard: row.inFile} {
			require.Equal(t, want, (&Tool{Stdout: out, color: row.flag}).Colored(), "%+v", row)
		}
	}
}
