package config

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest/keys"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// wordsOf says what the values of a type are, with their unit.
var wordsOf = map[reflect.Type]string{
	reflect.TypeFor[Addr](): "IP address", reflect.TypeFor[Prefix](): "prefix", reflect.TypeFor[InterfacePrefix](): "address/length",
	reflect.TypeFor[MAC](): "MAC address", reflect.TypeFor[Table](): "table, by number or name", reflect.TypeFor[Duration](): "time: 100ms, 90s, 2h",
	reflect.TypeFor[Family](): "ipv4 or ipv6", reflect.TypeFor[Community](): "community", reflect.TypeFor[RouteTarget](): "route target", reflect.TypeFor[RD](): "route distinguisher", reflect.TypeFor[NetNS](): "name or path",
	reflect.TypeFor[PeerAS](): "number or word", reflect.TypeFor[PrefixRange](): "prefix with lengths",
	reflect.TypeFor[bool](): "true or false", reflect.TypeFor[string](): "text",
}

// place is one struct of the file.
type place struct {
	path string // of the first that has it, such as domains[].reflectors[]
	also []string
	typ  reflect.Type
}

// TestDocument: docs/configuration.md has every key of the file, from these sources. With -update
// it is written. A key without a comment, an example or a word about reloads is an error.
func TestDocument(t *testing.T) {
	docs := comments(t)
	defaults, err := Parse("minimal", []byte(minimal), nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]keys.Key{}
	for _, k := range keys.All {
		rows[k.Path] = k
	}
	var b strings.Builder
	for _, p := range places() {
		title := cmp.Or(p.path, "The file")
		fmt.Fprintf(&b, "\n## %s\n\n", title)
		doc := docs[p.typ.Name()]
		if doc == "" {
			t.Errorf("type %s has no comment", p.typ)
		}
		b.WriteString(plain(doc, p.typ) + "\n")
		if len(p.also) > 0 {
			fmt.Fprintf(&b, "\nThe same keys are in `%s`.\n", strings.Join(p.also, "`, `"))
		}
		b.WriteString("\n| key | type and unit | default | example | reload | what it is |\n|---|---|---|---|---|---|\n")
		for f := range fields(p.typ) {
			name := nameOf(f)
			path := strings.TrimPrefix(p.path+"."+name, ".")
			k, ok := rows[path]
			delete(rows, path)
			text := docs[p.typ.Name()+"."+f.Name]
			if structOf(f.Type) != nil {
				text = cmp.Or(text, docs[structOf(f.Type).Name()])
			}
			if text == "" {
				t.Errorf("%s (%s.%s) has no comment", path, p.typ, f.Name)
			}
			if !ok {
				t.Errorf("%s is not in config/configtest/keys: what does a reload do with it?", path)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", name, kind(f.Type, k), standard(defaults, path), code(strings.ReplaceAll(k.Example, "DIR/", "/etc/hvrouter/")), k.Effect, cell(plain(text, p.typ)))
		}
	}
	for path := range rows {
		t.Errorf("config/configtest/keys has %s, which is no key of the file", path)
	}
	scenario.Document(t, "../../../docs/configuration.md", "go test ./examples/hvrouter/config -run TestDocument -update", b.String())
}

// minimal has one of everything, and only what is required.
const minimal = `
router-id: 0.0.1.1
as: 65000
loopback: {interface: loopback, address: 172.22.2.1/32}
edge: {gateway4: 203.0.113.254}
local-out: {table: 100, domains: [public]}
rules: {ipv4: [{priority: 0, table: 255}, {priority: 1, table: 254}], ipv6: [{priority: 0, table: 255}, {priority: 1, table: 254}]}
domains:
  - {name: public, table: 90, guests: true, reflectors: [{interface: a, local: 198.51.100.101, peer: 198.51.100.126}]}
guests: [{name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1]}]
overlays: [{name: vx1, vni: 1, bridge: br1}]
`

// places lists the structs of the file, each once.
func places() (list []place) {
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		if i := slices.IndexFunc(list, func(p place) bool { return p.typ == t }); i >= 0 {
			list[i].also = append(list[i].also, path)
			return
		}
		list = append(list, place{path: path, typ: t})
		for f := range fields(t) {
			if s := structOf(f.Type); s != nil {
				walk(s, strings.TrimPrefix(path+"."+nameOf(f), ".")+map[bool]string{true: "[]"}[isList(f.Type)])
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return list
}

func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if f := t.Field(i); nameOf(f) != "" && !yield(f) {
				return
			}
		}
	}
}

