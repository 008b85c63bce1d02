package cloakroom_test

import (
	"bytes"
	"flag"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write api.txt anew")

// api.txt has one line for each exported name, in the form of the files under
// api/ of the Go distribution. A change of it is a change of the API.
func TestAPI(t *testing.T) {
	var lines []string
	for _, p := range packages(t) {
		if p.isAPI() {
			lines = append(lines, apiLines(p.dir, p.files)...)
		}
	}
	require.NotEmpty(t, lines)
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		require.NoError(t, os.WriteFile("api.txt", []byte(got), 0o644))
	}
	golden, err := os.ReadFile("api.txt")
	require.NoError(t, err)
	want := strings.Split(strings.TrimSpace(string(golden)), "\n")
	for _, line := range lines {
		if !slices.Contains(want, line) {
			t.Errorf("not in api.txt: %s", line)
		}
	}
	for _, line := range want {
		if !slices.Contains(lines, line) {
			t.Errorf("only in api.txt: %s", line)
		}
	}
	if t.Failed() {
		t.Log("if the API should change, run make api and commit api.txt")
	}
}

// The constants of an own type count as one name with it: who has understood
// the type has understood them.
func TestFewNames(t *testing.T) {
	for _, p := range packages(t) {
		if names := exportedNames(p.files); p.isAPI() && len(names) >= 30 {
			t.Errorf("%s exports %d names, want under 30: %s", p.dir, len(names), strings.Join(names, ", "))
		}
	}
}

func TestEverythingIsDocumented(t *testing.T) {
	for _, p := range packages(t) {
		if p.isMain() || p.isTooling() {
			continue
		}
		for _, e := range exports(p.files) {
			if !e.documented && !(e.isField && p.isInternal()) {
				t.Errorf("%s: %s has no doc comment", p.fset.Position(e.pos), e.name)
			}
		}
	}
}

// madeFor has the packages that are for one library, with the types of it that
// they may show.
var madeFor = map[string][]string{
	"otelcloakroom": {"metric.MeterProvider"},
	"grpcauth":      {"grpc.UnaryServerInterceptor", "grpc.StreamServerInterceptor", "credentials.PerRPCCredentials"},
}

// A third-party type in a signature would make that module's next major
// version one of ours. Only package otelcloakroom, which is for OpenTelemetry,
// takes one of its types, and package grpcauth returns what gRPC calls.
func TestNoThirdPartyTypes(t *testing.T) {
	for _, p := range packages(t) {
		if !p.isAPI() {
			continue
		}
		for _, e := range exports(p.files) {
			for _, foreign := range thirdParty(e.file, e.types) {
				if slices.Contains(madeFor[p.dir], foreign) {
					continue
				}
				t.Errorf("%s: %s mentions %s", p.fset.Position(e.pos), e.name, foreign)
			}
		}
	}
}

// Users can't import an internal package, so they could not write down its
// types, nor find out what these can do. A type may be defined by one, as in
// "type Key keyset.Key": its methods are those of the public package.
func TestNoInternalTypes(t *testing.T) {
	for _, p := range packages(t) {
		if !p.isAPI() {
			continue
		}
		for _, e := range exports(p.files) {
			for _, name := range internalTypes(e) {
				t.Errorf("%s: %s mentions %s", p.fset.Position(e.pos), e.name, name)
			}
		}
	}
}

// An export is one exported name: a constant, variable, function, type, method
// or field.
type export struct {
	file       *ast.File
	pos        token.Pos
	name       string // "Policy.Validate" for a method or field
	line       string // its line in api.txt, without the package
	types      []ast.Expr
	documented bool
	isField    bool // also a method of an interface
	isTop      bool // neither method nor field
	isEnum     bool // a constant of a type of the same package
	isDefined  bool // a type that another type defines
}

func exportedNames(files []*ast.File) []string {
	var names []string
	for _, e := range exports(files) {
		if e.isTop && !e.isEnum {
			names = append(names, e.name)
		}
	}
	return names
}

