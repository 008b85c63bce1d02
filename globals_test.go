package cloakroom_test

import (
	"errors"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNoInit(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range p.files {
			for _, decl := range f.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s: init() runs behind its reader's back; call a function", p.fset.Position(fn.Pos()))
				}
			}
		}
	}
}

// A package-level variable is allowed where it can't change: it has an initial
// value, that value holds no lock or other state, and nothing assigns to it or
// takes its address afterwards.
func TestNoMutableGlobals(t *testing.T) {
	for _, p := range packages(t) {
		for _, problem := range mutableGlobals(p.fset, p.files) {
			t.Error(problem)
		}
	}
}

func mutableGlobals(fset *token.FileSet, files []*ast.File) []string {
	var problems []string
	report := func(pos token.Pos, name, what string) {
		problems = append(problems, fset.Position(pos).String()+": package-level variable "+name+" "+what)
	}
	for _, f := range files {
		for _, spec := range globalSpecs(f) {
			for i, name := range spec.Names {
				if name.Name == "_" {
					continue
				}
				if what := stateful(spec, i); what != "" {
					report(name.Pos(), name.Name, what)
				}
			}
		}
	}
	isGlobal := globalUses(fset, files)
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			for _, target := range written(n) {
				if name := rootName(target); name != nil && isGlobal(name) {
					report(name.Pos(), name.Name, "is changed or has its address taken")
				}
			}
			return true
		})
	}
	return problems
}

// globalSpecs returns the package-level var declarations of f, without those
// that go:embed fills in.
func globalSpecs(f *ast.File) []*ast.ValueSpec {
	var specs []*ast.ValueSpec
	for _, decl := range f.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, spec := range gen.Specs {
			if v := spec.(*ast.ValueSpec); !isEmbed(gen.Doc) && !isEmbed(v.Doc) {
				specs = append(specs, v)
			}
		}
	}
	return specs
}

func isEmbed(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

// stateful says why the i-th variable of spec can hold state, or "".
func stateful(spec *ast.ValueSpec, i int) string {
	var value ast.Expr
	if i < len(spec.Values) {
		value = spec.Values[i]
	}
	typExpr := spec.Type
	if typExpr == nil {
		typExpr = compositeType(value)
	}
	typ := types.ExprString(typExpr)
	switch {
	case typ == "sync.Pool":
		return "" // a cache of scratch memory holds nothing that anybody can observe
	case strings.HasPrefix(typ, "sync.") || strings.HasPrefix(typ, "atomic."):
		return "is a lock or a counter"
	case len(spec.Values) == 0:
		return "has no initial value, so something must set it later"
	case spec.Names[i].IsExported() && typ != "error" && !isErrorValue(value):
		return "is exported, so that other packages could set it"
	}
	if call, ok := value.(*ast.CallExpr); ok {
		if fn := types.ExprString(call.Fun); fn == "make" || fn == "new" {
			return "is empty, so something must fill it later"
		}
	}
	return ""
}

// compositeType returns the type of a literal T{} or &T{}, or an empty name.
func compositeType(value ast.Expr) ast.Expr {
	if address, ok := value.(*ast.UnaryExpr); ok {
		value = address.X
	}
	if lit, ok := value.(*ast.CompositeLit); ok && lit.Type != nil {
		return lit.Type
	}
	return ast.NewIdent("")
}

func isErrorValue(value ast.Expr) bool {
	if name, ok := value.(*ast.SelectorExpr); ok && strings.HasPrefix(name.Sel.Name, "Err") {
		return true // the error of an internal package, given to the users of this one
	}
	call, ok := value.(*ast.CallExpr)
	return ok && slices.Contains([]string{"errors.New", "fmt.Errorf"}, types.ExprString(call.Fun))
}

// globalUses returns a function that tells whether a name stands for a
// package-level variable at its place, and not for a local one.
func globalUses(fset *token.FileSet, files []*ast.File) func(*ast.Ident) bool {
	// Names of this package resolve without the packages that it imports, so
	// nothing is imported, and the errors that follow from that don't matter.
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: noImports{}, Error: func(error) {}}
	pkg, _ := conf.Check("p", fset, files, &info)
	return func(name *ast.Ident) bool {
		v, ok := info.Uses[name].(*types.Var)
		return ok && v.Parent() == pkg.Scope()
	}
}

type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not imported") }

// written returns the expressions that n assigns to, deletes from or takes the
// address of.
func written(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		return n.Lhs
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			return []ast.Expr{n.Key, n.Value}
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			return []ast.Expr{n.X}
		}
	case *ast.CallExpr:
		if fn, ok := n.Fun.(*ast.Ident); ok && slices.Contains([]string{"delete", "clear", "copy"},
			fn.Name) && len(n.Args) > 0 {
			return n.Args[:1]
		}
	}
	return nil
}

// rootName returns x of x, x.f, x[i] and *x.
func rootName(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// The check itself, tried on what it must find and what it must let pass.
func TestMutableGlobalsIsFound(t *testing.T) {
	for _, row := range []struct {
		name, in string
		found    int
	}{
		{"error", `var ErrX = errors.New("x")`, 0},
		{"error of a type of its own", `var ErrX error = &refusal{"x"}`, 0},
		{"table", `var t = map[string]int{"a": 1}; func f() int { return t["a"] }`, 0},
		{"regexp", `var re = regexp.MustCompile("x"); func f() bool { return re.MatchString("") }`, 0},
		{"interface check", `var _ I = (*T)(nil)`, 0},
		{"pool", `var pool sync.Pool; var other = sync.Pool{New: nil}`, 0},
		{"local of the same name", `var t = 1; func f() { t := 2; t++; t = 3 }`, 0},
		{"parameter of the same name", `var t = 1; func f(t *int) { *t = 2 }`, 0},
		{"assigned", `var t = 1; func f() { t = 2 }`, 1},
		{"counted", `var t = 1; func f() { t++ }`, 1},
		{"filled", `var t = map[string]int{}; func f() { t["a"] = 1 }`, 1},
		{"deleted from", `var t = map[string]int{}; func f() { delete(t, "a") }`, 1},
		{"field", `var t = T{}; func f() { t.a.b[0] = 1 }`, 1},
		{"through a pointer", `var t = &T{}; func f() { *t = T{} }`, 1},
		{"address taken", `var t = T{}; func f() { g(&t.a) }`, 1},
		{"in a closure", `var t = 1; func f() { func() { t = 2 }() }`, 1},
		{"no value", `var t T`, 1},
		{"made", `var t = make(map[string]int)`, 1},
		{"lock", `var mu sync.Mutex`, 1},
		{"counter", `var n atomic.Int64`, 1},
		{"counter by value", `var n = &atomic.Int64{}`, 1},
		{"exported", `var Default = T{}`, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			fset, f := parse(t, "package p; "+row.in)
			require.Len(t, mutableGlobals(fset, []*ast.File{f}), row.found)
		})
	}
}
