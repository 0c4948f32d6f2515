package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
)

// fake is a daemon as a value; it notes what it is asked to do.
type fake struct {
	asked   []string
	journal journal.Journal
}

var addr = netip.MustParseAddr

func (f *fake) note(format string, args ...any) {
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
}

func (f *fake) Sessions() []api.Session {
	return []api.Session{{Domain: "public", Fabric: "A", Interface: "a.public", Peer: addr("198.51.100.126"), State: "Established",
		Since: time.Now().Add(-90 * time.Second), BFD: "Up", Families: []api.FamilyRoutes{{Family: "ipv4", Received: 12, Advertised: 3, RefusedNotKept: 7}}}}
}
func (f *fake) BFD() ([]api.BFD, error) { return nil, errors.New("the BFD process does not answer") }
func (f *fake) RIB(domain string, p netip.Prefix) []api.RIBEntry {
	f.note("rib %q %v", domain, p)
	return []api.RIBEntry{{Domain: "public", Prefix: "203.0.113.3/32", Source: "bgp", Gateways: []api.Gateway{{Address: addr("198.51.100.102"), Link: "a.public"}}}}
}
func (f *fake) FIB(table uint32) []api.FIBRoute {
	f.note("fib %d", table)
	return []api.FIBRoute{{Table: 90, Prefix: "203.0.113.1/32", Metric: 10, Type: "unicast", Gateways: []api.Gateway{{Link: "vm1"}}, State: "installed"}}
}
func (f *fake) Guests() []api.Guest {
	return []api.Guest{{Guest: config.Guest{Name: "vm1", Interface: "vm1", LocalPref: 100, IPv4: []config.Addr{{Addr: addr("203.0.113.1")}}}, Source: "config", Present: true},
		{Guest: config.Guest{Name: "vm3", Interface: "vm3", LocalPref: 100, Overlays: []config.OverlayPort{{Overlay: "vx100", Interface: "vm3.x", MAC: config.MAC{2, 0, 0, 0, 0, 3}, IPv4: []config.Addr{{Addr: addr("10.100.0.3")}}}}}, Source: "api", On: []string{"vx100"}}}
}
func (f *fake) Neighbours() ([]api.Neighbour, error) {
	return []api.Neighbour{
		{Interface: "tap0", Address: addr("203.0.113.50"), MAC: "02:00:00:00:00:01", Kernel: "reachable", Guest: "tap0", Found: "seen",
			Since: time.Now().Add(-time.Minute), Announced: true, Conflict: &api.Conflict{Interface: "tap1", MAC: "02:00:00:00:00:09", Time: time.Now().Add(-time.Second)}},
		{Interface: "a.public", Address: addr("198.51.100.126"), Kernel: "incomplete", Router: true},
	}, nil
}
func (f *fake) Events(recent int) (*journal.Reader, error) {
	f.note("events %d", recent)
	if recent > 1000 {
		return nil, journal.ErrTooMany
	}
	r, err := f.journal.Subscribe(recent)
	f.journal.Publish(journal.Event{Time: time.Unix(0, 0), Name: "bgp-up", Level: "INFO", Attrs: map[string]string{"peer": "198.51.100.126", "err": "a b"}})
	f.journal.Publish(journal.Event{Time: time.Unix(0, 0), Name: "bfd-down", Level: "WARN"})
	return r, err
}
func (f *fake) History(w journal.Filter) ([]journal.Event, error) {
	f.note("history %q %q %q %q %d %d", w.Event, w.Peer, w.Guest, w.Interface, w.Last, time.Since(w.Since).Round(time.Hour)/time.Hour)
	return []journal.Event{{Time: time.Unix(0, 0), Name: "bgp-up", Level: "INFO", Attrs: map[string]string{"peer": "198.51.100.126"}}}, nil
}
func (f *fake) Status() api.Status { return api.Status{PID: 7, Converged: true} }
func (f *fake) Explain(q api.Question) (api.Explanation, error) {
	f.note("explain %s %s %v", q.Destination(), q.From, q.Source)
	e := api.Explanation{Prefix: q.Destination(), From: q.From, Lines: []string{"public: " + q.Prefix.String()}}
	if q.From == "vm7" {
		e.Kernel = []lookup.Report{{Packet: "203.0.113.9", Outcome: "dropped", Differences: []string{"a foreign rule decides"}}}
	}
	unread := lookup.Report{NetNS: "blue", Packet: "203.0.113.9", Outcome: "not known: no such namespace", Unread: []string{"no such namespace"}}
	switch q.From {
	case "vm8":
		e.Kernel = []lookup.Report{unread}
	case "vm9":
		e.Kernel = []lookup.Report{unread, {Packet: "203.0.113.9", Outcome: "dropped", Differences: []string{"a foreign rule decides"}}, unread}
	}
	return e, nil
}
func (f *fake) ExplainAddress(q api.AddressQuestion) (api.AddressExplanation, error) {
	f.note("explain %v vni %d", q.Addr, q.VNI)
	e := api.AddressExplanation{Address: q.Addr, Overlay: "vx100", VNI: q.VNI, Lines: []string{"vx100: wanted at 02:00:00:00:00:02"}, MACs: []api.MACExplanation{}}
	e.Kernel.Outcome = "vx100: no neighbour"
	switch q.VNI {
	case 7:
		return e, fmt.Errorf("an overlay with the VNI 7: %w", api.ErrNotFound)
	case 100:
		e.Kernel.Differences = []string{"neighbour is missing"}
		one, _ := f.ExplainMAC(api.MACQuestion{VNI: 100})
		one.Overlays[0].Kernel.Differences = append(one.Overlays[0].Kernel.Differences, "neighbour is missing")
		e.MACs = append(e.MACs, one)
	}
	return e, nil
}
func (f *fake) ExplainMAC(q api.MACQuestion) (api.MACExplanation, error) {
	f.note("explain %x vni %d", q.MAC, q.VNI)
	e := api.MACExplanation{MAC: "02:00:00:00:00:02", Overlays: []api.OverlayMAC{}}
	switch q.VNI {
	case 7:
		return e, fmt.Errorf("an overlay with the VNI 7: %w", api.ErrNotFound)
	case 100:
		e.Overlays = append(e.Overlays, api.OverlayMAC{Overlay: "vx100", VNI: 100, Routes: []api.EVPN{}, Lines: []string{"vx100: wanted behind VTEP 172.22.2.2"},
			Kernel: lookup.MACReport{Outcome: "vx100: frames for it are dropped", Differences: []string{"vx100 has no entry"}}})
	case 101:
		e.Overlays = append(e.Overlays, api.OverlayMAC{Overlay: "vx101", VNI: 101, Routes: []api.EVPN{}, Lines: []string{},
			Kernel: lookup.MACReport{Outcome: "vx101: not known: no such namespace", Unread: []string{"no such namespace"}}})
	}
	return e, nil
}
func (f *fake) Diff() []api.Difference {
	return []api.Difference{{Op: "add", What: "203.0.113.1/32 table 90", Want: "dev vm1"}}
}
func (f *fake) Put(guests []config.Entry) error {
	for _, g := range guests {
		f.note("put %s", g.Name)
		if g.Name == "taken" {
			return errors.New("name taken belongs to guest taken")
		}
	}
	return nil
}
func (f *fake) Remove(name string) error {
	if name == "nobody" {
		return fmt.Errorf("guest %s: %w", name, api.ErrNotFound)
	}
	f.note("remove %s", name)
	return nil
}
func (f *fake) Move(name string, m api.Move) (api.Done, error) {
	f.note("move %s pref %v down %v", name, value(m.LocalPref), value(m.Down))
	return map[string]api.Done{
		"full": {Unwritten: "a restart of the daemon undoes the move: no space left on device"},
		"tmp":  {Volatile: "a restart of the host undoes the move: /run is in memory only"},
	}[name], nil
}
func (f *fake) Reload(o api.ReloadOptions) (api.Reload, error) {
	if o.DryRun && o.Text != nil {
		if len(o.Text) == 0 {
			return api.Reload{}, nil
		}
		return api.Reload{Changes: []api.Change{{Text: "the uplink goes", Loses: true}}, More: 3,
			Kernel: []api.Difference{{NetNS: "red", Op: "replace", What: "guest vm1", Want: "dev b", Have: "dev a"}, {Op: "add", What: "rule -4 9:"}}}, nil
	}
	if o.Text != nil || o.Confirm != 0 {
		f.note("reload %v %q %v", o.Text != nil, o.Text, o.Confirm)
		return api.Reload{Confirmation: &api.Confirmation{Left: "5m0s", Deadline: time.Unix(0, 0)}}, nil
	}
	if !o.Force && !o.DryRun {
		return api.Reload{}, errors.New("f:1:1: the file is empty")
	}
	return api.Reload{Changes: []api.Change{{Position: "f:1:1: ", Text: "guest vm1 leaves"}}}, nil
}

