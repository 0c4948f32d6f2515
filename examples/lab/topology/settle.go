package topology

import (
	"errors"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// settle waits until every cable of the fabrics carries frames. The kernel notices
// new links in its own time, a second at the worst, and a bridge passes nothing
// before; hypervisors are not started into networks that are being plugged in.
func (top *Topology) settle() error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		settled, err := top.settled()
		if settled || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("the fabrics' ports do not come up")
		}
	}
}

func (top *Topology) settled() (bool, error) {
	for f, n := range top.Fabrics {
		for _, p := range top.ports[f] {
			l, err := n.NL.Link(p.name)
			if err != nil || !l.Running || l.Port != nl.PortForwarding {
				return false, err
			}
		}
	}
	for _, n := range top.Nodes {
		links, err := n.NL.Links()
		if err != nil {
			return false, err
		}
		for _, l := range links {
			if isUplink(l.Name) && !l.Running {
				return false, nil
			}
		}
	}
	return true, nil
}

func isUplink(name string) bool {
	return slices.ContainsFunc(plan.Fabrics, func(f plan.Fabric) bool { return name == f.Public() || name == f.Private() })
}
