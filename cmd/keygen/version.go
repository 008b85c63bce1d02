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
	cmd.RunE = t.Do(func(context.Context, []string) error {
		if t.Format == "json" {
			platform := runtime.GOOS + "/" + runtime.GOARCH
			return t.PrintJSON(map[string]string{"version": version(), "go": runtime.Version(), "platform": platform})
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
