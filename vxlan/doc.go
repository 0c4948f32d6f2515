// Package vxlan keeps VXLAN devices, their forwarding tables and the neighbours behind them as desired state:
// the caller says which tunnel endpoints (VTEPs) a VNI has, behind which one
// each MAC lives and which addresses it has, and the package writes what the kernel lacks, removes what it wrote
// earlier and is no longer wanted, and leaves alone what others put there. That is what a control plane such
// as EVPN (RFC 8365, Section 5.1) learns, and what it needs of the kernel:
//
//	desired ([Segment])      in the kernel                                   as iproute2 shows it
//	Flood                    device: all-zero MAC, a destination each        bridge fdb: 00:00:00:00:00:00 dev vx100 dst 192.0.2.2 self extern_learn
//	MACs                     device: the MAC is behind a VTEP                bridge fdb: 02:00:00:00:00:01 dev vx100 dst 192.0.2.2 self extern_learn
//	                         its bridge: the MAC is behind the device        bridge fdb: 02:00:00:00:00:01 dev vx100 extern_learn master br100
//	Neighbors                interface (the bridge): the address has the MAC ip neigh: 192.168.5.1 dev br100 lladdr 02:00:00:00:00:01 extern_learn NOARP proto 201
//
// With all of them, learning off and neigh_suppress on at the bridge port, frames go to the VTEP that they are for, and the
// kernel answers ARP requests and neighbour solicitations itself: nothing is flooded that is known.
//
// Give the bridge a MAC of its own (ip link set br100 address ...). It has the lowest of its ports' otherwise, and when a port
// that comes or goes changes that, the kernel deletes all neighbours of the bridge (neigh_changeaddr); they are written again
// a moment later.
//
// # How an entry gets into the kernel
//
// [New] checks the configuration, [FDB.Run] opens the sockets, works and closes them. Set and
// Delete methods change what is desired and never block, also before Run. [FDB.Flush] has Run
// write what has changed, in batches: unlike package fib, nothing is written before it, so that
// the first comparison of a device, which deletes what an earlier process has left, comes when
// all that is desired has been set. A control plane that learns for a while after its start sets [Config].DeferSweep and
// calls [FDB.Sweep] when it has learned everything. From then on Run repairs what other programs change, and
// tries again what the kernel refuses, with growing delays; what is desired follows an interface that is deleted and
// made again under its name (a VXLAN device: with its VNI), and a MAC follows the device into another bridge. Tables are read again every
// [Config].AuditRound, should the kernel not have told of a change. [FDB.Watch] reports the status of
// each entry.
//
// # Layers
//
//   - Encoder: ndmsg and link messages, in files of their own, no socket.
//   - Pure: desired entries against dumped entries gives writes (diff.go); status, delays and
//     what readers have not yet been told (core.go, reader.go); what the audit finds that
//     was never notified (audit.go); interfaces that come, go and change their bridge (follow.go).
//   - Shell: [FDB], and the goroutine of Run (owner.go), which alone talks to the kernel.
//
// # Whose entry it is
//
// Forwarding entries have no protocol number as routes have. What this package
// writes carries NTF_EXT_LEARNED ("extern_learn" in `bridge fdb`): the kernel's own
// word for "put here by a control plane". It keeps the entry from ageing, and it is how
// the next process knows the entries a crash left behind. The flag belongs to the
// MAC, not to each destination of it; the flood list is one MAC (all zero), so once
// another program appends to our flood list by hand, the flag goes, and from then on only
// destinations this process wrote count as ours (vxlan_fdb_update_existing, which keeps an
// entry that has NTF_VXLAN_ADDED_BY_USER from being taken over).
//
// In the bridge, ours is what has that flag at a port that is a device of ours, and is neither static nor local. The kernel lets
// such an entry take the place of any other (br_fdb_external_learn_add), so a static or local one, or another
// control plane's at another port, is looked for before: it is [ErrForeign] and stays; one that comes between that look and the
// write loses. A local one is in the way at our device, too: the host takes the frames in. What the bridge has learned from traffic is replaced, and if it learns the MAC elsewhere again, put back.
//
// Neighbours can say whose they are: ours are extern_learn with [Config].Protocol, on interfaces of which neighbours were set. Permanent
// ones, and other protocols', stay; what the kernel has resolved itself is replaced. Neither counts
// in the kernel's limits (gc_thresh).
//
// # Limits
//
// It works on Linux only; on another system the package compiles, and [FDB.Run] returns
// [errors.ErrUnsupported].
//
// Unicast VXLAN with head-end replication only: no multicast groups. One UDP port
// and VNI a device. Bridges without VLAN filtering only: entries are written without a VLAN, and those with one are not
// looked at. No next-hop groups (NHA_FDB): a MAC is behind one VTEP. A MAC that is desired on two devices
// of one bridge goes back and forth between them with each comparison.
//
// RFC 7348 (VXLAN).
package vxlan
