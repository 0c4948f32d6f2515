package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/ndp"
)

func lost(sent, answered uint64) float64 { return 100 * (1 - min(1, float64(answered)/float64(sent))) }

// arpFlood asks for 200 remote guests, 100,000 times a second.
func arpFlood(b *bench) error {
	const rate, d = 100000, 5 * time.Second
	w, err := newWire("arp")
	defer w.close()
	if err != nil {
		return err
	}
	for _, cmd := range []string{
		"addr add 203.0.113.254/32 dev vm1", "route add 203.0.113.1 dev vm1", "link add up0 type veth peer name up1",
		"addr add 198.51.100.101/25 dev up0", "link set up0 up", "link set up1 up", "route add 203.0.113.0/24 via 198.51.100.1",
	} {
		if err := ip("-n %s %s", w.host, cmd); err != nil {
			return err
		}
	}
	var frames [][]byte
	for i := range 200 {
		p := arp.NewRequest(guestMAC, netip.MustParseAddr("203.0.113.1"), netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 2)}))
		frame, _ := p.On(0).AppendBinary(nil)
		frames = append(frames, frame)
	}
	for _, s := range []string{"ipv4/ip_forward", "ipv4/conf/vm1/proxy_arp"} {
		if err := sysctl(w.host, "net/"+s, "1"); err != nil {
			return err
		}
	}
	if err := sysctl(w.host, "net/ipv4/neigh/vm1/proxy_delay", "0"); err != nil {
		return err
	}
	sent, got, err := w.flood(arp.EtherType, frames, rate, false, d)
	if err != nil {
		return err
	}
	b.add("ARP, 100k requests/s", "kernel proxy_arp", fmt.Sprintf("%.2f %% lost, %dk answers/s", lost(sent, got), int(float64(got)/d.Seconds()/1000)), "", true)
	if err := sysctl(w.host, "net/ipv4/conf/vm1/proxy_arp", "0"); err != nil {
		return err
	}
	for _, single := range []bool{false, true} {
		if err := b.ourARP(w, frames, rate, single, d); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) ourARP(w *wire, frames [][]byte, rate int, single bool, d time.Duration) error {
	what := "ARP, 100k requests/s"
	if single {
		what += ", 10 us apart"
	}
	p, err := b.startRole(w.host, "arp", w.link, "203.0.113.0/24")
	if err != nil {
		return err
	}
	sent, got, err := w.flood(arp.EtherType, frames, rate, single, d)
	u, stopErr := p.stop()
	if err != nil || stopErr != nil {
		return fmt.Errorf("%v, %v", err, stopErr)
	}
	each := u.CPU / time.Duration(max(got, 1))
	b.add(what+": lost", "hyperfib", fmt.Sprintf("%.2f %%, %dk answers/s", lost(sent, got), int(float64(got)/d.Seconds()/1000)), "0.5 %", lost(sent, got) < 0.5)
	b.add(what+": CPU a reply", "hyperfib", fmt.Sprintf("%.2f us", float64(each)/1e3), "4.5 us", each <= 4500*time.Nanosecond)
	perReply := float64(u.Mallocs) / float64(max(got, 1))
	b.add(what+": allocations a reply", "hyperfib", fmt.Sprintf("%.5f (%d in all)", perReply, u.Mallocs), "0", perReply < 0.001)
	return nil
}

// solicitations asks for n addresses from base on.
func solicitations(base netip.Addr, n int) (frames [][]byte) {
	for range n {
		ns := ndp.NeighborSolicitation{Target: base, SourceLinkAddr: guestMAC}
		dst := ndp.SolicitedNode(base)
		body, _ := ns.AppendBinary(nil)
		p := ndp.Packet{SrcMAC: guestMAC, DstMAC: ndp.GroupMAC(dst), Src: netip.MustParseAddr("2001:db8:cb00:7200::1"), Dst: dst, Body: body}
		frame, _ := p.AppendBinary(nil)
		frames = append(frames, frame)
		base = base.Next()
	}
	return frames
}

