package ndp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/afpacket"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// The world of the conformance cases: the guests believe that they share
// 2001:db8:cb00:7200::/64. VM1 (::1, and a routed /64) is on the interface under test,
// VM2 (::2) on another interface of the same hypervisor, VM3 (::3) and VM4 (::4) on
// other hypervisors; fe80::1 is the gateway; nobody has ::77.
var (
	vm1    = netip.MustParseAddr("2001:db8:cb00:7200::1")
	vm2    = netip.MustParseAddr("2001:db8:cb00:7200::2")
	vm3    = netip.MustParseAddr("2001:db8:cb00:7200::3")
	vm4    = netip.MustParseAddr("2001:db8:cb00:7200::4")
	ghost  = netip.MustParseAddr("2001:db8:cb00:7200::77")
	routed = netip.MustParseAddr("2001:db8:cb00:710a::5")
	uplink = netip.MustParseAddr("2001:db8:c633:6400::1")
	own    = netip.MustParseAddr("fe80::5254:33ff:fe00:7")

	testTime = time.Unix(0, 0)
	hostMAC  = MAC{2, 0, 0, 0, 0, 0xfe}
	otherMAC = MAC{2, 0, 0, 0, 0, 0x99}
)

// conformance is one solicitation and whether it must be answered.
type conformance struct {
	name   string
	why    string // the rule
	answer bool
	frame  []byte
	target netip.Addr
	asker  netip.Addr // :: if the answer goes to all nodes
	local  bool       // answered by the kernel in any case
}

// solicitation is a valid question about target from src.
func solicitation(src, target netip.Addr) Packet {
	ns := NeighborSolicitation{Target: target, SourceLinkAddr: guestMAC}
	if src.IsUnspecified() {
		ns.SourceLinkAddr = MAC{}
	}
	dst := SolicitedNode(target)
	return Packet{SrcMAC: guestMAC, DstMAC: GroupMAC(dst), Src: src, Dst: dst, HopLimit: 255, Body: ns.append(nil)}
}

