package daemon

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/ndp"
)

// firewalled lists the guests that the firewall of a namespace knows.
func (b *bench) firewalled(n *netns.Namespace) (names []string) {
	for _, g := range b.firewalls[n].last.Guests {
		names = append(names, g.Interface)
	}
	return names
}

// An interface has a guest's rights from the moment it is attached until it is not; what
// stays of it afterwards is as quiet as if it had never been one, also if the guest was
// taken away while no daemon ran.
func TestDetached(t *testing.T) {
	b := newBench(t)
	b.uplinks()
	b.link(19, "loose")
	b.link(20, "vm1")
	b.link(21, "left") // an earlier run's
	b.address(21, "fe80::1/64")
	b.refresh()
	p := b.home()
	const forwarding, proxy = "net/ipv4/conf/%/forwarding", "net/ipv4/conf/%/proxy_arp"
	want := func(when string, guests []string, sysctls map[string]string) {
		t.Helper()
		if got := b.firewalled(p); !slices.Equal(got, guests) {
			t.Errorf("%s: attached are %v, want %v", when, got, guests)
		}
		for path, value := range sysctls {
			if got := b.sysctls[path]; got != value {
				t.Errorf("%s: %s is %q, want %q", when, path, got, value)
			}
		}
	}
	of := func(path, name string) string {
		return string(slices.Concat([]byte(path[:len("net/ipv4/conf/")]), []byte(name), []byte(path[len("net/ipv4/conf/%"):])))
	}
	want("start", []string{"vm1"}, map[string]string{
		of(forwarding, "vm1"): "1", of(proxy, "vm1"): "1", of(forwarding, "loose"): "", of(forwarding, "left"): "0", "net/ipv6/conf/vm1/addr_gen_mode": "1",
	})
	all := b.cfg.Entries()
	b.guests.Replace(guest.FromConfig, all[1:])
	b.refresh()
	want("guest del", nil, map[string]string{of(forwarding, "vm1"): "0", of(proxy, "vm1"): "0", "net/ipv6/conf/vm1/accept_ra": "0", "net/ipv4/conf/vm1/rp_filter": "1"})
	b.link(20, "other")
	want("renamed", nil, map[string]string{of(forwarding, "vm1"): "", of(forwarding, "other"): "0"})
	b.link(20, "vm1")
	b.guests.Replace(guest.FromConfig, all)
	b.refresh()
	want("guest add", []string{"vm1"}, map[string]string{of(forwarding, "vm1"): "1", of(forwarding, "other"): ""})
	b.kernelSays(fib.Event{Kind: fib.EventLinkGone, Link: fib.Link{IfIndex: 20, Interface: "vm1"}})
	want("gone", nil, map[string]string{of(forwarding, "vm1"): ""})
}

