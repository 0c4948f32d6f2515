package mutant_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/tools/sim/mutant"
)

const (
	root = "../../.."
	dir  = "../testdata/mutants"
)

var noticed = flag.Bool("noticed", false, "run the unit tests that are said to notice each mutant, minutes")

// mostLines bounds a mutant: a fault of a few lines, not another program.
const mostLines = 12

// TestMutants applies every mutant to the code as it is, and builds the packages that it
// changes. One that no longer applies is to be made anew.
func TestMutants(t *testing.T) {
	for _, m := range all(t) {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			if n := m.Size(); n == 0 || n > mostLines {
				t.Errorf("changes %d lines, of at most %d", n, mostLines)
			}
			if out, err := run(t, m, "build", m.Packages()...); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestNoticed runs the unit tests with each mutant, if asked to: those that its head names
// must fail, and those of the packages where nothing notices must pass.
func TestNoticed(t *testing.T) {
	if !*noticed {
		t.Skip("runs the unit tests of many packages: -noticed asks for it")
	}
	for _, m := range all(t) {
		t.Run(m.Name, func(t *testing.T) {
			packages, nothing := strings.CutPrefix(m.Head.Noticed, "nothing in ")
			for one := range strings.SplitSeq(packages, ", ") {
				pkg, name, _ := strings.Cut(one, " ")
				args := []string{"-short", "-count=1", pkg}
				if nothing == (name != "") {
					t.Fatalf("head: %q: want PACKAGE TEST, ..., or nothing in PACKAGE, ...", m.Head.Noticed)
				}
				if !nothing {
					args = append(args, "-run", "^"+name+"$")
				}
				out, err := run(t, m, "test", args...)
				failed := strings.Contains(out, "--- FAIL: "+name)
				if nothing && err != nil || !nothing && !failed {
					t.Errorf("%s: %v\n%s", one, err, out)
				}
			}
		})
	}
}

// run runs a command of go with a mutant in place.
func run(t *testing.T, m *mutant.Mutant, command string, args ...string) (string, error) {
	overlay, err := m.Overlay(root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{command, "-overlay", overlay}, args...)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func all(t *testing.T) []*mutant.Mutant {
	list, err := mutant.ReadAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// head is a head that lacks nothing.
const head = "Breaks: b\n and more\nViolates: v\nShows: s\nNeeds: n\nNoticed: nothing in ./p\n\n"

const before = "package p\n\nfunc f() int {\n\treturn 1\n}\n\nfunc g() int {\n\treturn 1\n}\n"

// TestOverlay plays patches against one file: what comes out, or the error.
func TestOverlay(t *testing.T) {
	for _, tt := range []struct{ name, patch, old, new, err string }{
		{name: "there", patch: "--- a/p/p.go\n+++ b/p/p.go\n@@ -3,2 +3,2 @@\n func f() int {\n-\treturn 1\n+\treturn 2\n", old: "f() int {\n\treturn 1", new: "f() int {\n\treturn 2"},
		{name: "moved", patch: "--- a/p/p.go\n+++ b/p/p.go\n@@ -70,2 +70,3 @@ func g\n func g() int {\n+\tx := 2\n-\treturn 1\n+\treturn x\n", old: "g() int {\n\treturn 1", new: "g() int {\n\tx := 2\n\treturn x"},
		{name: "two hunks", patch: "diff --git a/p/p.go b/p/p.go\nindex 1..2 100644\n--- a/p/p.go\n+++ b/p/p.go\n@@ -4 +4 @@\n-\treturn 1\n+\treturn 2\n@@ -8 +8 @@\n-\treturn 1\n+\treturn 2\n", old: "return 1", new: "return 2"},
		{name: "one line at two places", patch: "--- a/p/p.go\n+++ b/p/p.go\n@@ -5 +5 @@\n-\treturn 1\n+\treturn 2\n", err: "p/p.go:5: the old lines are at lines 4 and 8"},
		{name: "changed", patch: "--- a/p/p.go\n+++ b/p/p.go\n@@ -3,2 +3,2 @@\n func f() int {\n-\treturn 3\n+\treturn 2\n", err: "p/p.go:3: the old lines are not there"},
		{name: "white space", patch: "--- a/p/p.go\n+++ b/p/p.go\n@@ -4 +4 @@\n-    return 1\n+\treturn 2\n", err: "p/p.go:4: the old lines are not there"},
		{name: "the order of hunks", patch: "--- a/p/p.go\n+++ b/p/p.go\n@@ -7 +7 @@\n-func g() int {\n+func h() int {\n@@ -3 +3 @@\n-func f() int {\n+func e() int {\n", err: "p/p.go:3: the old lines are not there"},
		{name: "no such file", patch: "--- a/p/q.go\n+++ b/p/q.go\n@@ -4 +4 @@\n-\treturn 1\n+\treturn 2\n", err: "q.go: no such file"},
		{name: "short hunk", patch: "--- a/p/p.go\n+++ b/p/p.go\n@@ -3,2 +3,2 @@\n func f() int {\n", err: "line 12: the hunk ends early"},
		{name: "long hunk", patch: "--- a/p/p.go\n+++ b/p/p.go\n@@ -3 +3 @@\n func f() int {\n-\treturn 1\n", err: "line 12: want a hunk or a file"},
		{name: "new file", patch: "--- /dev/null\n+++ b/p/q.go\n@@ -0,0 +1 @@\n+package p\n", err: "line 8: not a change of one file"},
		{name: "renamed", patch: "--- a/p/p.go\n+++ b/p/q.go\n@@ -4 +4 @@\n-\treturn 1\n+\treturn 2\n", err: "line 8: not a change of one file"},
		{name: "only additions", patch: "--- a/p/p.go\n+++ b/p/p.go\n@@ -3,0 +4 @@\n+\treturn 2\n", err: "line 10: a hunk without a line"},
		{name: "no hunk", patch: "--- a/p/p.go\n+++ b/p/p.go\n", err: "p/p.go: no hunk"},
		{name: "no diff", patch: "\n", err: "no diff"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := overlaid(t, head+tt.patch)
			switch {
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("error %v, want %q", err, tt.err)
			case tt.err == "" && err != nil:
				t.Error(err)
			case tt.err == "" && got != strings.ReplaceAll(before, tt.old, tt.new):
				t.Errorf("got:\n%s", got)
			}
		})
	}
}

// overlaid returns what becomes of before.
func overlaid(t *testing.T, patch string) (string, error) {
	root, out := t.TempDir(), t.TempDir()
	original, file := filepath.Join(root, "p", "p.go"), filepath.Join(out, "one.patch")
	if err := os.Mkdir(filepath.Dir(original), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{original: before, file: patch} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := mutant.Read(file)
	if err != nil {
		return "", err
	}
	overlay, err := m.Overlay(root, out)
	if err != nil {
		return "", err
	}
	if list, err := os.ReadFile(overlay); err != nil || string(list) != `{"Replace":{"`+original+`":"`+filepath.Join(out, "one.0.go")+`"}}` {
		t.Errorf("overlay %s, %v", list, err)
	}
	if now, err := os.ReadFile(original); err != nil || string(now) != before {
		t.Errorf("the original has changed: %s, %v", now, err)
	}
	b, err := os.ReadFile(filepath.Join(out, "one.0.go"))
	return string(b), err
}

// TestHead plays heads that lack something.
func TestHead(t *testing.T) {
	const diff = "--- a/p/p.go\n+++ b/p/p.go\n@@ -4 +4 @@\n-\treturn 1\n+\treturn 2\n"
	for _, tt := range []struct{ old, new, err string }{
		{"Needs: n\n", "", "the head lacks Needs"},
		{"Needs: n\n", "Needs:\n", "the head lacks Needs"},
		{"Needs: n\n", "Needs: n\nNeeds: m\n", `line 6: field "Needs" is unknown, or stands twice`},
		{"Needs: n\n", "needs: n\n", `line 5: field "needs" is unknown, or stands twice`},
		{"Breaks: b\n", "", "line 1: continues nothing"},
	} {
		if _, err := overlaid(t, strings.Replace(head, tt.old, tt.new, 1)+diff); err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q for %q: error %v, want %q", tt.new, tt.old, err, tt.err)
		}
	}
	file := filepath.Join(t.TempDir(), "x.patch")
	if err := os.WriteFile(file, []byte(head+diff), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := mutant.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	want := mutant.Head{Breaks: "b and more", Violates: "v", Shows: "s", Needs: "n", Noticed: "nothing in ./p"}
	if m.Name != "x" || m.Head != want || m.Size() != 1 || strings.Join(m.Packages(), " ") != "./p" {
		t.Errorf("%q %+v %d %v", m.Name, m.Head, m.Size(), m.Packages())
	}
}
