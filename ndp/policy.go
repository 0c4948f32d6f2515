package ndp

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/lpm"
	"github.com/hyperfib/hyperfib/internal/rate"
)

// The default limit of answers to one guest.
const (
	DefaultRate  = 1000 // answers a second
	DefaultBurst = 1000 // answers at once
)

// Guest is the station behind one interface.
type Guest struct {
	// MAC is what the guest must send from. Zero: any unicast address.
	MAC MAC
	// Router is the hypervisor's own Ethernet address on the interface: the target
	// link-layer address of every answer. It must not be zero.
	Router MAC
	// Source is the hypervisor's own address on the interface, the source of every
	// answer: "an address assigned to the interface from which the advertisement is
	// sent" (RFC 4861, Section 4.4). Zero: the link-local address formed from Router.
	Source netip.Addr
	// Addresses are the guest's own: with the link-local ones the only senders
	// accepted, and never answered to the guest itself. Nil: any sender that is in
	// no target prefix is accepted.
	Addresses []netip.Prefix
	// AnswerSource has solicitations for Source answered, too, except those of Known, which
	// the kernel answers, and duplicate address detection, which it always answers. False:
	// the kernel answers every solicitation for Source.
	AnswerSource bool
	// Known are the senders whose solicitations reach the kernel.
	Known []netip.Addr
	// Rate and Burst limit the answers the guest gets. Zero: DefaultRate a second,
	// DefaultBurst. Negative Rate: no limit.
	Rate, Burst float64
}

// Verdict is what the policy made of a packet.
type Verdict uint8

// The verdicts. Only with VerdictAnswered and VerdictDefended there is something to send.
const (
	VerdictAnswered        Verdict = iota // address resolution or unicast probe, answered
	VerdictDefended                       // duplicate address detection of an address of another host, answered
	VerdictNotSolicitation                // another message
	VerdictNotForUs                       // unicast frame to another station
	VerdictMalformed                      // a message check failed
	VerdictUnknownLink                    // no guest on that interface
	VerdictSpoofed                        // sender is not the guest: address or MAC are not its own
	VerdictOwn                            // the guest asks for, or detects duplicates of, an address of its own
	VerdictSameLink                       // the target is reached through the very interface that asks
	VerdictUnallocated                    // the target is in no prefix of SetTarget
	VerdictLimited                        // over the guest's rate
	VerdictKernel                         // left to the kernel, which answers
	verdictCount
)

var verdictNames = [verdictCount]string{"answered", "defended", "not a solicitation", "not for us", "malformed", "unknown link", "spoofed", "own", "same link", "unallocated", "limited", "left to the kernel"}

// String returns the verdict in lower-case words.
func (v Verdict) String() string { return enum.String("Verdict", verdictNames[:], v) }

// Policy decides which neighbor solicitations are answered, and builds the answers
// (RFC 4861, Sections 7.2.4 and 7.2.8; RFC 4862, Section 5.4.3): those of a known
// guest for a target that is allocated and not behind the same interface. Its cost does not depend
// on the size or number of prefixes. It is pure: no socket, no clock. It is not
// safe for concurrent use. The zero value answers no solicitation.
type Policy struct {
	guests     map[int]*guest // by interface index
	targets    lpm.Table[int] // interface index of the guest that has a prefix; 0: it is remote
	unreported bool           // Heard has something to return
}

type guest struct {
	Guest
	bucket rate.Bucket  // answers that the guest may still have
	stats  Stats        // of the Responder that has the Policy
	heard  []netip.Addr // answered for Source, and not reported yet
}

// mostHeard bounds the senders of one guest that wait to be reported. The others solicit
// again, and are reported then.
const mostHeard = 8

// Sender is an address on a link from which a host asked for the hypervisor's own.
type Sender struct {
	IfIndex int        // interface index
	Addr    netip.Addr // of the host that solicited
}

// Heard returns the senders that were answered for Source, because they are not Known,
// since the last call: at most 8 a link, in no order.
func (p *Policy) Heard() (list []Sender) {
	if !p.unreported {
		return nil
	}
	p.unreported = false
	for link, g := range p.guests {
		for _, a := range g.heard {
			list = append(list, Sender{link, a})
		}
		g.heard = nil
	}
	return list
}

// SetKnown replaces Guest.Known of the guest behind the interface.
func (p *Policy) SetKnown(ifindex int, known []netip.Addr) {
	if g := p.guests[ifindex]; g != nil {
		g.Known = slices.Clone(known)
	}
}

