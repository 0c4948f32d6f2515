package wall

import (
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// metaSDIFNAME is NFT_META_SDIFNAME, the name of the interface by which a packet came
// into its VRF; it is empty outside of VRFs. Linux 5.6.
const metaSDIFNAME = expr.MetaKey(34)

// notFrom matches packets to the hypervisor from other interfaces than those of a set.
func (b *builder) notFrom(s *set) match { return notAmong(s, b.from()) }

// sources4 is what rp_filter does elsewhere. A client without an address speaks from
// 0.0.0.0 to a DHCP server (RFC 2131, Section 4.1).
func (b *builder) sources4(c *chain) {
	c.add(source(ip4.unspecified), dport(unix.IPPROTO_UDP, 67), sport(68), accept())
	c.drop("spoofed-source", ipv4, noWayBack(false))
}
