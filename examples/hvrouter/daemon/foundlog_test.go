package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// foundRecords counts lines by their event and interface, and adds up what they have folded.
type foundRecords struct {
	slog.Handler
	lines  map[string]int
	folded int
}

func (*foundRecords) Enabled(context.Context, slog.Level) bool { return true }

func (r *foundRecords) Handle(_ context.Context, line slog.Record) error {
	var event, name string
	line.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "event":
			event = a.Value.String()
		case "interface":
			name = a.Value.String()
		case "folded":
			r.folded += int(a.Value.Int64())
		}
		return true
	})
	r.lines[event+" "+name]++
	return nil
}

// TestFoundLog: somebody who seems to be one router after another has few lines, each of which says how many there
// were besides, and those of another interface are all there.
func TestFoundLog(t *testing.T) {
	got := &foundRecords{Handler: slog.DiscardHandler, lines: map[string]int{}}
	f := foundLog{log: slog.New(got)}
	now := time.Unix(1000, 0)
	with := func(found ...config.Found) *config.Config {
		return &config.Config{Domains: []config.Domain{{Name: "public", Found: found}}}
	}
	router := func(name string, n int) config.Found {
		return config.Found{Interface: name, Address: config.Addr{Addr: netip.MustParseAddr(fmt.Sprintf("fe80::%x", n+1))}}
	}
	const rounds = 1000
	last := with()
	for n := range rounds {
		next := with(router("eth0", n))
		f.changed(last, next, now)
		last, now = next, now.Add(100*time.Millisecond)
	}
	f.changed(last, with(router("eth0", rounds-1), router("eth1", 1)), now)
	if got.lines["neighbour-found eth1"] != 1 {
		t.Errorf("the other interface: %v", got.lines)
	}
	// 100 s of one each 5 s, after those at once.
	lines := got.lines["neighbour-found eth0"] + got.lines["neighbour-given-up eth0"]
	if most := foundAtOnce + 20; lines < foundAtOnce || lines > most || got.lines["neighbours-folded eth0"] > 21 {
		t.Errorf("%v, want %d at most", got.lines, most)
	}
	now = now.Add(time.Minute)
	f.changed(with(router("eth0", rounds-1)), with(), now)
	if all := lines + 1 + got.folded; all != 2*rounds {
		t.Errorf("%d lines and folded ones, want %d", all, 2*rounds)
	}
}
