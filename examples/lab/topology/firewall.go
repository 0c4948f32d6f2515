package topology

import (
	"net/netip"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// setupFirewall is what rp_filter does for IPv4, for IPv6 (which has no such sysctl),
// and the translation of the transparent address.
func (top *Topology) setupFirewall(n *Node, i int) error {
	ns, err := os.Open(n.Path)
	if err != nil {
		return err
	}
	defer ns.Close()
	c, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
	if err != nil {
		return err
	}
	filterSources(c, top.Timing.GuestsOf(i))
	for _, g := range top.Timing.GuestsOf(i) {
		if g.Transparent {
			translate(c, plan.Transparent, g.IPv4)
		}
	}
	return c.Flush()
}

func filterSources(c *nftables.Conn, guests []plan.Guest) {
	table := c.AddTable(&nftables.Table{Name: "lab", Family: nftables.TableFamilyIPv6})
	chain := c.AddChain(&nftables.Chain{Name: "sources", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw})
	const source, sourceOffset = 1, 8
	for _, g := range guests {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: source},
			&expr.Cmp{Op: expr.CmpOpEq, Register: source, Data: ifname(g.Name)},
			// :: speaks during duplicate address detection.
			&expr.Payload{DestRegister: source, Base: expr.PayloadBaseNetworkHeader, Offset: sourceOffset, Len: 16},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: source, Data: make([]byte, 16)},
			&expr.Fib{Register: source, FlagSADDR: true, FlagIIF: true, ResultOIF: true},
			&expr.Cmp{Op: expr.CmpOpEq, Register: source, Data: binaryutil.NativeEndian.PutUint32(0)},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}})
	}
}

func translate(c *nftables.Conn, from, to netip.Addr) {
	table := c.AddTable(&nftables.Table{Name: "lab", Family: nftables.TableFamilyIPv4})
	chain := c.AddChain(&nftables.Chain{Name: "transparent", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest})
	const dest, destOffset = 1, 16
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Payload{DestRegister: dest, Base: expr.PayloadBaseNetworkHeader, Offset: destOffset, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: dest, Data: from.AsSlice()},
		&expr.Immediate{Register: dest, Data: to.AsSlice()},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: dest},
	}})
}

func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}
