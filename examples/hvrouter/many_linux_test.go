package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/hyperfib/hyperfib/ndp"
)

// manyConfig is a hypervisor of which the guests follow.
const manyConfig = `
router-id: 0.0.1.1
as: 65000
api: DIR/api.sock
bfd: {process: off}
domains:
  - name: public
    table: 90
    guests: true
    unreachable: [10.0.0.0/16]
    reflectors:
      - {fabric: A, interface: a.public, local: 198.51.100.101, peer: 198.51.100.126}
      - {fabric: B, interface: b.public, local: 198.51.100.201, peer: 198.51.100.226}
edge: {gateway4: 10.0.255.254, arp: ARP}
guests:
`

// manyGuest returns the i-th guest's line of the configuration.
func manyGuest(i int) string {
	return fmt.Sprintf("  - {name: g%d, mac: \"50:54:33:00:%02x:%02x\", ipv4: [%v], ipv6: [\"2001:db8:%x::/64\"]}\n", i, i>>8, i&255, manyAddr(i), i+1)
}

func manyAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

func manyMAC(i int) arp.MAC { return arp.MAC{0x50, 0x54, 0x33, 0, byte(i >> 8), byte(i)} }

const (
	manyGuests = 1000
	laterOnes  = 10 // plugged in one by one, while the daemon runs
)

// TestManyGuests starts the daemon on 1,000 guest interfaces, then plugs in more of
// them one by one. It measures how long it takes until the kernel has a guest's
// route, the guest has heard its router advertisement and an answer to an ARP
// request, and BIRD has the route over both fabrics.
func TestManyGuests(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	nstest.Need(t, "bird")
	for _, who := range []string{"kernel", "responder"} {
		t.Run(who, func(t *testing.T) { testMany(t, who) })
	}
}

func testMany(t *testing.T, who string) {
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), rr: nstest.New(t, "rr"), vm: nstest.New(t, "vm")}
	nstest.Veth(h.hv, "a.public", "198.51.100.101/25", h.rr, "fa", "198.51.100.126/25")
	nstest.Veth(h.hv, "b.public", "198.51.100.201/25", h.rr, "fb", "198.51.100.226/25")
	text := strings.Replace(manyConfig, "ARP", who, 1)
	for i := range manyGuests + laterOnes {
		text += manyGuest(i)
	}
	h.write("hv.yaml", text)
	h.reflector(birdConfig)
	h.vm.Sysctl("net/ipv6/conf/default/disable_ipv6", "1") // they only listen
	h.attach(0, manyGuests)
	e := newEars(t, h.vm)
	t.Cleanup(h.end)

	begin, stall := time.Now(), nstest.WatchStall()
	h.run()
	first := e.until(h, begin, 0, manyGuests)
	t.Logf("%s: %d guests present at the start of the process: last RA %v, last ARP answer %v, last route in the kernel %v, the last at BIRD %v",
		who, manyGuests, first.ra, first.arp, first.route, first.bgp)

	var worst times
	for i := manyGuests; i < manyGuests+laterOnes; i++ {
		begin := time.Now()
		h.attach(i, i+1)
		worst.max(e.until(h, begin, i, i+1))
	}
	t.Logf("%s: one more, %d times, with ip(8) in it, slowest: RA %v, ARP answer %v, route in the kernel %v, BIRD %v",
		who, laterOnes, worst.ra, worst.arp, worst.route, worst.bgp)
	stall.Stop()
	if worst.last() > 2*time.Second+stall.Slack() || first.last() > 20*time.Second+stall.Slack() {
		t.Errorf("far too slow: start %+v, later %+v", first, worst)
	}
}

// reflector starts BIRD.
func (h *host) reflector(config string) {
	h.t.Helper()
	h.write("bird.conf", config)
	bird := h.rr.Command("bird", "-f", "-c", h.path("bird.conf"), "-s", h.path("bird.ctl"))
	if err := bird.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { bird.Process.Kill(); bird.Wait() })
}

// attach makes the interfaces of guests from to to. Their other ends are up.
func (h *host) attach(from, to int) {
	h.t.Helper()
	var make, up strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&make, "link add name g%d type veth peer name h%d address %v netns %s\n", i, i, manyMAC(i), h.vm.Name)
		fmt.Fprintf(&up, "link set h%d up\n", i)
	}
	batch(h.t, h.hv, make.String())
	batch(h.t, h.vm, up.String())
}

