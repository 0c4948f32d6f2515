package topology

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/sandbox"
)

// Duplicate has the kernel of a node look for an IPv6 address on a link before it
// takes it, and reports whether somebody else has it. The address is given back.
func (n *Node) Duplicate(link string, a netip.Prefix) (found bool, err error) {
	dad := "net/ipv6/conf/" + link + "/accept_dad="
	if err := sandbox.Sysctl(n.Path, dad+"1", "net/ipv6/conf/all/accept_dad=1"); err != nil {
		return false, err
	}
	defer func() {
		err = errors.Join(err, n.NL.DeleteAddress(link, a), sandbox.Sysctl(n.Path, dad+"0", "net/ipv6/conf/all/accept_dad=0"))
	}()
	if err := n.NL.ProbeAddress(link, a); err != nil {
		return false, err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		tentative, duplicate, err := n.NL.Tentative(link, a.Addr())
		if err != nil || duplicate || !tentative {
			return duplicate, err
		}
	}
	return false, fmt.Errorf("the kernel keeps looking for %s", a.Addr())
}