// cases lists the matrix; router is the hypervisor's MAC on the interface.
func cases(router MAC) []conformance {
	none := netip.IPv6Unspecified()
	with := func(p Packet, change func(*Packet)) []byte { change(&p); return p.appendFrame(nil) }
	body := func(p Packet, change func([]byte) []byte) []byte {
		p.Body = change(bytes.Clone(p.Body))
		return p.appendFrame(nil)
	}
	raw := func(p Packet, change func([]byte) []byte) []byte { return change(p.appendFrame(nil)) }
	yes := func(name, why string, src, target netip.Addr, frame []byte) conformance {
		return conformance{name: name, why: why, answer: true, frame: frame, target: target, asker: src, local: target == gateway}
	}
	no := func(name, why string, frame []byte) conformance {
		return conformance{name: name, why: why, frame: frame}
	}
	ask := func(src, target netip.Addr) []byte { p := solicitation(src, target); return p.appendFrame(nil) }
	std, dad := solicitation(vm1, vm3), solicitation(none, vm3)
	unicast := func(p *Packet) { p.Dst, p.DstMAC = vm3, router }
	bare := func(p *Packet) { p.Body = NeighborSolicitation{Target: vm3}.append(nil) }
	return []conformance{
		yes("solicitation for a remote guest", "RFC 4861 7.2.8", vm1, vm3, ask(vm1, vm3)),
		yes("the same from the link-local address", "RFC 4861 7.2.8", own, vm3, ask(own, vm3)),
		yes("the same from the routed prefix", "RFC 4861 7.2.8", routed, vm3, ask(routed, vm3)),
		yes("solicitation for a guest next door", "RFC 4861 7.2.8", vm1, vm2, ask(vm1, vm2)),
		yes("solicitation for the gateway", "RFC 4861 7.2.4", vm1, gateway, ask(vm1, gateway)),
		yes("unicast probe", "RFC 4861 7.3.3", vm1, vm3, with(std, unicast)),
		yes("unicast probe without link-layer address", "RFC 4861 4.3: MAY be left out", vm1, vm3, with(std, func(p *Packet) { bare(p); unicast(p) })),
		yes("unknown option", "RFC 4861 7.1.1: ignored", vm1, vm3, body(std, func(b []byte) []byte { return appendOption(b, 200, []byte("whatever")) })),
		yes("reserved field not zero", "RFC 4861 4.3: ignored", vm1, vm3, body(std, func(b []byte) []byte { b[5] = 0xff; return b })),
		yes("padding behind the IPv6 packet", "RFC 2464", vm1, vm3, raw(std, func(b []byte) []byte { return append(b, make([]byte, 9)...) })),
		yes("DAD for a remote guest's address", "RFC 4862 5.4.3", none, vm3, ask(none, vm3)),
		yes("DAD for the address next door", "RFC 4862 5.4.3", none, vm2, ask(none, vm2)),
		yes("DAD for the gateway's address", "RFC 4862 5.4.3", none, gateway, ask(none, gateway)),
		yes("DAD with a nonce, as Linux does it", "RFC 7527 4.1", none, vm3, body(dad, func(b []byte) []byte { return appendNonce(b, []byte("noncey")) })),

		no("DAD for the own address", "RFC 4862 5.4.3", ask(none, vm1)),
		no("DAD for the own link-local address", "RFC 4862 5.4.3", ask(none, own)),
		no("DAD for an own routed address", "RFC 4862 5.4.3", ask(none, routed)),
		no("solicitation for an own routed address", "behind the same link", ask(vm1, routed)),
		no("solicitation for what nobody has", "no ghosts", ask(vm1, ghost)),
		no("DAD for what nobody has", "no ghosts", ask(none, ghost)),
		no("solicitation for the uplink's address", "not on this link", ask(vm1, uplink)),
		no("source of a remote guest", "spoofed", ask(vm3, vm4)),
		no("source that nobody has", "spoofed", ask(ghost, vm3)),
		no("source of the gateway", "spoofed", ask(gateway, vm3)),
		no("link-layer address is not the frame's", "spoofed", body(std, func(b []byte) []byte { b[31] ^= 1; return b })),
		no("another MAC throughout", "spoofed", with(std, func(p *Packet) {
			p.SrcMAC, p.Body = otherMAC, NeighborSolicitation{Target: vm3, SourceLinkAddr: otherMAC}.append(nil)
		})),
		no("hop limit 254", "RFC 4861 7.1.1", with(std, func(p *Packet) { p.HopLimit = 254 })),
		no("wrong checksum", "RFC 4861 7.1.1", raw(std, func(b []byte) []byte { b[56] ^= 1; return b })),
		no("code 1", "RFC 4861 7.1.1", body(std, func(b []byte) []byte { b[1] = 1; return b })),
		no("20 octets long", "RFC 4861 7.1.1", body(std, func(b []byte) []byte { return b[:20] })),
		no("multicast target", "RFC 4861 7.1.1", body(std, func(b []byte) []byte { copy(b[8:], AllNodes.AsSlice()); return b })),
		no("option of length zero", "RFC 4861 7.1.1", body(std, func(b []byte) []byte { return append(b, 200, 0, 0, 0, 0, 0, 0, 0) })),
		no("option longer than the packet", "RFC 4861 4.6", body(std, func(b []byte) []byte { return append(b, 200, 2, 0, 0, 0, 0, 0, 0) })),
		no("DAD to a unicast address", "RFC 4861 7.1.1", with(dad, unicast)),
		no("DAD with a link-layer address", "RFC 4861 7.1.1", body(dad, func(b []byte) []byte { return appendLinkAddr(b, OptSourceLinkAddr, guestMAC) })),
		no("multicast source", "RFC 4291 2.7", with(std, func(p *Packet) { p.Src = AllNodes })),
		no("fragment", "RFC 6980", raw(std, fragment)),
		no("truncated frame", "RFC 8200 3", raw(std, func(b []byte) []byte { return b[:len(b)-8] })),
		no("neighbor advertisement", "not a solicitation", with(std, func(p *Packet) {
			p.Body = NeighborAdvertisement{Solicited: false, Target: vm3, TargetLinkAddr: guestMAC}.append(nil)
		})),
		no("unicast frame to another station", "not for us", with(std, func(p *Packet) { p.DstMAC = otherMAC })),
		no("VLAN 90", "IEEE 802.1Q: another network", raw(std, func(b []byte) []byte {
			return append(append(bytes.Clone(b[:12]), 0x81, 0, 0, 90), b[12:]...)
		})),
	}
}

// fragment puts a fragment header (an "atomic" one: the only fragment) before ICMPv6.
func fragment(b []byte) []byte {
	out := append(bytes.Clone(b[:54]), 58, 0, 0, 0, 0, 0, 0, 1)
	out = append(out, b[54:]...)
	out[20] = 44
	out[19] += 8
	return out
}

