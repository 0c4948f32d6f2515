package layout

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unnumbered are the RFCs whose sections have no numbers.
var unnumbered = map[string]bool{"768": true, "792": true, "826": true, "1027": true, "1700": true, "1997": true, "3442": true}

var (
	citation = regexp.MustCompile(`RFC (\d{3,5})\b`)
	// after is what follows a citation with a section, before what comes before one.
	after  = regexp.MustCompile(`^,? \(?(Sections?|Appendix|Table|Figure) [0-9A-Z]`)
	before = regexp.MustCompile(`(Sections?|Appendix) [\w.]+((, [\w.]+)* and [\w.]+)? of $`)
)

// TestCitations: each RFC in a comment is cited with its section, unless it is in a list: a
// paragraph of a package's documentation that begins with an RFC.
func TestCitations(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, group := range f.Comments {
			for _, paragraph := range strings.Split(group.Text(), "\n\n") {
				if strings.HasPrefix(paragraph, "RFC ") && group == f.Doc {
					continue
				}
				for _, number := range bare(strings.Join(strings.Fields(paragraph), " ")) {
					t.Errorf("%v: RFC %s without a section", set.Position(group.Pos()), number)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// bare returns the RFCs that a text cites without a section.
func bare(text string) (numbers []string) {
	for _, at := range citation.FindAllStringSubmatchIndex(text, -1) {
		number := text[at[2]:at[3]]
		if !unnumbered[number] && !after.MatchString(text[at[1]:]) && !before.MatchString(text[:at[0]]) {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

func TestBare(t *testing.T) {
	for text, want := range map[string]string{
		"as RFC 4271, Section 6.8, says":                  "",
		"Sections 6.2, 6.3 and 6.8 of RFC 4271":           "",
		"RFC 4271 says (RFC 4724, Section 4.1; RFC 8538)": "4271 8538",
		"communities (RFC 1997)":                          "",
	} {
		if got := strings.Join(bare(text), " "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
