package arp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/afpacket"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// The world of the conformance cases: VM1 (203.0.113.1, and .10 routed to it) on the
// interface under test; VM2 (.2) on another interface of the same hypervisor, VM3
// (.3) and VM4 (.4) on other hypervisors; .254 is the gateway, 198.51.100.101 the
// uplink's address; nobody has .77.
var (
	vm2     = netip.MustParseAddr("203.0.113.2")
	vm4     = netip.MustParseAddr("203.0.113.4")
	routed  = netip.MustParseAddr("203.0.113.10")
	ghost   = netip.MustParseAddr("203.0.113.77")
	gateway = netip.MustParseAddr("203.0.113.254")
	uplink  = netip.MustParseAddr("198.51.100.101")
	zero    = netip.IPv4Unspecified()

	testTime = time.Unix(0, 0)
)

// conformance is one question and whether it must be answered.
type conformance struct {
	name   string
	why    string // the rule
	answer bool
	frame  []byte
	target netip.Addr // of the answer
	asker  netip.Addr // its protocol address
	local  bool       // answered by the kernel in any case
}

// cases lists the matrix; router is the hypervisor's MAC on the interface.
func cases(router MAC) []conformance {
	ask := func(ip, target netip.Addr) Frame { return NewRequest(guestMAC, ip, target).On(0) }
	with := func(f Frame, change func(*Frame)) []byte { change(&f); return f.append(nil) }
	raw := func(f Frame, change func([]byte)) []byte { b := f.append(nil); change(b); return b }
	tagged := func(f Frame, tci ...byte) []byte {
		b := f.append(nil)
		return append(append(bytes.Clone(b[:12]), 0x81, 0, tci[0], tci[1]), b[12:]...)
	}
	yes := func(name, why string, ip, target netip.Addr, frame []byte) conformance {
		return conformance{name: name, why: why, answer: true, frame: frame, target: target, asker: ip, local: target == gateway}
	}
	no := func(name, why string, frame []byte) conformance {
		return conformance{name: name, why: why, frame: frame}
	}
	std := ask(vm1, vm3)
	return []conformance{
		yes("request for a remote guest", "RFC 1027 2", vm1, vm3, std.append(nil)),
		yes("request for a guest next door", "RFC 1027 2", vm1, vm2, ask(vm1, vm2).append(nil)),
		yes("request for the gateway", "RFC 826", vm1, gateway, ask(vm1, gateway).append(nil)),
		yes("request from the guest's routed address", "RFC 826", routed, vm3, ask(routed, vm3).append(nil)),
		yes("unicast request", "RFC 1122 2.3.2.1", vm1, vm3, with(std, func(f *Frame) { f.Dst = router })),
		yes("target MAC all ones", "RFC 826: ar$tha is not looked at", vm1, vm3, with(std, func(f *Frame) { f.TargetMAC = Broadcast })),
		yes("target MAC of somebody else", "RFC 826: ar$tha is not looked at", vm1, vm3, with(std, func(f *Frame) { f.TargetMAC = otherMAC })),
		yes("padded to 60 octets", "RFC 894", vm1, vm3, append(std.append(nil), make([]byte, 18)...)),
		yes("followed by 1400 octets", "RFC 826: lengths are in the header", vm1, vm3, append(std.append(nil), make([]byte, 1400)...)),
		yes("probe of a remote guest's address", "RFC 5227 2.1.1", zero, vm3, NewProbe(guestMAC, vm3).On(0).append(nil)),
		yes("probe of the address next door", "RFC 5227 2.1.1", zero, vm2, NewProbe(guestMAC, vm2).On(0).append(nil)),
		yes("probe of the gateway's address", "RFC 5227 2.1.1", zero, gateway, NewProbe(guestMAC, gateway).On(0).append(nil)),
		yes("priority tag (VLAN 0)", "IEEE 802.1Q 6.9: untagged", vm1, vm3, tagged(std, 0xe0, 0)),

		no("probe of the own address", "RFC 5227 2.1.1", NewProbe(guestMAC, vm1).On(0).append(nil)),
		no("probe of the own routed address", "RFC 5227 2.1.1", NewProbe(guestMAC, routed).On(0).append(nil)),
		no("announcement of the own address", "RFC 5227 2.3", NewAnnouncement(guestMAC, vm1).On(0).append(nil)),
		no("announcement in reply form", "RFC 5227 3", with(NewAnnouncement(guestMAC, vm1).On(0), func(f *Frame) { f.Op = OpReply })),
		no("request for the own routed address", "behind the same link", ask(vm1, routed).append(nil)),
		no("request for what nobody has", "no ghosts", ask(vm1, ghost).append(nil)),
		no("probe of what nobody has", "no ghosts", NewProbe(guestMAC, ghost).On(0).append(nil)),
		no("request for the uplink's address", "not on this link", ask(vm1, uplink).append(nil)),
		no("request for an address of the internet", "not on this subnet", ask(vm1, netip.MustParseAddr("8.8.8.8")).append(nil)),
		no("request for 127.0.0.1", "RFC 1122 3.2.1.3", ask(vm1, netip.MustParseAddr("127.0.0.1")).append(nil)),
		no("request for a group", "RFC 1112 6.4", ask(vm1, netip.MustParseAddr("224.0.0.1")).append(nil)),
		no("request for 255.255.255.255", "RFC 1122 3.2.1.3", ask(vm1, netip.MustParseAddr("255.255.255.255")).append(nil)),
		no("request for 0.0.0.0", "RFC 1122 3.2.1.3", ask(vm1, zero).append(nil)),
		no("sender address of a remote guest", "spoofed", ask(vm3, vm4).append(nil)),
		no("sender address of the gateway", "spoofed", ask(gateway, vm3).append(nil)),
		no("sender address that nobody has", "spoofed", ask(ghost, vm3).append(nil)),
		no("sender MAC is not the frame's", "spoofed", with(std, func(f *Frame) { f.SenderMAC = otherMAC })),
		no("another MAC throughout", "spoofed", NewRequest(otherMAC, vm1, vm3).On(0).append(nil)),
		no("sender MAC is a group", "RFC 826: a station's address", NewRequest(MAC{1, 0, 0x5e, 0, 0, 1}, vm1, vm3).On(0).append(nil)),
		no("probe of a remote address by another MAC", "spoofed", NewProbe(otherMAC, vm3).On(0).append(nil)),
		no("announcement of a remote guest's address", "RFC 5227 2.4: not a question", NewAnnouncement(guestMAC, vm3).On(0).append(nil)),
		no("reply", "RFC 826: not a request", with(std, func(f *Frame) { f.Op = OpReply })),
		no("operation 3 (RARP)", "RFC 903", with(std, func(f *Frame) { f.Op = 3 })),
		no("unicast to another station", "not for us", with(std, func(f *Frame) { f.Dst = otherMAC })),
		no("VLAN 90", "IEEE 802.1Q: another network", tagged(std, 0, 90)),
		no("hardware type 15", "RFC 826 ar$hrd", raw(std, func(b []byte) { b[15] = 15 })),
		no("protocol type IPv6", "RFC 826 ar$pro", raw(std, func(b []byte) { b[16], b[17] = 0x86, 0xdd })),
		no("hardware length 8", "RFC 826 ar$hln", raw(std, func(b []byte) { b[18] = 8 })),
		no("protocol length 16", "RFC 826 ar$pln", raw(std, func(b []byte) { b[19] = 16 })),
		no("truncated after 27 octets", "RFC 826", std.append(nil)[:FrameLen-1]),
	}
}

