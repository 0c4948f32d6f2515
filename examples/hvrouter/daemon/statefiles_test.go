package daemon

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

// State files that a failure of power, another version or another program has left: a host that may
// be drained is, and what is not understood is not overwritten.
func TestStateFilesOdd(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for text, drained := range map[string]bool{
		"": true, "{": true, "null": true, "{}": true, "[]": true, "\x00\x00\x00\x00": true, `{"since":"soon"}`: true,
		`{"since":"2026-01-02T03:04:05Z","all":true,"of-the-next-version":[1]}`: true,
	} {
		dir := t.TempDir()
		f := newDrainFile(dir)
		if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if d := f.load(t.Context(), log); d.On() != drained {
			t.Errorf("drain %q: %+v", text, d)
		}
		if err := f.save(DrainState{}); err != nil || f.load(t.Context(), log).On() {
			t.Errorf("undrain after %q: %v", text, err)
		}
	}
	key := bgp.PeerKey{Addr: netip.MustParseAddr("192.0.2.1"), Local: netip.MustParseAddr("192.0.2.2")}
	for _, text := range []string{"", "{", "{}", `[{"peer": "192.0.2.1", "local": "192.0.2.2"}, {"peer": 7}]`, `{"version": 2, "sessions": []}`} {
		dir := t.TempDir()
		f := newDisabledFile(dir)
		if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if all := f.load(t.Context(), log); len(all) != 0 {
			t.Errorf("disabled %q: %v", text, all)
		}
		if err := f.save(map[bgp.PeerKey]sessions.Disabled{key: {Since: time.Unix(1, 0)}}); err != nil {
			t.Fatal(err)
		}
		if all := f.load(t.Context(), log); len(all) != 1 {
			t.Errorf("disabled after %q: %v", text, all)
		}
		if kept, err := os.ReadFile(filepath.Join(dir, "sessions-disabled.bad1")); err != nil || string(kept) != text {
			t.Errorf("disabled %q is lost: %q, %v", text, kept, err)
		}
	}
}
