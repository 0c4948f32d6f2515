// Package overlay decides what EVPN (RFC 7432, Section 7; RFC 8365, Section 5) does for the overlays of a hypervisor: which
// routes are originated for the guests that are here, and what the kernel shall have of what others
// originate. It is pure: no goroutine, no socket, no clock. The loop of the daemon owns a [Core].
//
//	guests of the inventory (Core.SetStations)  ->  types 3 and 2 to originate (Effects)
//	routes of the speakers  (Core.SetRoute)     ->  [Desired] of each overlay: flood list, MACs, neighbours
//
// # What is announced
//
// An overlay whose device is there (Core.SetReady) announces that it wants what is flooded: a type 3
// route with ingress replication. Each guest that is here announces its MAC, and its MAC with each of
// its addresses: before its first packet, and for as long as it is here, whether it speaks or not.
//
// # Where a MAC is
//
// Of the routes for one MAC the one with the highest sequence number of MAC mobility counts, of equal
// ones that of the lowest VTEP (RFC 7432, Section 15). A guest that comes takes its MAC over: its
// sequence number is one more than the highest of others. A guest that is still here when another
// VTEP takes its MAC over is superseded: our routes for it are withdrawn (RFC 7432, Section 15), and the kernel sends its
// frames there. If the
// other one withdraws, it is announced again. So a migration that fails goes back by itself, and two
// guests with one MAC do not take it from each other for ever; the second is reported ([Duplicate]) after a while.
//
// Moves of the MAC of a guest that is here are counted (RFC 7432, Section 15.1): one that moves too often in a time is
// frozen, and its sequence number is raised no more ([Frozen]). That ends when it has not moved for that time, or when
// the operator has said that the guest is down ([Thawed]).
//
// Until everybody has said everything after a start ([Core.Synced]) no guest is superseded that may have come
// meanwhile: what others have announced then is compared once, and the guest takes its MAC over. A guest that has stayed
// is known by what the run before has kept ([Core.Kept], [Core.Restore]): its sequence number counts from the beginning.
//
// # Limits
//
// One VNI everywhere: a route whose label is another number is left aside. VLAN-based service
// (Ethernet tag 0) only. Neither multihoming (types 1 and 4, aliasing), nor routing between VNIs (type
// 5, router's MAC). Moves between other VTEPs are not counted: those whose guest it is do.
package overlay
