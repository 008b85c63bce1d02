package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
)

func versionCommand(t *tool.Tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  tool.NoArgs,
	}
	cmd.RunE = t.Do(tool.Tables(), func(context.Context, []string) error {
		v := version()
		if t.Format == "json" {
			return t.PrintJSON(map[string]string{"version": v, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
		}
		_, err := fmt.Fprint(t.Stdout, versionLine())
		return err
	})
	return cmd
}

// versionLine is what keygen version and keygen --version print.
func versionLine() string {
	return fmt.Sprintf("keygen %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// version is that of the module that keygen was built from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
