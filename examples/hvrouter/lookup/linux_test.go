package lookup

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestAsLinux makes random rules and routes by ip(8), of all actions and types, by next-hop
// objects and without, and asks for random packets: what the tables say must be what the kernel
// says.
func TestAsLinux(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces")
	}
	scenario.Search{Seeds: 6, Inputs: func(r *rand.Rand) []string { return []string{fmt.Sprint(r.Uint64())} }, Play: compare}.Run(t)
}

// maker makes what is in a namespace.
type maker struct {
	*rand.Rand
	ns  *nstest.NS
	did []string
}

func (m *maker) pick(words ...string) string { return words[m.IntN(len(words))] }

// ip runs a command that may fail: two rules may be the same.
func (m *maker) ip(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if m.ns.Command("ip", strings.Fields(line)...).Run() == nil {
		m.did = append(m.did, line)
	}
}

func compare(t *testing.T, inputs []string) error {
	seed, err := strconv.ParseUint(strings.Join(inputs, ""), 10, 64)
	if err != nil {
		return nil
	}
	ns, peers := nstest.New(t, "walk"), nstest.New(t, "peers")
	m := &maker{rand.New(rand.NewPCG(seed, 1)), ns, nil}
	for _, s := range []string{"net/ipv6/conf/default/accept_dad=0", "net/ipv6/conf/all/forwarding=1", "net/ipv4/ip_forward=1", "net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/default/rp_filter=0"} {
		name, value, _ := strings.Cut(s, "=")
		ns.Sysctl(name, value)
	}
	ns.IP("link set lo up")
	for i := range 3 {
		ns.IP(fmt.Sprintf("link add v%d index %d type veth peer name p%d netns %s", i, i+10, i, peers.Name))
		peers.IP(fmt.Sprintf("link set p%d up", i))
		ns.IP(fmt.Sprintf("link set v%d up", i))
		ns.IP(fmt.Sprintf("addr add 10.0.%d.1/24 dev v%d", i, i))
		ns.IP(fmt.Sprintf("addr add fd0%d::1/64 dev v%d", i, i))
		m.ip("nexthop add id %d via 10.0.%d.9 dev v%d proto 201", i+1, i, i)
		m.ip("nexthop add id %d via fd0%d::9 dev v%d proto 201", i+11, i, i)
	}
	nstest.Wait(t, 5*time.Second, "IPv6 addresses", func() bool { return strings.Count(ns.IP("-6 route show table local"), "local fd0") == 3 })
	m.ip("nexthop add id 7 group 1/2 proto 201")
	m.ip("nexthop add id 17 group 11/13 proto 201")
	m.ip("nexthop add id 8 blackhole proto 201")
	for range 40 {
		m.route()
	}
	for range 14 {
		m.rule()
	}
	for round := range 3 {
		if err := m.ask(t); err != nil {
			return fmt.Errorf("%w, after\n%s", err, strings.Join(m.did, "\n"))
		}
		switch round {
		case 0:
			peers.IP("link set p1 down")
			ns.Sysctl("net/ipv4/conf/v1/ignore_routes_with_linkdown", "1")
			ns.Sysctl("net/ipv6/conf/v1/ignore_routes_with_linkdown", "1")
			nstest.Wait(t, 5*time.Second, "no carrier", func() bool { return strings.Contains(ns.IP("link show v1"), "NO-CARRIER") })
		case 1:
			ns.IP("link set v2 down")
		}
		m.did = append(m.did, "links changed")
	}
	return nil
}

// prefixes of both families.
var prefixes = map[string][]string{
	"4": {"192.0.2.0/24", "192.0.2.0/25", "192.0.2.7/32", "192.0.0.0/16", "0.0.0.0/0", "10.0.1.0/24", "198.51.100.0/24"},
	"6": {"2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::7/128", "2001:db8:1::/64", "::/0", "fd01::/64", "2001:db8:2::/48"},
}

func (m *maker) family() (f string, objects []string, gateway func(i int) string) {
	if m.IntN(2) == 0 {
		return "4", []string{"1", "2", "3", "7", "8"}, func(i int) string { return fmt.Sprintf("10.0.%d.9", i) }
	}
	return "6", []string{"11", "12", "13", "17", "8"}, func(i int) string { return fmt.Sprintf("fd0%d::9", i) }
}

func (m *maker) route() {
	f, objects, gateway := m.family()
	to := m.pick(prefixes[f]...) + " table " + m.pick("100", "200", "300", "main") + " metric " + m.pick("5", "10", "20", "1024") + " proto " + m.pick("201", "static", "bird")
	switch m.IntN(4) {
	case 0:
		m.ip("-%s route add %s %s", f, m.pick("blackhole", "unreachable", "prohibit", "throw"), to)
	case 1:
		m.ip("-%s route add %s nhid %s", f, to, m.pick(objects...))
	default:
		i := m.IntN(3)
		m.ip("-%s route add %s via %s dev v%d", f, to, gateway(i), i)
	}
}

func (m *maker) rule() {
	f, _, _ := m.family()
	words := fmt.Sprintf("pref %d", 1+m.IntN(60))
	if m.IntN(4) == 0 {
		words = "not " + words
	}
	if m.IntN(3) == 0 {
		words += " from " + m.pick(prefixes[f]...)
	}
	if m.IntN(4) == 0 {
		words += " to " + m.pick(prefixes[f]...)
	}
	if m.IntN(4) == 0 {
		words += " iif " + m.pick("lo", "v0", "v1")
	}
	if m.IntN(5) == 0 {
		words += " fwmark " + m.pick("1", "0x2/0x6", "0x0/0x1")
	}
	if m.IntN(6) == 0 {
		words += " ipproto " + m.pick("icmp", "ipv6-icmp", "tcp")
	}
	switch m.IntN(8) {
	case 0:
		words += " " + m.pick("blackhole", "unreachable", "prohibit", "nop")
	case 1:
		words += fmt.Sprintf(" goto %d", 50+m.IntN(40))
	case 2:
		words += " lookup 200 suppress_prefixlength " + m.pick("0", "16", "24")
		if f == "6" { // by a next-hop object of several routes the kernel looks at another's prefix: see fib.Rule
			return
		}
	default:
		words += " lookup " + m.pick("100", "200", "300", "main", "400")
	}
	m.ip("-%s rule add %s", f, words)
}

// ask compares the answers for random packets.
func (m *maker) ask(t *testing.T) error {
	c, err := Open(m.ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k, err := NewKernel(c)
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string][]string{"4": {"192.0.2.7", "192.0.2.200", "192.0.9.9", "10.0.1.9", "10.0.2.1", "198.51.100.3", "203.0.113.9"},
		"6": {"2001:db8:1::7", "2001:db8:1::8", "2001:db8:1:2::1", "2001:db8:2::1", "fd01::9", "fd02::1", "3fff::1"}}
	for range 150 {
		f, _, _ := m.family()
		p := Packet{Dst: netip.MustParseAddr(m.pick(hosts[f]...)), Mark: uint32(m.IntN(4))}
		if m.IntN(2) == 0 {
			p.IIF, _ = k.ByName("v0")
			p.Src = netip.MustParseAddr(map[string]string{"4": "198.51.100.77", "6": "2001:db8:2::77"}[f])
		}
		r, err := Explain(k, p, nil, nil)
		if err != nil {
			return err
		}
		if len(r.Differences) > 0 {
			return fmt.Errorf("%s", strings.Join(r.Lines(), "\n"))
		}
	}
	return nil
}