// nameOf returns the key of a field, "" if it has none.
func nameOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return strings.TrimPrefix(name, "-")
}

func isList(t reflect.Type) bool { return t.Kind() == reflect.Slice }

// structOf returns the struct of keys that a type is, points to, or is a list of; nil if it is none.
func structOf(t reflect.Type) reflect.Type {
	for wordsOf[t] == "" && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice) {
		t = t.Elem()
	}
	if wordsOf[t] == "" && t.Kind() == reflect.Struct {
		return t
	}
	return nil
}

func kind(t reflect.Type, k keys.Key) string {
	switch {
	case t.Kind() == reflect.Pointer:
		return kind(t.Elem(), k)
	case wordsOf[t] == "" && isList(t):
		return "list: " + kind(t.Elem(), k)
	case structOf(t) != nil:
		return "mapping, see below"
	case wordsOf[t] != "" && k.Values != "":
		return k.Values
	case wordsOf[t] != "":
		return wordsOf[t]
	}
	return cmp.Or(k.Values, "number")
}

// standard returns the default of a key, as a file with no more than what is required has it.
func standard(c *Config, path string) string {
	v := reflect.ValueOf(*c)
	for step := range strings.SplitSeq(path, ".") {
		step, first := strings.CutSuffix(step, "[]")
		for v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return ""
			}
			v = v.Elem()
		}
		i := slices.IndexFunc(reflect.VisibleFields(v.Type()), func(f reflect.StructField) bool { return nameOf(f) == step })
		if v = v.Field(i); first {
			if v.Len() == 0 {
				return ""
			}
			v = v.Index(0)
		}
	}
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.IsZero() && v.Kind() != reflect.Bool || structOf(v.Type()) != nil || given(path) {
		return ""
	}
	switch x := v.Interface().(type) {
	case fmt.Stringer:
		return code(x.String())
	default:
		return code(strings.Trim(fmt.Sprint(x), "[]"))
	}
}

// given reports whether the minimal file has a key, which is then required there.
func given(path string) bool {
	return slices.Contains([]string{"router-id", "as", "loopback.interface", "loopback.address", "edge.gateway4", "local-out.table", "local-out.domains",
		"rules.ipv4[].priority", "rules.ipv4[].table", "domains[].name", "domains[].table", "domains[].guests", "domains[].reflectors[].interface", "domains[].reflectors[].local", "domains[].reflectors[].peer",
		"domains[].reflectors[].name", "domains[].reflectors[].fabric", "domains[].reflectors[].as",
		"guests[].name", "guests[].mac", "guests[].ipv4", "guests[].interface", "overlays[].name", "overlays[].vni", "overlays[].bridge", "overlays[].local"}, path)
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
}

// cell makes text fit for a table.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}

// plain takes what only Go has out of a comment.
func plain(s string, _ reflect.Type) string {
	return strings.NewReplacer("[Config.Sessions]", "`sessions`", "[LocalOut]", "`local-out`", "[Guest]", "`guests`", "[Domain.Sessions]", "`neighbors`", "[Neighbor]", "`neighbors`", "[Domain]", "`domains`").Replace(strings.TrimSpace(s))
}

// comments returns the comments of the package's types and fields: "Type" and "Type.Field". A
// field without one in a block of others has the one above it.
func comments(t *testing.T) map[string]string {
	docs := map[string]string{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(set, name, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range g.Specs {
				if s, ok := s.(*ast.TypeSpec); ok {
					docs[s.Name.Name] = cmp.Or(s.Doc.Text(), g.Doc.Text())
					if st, ok := s.Type.(*ast.StructType); ok {
						fieldComments(set, s.Name.Name, st, docs)
					}
				}
			}
		}
	}
	return docs
}

func fieldComments(set *token.FileSet, name string, st *ast.StructType, docs map[string]string) {
	above, line := "", 0
	for _, f := range st.Fields.List {
		text := cmp.Or(f.Doc.Text(), f.Comment.Text())
		if text == "" && set.Position(f.Pos()).Line == line+1 {
			text = above
		}
		for _, n := range f.Names {
			docs[name+"."+n.Name] = text
		}
		above, line = text, set.Position(f.End()).Line
	}
}
