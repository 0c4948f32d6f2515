package layout

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/constant"
	"go/format"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

//go:generate go test -run TestEnums -update

// enumeration is an integer type with a String method.
type enumeration struct {
	path, pkg, name string // import path and name of its package, and its own name
	dir             string
	exported        bool // and in a package that can be imported
	kind            types.BasicKind
	known           []int64 // the values of its constants
}

func (e *enumeration) key() string { return e.path + "." + e.name }

// numbers are types whose values are numbers of the protocol or the kernel: any value
// is as good as another, and String only writes it down.
var numbers = map[string]bool{
	module + "/bgp/wire.Community":         true, // 65000:90
	module + "/bgp/wire.ExtCommunity":      true, // rt:65000:5
	module + "/fib.NextHopID":              true, // next-hop object 0x48460000
	module + "/internal/fibcore.NextHopID": true,
}

// pack is what go list says about a package.
type pack struct {
	ImportPath, Dir, Export, Name string
	Module                        *struct{ Main bool }
}

// enumerations finds all integer types of the module that have a String method.
func enumerations(t *testing.T) (found []enumeration) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,Name,Module", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var own []pack
	export := map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p pack
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		export[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Main && p.Export != "" { // not one of tests alone
			own = append(own, p)
		}
	}
	slices.SortFunc(own, func(a, b pack) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(export[path]) })
	for _, p := range own {
		pkg, err := imports.Import(p.ImportPath)
		if err != nil {
			t.Fatalf("%s: %v", p.ImportPath, err)
		}
		for _, name := range pkg.Scope().Names() {
			if e, ok := enumerationOf(pkg, name); ok {
				e.dir, e.exported = p.Dir, token.IsExported(name) && p.Name != "main"
				found = append(found, e)
			}
		}
	}
	return found
}

func enumerationOf(pkg *types.Package, name string) (e enumeration, ok bool) {
	o, ok := pkg.Scope().Lookup(name).(*types.TypeName)
	if !ok || o.IsAlias() {
		return e, false
	}
	basic, ok := o.Type().Underlying().(*types.Basic)
	if !ok || basic.Info()&types.IsInteger == 0 || types.NewMethodSet(types.NewPointer(o.Type())).Lookup(pkg, "String") == nil {
		return e, false
	}
	e = enumeration{path: pkg.Path(), pkg: pkg.Name(), name: name, kind: basic.Kind()}
	for _, n := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(n).(*types.Const); ok && types.Identical(c.Type(), o.Type()) {
			v, _ := constant.Int64Val(constant.ToInt(c.Val()))
			e.known = append(e.known, v)
		}
	}
	return e, true
}

// TestEnums: String of every integer type of the module names each constant, no two of
// them alike, and calls a value that has no name by type and number; the zero value may be
// "none". It never panics.
func TestEnums(t *testing.T) {
	found := enumerations(t)
	if len(found) < 30 {
		t.Fatalf("only %d types found", len(found))
	}
	scenario.Golden(t, "enums_test.go", enumSource(t, found))
	if scenario.Updating() {
		return // the list is compiled into the next run
	}
	for _, e := range found {
		text := enumString[e.key()]
		switch {
		case !e.exported: // cannot be called from here
			if !usesEnum(t, &e) {
				t.Errorf("%s: its String does not use internal/enum", e.key())
			}
		case text == nil:
			t.Errorf("%s is not in enums_test.go: go generate ./internal/layout", e.key())
		default:
			checkEnum(t, &e, text)
		}
	}
}

func checkEnum(t *testing.T, e *enumeration, text func(v int64) string) {
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%s: %v", e.key(), r)
		}
	}()
	seen := map[string]int64{}
	for _, v := range samples(e) {
		s := text(v)
		if other, ok := seen[s]; ok && other != v {
			t.Errorf("%s: %d and %d are both %q", e.key(), other, v, s)
		}
		seen[s] = v
		unnamed := fmt.Sprintf("%s(%d)", e.name, v)
		if none := v == 0 && s == "none"; !none && !numbers[e.key()] && !slices.Contains(e.known, v) && s != unnamed {
			t.Errorf("%s: %d is %q, not %q", e.key(), v, s, unnamed)
		}
	}
}

// samples are all values of a small type, and of a large one those about its constants,
// its ends and the powers of two.
func samples(e *enumeration) (values []int64) {
	low, high := int64(0), int64(255)
	switch e.kind {
	case types.Int8:
		low, high = -128, 127
	case types.Int, types.Int64, types.Int32, types.Int16:
		low = -10
	}
	for v := low; v <= high; v++ {
		values = append(values, v)
	}
	for bits, end := range map[types.BasicKind]int{types.Uint16: 16, types.Uint32: 32, types.Uint64: 63, types.Int: 63} {
		for n := 8; n < end && bits == e.kind; n++ {
			values = append(values, 1<<n, 1<<n+1<<(n-1)+1)
		}
	}
	values = append(values, e.known...)
	slices.Sort(values)
	return slices.Compact(values)
}

// enumSource is the list of what can be called, as Go.
func enumSource(t *testing.T, found []enumeration) string {
	var imports, entries strings.Builder
	last := ""
	for _, e := range found {
		if !e.exported {
			continue
		}
		alias := strings.NewReplacer("/", "_", "-", "_").Replace(strings.TrimPrefix(e.path, module+"/"))
		if e.path != last {
			fmt.Fprintf(&imports, "%s %q\n", alias, e.path)
			last = e.path
		}
		fmt.Fprintf(&entries, "%q: func(v int64) string { return %s.%s(v).String() },\n", e.key(), alias, e.name)
	}
	source, err := format.Source(fmt.Appendf(nil, "// Code generated by TestEnums with -update. DO NOT EDIT.\n\npackage layout\n\nimport (\n%s)\n\nvar enumString = map[string]func(v int64) string{\n%s}\n", imports.String(), entries.String()))
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// usesEnum reports whether the String method of e calls internal/enum.
func usesEnum(t *testing.T, e *enumeration) (uses bool) {
	files, err := filepath.Glob(e.dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			m, ok := d.(*ast.FuncDecl)
			if !ok || m.Name.Name != "String" || m.Recv == nil || types.ExprString(m.Recv.List[0].Type) != e.name {
				continue
			}
			ast.Inspect(m.Body, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				uses = uses || ok && types.ExprString(s) == "enum.String"
				return true
			})
		}
	}
	return uses
}
