// Command bestpath tells how BGP chooses a path to each address given, and by which step
// of the decision process the others lost. It reads a table as "bgpdump -m" prints it:
//
//	bgpdump -m rib.mrt | bestpath -as 65000 203.0.113.5 2001:db8::1
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

func main() {
	as := flag.Uint("as", 65000, "our AS `number`: peers of that AS are internal")
	flag.Parse()
	table, err := rib.New(rib.Config{AS: uint32(*as), RouterID: netip.AddrFrom4([4]byte{0, 0, 0, 1})})
	if err != nil {
		log.Fatal(err)
	}
	peers := map[string]*rib.In{}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if f := strings.Split(in.Text(), "|"); len(f) > 11 {
			if err := load(table, peers, uint32(*as), f); err != nil {
				log.Printf("%s: %v", in.Text(), err)
			}
		}
	}
	for _, arg := range flag.Args() {
		addr, err := netip.ParseAddr(arg)
		if err != nil {
			log.Fatal(err)
		}
		c, _ := table.Match(addr)
		fmt.Printf("%v: %v, %d paths\n", addr, c.Prefix, len(c.Paths))
		for _, p := range c.Paths {
			fmt.Printf("  via %v from %v, AS path %v, lost by: %v\n", p.Gateway(), p.Peer, p.Attrs.ASPath(), p.Lost)
		}
	}
}

// load announces a line: type|time|B|peer|AS|prefix|AS path|origin|next hop|pref|MED|...
func load(table *rib.Table, peers map[string]*rib.In, our uint32, f []string) (err error) {
	prefix, err := netip.ParsePrefix(f[5])
	if err != nil {
		return err
	}
	nh, err := netip.ParseAddr(f[8])
	if err != nil {
		return err
	}
	as, pref, med := number(f[4]), number(f[9]), number(f[10])
	if peers[f[3]] == nil {
		addr, _ := netip.ParseAddr(f[3])
		if peers[f[3]], err = table.NewIn(rib.PeerConfig{Addr: addr, AS: as}); err != nil {
			return err
		}
	}
	a := wire.PathAttrs{Origin: map[string]wire.Origin{"EGP": wire.OriginEGP, "INCOMPLETE": wire.OriginIncomplete}[f[7]], MED: &med}
	if as == our {
		a.LocalPref = &pref
	}
	for _, hop := range strings.Fields(f[6]) {
		a.ASPath = append(a.ASPath, number(hop))
	}
	fam := wire.IPv4Unicast
	if prefix.Addr().Is6() {
		fam = wire.IPv6Unicast
	}
	b := wire.Builder{AS4: true}
	b.Reach(nil, fam, a.Append(nil), wire.NextHop{Addr: nh})
	b.Add(wire.NLRI{Prefix: prefix})
	u, err := wire.ParseUpdate(b.Finish()[wire.HeaderLen:], wire.Options{AS4: true, IBGP: as == our, ExtendedNextHop: true})
	if err != nil {
		return err
	}
	return peers[f[3]].Update(&u)
}

func number(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}