// rightAnswer reports what is wrong with p as the only answer to c.
func (c *conformance) rightAnswer(p *Packet, router MAC) string {
	na, err := ParseNeighborAdvertisement(p)
	want := NeighborAdvertisement{Router: true, Solicited: !c.asker.IsUnspecified(), Override: c.local, Target: c.target, TargetLinkAddr: router}
	dst, mac := c.asker, guestMAC
	if c.asker.IsUnspecified() {
		dst, mac = AllNodes, GroupMAC(AllNodes)
	}
	if (c.name == "unicast probe" || c.name == "unicast probe without link-layer address") && na.TargetLinkAddr.IsZero() {
		want.TargetLinkAddr = MAC{} // "SHOULD be included", says 4.4; "MAY be omitted", says 7.2.4
	}
	switch {
	case err != nil:
		return err.Error()
	case na != want:
		return fmt.Sprintf("says %+v", na)
	case p.Dst != dst || p.DstMAC != mac:
		return fmt.Sprintf("goes to %v, %v", p.Dst, p.DstMAC)
	case p.Src != gateway && p.Src != netip.AddrFrom16(router.LinkLocal()):
		return fmt.Sprintf("comes from %v, which the link does not have", p.Src)
	}
	return ""
}

func conformancePolicy(link int, router MAC) *Policy {
	p := &Policy{}
	p.SetGuest(link, Guest{
		MAC: guestMAC, Router: router, Source: gateway,
		Addresses: []netip.Prefix{netip.PrefixFrom(vm1, 128), netip.PrefixFrom(routed, 64).Masked()},
	})
	for _, a := range []netip.Addr{vm2, vm3, vm4} {
		p.SetTarget(netip.PrefixFrom(a, 128), 0)
	}
	p.SetTarget(netip.PrefixFrom(vm1, 128), link)
	p.SetTarget(netip.PrefixFrom(routed, 64), link)
	return p
}

// TestPolicy runs the matrix against codec and policy alone.
func TestPolicy(t *testing.T) {
	p := conformancePolicy(7, hostMAC)
	for _, c := range cases(hostMAC) {
		if c.local {
			continue
		}
		reply, v, err := decideFrame(p, c.frame)
		switch answered := v == VerdictAnswered || v == VerdictDefended; {
		case answered != c.answer:
			t.Errorf("%s: %v, %v", c.name, v, err)
		case answered && c.rightAnswer(&reply, hostMAC) != "":
			t.Errorf("%s: %s", c.name, c.rightAnswer(&reply, hostMAC))
		case answered && (v == VerdictDefended) != c.asker.IsUnspecified():
			t.Errorf("%s: %v", c.name, v)
		}
	}
}

func decideFrame(p *Policy, frame []byte) (Packet, Verdict, error) {
	in, err := ParseFrame(frame)
	if err == nil {
		_, err = in.Check()
	}
	if err != nil {
		return Packet{}, VerdictMalformed, err
	}
	in.IfIndex = 7
	out, v := p.Decide(time.Unix(0, 0), &in, nil)
	return out, v, nil
}

// bench is the guest's end of a wire, raw.
type bench struct {
	send *afpacket.Conn
	recv *Conn
	link int
}

func newBench(t testing.TB, w *wire) *bench {
	t.Helper()
	w.guest.Sysctl("net/ipv6/conf/eth0/disable_ipv6", "1")
	w.guest.IP("link set eth0 up")
	b := &bench{recv: listen(t, w.guest, TypeNeighborAdvertisement)}
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

// ask sends a frame and then a solicitation for VM4, the sentinel, whose answer shows
// that there will be none to the first any more. It returns the answers to the first. If
// the sentinel gets none, the kernel may have dropped it: both are sent again.
func (b *bench) ask(t *testing.T, frame []byte) (answers []Packet) {
	t.Helper()
	s := solicitation(vm1, vm4)
	in := make([]Packet, Batch)
	for range 3 {
		_, err := b.send.Write([]afpacket.Frame{{Link: b.link, Data: frame}, {Link: b.link, Data: s.appendFrame(nil)}})
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
			for _, p := range in[:n] {
				if na, err := ParseNeighborAdvertisement(&p); err != nil || na.Target == vm4 {
					return answers
				}
				p.Body = bytes.Clone(p.Body)
				answers = append(answers, p)
			}
		}
		b.settle(t, "the sentinel to be answered")
	}
	t.Fatal("no answer to the sentinel behind the frame, thrice")
	return nil
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
	if wrong := c.rightAnswer(&answers[0], router); wrong != "" {
		t.Logf("%s: %s", c.name, wrong)
		return "WRONG", false
	}
	return "answers", true
}

