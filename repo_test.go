// Package cloakroom_test holds the rules of the repository as tests: who may
// import whom, what go.mod may say, which names are exported.
package cloakroom_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

const modulePath = "github.com/cloakroom-go/cloakroom"

// A sourcePackage is a folder with Go files, of this module or of one nested in
// it.
type sourcePackage struct {
	dir   string // "opaque/storetest"; "." for the root
	name  string
	fset  *token.FileSet
	files []*ast.File // without tests
	tests []*ast.File
}

func (p *sourcePackage) isMain() bool { return p.name == "main" }

func (p *sourcePackage) isInternal() bool {
	return slices.Contains(strings.Split(p.dir, "/"), "internal")
}

// isTooling reports whether p belongs to a module that nobody imports.
func (p *sourcePackage) isTooling() bool {
	top, _, _ := strings.Cut(p.dir, "/")
	return slices.Contains([]string{"benchmarks", "e2e", "interop", "tools"}, top)
}

// isAPI reports whether p is there for others to import.
func (p *sourcePackage) isAPI() bool { return !p.isMain() && !p.isInternal() && !p.isTooling() }

// packages returns every package that has more than tests, and fails if there
// is none. All tests share them, and only read.
func packages(t *testing.T) []*sourcePackage {
	t.Helper()
	all, err := parsed()
	require.NoError(t, err)
	require.NotEmpty(t, all, "no packages: the test would pass without testing")
	return all
}

var parsed = sync.OnceValues(func() ([]*sourcePackage, error) {
	files, err := listFiles()
	if err != nil {
		return nil, err
	}
	byDir := map[string]*sourcePackage{}
	for _, file := range files {
		if path.Ext(file) != ".go" || strings.Contains("/"+file, "/testdata/") {
			continue
		}
		p := byDir[path.Dir(file)]
		if p == nil {
			p = &sourcePackage{dir: path.Dir(file), fset: token.NewFileSet()}
			byDir[p.dir] = p
		}
		f, err := parser.ParseFile(p.fset, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(file, "_test.go") {
			p.tests = append(p.tests, f)
			continue
		}
		p.name = f.Name.Name
		p.files = append(p.files, f)
	}
	var all []*sourcePackage
	for _, p := range byDir {
		if len(p.files) > 0 {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b *sourcePackage) int { return strings.Compare(a.dir, b.dir) })
	return all, nil
})

// repoFiles returns every file of the repository, by slash-separated path. What
// git ignores because a tool left it behind starts with a dot, or is called
// node_modules.
func repoFiles(t *testing.T) []string {
	t.Helper()
	files, err := listFiles()
	require.NoError(t, err)
	return files
}

func listFiles() (files []string, err error) {
	err = filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && file != "." && d.Name() != ".ci",
			d.IsDir() && d.Name() == "node_modules":
			return fs.SkipDir
		case d.Type().IsRegular():
			files = append(files, filepath.ToSlash(file))
		}
		return nil
	})
	return files, err
}

func imports(f *ast.File) []string {
	var paths []string
	for _, spec := range f.Imports {
		p, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
		paths = append(paths, p)
	}
	return paths
}

func isOurs(importPath string) bool {
	return importPath == modulePath || strings.HasPrefix(importPath, modulePath+"/")
}

// isStandard reports whether importPath belongs to the standard library, whose
// paths don't begin with a domain.
func isStandard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

// An importRule says which packages of ours a package may import, outside of
// its tests.
type importRule struct {
	dir string
	may []string
}

