package topology

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"

	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/sandbox"
)

// Where fabrics are routed, a fabric's namespace is a patch panel, too: each cable between
// two nodes is a bridge with two ports there, which can be cut as those of a network can.

// routers are the top-of-racks and the spines.
func (top *Topology) routers() error {
	for _, r := range top.Timing.UnderlayRouters() {
		n, err := top.router(r.Name)
		if err != nil {
			return err
		}
		if err := sandbox.Sysctl(n.Path, "net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/default/rp_filter=0"); err != nil {
			return err
		}
	}
	return nil
}

// borders join the spines with the networks of hypervisors that have reflectors.
func (top *Topology) borders() error {
	for _, r := range top.Timing.UnderlayRouters() {
		if len(top.Timing.Border(r)) == 0 {
			continue
		}
		public4, public6, private4 := plan.SpinePublic4(r.Fabric), plan.SpinePublic6(r.Fabric), netip.Addr{}
		if r.Private {
			public4, public6, private4 = netip.Addr{}, netip.Addr{}, plan.SpinePrivate4(r.Fabric)
		}
		if err := top.uplinks(top.Nodes[r.Name], r.Fabric, public4, public6, private4); err != nil {
			return err
		}
	}
	return nil
}

func (top *Topology) cables() error {
	for i, c := range top.Timing.Cables() {
		network, mtu := public, uint32(1500)
		if c.Private {
			network, mtu = private, privateMTU
		}
		low, up := port{name: Port(c.Low.Node, network)}, port{name: c.Up.Node + "." + c.Up.Link}
		if c.Low.Link == "spine" { // the VRFs of one router are two nodes
			low.name = c.Low.Node + ".spine"
		}
		low.far, up.far = up.name, low.name
		panel, bridge := top.Fabrics[c.Fabric].NL, fmt.Sprintf("cable%d", i+1)
		if err := panel.AddBridge(bridge, mtu); err != nil {
			return err
		}
		if err := panel.SetUp(bridge, true); err != nil {
			return err
		}
		if err := top.connect(c.Fabric, bridge, low, mtu, top.Nodes[c.Low.Node], nl.Veth{Name: c.Low.Link, MAC: c.MAC(false)}); err != nil {
			return err
		}
		if err := top.connect(c.Fabric, bridge, up, mtu, top.Nodes[c.Up.Node], nl.Veth{Name: c.Up.Link, MAC: c.MAC(true)}); err != nil {
			return err
		}
	}
	return nil
}

// CutRouters makes routers of a routed fabric silent, or not: all of their cables, without a
// loss of carrier.
func (top *Topology) CutRouters(f plan.Fabric, cut bool, daemons ...*Daemon) error {
	for _, d := range daemons {
		for _, p := range top.ports[f] {
			if !strings.HasPrefix(p.name, d.Node.Name+".") {
				continue
			}
			if err := top.cutPort(f, p.name, cut); err != nil {
				return err
			}
		}
	}
	return nil
}

// CutNetworks makes the two networks of a fabric silent, or not, and leaves its routers alone.
func (top *Topology) CutNetworks(f plan.Fabric, cut bool) error {
	for _, p := range top.ports[f] {
		if p.far != "" {
			continue
		}
		if err := top.cutPort(f, p.name, cut); err != nil {
			return err
		}
	}
	return nil
}

// addUnderlay prepares the daemons of the fabrics' routers. Spines are ours.
func (top *Topology) addUnderlay() error {
	for _, r := range top.Timing.UnderlayRouters() {
		kind := Self
		if r.Rack > 0 {
			kind = top.TorKind(r.Fabric)
		}
		var daemons []*Daemon
		var err error
		switch kind {
		case Bird:
			daemons, err = top.birdTor(r)
		case FRR:
			bfdd := ""
			if top.Timing.Watched() {
				bfdd = conf.FrrTorBfdd(top.Timing)
			}
			if daemons, err = top.frrDaemons(r.Name, kind, r.Name, bfdd, conf.FrrTor(r, top.Timing)); err == nil {
				daemons[len(daemons)-1].drain = func(on bool) error { return top.frrDrain(r, on) }
			}
		case Self:
			daemons = []*Daemon{top.underlayRouter(r)}
		default:
			err = errKind(kind)
		}
		if err != nil {
			return err
		}
		top.Daemons = append(top.Daemons, daemons...)
	}
	return nil
}

// frrDrain has FRR announce GRACEFUL_SHUTDOWN, or not.
func (top *Topology) frrDrain(r plan.UnderlayRouter, on bool) error {
	command := "bgp graceful-shutdown"
	if !on {
		command = "no " + command
	}
	out, err := exec.Command("vtysh", "--vty_socket", top.file("frr-"+r.Name), "-d", "bgpd",
		"-c", "configure terminal", "-c", fmt.Sprintf("router bgp %d", r.AS), "-c", command).CombinedOutput()
	if err != nil {
		return fmt.Errorf("vtysh: %w: %s", err, out)
	}
	return nil
}

// birdTor is BIRD, which is drained by another configuration.
func (top *Topology) birdTor(r plan.UnderlayRouter) ([]*Daemon, error) {
	d, err := top.bird(r.Name, r.Name, conf.BirdTor(r, false, top.Timing), 0)
	if err != nil {
		return nil, err
	}
	d.Again = []string{"-R"}
	paths := map[bool]string{}
	for _, drained := range []bool{false, true} {
		if paths[drained], err = top.Write(fmt.Sprintf("etc/%s.drained-%v.conf", r.Name, drained), conf.BirdTor(r, drained, top.Timing)); err != nil {
			return nil, err
		}
	}
	d.drain = func(on bool) error {
		_, err := birdCommand(top.file(r.Name+".ctl"), fmt.Sprintf("configure %q", paths[on]))
		return err
	}
	return []*Daemon{d}, nil
}

// underlayRouter is our own router: the program that the edge router is, too. What a spine
// says of its sessions is counted; those of top-of-racks are seen from the other side.
func (top *Topology) underlayRouter(r plan.UnderlayRouter) *Daemon {
	socket := top.file(r.Name + ".sock")
	d := &Daemon{Name: r.Name, Node: top.Nodes[r.Name], Kind: Self, Log: top.file("log/" + r.Name + ".log"),
		Args: self(PartEdge, conf.UnderlayArgs(r, socket, top.Timing)...)}
	d.drain = func(on bool) error {
		if on {
			return d.Signal(syscall.SIGUSR1)
		}
		return d.Signal(syscall.SIGUSR2)
	}
	if r.Rack == 0 {
		d.Sessions = len(top.Timing.Adjacencies(r.Name)) + len(top.Timing.Border(r))
		d.peers = func() ([]Peer, error) { return edgePeers(socket) }
	}
	return d
}

// Spine returns the daemons of a fabric's spine, one a VRF.
func (top *Topology) Spine(f plan.Fabric) []*Daemon {
	return []*Daemon{top.Daemon(plan.SpineName(f, false)), top.Daemon(plan.SpineName(f, true))}
}

// Reflector returns the daemons of a fabric's reflector that ours or BIRD is, one a domain.
func (top *Topology) Reflector(f plan.Fabric) []*Daemon {
	return []*Daemon{top.Daemon(plan.RRName(f) + ".public"), top.Daemon(plan.RRName(f) + ".private")}
}

// Tor returns the daemons of the top-of-rack router of a rack on a fabric, one a VRF.
func (top *Topology) Tor(rack int, f plan.Fabric) []*Daemon {
	return []*Daemon{top.Daemon(plan.TorName(rack, f, false)), top.Daemon(plan.TorName(rack, f, true))}
}