func conformancePolicy(link int, router MAC) *Policy {
	p := &Policy{}
	p.SetGuest(link, Guest{MAC: guestMAC, Router: router, Addresses: []netip.Prefix{netip.PrefixFrom(vm1, 32), netip.PrefixFrom(routed, 32)}})
	for _, a := range []netip.Addr{vm2, vm3, vm4} {
		p.SetTarget(netip.PrefixFrom(a, 32), 0)
	}
	p.SetTarget(netip.PrefixFrom(vm1, 32), link)
	p.SetTarget(netip.PrefixFrom(routed, 32), link)
	return p
}

// rightAnswer reports what is wrong with f as the only answer to c.
func (c *conformance) rightAnswer(f Frame, router MAC) string {
	want := Packet{Op: OpReply, SenderMAC: router, SenderIP: IPFrom(c.target), TargetMAC: guestMAC, TargetIP: IPFrom(c.asker)}
	if f.Packet != want || f.Dst != guestMAC || f.Src != router {
		return fmt.Sprintf("answers %v", f)
	}
	return ""
}

// TestPolicy runs the matrix against the policy alone.
func TestPolicy(t *testing.T) {
	p := conformancePolicy(7, hostMAC)
	for _, c := range cases(hostMAC) {
		if c.local {
			continue
		}
		var reply Frame
		f, err := ParseFrame(c.frame)
		if c.name == "priority tag (VLAN 0)" { // the kernel takes it off before we see the frame
			f, err = ParseFrame(append(bytes.Clone(c.frame[:12]), c.frame[16:]...))
		}
		v := VerdictNotRequest
		if err == nil {
			f.IfIndex = 7
			reply, v = p.Decide(time.Unix(0, 0), &f)
		}
		switch {
		case (v == VerdictAnswered) != c.answer:
			t.Errorf("%s: %v", c.name, v)
		case v == VerdictAnswered && c.rightAnswer(reply, hostMAC) != "":
			t.Errorf("%s: %s", c.name, c.rightAnswer(reply, hostMAC))
		}
	}
}

