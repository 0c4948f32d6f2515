package convert

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestSilent takes each line out of files that say all that can be said, one at a time. Those without
// which the result is the same, with all that is said beside it, are listed in testdata/silent/lines:
// each of them changes nothing of what a host does, or what it says is what hvrouter always does. A line
// that has an effect does not belong there. What becomes of the others is beside the files.
func TestSilent(t *testing.T) {
	var b strings.Builder
	for _, name := range []string{"bird.conf", "bird.one.conf", "radvd.conf", "ndppd.conf", "dnsmasq.conf"} {
		data, err := os.ReadFile(filepath.Join("testdata/silent", name))
		if err != nil {
			t.Fatal(err)
		}
		result := func(text string) string {
			r, err := Convert([]Source{{kindOf(name), name, text}})
			if err != nil {
				return err.Error()
			}
			return string(r.YAML)
		}
		whole := result(string(data))
		if !strings.Contains(whole, "# Made by") {
			t.Fatal(whole)
		}
		scenario.Golden(t, filepath.Join("testdata/silent", name+".yaml"), whole)
		lines := strings.SplitAfter(string(data), "\n")
		for i, line := range lines {
			text := strings.Join(lines[:i], "") + "\n" + strings.Join(lines[i+1:], "")
			if strings.TrimSpace(line) != "" && result(text) == whole {
				fmt.Fprintf(&b, "%s:%d: %s\n", name, i+1, strings.TrimSpace(line))
			}
		}
	}
	scenario.Golden(t, "testdata/silent/lines", b.String())
}