func (f *fake) ConfirmReload() error { f.note("confirm"); return nil }
func (f *fake) CancelReload() error  { return errors.New("no reload waits for a confirmation") }
func (f *fake) Drain(o api.DrainOptions) (api.Drain, error) {
	f.note("drain all %v", o.All)
	d := f.DrainStatus()
	if d.Unwritten = "a restart of the daemon ends the drain: no space"; o.UntilStop {
		d.Unwritten = "the drain ends with the daemon"
	}
	return d, nil
}
func (f *fake) Undrain() (api.Drain, error) { f.note("undrain"); return api.Drain{}, nil }
func (f *fake) DrainStatus() api.Drain {
	packets := uint64(12)
	return api.Drain{Drained: true, Since: time.Now().Add(-time.Minute), Prefixes: []api.DrainedPrefix{
		{Domain: "public", Prefix: "203.0.113.1/32", Guest: "vm1", Interface: "vm1", Announced: true, Packets: &packets},
		{Domain: "public", Prefix: "203.0.113.10/32", Guest: "vm1", Interface: "vm1", Alternative: time.Now().Add(-30 * time.Second)},
		{Domain: "private", Prefix: "172.22.2.1/32", Own: true, Interface: "loopback", Announced: true}}}
}
func (f *fake) EVPN() []api.EVPN {
	return []api.EVPN{{Overlay: "vx100", Type: "mac-ip", MAC: "50:54:33:00:00:07", Address: addr("10.100.0.1"), VTEP: addr("172.22.2.1"), RD: "0.0.1.1:100", Sequence: 3, Guest: "vm1", State: "announced"},
		{Overlay: "vx100", Type: "multicast", VTEP: addr("172.22.2.9"), RD: "0.0.1.9:100", Peer: addr("198.51.100.126"), State: "unused", Why: "it is of another VNI"}}
}
func (f *fake) Drops() []api.Drop { return []api.Drop{{Kind: "spoofed", Packets: 7}} }

