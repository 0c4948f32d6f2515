package daemon

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const runConfig = `
router-id: 0.0.1.1
as: 65000
api: DIR/api.sock
bfd: {process: in-process, interval: 100ms, realtime: "off"}
domains:
  - name: public
    netns: HV
    table: 90
    guests: true
    reflectors: [{fabric: A, interface: up.a, local: 198.51.100.101, peer: 198.51.100.126, families: [ipv4, ipv6], next-hop6: "2001:db8:c633:6400::1"}]
edge: {gateway4: 203.0.113.254, dhcp: {on: true}}
guests: [{name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1], ipv6: ["2001:db8:cb00:7100::/64"]}]
guest-templates: [{interfaces: "tap*", discovery: {neighbors: true, within: [203.0.113.0/24]}}]
inventory: {directory: DIR/guests, state: DIR/state}
overlays: [{name: vx1, vni: 100, bridge: br100, local: 198.51.100.101, peers: [198.51.100.102]}]
`

// running is a daemon in the process of the test, at work in a namespace, with a
// reflector in another.
type running struct {
	*testing.T
	dir, text string
	hv, rr    *nstest.NS
	client    *api.Client
	reflector *bgp.Speaker
	reload    chan os.Signal
	ended     chan error
	stop      context.CancelFunc
}

func start(t *testing.T) *running {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	r := &running{T: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), rr: nstest.New(t, "rr"), reload: make(chan os.Signal, 1)}
	nstest.Veth(r.hv, "up.a", "198.51.100.101/25", r.rr, "eth0", "198.51.100.126/25")
	r.text = strings.NewReplacer("DIR", r.dir, "HV", r.hv.Path).Replace(runConfig)
	r.write("hv.yaml", r.text)
	if err := os.Mkdir(filepath.Join(r.dir, "guests"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.reflect()
	r.run()
	t.Cleanup(func() { r.stop(); <-r.ended })
	return r
}

func (r *running) write(name, text string) {
	r.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

// reflect starts the reflector, which announces one prefix of another hypervisor.
func (r *running) reflect() {
	addr := netip.MustParseAddr
	s, err := bgp.New(bgp.Config{AS: 65000, RouterID: addr("198.51.100.126"), NetNS: r.rr.Path,
		Listen: []netip.AddrPort{netip.AddrPortFrom(addr("198.51.100.126"), 179)}})
	if err != nil {
		r.Fatal(err)
	}
	peer := bgp.PeerConfig{Addr: addr("198.51.100.101"), LocalAddr: addr("198.51.100.126"), Passive: true, TTLSecurity: true, RouteReflectorClient: true,
		Families: []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}}
	if err := s.AddPeer(peer); err != nil {
		r.Fatal(err)
	}
	err = s.Table().Originate(rib.LocalPath{Prefix: netip.MustParsePrefix("203.0.113.3/32"), NextHop: wire.NextHop{Addr: addr("198.51.100.102")}, Attrs: wire.PathAttrs{}})
	if err != nil {
		r.Fatal(err)
	}
	s.InventoryComplete()
	b, err := bfd.NewServer(bfd.Config{RealTime: bfd.RealTimeOff})
	if err != nil {
		r.Fatal(err)
	}
	if err := b.Add(bfd.SessionConfig{Key: bfd.Key{Peer: peer.Addr, Local: peer.LocalAddr, NetNS: r.rr.Path}, DesiredMinTx: 100 * time.Millisecond, RequiredMinRx: 100 * time.Millisecond, Multiplier: 5}); err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- s.Run(ctx) }()
	go func() { done <- b.Run(ctx) }()
	r.Cleanup(func() { cancel(); <-done; <-done })
	r.reflector = s
}

