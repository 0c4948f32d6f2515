package ndp

import (
	"context"
	"net/netip"
	"time"
)

// The burst of unsolicited advertisements. RFC 4861, Section 7.2.6 allows
// MAX_NEIGHBOR_ADVERTISEMENT, 3, and wants RetransTimer (1 s) between them; the shorter
// interval is for a guest that has just moved: if the first is lost, the next
// follows within a tenth of a second.
const (
	AnnounceCount    = 3
	AnnounceInterval = 100 * time.Millisecond
)

// Writer is the part of Conn that sends.
type Writer interface {
	Write(packets []Packet) (int, error)
}

// Unsolicited returns the advertisement to all nodes of the link that target is
// at mac. Its source is target, which the announcing host has; Override is set, so
// that caches change at once.
func Unsolicited(ifindex int, mac MAC, target netip.Addr, router bool) Packet {
	na := NeighborAdvertisement{Router: router, Override: true, Target: target, TargetLinkAddr: mac}
	return Packet{
		IfIndex: ifindex, SrcMAC: mac, DstMAC: GroupMAC(AllNodes), Src: target, Dst: AllNodes, HopLimit: 255,
		Body: na.append(make([]byte, 0, 32)),
	}
}

// Announce advertises to all nodes of the link that each of targets is at mac (RFC 4861,
// Section 7.2.6): the first round is sent before Announce waits, AnnounceCount
// rounds in all, AnnounceInterval apart. router is whether the owner forwards. It
// returns the first error of writing, or ctx's; a lost round does not end the burst.
func Announce(ctx context.Context, w Writer, ifindex int, mac MAC, router bool, targets ...netip.Addr) error {
	packets := make([]Packet, len(targets))
	for i, a := range targets {
		packets[i] = Unsolicited(ifindex, mac, a, router)
	}
	return AnnounceAll(ctx, w, packets)
}

// AnnounceAll is Announce for packets of any links, as [Unsolicited] makes them.
func AnnounceAll(ctx context.Context, w Writer, packets []Packet) error {
	tick := time.NewTicker(AnnounceInterval)
	defer tick.Stop()
	_, err := w.Write(packets)
	for range AnnounceCount - 1 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if _, again := w.Write(packets); err == nil {
			err = again
		}
	}
	return err
}