func (f *fake) Routes(peer string, received bool) ([]api.Route, error) {
	f.note("routes %s received %v", peer, received)
	if peer != "198.51.100.126" {
		return nil, fmt.Errorf("session %s: %w", peer, api.ErrNotFound)
	}
	return []api.Route{{Domain: "public", Peer: addr(peer), Prefix: "203.0.113.3/32", NextHop: addr("198.51.100.102"), LocalPref: 100, Communities: []string{"65535:0"}},
		{Domain: "public", Peer: addr(peer), Prefix: "203.0.113.0/24", LocalPref: 100},
		{Domain: "public", Peer: addr(peer), Prefix: "203.0.113.9/32", LocalPref: 100, PathID: 2, Refused: "cluster loop"}}, nil
}
func (f *fake) ChangeSession(c api.SessionChange) (done api.Done, err error) {
	f.note("%s %s %q hard %v", c.Op, c.Peer, c.Text, c.Hard)
	if c.Peer == "198.51.100.99" {
		done.Unwritten = "a restart of the daemon has the session as it was before: no space left on device"
	}
	return done, nil
}
func (f *fake) Domains() []api.Domain {
	return []api.Domain{{Name: "public", Table: 90, TableName: "pub"}, {Name: "private", Table: 20}}
}

func value[T any](p *T) any {
	if p == nil {
		return "as it is"
	}
	return *p
}

