package layout

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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

var (
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`)
	testName  = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*\*?`)
	ofPackage = regexp.MustCompile("`([a-z0-9/]+)` ((?:(?:, )?Test[A-Z]\\w*)+)")
)

// TestDocumentsNameTests: each test that a document names is there ("TestLimit*": at least one that
// begins so), and is in the package that stands before it: "`bgp/rib` TestGateway, TestSlab".
func TestDocumentsNameTests(t *testing.T) {
	root := filepath.Join("..", "..")
	in := map[string][]string{} // by test, the directories that have one
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir // .git, .cache
		}
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
			in[m[1]] = append(in[m[1]], "/"+filepath.ToSlash(dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var documents []string
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, found...)
	}
	n := 0
	for _, document := range documents {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range testName.FindAllString(string(text), -1) {
			n++
			begin, several := strings.CutSuffix(name, "*")
			there := len(in[name]) > 0
			for test := range in {
				there = there || several && strings.HasPrefix(test, begin)
			}
			if !there {
				t.Errorf("%s: there is no %s", document, name)
			}
		}
		for _, m := range ofPackage.FindAllStringSubmatch(string(text), -1) {
			for name := range strings.SplitSeq(m[2], ", ") {
				if len(in[name]) > 0 && !slices.ContainsFunc(in[name], func(dir string) bool { return strings.HasSuffix(dir, "/"+m[1]) }) {
					t.Errorf("%s: %s is in %s, not in %s", document, name, in[name], m[1])
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("%d tests only", n)
	}
}
