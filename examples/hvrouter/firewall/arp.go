package firewall

import (
	"net/netip"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// arpTable binds ARP to who may say it. The kernel makes an entry for the sender of every
// request that it answers, for an address of its own or by proxy_arp (arp_process:
// neigh_event_ns), so it hears only senders for which it has a permanent one, and those
// whom it must ask by itself. The daemon answers others, if the address is theirs. Nothing
// of an overlay, or of an interface that is no guest's, reaches it.
//
// The inet family does not see ARP, so this is a table of its own.
func arpTable(spec Spec) *table {
	b := &builder{spec: spec, table: newTable(spec, nftables.TableFamilyARP)}
	host := b.names("host", "our own interfaces besides uplinks", spec.Host)
	uplinks := b.names("uplinks", "towards the fabrics", spec.Uplinks)
	guests := b.names("guests", "attached", nil)
	bound := b.set("neighbors", "the frame's and the sender's MAC, the sender's address", kinds(iifField, etherSource, arpEther, arpIP)...)
	resolved := b.set("resolved", "guests whom the kernel must ask", kinds(iifField, arpIP)...)
	for _, g := range spec.Guests {
		name := ifname(g.Interface)
		guests.add(name)
		// A probe (RFC 5227, Section 1.1) has no sender's address, and no entry is made
		// for it; the kernel defends the gateway, the daemon what others have.
		for _, a := range append(only4(g.Neighbors), netip.IPv4Unspecified()) {
			if g.Resolved || g.MAC.IsZero() {
				resolved.add(name, a.AsSlice())
			} else {
				bound.add(name, mac(g.MAC), mac(g.MAC), a.AsSlice())
			}
		}
	}
	c := chain{name: "input", hook: arpInput, priority: nftables.ChainPriorityFilter}
	c.add(iif(host), accept())
	c.add(iif(uplinks), hop(b.fromUplink()))
	b.gatewayARP(&c)
	c.drop("not-attached", notIIF(guests))
	c.add(ethernet, among(bound, iifField, etherSource, arpEther, arpIP), accept())
	c.add(among(resolved, iifField, arpIP), accept())
	c.leave()
	b.put(c)
	b.table.logged(spec.LogRate)
	return b.table
}

// arpInput is NF_ARP_IN.
var arpInput = nftables.ChainHookRef(nftables.ChainHook(unix.NF_INET_PRE_ROUTING))

func only4(addrs []netip.Addr) (out []netip.Addr) {
	for _, a := range addrs {
		if a.Is4() {
			out = append(out, a)
		}
	}
	return out
}