func apiLines(dir string, files []*ast.File) []string {
	var lines []string
	for _, e := range exports(files) {
		lines = append(lines, "pkg "+dir+", "+e.line)
	}
	return lines
}

func exports(files []*ast.File) []export {
	var all []export
	for _, f := range files {
		for _, decl := range f.Decls {
			var found []export
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				found = funcExport(decl)
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					found = append(found, specExports(decl, spec)...)
				}
			}
			for _, e := range found {
				e.file = f
				all = append(all, e)
			}
		}
	}
	return all
}

func funcExport(fn *ast.FuncDecl) []export {
	if !fn.Name.IsExported() {
		return nil
	}
	e := export{pos: fn.Pos(), name: fn.Name.Name, types: []ast.Expr{fn.Type}, documented: fn.Doc != nil, isTop: true}
	e.line = "func " + fn.Name.Name + typeParams(fn.Type.TypeParams) + signature(fn.Type)
	if fn.Recv != nil {
		receiver := fn.Recv.List[0].Type
		base := receiverName(receiver)
		if !ast.IsExported(base) {
			return nil
		}
		e.isTop = false
		e.name = base + "." + fn.Name.Name
		e.line = "method (" + typeString(receiver) + ") " + fn.Name.Name + signature(fn.Type)
	}
	return []export{e}
}

// receiverName returns T of T, *T, T[P] and *T[P, Q].
func receiverName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiverName(e.X)
	case *ast.IndexListExpr:
		return receiverName(e.X)
	}
	if name := rootName(e); name != nil {
		return name.Name
	}
	return ""
}

func specExports(decl *ast.GenDecl, spec ast.Spec) []export {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		return valueExports(decl, spec)
	case *ast.TypeSpec:
		if spec.Name.IsExported() {
			return typeExports(decl, spec)
		}
	}
	return nil
}

func valueExports(decl *ast.GenDecl, spec *ast.ValueSpec) []export {
	var all []export
	for i, name := range spec.Names {
		if !name.IsExported() {
			continue
		}
		e := export{pos: name.Pos(), name: name.Name, isTop: true}
		e.documented = spec.Doc != nil || spec.Comment != nil || decl.Doc != nil
		e.line = decl.Tok.String() + " " + name.Name
		typ := valueType(decl, spec)
		switch {
		case typ != nil:
			_, isOwn := typ.(*ast.Ident)
			e.isEnum = isOwn && decl.Tok == token.CONST && ast.IsExported(typeString(typ))
			e.types = []ast.Expr{typ}
			e.line += " " + typeString(typ)
		case i < len(spec.Values) && isErrorValue(spec.Values[i]):
			e.line += " error"
		}
		if decl.Tok == token.CONST && i < len(spec.Values) {
			e.line += " = " + typeString(spec.Values[i])
		}
		all = append(all, e)
	}
	return all
}

// valueType returns the type that spec names. A constant without a value
// repeats the type of the one above it.
func valueType(decl *ast.GenDecl, spec *ast.ValueSpec) ast.Expr {
	if decl.Tok == token.CONST && spec.Type == nil && len(spec.Values) == 0 {
		i := slices.Index(decl.Specs, ast.Spec(spec))
		return valueType(decl, decl.Specs[i-1].(*ast.ValueSpec))
	}
	return spec.Type
}

func typeExports(decl *ast.GenDecl, spec *ast.TypeSpec) []export {
	head := "type " + spec.Name.Name + typeParams(spec.TypeParams)
	e := export{pos: spec.Pos(), name: spec.Name.Name, documented: spec.Doc != nil || decl.Doc != nil, isTop: true}
	var members []export
	switch typ := spec.Type.(type) {
	case *ast.StructType:
		e.line = head + " struct"
		members = fieldExports(spec.Name.Name, e.line, typ.Fields)
	case *ast.InterfaceType:
		e.line = head + " interface"
		members = fieldExports(spec.Name.Name, e.line, typ.Methods)
	default:
		e.types = []ast.Expr{typ}
		e.line = head + " " + typeString(typ)
		e.isDefined = !spec.Assign.IsValid()
		if spec.Assign.IsValid() {
			e.line = head + " = " + typeString(typ)
		}
	}
	return append([]export{e}, members...)
}