// Which interfaces are the host's own follows from the configuration, and without a word
// there from addresses that nobody but the operator gives.
func TestTrust(t *testing.T) {
	tr := newTrace()
	c, err := configtest.Sample("hv1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b := newBenchWith(t, c, slog.New(events{tr}), func(name string) netns.Kernel { return fakeKernel{trace: tr, netns: name} }, tr)
	b.uplinks()
	for i, name := range []string{"eth0", "eth1", "eth2", "vm1", "br100"} {
		b.link(30+i, name)
	}
	say := func(index int, prefix string, scope fib.Scope, permanent, gone bool) {
		b.kernelSays(fib.Event{Kind: fib.EventAddress, Link: fib.Link{IfIndex: index}, Addr: netip.MustParsePrefix(prefix), Scope: scope, Permanent: permanent, Gone: gone})
	}
	host := func(when string, want ...string) {
		t.Helper()
		b.refresh()
		got := b.firewalls[b.home()].last.Host
		if want = append([]string{"lo", "loopback"}, want...); !slices.Equal(got, want) {
			t.Errorf("%s: the host's own are %v, want %v", when, got, want)
		}
	}
	host("no addresses")
	say(30, "fe80::1234/64", fib.ScopeLink, true, false)
	say(30, "203.0.113.254/32", fib.ScopeLink, true, false)
	say(31, "2001:db8:77::5/64", fib.ScopeUniverse, false, false)
	say(33, "192.0.2.1/24", fib.ScopeUniverse, true, false)
	say(34, "192.0.2.2/24", fib.ScopeUniverse, true, false)
	host("the kernel's, ours, a router advertisement's, a guest's, the overlay's")
	denied := func(want ...string) {
		t.Helper()
		var got []string
		for _, line := range tr.take() {
			if strings.HasPrefix(line, "event interface-denied ") {
				_, name, _ := strings.Cut(line, `interface="`)
				got = append(got, strings.TrimSuffix(name, `"`))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("denied are %q, want %q", got, want)
		}
	}
	denied("eth1")
	say(30, "192.0.2.5/24", fib.ScopeUniverse, false, false) // by DHCP
	host("an operator's", "eth0")
	b.link(30, "mgmt0")
	host("renamed", "mgmt0")
	say(30, "192.0.2.5/24", fib.ScopeUniverse, false, true)
	host("without it")
	say(30, "192.0.2.5/24", fib.ScopeUniverse, false, false)
	other := *b.cfg
	other.Firewall.Trusted = []string{"eth[12]", "later"}
	b.adopt(&other)
	denied()
	host("named", "later", "eth1", "eth2")
	denied("mgmt0")
	other.Firewall.Trusted = []string{}
	host("none")
}

// What a guest asked from becomes a permanent neighbour, some at a time, and the
// kernel is let hear it.
func TestAskers(t *testing.T) {
	const maxAddresses = 8 // of one guest
	b := newBench(t)
	b.uplinks()
	b.link(20, "vm1")
	b.refresh()
	b.trace.take()
	now := time.Unix(1000, 0)
	sender := func(link, n int) ndp.Sender {
		a := netip.MustParseAddr("fe80::aa00").As16()
		a[15] = byte(n)
		return ndp.Sender{IfIndex: link, Addr: netip.AddrFrom16(a)}
	}
	flood := func(n int) (list []ndp.Sender) {
		for i := range n {
			list = append(list, sender(20, i))
		}
		return list
	}
	b.router.now = func() time.Time { return now }
	b.onAskers([]ndp.Sender{sender(20, 1), sender(99, 1)})
	if got := b.firewalls[b.home()].last.Guests[0].Neighbors; !slices.Contains(got, sender(20, 1).Addr) {
		t.Errorf("the firewall lets %v in", got)
	}
	asked := func() (n int) {
		for _, a := range b.neighbors {
			if a.IfIndex == 20 && a.Addr.IsLinkLocalUnicast() && a.Addr != domain.LinkLocal(b.attached.ports["vm1"].MAC) {
				n++
			}
		}
		return n
	}
	b.onAskers(flood(200))
	if n := asked(); n != maxAddresses {
		t.Errorf("%d neighbours after a flood, want %d", n, maxAddresses)
	}
	now = now.Add(9 * time.Second)
	b.onAskers([]ndp.Sender{sender(20, 250)})
	if got := b.askers.Of(20); slices.Contains(got, sender(20, 250).Addr) {
		t.Errorf("taken beyond the rate: %v", got)
	}
	now = now.Add(2 * time.Second)
	b.onAskers([]ndp.Sender{sender(20, 250)})
	if got := b.askers.Of(20); len(got) != maxAddresses || !slices.Contains(got, sender(20, 250).Addr) || slices.Contains(got, sender(20, 1).Addr) {
		t.Errorf("not the newest: %v", got)
	}
	b.kernelSays(fib.Event{Kind: fib.EventLinkGone, Link: fib.Link{IfIndex: 20, Interface: "vm1"}})
	if left := b.askers.Of(20); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}
