package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/hyperfib/hyperfib/ndp"
)

// forger is a host on a link that advertises itself as a new router, at an address that nobody has, again
// and again.
type forger struct {
	t       *testing.T
	conn    *ndp.Conn
	link    int        // its interface
	mac     ndp.MAC    // the host's own
	answers bool       // it answers neighbour solicitations for all of these addresses, and has one MAC
	target  netip.Addr // it solicits this neighbour in place of advertising, if it is valid
	end     chan struct{}
	done    sync.WaitGroup
	sent    atomic.Int64 // advertisements
	asked   atomic.Int64 // solicitations that it has answered
}

// forgeries begins the first of the addresses of a forger.
var forgeries = netip.MustParsePrefix("fe80::f:0:0:0/80")

// newForger has a host begin to advertise over one of its interfaces, perSecond times a second, or to solicit target.
func newForger(t *testing.T, ns *nstest.NS, device string, perSecond int, answers bool, target netip.Addr) *forger {
	t.Helper()
	f := &forger{t: t, answers: answers, target: target, end: make(chan struct{})}
	ns.Do(func() error {
		link, err := net.InterfaceByName(device)
		if err == nil {
			f.link, f.mac = link.Index, ndp.MAC(link.HardwareAddr)
		}
		return err
	})
	var err error
	if f.conn, err = ndp.Listen(ndp.Config{NetNS: ns.Path, Types: []ndp.Type{ndp.TypeNeighborSolicitation}}); err != nil {
		t.Fatal(err)
	}
	if err := f.conn.Add(f.link); err != nil {
		t.Fatal(err)
	}
	f.done.Go(f.answer)
	f.done.Go(func() { f.advertise(perSecond) })
	t.Cleanup(f.stop)
	return f
}

// stop ends the flood.
func (f *forger) stop() {
	select {
	case <-f.end:
	default:
		close(f.end)
		f.conn.Close()
		f.done.Wait()
		f.t.Logf("the forger sent %d messages, and answered %d solicitations", f.sent.Load(), f.asked.Load())
	}
}

func (f *forger) advertise(perSecond int) {
	const interval = 20 * time.Millisecond
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for began := time.Now(); ; {
		select {
		case <-f.end:
			return
		case <-tick.C:
		}
		// After a pause of the machine what is due is not made up for at once.
		n := int(f.sent.Load())
		for due := min(n+perSecond/10, int(time.Since(began).Seconds()*float64(perSecond))); n < due; n = int(f.sent.Add(1)) {
			mac, from := f.mac, forgeries.Addr().As16()
			binary.BigEndian.PutUint32(from[12:], uint32(n)*2654435761) // in no order
			if !f.answers {
				binary.BigEndian.PutUint32(mac[2:], uint32(n)*2246822519)
			}
			body, err := ndp.RouterAdvertisement{SourceLinkAddr: mac, Lifetime: 30 * time.Minute}.AppendBinary(nil)
			to := ndp.AllNodes
			if f.target.IsValid() {
				to = ndp.SolicitedNode(f.target)
				body, err = ndp.NeighborSolicitation{SourceLinkAddr: mac, Target: f.target}.AppendBinary(nil)
			}
			if err != nil {
				f.t.Error(err)
				return
			}
			_, _ = f.conn.Write([]ndp.Packet{{IfIndex: f.link, SrcMAC: mac, DstMAC: ndp.GroupMAC(to), Src: netip.AddrFrom16(from), Dst: to, HopLimit: 255, Body: body}})
		}
	}
}

func (f *forger) answer() {
	buf := make([]ndp.Packet, ndp.Batch)
	for {
		n, err := f.conn.Read(buf)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				f.t.Error(err)
			}
			return
		}
		for i := range buf[:n] {
			p := &buf[i]
			m, err := ndp.ParseNeighborSolicitation(p)
			if err != nil || !f.answers || !forgeries.Contains(m.Target) {
				continue
			}
			body, _ := ndp.NeighborAdvertisement{Router: true, Solicited: true, Override: true, Target: m.Target, TargetLinkAddr: f.mac}.AppendBinary(nil)
			_, _ = f.conn.Write([]ndp.Packet{{IfIndex: f.link, SrcMAC: f.mac, DstMAC: p.SrcMAC, Src: m.Target, Dst: p.Src, HopLimit: 255, Body: body}})
			f.asked.Add(1)
		}
	}
}