func TestCommands(t *testing.T) {
	f := &fake{}
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := api.Listen(socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- api.ServeOn(ctx, l, &api.Access{}, f) }()
	if _, err := api.Listen(socket, nil); err == nil {
		t.Error("a second daemon took the socket of a live one")
	}
	sample := filepath.Join("..", "hv1.yaml")
	for _, c := range []struct {
		line, stdin string
		code        int
		want        string // in the output of either kind
		asked       string
	}{
		{line: "", code: 2, want: "hvrouter makes a router"},
		{line: "help", want: "hvrouter explain ADDRESS"},
		{line: "fly", code: 2, want: `unknown command "fly"`},
		{line: "show sessions", want: "public  A       a.public   198.51.100.126  Established  1m30s  Up   ipv4 12/3"},
		{line: "show sessions -j", want: `"peer": "198.51.100.126"`},
		{line: "show -j sessions", want: `"peer": "198.51.100.126"`},
		{line: "show bfd", code: 1, want: "the BFD process does not answer"},
		{line: "show rib -domain public -prefix 203.0.113.3", want: "198.51.100.102%a.public", asked: `rib "public" 203.0.113.3/32`},
		{line: "show rib -prefix 203.0.113", code: 1, want: "is neither an address nor a prefix"},
		{line: "show fib -table 90", want: "90     203.0.113.1/32  10      unicast  dev vm1", asked: "fib 90"},
		{line: "show guests", want: "vm1   vm1                           203.0.113.1  present   100"},
		{line: "show fib -table pub -prefix 203.0.113.1", want: "dev vm1", asked: "fib 90"},
		{line: "show fib -table 91", code: 1, want: `table "91" is no domain's: not found`},
		{line: "show fib -table red", code: 1, want: `table "red" is no domain's: not found`},
		{line: "show rib -domain red", code: 1, want: `domain "red": not found`},
		{line: "show rib -peer 192.0.2.1", code: 2, want: "show rib has no -peer"},
		{line: "show sessions -peer 198.51.100.126", want: "Established"},
		{line: "show sessions -peer 198.51.100.127", code: 1, want: `peer "198.51.100.127": not found`},
		{line: "show sessions -domain red", code: 1, want: `domain "red": not found`},
		{line: "show guests -guest vm1 -interface vm1", want: "present"},
		{line: "show guests -guest vm3", want: "vm3   vm3.x      02:00:00:00:00:03  10.100.0.3  on vx100  100         api"},
		{line: "show guests -guest vm2", code: 1, want: `guest "vm2": not found`},
		{line: "show neighbours -interface tap0", want: "203.0.113.50"},
		{line: "show neighbours -interface tap7", code: 1, want: `interface "tap7": not found`},
		{line: "show evpn", want: "vx100    mac-ip     50:54:33:00:00:07  10.100.0.1  172.22.2.1  3         0.0.1.1:100  guest vm1"},
		{line: "show evpn -guest vm1", want: "announced"},
		{line: "show evpn -vtep 172.22.2.9", want: "unused  it is of another VNI"},
		{line: "show evpn -mac 1", code: 1, want: `mac "1": not found`},
		{line: "show firewall", want: "spoofed  7"},
		{line: "show firewall -kind nothing", code: 1, want: `kind "nothing": not found`},
		{line: "show routes advertised 198.51.100.126", want: "public  203.0.113.3/32  198.51.100.102  100                  65535:0", asked: "routes 198.51.100.126 received false"},
		{line: "show routes for 203.0.113.9 received 198.51.100.126", want: "203.0.113.0/24", asked: "routes 198.51.100.126 received true"},
		{line: "show routes received 198.51.100.126", want: "path 2, refused: cluster loop"},
		{line: "show routes received 198.51.100.126", want: "\nand 7 more announcements of ipv4 were refused\n"},
		{line: "show routes received 192.0.2.1", code: 1, want: "session 192.0.2.1: not found"},
		{line: "show routes", code: 2, want: "want show routes [for ADDRESS] advertised|received PEER"},
		{line: "show sessions twice", code: 2, want: `what is "twice"?`},
		{line: "session reset 198.51.100.126 -hard -text maintenance", asked: `reset 198.51.100.126 "maintenance" hard true`},
		{line: "session disable 198.51.100.126", asked: `disable 198.51.100.126 "" hard false`},
		{line: "session enable 198.51.100.126", asked: `enable 198.51.100.126 "" hard false`},
		{line: "session enable 198.51.100.126 -hard", code: 2, want: "does not take this flag"},
		{line: "session forget 198.51.100.126", code: 2, want: "want reset, disable or enable"},
		{line: "show events -since 2h -event bgp-* -last 5 -peer 198.51.100.126", want: "INFO  bgp-up peer=198.51.100.126", asked: `history "bgp-*" "198.51.100.126" "" "" 5 2`},
		{line: "show events -guest vm1 -interface eth1 -since 3d -j", want: `"event": "bgp-up"`, asked: `history "" "" "vm1" "eth1" 0 72`},
		{line: "show events -since yesterday", code: 2, want: `"yesterday" is neither a time ago`},
		{line: "show events -last 0", code: 2, want: `"0" is not a number of events`},
		{line: "show events -event [", code: 2, want: "syntax error in pattern"},
		{line: "show events -prefix 203.0.113.1", code: 2, want: "show events has no -prefix"},
		{line: "show guests -since 2h", code: 2, want: "show guests has no -since"},
		{line: "show health", code: 1, want: "degraded\ndegraded: bfd-process: the BFD process does not answer"},
		{line: "show health -j", code: 1, want: `"kind": "drained"`},
		{line: "show status", want: `"converged": true`},
		{line: "show", code: 2, want: "hvrouter help"},
		{line: "show everything", code: 2, want: `nothing called "everything"`},
		{line: "show sessions -x", code: 2, want: "flag provided but not defined"},
		{line: "explain 203.0.113.9", want: "public: 203.0.113.9/32"},
		{line: "explain nonsense", code: 2, want: "nonsense"},
		{line: "explain 203.0.113.9 from vm1 -source 203.0.113.1", asked: "explain 203.0.113.9/32 vm1 203.0.113.1"},
		{line: "explain fe80::7%a", asked: "explain fe80::7%a  invalid IP"},
		{line: "explain 2001:db8::7%a", code: 2, want: "has a zone, and is no link-local address"},
		{line: "explain fe80::/64 -source fe80::7%a", code: 2, want: "source: \"fe80::7%a\" has a zone"},
		{line: "explain 203.0.113.9 from vm7", code: 1, want: "DIFFERENCE: a foreign rule decides"},
		{line: "explain 203.0.113.9 from vm7 -j", code: 1, want: `"differences": [`},
		{line: "explain 203.0.113.9 from vm8", code: 2, want: "netns blue: 203.0.113.9: not known: no such namespace\npublic: 203.0.113.9/32\n"},
		{line: "explain 203.0.113.9 from vm8 -j", code: 2, want: `"unread": [`},
		{line: "explain 203.0.113.9 from vm9", code: 1, want: "DIFFERENCE: a foreign rule decides"},
		{line: "explain 02:00:00:00:00:02 vni 101", code: 2, want: "vx101: not known: no such namespace\n"},
		{line: "explain 02:00:00:00:00:02 vni 101 -j", code: 2, want: `"unread": [`},
		{line: "explain 203.0.113.9 to vm7", code: 2, want: "want ADDRESS, ADDRESS from GUEST, ADDRESS vni VNI, MAC, or MAC vni VNI"},
		{line: "explain 192.168.5.2 vni 100", code: 1, want: "DIFFERENCE: neighbour is missing\nvx100: no neighbour\nvx100: wanted at 02:00:00:00:00:02\nDIFFERENCE: vx100 has no entry\nvx100: frames for it are dropped\nvx100: wanted behind VTEP 172.22.2.2\n"},
		{line: "explain 192.168.5.2 vni 102", want: "vx100: no neighbour\n", asked: "explain 192.168.5.2 vni 102"},
		{line: "explain 192.168.5.2 vni 102 -j", want: `"address": "192.168.5.2"`},
		{line: "explain 192.168.5.2 vni 7", code: 2, want: "VNI 7: not found"},
		{line: "explain 192.168.5.2 vni x", code: 2, want: `"x" is not a number from 1 to 16777215`},
		{line: "explain 192.168.5.0/24 vni 100", code: 2, want: `"192.168.5.0/24" is no address of a guest`},
		{line: "explain 192.168.5.2 vni 100 -source 192.168.5.3", code: 2, want: "-source is for packets"},
		{line: "explain 02:00:00:00:00:02 vni 100", code: 1, want: "DIFFERENCE: vx100 has no entry\nvx100: frames for it are dropped\nvx100: wanted behind VTEP 172.22.2.2\n", asked: "explain 020000000002 vni 100"},
		{line: "explain 02:00:00:00:00:02 vni 100 -j", code: 1, want: `"vni": 100`},
		{line: "explain 02:00:00:00:00:02", want: "no overlay knows 02:00:00:00:00:02", asked: "explain 020000000002 vni 0"},
		{line: "explain 02:00:00:00:00:02 vni 7", code: 2, want: "VNI 7: not found"},
		{line: "explain 02:00:00:00:00:02 vni x", code: 2, want: `"x" is not a number from 1 to 16777215`},
		{line: "explain 02:00:00:00:00:02 vni", code: 2, want: "want MAC, or MAC vni VNI"},
		{line: "explain 02:00:00:00:00:02 from vm1", code: 2, want: "want MAC, or MAC vni VNI"},
		{line: "explain 02:00:00:00:00:02 -source 192.0.2.1", code: 2, want: "-source is for packets"},
		{line: "explain 203.0.113.9 from vm1 -source x", code: 2, want: "source"},
		{line: "diff", code: 1, want: `add 203.0.113.1/32 table 90: want "dev vm1", have ""`},
		{line: "diff -", code: 0},
		{line: "diff -", stdin: "as: 1", code: 1, want: "refused without -force: the uplink goes\nnetns red: replace guest vm1: dev b, now dev a\nadd rule -4 9:\nand 3 more\n"},
		{line: "diff -j -", stdin: "as: 1", code: 1, want: `"loses": true`},
		{line: "diff /does/not/exist", code: 2, want: "no such file"},
		{line: "guest list", want: "present"},
		{line: "guest add", stdin: `{"name": "vm9"}`, asked: "put vm9"},
		{line: "guest add -", stdin: "name: taken", code: 1, want: "belongs to guest taken", asked: "put taken"},
		{line: "guest add", stdin: "nam: vm9", code: 1, want: `request:1:1: unknown field "nam"`},
		{line: "guest add /does/not/exist", code: 1, want: "no such file"},
		{line: "guest del vm9", asked: "remove vm9"},
		{line: "guest del nobody", code: 1, want: "not found"},
		{line: "guest move vm9 -local-pref 200", asked: "move vm9 pref 200 down as it is"},
		{line: "guest move vm9 -down", asked: "move vm9 pref as it is down true"},
		{line: "guest move full -down", code: 4, asked: "move full pref as it is down true", want: "done, but not written down: a restart of the daemon undoes the move: no space left"},
		{line: "guest move tmp -down", asked: "move tmp pref as it is down true", want: "a restart of the host undoes the move: /run is in memory only"},
		{line: "session disable 198.51.100.99", code: 4, asked: `disable 198.51.100.99 "" hard false`, want: "done, but not written down: a restart of the daemon has the session"},
		{line: "guest move vm9 -up", asked: "move vm9 pref as it is down false"},
		{line: "guest move vm9 -up -down", code: 2, want: "down or up, not both"},
		{line: "guest move vm9 -local-pref 4294967296", code: 2, want: "more than 32 bits"},
		{line: "guest move vm9", code: 2, want: "want -local-pref, -down or -up"},
		{line: "guest move", code: 2, want: "whom?"},
		{line: "guest del", code: 2, want: "whom?"},
		{line: "guest update", stdin: "{name: vm1, ipv4: [203.0.113.1]}", asked: "put vm1"},
		{line: "guest update", stdin: "{name: vm7}", code: 1, want: "guest vm7: not found"},
		{line: "guest update", stdin: "nam: vm9", code: 1, want: `request:1:1: unknown field "nam"`},
		{line: "guest juggle", code: 2, want: "want add, update, del, move or list"},
		{line: "show neighbours", want: "tap0       203.0.113.50    02:00:00:00:00:01  reachable   seen 1m0s  tap0   yes        claimed by 02:00:00:00:00:09 on tap1 1s ago"},
		{line: "show neighbours -j", want: `"announced": true`},
		{line: "watch -n 2", want: "INFO  bgp-up err=\"a b\" peer=198.51.100.126\n", asked: "events 0"},
		{line: "watch -n 1 -event bfd-* -j", want: `{"time":"1970-01-01T`, asked: "events 0"},
		{line: "watch -n 1 -event b[ -j", code: 1, want: "a pattern such as bgp-*"},
		{line: "watch -recent 2000", code: 1, want: "too many readers", asked: "events 2000"},
		{line: "reload", code: 1, want: "f:1:1: the file is empty"},
		{line: "reload -force", want: "f:1:1: guest vm1 leaves"},
		{line: "reload -dry-run", want: "f:1:1: guest vm1 leaves"},
		{line: "reload -confirm 5m " + sample, want: "it is rolled back in 5m0s, at ", asked: ""},
		{line: "reload -confirm 5m", want: "unless `hvrouter reload confirm` comes", asked: `reload false "" 5m0s`},
		{line: "reload -", stdin: "as: 1", asked: `reload true "as: 1" 0s`},
		{line: "reload -", stdin: "", asked: `reload true "" 0s`},
		{line: "reload -confirm 0s", code: 2, want: "-confirm 0s: want a time, such as 5m"},
		{line: "reload -confirm 5m /does/not/exist", code: 2, want: "/does/not/exist: there is no such file"},
		{line: "reload confirm", asked: "confirm"},
		{line: "reload cancel", code: 1, want: "no reload waits for a confirmation"},
		{line: "reload -force confirm", code: 2, want: "takes no flag but -api; a file of that name is ./confirm"},
		{line: "drain", code: 4, want: "drained for 1m0s: 1 prefix not announced, 1 prefix still attracting traffic\na restart of the daemon ends the drain: no space\n", asked: "drain all false"},
		{line: "drain -until-stop", want: "the drain ends with the daemon\n", asked: "drain all false"},
		{line: "drain -all -j", code: 4, want: `"alternative-since": "`, asked: "drain all true"},
		{line: "drain -wait 10ms", code: 1, want: "after 10ms, 1 prefix still attracting traffic"},
		{line: "drain -wait -5s", code: 2, want: "-wait -5s: want a time, such as 10m"},
		{line: "drain -wait 0s", code: 2, want: "-wait 0s: want a time, such as 10m"},
		{line: "drain soon", code: 2, want: `drain: unexpected "soon"`},
		{line: "explain", code: 2, want: "explain: something is missing"},
		{line: "drain -wait soon", code: 2, want: "invalid value"},
		{line: "show drain", want: "public   203.0.113.1/32   vm1    graceful shutdown  12       no other router announces it\npublic   203.0.113.10/32  vm1    no                 -        another router announces it, for 30s\nprivate  172.22.2.1/32    -      graceful shutdown  -        the hypervisor's own address\n"},
		{line: "show drain -j", want: `"packets": 12`},
		{line: "undrain", want: "not drained", asked: "undrain"},
		{line: "metrics", want: "hvrouter_converged 1"},
		{line: "check -syntax -config " + sample, want: "fine"},
		{line: "check -config /does/not/exist", code: 2, want: "no such file"},
		{line: "run -config /does/not/exist", code: 2, want: "no such file"},
		{line: "run sideways", code: 2, want: "hvrouter help"},
	} {
		args := strings.Fields(c.line)
		if len(args) > 0 && strings.Contains("show session explain diff guest reload drain undrain metrics watch", args[0]) {
			args = append(args, "-api", socket)
		}
		f.asked = nil
		var out bytes.Buffer
		code := main(args, invocation{stdin: strings.NewReader(c.stdin), stdout: &out, stderr: &out})
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: code %d, want %d; want %q in\n%s", c.line, code, c.code, c.want, out.String())
		}
		if got := strings.Join(f.asked, "; "); c.asked != "" && got != c.asked {
			t.Errorf("%s: asked for %q, want %q", c.line, got, c.asked)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket is left")
	}
}

