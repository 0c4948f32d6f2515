package arp

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/lpm"
	"github.com/hyperfib/hyperfib/internal/rate"
)

// The default limit of answers to one guest. A host that boots asks for a handful
// of addresses; a guest that scans its /24 still gets every answer.
const (
	DefaultRate  = 1000 // answers a second
	DefaultBurst = 1000 // answers at once
)

// Guest is the station behind one interface.
type Guest struct {
	// MAC is what the guest must send from. Zero: any unicast address.
	MAC MAC
	// Router is the hypervisor's own Ethernet address on the interface: the sender
	// of every answer. It must not be zero.
	Router MAC
	// Addresses are the guest's own: the only senders accepted, and never answered
	// to the guest itself. Prefixes that are routed through the guest belong here too. Nil:
	// any sender that is in no target prefix is accepted.
	Addresses []netip.Prefix
	// Gateway is the hypervisor's own address on the link. Requests for it
	// are answered as those for a target are, except those that the kernel answers. Zero:
	// only requests for targets are answered.
	Gateway netip.Addr
	// Known are the senders whose requests reach the kernel's ARP. The kernel answers
	// them for Gateway, and with KernelProxy for targets: those requests are left to it.
	// It answers a probe for Gateway, and never one for a target.
	Known []netip.Addr
	// KernelProxy says that the sysctl proxy_arp is set on the interface (Linux,
	// Documentation/networking/ip-sysctl.rst).
	KernelProxy bool
	// KernelUntil is when KernelProxy ended: the kernel has answered the requests that were
	// received before (see [Frame.Received]) and may still wait to be read. Take the time after
	// proxy_arp has been set to 0. Zero: it has answered none of those that wait.
	KernelUntil time.Time
	// KernelHears says that the requests of every sender reach the kernel, whatever is
	// in Known.
	KernelHears bool
	// Rate and Burst limit the answers the guest gets. Zero: DefaultRate a second,
	// DefaultBurst. Negative Rate: no limit.
	Rate, Burst float64
}

// Verdict is what the policy made of a packet.
type Verdict uint8

// The verdicts. All but VerdictAnswered are silence.
const (
	VerdictAnswered    Verdict = iota // the reply is to be sent
	VerdictNotRequest                 // a reply, or an operation that is not ARP's
	VerdictNotForUs                   // unicast to another station, or to a group that is not broadcast
	VerdictUnknownLink                // no guest on that interface
	VerdictSpoofed                    // sender is not the guest: address or MAC are not its own, in a reply, too
	VerdictAnnounced                  // the guest claims an address of its own
	VerdictOwn                        // the guest asks for (or probes) an address of its own
	VerdictSameLink                   // the target is reached through the very interface that asks
	VerdictUnallocated                // the target is in no prefix of SetTarget
	VerdictLimited                    // over the guest's rate
	VerdictKernel                     // left to the kernel, which answers
	verdictCount
)

var verdictNames = [verdictCount]string{"answered", "not a request", "not for us", "unknown link", "spoofed", "announced", "own", "same link", "unallocated", "limited", "left to the kernel"}

// String returns the verdict in lower-case words.
func (v Verdict) String() string { return enum.String("Verdict", verdictNames[:], v) }

// Policy decides which requests are answered (RFC 1027 in a hypervisor's terms):
// those of a known guest, from its own address or as a probe, for a target that is
// allocated and not behind the same interface. It is pure: no socket, no clock. It is not
// safe for concurrent use. The zero value answers no request.
type Policy struct {
	guests  map[int]*guest // by interface index
	targets lpm.Table[int] // interface index of the guest that has a prefix; 0: it is remote
}

type guest struct {
	Guest
	bucket rate.Bucket // answers that the guest may still have
	stats  Stats       // of the Responder that has the Policy
}