// reboot has a router come back with another MAC, if it is given, and another address. It returns the address,
// and when the router had it.
func (r *tor) reboot(mac, addr string) (netip.Addr, time.Time) {
	r.t.Helper()
	old := linkLocal(r.t, r.ns, "hv")
	r.kill()
	r.ns.IP("link set hv down")
	if mac != "" {
		r.ns.IP("link set hv address " + mac)
	}
	r.ns.IP("link set hv up")
	if own := linkLocal(r.t, r.ns, "hv"); addr != "" {
		r.ns.IP("addr add " + addr + "/64 dev hv nodad")
		r.ns.IP("addr del " + own.String() + "/64 dev hv")
	}
	now := linkLocal(r.t, r.ns, "hv")
	if now == old {
		r.t.Fatalf("the router has %v as before", old)
	}
	r.start()
	return now, time.Now()
}

// newSharedLink makes a rack whose two routers and a third host are on one link with the hypervisor, and starts the
// routers. The third one reaches the hypervisor alone.
func newSharedLink(t *testing.T) (*rack, *nstest.NS) {
	k := newRack(t, false)
	bridge := k.share()
	other := nstest.New(t, "forger")
	nstest.Veth(other, "x", "", bridge, "p3", "")
	bridge.IP("link set p3 master br0")
	// The kernel has one table of neighbours for all namespaces: the routers, which do not defend theirs,
	// are not to fill it. The switch keeps the flood from them.
	for _, port := range []string{"p1", "p2", "p3"} {
		bridge.Exec("bridge", "link", "set", "dev", port, "isolated", "on")
	}
	for _, r := range k.tors {
		birdTor(r, `
protocol radv { interface "hv" { max ra interval 5; min ra interval 3; default lifetime 0; }; }
protocol static s4 { ipv4; route 203.0.113.3/32 blackhole; }
protocol bgp hv {
  local as 6501NO; neighbor range fe80::/10 external; interface "hv"; dynamic name "hv";
  graceful restart on; bfd on;
  ipv4 { extended next hop on; import all; export all; };
}
`)
	}
	return k, other
}

// TestUnnumberedFlood: two routers on a link that a host floods with forged router advertisements. One of them comes
// back at another address, with its MAC and with another one, and has its session in spite of that, while the flood goes
// on; the session with the other router stays what it is.
func TestUnnumberedFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	for _, c := range []struct {
		name    string
		answers bool
	}{{"a MAC for each address", false}, {"one MAC, whose host answers for all of its addresses", true}} {
		t.Run(c.name, func(t *testing.T) {
			k, other := newSharedLink(t)
			k.write("hv.yaml", strings.Replace(unnumberedNeighbors, "as: external", "as: external, families: [ipv4]", 1))
			k.run()
			k.sessionsUp(2)
			sessions := func() (all []api.Session) {
				_ = k.ask("/v1/sessions", &all)
				return all
			}
			with := func(a netip.Addr) (s api.Session, ok bool) {
				time.Sleep(50 * time.Millisecond)
				all := sessions()
				i := slices.IndexFunc(all, func(s api.Session) bool { return s.Peer.WithZone("") == a && s.State == "Established" })
				if i < 0 {
					return s, false
				}
				return all[i], true
			}
			stays := linkLocal(t, k.tors[1].ns, "hv")
			before, ok := with(stays)
			if !ok {
				t.Fatalf("no session with %v: %+v", stays, sessions())
			}
			used, flooded := k.cpuTime(), time.Now()
			f := newForger(t, other, "x", 300, c.answers, netip.Addr{})
			defer func() {
				if t.Failed() {
					out, _ := k.command("show", "sessions", "-api", k.path("api.sock")).CombinedOutput()
					t.Logf("%s%s", out, k.hv.IP("-s neigh show nud reachable"))
				}
			}()
			nstest.Wait(t, 10*time.Second, "1500 advertisements, of which 1024 fill any table", func() bool { return f.sent.Load() >= 1500 })
			for _, change := range []struct{ what, mac, addr string }{
				{"another address", "", "fe80::beef"},
				{"another address and MAC", "02:00:5e:00:00:77", ""},
			} {
				now, began := k.tors[0].reboot(change.mac, change.addr)
				nstest.Wait(t, 20*time.Second, fmt.Sprintf("a session with %v, during the flood", now), func() bool { _, ok := with(now); return ok })
				t.Logf("%s: %.2f s until the session", change.what, time.Since(began).Seconds())
				nstest.Wait(t, 20*time.Second, "its route", func() bool {
					return slices.Contains(k.hops("203.0.113.3"), now.String()+" a.public") && len(k.hops("203.0.113.3")) == 2
				})
			}
			f.stop()
			t.Logf("processor time of the daemon: %.1f %%", 100*(k.cpuTime()-used).Seconds()/time.Since(flooded).Seconds())
			if after, ok := with(stays); !ok || after.Since != before.Since || after.Ups != before.Ups {
				t.Errorf("the session with the other router was %+v, is %+v", before, after)
			}
		})
	}
}
