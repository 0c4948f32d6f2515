package fib

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
	"golang.org/x/sys/unix"
)

// TestFakeKernel makes the fake kernel worth believing: what others do at random is done
// to it and to the kernel itself. Both take it or refuse it, notify the same, and have the
// same in the end.
func TestFakeKernel(t *testing.T) {
	if testing.Short() {
		t.Skip("namespaces take time; not with -short")
	}
	scenario.Search{Seeds: 20, Inputs: func(r *rand.Rand) []string {
		g := &gen{Rand: r}
		for range 40 {
			g.say("%s", g.deed())
		}
		return g.lines
	}, Play: playOnBoth}.Run(t)
}

// deed is what somebody does to the kernel, with few objects, so that they meet.
func (g *gen) deed() string {
	proto := pick(g, " proto 4", " proto 201")
	switch n := g.IntN(24); {
	case n < 6:
		s := g.key()
		if !strings.Contains(s, "::") && g.IntN(3) == 0 {
			return fmt.Sprintf("route %s %s %s%s", pick(g, "append", "prepend", "change"), s, g.hop(false), proto)
		}
		return fmt.Sprintf("route %s %s%s", pick(g, "add", "replace", "replace"), g.kernelRoute(), proto)
	case n < 9:
		return fmt.Sprintf("route del %s%s", g.key(), pick(g, proto, ""))
	case n < 12:
		return fmt.Sprintf("nexthop %s %d %s%s", pick(g, "add", "replace", "change"), g.IntN(5), pick(g, g.hop(false), g.hop(false), g.hop(true), g.hop(false)+" onlink", "blackhole", "fdb via 10.0.0.2"), pick(g, "", proto))
	case n < 15:
		s := fmt.Sprintf("group %s %d", pick(g, "add", "replace"), 4+g.IntN(4))
		for range 1 + g.IntN(3) {
			s += fmt.Sprintf(" %d%s", g.IntN(5), pick(g, "", "*3"))
		}
		return s + pick(g, "", " buckets 8", " buckets 16 idle 500") + pick(g, "", proto)
	case n < 17:
		return fmt.Sprintf("nexthop del %d", g.IntN(8))
	case n < 19:
		return fmt.Sprintf("rule %s %s%s%s", pick(g, "add", "add", "del"), g.rule(), pick(g, "", " not"), pick(g, proto, " proto 0"))
	case n < 21:
		return fmt.Sprintf("address %s %s", pick(g, "add", "del", "replace"), pick(g, g.address(), g.address()+" noprefixroute", fmt.Sprintf("10.0.%d.1/24 dev v%[1]d", g.IntN(3))))
	case n < 23:
		return fmt.Sprintf("neighbour %s %s", pick(g, "add", "del", "replace"), g.neighbor())
	}
	return fmt.Sprintf("link %s %s", g.dev(), pick(g, "up", "down", "down", "delete", "create", "nocarrier"))
}

// kernelRoute is a route with one or two next hops, by itself or by an object.
func (g *gen) kernelRoute() string {
	s := g.key()
	v6 := strings.Contains(s, "::")
	switch g.IntN(6) {
	case 0:
		return s + " prohibit"
	case 1:
		return s + " dev " + g.dev()
	case 2:
		return fmt.Sprintf("%s nhid %d", s, g.IntN(8))
	case 3:
		a, b := g.hop(v6), g.hop(v6)
		if a != b {
			return s + " " + a + " " + b
		}
	case 4:
		if !v6 {
			return s + " " + g.hop(v6) + " src 203.0.113.1"
		}
	}
	return s + " " + g.hop(v6)
}

// real is the kernel, in a namespace like what newFake makes.
type real struct {
	*testing.T
	ns, peer          *nstest.NS
	requests, monitor *rtnl.Socket
	dumps             *rtnl.Socket
	links             map[string]int
	buf               []byte
	noted             []string // notifications of one deed
	ids               []uint32 // of next-hop objects, where somebody has read them
}