func batch(t *testing.T, ns *nstest.NS, script string) {
	t.Helper()
	cmd := exec.Command("ip", "-n", ns.Name, "-batch", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// times is when the last of some guests had what it needs.
type times struct {
	ra, arp, route, bgp time.Duration
}

func (t *times) max(o times) {
	t.ra, t.arp, t.route, t.bgp = max(t.ra, o.ra), max(t.arp, o.arp), max(t.route, o.route), max(t.bgp, o.bgp)
}

func (t *times) last() time.Duration { return max(t.ra, t.arp, t.route, t.bgp) }

// ears hear and ask on behalf of all guests.
type ears struct {
	t     *testing.T
	ns    *nstest.NS
	arp   *arp.Conn
	ra    *ndp.Conn
	links map[int]int       // guest to interface index
	asked map[int]time.Time // guest to its latest ARP request

	mu       sync.Mutex
	answered map[int]time.Time // guest to the first ARP answer
	told     map[int]time.Time // guest to the first router advertisement
}

func newEars(t *testing.T, ns *nstest.NS) *ears {
	t.Helper()
	e := &ears{t: t, ns: ns, links: map[int]int{}, asked: map[int]time.Time{}, answered: map[int]time.Time{}, told: map[int]time.Time{}}
	var err error
	if e.arp, err = arp.Listen(arp.Config{NetNS: ns.Path, ReceiveBuffer: 8 << 20}); err != nil {
		t.Fatal(err)
	}
	if e.ra, err = ndp.Listen(ndp.Config{NetNS: ns.Path, Types: []ndp.Type{ndp.TypeRouterAdvertisement}, ReceiveBuffer: 8 << 20}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.arp.Add(0), e.ra.Add(0)); err != nil { // every interface
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(e.hearAnswers)
	both.Go(e.hearRouters)
	t.Cleanup(func() { e.arp.Close(); e.ra.Close(); both.Wait() })
	return e
}

func (e *ears) hearAnswers() {
	in := make([]arp.Frame, arp.Batch)
	for {
		n, err := e.arp.Read(in)
		if err != nil {
			return
		}
		e.mu.Lock()
		for _, f := range in[:n] {
			i := int(f.TargetIP[2])<<8 | int(f.TargetIP[3])
			if _, ok := e.answered[i]; f.Op == arp.OpReply && !ok {
				e.answered[i] = time.Now()
			}
		}
		e.mu.Unlock()
	}
}

func (e *ears) hearRouters() {
	in := make([]ndp.Packet, ndp.Batch)
	for {
		n, err := e.ra.Read(in)
		if err != nil {
			return
		}
		e.mu.Lock()
		for i := range in[:n] {
			ra, err := ndp.ParseRouterAdvertisement(&in[i])
			if err != nil || len(ra.Prefixes) != 1 {
				continue
			}
			a := ra.Prefixes[0].Prefix.Addr().As16()
			guest := int(a[4])<<8 + int(a[5]) - 1
			if _, ok := e.told[guest]; !ok {
				e.told[guest] = time.Now()
			}
		}
		e.mu.Unlock()
	}
}

// ask sends an ARP request for every guest that has no answer yet, for the address of
// another, but not more often than every 200 ms if they are many: a thousand that ask at
// every turn are a flood, and it is the flood that would be measured.
func (e *ears) ask(from, to int) {
	if e.links[to-1] == 0 {
		e.ns.Do(func() error {
			all, err := net.Interfaces()
			for _, l := range all {
				if n, err := strconv.Atoi(strings.TrimPrefix(l.Name, "h")); err == nil {
					e.links[n] = l.Index
				}
			}
			return err
		})
	}
	var out []arp.Frame
	e.mu.Lock()
	for i := from; i < to; i++ {
		if _, ok := e.answered[i]; !ok && e.links[i] != 0 && (to-from < 10 || time.Since(e.asked[i]) > 200*time.Millisecond) {
			e.asked[i] = time.Now()
			out = append(out, arp.NewRequest(manyMAC(i), manyAddr(i), manyAddr((i+1)%manyGuests)).On(e.links[i]))
		}
	}
	e.mu.Unlock()
	for len(out) > 0 { // a guest without carrier asks again later
		n, _ := e.arp.Write(out)
		out = out[min(n+1, len(out)):]
	}
}

// latest returns the last of the times of guests from to to, or ok false if one is
// missing.
func (e *ears) latest(all map[int]time.Time, from, to int) (last time.Time, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := from; i < to; i++ {
		if all[i].IsZero() {
			return last, false
		}
		if all[i].After(last) {
			last = all[i]
		}
	}
	return last, true
}

// until polls until guests from to to have everything, and gives the times since
// begin.
func (e *ears) until(h *host, begin time.Time, from, to int) (t times) {
	e.t.Helper()
	note := func(d *time.Duration, done bool) {
		if *d == 0 && done {
			*d = time.Since(begin).Round(100 * time.Microsecond)
		}
	}
	e.t.Cleanup(func() {
		if e.t.Failed() {
			e.t.Logf("guests %d to %d: %+v, %d RAs, %d answers, BIRD: %s", from, to, t, len(e.told), len(e.answered), h.bird("show route table master4 count"))
		}
	})
	nstest.Wait(e.t, 30*time.Second, "everything for guests", func() bool {
		e.ask(from, to)
		note(&t.route, t.route == 0 && h.guestRoutes(from, to) == to-from)
		paths := fmt.Sprintf("%d of", 2*to+1) // two each, and one of BIRD's own
		note(&t.bgp, t.bgp == 0 && strings.Contains(h.bird("show route table master4 count"), paths))
		heard, okRA := e.latest(e.told, from, to)
		answered, okARP := e.latest(e.answered, from, to)
		t.ra, t.arp = heard.Sub(begin).Round(100*time.Microsecond), answered.Sub(begin).Round(100*time.Microsecond)
		return okRA && okARP && t.route > 0 && t.bgp > 0
	})
	return t
}

// guestRoutes counts the routes of guests from to to.
func (h *host) guestRoutes(from, to int) int {
	if to == from+1 {
		return strings.Count(h.routes(fmt.Sprintf("route show table 90 %v", manyAddr(from))), "dev g")
	}
	return strings.Count(h.routes("route show table 90"), "dev g")
}
