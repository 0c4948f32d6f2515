// Package junos stands in for a route reflector by Juniper, of which there is no
// image to run here. It is not our speaker in disguise: it shares nothing but the
// codec with package bgp, and does what Junos is seen to do.
//
// What it stands on:
//
//   - OPEN: octet for octet those that Junos sent to others, in testdata: each
//     capability in an optional parameter of its own; route refresh with its old
//     code 128 too; graceful restart with 120 s, the N bit, and no family, since
//     Junos helps others to restart unless told to do more; 4-octet AS; ADD-PATH if
//     configured; long-lived graceful restart without a family. Hold time 90 s.
//   - The published lab's configuration for RR6: one instance for the public and
//     the private domain, hence one router id for all sessions whatever their
//     family, and one table, in which a group adds 65000:90 or 65000:20 to what it
//     imports and exports what has its own; ttl 255; BFD; ADD-PATH, send only.
//   - The article's configuration: clients by range (allow), so it never dials. As
//     in GateD, from which rpd descends and whose function names are in its logs,
//     an accepted connection belongs to nobody until its OPEN was read: ours has to
//     come first.
//   - RFC 4456, Section 6; RFC 4724, Section 4.2; RFC 7911, Section 5, with identifiers that count the paths, best
//     first, so that an identifier names another path when the order changes.
//
// Not seen, and therefore a guess: a BFD session that goes down ends the BGP
// session with Cease and takes the routes along, and the first BFD packets are a
// second apart.
package junos
