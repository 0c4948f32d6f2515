// Package topology builds the lab: a network namespace for every node and for each
// fabric, the cables between them, and the daemons inside. It needs to be root
// in the user namespace it runs in, and a directory of its own.
package topology

import (
	"errors"
	"path/filepath"

	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/load"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/sandbox"
)

// Kind is the program in a role.
type Kind string

// What can take any role: our own program or BIRD 2.
const (
	Self Kind = "self"
	Bird Kind = "bird"
)

// Options says which program takes which role. A role that is missing is ours.
type Options struct {
	Dir    string               // for sockets, configurations and logs
	HV     map[int]Kind         // by number, 1 to 3
	RR     map[plan.Fabric]Kind // reflectors, by fabric
	Tor    map[plan.Fabric]Kind // top-of-rack routers, by fabric
	Edge   Kind
	Timing conf.Timing
	Bulk   int // prefixes that the edge router announces besides the defaults
	// Configs, if not empty, is a directory with hvrouter's configurations, hv1.yaml and so on, in place
	// of those that the lab writes. They have no api.
	Configs string
}

// Node is a network namespace of the lab.
type Node struct {
	Name string
	Host string // the machine it belongs to: what its cables are named after
	Path string // of its namespace
	NL   *nl.Conn
}

// Topology is the lab as built. Its maps are not changed after [Build].
type Topology struct {
	Options
	Nodes   map[string]*Node
	Fabrics map[plan.Fabric]*Node
	Daemons []*Daemon // in the order they are started
	Load    []*load.Guests
	ports   map[plan.Fabric][]port
}

// port is a cable's end in a fabric's namespace.
type port struct {
	name string
	far  string // the port at the other end of a cable that joins two nodes; "" on a network
}

// Build makes namespaces and cables. Nothing runs in it yet. On an error it
// returns what there is, for [Topology.Close].
func Build(o Options) (*Topology, error) {
	w := &Topology{Options: o, Nodes: map[string]*Node{}, Fabrics: map[plan.Fabric]*Node{}, ports: map[plan.Fabric][]port{}}
	w.Timing.NoBFD, w.Timing.IPv4Only = w.Lacking(Kind.BFD), w.Lacking(Kind.IPv6)
	w.Timing.KeepStale = w.Lacking(Kind.Flushes)
	for _, step := range []func() error{w.fabrics, w.hypervisors, w.reflectors, w.routers, w.borders, w.edge, w.cables, w.guests, w.further, w.settle} {
		if err := step(); err != nil {
			return w, err
		}
	}
	return w, nil
}

// Close ends the daemons and removes the namespaces. A lab that runs in a sandbox
// need not: the sandbox takes everything along.
func (top *Topology) Close() error {
	var errs []error
	for _, d := range top.Daemons {
		if d.Running() {
			errs = append(errs, d.Kill())
		}
	}
	for _, c := range top.Load {
		c.Close()
	}
	for _, n := range top.Nodes {
		errs = append(errs, n.NL.Close(), sandbox.DropNetNS(n.Path))
	}
	return errors.Join(errs...)
}

// HV returns hypervisor n, Guest a guest's namespace.
func (top *Topology) HV(n int) *Node { return top.Nodes[plan.HVName(n)] }

// Guest returns the namespace of a guest.
func (top *Topology) Guest(g plan.Guest) *Node { return top.Nodes[g.Name] }

// HVKind returns the program of hypervisor n.
func (top *Topology) HVKind(n int) Kind {
	if k := top.Options.HV[n]; k != "" {
		return k
	}
	return Self
}

// RRKind returns the program of a fabric's reflector.
func (top *Topology) RRKind(f plan.Fabric) Kind {
	if k := top.Options.RR[f]; k != "" {
		return k
	}
	return Self
}

// TorKind returns the program of a fabric's top-of-rack routers.
func (top *Topology) TorKind(f plan.Fabric) Kind {
	if k := top.Options.Tor[f]; k != "" {
		return k
	}
	return Self
}

// EdgeKind returns the program of the edge router.
func (top *Topology) EdgeKind() Kind {
	if top.Options.Edge != "" {
		return top.Options.Edge
	}
	return Self
}

