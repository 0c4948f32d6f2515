package ndp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/afpacket"
	"github.com/hyperfib/hyperfib/internal/rate"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// other is a second host on the guest's link, whose solicitation shows that there will
// be no answer to the one before.
var other = netip.MustParseAddr("fe80::5254:33ff:fe00:99")

func routerSolicitation(src netip.Addr) Packet {
	p := solicit(0, src)
	p.DstMAC = GroupMAC(AllRouters)
	return p
}

// routerCases lists solicitations and whether they must be answered (RFC 4861, Section
// 6.1.1). asker is :: where the answer goes to all nodes.
func routerCases() []conformance {
	with := func(p Packet, change func(*Packet)) []byte { change(&p); return p.appendFrame(nil) }
	body := func(p Packet, change func([]byte) []byte) []byte {
		p.Body = change(bytes.Clone(p.Body))
		return p.appendFrame(nil)
	}
	raw := func(p Packet, change func([]byte) []byte) []byte { return change(p.appendFrame(nil)) }
	yes := func(name, why string, src netip.Addr, frame []byte) conformance {
		return conformance{name: name, why: why, answer: true, asker: src, frame: frame}
	}
	no := func(name, why string, frame []byte) conformance {
		return conformance{name: name, why: why, frame: frame}
	}
	none := netip.IPv6Unspecified()
	std, from0 := routerSolicitation(own), routerSolicitation(none)
	return []conformance{
		yes("from the link-local address", "6.2.6", own, std.appendFrame(nil)),
		yes("from ::, answered within 50 ms", "6.2.6", none, from0.appendFrame(nil)),
		yes("without link-layer address", "4.1: SHOULD", own, with(std, func(p *Packet) { p.Body = RouterSolicitation{}.append(nil) })),
		yes("unknown option", "6.1.1: ignored", own, body(std, func(b []byte) []byte { return appendOption(b, 200, []byte("whatever")) })),
		yes("with a nonce", "RFC 3971 5.3", own, body(std, func(b []byte) []byte { return appendNonce(b, []byte("noncey")) })),
		yes("reserved field not zero", "4.1: ignored", own, body(std, func(b []byte) []byte { b[4] = 0xff; return b })),
		yes("padding behind the IPv6 packet", "RFC 2464", own, raw(std, func(b []byte) []byte { return append(b, make([]byte, 9)...) })),

		no("hop limit 254", "6.1.1", with(std, func(p *Packet) { p.HopLimit = 254 })),
		no("wrong checksum", "6.1.1", raw(std, func(b []byte) []byte { b[56] ^= 1; return b })),
		no("code 1", "6.1.1", body(std, func(b []byte) []byte { b[1] = 1; return b })),
		no("7 octets long", "6.1.1", body(std, func(b []byte) []byte { return b[:7] })),
		no("option of length zero", "6.1.1", body(std, func(b []byte) []byte { return append(b, 200, 0, 0, 0, 0, 0, 0, 0) })),
		no("option longer than the packet", "4.6", body(std, func(b []byte) []byte { return append(b, 200, 2, 0, 0, 0, 0, 0, 0) })),
		no("link-layer address from ::", "6.1.1", body(from0, func(b []byte) []byte { return appendLinkAddr(b, OptSourceLinkAddr, guestMAC) })),
		no("multicast source", "RFC 4291 2.7", with(std, func(p *Packet) { p.Src = AllNodes })),
		no("router advertisement", "not a solicitation", with(std, func(p *Packet) { p.Body = RouterAdvertisement{}.append(nil) })),
		no("unicast frame to another station", "not for us", with(std, func(p *Packet) { p.DstMAC = otherMAC })),
		no("truncated frame", "RFC 8200 3", raw(std, func(b []byte) []byte { return b[:len(b)-4] })),
		no("VLAN 90", "IEEE 802.1Q: another network", raw(std, func(b []byte) []byte {
			return append(append(bytes.Clone(b[:12]), 0x81, 0, 0, 90), b[12:]...)
		})),
	}
}

// routerBench is the guest's end.
type routerBench struct {
	bench
	in []Packet
}

// verdict is a cell of the matrix. One that is wrong is looked at again: what a busy
// machine delays or drops differs each time, a mistake of ours does not.
func (b *routerBench) verdict(t *testing.T, c *conformance) (cell string, ok bool) {
	t.Helper()
	for range 3 {
		if cell, ok = b.look(t, c); ok {
			return cell, true
		}
		b.ready(t, "the router after "+c.name)
	}
	return cell, false
}

