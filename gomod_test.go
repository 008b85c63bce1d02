package cloakroom_test

import (
	"go/ast"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testBlock is the comment of the require block for what only tests import.
const testBlock = "// Test dependencies."

// A requirement is one line of a go.mod's require blocks.
type requirement struct {
	module   string
	indirect bool
	forTests bool // stands in the block of the test dependencies
}

type goMod struct {
	file     string
	module   string
	requires []requirement
	replaces []string
}

// goMods returns the go.mod of every module in the repository, the root's
// first.
func goMods(t *testing.T) []goMod {
	t.Helper()
	mods := []goMod{parseGoMod(t, "go.mod")}
	for _, file := range repoFiles(t) {
		if path.Base(file) == "go.mod" && file != "go.mod" {
			mods = append(mods, parseGoMod(t, file))
		}
	}
	return mods
}

func parseGoMod(t *testing.T, file string) goMod {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	mod := goMod{file: file}
	block, comment, forTests := "", "", false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		verb, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" || verb == "//":
			comment = line
			continue
		case line == ")":
			block, forTests = "", false
		case block == "" && rest == "(":
			block, forTests = verb, comment == testBlock
		case block != "":
			mod.add(block, line, forTests)
		default:
			mod.add(verb, rest, comment == testBlock)
		}
		comment = ""
	}
	return mod
}

func (m *goMod) add(verb, line string, forTests bool) {
	switch verb {
	case "module":
		m.module = line
	case "replace":
		m.replaces = append(m.replaces, line)
	case "require":
		module, version, _ := strings.Cut(line, " ")
		m.requires = append(m.requires, requirement{module, strings.HasSuffix(version, "// indirect"), forTests})
	}
}

// isPublished reports whether others get m through the module proxy, where a
// replace has no effect.
func (m goMod) isPublished() bool {
	top, _, _ := strings.Cut(m.file, "/")
	return !slices.Contains([]string{"benchmarks", "cmd", "e2e", "interop", "tools"}, top)
}

// root returns the way from m to the root, such as "../..".
func (m goMod) root() string {
	return strings.TrimSuffix(strings.Repeat("../", strings.Count(m.file, "/")), "/")
}

func TestGoMod(t *testing.T) {
	for _, mod := range goMods(t) {
		dir := path.Join(modulePath, path.Dir(mod.file))
		require.Equal(t, dir, mod.module, mod.file)
		if mod.isPublished() {
			// Until the first release there is no version of the root to require.
			replaces := slices.DeleteFunc(mod.replaces, func(line string) bool { return line == modulePath+" => "+mod.root() })
			require.Empty(t, replaces, "%s: a published module can't replace; use go.work", mod.file)
		}
		for _, r := range mod.requires {
			v2 := strings.HasPrefix(r.module, "github.com/lestrrat-go/jwx/v2")
			require.False(t, v2 && mod.file != "interop/go.mod", "%s: jwx v2 gets no fixes any more; use v3", mod.file)
		}
	}
}

// The workspace has the modules that the commands in README.md and the work on
// the stores need, and no others: each more makes the first build wait for the
// go.mod files of its dependencies.
func TestWorkspace(t *testing.T) {
	want := []string{"."}
	for _, mod := range goMods(t)[1:] {
		if dir := path.Dir(mod.file); mod.isPublished() || path.Dir(dir) == "cmd" {
			want = append(want, "./"+dir)
		}
	}
	data, err := os.ReadFile("go.work")
	require.NoError(t, err)
	require.Equal(t, "go 1.26.4\n\nuse (\n\t"+strings.Join(want, "\n\t")+"\n)\n", string(data))
}

// Whoever uses Cloakroom should see at a glance which modules come along, and
// which serve its tests alone.
func TestTestDependenciesStandApart(t *testing.T) {
	mod := parseGoMod(t, "go.mod")
	inCode, inTests := rootImports(t)
	for _, r := range mod.requires {
		switch isUsed := func(paths map[string]bool) bool { return usesModule(mod, paths, r.module) }; {
		case isUsed(inCode):
			require.False(t, r.forTests, "go.mod: %s is no test dependency", r.module)
		case isUsed(inTests) && !r.indirect:
			require.True(t, r.forTests, "go.mod: only tests import %s; move it to the block %q", r.module, testBlock)
		case !isUsed(inTests):
			require.True(t, r.indirect, "go.mod: nothing imports %s; run go mod tidy", r.module)
		}
	}
}

func TestParseGoMod(t *testing.T) {
	file := filepath.Join(t.TempDir(), "go.mod")
	require.NoError(t, os.WriteFile(file, []byte(`module example.org/m

go 1.26

require (
	example.org/a v1.0.0
	example.org/b v1.0.0 // indirect
)

// Test dependencies.
require (
	example.org/c v1.0.0
)

require example.org/d v1.0.0

replace example.org/a => ../a
`), 0o600))
	require.Equal(t, goMod{
		file: file, module: "example.org/m",
		requires: []requirement{
			{"example.org/a", false, false}, {"example.org/b", true, false},
			{"example.org/c", false, true}, {"example.org/d", false, false},
		},
		replaces: []string{"example.org/a => ../a"},
	}, parseGoMod(t, file))
}

// rootImports returns what the root module's packages and their tests import. A
// package that imports testing is part of the tests.
func rootImports(t *testing.T) (inCode, inTests map[string]bool) {
	inCode, inTests = map[string]bool{}, map[string]bool{}
	var nested []string
	for _, mod := range goMods(t)[1:] {
		nested = append(nested, path.Dir(mod.file))
	}
	for _, p := range packages(t) {
		if slices.ContainsFunc(nested, func(dir string) bool { return p.dir == dir || strings.HasPrefix(p.dir, dir+"/") }) {
			continue
		}
		all := map[bool]map[string]bool{false: inCode, true: inTests}
		for _, f := range slices.Concat(p.files, p.tests) {
			for _, imported := range imports(f) {
				all[isForTests(p, f)][imported] = true
			}
		}
	}
	return inCode, inTests
}

func isForTests(p *sourcePackage, f *ast.File) bool {
	return slices.Contains(p.tests, f) || slices.ContainsFunc(p.files, func(f *ast.File) bool {
		return slices.Contains(imports(f), "testing")
	})
}

// usesModule reports whether one of paths is in module: it has the longest
// path of mod's requirements that fits.
func usesModule(mod goMod, paths map[string]bool, module string) bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(paths)), func(imported string) bool {
		owner := ""
		for _, r := range mod.requires {
			if (imported == r.module || strings.HasPrefix(imported, r.module+"/")) && len(r.module) > len(owner) {
				owner = r.module
			}
		}
		return owner == module
	})
}
