package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/hyperfib/hyperfib/ndp"
)

// asker asks for a neighbour of each family every 20 ms, another one each time, so that
// an answer is known to belong to its question; asks again as a host does; and listens to
// routers.
type asker struct {
	t      *testing.T
	arp    *arp.Conn
	nd     *ndp.Conn
	link   int
	stop   chan struct{}
	wg     sync.WaitGroup
	mu     sync.Mutex
	v4, v6 questions
	ras    int // router advertisements
	final  int
}

// questions are those of one family.
type questions struct {
	family string
	next   uint16
	open   map[netip.Addr]*question
	times  asked
}

type question struct {
	asks, answers int
	last          time.Time // asked
}

// most is how often a question is asked.
const most = 4

// asked is what is counted of questions.
type asked struct {
	family         string
	asked, retried int           // questions; those that were asked more than once
	twice, lost    int           // more answers than asks; no answer to several asks
	silence        time.Duration // longest between two answers
	latest         time.Time     // answer
}

func (n asked) String() string {
	return fmt.Sprintf("%s: %d of %d answered at the first asking, %d answered twice, longest silence %v",
		n.family, n.asked-n.retried, n.asked, n.twice, n.silence.Round(time.Millisecond))
}

var (
	askerMAC = arp.MAC{0x50, 0x54, 0x33, 0, 0, 7}
	askerLL  = netip.MustParseAddr("fe80::5254:33ff:fe00:7")
)

func newAsker(t *testing.T, ns *nstest.NS) *asker {
	t.Helper()
	a := &asker{t: t, stop: make(chan struct{}), v4: questions{family: "ARP"}, v6: questions{family: "NDP"}}
	a.reset()
	ns.Do(func() error {
		l, err := net.InterfaceByName("eth0")
		if err == nil {
			a.link = l.Index
		}
		return err
	})
	var err1, err2 error
	a.arp, err1 = arp.Listen(arp.Config{NetNS: ns.Path})
	a.nd, err2 = ndp.Listen(ndp.Config{NetNS: ns.Path, Types: []ndp.Type{ndp.TypeRouterAdvertisement, ndp.TypeNeighborAdvertisement}})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.arp.Add(a.link), a.nd.Add(a.link)); err != nil {
		t.Fatal(err)
	}
	a.wg.Go(a.hear4)
	a.wg.Go(a.hear6)
	t.Cleanup(func() { close(a.stop); a.arp.Close(); a.nd.Close(); a.wg.Wait() })
	return a
}

// firstRA waits for the first router advertisement.
func (a *asker) firstRA(h *host) {
	begin := time.Now()
	h.wait("a router advertisement", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.ras > 0
	})
	a.t.Logf("carrier to the first router advertisement: %v", time.Since(begin).Round(time.Millisecond))
}

func (a *asker) start() {
	a.wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-a.stop:
				return
			case <-tick.C:
			}
			a.mu.Lock()
			n4, n6 := a.v4.due(), a.v6.due()
			a.mu.Unlock()
			a.ask(n4, n6)
		}
	})
}

// due returns what is to be asked now.
func (q *questions) due() (list []netip.Addr) {
	now := time.Now()
	for addr, open := range q.open {
		if open.answers == 0 && now.Sub(open.last) > time.Second && open.asks < most {
			open.asks++
			open.last = now
			list = append(list, addr)
		}
	}
	q.next++
	addr := netip.AddrFrom4([4]byte{198, 18, byte(q.next >> 8), byte(q.next)})
	if q.family == "NDP" {
		b := netip.MustParseAddr("2001:db8:2::1:0").As16()
		binary.BigEndian.PutUint16(b[14:], q.next)
		addr = netip.AddrFrom16(b)
	}
	q.open[addr] = &question{asks: 1, last: now}
	return append(list, addr)
}

func (a *asker) ask(n4, n6 []netip.Addr) {
	for _, target := range n4 {
		_, _ = a.arp.Write([]arp.Frame{arp.NewRequest(askerMAC, netip.MustParseAddr("203.0.113.1"), target).On(a.link)})
	}
	for _, target := range n6 {
		group := ndp.SolicitedNode(target)
		ns := ndp.NeighborSolicitation{Target: target, SourceLinkAddr: ndp.MAC(askerMAC)}
		body, _ := ns.AppendBinary(nil)
		_, _ = a.nd.Write([]ndp.Packet{{IfIndex: a.link, SrcMAC: ndp.MAC(askerMAC), DstMAC: ndp.GroupMAC(group), Src: askerLL, Dst: group,
			HopLimit: 255, Body: body}})
	}
}

// answered notes an answer.
func (q *questions) answered(addr netip.Addr) {
	open := q.open[addr]
	if open == nil {
		return // of before
	}
	open.answers++
	now := time.Now()
	if !q.times.latest.IsZero() {
		q.times.silence = max(q.times.silence, now.Sub(q.times.latest))
	}
	q.times.latest = now
}

func (a *asker) hear4() {
	in := make([]arp.Frame, arp.Batch)
	for {
		n, err := a.arp.Read(in)
		if err != nil {
			return
		}
		a.mu.Lock()
		for _, f := range in[:n] {
			if f.Op == arp.OpReply {
				a.v4.answered(f.SenderIP.Addr())
			}
		}
		a.mu.Unlock()
	}
}

func (a *asker) hear6() {
	in := make([]ndp.Packet, ndp.Batch)
	for {
		n, err := a.nd.Read(in)
		if err != nil {
			return
		}
		a.mu.Lock()
		for i := range in[:n] {
			if ndp.Type(in[i].Body[0]) == ndp.TypeNeighborAdvertisement {
				if na, err := ndp.ParseNeighborAdvertisement(&in[i]); err == nil {
					a.v6.answered(na.Target)
				}
			} else if ra, err := ndp.ParseRouterAdvertisement(&in[i]); err == nil {
				a.ras++
				if ra.Lifetime == 0 {
					a.final++
				}
			}
		}
		a.mu.Unlock()
	}
}

// quiet reports whether nothing older than 200 ms waits for its answer.
func (a *asker) quiet() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range []*questions{&a.v4, &a.v6} {
		for _, open := range q.open {
			waits := time.Since(open.last)
			if open.answers == 0 && waits > 200*time.Millisecond && (open.asks < most || waits < time.Second) {
				return false
			}
		}
	}
	return true
}

// later reports whether so many questions have been asked since reset, and the latest were
// answered.
func (a *asker) later(n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.v4.open) > n && time.Since(a.v4.times.latest) < 100*time.Millisecond && time.Since(a.v6.times.latest) < 100*time.Millisecond
}

// counts sums up what has been asked since reset, but for what is on its way.
func (a *asker) counts() (list []asked) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range []*questions{&a.v4, &a.v6} {
		n := q.times
		n.family = q.family
		for _, open := range q.open {
			if open.answers == 0 && (open.asks < most || time.Since(open.last) < time.Second) {
				continue
			}
			n.asked++
			switch {
			case open.answers == 0: // to four asks, each with a second to answer
				n.lost++
			case open.answers > open.asks:
				n.twice++
			case open.asks > 1:
				n.retried++
			}
		}
		list = append(list, n)
	}
	return list
}

func (a *asker) finals() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.final
}

// reset starts to count anew. The time of the latest answer stays.
func (a *asker) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range []*questions{&a.v4, &a.v6} {
		q.open, q.times = map[netip.Addr]*question{}, asked{latest: q.times.latest}
	}
}
