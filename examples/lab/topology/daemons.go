package topology

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Prepare prepares every daemon of the lab, reflectors first, and what a
// hypervisor without ours needs around it. Nothing is started yet.
func (top *Topology) Prepare() error {
	if err := os.MkdirAll(filepath.Join(top.Dir, "log"), 0o755); err != nil {
		return err
	}
	if err := top.addUnderlay(); err != nil {
		return err
	}
	for _, f := range top.sites() {
		for _, private := range []bool{false, true} {
			if private && top.Timing.Shared() {
				continue // the other one serves both domains
			}
			if err := top.addReflector(f, private); err != nil {
				return err
			}
		}
	}
	if top.Timing.Is("dhcp", plan.DHCPRelay) {
		if err := top.add(top.dhcpServer()); err != nil {
			return err
		}
	}
	if err := top.add(top.edgeRouter()); err != nil {
		return err
	}
	for n := 1; n <= plan.HVs; n++ {
		if err := top.add(top.hypervisor(n)); err != nil {
			return err
		}
	}
	return nil
}

func (top *Topology) add(d *Daemon, err error) error {
	if err == nil {
		top.Daemons = append(top.Daemons, d)
	}
	return err
}

// carried leaves out the sessions for IPv6 with reflectors that do not carry it.
func (top *Topology) carried(sessions int) int {
	if top.Timing.Is("sessions", plan.SessionsSplit) {
		sessions -= len(top.Timing.IPv4Only)
	}
	return sessions
}

func (top *Topology) addReflector(f plan.Fabric, private bool) error {
	name := plan.RRName(f) + ".public"
	if private {
		name = plan.RRName(f) + ".private"
	}
	switch top.RRKind(f) {
	case Bird:
		d, err := top.bird(plan.RRName(f), name, conf.BirdReflector(f, private, top.Timing), 0)
		if err == nil {
			d.Again = []string{"-R"} // recover as graceful restart wants it
		}
		return top.add(d, err)
	case Self:
		return top.add(top.ownReflector(plan.RRName(f), name, conf.ReflectorArgs(f, private, top.Timing)))
	}
	daemons, err := top.foreignReflector(f, private, name)
	if err == nil {
		top.Daemons = append(top.Daemons, daemons...)
	}
	return err
}

func (top *Topology) edgeRouter() (*Daemon, error) {
	switch top.EdgeKind() {
	case Bird:
		return top.bird(plan.EdgeName, plan.EdgeName, conf.BirdEdge(top.Timing, top.Bulk), top.carried(top.Timing.EdgeSessions()))
	case Self:
		return top.ownEdge()
	}
	return nil, errKind(top.EdgeKind())
}

func (top *Topology) hypervisor(n int) (*Daemon, error) {
	name := plan.HVName(n)
	switch top.HVKind(n) {
	case Bird:
		d, err := top.bird(name, name, conf.BirdHypervisor(n, top.Timing), top.carried(top.Timing.HVSessions(n)))
		return d, errors.Join(err, top.publishedSetup(n))
	case Self:
		return top.ownHypervisor(n)
	}
	return nil, errKind(top.HVKind(n))
}

func errKind(k Kind) error { return errors.New("nobody here is called " + string(k)) }

// Daemon returns a daemon by name: hv1, rr1.public, internet.
func (top *Topology) Daemon(name string) *Daemon {
	for _, d := range top.Daemons {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// Reflectors returns the daemons that are reflectors.
func (top *Topology) Reflectors() []*Daemon {
	var out []*Daemon
	for _, d := range top.Daemons {
		if d.Sessions == 0 && d.Name != PartDHCP {
			out = append(out, d)
		}
	}
	return out
}