func (r *running) run() {
	c, err := config.Load(filepath.Join(r.dir, "hv.yaml"))
	if err != nil {
		r.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ready := make(chan struct{}, 16)
	r.stop, r.ended, r.client = stop, make(chan error, 1), api.NewClient(c.API)
	go func() {
		r.ended <- Run(ctx, c, Options{ConfigFile: filepath.Join(r.dir, "hv.yaml"), Reload: r.reload, Ready: func(string) { ready <- struct{}{} },
			Alive: func() {}, AliveEvery: 10 * time.Millisecond})
	}()
	select {
	case <-ready:
	case err := <-r.ended:
		r.ended <- err
		r.Fatal(err)
	}
}

// until waits for a condition on what a resource of the API says.
func until[T any](r *running, what, path string, cond func(T) bool) {
	r.Helper()
	nstest.Wait(r, 20*time.Second, what, func() bool {
		var v T
		text, err := r.client.Text(r.Context(), path)
		return err == nil && json.Unmarshal([]byte(text), &v) == nil && cond(v)
	})
}

func (r *running) send(method, path, body string) {
	r.Helper()
	if err := r.client.Send(r.Context(), method, path, []byte(body)); err != nil {
		r.Errorf("%s %s: %v", method, path, err)
	}
}

// TestRun takes a daemon through its life over its API: session and BFD up, routes both
// ways, guests from all sources, what it shows, reloads, and a drain.
func TestRun(t *testing.T) {
	r := start(t)
	until(r, "the session", "/v1/sessions", func(s []api.Session) bool {
		return len(s) == 1 && s[0].State == "Established" && s[0].BFD == "Up" && s[0].Families[0].Received == 1
	})
	until(r, "BFD", "/v1/bfd", func(s []api.BFD) bool { return len(s) == 1 && s[0].State == "Up" && s[0].Interface == "up.a" })
	until(r, "the reflector's route in the kernel", "/v1/fib?table=90", func(list []api.FIBRoute) bool {
		for _, f := range list {
			if f.Prefix == "203.0.113.3/32" {
				return f.State == "installed" && f.Gateways[0] == api.Gateway{Address: netip.MustParseAddr("198.51.100.102"), Link: "up.a"}
			}
		}
		return false
	})
	until(r, "the daemon converged", "/v1/status", func(s api.Status) bool { return s.Converged && !s.Restarted && s.Writes > 0 })

	vm := nstest.New(t, "vm")
	r.hv.IP("link add name vm1 type veth peer name eth0 address 50:54:33:00:00:07 netns " + vm.Name)
	vm.IP("link set eth0 up")
	r.announced("203.0.113.1/32", 100)
	r.write("guests/vm2.yaml", "{name: vm2, interface: vm1b, ipv4: [203.0.113.2]}")
	r.hv.IP("link add name vm1b type veth peer name vm1c")
	r.announced("203.0.113.2/32", 100)
	r.send("POST", "/v1/guests", `{"name": "vm9", "interface": "vm1c", "ipv4": ["203.0.113.9"]}`)
	r.send("POST", "/v1/guests/vm9", `{"local-pref": 300}`)
	r.announced("203.0.113.9/32", 300)
	r.hv.IP("link add name tap0 type veth peer name tap1")
	until(r, "guests of all sources", "/v1/guests", func(list []api.Guest) bool {
		from := map[string]string{}
		for _, g := range list {
			if g.Present && g.Link > 0 {
				from[g.Name] = g.Source
			}
		}
		return from["vm1"] == "config" && from["vm2"] == "directory" && from["vm9"] == "api" && from["tap0"] == "interfaces" && from["tap1"] == "interfaces"
	})
	if data, err := os.ReadFile(filepath.Join(r.dir, "state")); err != nil || !strings.Contains(string(data), "vm9") {
		t.Errorf("the state file: %s, %v", data, err)
	}
	r.shows()
	r.reloads()

	r.send("DELETE", "/v1/guests/vm9", "")
	r.announced("203.0.113.9/32", 0)
	r.send("POST", "/v1/drain", "")
	nstest.Wait(r, 20*time.Second, "the guest at the reflector with the local preference 0", func() bool {
		paths := r.reflector.Table().Lookup(netip.MustParsePrefix("203.0.113.1/32"))
		if len(paths) == 0 {
			return false
		}
		pref, ok := paths[0].Attrs.LocalPref()
		return ok && pref == 0
	})
	r.stop()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	r.ended <- nil // for the cleanup
	if out := r.hv.IP("route show table 90 203.0.113.1"); !strings.Contains(out, "dev vm1") {
		t.Errorf("the guest's route has gone with the daemon: %s", out)
	}
}

// announced waits until the reflector has a path with this LOCAL_PREF, or none for 0.
func (r *running) announced(prefix string, pref uint32) {
	r.Helper()
	nstest.Wait(r, 20*time.Second, prefix+" at the reflector", func() bool {
		paths := r.reflector.Table().Lookup(netip.MustParsePrefix(prefix))
		if len(paths) == 0 {
			return pref == 0
		}
		got, _ := paths[0].Attrs.LocalPref()
		return got == pref
	})
}

// shows: what people ask for.
func (r *running) shows() {
	r.Helper()
	until(r, "the RIB", "/v1/rib?domain=public&prefix=203.0.113.9", func(list []api.RIBEntry) bool {
		return len(list) == 1 && list[0].Source == "local" && list[0].Announced && list[0].LocalPref == 300
	})
	until(r, "the reflector's prefix in it", "/v1/rib?prefix=203.0.113.3", func(list []api.RIBEntry) bool {
		return len(list) == 1 && list[0].Source == "bgp" && !list[0].Announced
	})
	until(r, "an explanation", "/v1/explain?prefix=203.0.113.3", func(e api.Explanation) bool {
		text := strings.Join(e.Lines, "\n")
		return strings.Contains(text, "BGP path: rank 0, next hop 198.51.100.102") && strings.Contains(text, "kernel, table 90")
	})
	until(r, "no difference", "/v1/diff", func(list []api.Difference) bool { return len(list) == 0 })
	until(r, "the reflector among the neighbours", "/v1/neighbours", func(list []api.Neighbour) bool {
		for _, n := range list {
			if n.Address.String() == "198.51.100.126" && n.Interface == "up.a" && n.MAC != "" && n.Guest == "" {
				return true
			}
		}
		return false
	})
	text, err := r.client.Text(r.Context(), "/metrics")
	for _, want := range []string{`hvrouter_bgp_session_up{domain="public",interface="up.a",local="198.51.100.101",netns="` + r.hv.Path[len("/run/netns/"):] + `",peer="198.51.100.126"} 1`, "hvrouter_guests_present 5", "hvrouter_converged 1"} {
		if !strings.Contains(text, want) {
			r.Errorf("metrics: %v, no %s in\n%s", err, want, text)
		}
	}
}

// reloads: by API and by signal, good and bad.
func (r *running) reloads() {
	r.Helper()
	events := make(chan journal.Event, 1024)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		_ = r.client.Events(ctx, "reload*", 0, func(e journal.Event, line []byte) error {
			if !json.Valid(line) {
				r.Errorf("%s", line)
			}
			events <- e
			return nil
		})
	}()
	next := func(name string, ask func()) {
		r.Helper()
		nstest.Wait(r, 20*time.Second, name, func() bool {
			ask() // again until the stream is there
			select {
			case e := <-events:
				return e.Name == name
			case <-time.After(200 * time.Millisecond):
				return false
			}
		})
	}
	next("reloaded", func() { r.send("POST", "/v1/reload", "") })
	r.write("hv.yaml", strings.Replace(r.text, "table: 90", "table: 91", 1))
	next("reload-refused", func() {
		select {
		case r.reload <- os.Interrupt:
		default:
		}
	})
	if err := r.client.Send(r.Context(), "POST", "/v1/reload", nil); err == nil || !strings.Contains(err.Error(), "needs a restart") {
		r.Errorf("another table: %v", err)
	}
	r.write("hv.yaml", r.text)
}

// TestRestart: a daemon that ends and starts again finds its guest's route, and leaves it
// alone.
func TestRestart(t *testing.T) {
	r := start(t)
	r.hv.IP("link add name vm1 type veth peer name vm1p")
	r.announced("203.0.113.1/32", 100)
	until(r, "the daemon converged", "/v1/status", func(s api.Status) bool { return s.Converged })
	r.stop()
	if err := <-r.ended; err != nil {
		t.Fatal(err)
	}
	monitor := r.hv.Command("ip", "-o", "monitor", "route")
	var seen strings.Builder
	monitor.Stdout = &seen
	if err := monitor.Start(); err != nil {
		t.Fatal(err)
	}
	r.run()
	until(r, "the daemon converged again", "/v1/status", func(s api.Status) bool { return s.Converged && s.Restarted })
	r.announced("203.0.113.1/32", 100)
	_ = monitor.Process.Signal(syscall.SIGTERM)
	_ = monitor.Wait()
	if strings.Contains(seen.String(), "203.0.113.1 ") {
		t.Errorf("the guest's route was touched:\n%s", seen.String())
	}
	if _, err := api.Listen(filepath.Join(r.dir, "api.sock"), nil); err == nil {
		t.Error("a second daemon could take the socket")
	}
}