// importTable has a rule for each package. It names only packages above it, so
// there is no circle.
var importTable = []importRule{
	{"internal/fault", nil},
	{"internal/strict", nil},
	{"internal/storeurl", []string{"internal/fault"}},
	{"internal/instant", nil},
	{"internal/recent", nil},
	{"session", []string{"internal/fault", "internal/strict", "internal/instant"}},
	{"internal/jose", []string{"internal/strict"}},
	{"internal/durable", nil},
	{"internal/span", nil},
	{"internal/webdoc", nil},
	{"internal/weburl", nil},
	{"internal/clientauth", nil},
	{"internal/secret", nil},
	{"internal/reqcopy", nil},
	{"internal/servertest", nil},
	{"internal/keyset", []string{"internal/instant", "internal/jose", "internal/durable", "internal/span", "internal/strict", "internal/secret", "internal/fault"}},
	{"internal/rotation", []string{"internal/instant", "internal/keyset", "internal/span"}},
	{"internal/exposure", []string{"internal/keyset", "internal/span"}},
	{"internal/timeline", []string{"internal/keyset", "internal/rotation"}},
	{"keys", []string{"internal/keyset", "internal/jose", "internal/durable", "internal/span", "internal/fault", "internal/webdoc", "internal/weburl"}},
	{"keys/rotation", []string{"keys", "internal/keyset", "internal/rotation"}},
	{"internal/claims", []string{"session", "keys", "internal/fault", "internal/instant", "internal/jose", "internal/keyset"}},
	{"revocation", []string{"session", "keys", "internal/claims", "internal/clientauth", "internal/durable", "internal/fault", "internal/jose", "internal/keyset", "internal/webdoc", "internal/weburl"}},
	{"revocation/logtest", []string{"revocation", "session"}},
	{"token", []string{"session", "keys", "internal/claims", "internal/keyset", "internal/fault", "internal/instant", "internal/jose", "internal/recent", "internal/reqcopy", "internal/webdoc", "internal/weburl"}},
	{"internal/diagnose", []string{"keys", "internal/claims", "internal/fault", "internal/jose", "internal/keyset", "internal/span"}},
	{"backchannel", []string{"session", "revocation", "token", "internal/claims", "internal/fault", "internal/jose", "internal/keyset"}},
	{"opaque", []string{"session", "internal/fault", "internal/strict", "internal/instant", "internal/recent"}},
	{"internal/stored", []string{"opaque"}},
	{"internal/itemtest", []string{"opaque"}},
	{"opaque/storetest", []string{"opaque", "session", "internal/itemtest", "internal/servertest"}},
	{"devices", []string{"session", "opaque", "internal/fault"}},
	{"devices/indextest", []string{"devices", "session", "internal/itemtest", "internal/servertest"}},
	{"introspect", []string{"internal/claims", "internal/clientauth", "internal/fault", "internal/jose", "internal/recent", "internal/weburl", "session", "token"}},
	{"middleware", []string{"session", "internal/fault", "internal/reqcopy"}},
	{"internal/apptest", []string{"session", "keys", "revocation", "token", "opaque", "devices", "middleware",
		"internal/stored", "internal/servertest"}},
	{"config", []string{"introspect", "internal/clientauth", "session", "internal/durable", "internal/fault", "internal/span", "internal/weburl", "internal/secret", "internal/storeurl", "internal/keyset", "keys", "keys/rotation", "revocation", "token", "opaque", "devices", "middleware"}},
	{"internal/instancetest", []string{"session", "keys", "opaque", "config", "internal/keyset", "internal/apptest",
		"internal/servertest"}},
	{"sessiontest", []string{"session", "keys", "revocation", "token", "middleware"}},
	{"cmd/keygen/internal/tool", []string{"internal/keyset", "internal/rotation", "internal/secret", "internal/span", "keys"}},
	{"cmd/keygen/internal/doctor", []string{"cmd/keygen/internal/tool", "internal/durable", "internal/keyset", "internal/span"}},
	{"cmd/keygen/internal/jwkscheck", []string{"cmd/keygen/internal/tool", "internal/keyset", "internal/span", "internal/weburl"}},
	{"cmd/keygen/internal/look", []string{"cmd/keygen/internal/tool", "internal/keyset", "internal/rotation", "internal/span", "internal/timeline"}},
	{"cmd/keygen/internal/steps", []string{"cmd/keygen/internal/tool", "internal/exposure", "internal/keyset", "internal/rotation", "internal/span"}},
	{"cmd/keygen/internal/tokens", []string{"cmd/keygen/internal/tool", "internal/claims", "internal/diagnose", "internal/jose", "internal/span", "keys"}},
	{"cmd/keygen/internal/importing", []string{"cmd/keygen/internal/tool", "internal/jose", "internal/keyset", "internal/rotation", "internal/secret"}},
	{"cmd/keygen/internal/keytest", nil},
	{"cmd/keygen", []string{"cmd/keygen/internal/doctor", "cmd/keygen/internal/importing", "cmd/keygen/internal/jwkscheck", "cmd/keygen/internal/look", "cmd/keygen/internal/steps", "cmd/keygen/internal/tokens", "cmd/keygen/internal/tool", "internal/keyset"}},
	{"tools/summary", nil},
	{"e2e", nil},
	{"interop/frameworks/site", []string{"session", "middleware", "config"}},
	{"interop/frameworks/chi", []string{"interop/frameworks/site", "middleware"}},
	{"interop/frameworks/echo", []string{"interop/frameworks/site", "middleware"}},
	{"interop/frameworks/gin", []string{"interop/frameworks/site", "middleware"}},
	{"interop/frameworks/gorilla", []string{"interop/frameworks/site", "middleware"}},
	{"interop/frameworks/servemux", []string{"interop/frameworks/site", "middleware"}},
	{"interop/frameworks/adopt", []string{"session"}},
	{"opaque/redisstore", []string{"opaque", "revocation", "devices", "session", "internal/fault", "internal/instant", "internal/recent", "internal/stored", "internal/storeurl"}},
	{"opaque/memcachestore", []string{"opaque", "session", "internal/fault", "internal/stored", "internal/storeurl"}},
	{"opaque/sqlstore", []string{"opaque", "revocation", "devices", "session", "internal/fault", "internal/instant", "internal/storeurl"}},
	{"grpcauth", []string{"session", "token"}},
	{"otelcloakroom", []string{"session", "middleware", "config", "revocation"}},
	{"cmd/demo", []string{"internal/keyset", "internal/rotation", "internal/timeline", "internal/diagnose", "session", "keys", "token", "middleware", "config", "opaque", "opaque/memcachestore", "opaque/redisstore", "opaque/sqlstore"}},
	{"cmd/sessions", []string{"config", "devices", "middleware", "opaque", "opaque/redisstore", "opaque/sqlstore", "revocation", "session"}},
	{"benchmarks", nil},
	{"benchmarks/report", nil},
	{"interop", []string{"keys", "token"}},
}

