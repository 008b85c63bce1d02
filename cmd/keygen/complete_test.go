package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// The formats that are completed are those that the command takes.
func TestCompletedFormats(t *testing.T) {
	tl := tool.New(strings.NewReader(""), io.Discard, io.Discard)
	seen := 0
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if cmd.HasSubCommands() {
			return
		}
		formats, _ := completeFormat(cmd, nil, "")
		require.EqualError(t, cmd.RunE(cmd, nil), `--format "nope": use `+strings.Join(formats, ", "), tool.Called(cmd))
		seen++
	}
	root := root(tl, io.Discard)
	tl.Format = "nope"
	walk(root)
	require.Greater(t, seen, 20)
}

// Each choice is one that the flag takes.
func TestChoices(t *testing.T) {
	all := choices()
	for flag, use := range map[string]keyset.Use{"sign-alg": keyset.Signature, "enc-alg": keyset.Encryption} {
		for _, alg := range all[flag] {
			require.True(t, alg == "none" || keyset.Algorithm(alg).Use() == use, alg)
		}
	}
	for _, alg := range all["alg"] {
		require.NotEmpty(t, keyset.Algorithm(alg).Use(), alg)
	}
	require.Len(t, all["alg"], 8)
}
