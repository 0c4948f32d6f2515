package ndp

import (
	"bytes"
	"net/netip"
	"time"
)

// advertised is one link.
type advertised struct {
	link        int        // index of the interface
	mac         MAC        // source of the Ethernet frames
	source      netip.Addr // link-local source address
	body, final []byte     // the encoded message, and the one with router lifetime 0
	schedule    *Schedule  // when to send
	index       int        // in the queue
}

func newAdvertised(link int, r Router) *advertised {
	ra := r.Advertisement
	if ra.SourceLinkAddr.IsZero() {
		ra.SourceLinkAddr = r.MAC
	}
	if !r.Source.IsValid() {
		r.Source = netip.AddrFrom16(r.MAC.LinkLocal())
	}
	l := &advertised{link: link, mac: r.MAC, source: r.Source, body: ra.append(nil), schedule: NewSchedule(r.Timing)}
	ra.Lifetime = 0
	l.final = ra.append(nil)
	return l
}

func (l *advertised) equal(o *advertised) bool {
	return l.mac == o.mac && l.source == o.source && bytes.Equal(l.body, o.body) &&
		l.schedule.timing.MinInterval == o.schedule.timing.MinInterval &&
		l.schedule.timing.MaxInterval == o.schedule.timing.MaxInterval
}

func (l *advertised) deadline() time.Time { return l.schedule.Deadline() }

func (l *advertised) multicast(body []byte) Packet {
	return Packet{IfIndex: l.link, SrcMAC: l.mac, DstMAC: GroupMAC(AllNodes), Src: l.source, Dst: AllNodes, HopLimit: 255, Body: body}
}

// deadlines is a heap of links, the earliest first; those without deadline last.
type deadlines []*advertised

func (d deadlines) Len() int { return len(d) }
func (d deadlines) Less(i, j int) bool {
	a, b := d[i].deadline(), d[j].deadline()
	return !a.IsZero() && (b.IsZero() || a.Before(b))
}
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}
func (d *deadlines) Push(x any) {
	l := x.(*advertised)
	l.index = len(*d)
	*d = append(*d, l)
}
func (d *deadlines) Pop() any {
	old := *d
	l := old[len(old)-1]
	*d = old[:len(old)-1]
	return l
}
