// Package firewall is what stands between guests and the hypervisor: one nftables
// table (family inet), described by a [Spec] and replaced atomically, so that
// there is never a moment without it.
//
// It complements the policy of the routing tables with what they can't say:
//
//   - Marks by which policy rules tell domains apart, where interfaces or VRFs don't.
//   - A guest's IPv6 source must be routed back to where it came from (Linux has
//     no rp_filter for IPv6); link-local sources pass, and so do the packets with
//     an unspecified source of duplicate address detection, RFC 4862,
//     Section 5.4.2, and of a router solicitation.
//   - Default drop from guests to the hypervisor, whatever address of the
//     hypervisor they aim at. So they never reach BGP, BFD or VXLAN; a list of
//     bad ports would leave holes.
//   - VXLAN is accepted on underlay interfaces alone. Its receiver looks at the
//     VNI, not at the sender; without this rule anybody on the public side who
//     can route to the VTEP injects frames.
//   - No forwarding between domains, whatever the tables say.
//   - BFD is exempt from connection tracking; ICMPv6 redirects never leave.
//   - The bridges of overlays are deaf and dumb towards the hypervisor.
//   - Transparent addresses of guests are translated, which turns connection
//     tracking on.
//
// IPv4 reverse path filtering is a sysctl and not part of this table.
//
// Data flow: Spec -> chains of rules (pure, rules.go) -> one netlink batch that
// deletes and makes the table (firewall.go). Every drop has a counter and a name, for
// metrics; logging is limited in rate, so that a guest can't fill a disk.
package firewall
