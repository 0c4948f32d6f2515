package netns

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// What becomes of a namespace's name, and what is said of it, once.
func TestNames(t *testing.T) {
	file, path, err := OpenFile("")
	if err != nil || !strings.HasPrefix(path, "/proc/self/fd/") {
		t.Fatal(path, err)
	}
	file.Close()
	if _, _, err := OpenFile("/nowhere/at-all"); err == nil {
		t.Error("opened nothing")
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "ns")
	write := func(p string) {
		t.Helper()
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(name)
	l := &log{}
	n := New(Config{Log: slog.New(slog.NewTextHandler(l, nil)), NetNS: config.NetNS(name), Kernel: &fakeKernel{}})
	if n.file, err = os.Open(name); err != nil {
		t.Fatal(err)
	}
	defer Close([]*Namespace{n, {}})
	if n.NetNS().Path() != name || n.Where("in ", "!") != "in "+name+"!" {
		t.Fatal(n.NetNS().Path())
	}
	ctx, cancel := context.WithCancel(t.Context())
	state := NameFine
	step := func(what string, want NameState, events ...string) {
		t.Helper()
		if state = n.logName(state); state != want {
			t.Errorf("%s: %v, want %v", what, state, want)
		}
		if got := l.take(); !slices.Equal(got, events) {
			t.Errorf("%s: %q", what, got)
		}
	}
	step("it is there", NameFine)
	aside := name + ".aside"
	os.Rename(name, aside)
	step("gone", NameGone, "namespace-gone")
	step("still gone", NameGone)
	write(name)
	step("another", NameReplaced, "namespace-replaced")
	os.Remove(name)
	os.Rename(aside, name)
	step("back", NameFine, "namespace-back")
	cancel()
	WatchNames(ctx, []*Namespace{n})
	own := New(Config{Log: slog.New(slog.DiscardHandler), Kernel: &fakeKernel{}})
	if own.NameState() != NameFine || own.Where("in ") != "" || own.Path() != "" {
		t.Error("the daemon's own has no name to lose")
	}
	for s, want := range map[NameState]string{NameFine: "fine", NameGone: "gone", NameReplaced: "replaced", 9: "NameState(9)"} {
		if s.String() != want {
			t.Errorf("%d: %s", s, s)
		}
	}
	if s := nudState(0x40) + " " + nudState(0x80) + " " + nudState(0x3); s != "0x40 permanent 0x3" {
		t.Errorf("states: %s", s)
	}
}
