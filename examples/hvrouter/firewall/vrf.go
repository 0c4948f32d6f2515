package firewall

import "github.com/google/nftables/expr"

// metaSDIFNAME is NFT_META_SDIFNAME, the name of the interface by which a packet came
// into its VRF; it is empty outside of VRFs. Linux 5.6.
const metaSDIFNAME = expr.MetaKey(34)

// notFrom matches packets to the hypervisor from other interfaces than those of a set.
func (b *builder) notFrom(s *set) match { return notAmong(s, b.from()) }
