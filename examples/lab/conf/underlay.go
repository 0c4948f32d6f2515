package conf

import (
	"fmt"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// hvNeighbors are a hypervisor's sessions with the routers of its rack: whoever
// advertises itself on an uplink.
func hvNeighbors(w *writer, n int, private bool, t Timing) {
	w.line("    neighbors:")
	for _, a := range t.Adjacencies(plan.HVName(n)) {
		if a.Private != private {
			continue
		}
		more := ""
		if d := t.RestartTime(a.Fabric); t.Graceful() && d != t.restart() {
			more = ", restart-time: " + seconds(d)
		}
		w.line("      - {fabric: %s, interface: %s, as: external, bfd: %q%s, import: [{action: accept}], export: [{action: accept}]}",
			a.Fabric, a.Link, t.watch(a.Fabric), more)
	}
}

// UnderlayArgs are the arguments of our own router as a top-of-rack or a spine: it passes on
// what it hears, from and to the fabric's reflector as well if there is one. Its BFD sessions are a process of their own, which its restarts do not touch.
func UnderlayArgs(r plan.UnderlayRouter, socket string, t Timing) []string {
	args := []string{"-as", fmt.Sprint(r.AS), "-router-id", r.ID.String(), "-transit"}
	args = append(args, adjacent(r.Name, socket, t)...)
	device := r.Fabric.Public()
	if r.Private {
		device = r.Fabric.Private()
	}
	for _, s := range t.Border(r) {
		args = append(args, fmt.Sprintf("%s,%s,%s,%s,%s", device, s.Local, s.Peer, t.watch(r.Fabric), t.RestartTime(r.Fabric)))
	}
	return args
}

// adjacent are the arguments for sessions with the neighbours of a node.
func adjacent(node, socket string, t Timing) []string {
	args := []string{"-table", fmt.Sprint(plan.TablePublic), "-interval", t.BFD.String(), "-multiplier", fmt.Sprint(t.Multiplier),
		"-status", socket, "-hold", t.HoldTime().String()}
	watch := "off"
	if t.Watched() {
		watch = "on"
		args = append(args, "-bfd-socket", socket+".bfd")
	}
	for _, a := range t.Adjacencies(node) {
		args = append(args, fmt.Sprintf("%s,%s,%s,%s,%s", a.Link, a.Local, a.Peer, watch, t.RestartTime(a.Fabric)))
	}
	return args
}

// BirdTor is BIRD as a top-of-rack router. Its neighbours are named, since for those by range it
// never claims that it kept its state over a restart. Hypervisors find it by its router
// advertisements. Its own address is the one that the link has. It refuses nobody for a time after its BFD has
// gone down, as it does when its own address changes: it has BFD from the old one until that expires. If drained it marks what it announces with GRACEFUL_SHUTDOWN.
func BirdTor(r plan.UnderlayRouter, drained bool, t Timing) string {
	var w writer
	birdHead(&w, r.ID, t)
	w.line("protocol radv { interface \"hv*\" { max ra interval 10; min ra interval 3; default lifetime 0; }; }")
	export := "accept;"
	if drained {
		export = "bgp_community.add((65535, 0)); accept;"
	}
	w.line(`template bgp lab {
  bfd %s; hold time %d; graceful restart on;
  connect delay time 1; connect retry time 2; error wait time 0, 0;
  ipv4 { extended next hop on; import all; export filter { %s }; next hop self; };
  ipv6 { import all; export filter { %s }; next hop self; };
}`, onOff(t.Watched()), int(t.HoldTime().Seconds()), export, export)
	for _, a := range t.Adjacencies(r.Name) {
		w.line(`protocol bgp %s from lab { local as %d; neighbor %s as %d; interface %q; }`, a.Link, r.AS, a.Peer, a.AS, a.Link)
	}
	for _, family := range families {
		w.line(`protocol kernel kernel%d { persist; graceful restart on; merge paths on; kernel table %d; ipv%d { import none; export all; }; }`, family, plan.TablePublic, family)
	}
	return w.String()
}

// FrrTor is FRR's bgpd as a top-of-rack router: each neighbour is who is heard on an
// interface. zebra writes into table main.
func FrrTor(r plan.UnderlayRouter, t Timing) string {
	var w writer
	w.line("router bgp %d\n bgp router-id %s\n no bgp ebgp-requires-policy\n no bgp network import-check", r.AS, r.ID)
	w.line(" bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n bgp bestpath as-path multipath-relax")
	adjacencies := t.Adjacencies(r.Name)
	for _, a := range adjacencies {
		w.line(" neighbor %s interface remote-as external\n neighbor %s timers connect 1\n neighbor %s advertisement-interval 0", a.Link, a.Link, a.Link)
		if t.Watched() {
			w.line(" neighbor %s bfd\n neighbor %s bfd profile lab", a.Link, a.Link)
		}
	}
	w.line(" address-family ipv6 unicast")
	for _, a := range adjacencies {
		w.line("  neighbor %s activate", a.Link)
	}
	w.line(" exit-address-family\nexit")
	return w.String()
}

// FrrTorBfdd is bfdd's configuration beside it.
func FrrTorBfdd(t Timing) string {
	var w writer
	frrProfile(&w, t)
	w.line("exit")
	return w.String()
}
