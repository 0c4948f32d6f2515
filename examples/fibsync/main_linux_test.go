package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

func TestFibsync(t *testing.T) {
	if testing.Short() {
		t.Skip("namespaces take time; not with -short")
	}
	a, b := nstest.New(t, "a"), nstest.New(t, "b")
	nstest.Veth(a, "v0", "10.0.0.1/24", b, "p0", "10.0.0.2/24")
	nstest.Veth(a, "v1", "10.0.1.1/24", b, "p1", "10.0.1.2/24")
	bin := filepath.Join(t.TempDir(), "fibsync")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sync := func(input string, args ...string) string {
		t.Helper()
		cmd := exec.Command(bin, append([]string{"-netns", a.Path, "-table", "90", "-once"}, args...)...)
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	two := `{"prefix": "203.0.113.0/24", "via": ["10.0.0.2 v0", "10.0.1.2 v1"]}
{"prefix": "0.0.0.0/0", "type": "blackhole", "metric": 4294967294}
`
	if out := sync(two, "-dry-run"); strings.Count(out, "add ") != 2 || a.IP("route show table all proto 201") != "" {
		t.Errorf("dry run: %s", out)
	}
	if out := sync(two); strings.Count(out, `"op":"add"`) != 2 || !strings.Contains(out, `"why":"desired"`) {
		t.Errorf("first run: %s", out)
	}
	if out := sync(two); out != "" {
		t.Errorf("second run wrote: %s", out)
	}
	if out := sync(`{"prefix": "203.0.113.0/24", "via": ["10.0.0.2 v0"]}`); !strings.Contains(out, `"op":"replace"`) || !strings.Contains(out, `"op":"delete"`) || !strings.Contains(out, `"why":"swept"`) {
		t.Errorf("third run: %s", out)
	}
	if got := strings.Join(strings.Fields(a.IP("route show table 90")), " "); got != "203.0.113.0/24 via 10.0.0.2 dev v0 proto 201" {
		t.Errorf("table 90: %s", got)
	}
}
