package main

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestEventNames reads testdata/events.txt, the names of events that programs rely on, as
// the sources have them: none may go or change. With -update new ones are added.
func TestEventNames(t *testing.T) {
	name := regexp.MustCompile(`"event", ([^,)\n]+)`)
	found := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range name.FindAllStringSubmatch(string(text), -1) {
			if n := strings.Trim(m[1], `"`); n != "" {
				found[n] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/events.txt"
	if scenario.Updating() {
		scenario.Golden(t, golden, strings.Join(slices.Sorted(maps.Keys(found)), "\n")+"\n")
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for n := range strings.Lines(string(text)) {
		if n = strings.TrimSpace(n); !found[n] {
			t.Errorf("no event is called %s any more", n)
		}
	}
}
