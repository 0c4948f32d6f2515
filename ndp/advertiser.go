package ndp

import (
	"container/heap"
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperfib/hyperfib/internal/serve"
)

// Router is what is advertised to the hosts of one link, and how often.
type Router struct {
	MAC           MAC                 // the own Ethernet address on the link; must not be zero
	Source        netip.Addr          // the own link-local address; zero: the one formed from MAC
	Advertisement RouterAdvertisement // a zero SourceLinkAddr is sent as MAC
	Timing        Timing              // of unsolicited advertisements
}

// Advertiser is a router on any number of links: one goroutine with one timer
// for all of them. All methods are safe for concurrent use.
//
// A solicitation is answered at once: to the host that asked if it has an address,
// otherwise to the group of all nodes, but in an Ethernet frame to that host alone (RFC
// 6085, Section 3), so that nobody else is woken. Many at once are answered together; see
// [Schedule].
type Advertiser struct {
	conn PacketConn // where solicitations come from

	began atomic.Bool // Run was called

	mu      sync.Mutex          // guards what follows
	links   map[int]*advertised // by interface index
	queue   deadlines           // of links, by when they are due
	changed bool                // the queue, since Advance saw it
	stats   AdvertiserStats     // since NewAdvertiser
	out     []Packet            // scratch
}

// AdvertiserStats counts what an Advertiser did since its start.
type AdvertiserStats struct {
	Multicast uint64 // unsolicited advertisements sent, and answers to many
	Answers   uint64 // solicitations answered singly
	Deferred  uint64 // solicitations over the rate, answered together
	Final     uint64 // advertisements with router lifetime 0
	Invalid   uint64 // solicitations that failed a check
}

// NewAdvertiser makes an Advertiser without links on conn, which must receive router
// solicitations, and stays the caller's to close.
func NewAdvertiser(conn PacketConn) *Advertiser {
	return &Advertiser{conn: conn, links: make(map[int]*advertised)}
}

// Set starts to advertise r on link, at once, or changes what is advertised there;
// the same again changes nothing. It returns an error, and changes nothing, if r
// cannot be sent as it is or the interface is not there.
func (a *Advertiser) Set(ifindex int, r Router) error {
	if err := r.Advertisement.Check(); err != nil {
		return err
	}
	if !r.MAC.IsUnicast() {
		return fmt.Errorf("ndp: a router cannot have the Ethernet address %v", r.MAC)
	}
	next := newAdvertised(ifindex, r)
	if !next.source.IsLinkLocalUnicast() {
		return fmt.Errorf("ndp: hosts believe a router only at a link-local address, not at %v", next.source)
	}
	if err := a.conn.Add(ifindex); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.links[ifindex]; old != nil {
		if old.equal(next) && !old.schedule.ending {
			return nil
		}
		next.schedule.last, next.schedule.bucket = old.schedule.last, old.schedule.bucket
		heap.Remove(&a.queue, old.index)
	}
	next.schedule.Start(time.Now())
	a.links[ifindex] = next
	heap.Push(&a.queue, next)
	a.wake()
	return nil
}

// wake has Run look at the queue again. The caller holds mu.
func (a *Advertiser) wake() {
	a.changed = true
	serve.Wake(a.conn)
}

// Restart begins the initial burst again, at once: the interface has just got its
// carrier, or the host behind it has changed. It does nothing on a link that is not
// advertised on.
func (a *Advertiser) Restart(ifindex int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.links[ifindex]; l != nil && !l.schedule.ending {
		l.schedule.last = time.Time{}
		l.schedule.Start(time.Now())
		heap.Fix(&a.queue, l.index)
		a.wake()
	}
}

// Remove stops advertising on link with final advertisements, for hosts that stay
// while their router goes. It returns at once; Run sends them.
func (a *Advertiser) Remove(ifindex int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.links[ifindex]; l != nil {
		l.schedule.Stop(time.Now())
		heap.Fix(&a.queue, l.index)
		a.wake()
	}
}

// Drop forgets link without a word: its interface is gone, or another router goes on in
// our place.
func (a *Advertiser) Drop(ifindex int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(ifindex)
}

func (a *Advertiser) drop(link int) {
	if l := a.links[link]; l != nil {
		heap.Remove(&a.queue, l.index)
		delete(a.links, link)
		a.conn.Remove(link)
	}
}

// Stats returns the counters.
func (a *Advertiser) Stats() AdvertiserStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// Run advertises until ctx ends, and then returns nil without final advertisements:
// a restart is not the end of a router. It returns early only if the Conn fails as a
// whole. A second Run returns [ErrClosed].
func (a *Advertiser) Run(ctx context.Context) error {
	if a.began.Swap(true) {
		return ErrClosed
	}
	return Serve(ctx, a.conn, a)
}

func (a *Advertiser) service() serve.Service[Packet] { return advertising{a} }

// advertising is an Advertiser as serve.Run serves it.
type advertising struct{ *Advertiser }

// Advance sends what is due and returns when the next is.
func (a advertising) Advance(now time.Time) (next time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed = false
	a.out = a.out[:0]
	for len(a.queue) > 0 && !a.queue[0].deadline().IsZero() && !a.queue[0].deadline().After(now) {
		a.send(now, a.queue[0])
	}
	a.write() // an interface that is down hears the next one
	if len(a.queue) > 0 {
		next = a.queue[0].deadline()
	}
	return next
}

func (a advertising) Stale() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

func (a *Advertiser) write() {
	if len(a.out) > 0 {
		_, _ = a.conn.Write(a.out)
	}
}

// send does what is due on one link.
func (a *Advertiser) send(now time.Time, l *advertised) {
	switch l.schedule.Advance(now) {
	case ScheduleAdvertise:
		a.stats.Multicast++
		a.out = append(a.out, l.multicast(l.body))
	case ScheduleWithdraw:
		a.stats.Final++
		a.out = append(a.out, l.multicast(l.final))
	case ScheduleFinished:
		a.drop(l.link)
		return
	}
	heap.Fix(&a.queue, l.index)
}

// Handle answers solicitations.
func (a advertising) Handle(now time.Time, in []Packet) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.out = a.out[:0]
	for i := range in {
		p := &in[i]
		l := a.links[p.IfIndex]
		if l == nil || Type(p.Body[0]) != TypeRouterSolicitation || !p.SrcMAC.IsUnicast() {
			continue
		}
		if _, err := ParseRouterSolicitation(p); err != nil {
			a.stats.Invalid++
			continue
		}
		if !l.schedule.Solicited(now) {
			a.stats.Deferred++
			heap.Fix(&a.queue, l.index)
			continue
		}
		a.stats.Answers++
		out := l.multicast(l.body)
		out.DstMAC = p.SrcMAC
		if !p.Src.IsUnspecified() {
			out.Dst = p.Src
		}
		a.out = append(a.out, out)
	}
	a.write() // a host that hears nothing asks again
}
