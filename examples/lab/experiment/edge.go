package experiment

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/probe"
	"github.com/hyperfib/hyperfib/examples/lab/report"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// arp asks as a guest does: remote guests and the gateway are answered with the
// hypervisor's MAC, an address that nobody has is not answered.
func arp(run *Run) error {
	wrong := 0
	var why strings.Builder
	for _, g := range run.guests() {
		tap, err := run.Topology.Public(g.HV).NL.Link(g.Name)
		if err != nil {
			return err
		}
		targets := []netip.Addr{plan.Gateway4}
		for _, other := range run.guests() {
			if other.N != g.N {
				targets = append(targets, other.IPv4)
			}
		}
		for _, target := range targets {
			macs, err := probe.ARP(run.Topology.Guest(g).Path, "eth0", g.MAC, g.IPv4, target, time.Second, true)
			if err != nil {
				return err
			}
			if len(macs) != 1 || macs[0].String() != tap.MAC.String() {
				wrong++
				fmt.Fprintf(&why, "%s asked for %s: %v, want %s\n", g.Name, target, macs, tap.MAC)
			}
		}
	}
	run.value("ARP answers that are not the hypervisor's", float64(wrong), 0, "", "12 pairs of guests, and the gateway of each", why.String())
	vm1 := run.guests()[0]
	ghosts := 0
	for _, a := range []netip.Addr{plan.Ghost, vm1.IPv4} {
		macs, err := probe.ARP(run.Topology.Guest(vm1).Path, "eth0", vm1.MAC, vm1.IPv4, a, 250*time.Millisecond, false)
		if err != nil {
			return err
		}
		ghosts += len(macs)
	}
	run.value("answers for ghosts and for oneself", float64(ghosts), 0, "", fmt.Sprintf("vm1 asked for %s and %s", plan.Ghost, vm1.IPv4), "")
	return run.bound()
}

// bound asks on behalf of others: a guest is answered as itself alone, and hears that an
// address is taken before it uses another guest's (RFC 5227, Section 2.1.1). Where hvrouter runs, that is.
func (run *Run) bound() error {
	undefended, forged, asked := 0, 0, 0
	for _, g := range run.guests() {
		if run.Topology.HVKind(g.HV) != topology.Self {
			continue
		}
		link := run.Topology.Guest(g).Path
		for _, other := range run.guests() {
			if other.N == g.N {
				continue
			}
			asked++
			macs, err := probe.ARP(link, "eth0", g.MAC, netip.IPv4Unspecified(), other.IPv4, time.Second, true)
			if err != nil {
				return err
			}
			if len(macs) == 0 {
				undefended++
			}
			if asked > 1 {
				continue // what follows waits for what must not come
			}
			for _, f := range []struct {
				mac      net.HardwareAddr
				from, to netip.Addr
			}{{other.MAC, g.IPv4, plan.Gateway4}, {g.MAC, other.IPv4, plan.Gateway4}, {g.MAC, plan.Ghost, other.IPv4}} {
				macs, err := probe.ARP(link, "eth0", f.mac, f.from, f.to, 250*time.Millisecond, false)
				if err != nil {
					return err
				}
				forged += len(macs)
			}
		}
	}
	run.value("probes for another guest's address that nobody answered", float64(undefended), 0, "", fmt.Sprintf("of %d", asked), "")
	run.value("answers to questions in another's name", float64(forged), 0, "", "another's MAC, another's address, nobody's", "")
	return nil
}

// spoof sends packets with sources that are not VM1's, and one that is.
func spoof(run *Run) error {
	all := run.guests()
	vm1, vm2, to := all[0], all[1], all[3]
	tap, err := run.Topology.Public(vm1.HV).NL.Link(vm1.Name)
	if err != nil {
		return err
	}
	const port = 7100
	sources := map[string]netip.Addr{
		"own 4": vm1.IPv4, "own 6": vm1.IPv6(), "anycast 4": plan.Anycast4, "anycast 6": plan.AnycastHost,
		"spoof neighbour 4": vm2.IPv4, "spoof neighbour 6": vm2.IPv6(), "spoof ghost 4": plan.Ghost,
		"spoof internet 4": plan.Internet4, "spoof internet 6": plan.Internet6,
		"spoof fabric 4": plan.HVPublic4(1, plan.A), "spoof remote 4": all[2].IPv4, "spoof remote 6": all[2].IPv6(),
	}
	arrived, err := run.collect(to, port, func() error {
		var frames []probe.Frame
		for name, src := range sources {
			dst := to.IPv4
			if src.Is6() {
				dst = to.IPv6()
			}
			frames = append(frames, probe.Frame{SrcMAC: vm1.MAC, DstMAC: tap.MAC, Src: netip.AddrPortFrom(src, port),
				Dst: netip.AddrPortFrom(dst, port), Payload: []byte(name)})
		}
		return probe.Inject(run.Topology.Guest(vm1).Path, "eth0", frames...)
	})
	if err != nil {
		return err
	}
	leaked, own := 0, 0
	for _, name := range arrived {
		if strings.HasPrefix(name, "spoof") {
			leaked++
		} else {
			own++
		}
	}
	run.involved = []string{"hv1"}
	run.value("spoofed packets that arrived", float64(leaked), 0, "", "8 sources", strings.Join(arrived, ", "))
	want := 4.0
	if !run.carried6() {
		want = 2
	}
	run.add(report.Result{Name: "honest packets that arrived", Value: report.Number(own), Limit: report.AtMost(want), Least: true, Detail: "own and routed, each family"})
	return run.hidden(vm1)
}

// hidden looks for the hypervisor where a guest must not find it: at its other addresses,
// and on the overlay.
func (run *Run) hidden(g plan.Guest) error {
	if run.Topology.HVKind(g.HV) != topology.Self {
		return nil
	}
	addrs := []netip.Addr{plan.Loopback(g.HV), plan.HVPublic4(g.HV, plan.A), plan.HVPrivate4(g.HV, plan.A)}
	silent, err := probe.Ping(run.Topology.Guest(g).Path, addrs, 500*time.Millisecond)
	if err != nil {
		return err
	}
	var found []string
	for _, a := range addrs {
		if !slices.Contains(silent, a) {
			found = append(found, "ping "+a.String())
		}
		macs, err := probe.ARP(run.Topology.Guest(g).Path, "eth1", g.MAC, g.Overlay().Addr(), a, 200*time.Millisecond, true)
		if err != nil {
			return err
		}
		if len(macs) > 0 {
			found = append(found, "overlay ARP "+a.String())
		}
	}
	run.value("addresses of the hypervisor that a guest finds", float64(len(found)), 0, "", "loopback and uplinks, by ping and by ARP on the overlay", strings.Join(found, ", "))
	return nil
}

// collect returns what arrives at a guest's UDP port while send runs and a
// little longer.
func (run *Run) collect(g plan.Guest, port uint16, send func() error) ([]string, error) {
	conn, err := probe.Listen(run.Topology.Guest(g).Path, netip.AddrPortFrom(netip.IPv6Unspecified(), port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := send(); err != nil {
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(400 * time.Millisecond))
	var out []string
	for b := make([]byte, 256); ; {
		n, err := conn.Read(b)
		if err != nil {
			return out, nil
		}
		out = append(out, string(b[:n]))
	}
}
