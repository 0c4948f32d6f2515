package main

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestEventNames keeps testdata/events.txt, the names of events that programs rely on,
// and the sources in line: a name that changes or appears is a decision.
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
	var out bytes.Buffer
	for _, n := range slices.Sorted(maps.Keys(found)) {
		fmt.Fprintln(&out, n)
	}
	const golden = "testdata/events.txt"
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("differs from %s (%v): run with -update and read the diff\n%s", golden, err, out.Bytes())
	}
}
