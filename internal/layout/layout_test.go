// Package layout keeps the module's imports as docs/architecture.md describes them.
package layout

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/hyperfib/hyperfib"

// libraries are what others import. Imports between them run one way, and only where
// may says so.
var (
	libraries = []string{"bgp", "bgp/bgptest", "bgp/evpn", "bgp/fsm", "bgp/rib", "bgp/unnumbered", "bgp/wire", "bfd", "bfd/bfdtest", "fib", "fib/fibtest", "arp", "ndp", "vxlan"}
	may       = map[string][]string{
		"bgp":      {"bgp/fsm", "bgp/rib", "bgp/wire"},
		"bgp/evpn": {"bgp/wire"},
		"bgp/fsm":  {"bgp/wire"},
		"bgp/rib":  {"bgp/wire"},

		"bfd/bfdtest": {"bfd"},
		"fib/fibtest": {"fib"},
	}
	// foreign modules a library may need.
	foreign = []string{"golang.org/x/sys"}
)

// list runs go list and returns its lines.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		if e, ok := err.(*exec.ExitError); ok {
			t.Fatalf("go list %v: %s", args, e.Stderr)
		}
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

func within(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// deps returns everything p needs beyond the standard library.
func deps(t *testing.T, p string) []string {
	t.Helper()
	if files, _ := filepath.Glob("../../" + p + "/*.go"); len(files) == 0 && os.Getenv("HYPERFIB_CI") == "" {
		return nil // not here yet
	}
	return list(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", module+"/"+p)
}

func TestLibrariesImportOneWay(t *testing.T) {
	for _, p := range libraries {
		for _, dep := range deps(t, p) {
			other := strings.TrimPrefix(dep, module+"/")
			if dep == module+"/"+p || !slices.Contains(libraries, other) {
				continue
			}
			if !slices.Contains(may[p], other) {
				t.Errorf("%s imports %s", p, other)
			}
		}
	}
}

func TestLibrariesStayLight(t *testing.T) {
	for _, p := range libraries {
		for _, dep := range deps(t, p) {
			ours := within(dep, module+"/internal") || slices.ContainsFunc(libraries, func(l string) bool { return dep == module+"/"+l })
			if !ours && !slices.ContainsFunc(foreign, func(f string) bool { return within(dep, f) }) {
				t.Errorf("%s needs %s", p, dep)
			}
		}
	}
}

// Imports run examples -> libraries -> internal, never back. What is below
// internal/testing may know libraries, since only tests and measurements need it.
func TestInternalImportsNoLibrary(t *testing.T) {
	for _, p := range list(t, "./internal/...") {
		if within(p, module+"/internal/testing") {
			continue
		}
		for _, dep := range list(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", p) {
			if d, ok := strings.CutPrefix(dep, module+"/"); ok && !strings.HasPrefix(d, "internal/") {
				t.Errorf("%s needs %s", p, dep)
			}
		}
	}
}

func TestOnlyTestsImportTesting(t *testing.T) {
	for _, line := range list(t, "-f", `{{$p := .ImportPath}}{{range .Imports}}{{$p}}={{.}} {{end}}`, "./...") {
		p, imp, _ := strings.Cut(line, "=")
		double := within(p, module+"/fib/fibtest") // is for tests, too
		if within(imp, module+"/internal/testing") && !within(p, module+"/internal/testing") && !within(p, module+"/tools") && !double {
			t.Errorf("%s imports %s", p, imp)
		}
	}
}

// The lab and the tools judge what the libraries do to the kernel: they read it with
// another implementation of netlink than the one that wrote.
func TestTheJudgeIsIndependent(t *testing.T) {
	rtnl := module + "/internal/rtnl"
	for _, line := range list(t, "-f", `{{$p := .ImportPath}}{{range .Imports}}{{$p}}={{.}} {{end}}{{range .TestImports}}{{$p}}={{.}} {{end}}{{range .XTestImports}}{{$p}}={{.}} {{end}}`, "./examples/...", "./tools/...") {
		if p, imp, _ := strings.Cut(line, "="); imp == rtnl {
			t.Errorf("%s imports %s", p, imp)
		}
	}
	for _, dep := range list(t, "-deps", "./examples/lab/nl") {
		if dep == rtnl {
			t.Errorf("examples/lab/nl needs %s", dep)
		}
	}
}

// gopacket is an independent oracle for tests and measurements, and shown in one example; hvrouter
// writes captures with it.
func TestGopacketStaysOutside(t *testing.T) {
	lines := list(t, "-f", `{{$p := .ImportPath}}{{range .Imports}}{{$p}}={{.}} {{end}}`, "./...")
	for _, line := range lines {
		p, imp, _ := strings.Cut(line, "=")
		if within(imp, "github.com/google/gopacket") && p != module+"/examples/capture" && p != module+"/examples/hvrouter/capture" && !within(p, module+"/tools") && !within(p, module+"/internal/testing") {
			t.Errorf("%s imports %s", p, imp)
		}
	}
}

// rooms are the packages that hvrouter's daemon consists of, and what each may import of the
// others. All of them may import the packages that know nothing of a running daemon (config,
// domain, guest, peering, ...), which import none of them.
var rooms = map[string][]string{
	"netns":     {},
	"failover":  {},
	"discovery": {"netns"},
	"sessions":  {"failover"},
	"show":      {"netns", "sessions"},
	"daemon":    {"discovery", "failover", "netns", "sessions", "show"},
}

func TestRoomsImportOneWay(t *testing.T) {
	const hvrouter = module + "/examples/hvrouter/"
	for _, line := range list(t, "-f", `{{$p := .ImportPath}}{{range .Imports}}{{$p}}={{.}} {{end}}`, "./examples/hvrouter/...") {
		p, imp, _ := strings.Cut(line, "=")
		from, to := strings.TrimPrefix(p, hvrouter), strings.TrimPrefix(imp, hvrouter)
		if _, room := rooms[to]; !room || from == "cli" {
			continue
		}
		if !slices.Contains(rooms[from], to) {
			t.Errorf("%s imports %s", from, to)
		}
	}
}

// pure are the packages without goroutines, clocks, random sources, locks, loggers and
// sockets.
var pure = []string{"bgp/fsm", "bgp/unnumbered", "examples/bfdd/plane", "examples/bfdrestart", "examples/hvrouter/discovery", "examples/hvrouter/show"}

// impure is what they would need for that.
var impure = regexp.MustCompile(`"(context|log|log/slog|math/rand|math/rand/v2|net|os|sync|sync/atomic|syscall|unsafe)"|\bgo func|\bgo [a-z]+\(|\bchan\b|time\.(Now|Since|Until|Sleep|After|AfterFunc|NewTimer|NewTicker|Tick)\(`)

func TestPure(t *testing.T) {
	for _, p := range pure {
		files, err := filepath.Glob("../../" + p + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files, %v", p, err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(string(text), "\n") {
				code, _, _ := strings.Cut(line, "//")
				if m := impure.FindString(code); m != "" {
					t.Errorf("%s:%d: %s in a pure package", f, i+1, m)
				}
			}
		}
	}
}
