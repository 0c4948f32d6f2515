package nstest

import (
	"os"
	"os/exec"
	"testing"
)

// Need returns the path of a program that the test cannot do without. If it is
// missing, the test is skipped; in CI (HYPERFIB_CI=1) it fails, so that a skip never
// hides there. Directories outside PATH may be given in dirs.
func Need(tb testing.TB, name string, dirs ...string) string {
	tb.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range append(dirs, "/usr/sbin", "/sbin") {
		if path, err := exec.LookPath(dir + "/" + name); err == nil {
			return path
		}
	}
	if os.Getenv("HYPERFIB_CI") == "1" {
		tb.Fatalf("%s is not installed", name)
	}
	tb.Skipf("%s is not installed", name)
	return ""
}
