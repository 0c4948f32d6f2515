package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// eventDoc is a row of docs/events.md.
type eventDoc struct {
	levels, attrs map[string]bool
	text          string
}

// built are the events whose names are put together: by the expression that does it.
var built = map[string][]string{
	`"bgp-" + e.Kind.String()`:           {"bgp-error", "bgp-up", "bgp-down", "bgp-restart", "bgp-update-error", "bgp-listen", "bgp-plain", "bgp-unsendable", "bgp-prefix-limit", "bgp-stable", "bgp-no-policy", "bgp-bfd-wait"},
	`"neighbour-" + s.Kind.String()`:     {"neighbour-seen", "neighbour-moved", "neighbour-conflict", "neighbour-gone"},
	`"guest-" + what`:                    {"guest-attached", "guest-changed"},
	`"session-" + change.Op`:             {"session-disable", "session-enable"},
	`strings.ToLower(what) + "-refused"`: {"route-refused", "rule-refused", "address-refused", "neighbour-refused", "sysctl-refused", "vrf-refused"},
}

// eventName is how events are called.
var eventName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// quiet are kinds of BGP events that are no more than a line of the log at level DEBUG.
var quiet = []string{"state", "end-of-rib", "added", "removed", "converged", "snapshot"}

// TestEvents holds docs/events.md against the sources: every event is there with its levels and
// attributes, and none that is there has gone, since programs rely on their names. With -update it
// writes what it knows; what an event means is written by hand.
func TestEvents(t *testing.T) {
	for k := bgp.EventState; k <= bgp.EventBFDWait; k++ {
		name := k.String()
		if slices.Contains(quiet, name) == slices.Contains(built[`"bgp-" + e.Kind.String()`], "bgp-"+name) {
			t.Errorf("bgp-%s: is it an event or not?", name)
		}
	}
	found := loggedEvents(t)
	const doc = "../../docs/events.md"
	data, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	const head = "|---|---|---|---|\n"
	before, rows, ok := strings.Cut(string(data), head)
	if !ok {
		t.Fatal("no table")
	}
	rest := ""
	for row := range strings.Lines(rows) {
		if !strings.HasPrefix(row, "|") {
			rest += row
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), " | ")
		name := strings.Trim(cells[0], " `")
		e := found[name]
		if e == nil || len(cells) != 4 {
			t.Errorf("no event is called %s any more, or its row has not four cells", name)
			continue
		}
		e.text = strings.TrimSpace(cells[3])
	}
	var b strings.Builder
	b.WriteString(before + head)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		e := found[name]
		if !eventName.MatchString(name) {
			t.Errorf("event %s: want lower case, with hyphens", name)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, strings.Join(slices.Sorted(maps.Keys(e.levels)), ", "), strings.Join(slices.Sorted(maps.Keys(e.attrs)), ", "), cmp.Or(e.text, "?"))
		if e.text == "" || e.text == "?" {
			t.Errorf("docs/events.md does not say what %s means", name)
		}
	}
	b.WriteString(rest)
	if scenario.Updating() {
		if err := os.WriteFile(doc, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if b.String() != string(data) {
		t.Error("docs/events.md is not what the sources say: go test ./examples/hvrouter -run TestEvents -update")
	}
}

// loggedEvents finds the calls with an argument "event" in the sources, but for those of the BFD
// process, which has no journal.
func loggedEvents(t *testing.T) map[string]*eventDoc {
	found := map[string]*eventDoc{"lost": {levels: map[string]bool{"WARN": true}, attrs: map[string]bool{"count": true}}}
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "cli/") || strings.HasPrefix(path, "api/") {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				level := "" // of a slice that another call takes
				if f, ok := n.Fun.(*ast.SelectorExpr); ok {
					level = map[string]string{"Debug": "DEBUG", "Info": "INFO", "Warn": "WARN", "Error": "ERROR"}[f.Sel.Name]
				}
				note(t, found, set, level, n.Args)
			case *ast.CompositeLit:
				note(t, found, set, "", n.Elts)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// What a call does not show: it passes a slice, or the level of the event.
	for _, name := range built[`"bgp-" + e.Kind.String()`] {
		e := found[name]
		if slices.Contains([]string{"bgp-up", "bgp-stable", "bgp-down", "bgp-restart", "bgp-listen", "bgp-unsendable", "bgp-no-policy", "bgp-bfd-wait"}, name) {
			e.levels["INFO"] = true
		}
		if !slices.Contains([]string{"bgp-up", "bgp-stable", "bgp-down", "bgp-restart", "bgp-bfd-wait"}, name) {
			e.levels["WARN"] = true
		}
		more := []string{"err"}
		switch name {
		case "bgp-bfd-wait":
			more = nil
		case "bgp-restart":
			more = []string{"phase"}
		case "bgp-no-policy":
			more = []string{"why"}
		case "bgp-up", "bgp-stable", "bgp-error", "bgp-update-error", "bgp-prefix-limit":
			more = append(more, "repeats", "failures", "in")
		}
		for _, a := range more {
			e.attrs[a] = true
		}
	}
	for name, more := range map[string][]string{"repair": {"interface", "folded"}, "converged": {"without"}, "neighbour-found": {"folded"}, "neighbour-given-up": {"folded"}} {
		for _, a := range more {
			found[name].attrs[a] = true
		}
	}
	found["repair"].levels["WARN"], found["converged"].levels["INFO"] = true, true
	found["neighbour-found"].levels["INFO"], found["neighbour-given-up"].levels["INFO"] = true, true
	return found
}

// note adds the event that a list of arguments has.
func note(t *testing.T, found map[string]*eventDoc, set *token.FileSet, level string, args []ast.Expr) {
	at := slices.IndexFunc(args, func(a ast.Expr) bool { return literal(a) == "event" })
	if at < 0 || at+1 >= len(args) || level == "DEBUG" {
		return
	}
	var text bytes.Buffer
	if err := format.Node(&text, set, args[at+1]); err != nil {
		t.Fatal(err)
	}
	names := built[text.String()]
	if name := literal(args[at+1]); name != "" {
		names = []string{name}
	}
	if names == nil {
		if _, isCall := args[at+1].(*ast.BasicLit); !isCall && strings.Contains(text.String(), `"`) {
			t.Errorf("%v: what are the names of %s?", set.Position(args[at].Pos()), text.String())
		}
		return
	}
	for _, name := range names {
		e := found[name]
		if e == nil {
			e = &eventDoc{levels: map[string]bool{}, attrs: map[string]bool{}}
			found[name] = e
		}
		if level != "" {
			e.levels[level] = true
		}
		for i := at + 2; i < len(args); i += 2 {
			if key := literal(args[i]); key != "" {
				e.attrs[key] = true
			}
		}
	}
}

// literal returns the value of a string literal, "" of anything else.
func literal(e ast.Expr) string {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(l.Value)
	return s
}
