package layout

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var goFile = regexp.MustCompile("`([a-z0-9_]+/[a-z0-9_/]+\\.go)`(?: \\(([A-Za-z, ]+)\\))?")

// TestDocumentsNameFiles: each Go file that docs/architecture.md names with its directory is
// there, and so are the functions in parentheses behind it.
func TestDocumentsNameFiles(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := goFile.FindAllStringSubmatch(string(text), -1)
	if len(all) < 20 {
		t.Errorf("%d files only", len(all))
	}
	for _, m := range all {
		source, err := os.ReadFile(filepath.Join(root, m[1]))
		if os.IsNotExist(err) {
			source, err = os.ReadFile(filepath.Join(root, "examples", "hvrouter", m[1]))
		}
		if err != nil {
			t.Errorf("%s: %v", m[1], err)
			continue
		}
		for _, name := range regexp.MustCompile(`[A-Za-z]+`).FindAllString(m[2], -1) {
			if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + name + `\(`).Match(source) {
				t.Errorf("%s has no function %s", m[1], name)
			}
		}
	}
}