func (g *guest) has(ip netip.Addr) bool {
	return slices.ContainsFunc(g.Addresses, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// SetGuest makes g the guest behind the interface, in place of an earlier one. The rate
// limit of the earlier one goes on, unless Rate or Burst differ.
func (p *Policy) SetGuest(ifindex int, g Guest) {
	if p.guests == nil {
		p.guests = make(map[int]*guest)
	}
	if g.Rate == 0 {
		g.Rate = DefaultRate
	}
	if g.Burst == 0 {
		g.Burst = DefaultBurst
	}
	g.Addresses, g.Known = slices.Clone(g.Addresses), slices.Clone(g.Known)
	next := &guest{Guest: g, bucket: rate.Bucket{Rate: g.Rate, Size: g.Burst}}
	if old := p.guests[ifindex]; old != nil {
		next.stats = old.stats
		if old.Rate == g.Rate && old.Burst == g.Burst {
			next.bucket = old.bucket
		}
	}
	p.guests[ifindex] = next
}

// RemoveGuest removes the guest behind the interface. It does nothing if there is none.
func (p *Policy) RemoveGuest(ifindex int) { delete(p.guests, ifindex) }

// SetTarget declares prefix allocated: requests for its addresses are answered,
// except on link, the interface it is reached through (0: it is remote, or that does
// not matter). The longest prefix counts.
func (p *Policy) SetTarget(prefix netip.Prefix, ifindex int) { p.targets.Set(prefix, ifindex) }

// DeleteTarget undoes SetTarget for prefix.
func (p *Policy) DeleteTarget(prefix netip.Prefix) { p.targets.Delete(prefix) }

// Decide judges one received frame at time now. Only with VerdictAnswered is the frame
// returned one to send.
func (p *Policy) Decide(now time.Time, f *Frame) (Frame, Verdict) {
	return p.decide(now, p.guests[f.IfIndex], f)
}

// decide is Decide for the guest behind the interface, nil if there is none.
func (p *Policy) decide(now time.Time, g *guest, f *Frame) (Frame, Verdict) {
	switch {
	case g == nil:
		return Frame{}, VerdictUnknownLink
	case f.Dst != Broadcast && f.Dst != g.Router:
		return Frame{}, VerdictNotForUs
	case !p.believes(g, f):
		return Frame{}, VerdictSpoofed
	case f.Op != OpRequest:
		return Frame{}, VerdictNotRequest
	case f.IsAnnouncement():
		return Frame{}, VerdictAnnounced
	case g.has(f.TargetIP.Addr()):
		return Frame{}, VerdictOwn
	case g.left(f):
		return Frame{}, VerdictKernel
	}
	link, ok := p.targets.Lookup(f.TargetIP.Addr())
	if f.TargetIP.Addr() == g.Gateway {
		link, ok = 0, true
	}
	switch {
	case !ok:
		return Frame{}, VerdictUnallocated
	case link != 0 && link == f.IfIndex:
		return Frame{}, VerdictSameLink
	case g.Rate > 0 && !g.bucket.Take(now):
		return Frame{}, VerdictLimited
	}
	return f.Answer(g.Router).On(f.IfIndex), VerdictAnswered
}

// left reports whether the kernel answers f.
func (g *guest) left(f *Frame) bool {
	heard := g.KernelHears || slices.Contains(g.Known, f.SenderIP.Addr())
	switch {
	case !g.Gateway.IsValid():
		return false
	case f.TargetIP.Addr() == g.Gateway:
		return heard || f.IsProbe()
	}
	proxied := g.KernelProxy || !f.Received.IsZero() && f.Received.Before(g.KernelUntil)
	return proxied && heard && !f.IsProbe()
}

// believes reports whether f comes from the guest that its addresses name. A probe
// claims no address, so it needs none of the guest's.
func (p *Policy) believes(g *guest, f *Frame) bool {
	if f.Src != f.SenderMAC || !f.Src.IsUnicast() || f.Src == g.Router || (!g.MAC.IsZero() && f.Src != g.MAC) {
		return false
	}
	if f.IsProbe() || g.has(f.SenderIP.Addr()) {
		return true
	}
	if g.Addresses != nil {
		return false
	}
	link, ok := p.targets.Lookup(f.SenderIP.Addr())
	return !ok || link == f.IfIndex // link 0 is never a frame's
}