// ndpFlood asks as fast as it can, of ndppd, the kernel, and us with prefixes of all
// sizes.
func ndpFlood(b *bench) error {
	const d = 3 * time.Second
	w, err := newWire("ndp")
	defer w.close()
	if err != nil {
		return err
	}
	if err := sysctl(w.host, "net/ipv6/conf/all/forwarding", "1"); err != nil {
		return err
	}
	for _, cmd := range []string{"addr add fe80::1/64 dev vm1 nodad", "addr add 2001:db8:cb00:7200::ff/128 dev vm1 nodad", "-6 route add 2001:db8:cb00:7200::1 dev vm1",
		"-6 neigh add 2001:db8:cb00:7200::1 lladdr " + guestMAC.String() + " dev vm1 nud permanent"} {
		if err := ip("-n %s %s", w.host, cmd); err != nil {
			return err
		}
	}
	base := netip.MustParseAddr("2001:db8:cb00:7200::1000")
	frames := solicitations(base, 200)
	ndppd, err := ndppdFlood(b, w, frames, d)
	if err != nil {
		return err
	}
	if err := kernelNDP(b, w, base, frames, d); err != nil {
		return err
	}
	var slowest float64
	var cheapest, dearest time.Duration // CPU an answer
	for _, targets := range []string{"2001:db8:cb00:7200::/64", "2001:db8:cb00::/40", "2001:db8:cb00:7200::1000*1000", "2001:db8:cb00:7200::1000*100000"} {
		p, err := b.startRole(w.host, "ndp", w.link, targets)
		if err != nil {
			return err
		}
		sent, got, err := w.flood(ndp.EtherType, frames, 0, false, d)
		u, stopErr := p.stop()
		if err != nil || stopErr != nil {
			return fmt.Errorf("%v, %v", err, stopErr)
		}
		per := float64(got) / d.Seconds()
		if slowest == 0 || per < slowest {
			slowest = per
		}
		each := u.CPU / time.Duration(max(got, 1))
		dearest = max(dearest, each)
		if cheapest == 0 || each < cheapest {
			cheapest = each
		}
		b.add("NDP flood, "+targets, "hyperfib", fmt.Sprintf("%dk answers/s of %dk asked, %.2f us CPU each", int(per/1000), int(float64(sent)/d.Seconds()/1000), float64(each)/1e3), "", true)
	}
	if ndppd > 0 {
		b.add("NDP flood, slowest of ours / ndppd", "hyperfib", fmt.Sprintf("%.1fx", slowest/ndppd), "5x", slowest >= 5*ndppd)
	}
	ratio := float64(dearest) / float64(cheapest)
	b.add("NDP flood, CPU an answer, dearest / cheapest prefixes", "hyperfib", fmt.Sprintf("%.2f", ratio), "1.5 (constant, but for noise)", ratio <= 1.5)
	return nil
}

func ndppdFlood(b *bench, w *wire, frames [][]byte, d time.Duration) (float64, error) {
	ndppd, ok := need("ndppd")
	if !ok {
		return 0, nil
	}
	conf, err := os.CreateTemp("", "ndppd")
	if err != nil {
		return 0, err
	}
	defer os.Remove(conf.Name())
	fmt.Fprint(conf, "proxy vm1 {\n router yes\n rule 2001:db8:cb00:7200::/64 {\n  static\n }\n}\n")
	conf.Close()
	cmd := exec.Command("ip", "netns", "exec", w.host, ndppd, "-c", conf.Name())
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	time.Sleep(500 * time.Millisecond)
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	best := 0.0
	for _, rate := range []int{10000, 20000, 0} { // it may do better if it is not overrun
		before := cpuOf(cmd.Process.Pid)
		sent, got, err := w.flood(ndp.EtherType, frames, rate, false, d)
		cpu := cpuOf(cmd.Process.Pid) - before
		if err != nil {
			return 0, err
		}
		per := float64(got) / d.Seconds()
		best = max(best, per)
		b.add(fmt.Sprintf("NDP flood, %.0fk asked a second", float64(sent)/d.Seconds()/1000), "ndppd", fmt.Sprintf("%.1fk answers/s, %.1f us CPU each", per/1000, float64(cpu)/1e3/float64(max(got, 1))), "", true)
	}
	return best, nil
}

// kernelNDP measures proxy_ndp with 1,000 and 10,000 entries.
func kernelNDP(b *bench, w *wire, base netip.Addr, frames [][]byte, d time.Duration) error {
	if err := sysctl(w.host, "net/ipv6/conf/vm1/proxy_ndp", "1"); err != nil {
		return err
	}
	if err := sysctl(w.host, "net/ipv6/neigh/vm1/proxy_delay", "0"); err != nil {
		return err
	}
	defer sysctl(w.host, "net/ipv6/conf/vm1/proxy_ndp", "0")
	a := base
	total := 0
	for _, n := range []int{1000, 10000} {
		var script strings.Builder
		for ; total < n; total++ {
			fmt.Fprintf(&script, "neigh add proxy %v dev vm1\n", a)
			a = a.Next()
		}
		cmd := exec.Command("ip", "-n", w.host, "-6", "-batch", "-")
		cmd.Stdin = strings.NewReader(script.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %s", err, out)
		}
		sent, got, err := w.flood(ndp.EtherType, frames, 0, false, d)
		if err != nil {
			return err
		}
		b.add(fmt.Sprintf("NDP flood, %d addresses", n), "kernel proxy_ndp", fmt.Sprintf("%.1fk answers/s of %.0fk asked", float64(got)/d.Seconds()/1000, float64(sent)/d.Seconds()/1000), "", true)
	}
	return ip("-n %s -6 neigh flush proxy dev vm1", w.host)
}
