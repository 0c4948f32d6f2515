package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/internal/nstest"
	"github.com/hyperfib/hyperfib/ndp"
)

// TestRestartSeenByGuest has a guest ask for its neighbour every 20 ms while the daemon
// dies, or is told to end, and comes back. Where the kernel answers, every question has
// its answer; where the responder does, the first retransmission (1 s later) has. The
// guest never hears a final router advertisement.
func TestRestartSeenByGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	for _, who := range []string{"kernel", "responder"} {
		t.Run(who, func(t *testing.T) { testRestart(t, who) })
	}
}

func testRestart(t *testing.T, who string) {
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), vm: nstest.New(t, "vm")}
	other := nstest.New(t, "vm2")
	h.write("hv.yaml", strings.Replace(edgeConfig, "ARP", who, 1))
	t.Cleanup(h.end)
	h.run()
	h.hv.IP("link add name vm2 type veth peer name eth0 address 50:54:33:00:00:09 netns " + other.Name)
	other.IP("link set eth0 up")
	h.hv.IP("link add name vm1 type veth peer name eth0 address 50:54:33:00:00:07 netns " + h.vm.Name)
	a := newAsker(t, h.vm)
	h.vm.IP("link set eth0 up")
	a.firstRA(h)
	a.start()
	h.wait("answers", func() bool { return a.counts().answers > 0 })
	for _, s := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		before, stall := a.reset(), nstest.WatchStall()
		h.kill(s)
		h.run()
		h.wait("the daemon back, and answers of it", func() bool {
			return h.ask("/v1/guests", &[]any{}) == nil && a.counts().answers > 0 && a.counts().asked > 50
		})
		h.wait("the last answer", func() bool { n := a.counts(); return time.Since(n.last) < 100*time.Millisecond })
		stall.Stop()
		n := a.counts()
		t.Logf("%s, %v: %d asked, %d answered, longest time without an answer %v, %d final RAs (%d before)",
			who, s, n.asked, n.answers, n.gap.Round(time.Millisecond), n.final, before.final)
		if n.gap > time.Second+stall.Slack() {
			t.Errorf("%v: %v without an answer: the first retransmission was lost", s, n.gap)
		}
		if who == "kernel" { // one may be on its way, more if the machine is busy
			h.wait("an answer to every question", func() bool { n = a.counts(); return n.answers >= n.asked-1 })
		}
		if n.final > 0 {
			t.Errorf("%v: %d final router advertisements", s, n.final)
		}
	}
}

// asked is what an asker counts.
type asked struct {
	asked, answers, final, ras int
	last                       time.Time
	gap                        time.Duration // longest between two answers
}

// asker asks for a neighbour, and listens to routers.
type asker struct {
	t    *testing.T
	arp  *arp.Conn
	ra   *ndp.Conn
	link int
	stop chan struct{}
	wg   sync.WaitGroup

	mu sync.Mutex
	n  asked
}

func newAsker(t *testing.T, ns *nstest.NS) *asker {
	t.Helper()
	a := &asker{t: t, stop: make(chan struct{})}
	ns.Do(func() error {
		l, err := net.InterfaceByName("eth0")
		if err == nil {
			a.link = l.Index
		}
		return err
	})
	var err1, err2 error
	a.arp, err1 = arp.Listen(arp.Config{NetNS: ns.Path})
	a.ra, err2 = ndp.Listen(ndp.Config{NetNS: ns.Path, Types: []ndp.Type{ndp.TypeRouterAdvertisement}})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.arp.Add(a.link), a.ra.Add(a.link)); err != nil {
		t.Fatal(err)
	}
	a.wg.Go(a.answers)
	a.wg.Go(a.routers)
	t.Cleanup(func() { close(a.stop); a.arp.Close(); a.ra.Close(); a.wg.Wait() })
	return a
}

// firstRA waits for the first router advertisement.
func (a *asker) firstRA(h *host) {
	begin := time.Now()
	h.wait("a router advertisement", func() bool { return a.counts().ras > 0 })
	a.t.Logf("carrier to the first router advertisement: %v", time.Since(begin).Round(time.Millisecond))
}

func (a *asker) start() {
	mac, me, other := arp.MAC{0x50, 0x54, 0x33, 0, 0, 7}, netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")
	a.wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-a.stop:
				return
			case <-tick.C:
			}
			n, _ := a.arp.Write([]arp.Frame{arp.NewRequest(mac, me, other).On(a.link)})
			a.mu.Lock()
			a.n.asked += n
			a.mu.Unlock()
		}
	})
}

func (a *asker) answers() {
	in := make([]arp.Frame, arp.Batch)
	for {
		n, err := a.arp.Read(in)
		if err != nil {
			return
		}
		a.mu.Lock()
		for _, f := range in[:n] {
			if f.Op == arp.Reply && f.SenderIP == [4]byte{203, 0, 113, 2} {
				now := time.Now()
				if !a.n.last.IsZero() {
					a.n.gap = max(a.n.gap, now.Sub(a.n.last))
				}
				a.n.answers++
				a.n.last = now
			}
		}
		a.mu.Unlock()
	}
}

func (a *asker) routers() {
	in := make([]ndp.Packet, ndp.Batch)
	for {
		n, err := a.ra.Read(in)
		if err != nil {
			return
		}
		a.mu.Lock()
		for i := range in[:n] {
			if ra, err := ndp.ParseRouterAdvertisement(&in[i]); err == nil {
				a.n.ras++
				if ra.Lifetime == 0 {
					a.n.final++
				}
			}
		}
		a.mu.Unlock()
	}
}

func (a *asker) counts() asked {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

// reset starts to count anew and gives what was counted.
func (a *asker) reset() asked {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.n
	a.n = asked{last: old.last}
	return old
}
