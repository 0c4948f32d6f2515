package ndp

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

var (
	guestMAC = MAC{0x50, 0x54, 0x33, 0, 0, 7}
	gateway  = netip.MustParseAddr("fe80::1")
	vm1Net   = netip.MustParsePrefix("2001:db8:cb00:7100::/64")
	vm3Net   = netip.MustParsePrefix("2001:db8:cb00:7102::/64")
)

// wire is a guest and a hypervisor joined by a veth pair.
type wire struct {
	guest, host *nstest.NS
	link        int // the hypervisor's end
	router      MAC
}

func newWire(t testing.TB) *wire {
	t.Helper()
	if testing.Short() {
		t.Skip("needs network namespaces; not with -short")
	}
	w := &wire{guest: nstest.New(t, "guest"), host: nstest.New(t, "host")}
	w.guest.Sysctl("net/ipv6/conf/default/accept_dad", "0")
	w.host.Sysctl("net/ipv6/conf/default/accept_dad", "0")
	w.guest.Sysctl("net/ipv6/conf/default/router_solicitation_delay", "0")
	w.host.IP("link add vm1 type veth peer name eth0 netns " + w.guest.Name)
	w.guest.IP("link set eth0 address " + guestMAC.String())
	w.host.IP("link set vm1 up")
	w.link, w.router = index(t, w.host, "vm1")
	return w
}

// up starts the guest and waits for its link-local address.
func (w *wire) up(t testing.TB) {
	t.Helper()
	w.guest.IP("link set eth0 up")
	nstest.Wait(t, 2*time.Second, "the guest's link-local address", func() bool {
		out := w.guest.IP("-6 addr show dev eth0 scope link -tentative")
		return strings.Contains(out, "fe80::5254:33ff:fe00:7")
	})
}

func index(t testing.TB, ns *nstest.NS, name string) (link int, mac MAC) {
	t.Helper()
	ns.Do(func() error {
		ifi, err := net.InterfaceByName(name)
		if err == nil {
			link, mac = ifi.Index, MAC(ifi.HardwareAddr)
		}
		return err
	})
	return link, mac
}