func TestImportTable(t *testing.T) {
	for _, p := range packages(t) {
		i := slices.IndexFunc(importTable, func(rule importRule) bool { return rule.dir == p.dir })
		if i < 0 {
			t.Errorf("%s: the import table lacks this package; add a row here and in CONTRIBUTING.md", p.dir)
			continue
		}
		unused := slices.Clone(importTable[i].may)
		for _, f := range p.files {
			for _, imported := range imports(f) {
				dir := strings.TrimPrefix(imported, modulePath+"/")
				if isOurs(imported) && !slices.Contains(importTable[i].may, dir) {
					t.Errorf("%s: %s may not import %s", p.fset.Position(f.Pos()).Filename, p.dir, dir)
				}
				unused = slices.DeleteFunc(unused, func(may string) bool { return may == dir })
			}
		}
		if len(unused) > 0 {
			t.Errorf("%s does not import %s: take it out of its row, here and in CONTRIBUTING.md",
				p.dir, strings.Join(unused, ", "))
		}
	}
}

func TestImportTableHasNoCircle(t *testing.T) {
	for i, row := range importTable {
		for _, may := range row.may {
			above := slices.ContainsFunc(importTable[:i], func(rule importRule) bool { return rule.dir == may })
			require.True(t, above, "%s may import %s, which is not above it", row.dir, may)
		}
	}
}

// The handler's view must serve workers and gRPC as well as HTTP, and whoever
// runs the conformance suite should not inherit our taste in assertions.
func TestForbiddenImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range slices.Concat(p.files, p.tests) {
			for _, imported := range imports(f) {
				at := p.fset.Position(f.Pos()).Filename
				isTest := strings.HasSuffix(at, "_test.go")
				if p.dir == "session" && !isTest {
					require.NotEqual(t, "net/http", imported, at)
				}
				suites := []string{"opaque/storetest", "revocation/logtest", "devices/indextest"}
				if slices.Contains(suites, p.dir) && !isStandard(imported) {
					may := isOurs(imported) || imported == "github.com/anishathalye/porcupine"
					require.True(t, may, "%s imports %s", at, imported)
				}
				if p.dir != "interop" {
					require.False(t, strings.HasPrefix(imported, "github.com/lestrrat-go/jwx/v2"),
						"%s: jwx v2 gets no fixes any more; use v3", at)
				}
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		var comments []string
		for _, f := range p.files {
			if f.Doc != nil {
				comments = append(comments, f.Doc.Text())
			}
		}
		if len(comments) != 1 {
			t.Errorf("%s: %d package comments, want one", p.dir, len(comments))
			continue
		}
		first, _, _ := strings.Cut(comments[0], "\n")
		if want := "Package " + p.name + " "; !p.isMain() && !strings.HasPrefix(first, want) {
			t.Errorf("%s: the package comment starts with %q, want %q", p.dir, first, want)
		}
		if regexp.MustCompile(`(?i)copyright|licen[cs]e|spdx`).MatchString(first) {
			t.Errorf("%s: a licence header stands where the package comment should", p.dir)
		}
	}
}

// Words that mark unfinished work; that belongs into an issue.
func TestNoUnfinishedWork(t *testing.T) {
	unfinished := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	read := 0
	for _, file := range repoFiles(t) {
		if strings.Contains("/"+file, "/testdata/") || path.Base(file) == "go.sum" {
			continue // test vectors and checksums are not our words
		}
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		if !utf8.Valid(data) {
			continue
		}
		read++
		for i, line := range strings.Split(string(data), "\n") {
			if word := unfinished.FindString(line); word != "" {
				t.Errorf("%s:%d: %s", file, i+1, word)
			}
		}
	}
	require.Positive(t, read)
}
