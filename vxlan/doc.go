// Package vxlan keeps VXLAN devices and their forwarding tables as desired state:
// the caller says which tunnel endpoints (VTEPs) a VNI has and behind which one
// each MAC lives, and the package writes what the kernel lacks, removes what it wrote
// earlier and is no longer wanted, and leaves alone what others put there.
//
// # How an entry gets into the kernel
//
// [New] checks the configuration, [FDB.Run] opens the sockets, works and closes them. Set and
// Delete methods change what is desired and never block, also before Run. [FDB.Flush] has Run
// write what has changed, in batches: unlike package fib, nothing is written before it, so that
// the first comparison of a device, which deletes what an earlier process has left, comes when
// all that is desired has been set. From then on Run repairs what other programs change, and
// tries again what the kernel refuses, with growing delays; tables are read again every
// [Config].AuditRound, should the kernel not have told of a change. [FDB.Watch] reports the status of
// each entry.
//
// # Layers
//
//   - Encoder: ndmsg and link messages, in files of their own, no socket.
//   - Pure: desired entries against dumped entries gives writes (diff.go); status, delays and
//     what readers have not yet been told (core.go, reader.go); what the audit finds that
//     was never notified (audit.go).
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
// # Limits
//
// It works on Linux only; on another system the package compiles, and [FDB.Run] returns
// [errors.ErrUnsupported].
//
// Unicast VXLAN with head-end replication only: no multicast groups. One UDP port
// and VNI a device.
//
// RFC 7348 (VXLAN).
package vxlan
