package topology

import (
	"github.com/hyperfib/hyperfib/examples/lab/load"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/sandbox"
)

// load makes the guests that there are besides the four: an interface each on its
// hypervisor, whose other ends share a namespace and one who answers for all.
func (top *Topology) further() error {
	if top.Timing.PerHV == 0 {
		return nil
	}
	for i := 1; i <= plan.HVs; i++ {
		n, err := top.node(plan.LoadName(i))
		if err != nil {
			return err
		}
		// Frames are answered as they are: the kernel behind them has no addresses.
		if err := sandbox.Sysctl(n.Path, "net/ipv6/conf/default/disable_ipv6=1"); err != nil {
			return err
		}
		guests := top.Timing.Load(i)
		for _, g := range guests {
			err := top.Public(i).NL.AddVeth(nl.Veth{Name: g.Name, Up: true}, nl.Veth{Name: g.Name, MAC: g.MAC}, n.Path)
			if err == nil {
				err = n.NL.SetUp(g.Name, true)
			}
			if err != nil {
				return err
			}
		}
		c, err := load.Start(n.Path, guests)
		if err != nil {
			return err
		}
		top.Load = append(top.Load, c)
	}
	return nil
}
