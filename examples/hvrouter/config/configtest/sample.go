// Package configtest reads the sample configurations of examples/hvrouter for tests.
package configtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Sample reads a sample, as seen from the directory of a package below examples/hvrouter, with
// edits: OLD=>NEW in the file's text, with _ for a space and \n for a new line.
func Sample(file string, edits ...string) (*config.Config, error) {
	data, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		return nil, err
	}
	text := string(data)
	plain := strings.NewReplacer("_", " ", `\n`, "\n")
	for _, e := range edits {
		old, new, _ := strings.Cut(e, "=>")
		if !strings.Contains(text, plain.Replace(old)) {
			return nil, fmt.Errorf("%s does not contain %q", file, plain.Replace(old))
		}
		text = strings.Replace(text, plain.Replace(old), plain.Replace(new), 1)
	}
	return config.Parse(file, []byte(text), nil)
}