func newReal(t *testing.T) *real {
	k := &real{T: t, ns: nstest.New(t, "fake"), peer: nstest.New(t, "cables"), links: map[string]int{}, buf: make([]byte, 1<<16)}
	for _, s := range []string{"accept_dad", "autoconf", "accept_ra", "router_solicitations"} {
		k.ns.Sysctl("net/ipv6/conf/default/"+s, "0")
	}
	k.ns.Sysctl("net/ipv6/conf/default/addr_gen_mode", "1")
	for _, s := range []**rtnl.Socket{&k.requests, &k.monitor, &k.dumps} {
		var err error
		if *s, err = openSocket(k.ns.Path, 4<<20); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { (*s).Close() })
	}
	if err := k.monitor.Join(monitored...); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"v0", "v1", "v2"} {
		k.create(2+i, name)
		for _, a := range uplinkAddresses(name) {
			k.by(&words{list: []string{"address", "add", a.String(), "dev", name}})
		}
	}
	return k
}

func (k *real) create(index int, name string) {
	// The kernel acts on the carrier of a pair whose ends have the same index up to a
	// second later (linkwatch_urgent_event).
	k.ns.IP(fmt.Sprintf("link add %s index %d type veth peer name p%d index %d netns %s", name, index, index, 1000+index, k.peer.Name))
	k.peer.IP(fmt.Sprintf("link set p%d up", index))
	k.ns.IP("link set " + name + " up")
	k.links[name] = index
	k.carrier(name, true)
}

// carrier waits until the interface has it, or not, and the kernel has acted on it.
func (k *real) carrier(name string, want bool) {
	nstest.Wait(k, 2*time.Second, "the carrier of "+name, func() (yes bool) {
		k.ns.Do(func() error {
			i, err := net.InterfaceByName(name)
			yes = err == nil && (i.Flags&net.FlagRunning != 0) == want
			return err
		})
		return yes
	})
}

func (k *real) index(name string) int { return k.links[name] }

func (k *real) objects() []uint32 { return k.ids }

// by does one deed, and returns the kernel's answer.
func (k *real) by(w *words) unix.Errno {
	if w.list[0] == "link" {
		k.link(w.list[1], w.list[2])
		return 0
	}
	b, err := somebody(w.list, k)
	if err != nil {
		k.Fatal(err)
	}
	w2 := rtnl.NewWriter(k.requests)
	w2.Add(append(w2.Buffer(), b...))
	if _, err := w2.Flush(); err != nil {
		k.Fatal(err)
	}
	var errno unix.Errno
	errors.As(w2.Err(0), &errno)
	return errno
}

func (k *real) link(name, verb string) {
	index := k.links[name]
	switch verb {
	case "create":
		if index == 0 {
			k.Fatal("create needs an index")
		}
	case "delete":
		k.ns.IP("link del " + name)
		delete(k.links, name)
	case "down":
		k.ns.IP("link set " + name + " down")
	case "up":
		k.peer.IP(fmt.Sprintf("link set p%d up", index))
		k.ns.IP("link set " + name + " up")
		k.carrier(name, true)
	case "nocarrier":
		k.ns.IP("link set " + name + " up")
		k.peer.IP(fmt.Sprintf("link set p%d down", index))
		k.carrier(name, false)
	}
}

// each reads everything that the fake kernel knows of.
func (k *real) each(f func(rtnl.Message)) {
	rule4, rule6, proxies := make([]byte, rtnl.SizeRule), make([]byte, rtnl.SizeRule), make([]byte, rtnl.SizeNeighbor)
	rule4[0], rule6[0], proxies[10] = byte(wire.FamilyIPv4), byte(wire.FamilyIPv6), rtnl.NTF_PROXY
	for _, request := range [][]byte{rtnl.DumpRequest(rtnl.RTM_GETLINK, make([]byte, rtnl.SizeLink)...),
		rtnl.DumpRequest(rtnl.RTM_GETADDR, make([]byte, rtnl.SizeAddress)...), rtnl.DumpRequest(rtnl.RTM_GETNEXTHOP, make([]byte, rtnl.SizeNextHop)...),
		rtnl.DumpRequest(rtnl.RTM_GETRULE, rule4...), rtnl.DumpRequest(rtnl.RTM_GETRULE, rule6...), rtnl.DumpRequest(rtnl.RTM_GETNEIGH, make([]byte, rtnl.SizeNeighbor)...),
		rtnl.DumpRequest(rtnl.RTM_GETNEIGH, proxies...), fibcore.RouteDump(wire.FamilyIPv4, 90, 0), fibcore.RouteDump(wire.FamilyIPv6, 90, 0)} {
		err := k.dumps.Dump(request, k.buf, func(b []byte) (bool, error) {
			done, _, err := rtnl.WalkDump(b, f)
			return done, err
		})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			k.Fatal(err)
		}
	}
}