// Without a daemon: what there is to do about it, and no exit code that means something else.
func TestNoDaemon(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "api.sock")
	for line, code := range map[string]int{"diff": 2, "diff -": 2, "show status": 1, "drain": 1, "undrain": 1, "reload": 1, "reload confirm": 1, "watch -n 1": 1, "session reset x": 1} {
		var out bytes.Buffer
		got := main(append(strings.Fields(line), "-api", socket), invocation{stdin: strings.NewReader("as: 1"), stdout: &out, stderr: &out})
		if want := "hvrouter: no daemon runs, or it has another socket (-api): dial unix " + socket; got != code || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%s: code %d, want %d: %s", line, got, code, &out)
		}
	}
}

// TestExplainWithoutFile: what is wrong with the file is said also if explain gives up for the lack of it.
func TestExplainWithoutFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(file, []byte("asn: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, why := range map[string]string{
		"192.168.5.2 vni 16777215":       "an overlay with the VNI 16777215: not found",
		"02:00:00:00:00:02 vni 16777215": "an overlay with the VNI 16777215: not found",
		"192.0.2.1 from vm1":             "no address of vm1 is known: name one with -source",
		"fe80::1%eth77":                  "interface eth77: not found",
	} {
		var out, errs bytes.Buffer
		args := append([]string{"explain"}, strings.Fields(line)...)
		code := main(append(args, "-config", file, "-api", filepath.Join(dir, "s")), invocation{stdin: strings.NewReader(""), stdout: &out, stderr: &errs})
		said, after, ok := strings.Cut(errs.String(), "\n")
		if code != exitUsage || out.Len() > 0 || !ok || !strings.HasPrefix(said, "hvrouter: without a configuration ("+file+":1:1: unknown field \"asn\"): ") ||
			!strings.HasPrefix(after, "hvrouter: no daemon answers ") || !strings.HasSuffix(after, why+"\n") {
			t.Errorf("%s: exit code %d, %q, %q", line, code, out.String(), errs.String())
		}
	}
}

