package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/change"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest/keys"
)

// TestDiffNamesEveryKey: whatever key changes, what a reload would do is not nothing, and the key
// is named. TestReloadMatrix compares that with what a daemon really does.
func TestDiffNamesEveryKey(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("not-the-peers\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	parse := func(text string) (*config.Config, error) {
		return config.Parse("hv.yaml", []byte(strings.ReplaceAll(text, "DIR", dir)), nil)
	}
	for _, k := range keys.All {
		base, ok := matrixBases[k.Base]
		if k.Base == "added" {
			base, ok = matrixBases[""], true
		}
		if !ok {
			continue
		}
		text := base(hvConfig)
		old, err := parse(text)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := changedKey(text, k)
		if err != nil {
			t.Fatal(err)
		}
		new, err := parse(changed)
		if err != nil {
			t.Errorf("%s: %v", k.Path, err)
			continue
		}
		list := change.Between(old, new)
		named := k.Base == "added"
		for _, c := range list {
			key := k.Path[max(strings.LastIndex(k.Path, "[]."), strings.LastIndex(k.Path, "."))+1:]
			named = named || strings.Contains(c.Text, strings.TrimPrefix(key, "]."))
		}
		if len(list) == 0 || !named && !begins(list) {
			t.Errorf("%s: what differs is %v", k.Path, list)
		}
	}
}

// begins reports whether something is new as a whole: its keys are not named then.
func begins(list []change.Change) bool {
	for _, c := range list {
		if strings.HasSuffix(c.Text, " comes") || strings.HasSuffix(c.Text, " begins") || strings.HasSuffix(c.Text, ": given, was none") || strings.HasPrefix(c.Text, "interfaces like") {
			return true
		}
	}
	return false
}