// node makes a namespace whose interfaces take IPv6 addresses at once, without
// the second that duplicate address detection takes.
func (top *Topology) node(name string) (*Node, error) {
	n := &Node{Name: name, Host: name, Path: filepath.Join(top.Dir, "ns", name)}
	if err := sandbox.NewNetNS(n.Path); err != nil {
		return nil, err
	}
	err := sandbox.Sysctl(n.Path, "net/ipv6/conf/all/accept_dad=0", "net/ipv6/conf/default/accept_dad=0",
		"net/ipv4/conf/all/arp_announce=2")
	if err != nil {
		return nil, err
	}
	if n.NL, err = nl.Open(n.Path); err != nil {
		return nil, err
	}
	top.Nodes[name] = n
	return n, n.NL.SetUp("lo", true)
}

// Networks of a fabric, which are the names of its bridges.
const (
	public  = "public"
	private = "private"
)

// privateMTU leaves room for VXLAN around a guest's 1500 octets.
const privateMTU = 1550

// fabrics makes the fabrics' namespaces, with the two networks of those that hypervisors with
// reflectors are on.
func (top *Topology) fabrics() error {
	for _, f := range plan.Fabrics {
		n, err := top.node("fabric-" + f.String())
		if err != nil {
			return err
		}
		top.Fabrics[f] = n
		if len(top.Timing.Reflected()) == 0 {
			continue
		}
		for name, mtu := range map[string]uint32{public: 1500, private: privateMTU} {
			if err := n.NL.AddBridge(name, mtu); err != nil {
				return err
			}
			if err := n.NL.SetUp(name, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// Port is the name of a node's port on a fabric's bridge, in the fabric's
// namespace.
func Port(node, network string) string { return node + "." + network }

// cable joins a node with a network of a fabric; the node's end is named after
// fabric and network.
func (top *Topology) cable(n *Node, f plan.Fabric, network string) error {
	far, mtu := f.Public(), uint32(1500)
	if network == private {
		far, mtu = f.Private(), privateMTU
	}
	return top.connect(f, network, port{name: Port(n.Host, network)}, mtu, n, nl.Veth{Name: far})
}

// connect joins an interface of a node with a bridge of a fabric.
func (top *Topology) connect(f plan.Fabric, bridge string, p port, mtu uint32, n *Node, link nl.Veth) error {
	fabric := top.Fabrics[f].NL
	link.MTU = mtu
	if err := fabric.AddVeth(nl.Veth{Name: p.name, MTU: mtu}, link, n.Path); err != nil {
		return err
	}
	if err := fabric.SetMaster(p.name, bridge); err != nil {
		return err
	}
	if err := fabric.SetUp(p.name, true); err != nil {
		return err
	}
	top.ports[f] = append(top.ports[f], p)
	return n.NL.SetUp(link.Name, true)
}

// CutFabric stops a fabric from passing anything, without any loss of carrier,
// or lets it pass again.
func (top *Topology) CutFabric(f plan.Fabric, cut bool) error {
	for _, p := range top.ports[f] {
		if err := top.cutPort(f, p.name, cut); err != nil {
			return err
		}
	}
	return nil
}

// CutPort does the same for the two ports of one node.
func (top *Topology) CutPort(f plan.Fabric, node string, cut bool) error {
	for _, network := range []string{public, private} {
		if err := top.cutPort(f, Port(node, network), cut); err != nil {
			return err
		}
	}
	return nil
}

// Carrier takes the carrier from a node's links to a fabric, or gives it back. What is at
// the other end of a cable of its own loses it, too.
func (top *Topology) Carrier(f plan.Fabric, node string, up bool) error {
	for _, p := range top.ports[f] {
		if p.name != Port(node, public) && p.name != Port(node, private) {
			continue
		}
		for _, end := range []string{p.name, p.far} {
			if end == "" {
				continue
			}
			if err := top.Fabrics[f].NL.SetUp(end, up); err != nil {
				return err
			}
		}
	}
	return nil
}

func (top *Topology) cutPort(f plan.Fabric, port string, cut bool) error {
	state := uint8(nl.PortForwarding)
	if cut {
		state = nl.PortDisabled
	}
	return top.Fabrics[f].NL.SetPortState(port, state)
}

// PortPackets counts what a node sent into a fabric's public network.
func (top *Topology) PortPackets(f plan.Fabric, node string) (uint64, error) {
	l, err := top.Fabrics[f].NL.Link(Port(node, public))
	return l.Rx, err
}

// PortArrivals counts what a fabric's public network sent to a node.
func (top *Topology) PortArrivals(f plan.Fabric, node string) (uint64, error) {
	l, err := top.Fabrics[f].NL.Link(Port(node, public))
	return l.Tx, err
}