// look sends c and then the sentinel, whose answer shows that there will be none to c any
// more.
func (b *routerBench) look(t *testing.T, c *conformance) (cell string, ok bool) {
	t.Helper()
	sentinel := routerSolicitation(other)
	begin := time.Now()
	if _, err := b.send.Write([]afpacket.Frame{{Link: b.link, Data: c.frame}, {Link: b.link, Data: sentinel.appendFrame(nil)}}); err != nil {
		t.Fatal(err)
	}
	answers, wrong := 0, 0
	for done := false; !done; {
		_ = b.recv.SetReadDeadline(begin.Add(3 * time.Second))
		n, err := b.recv.Read(b.in)
		if err != nil {
			return "DEAF AFTER", false // not even the sentinel is answered
		}
		for _, p := range b.in[:n] {
			ra, err := ParseRouterAdvertisement(&p)
			toAll := p.Dst == AllNodes
			switch {
			case p.Dst == other:
				done = true
			case toAll && (!c.answer || !c.asker.IsUnspecified()): // an unsolicited one
			case err != nil || ra.Lifetime == 0 || !p.Src.IsLinkLocalUnicast() || (!toAll && p.Dst != c.asker && c.answer):
				wrong++
			default:
				answers++
			}
		}
	}
	switch {
	case wrong > 0:
		return "WRONG", false
	case answers == 0 && c.answer:
		return "SILENT", false
	case answers > 0 && !c.answer:
		return "ANSWERS", false
	case answers > 1:
		return fmt.Sprintf("%d ANSWERS", answers), false
	case answers == 1:
		return "answers", true
	}
	return "silent", true
}

// TestRouterConformance runs the matrix on a real wire, against our advertiser and
// radvd, and keeps the table in testdata.
func TestRouterConformance(t *testing.T) {
	w := newWire(t)
	w.hypervisor(t)
	nb := newBench(t, w)
	b := &routerBench{bench: *nb, in: make([]Packet, Batch)}
	b.recv = listen(t, w.guest, TypeRouterAdvertisement)
	if err := b.recv.Add(b.link); err != nil {
		t.Fatal(err)
	}
	for _, a := range []netip.Addr{own, other} { // the guest's kernel does not say where they are
		w.host.IP("-6 neigh add " + a.String() + " lladdr " + guestMAC.String() + " dev vm1 nud permanent")
	}
	all := routerCases()
	run := func(who string, look func(*testing.T, *conformance) (string, bool)) (cells []string, wrong int) {
		b.ready(t, who)
		for i := range all {
			cell, ok := look(t, &all[i])
			if !ok {
				wrong++
			}
			cells = append(cells, cell)
		}
		return cells, wrong
	}
	stop := w.radvd(t)
	radvd, radvdWrong := run("radvd", b.look)
	stop()
	for { // its last words
		_ = b.recv.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := b.recv.Read(b.in); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	a := w.advertise(t, guestRA())
	a.mu.Lock() // the matrix asks more often than any host
	a.links[w.link].schedule.bucket = rate.Bucket{Rate: 1e6, Size: 1e6}
	a.mu.Unlock()
	ours, oursWrong := run("ours", b.verdict)

	var out strings.Builder
	line := func(a, b, c, d, e any) { fmt.Fprintf(&out, "%-34s %-30v %-8v %-8v %v\n", a, b, c, d, e) }
	line("router solicitation", "RFC 4861", "must", "ours", "radvd")
	for i, c := range all {
		must := "silent"
		if c.answer {
			must = "answers"
		}
		line(c.name, c.why, must, ours[i], radvd[i])
	}
	line("wrong cells of "+fmt.Sprint(len(all)), "", 0, oursWrong, radvdWrong)
	if oursWrong > 0 {
		t.Errorf("%d wrong cells:\n%s", oursWrong, &out)
	}
	scenario.GoldenLines(t, "testdata/routerconformance.txt", out.String(), func(line string) string { return line[:min(len(line), 82)] })
}

// ready waits until the sentinel is answered, and for what else is on its way.
func (b *routerBench) ready(t *testing.T, who string) {
	t.Helper()
	s := routerSolicitation(other)
	nstest.Wait(t, 30*time.Second, who+" to answer", func() bool {
		_, _ = b.send.Write([]afpacket.Frame{{Link: b.link, Data: s.appendFrame(nil)}})
		_ = b.recv.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, _ := b.recv.Read(b.in)
		return slices.ContainsFunc(b.in[:n], func(p Packet) bool { return p.Dst == other })
	})
	for {
		_ = b.recv.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := b.recv.Read(b.in); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// radvd runs radvd on vm1 until stop is called.
func (w *wire) radvd(t *testing.T) (stop func()) {
	t.Helper()
	bin := nstest.Need(t, "radvd")
	dir := t.TempDir()
	conf := filepath.Join(dir, "radvd.conf")
	text := "interface vm1 {\n AdvSendAdvert on;\n prefix 2001:db8:cb00:7100::/64 { };\n};\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := w.host.Command(bin, "-n", "-C", conf, "-p", filepath.Join(dir, "pid"), "-m", "logfile", "-l", filepath.Join(dir, "log"), "-u", "root")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
