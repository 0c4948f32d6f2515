package world

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Cast prepares every daemon of the lab, reflectors first, and what a
// hypervisor without ours needs around it. Nothing is started yet.
func (w *World) Cast() error {
	if err := os.MkdirAll(filepath.Join(w.Dir, "log"), 0o755); err != nil {
		return err
	}
	for _, f := range w.sites() {
		for _, private := range []bool{false, true} {
			if private && w.Timing.Shared() {
				continue // the other one serves both domains
			}
			if err := w.addReflector(f, private); err != nil {
				return err
			}
		}
	}
	if w.Timing.Is("dhcp", plan.DHCPRelay) {
		if err := w.add(w.dhcpServer()); err != nil {
			return err
		}
	}
	if err := w.add(w.edgeRouter()); err != nil {
		return err
	}
	for n := 1; n <= plan.HVs; n++ {
		if err := w.add(w.hypervisor(n)); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) add(d *Daemon, err error) error {
	if err == nil {
		w.Daemons = append(w.Daemons, d)
	}
	return err
}

// carried leaves out the sessions for IPv6 with reflectors that do not carry it.
func (w *World) carried(sessions int) int {
	if w.Timing.Is("sessions", plan.SessionsSplit) {
		sessions -= len(w.Timing.IPv4Only)
	}
	return sessions
}

func (w *World) addReflector(f plan.Fabric, private bool) error {
	name := plan.RRName(f) + ".public"
	if private {
		name = plan.RRName(f) + ".private"
	}
	switch w.RRKind(f) {
	case Bird:
		d, err := w.bird(plan.RRName(f), name, conf.BirdReflector(f, private, w.Timing), 0)
		if err == nil {
			d.Again = []string{"-R"} // recover as graceful restart wants it
		}
		return w.add(d, err)
	case Self:
		return w.add(w.ownReflector(plan.RRName(f), name, conf.ReflectorArgs(f, private, w.Timing)))
	}
	daemons, err := w.foreignReflector(f, private, name)
	if err == nil {
		w.Daemons = append(w.Daemons, daemons...)
	}
	return err
}

func (w *World) edgeRouter() (*Daemon, error) {
	switch w.EdgeKind() {
	case Bird:
		return w.bird(plan.EdgeName, plan.EdgeName, conf.BirdEdge(w.Timing, w.Bulk), w.carried(w.Timing.EdgeSessions()))
	case Self:
		return w.ownEdge()
	}
	return nil, errKind(w.EdgeKind())
}

func (w *World) hypervisor(n int) (*Daemon, error) {
	name := plan.HVName(n)
	switch w.HVKind(n) {
	case Bird:
		d, err := w.bird(name, name, conf.BirdHypervisor(n, w.Timing), w.carried(w.Timing.HVSessions()))
		return d, errors.Join(err, w.publishedSetup(n))
	case Self:
		return w.ownHypervisor(n)
	}
	return nil, errKind(w.HVKind(n))
}

func errKind(k Kind) error { return errors.New("nobody here is called " + string(k)) }

// Daemon returns a daemon by name: hv1, rr1.public, internet.
func (w *World) Daemon(name string) *Daemon {
	for _, d := range w.Daemons {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// Reflectors returns the daemons that are reflectors.
func (w *World) Reflectors() []*Daemon {
	var out []*Daemon
	for _, d := range w.Daemons {
		if d.Sessions == 0 && d.Name != PartDHCP {
			out = append(out, d)
		}
	}
	return out
}