// hypervisor gives the host the lab's addresses and routes.
func (w *wire) hypervisor(t *testing.T) {
	t.Helper()
	far := nstest.New(t, "far")
	nstest.Veth(w.host, "up0", "2001:db8:c633:6400::1/120", far, "eth0", "2001:db8:c633:6400::ff/120")
	nstest.Veth(w.host, "vm2", "", far, "eth1", "")
	w.host.Sysctl("net/ipv6/conf/all/forwarding", "1")
	w.host.IP("addr flush dev vm1")
	w.host.IP("addr add fe80::1/64 dev vm1 nodad")
	for _, r := range []string{
		vm1.String() + " dev vm1", "2001:db8:cb00:710a::/64 via fe80::5254:33ff:fe00:7 dev vm1", vm2.String() + " dev vm2",
		vm3.String() + " via 2001:db8:c633:6400::ff", vm4.String() + " via 2001:db8:c633:6400::ff",
		"unreachable 2001:db8:cb00:7200::/64", "default via 2001:db8:c633:6400::ff",
	} {
		w.host.IP("-6 route add " + r)
	}
}

// ndppd runs ndppd on vm1 for the same targets until stop is called.
func (w *wire) ndppd(t testing.TB, targets string) (stop func()) {
	t.Helper()
	nstest.Need(t, "ndppd")
	conf := filepath.Join(t.TempDir(), "ndppd.conf")
	text := "proxy vm1 {\n router yes\n timeout 500\n ttl 30000\n" + targets + "}\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := w.host.Command("ndppd", "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func targetRules(as ...netip.Addr) (s string) {
	for _, a := range as {
		s += fmt.Sprintf(" rule %v/128 {\n  static\n }\n", a)
	}
	return s
}

// TestConformance runs the matrix on a real wire, against our proxy, the kernel's
// proxy_ndp and ndppd, and keeps the table in testdata.
func TestConformance(t *testing.T) {
	w := newWire(t)
	w.hypervisor(t)
	b := newBench(t, w)
	all := cases(w.router)
	run := func(who string, look func(*testing.T, *conformance, MAC) (string, bool)) (cells []string, wrong int) {
		b.settle(t, who)
		for i := range all {
			cell, ok := look(t, &all[i], w.router)
			if !ok {
				wrong++
			}
			cells = append(cells, cell)
		}
		return cells, wrong
	}
	w.host.Sysctl("net/ipv6/conf/vm1/proxy_ndp", "1")
	w.host.Sysctl("net/ipv6/neigh/vm1/proxy_delay", "0")
	for _, a := range []netip.Addr{vm2, vm3, vm4} {
		w.host.IP("-6 neigh add proxy " + a.String() + " dev vm1 router")
	}
	kernel, kernelWrong := run("kernel", b.look)
	w.host.Sysctl("net/ipv6/conf/vm1/proxy_ndp", "0")
	for _, a := range []netip.Addr{vm2, vm3, vm4} {
		w.host.IP("-6 neigh del proxy " + a.String() + " dev vm1")
	}

	stop := w.ndppd(t, targetRules(vm2, vm3, vm4))
	ndppd, ndppdWrong := run("ndppd", b.look)
	stop()

	r := NewResponder(listen(t, w.host, TypeNeighborSolicitation))
	if err := r.SetGuest(w.link, Guest{Router: w.router}); err != nil {
		t.Fatal(err)
	}
	r.policy = *conformancePolicy(w.link, w.router)
	t.Run("ours", func(t *testing.T) {
		runLoop(t, r.Run)
		ours, oursWrong := run("ours", b.verdict)
		var out strings.Builder
		line := func(a, b, c, d, e, f any) {
			fmt.Fprintf(&out, "%-42s %-32v %-8v %-8v %-17v %v\n", a, b, c, d, e, f)
		}
		line("case", "rule", "must", "ours", "kernel proxy_ndp", "ndppd")
		for i, c := range all {
			must := "silent"
			if c.answer {
				must = "answers"
			}
			line(c.name, c.why, must, ours[i], kernel[i], ndppd[i])
		}
		line("wrong cells of "+fmt.Sprint(len(all)), "", 0, oursWrong, kernelWrong, ndppdWrong)
		if oursWrong > 0 {
			t.Errorf("%d wrong cells:\n%s", oursWrong, &out)
		}
		scenario.GoldenLines(t, "testdata/conformance.txt", out.String(), func(line string) string { return line[:min(len(line), 93)] })
	})
}

// settle waits until the sentinel is answered, so that the peer is up.
func (b *bench) settle(t *testing.T, who string) {
	t.Helper()
	in := make([]Packet, Batch)
	s := solicitation(vm1, vm4)
	nstest.Wait(t, 30*time.Second, who+" to answer", func() bool {
		_, _ = b.send.Write([]afpacket.Frame{{Link: b.link, Data: s.appendFrame(nil)}})
		_ = b.recv.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		_, err := b.recv.Read(in)
		return err == nil
	})
	for { // late answers
		_ = b.recv.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := b.recv.Read(in); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}
