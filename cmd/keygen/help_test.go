package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A broken is an output that takes nothing, as a disk that is full.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// Who redirects the output learns that it was lost.
func TestFailedWrites(t *testing.T) {
	for _, args := range []string{"help", "--help", "list --help", "help list", "completion bash", "completion zsh", "completion fish", "completion powershell"} {
		var stderr bytes.Buffer
		require.Equal(t, exitError, run(strings.Fields(args), nil, broken{}, &stderr), args)
		require.Contains(t, stderr.String(), "no space left", args)
		require.NotContains(t, stderr.String(), "keygen help", args)
	}
}
