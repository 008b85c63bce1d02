package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// machine says where the figures come from: this machine, and the versions of
// the peers in go.mod, the working directory's.
func machine(f *figures) string {
	parts := []string{
		time.Now().UTC().Format(time.DateOnly),
		fmt.Sprintf("%d CPUs (%s)", runtime.NumCPU(), f.cpu),
		runtime.GOOS + "/" + runtime.GOARCH,
		runtime.Version(),
		fmt.Sprintf("the median of %d rounds", f.rounds),
	}
	return "Measured on " + strings.Join(parts, ", ") + ".\n\n" +
		"Servers: " + strings.Join(servers(), ", ") + ".\n\n" +
		"Modules: " + strings.Join(modules(), ", ") + ".\n"
}

func servers() []string {
	postgres, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	var all []string
	for name, programs := range map[string][]string{
		"Redis": {"redis-server"}, "PostgreSQL": append(postgres, "postgres"), "MariaDB": {"mariadbd", "/usr/sbin/mariadbd"},
	} {
		for _, program := range programs {
			output, err := exec.Command(program, "--version").Output()
			if err == nil {
				all = append(all, name+" "+regexp.MustCompile(`\d+\.\d+(\.\d+)?`).FindString(string(output)))
				break
			}
		}
	}
	slices.Sort(all)
	return all
}

// modules returns the direct requirements of go.mod with their versions.
func modules() []string {
	data, _ := os.ReadFile("go.mod")
	var all []string
	for line := range strings.Lines(string(data)) {
		module, version, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && strings.HasPrefix(version, "v") && !strings.HasSuffix(version, "// indirect") &&
			!strings.HasPrefix(module, "github.com/cloakroom-go/") && !strings.HasSuffix(module, "/testify") {
			all = append(all, strings.TrimPrefix(module, "github.com/")+" "+version)
		}
	}
	return all
}