// bench is the guest's end of a wire, raw.
type bench struct {
	send *afpacket.Conn
	recv *Conn
	link int
}

func newBench(t *testing.T, w *wire) *bench {
	t.Helper()
	w.guest.IP("addr flush dev eth0")
	w.guest.IP("link set eth0 arp off")
	b := &bench{recv: listen(t, w.guest)}
	b.link, _ = index(t, w.guest, "eth0")
	if err := b.recv.Add(b.link); err != nil {
		t.Fatal(err)
	}
	send, err := afpacket.Open(afpacket.Config{NetNS: w.guest.Path, EtherType: EtherType, FrameSize: 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { send.Close() })
	b.send = send
	return b
}

// ask sends a frame and then a request for VM4, the sentinel, whose answer shows that
// there will be none to the first any more. It returns the answers to the first. If the
// sentinel gets none, the kernel may have dropped it: both are sent again.
func (b *bench) ask(t *testing.T, frame []byte) (answers []Frame) {
	t.Helper()
	sentinel := NewRequest(guestMAC, vm1, vm4).On(0).append(nil)
	in := make([]Frame, Batch)
	for range 3 {
		_, err := b.send.Write([]afpacket.Frame{{Link: b.link, Data: frame}, {Link: b.link, Data: sentinel}})
		if err != nil {
			t.Fatal(err)
		}
		answers = nil
		_ = b.recv.SetReadDeadline(time.Now().Add(3 * time.Second))
		for {
			n, err := b.recv.Read(in)
			if err != nil {
				break
			}
			for _, f := range in[:n] {
				if f.Op != OpReply {
					continue
				}
				if f.SenderIP == IPFrom(vm4) {
					return answers
				}
				answers = append(answers, f)
			}
		}
		b.settle(t, "the sentinel to be answered")
	}
	t.Fatal("no answer to the sentinel behind the frame, thrice")
	return nil
}

// settle asks the sentinel until it is answered, as a real client would, and then
// waits for the end of late answers.
func (b *bench) settle(t *testing.T, what string) {
	t.Helper()
	sentinel := NewRequest(guestMAC, vm1, vm4).On(0).append(nil)
	in := make([]Frame, Batch)
	nstest.Wait(t, 30*time.Second, what, func() bool {
		_, _ = b.send.Write([]afpacket.Frame{{Link: b.link, Data: sentinel}})
		_ = b.recv.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, _ := b.recv.Read(in)
		return slices.ContainsFunc(in[:n], func(f Frame) bool { return f.Op == OpReply && f.SenderIP == IPFrom(vm4) })
	})
	for { // late answers
		_ = b.recv.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := b.recv.Read(in); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// verdict is a cell of the matrix. One that is wrong is looked at again: what a busy
// machine delays or drops differs each time, a mistake of ours does not.
func (b *bench) verdict(t *testing.T, c *conformance, router MAC) (cell string, ok bool) {
	for range 3 {
		if cell, ok = b.look(t, c, router); ok {
			return cell, true
		}
		b.settle(t, "the sentinel after "+c.name)
	}
	return cell, false
}

func (b *bench) look(t *testing.T, c *conformance, router MAC) (cell string, ok bool) {
	answers := b.ask(t, c.frame)
	switch {
	case len(answers) == 0 && !c.answer:
		return "silent", true
	case len(answers) == 0:
		return "SILENT", false
	case !c.answer:
		return "ANSWERS", false
	case len(answers) > 1:
		return fmt.Sprintf("%d ANSWERS", len(answers)), false
	}
	if wrong := c.rightAnswer(answers[0], router); wrong != "" {
		t.Logf("%s: %s", c.name, wrong)
		return "WRONG", false
	}
	return "answers", true
}

// hypervisor gives the host the lab's addresses and routes.
func (w *wire) hypervisor(t *testing.T) {
	t.Helper()
	far := nstest.New(t, "far")
	nstest.Veth(w.host, "up0", "198.51.100.101/25", far, "eth0", "198.51.100.1/25")
	nstest.Veth(w.host, "vm2", "", far, "eth1", "")
	w.host.Sysctl("net/ipv4/ip_forward", "1")
	for name, value := range map[string]string{"arp_ignore": "1", "arp_announce": "2", "rp_filter": "1"} {
		w.host.Sysctl("net/ipv4/conf/vm1/"+name, value)
	}
	w.host.IP("link set vm2 up")
	w.host.IP("addr add 203.0.113.254/32 dev vm1")
	for _, r := range []string{
		"203.0.113.1 dev vm1", "203.0.113.10 via 203.0.113.1 dev vm1 onlink", "203.0.113.2 dev vm2",
		"203.0.113.3 via 198.51.100.1", "203.0.113.4 via 198.51.100.1",
		"unreachable 203.0.113.0/24", "default via 198.51.100.1",
	} {
		w.host.IP("route add " + r)
	}
}

// TestConformance runs the matrix on a real wire, against our responder and against
// the kernel's proxy_arp set up as the lab does (arp_ignore, rp_filter, unreachable
// route), and keeps the table in testdata.
func TestConformance(t *testing.T) {
	w := newWire(t)
	w.hypervisor(t)
	b := newBench(t, w)
	all := cases(w.router)
	run := func(look func(*testing.T, *conformance, MAC) (string, bool)) (cells []string, wrong int) {
		for i := range all {
			cell, ok := look(t, &all[i], w.router)
			if !ok {
				wrong++
			}
			cells = append(cells, cell)
		}
		return cells, wrong
	}
	w.host.Sysctl("net/ipv4/conf/vm1/proxy_arp", "1")
	w.host.Sysctl("net/ipv4/neigh/vm1/proxy_delay", "0")
	kernel, kernelWrong := run(b.look)
	w.host.Sysctl("net/ipv4/conf/vm1/proxy_arp", "0")

	r := w.respond(t)
	r.mu.Lock()
	r.policy = *conformancePolicy(w.link, w.router)
	r.mu.Unlock()
	ours, oursWrong := run(b.verdict)

	var out strings.Builder
	fmt.Fprintf(&out, "%-44s %-36s %-8s %-8s %s\n", "case", "rule", "must", "ours", "kernel proxy_arp")
	for i, c := range all {
		must := "silent"
		if c.answer {
			must = "answers"
		}
		fmt.Fprintf(&out, "%-44s %-36s %-8s %-8s %s\n", c.name, c.why, must, ours[i], kernel[i])
	}
	fmt.Fprintf(&out, "%-44s %-36s %-8d %-8d %d\n", "wrong cells of "+fmt.Sprint(len(all)), "", 0, oursWrong, kernelWrong)
	if oursWrong > 0 {
		t.Errorf("%d wrong cells:\n%s", oursWrong, &out)
	}
	scenario.GoldenLines(t, "testdata/conformance.txt", out.String(), func(line string) string { return line[:min(len(line), 99)] })
}