// fieldExports returns the exported fields or methods of a type, and what it
// embeds.
func fieldExports(typeName, head string, fields *ast.FieldList) []export {
	var all []export
	add := func(f *ast.Field, name, line string) {
		all = append(all, export{
			pos: f.Pos(), name: typeName + "." + name, line: head + ", " + line, types: []ast.Expr{f.Type},
			documented: f.Doc != nil || f.Comment != nil, isField: true,
		})
	}
	for _, f := range fields.List {
		if len(f.Names) == 0 {
			add(f, typeString(f.Type), "embedded "+typeString(f.Type))
		}
		for _, name := range f.Names {
			if !name.IsExported() {
				continue
			}
			if fn, ok := f.Type.(*ast.FuncType); ok && strings.HasSuffix(head, " interface") {
				add(f, name.Name, name.Name+signature(fn))
				continue
			}
			add(f, name.Name, name.Name+" "+typeString(f.Type))
		}
	}
	return all
}

// signature returns the parameters and results of fn, by their types alone.
func signature(fn *ast.FuncType) string {
	bare := &ast.FuncType{Params: fn.Params, Results: fn.Results}
	return strings.TrimPrefix(typeString(bare), "func")
}

func typeParams(params *ast.FieldList) string {
	if params == nil {
		return ""
	}
	var all []string
	for _, p := range params.List {
		for _, name := range p.Names {
			all = append(all, name.Name+" "+typeString(p.Type))
		}
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// typeString prints e on one line. The names of parameters are left out at
// every depth, since they can change without anybody noticing.
func typeString(e ast.Expr) string {
	var b bytes.Buffer
	if err := format.Node(&b, token.NewFileSet(), unnamed(e)); err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// unnamed returns e parsed anew, at no position, without names of parameters.
func unnamed(e ast.Expr) ast.Expr {
	again, err := parser.ParseExpr(types.ExprString(e))
	if err != nil {
		return e
	}
	ast.Inspect(again, func(n ast.Node) bool {
		if fn, ok := n.(*ast.FuncType); ok {
			fn.Params = bareFields(fn.Params)
			fn.Results = bareFields(fn.Results)
		}
		return true
	})
	return again
}

func bareFields(fields *ast.FieldList) *ast.FieldList {
	if fields == nil {
		return nil
	}
	bare := &ast.FieldList{Opening: fields.Opening, Closing: fields.Closing}
	for _, f := range fields.List {
		for range max(1, len(f.Names)) {
			bare.List = append(bare.List, &ast.Field{Type: f.Type})
		}
	}
	return bare
}

// thirdParty returns the names in exprs that come from other people's modules.
func thirdParty(f *ast.File, exprs []ast.Expr) []string {
	return mentioned(f, exprs, func(imported string) bool { return !isOurs(imported) && !isStandard(imported) })
}

// internalTypes returns the names in the signature of e that come from internal
// packages of ours.
func internalTypes(e export) []string {
	if e.isDefined {
		return nil
	}
	return mentioned(e.file, e.types, func(imported string) bool {
		return isOurs(imported) && strings.Contains(imported, "/internal/")
	})
}

// mentioned returns the names in exprs that come from unwanted packages.
func mentioned(f *ast.File, exprs []ast.Expr, unwanted func(imported string) bool) []string {
	wanted := map[string]bool{} // by the name that the file knows the package by
	for i, imported := range imports(f) {
		name := regexp.MustCompile(`/v[0-9]+$`).ReplaceAllString(imported, "")
		name = path.Base(name)
		if f.Imports[i].Name != nil {
			name = f.Imports[i].Name.Name
		}
		wanted[name] = !unwanted(imported)
	}
	var found []string
	for _, e := range exprs {
		ast.Inspect(e, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && !wanted[x.Name] {
				found = append(found, x.Name+"."+sel.Sel.Name)
			}
			return true
		})
	}
	return found
}

// The tests above, tried on what they must find.
func TestExportsAreFound(t *testing.T) {
	_, f := parse(t, `package p
import ("context"; "net/http"; jwk "example.org/jwx"; "github.com/x/jwt/v5"; "github.com/x/go-yaml")

const A, b = 1, 2
const (
	// C is the first.
	C Kind = iota + 1
	D // the second
)
var ErrX = errors.New("x") // why
type Kind uint8
type Alias = http.Handler
type Key[T any, U comparable] string
// Config is documented.
type Config struct {
	_ [0]func()
	Name, Host string
	On func(ctx context.Context, n int) (ok bool, err error) // called
	hidden int
	Set jwk.Set
	http.Handler
}
type Store interface {
	// Get gets.
	Get(ctx context.Context, key string) (value []byte, ok bool, err error)
	close()
}
// New makes one.
func New(c Config, rest ...jwt.Token) (m *Config, err error) { return nil, nil }
func Map[T, U any](in []T, f func(v T) U) []U { return nil }
func (k Key[T, U]) Get(a, b int) (v T) { return }
func (c *Config) Run() {}
func (c *Config) parse() {}
func (h hidden) Public(d yaml.Decoder) {}
func Read(d yaml.Decoder) {}
`)
	files := []*ast.File{f}
	require.Equal(t, []string{
		"pkg p, const A = 1",
		"pkg p, const C Kind = iota + 1",
		"pkg p, const D Kind",
		"pkg p, var ErrX error",
		"pkg p, type Kind uint8",
		"pkg p, type Alias = http.Handler",
		"pkg p, type Key[T any, U comparable] string",
		"pkg p, type Config struct",
		"pkg p, type Config struct, Name string",
		"pkg p, type Config struct, Host string",
		"pkg p, type Config struct, On func(context.Context, int) (bool, error)",
		"pkg p, type Config struct, Set jwk.Set",
		"pkg p, type Config struct, embedded http.Handler",
		"pkg p, type Store interface",
		"pkg p, type Store interface, Get(context.Context, string) ([]byte, bool, error)",
		"pkg p, func New(Config, ...jwt.Token) (*Config, error)",
		"pkg p, func Map[T any, U any]([]T, func(T) U) []U",
		"pkg p, method (Key[T, U]) Get(int, int) T",
		"pkg p, method (*Config) Run()",
		"pkg p, func Read(yaml.Decoder)",
	}, apiLines("p", files))

	var undocumented, foreign []string
	for _, e := range exports(files) {
		if !e.documented {
			undocumented = append(undocumented, e.name)
		}
		foreign = append(foreign, thirdParty(e.file, e.types)...)
	}
	require.Equal(t, []string{
		"A", "Kind", "Alias", "Key", "Config.Name", "Config.Host", "Config.Set", "Config.http.Handler",
		"Store", "Map", "Key.Get", "Config.Run", "Read",
	}, undocumented)
	require.Equal(t, []string{"jwk.Set", "jwt.Token", "yaml.Decoder"}, foreign)

	_, f = parse(t, `package p
import ("`+modulePath+`/internal/keyset"; "`+modulePath+`/keys")
type Key keyset.Key
type Same = keyset.Key
type Config struct { Key keyset.Key; Ring *keys.Ring }
var ErrX = keyset.ErrX
func New(c []*keyset.Key) (map[string]keys.Ring, func(keyset.Set), error) { return nil, nil, keyset.ErrX }
func (k *Key) Inner() *keyset.Key { return nil }
func (k *Key) inner() *keyset.Key { return nil }
`)
	var internal []string
	for _, e := range exports([]*ast.File{f}) {
		internal = append(internal, internalTypes(e)...)
	}
	require.Equal(t, []string{"keyset.Key", "keyset.Key", "keyset.Key", "keyset.Set", "keyset.Key"}, internal)
	require.Equal(t, []string{"A", "ErrX", "Kind", "Alias", "Key", "Config", "Store", "New", "Map", "Read"},
		exportedNames(files))
}

func parse(t *testing.T, source string) (*token.FileSet, *ast.File) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", source, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	return fset, f
}