// A file with a mistake: exit 2 with its place, whatever the command.
func TestBadFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hv.yaml")
	if err := os.WriteFile(file, []byte("router-id: 0.0.1.1\nas: 65000\ndomians: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"run", "check"} {
		var out bytes.Buffer
		if code := main([]string{command, "-config", file}, invocation{stdout: &out, stderr: &out}); code != 2 {
			t.Errorf("%s: code %d", command, code)
		}
		if want := file + `:3:1: unknown field "domians"`; !strings.Contains(out.String(), want) {
			t.Errorf("%s: %s, want %s", command, out.String(), want)
		}
	}
}

// What the daemon would refuse of its inventory is found before it runs.
func TestCheckInventory(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"hv.yaml": "router-id: 0.0.1.1\nas: 65000\ndomains: [{name: public, table: 90, guests: true}]\nedge: {gateway4: 203.0.113.254}\n" +
			"guests: [{name: vm1, ipv4: [203.0.113.1]}]\ninventory: {directory: " + dir + "/guests, state: none}\n",
		"guests/a.yaml": "{name: vm2, ipv4: [203.0.113.1]}",
		"guests/b.yaml": "nam: vm3",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	code := main([]string{"check", "-config", filepath.Join(dir, "hv.yaml")}, invocation{stdout: &out, stderr: &out})
	for _, want := range []string{": guest vm2: 203.0.113.1 belongs to guest vm1 (config)", `b.yaml:1:1: unknown field "nam"`} {
		if code != 2 || !strings.Contains(out.String(), want) {
			t.Errorf("code %d, %s; want %s", code, out.String(), want)
		}
	}
}

// A session that BFD does not watch, although it is to, says so before its last error.
func TestSessionUnwatched(t *testing.T) {
	for bfd, want := range map[string]string{"Up": "EOF", "off": "EOF", "Down": "not watched: BFD is Down; EOF", "Init": "not watched: BFD is Init; EOF"} {
		s := api.Session{State: "Established", BFD: bfd, Error: "EOF", ErrorAt: time.Now()}
		if got, _, _ := strings.Cut(lastError(&s), " ("); got != want {
			t.Errorf("BFD %s: %q, want %q", bfd, got, want)
		}
		if s.State = "Active"; strings.Contains(lastError(&s), "watched") {
			t.Errorf("BFD %s, not Established: %q", bfd, lastError(&s))
		}
	}
}
