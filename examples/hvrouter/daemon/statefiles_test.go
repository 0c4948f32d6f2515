package daemon

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
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

// What EVPN keeps comes back, but not after a start of the host. What is not understood is said, ignored as a whole,
// and replaced.
func TestEVPNFile(t *testing.T) {
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, nil))
	f, err := newEVPNFile(filepath.Join(t.TempDir(), "state"))
	if err != nil || f.boot == "" {
		t.Fatalf("boot id %q, %v", f.boot, err)
	}
	if list := f.load(t.Context(), log); list != nil || out.Len() > 0 {
		t.Errorf("nothing is kept: %v, %s", list, &out)
	}
	want := []overlay.Kept{{Overlay: "vx100", MAC: overlay.MAC{2, 5: 1}, IfIndex: 7, Sequence: 3}, {Overlay: "vx 200", MAC: overlay.MAC{2}, IfIndex: 8}}
	check := func(what string, f evpnFile, want []overlay.Kept, event bool) {
		t.Helper()
		out.Reset()
		if got := f.load(t.Context(), log); !slices.Equal(got, want) || event != strings.Contains(out.String(), "event=evpn-unknown") {
			t.Errorf("%s: %v, want %v; %s", what, got, want, &out)
		}
	}
	if err := f.save(want); err != nil {
		t.Fatal(err)
	}
	check("what is kept", f, want, false)
	check("after a start of the host", evpnFile{f.path, "another"}, nil, false)
	for _, text := range []string{"", "{", "[]", "\x00\x00", `{"boot":"BOOT","macs":[{"overlay":"vx100","mac":"02:00:00:00:00:01","ifindex":7,"sequence":1},{"overlay":"vx100","mac":"02:00","ifindex":7,"sequence":1}]}`,
		`{"boot":"BOOT","macs":[{"overlay":"vx100","mac":"02:00:00:00:00:01","ifindex":7,"sequence":-1}]}`} {
		if err := os.WriteFile(f.path, []byte(strings.Replace(text, "BOOT", f.boot, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		check(text, f, nil, true)
		if err := f.save(want); err != nil {
			t.Fatal(err)
		}
		check("after "+text, f, want, false)
	}
}
