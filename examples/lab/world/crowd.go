package world

import (
	"github.com/hyperfib/hyperfib/examples/lab/crowd"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/sandbox"
)

// crowds makes the guests that there are besides the four: an interface each on its
// hypervisor, whose other ends share a namespace and one who answers for all.
func (w *World) crowds() error {
	if w.Timing.PerHV == 0 {
		return nil
	}
	for i := 1; i <= plan.HVs; i++ {
		n, err := w.node(plan.CrowdName(i))
		if err != nil {
			return err
		}
		// Frames are answered as they are: the kernel behind them has no addresses.
		if err := sandbox.Sysctl(n.Path, "net/ipv6/conf/default/disable_ipv6=1"); err != nil {
			return err
		}
		guests := w.Timing.Crowd(i)
		for _, g := range guests {
			err := w.Public(i).NL.AddVeth(nl.Veth{Name: g.Name, Up: true}, nl.Veth{Name: g.Name, MAC: g.MAC}, n.Path)
			if err == nil {
				err = n.NL.SetUp(g.Name, true)
			}
			if err != nil {
				return err
			}
		}
		c, err := crowd.Start(n.Path, guests)
		if err != nil {
			return err
		}
		w.Crowds = append(w.Crowds, c)
	}
	return nil
}