func (g *guest) has(a netip.Addr) bool {
	return slices.ContainsFunc(g.Addresses, func(p netip.Prefix) bool { return p.Contains(a) })
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
	if !g.Source.IsValid() {
		g.Source = netip.AddrFrom16(g.Router.LinkLocal())
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

// SetTarget declares prefix allocated: solicitations for its addresses are
// answered, except on link, the interface it is reached through (0: it is remote, or
// that does not matter). The longest prefix counts. Link-local addresses are never
// proxied, whatever the prefixes say.
func (p *Policy) SetTarget(prefix netip.Prefix, ifindex int) { p.targets.Set(prefix, ifindex) }

// DeleteTarget undoes SetTarget for prefix.
func (p *Policy) DeleteTarget(prefix netip.Prefix) { p.targets.Delete(prefix) }

// Decide judges one received packet, which has passed Check, at time now. With
// VerdictAnswered and VerdictDefended the packet returned is to be sent; its Body is appended to
// buf, which takes 32 octets.
func (p *Policy) Decide(now time.Time, in *Packet, buf []byte) (Packet, Verdict) {
	return p.decide(now, p.guests[in.IfIndex], in, buf)
}

// decide is Decide for the guest behind the interface, nil if there is none.
func (p *Policy) decide(now time.Time, g *guest, in *Packet, buf []byte) (Packet, Verdict) {
	switch {
	case g == nil:
		return Packet{}, VerdictUnknownLink
	case len(in.Body) == 0 || Type(in.Body[0]) != TypeNeighborSolicitation:
		return Packet{}, VerdictNotSolicitation
	case in.DstMAC[0]&1 == 0 && in.DstMAC != g.Router:
		return Packet{}, VerdictNotForUs
	}
	ns, err := ParseNeighborSolicitation(in)
	switch {
	case err != nil:
		return Packet{}, VerdictMalformed
	case !p.believes(g, in, &ns):
		return Packet{}, VerdictSpoofed
	}
	if v := p.judge(g, in.IfIndex, in.Src, ns.Target); v != VerdictAnswered {
		return Packet{}, v
	}
	if g.Rate > 0 && !g.bucket.Take(now) {
		return Packet{}, VerdictLimited
	}
	if ns.Target == g.Source && len(g.heard) < mostHeard && !slices.Contains(g.heard, in.Src) {
		g.heard = append(g.heard, in.Src)
		p.unreported = true
	}
	return g.answer(in, ns.Target, buf)
}

// judge returns the verdict on a solicitation for target by from.
func (p *Policy) judge(g *guest, link int, from, target netip.Addr) Verdict {
	if target == g.Source {
		if !g.AnswerSource || from.IsUnspecified() || slices.Contains(g.Known, from) {
			return VerdictKernel
		}
		return VerdictAnswered
	}
	if g.has(target) {
		return VerdictOwn
	}
	at, ok := p.targets.Lookup(target)
	switch {
	case !ok || target.IsLinkLocalUnicast():
		return VerdictUnallocated
	case at != 0 && at == link:
		return VerdictSameLink
	}
	return VerdictAnswered
}

// believes reports whether in comes from the guest that its addresses name. Duplicate
// address detection claims no address yet, so it needs none of the guest's.
func (p *Policy) believes(g *guest, in *Packet, ns *NeighborSolicitation) bool {
	switch {
	case !in.SrcMAC.IsUnicast() || in.SrcMAC == g.Router || (!g.MAC.IsZero() && in.SrcMAC != g.MAC):
		return false
	case !ns.SourceLinkAddr.IsZero() && ns.SourceLinkAddr != in.SrcMAC:
		return false
	case in.Src.IsUnspecified():
		return true
	case in.Src == g.Source:
		return false
	case in.Src.IsLinkLocalUnicast() || g.has(in.Src):
		return true
	case g.Addresses != nil:
		return false
	}
	link, ok := p.targets.Lookup(in.Src)
	return !ok || link == in.IfIndex
}

// answer builds the advertisement. R: the sender is a router. S: the node that is
// answered has an address. O: set for the sender's own address, Source ("the Override flag SHOULD be
// set to one", RFC 4861, Section 7.2.4), not for what is not (Section 7.2.8). A
// node that detects duplicates has no address yet, so the answer goes to all nodes: "the
// node MUST set the Solicited flag to zero and multicast the advertisement to the all-nodes
// address" (RFC 4861, Section 7.2.4).
func (g *guest) answer(in *Packet, target netip.Addr, buf []byte) (Packet, Verdict) {
	na := NeighborAdvertisement{Router: true, Solicited: true, Override: target == g.Source, Target: target, TargetLinkAddr: g.Router}
	out := Packet{IfIndex: in.IfIndex, SrcMAC: g.Router, DstMAC: in.SrcMAC, Src: g.Source, Dst: in.Src, HopLimit: 255}
	verdict := VerdictAnswered
	if in.Src.IsUnspecified() {
		na.Solicited, verdict = false, VerdictDefended
		out.Dst, out.DstMAC = AllNodes, GroupMAC(AllNodes)
	}
	out.Body = na.append(buf)
	return out, verdict
}