// dump is that in words.
func (k *real) dump(m *fake) (lines []string) {
	k.each(func(msg rtnl.Message) {
		if s := m.entryWords(msg); s != "" {
			lines = append(lines, s)
		}
	})
	return lines
}

// notifications are those that have arrived since noted was cleared, in words.
func (k *real) notifications(m *fake) []string {
	for {
		n, err := k.monitor.Receive(k.buf)
		if errors.Is(err, unix.EAGAIN) {
			return k.noted
		} else if err != nil {
			k.Fatal(err)
		}
		for msg := range rtnl.Messages(k.buf[:n]) {
			if s := m.noteWords(msg, k.requests.Port()); s != "" {
				k.noted = append(k.noted, s)
			}
		}
	}
}

// entryWords describes an entry of a dump with all that is compared; "" for what the fake
// kernel does not have.
func (m *fake) entryWords(msg rtnl.Message) string {
	switch msg.Type {
	case rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR:
		var a wire.KernelAddress
		if a.Parse(msg.Body) != nil || a.IfIndex < 2 || a.Prefix.Addr().IsLinkLocalUnicast() {
			return ""
		}
		return fmt.Sprintf("address %v dev %s noprefixroute %v", a.Prefix, m.NameOf(int32(a.IfIndex)), a.NoPrefixRoute)
	case rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH:
		var n wire.KernelNeighbor
		state := binary.NativeEndian.Uint16(msg.Body[8:])
		if n.Parse(msg.Body) != nil || n.IfIndex < 2 || state&(rtnl.NUD_PERMANENT|rtnl.NUD_FAILED) == 0 && !n.Proxy {
			return ""
		}
		if n.Proxy {
			state = unix.NUD_NONE // as pneigh_fill_info has it
		}
		return fmt.Sprintf("neighbour %v dev %s mac %x proxy %v state %x", n.Addr, m.NameOf(int32(n.IfIndex)), n.MAC, n.Proxy, state)
	case rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE:
		var k wire.KernelRule
		if k.Parse(msg.Body) != nil || k.Priority >= 1000 || k.Priority == 0 {
			return ""
		}
		return fmt.Sprintf("rule %v proto %d", k.Rule, k.Protocol)
	case rtnl.RTM_NEWNEXTHOP, rtnl.RTM_DELNEXTHOP:
		var n wire.NextHopMessage
		_ = n.Parse(msg.Body)
		slices.SortFunc(n.Members, func(a, b wire.Member) int { return cmp.Compare(a.ID, b.ID) })
		return fmt.Sprintf("%s onlink %v proto %d alien %v idle %d", m.NextHopText(&n), n.OnLink, n.Protocol, n.Unknown, n.Idle)
	case rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE:
		var r wire.RouteMessage
		if r.Parse(msg.Body) != nil || r.Table != 90 {
			return ""
		}
		return fmt.Sprintf("route %s scope %d", m.RouteText(&r), r.Scope)
	}
	return ""
}

// noteWords describes a notification, also whether it carries the port of who has made the request: a socket that ignores that
// port hears the others. Notifications about interfaces are not compared, nor what the kernel tells of each route of a group
// that is replaced (nexthop_compat_mode).
func (m *fake) noteWords(msg rtnl.Message, port uint32) string {
	s := m.entryWords(msg)
	if s == "" || msg.Type == rtnl.RTM_NEWROUTE && msg.Flags&rtnl.NLM_F_REPLACE != 0 && strings.Contains(s, "nhid") {
		return ""
	}
	if msg.Type&1 != 0 {
		s = "no " + s
	}
	s += fmt.Sprintf(" echo %v", msg.Port == port)
	if msg.Type == rtnl.RTM_NEWROUTE && !strings.Contains(s, "::") {
		s += fmt.Sprintf(" beside %v replaced %v", msg.Flags&(rtnl.NLM_F_REPLACE|rtnl.NLM_F_EXCL) == 0, msg.Flags&rtnl.NLM_F_REPLACE != 0)
	}
	return s
}