func listen(t testing.TB, ns *nstest.NS, types ...Type) *Conn {
	t.Helper()
	c, err := Listen(Config{NetNS: ns.Path, Types: types})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// runLoop runs f until the test ends.
func runLoop(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (w *wire) advertise(t testing.TB, ra RouterAdvertisement) *Advertiser {
	t.Helper()
	a := NewAdvertiser(listen(t, w.host, TypeRouterSolicitation))
	runLoop(t, a.Run)
	if err := a.Set(w.link, Router{MAC: w.router, Source: gateway, Advertisement: ra}); err != nil {
		t.Fatal(err)
	}
	return a
}

func guestRA() RouterAdvertisement {
	return RouterAdvertisement{
		HopLimit: 64, Lifetime: 30 * time.Minute, MTU: 1450,
		Prefixes: []Prefix{{Prefix: vm1Net, OnLink: true, Autonomous: true, Valid: 24 * time.Hour, Preferred: 4 * time.Hour}},
		Routes:   []Route{{Prefix: netip.MustParsePrefix("2001:db8:ffff::/48"), Preference: PreferenceHigh, Lifetime: time.Hour}},
		RDNSS:    []RDNSS{{Lifetime: time.Hour, Servers: []netip.Addr{netip.MustParseAddr("2001:4860:4860::8888")}}},
		DNSSL:    []DNSSL{{Lifetime: time.Hour, Domains: []string{"example.net", "lab.example.net"}}},
		PREF64:   []PREF64{{Prefix: netip.MustParsePrefix("64:ff9b::/96"), Lifetime: time.Hour}},
	}
}

// A Linux guest forms its address, takes default route and MTU; after Remove it drops
// the router.
func TestSLAAC(t *testing.T) {
	w := newWire(t)
	a := w.advertise(t, guestRA())
	w.up(t)
	nstest.Wait(t, 2*time.Second, "the guest's SLAAC address", func() bool {
		return strings.Contains(w.guest.IP("-6 addr show dev eth0"), "2001:db8:cb00:7100:5254:33ff:fe00:7/64")
	})
	if out := w.guest.IP("-6 route show default"); !strings.Contains(out, "via fe80::1") || !strings.Contains(out, "mtu 1450") && !strings.Contains(out, "hoplimit 64") {
		t.Errorf("default route: %s", out)
	}
	a.Remove(w.link)
	nstest.Wait(t, 2*time.Second, "the default route to go", func() bool {
		return w.guest.IP("-6 route show default") == ""
	})
	nstest.Wait(t, 2*time.Second, "three final advertisements", func() bool { return a.Stats().Final == 3 })
}

func TestRdisc6(t *testing.T) {
	nstest.Need(t, "rdisc6")
	w := newWire(t)
	a := w.advertise(t, guestRA())
	w.up(t)
	out := w.guest.Exec("rdisc6", "-1", "-w", "500", "-r", "60", "eth0")
	for _, want := range []string{"from fe80::1", "2001:db8:cb00:7100::/64", "MTU", "1450 bytes", "2001:4860:4860::8888", "example.net", "2001:db8:ffff::/48", "64 ("} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if s := a.Stats(); s.Answers == 0 {
		t.Errorf("%+v", s)
	}
}

// proxy runs a Responder that knows VM3's prefix, with the given source address.
//
// (ndisc6 cannot be the client: it takes only answers whose source is the target, so no
// proxy passes.)
func (w *wire) proxy(t testing.TB, source netip.Addr) *Responder {
	t.Helper()
	r := NewResponder(listen(t, w.host, TypeNeighborSolicitation))
	if err := r.SetGuest(w.link, Guest{MAC: guestMAC, Router: w.router, Source: source, Addresses: []netip.Prefix{vm1Net}}); err != nil {
		t.Fatal(err)
	}
	r.SetTarget(vm3Net, 0)
	runLoop(t, r.Run)
	return r
}

// A Linux guest that believes VM3 to be its neighbor resolves it, and finds it alive
// when it probes.
func TestLinuxResolves(t *testing.T) {
	nstest.Need(t, "ping")
	w := newWire(t)
	r := w.proxy(t, gateway)
	w.up(t)
	w.guest.IP("addr add 2001:db8:cb00:7100::1/48 dev eth0 nodad")
	w.guest.Sysctl("net/ipv6/neigh/eth0/base_reachable_time_ms", "100")
	w.guest.Sysctl("net/ipv6/neigh/eth0/delay_first_probe_time", "0")
	ping := func() { _ = w.guest.Command("ping", "-6", "-c", "1", "-W", "0.1", "2001:db8:cb00:7102::3").Run() }
	entry := func() string { return w.guest.IP("neigh show 2001:db8:cb00:7102::3") }
	nstest.Wait(t, time.Second, "the guest to resolve", func() bool {
		ping() // the kernel gives up after three questions
		return strings.Contains(entry(), w.router.String()) && strings.Contains(entry(), "router")
	})
	nstest.Wait(t, 2*time.Second, "the entry to go stale", func() bool { return strings.Contains(entry(), "STALE") })
	before := r.Stats()[VerdictAnswered]
	nstest.Wait(t, 2*time.Second, "a unicast probe to be answered", func() bool { ping(); return r.Stats()[VerdictAnswered] > before })
	_ = w.guest.Command("ping", "-6", "-c", "1", "-W", "0.1", "2001:db8:cb00:7105::3").Run()
	if out := w.guest.IP("neigh show 2001:db8:cb00:7105::3"); strings.Contains(out, "lladdr") {
		t.Errorf("a ghost answered: %s", out)
	}
}

func TestAnnounceUpdatesCache(t *testing.T) {
	w := newWire(t)
	w.up(t)
	w.guest.IP("neigh replace 2001:db8:cb00:7102::3 lladdr 02:00:00:00:00:01 dev eth0 nud reachable")
	if err := Announce(t.Context(), listen(t, w.host), w.link, w.router, false, netip.MustParseAddr("2001:db8:cb00:7102::3")); err != nil {
		t.Fatal(err)
	}
	nstest.Wait(t, time.Second, "the guest to take the new address", func() bool {
		return strings.Contains(w.guest.IP("neigh show 2001:db8:cb00:7102::3"), w.router.String())
	})
}

// A Linux guest that configures an address which another guest has, elsewhere, finds
// the duplicate; its own address, and one that nobody has, it may keep.
func TestLinuxDAD(t *testing.T) {
	w := newWire(t)
	w.proxy(t, gateway)
	w.up(t)
	w.guest.Sysctl("net/ipv6/conf/eth0/accept_dad", "1")
	w.guest.Sysctl("net/ipv6/neigh/eth0/retrans_time_ms", "100") // DAD waits as long
	for _, a := range []string{"2001:db8:cb00:7102::3", "2001:db8:cb00:7100::5", "2001:db8:cb00:7105::5"} {
		w.guest.IP("addr add " + a + "/64 dev eth0")
	}
	show := func(a string) string { return w.guest.IP("-6 addr show dev eth0 to " + a) }
	nstest.Wait(t, 3*time.Second, "the duplicate to be found", func() bool {
		out := show("2001:db8:cb00:7102::3")
		if !strings.Contains(out, "tentative") { // a proxy that comes to run only after DAD's 100 ms gets another chance
			w.guest.IP("addr del 2001:db8:cb00:7102::3/64 dev eth0")
			w.guest.IP("addr add 2001:db8:cb00:7102::3/64 dev eth0")
		}
		return strings.Contains(out, "dadfailed")
	})
	for _, a := range []string{"2001:db8:cb00:7100::5", "2001:db8:cb00:7105::5"} {
		nstest.Wait(t, 3*time.Second, a+" to be usable", func() bool { return !strings.Contains(show(a), "tentative") })
		if out := show(a); strings.Contains(out, "dadfailed") {
			t.Error(out)
		}
	}
}

// Temporary addresses (RFC 8981, Section 3), as desktops use them.
func TestTemporaryAddresses(t *testing.T) {
	w := newWire(t)
	w.guest.Sysctl("net/ipv6/conf/default/use_tempaddr", "2")
	w.guest.Sysctl("net/ipv6/conf/eth0/use_tempaddr", "2")
	w.advertise(t, guestRA())
	w.up(t)
	nstest.Wait(t, 2*time.Second, "a temporary address", func() bool {
		return strings.Contains(w.guest.IP("-6 addr show dev eth0 temporary"), "2001:db8:cb00:7100:")
	})
}

func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	nstest.Wait(t, 30*time.Second, "an answer", cond)
}
