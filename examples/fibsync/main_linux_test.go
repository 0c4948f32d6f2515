package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
		out, err := command(bin, a, input, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	two := `{"prefix": "203.0.113.0/24", "via": ["10.0.0.2 v0", "10.0.1.2 v1"]}
{"prefix": "0.0.0.0/0", "type": "blackhole", "metric": 4294967294}
`
	if out := sync(two, "-dry-run"); strings.Count(out, "add ") != 2 || a.IP("route show table all proto 203") != "" {
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
	if got := strings.Join(strings.Fields(a.IP("route show table 203")), " "); got != "203.0.113.0/24 via 10.0.0.2 dev v0 proto 203" {
		t.Errorf("table 203: %s", got)
	}
	if out, err := command(bin, a, `{"prefix": "203.0.113.0/24", "via": ["10.0.0.2 v7"]}`).CombinedOutput(); err == nil || !strings.Contains(string(out), `no link "v7"`) {
		t.Errorf("%v %s", err, out)
	}
	if got := a.IP("route show table 203"); !strings.Contains(got, "203.0.113.0/24 via 10.0.0.2 dev v0") {
		t.Errorf("input that is wrong has deleted something: %s", got)
	}

	// A second one with the same protocol is told who the first is; one with another
	// protocol deletes nothing of the first's.
	first := command(bin, a, `{"prefix": "198.51.100.0/24", "type": "blackhole"}`)
	first.Args = slices.DeleteFunc(first.Args, func(s string) bool { return s == "-once" })
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	nstest.Wait(t, 5*time.Second, "the first", func() bool { return strings.Contains(a.IP("route show table 203"), "198.51.100.0/24") })
	if out, err := command(bin, a, "").CombinedOutput(); err == nil || !strings.Contains(string(out), fmt.Sprintf("in use: protocol 203, by process %d (fibsync)", first.Process.Pid)) {
		t.Errorf("a second one: %v %s", err, out)
	}
	if out, err := command(bin, a, "", "-protocol", "205").CombinedOutput(); err != nil {
		t.Errorf("another protocol: %v %s", err, out)
	}
	if got := a.IP("route show table 203"); !strings.Contains(got, "198.51.100.0/24") {
		t.Errorf("table 203: %s", got)
	}
	_ = first.Process.Signal(os.Interrupt)
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
}

func command(bin string, ns *nstest.NS, input string, args ...string) *exec.Cmd {
	cmd := exec.Command(bin, append([]string{"-netns", ns.Path, "-once"}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	return cmd
}
