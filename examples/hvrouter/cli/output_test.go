package cli

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFullDisk: a command whose output cannot be written says so once, and does not exit with 0, nor with a code that is a finding.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "api.sock")
	serve(t, &fake{}, socket)
	bird := filepath.Join(dir, "bird.conf")
	if err := os.WriteFile(bird, []byte("router id 192.0.2.1;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	lines := map[string]int{ // and the exit code
		"metrics": 1, "version": 1, "help": 1, "help show": 1, "help help": 1, "completion bash": 1, "completion zsh": 1, "completion fish": 1,
		"explain 203.0.113.9": 2, "explain 203.0.113.9 -j": 2, "explain 203.0.113.9 from vm7": 2, "explain 02:00:00:00:00:02 vni 100": 2,
		"diff": 2, "diff -j": 2, "diff " + bird: 2, "diff -j " + bird: 2, "reload -dry-run": 1, "reload -confirm 5m": 1,
		"guest list": 1, "guest list -j": 1, "drain": 1, "drain -j": 1, "undrain": 1, "undrain -j": 1,
		"show routes received 198.51.100.126": 1, "show routes received 198.51.100.126 -j": 1, "show sessions -w": 1, "show sessions -w -j": 1,
		"watch -n 1": 1, "watch -n 1 -j": 1, "check -syntax -config ../hv1.yaml": 2, "convert -bird " + bird: 2,
	}
	for name := range views() {
		if name != "routes" && name != "bfd" { // the daemon of the test has no BFD
			lines["show "+name], lines["show "+name+" -j"] = 1, 1
		}
	}
	lines["show health"], lines["show health -j"] = 2, 2
	lines["show neighbours -w"] = 1
	silent := []string{"run", "bfd", "top", "web", "session", "capture"} // print nothing, or only once they serve; capture -o - reports itself
	for _, c := range commands() {
		tried := slices.Contains(silent, c.name)
		for line := range lines {
			tried = tried || strings.HasPrefix(line+" ", c.name+" ")
		}
		if !tried {
			t.Errorf("%s is not tried", c.name)
		}
	}
	for line, code := range lines {
		args := strings.Fields(line)
		if strings.Contains("show explain diff guest reload drain undrain metrics watch", args[0]) {
			args = append(args, "-api", socket)
		}
		var stderr bytes.Buffer
		got := main(args, invocation{stdin: strings.NewReader(""), stdout: full, stderr: &stderr})
		if got != code || strings.Count(stderr.String(), "write") != 1 || !strings.Contains(stderr.String(), "hvrouter: write stdout: no space left on device\n") {
			t.Errorf("%s: exit %d, want %d: %s", line, got, code, stderr.String())
		}
	}
}

// failing is a writer that fails once.
type failing struct {
	bytes.Buffer
	err error
}

func (f *failing) Write(p []byte) (int, error) {
	if err := f.err; err != nil {
		f.err = nil
		return 0, err
	}
	return f.Buffer.Write(p)
}

// TestOutput: what follows an error is not written, so that there is no hole; and a reader that has
// gone is no error to report.
func TestOutput(t *testing.T) {
	for name, c := range map[string]struct {
		err        error
		code       int
		out, said  string
		first, nth bool // the error of the first write, and of the next
	}{
		"a full disk": {&fs.PathError{Op: "write", Path: "/dev/stdout", Err: unix.ENOSPC}, 1, "", "hvrouter: write stdout: no space left on device\n", true, true},
		"a dead disk": {unix.EIO, 1, "", "hvrouter: write stdout: input/output error\n", true, true},
		"head -1":     {&fs.PathError{Op: "write", Path: "/dev/stdout", Err: unix.EPIPE}, 0, "b", "", true, false},
		"nothing":     {nil, 0, "ab", "", false, false},
	} {
		to := &failing{err: c.err}
		o := &output{to: to}
		_, err1 := o.Write([]byte("a"))
		_, err2 := o.Write([]byte("b"))
		var stderr bytes.Buffer
		code := invocation{stdout: o, stderr: &stderr}.written(o, "version", 0)
		if code != c.code || to.String() != c.out || stderr.String() != c.said || (err1 != nil) != c.first || (err2 != nil) != c.nth {
			t.Errorf("%s: exit %d, %q, %q, %v, %v; want %+v", name, code, to.String(), stderr.String(), err1, err2, c)
		}
	}
}
