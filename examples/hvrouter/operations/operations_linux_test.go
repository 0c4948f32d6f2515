package operations

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const script = "testdata/operations.txtar"

// TestOperations plays testdata/operations.txtar, the path of docs/operations.md, on a machine
// with systemd: from the package, and an empty hypervisor, to a fabric that is broken.
//
// Beside the commands of testscript, `hv1 LINE` runs a line in the shell of the hypervisor, `until
// LINE` repeats one until it succeeds, `fabric A LINE` runs one where the fabric is, and `guest
// LINE` in the guest vm1.
func TestOperations(t *testing.T) {
	if testing.Short() {
		t.Skip("needs systemd in namespaces, and builds packages")
	}
	f := newFabrics(t)
	f.bird()
	ns1, vm1 := f.host("hv1", "101", "201", "vm1", "50:54:33:00:00:07")
	ns2, vm3 := f.host("hv2", "102", "202", "vm3", "50:54:33:00:00:08")
	hv1 := boot(t, ns1, "hv1")
	for _, version := range []string{"0.1.0", "0.2.0"} {
		hv1.put("hvrouter_"+version+"_amd64.deb", bytes.NewReader(deb(t, version)))
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "hv2.yaml"), []byte(second(t, "four-uplinks.yaml", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, ns2, filepath.Join(dir, "hv2.log"), build(t), "run", "-config", filepath.Join(dir, "hv2.yaml"))
	plug(vm3, "203.0.113.3")
	plug(vm1, "203.0.113.1")
	hv1.write("vm9.yaml", "{name: vm9, interface: vm9, ipv4: [203.0.113.9]}\n")

	in := func(command func(line string) *exec.Cmd, repeat bool) func(*testscript.TestScript, bool, []string) {
		return func(ts *testscript.TestScript, neg bool, args []string) {
			line := args[len(args)-1]
			var out, errs []byte
			ok := false
			try := func() bool {
				cmd := command(line)
				var o, e bytes.Buffer
				cmd.Stdout, cmd.Stderr = &o, &e
				ok = cmd.Run() == nil
				out, errs = o.Bytes(), e.Bytes()
				return ok != neg
			}
			passed := try()
			if repeat && !passed {
				passed = nstest.Promptly(40*time.Second, try)
			}
			ts.Stdout().Write(out)
			ts.Stderr().Write(errs)
			if !passed {
				ts.Fatalf("%s: succeeded: %v\n%s%s", line, ok, out, errs)
			}
		}
	}
	shell := func(ns *nstest.NS) func(string) *exec.Cmd {
		return func(line string) *exec.Cmd { return ns.Command("sh", "-c", line) }
	}
	testscript.Run(t, testscript.Params{Files: []string{script}, Cmds: map[string]func(*testscript.TestScript, bool, []string){
		"hv1": in(hv1.command, false), "until": in(hv1.command, true), "guest": in(shell(vm1), true),
		"fabric": func(ts *testscript.TestScript, neg bool, args []string) {
			in(shell(map[string]*nstest.NS{"A": f.a, "B": f.b}[args[0]]), false)(ts, neg, args)
		},
	}})
}

// build is the program, for a host without systemd.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hvrouter")
	if out, err := exec.Command("go", "build", "-o", path, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// TestDocumentIsPlayed: each command that docs/operations.md has its reader type (`# COMMAND`
// in a console block) is played by the script, in this order.
func TestDocumentIsPlayed(t *testing.T) {
	played, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	rest := string(played)
	n := 0
	for _, block := range regexp.MustCompile("(?s)\n```console\n(.*?)```").FindAllStringSubmatch(document(t, "operations.md"), -1) {
		for line := range strings.Lines(block[1]) {
			command, is := strings.CutPrefix(strings.TrimSpace(line), "# ")
			if !is {
				continue
			}
			n++
			quoted := "'" + strings.ReplaceAll(command, "'", "''") + "'"
			_, after, found := strings.Cut(rest, quoted)
			if !found {
				t.Errorf("not played, or not in this order: %s", command)
				continue
			}
			rest = after
		}
	}
	if n < 20 {
		t.Errorf("the document has %d commands", n)
	}
}
