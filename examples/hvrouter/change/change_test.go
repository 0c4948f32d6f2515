package change

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// The inputs of testdata/*.txt:
//
//	from FILE [EDIT ...]  the configuration that runs; EDIT is OLD=>NEW in the file's text,
//	                      with _ for a space and \n for a new line
//	to [EDIT ...]         another one, made from the same file
type player struct {
	file string
	old  *config.Config
}

func TestScenarios(t *testing.T) {
	scenario.Files(t, "testdata/*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, &player{})
	})
}

func (p *player) Deadline() time.Time        { return time.Time{} }
func (p *player) Advance(time.Time) []string { return nil }

func (p *player) Do(_ time.Time, words []string) (lines []string, err error) {
	if len(words) == 0 {
		return nil, nil
	}
	switch words[0] {
	case "from":
		p.file = words[1]
		p.old, err = edited(p.file, words[2:])
		return nil, err
	case "to":
		c, err := edited(p.file, words[1:])
		if err != nil {
			return nil, err
		}
		for _, change := range Between(p.old, c) {
			loses := ""
			if change.Loses {
				loses = "loses: "
			}
			lines = append(lines, loses+c.Where(change.Path)+change.Text)
		}
		return lines, nil
	}
	return nil, fmt.Errorf("unknown word %q", words[0])
}

func edited(file string, edits []string) (*config.Config, error) {
	data, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		return nil, err
	}
	text := string(data)
	for _, e := range edits {
		old, new, _ := strings.Cut(strings.NewReplacer("_", " ", `\n`, "\n").Replace(e), "=>")
		if !strings.Contains(text, old) {
			return nil, fmt.Errorf("%s does not contain %q", file, old)
		}
		text = strings.Replace(text, old, new, 1)
	}
	return config.Parse(file, []byte(text), nil)
}