// dumpWords is the same of the fake kernel.
func (m *fake) dumpWords() (lines []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := func(typ uint16, body ...byte) {
		for _, e := range m.Entries(rtnl.Message{Type: typ, Body: body}) {
			if s := m.entryWords(e); s != "" {
				lines = append(lines, s)
			}
		}
	}
	proxies := make([]byte, rtnl.SizeNeighbor)
	proxies[10] = rtnl.NTF_PROXY
	list(rtnl.RTM_GETADDR)
	list(rtnl.RTM_GETNEXTHOP)
	list(rtnl.RTM_GETRULE, byte(wire.FamilyIPv4))
	list(rtnl.RTM_GETRULE, byte(wire.FamilyIPv6))
	list(rtnl.RTM_GETNEIGH, make([]byte, rtnl.SizeNeighbor)...)
	list(rtnl.RTM_GETNEIGH, proxies...)
	for _, f := range []wire.Family{wire.FamilyIPv4, wire.FamilyIPv6} {
		b := fibcore.RouteDump(f, 90, 0)
		list(rtnl.RTM_GETROUTE, b[rtnl.SizeHeader:]...)
	}
	return lines
}

func (m *fake) noted() (lines []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	buf := make([]byte, rtnl.DatagramSize)
	for {
		n, err := m.monitor.Receive(buf)
		if err != nil {
			return lines // empty
		}
		for msg := range rtnl.Messages(buf[:n]) {
			if s := m.noteWords(msg, otherPort); s != "" {
				lines = append(lines, s)
			}
		}
	}
}

// playOnBoth does the same to both kernels.
func playOnBoth(t *testing.T, inputs []string) (err error) {
	k, m := newReal(t), newFake()
	if a, b := both(func() []string { return k.notifications(m) }, startingNotes(m)); a != b {
		return fmt.Errorf("at the start the kernel notifies\n  %s\nnot\n  %s", a, b)
	}
	next := 100
	for _, line := range inputs {
		list := strings.Fields(line)
		if list[0] == "link" {
			if (k.links[list[1]] == 0) != (list[2] == "create") {
				continue
			}
			if list[2] == "create" {
				next++
				k.create(next, list[1])
				m.createLink(int32(next), list[1])
				continue
			}
		}
		k.noted = nil
		mine := doTo(m, list)
		his := k.by(&words{list: list})
		if (mine == 0) != (his == 0) {
			return fmt.Errorf("%s: the kernel says %d (%v), the fake %d (%v)", line, his, his, mine, mine)
		}
		if a, b := both(func() []string { return k.notifications(m) }, m.noted()); a != b {
			return fmt.Errorf("%s: the kernel notifies\n  %s\nthe fake\n  %s", line, a, b)
		}
		if a, b := both(func() []string { return k.dump(m) }, m.dumpWords()); a != b {
			return fmt.Errorf("%s: the kernel has\n  %s\nthe fake\n  %s", line, a, b)
		}
	}
	return nil
}

// startingNotes are those of the addresses that a namespace has from the start.
func startingNotes(m *fake) (lines []string) {
	for _, e := range m.Entries(rtnl.Message{Type: rtnl.RTM_GETADDR}) {
		var a wire.KernelAddress
		_ = a.Parse(e.Body)
		lines = append(lines, m.entryWords(e)+fmt.Sprintf(" echo %v", a.Prefix.Addr().Is4()))
	}
	return lines
}

// both returns what the kernel and the fake say, sorted. The kernel gets a second for it:
// IPv6 addresses are notified by its address work queue (addrconf_dad_work).
func both(kernel func() []string, fake []string) (a, b string) {
	slices.Sort(fake)
	b = strings.Join(fake, "\n  ")
	for end := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
		list := kernel()
		slices.Sort(list)
		if a = strings.Join(list, "\n  "); a == b || time.Now().After(end) {
			return a, b
		}
	}
}

// doTo does one deed to the fake kernel.
func doTo(m *fake, list []string) unix.Errno {
	if list[0] == "link" {
		switch list[2] {
		case "up":
			m.setLink(list[1], true, true)
		case "down":
			m.setLink(list[1], false, false)
		case "nocarrier":
			m.setLink(list[1], true, false)
		case "delete":
			m.deleteLink(list[1])
		}
		return 0
	}
	m.mu.Lock()
	b, err := somebody(list, m)
	m.mu.Unlock()
	if err != nil {
		panic(err)
	}
	return m.by(otherPort, b)
}
