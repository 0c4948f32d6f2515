package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const unnumberedNeighbors = neighborsHead + `
    neighbors:
      - {interface: a.public, as: external, import: [{prefixes: [203.0.113.0/24 le 32, "2001:db8::/32 le 128"], action: accept}], export: [{action: accept}]}
      - {interface: "b.*", fabric: B, as: 65012, import: [{prefixes: [203.0.113.0/24 le 32], action: accept}], export: [{action: accept}]}
` + neighborsTail

// frrUnnumbered is FRR as `neighbor hv interface remote-as external`.
func frrUnnumbered(r *tor) {
	frrTor(r, `
router bgp 6501NO
 bgp router-id 198.51.100.NO26
 bgp graceful-restart
 no bgp network import-check
 no bgp ebgp-requires-policy
 neighbor hv interface remote-as external
 neighbor hv timers connect 1
 neighbor hv bfd 20 100 100
 address-family ipv4 unicast
  network 203.0.113.3/32
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:NO::/48
  neighbor hv activate
 exit-address-family
`)
}

// linkLocal returns the link-local address of an interface of a namespace.
func linkLocal(t *testing.T, ns *nstest.NS, link string) (a netip.Addr) {
	t.Helper()
	nstest.Wait(t, 10*time.Second, "a link-local address of "+link, func() bool {
		for _, f := range strings.Fields(ns.IP("-6 -o addr show dev " + link + " scope link -tentative")) {
			if p, err := netip.ParsePrefix(f); err == nil {
				a = p.Addr()
				return true
			}
		}
		return false
	})
	return a
}

// TestUnnumbered: two FRR as top-of-rack routers, over links without addresses of ours or theirs: found
// by their advertisements, IPv4 routes by IPv6 next hops both ways, followed to another address, over
// an interface that is deleted and made again, and kept over `kill -9` of the daemon.
func TestUnnumbered(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	k := newRack(t, false)
	for _, r := range k.tors {
		frrUnnumbered(r)
	}
	k.write("hv.yaml", unnumberedNeighbors)
	k.run()
	defer func() {
		if !t.Failed() {
			return
		}
		for _, q := range [][]string{{"show", "routes"}, {"show", "sessions"}, {"show", "bfd"}} {
			out, _ := k.command(append(q, "-api", k.path("api.sock"))...).CombinedOutput()
			t.Logf("%s: %s", q[1], out)
		}
		t.Logf("kernel: %s%s", k.hv.IP("route show table 90"), k.hv.IP("nexthop"))
		for _, r := range k.tors {
			t.Logf("tor%d: %s%s", r.no, r.vtysh("show bgp ipv4 unicast neighbors hv advertised-routes"), r.vtysh("show bgp neighbors hv"))
		}
	}()
	var all []api.Session
	nstest.Wait(t, 30*time.Second, "both sessions and BFD", func() bool {
		all = nil
		return k.ask("/v1/sessions", &all) == nil && len(all) == 2 && all[0].State == "Established" && all[1].State == "Established" && all[0].BFD == "Up" && all[1].BFD == "Up"
	})
	if all[0].Fabric != "a.public" || all[1].Fabric != "B" || all[1].Interface != "b.public" {
		t.Errorf("%+v", all)
	}
	both := func() bool {
		return slices.Equal(sorted(k.hops("203.0.113.3")), sorted([]string{fmt.Sprint(linkLocal(t, k.tors[0].ns, "hv"), " a.public"), fmt.Sprint(linkLocal(t, k.tors[1].ns, "hv"), " b.public")}))
	}
	nstest.Wait(t, 10*time.Second, "the route over both", both)
	k.wait("an IPv6 route", func() bool { return len(k.hops("2001:db8:1::/48")) == 1 })
	k.guest()
	for _, r := range k.tors {
		ours := linkLocal(t, k.hv, []string{"a.public", "b.public"}[r.no-1]).String()
		nstest.Wait(t, 10*time.Second, "the guest's route at FRR", func() bool {
			got := r.route("203.0.113.1/32")
			return strings.Contains(got, "65000") && strings.Contains(got, ours)
		})
	}
	nstest.Wait(t, 10*time.Second, "a ping of the guest from behind the first router", func() bool {
		_ = k.core.Command("ip", "route", "replace", "203.0.113.1/32", "via", "10.9.1.1", "src", "203.0.113.3").Run()
		_ = k.vm.Command("ip", "route", "replace", "default", "via", "203.0.113.254").Run()
		return k.core.Command("ping", "-c1", "-W1", "203.0.113.1").Run() == nil
	})

	// The daemon dies. What the first router makes of its route to the guest meanwhile is FRR's affair, and
	// not measured.
	k.tors[0].ns.IP("route add 203.0.113.1/32 via inet6 " + linkLocal(t, k.hv, "a.public").String() + " dev hv")
	stream := k.stream()
	k.kill(syscall.SIGKILL)
	k.run()
	k.sessionsUp(2)
	k.wait("convergence", func() bool { var st api.Status; return k.ask("/v1/status", &st) == nil && st.Converged })
	var st api.Status
	if err := k.ask("/v1/status", &st); err != nil || !st.Restarted {
		t.Errorf("after the restart: %+v, %v", st, err)
	}
	sent, lost := stream.stop()
	t.Logf("kill -9 of the daemon: %d of %d lost, %d writes", lost, sent, st.Writes)
	if lost > 0 || sent < 10 || st.Writes > 0 {
		t.Errorf("kill -9 of the daemon: %d of %d lost, %d writes to the kernel", lost, sent, st.Writes)
	}
	nstest.Wait(t, 10*time.Second, "the route over both", both)

	// The second router gets another address. It would say so with its next advertisement, after 10 s at most:
	// we ask when its session ends.
	old := linkLocal(t, k.tors[1].ns, "hv")
	asked := k.firstPacket("b.public", "icmp6 and ip6[40] == 133 and ip6 src "+linkLocal(t, k.hv, "b.public").String())
	first := k.firstPacket("b.public", "ip6 src fe80::beef and (ip6[40] == 134 or tcp or udp)") // not what the kernel sends
	k.tors[1].ns.IP("addr add fe80::beef/64 dev hv nodad")
	k.tors[1].ns.IP("addr del " + old.String() + "/64 dev hv")
	began := time.Now()
	var session time.Time
	nstest.Wait(t, 60*time.Second, "the second router at its other address", func() bool {
		var all []api.Session
		if session.IsZero() && k.ask("/v1/sessions", &all) == nil && slices.ContainsFunc(all, func(s api.Session) bool {
			return strings.HasPrefix(s.Peer.String(), "fe80::beef") && s.State == "Established"
		}) {
			session = time.Now()
		}
		return slices.Contains(k.hops("203.0.113.3"), "fe80::beef b.public") && len(k.hops("203.0.113.3")) == 2
	})
	since := func(a, b time.Time) time.Duration { return b.Sub(a).Round(time.Millisecond) }
	t.Logf("another address: asked after %v; since the router's first packet from there: session after %v, route after %v; in all %v",
		since(began, asked()), since(first(), session), since(first(), time.Now()), since(began, time.Now()))

	// The second uplink is deleted, and made again.
	k.hv.IP("link del b.public")
	nstest.Wait(t, 10*time.Second, "the member gone", func() bool { return len(k.hops("203.0.113.3")) == 1 })
	nstest.Veth(k.hv, "b.public", "", k.tors[1].ns, "hv", "")
	nstest.Wait(t, 60*time.Second, "the second router behind the new interface", func() bool { return len(k.hops("203.0.113.3")) == 2 })
}

// firstPacket captures on an interface of the hypervisor. What it returns waits for the first packet that
// the filter lets through, and returns when that was; the test fails if there was none.
func (k *rack) firstPacket(link, filter string) func() time.Time {
	k.t.Helper()
	cmd := k.hv.Command(nstest.Need(k.t, "tcpdump"), "-i", link, "-n", "-l", "-tt", "-c", "1", filter)
	out, err := cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for in := bufio.NewScanner(said); in.Scan() && !strings.Contains(in.Text(), "listening on"); {
	}
	return sync.OnceValue(func() time.Time {
		k.t.Helper()
		line, _ := bufio.NewReader(out).ReadString('\n')
		var seconds, micros int64
		if n, err := fmt.Sscanf(line, "%d.%d ", &seconds, &micros); n != 2 {
			k.t.Fatalf("tcpdump says %q: %v", line, err)
		}
		return time.Unix(seconds, micros*1000)
	})
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

// TestUnnumberedPeers: BIRD takes us in by a range, and GoBGP, which sends no advertisements of its own (BIRD does
// for it), has our address. Routes of both families go both ways.
func TestUnnumberedPeers(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	const radv = `
protocol radv { interface "hv" { max ra interval 5; min ra interval 3; default lifetime 0; }; }
`
	k := newRack(t, false)
	birdTor(k.tors[0], radv+`
protocol static s4 { ipv4; route 203.0.113.3/32 blackhole; }
protocol static s6 { ipv6; route 2001:db8:1::/48 blackhole; }
protocol bgp hv {
  local as 65011; neighbor range fe80::/10 external; interface "hv"; dynamic name "hv";
  graceful restart on; bfd on;
  ipv4 { extended next hop on; import all; export all; };
  ipv6 { import all; export all; };
}
`)
	birdTor(k.tors[1], radv)
	k.write("hv.yaml", strings.NewReplacer(`fabric: B, as: 65012`, `fabric: B, as: 65012, bfd: off`, `[203.0.113.0/24 le 32]`, `[203.0.113.0/24 le 32, "2001:db8::/32 le 128"]`).Replace(unnumberedNeighbors))
	ours := linkLocal(t, k.hv, "b.public")
	gobgpTor(k.tors[1], `
[global.config]
 as = 65012
 router-id = "198.51.100.226"
[[neighbors]]
 [neighbors.config]
  peer-as = 65000
  neighbor-address = "`+ours.String()+`%hv"
 [neighbors.timers.config]
  connect-retry = 1
 [[neighbors.afi-safis]]
  [neighbors.afi-safis.config]
   afi-safi-name = "ipv4-unicast"
 [[neighbors.afi-safis]]
  [neighbors.afi-safis.config]
   afi-safi-name = "ipv6-unicast"
`, "203.0.113.3/32")
	k.tors[1].ns.Exec("gobgp", strings.Fields("global rib add 2001:db8:2::/48 -a ipv6")...)
	k.run()
	k.sessionsUp(2)
	nstest.Wait(t, 10*time.Second, "BIRD's routes", func() bool {
		return len(k.hops("203.0.113.3")) > 0 && slices.Contains(k.hops("2001:db8:1::/48"), fmt.Sprint(linkLocal(t, k.tors[0].ns, "hv"), " a.public"))
	})
	theirs := fmt.Sprint(linkLocal(t, k.tors[1].ns, "hv"), " b.public")
	nstest.Wait(t, 10*time.Second, "GoBGP's IPv6 route", func() bool { return slices.Contains(k.hops("2001:db8:2::/48"), theirs) })
	nstest.Wait(t, 10*time.Second, "the IPv4 route over both", func() bool { return len(k.hops("203.0.113.3")) == 2 })
	k.guest()
	for _, r := range k.tors {
		nstest.Wait(t, 10*time.Second, "the guest's route", func() bool { return strings.Contains(r.route("203.0.113.1/32"), "65000") })
	}
}

// dialed returns who has dialed the sessions of the hypervisor, by interface: "we" or "they".
func (k *rack) dialed() map[string]string {
	out := map[string]string{}
	for _, line := range strings.Split(k.hv.Exec("ss", "-H", "-t", "-n", "state", "established"), "\n") {
		f := strings.Fields(line) // Recv-Q, Send-Q, [LOCAL]%INTERFACE:PORT, [PEER]%INTERFACE:PORT
		if len(f) < 4 || !strings.HasPrefix(f[2], "[fe80:") {
			continue
		}
		_, link, _ := strings.Cut(f[2], "%")
		link, port, _ := strings.Cut(link, ":")
		if port == "179" {
			out[link] += "they"
		} else if strings.HasSuffix(f[3], ":179") {
			out[link] += "we"
		}
	}
	return out
}

// TestUnnumberedDials: found neighbours that dial us: FRR and BIRD while we are passive; two that are
// passive while we are not; nobody else is let in at our link-local addresses; over an interface that is
// made again.
func TestUnnumberedDials(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	k := newRack(t, false)
	frrUnnumbered(k.tors[0])
	birdTor(k.tors[1], `
protocol radv { interface "hv" { max ra interval 5; min ra interval 3; default lifetime 0; }; }
protocol static s4 { ipv4; route 203.0.113.3/32 blackhole; }
protocol bgp hv {
  local as 65012; neighbor `+linkLocal(t, k.hv, "b.public").String()+`%'hv' as 65000; direct;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  graceful restart on; bfd on;
  ipv4 { extended next hop on; import all; export all; };
}
`)
	both := strings.Replace(unnumberedNeighbors, `as: 65012`, `as: 65012, families: [ipv4]`, 1)
	passive := strings.NewReplacer(`as: external`, `as: external, connect: passive`, `as: 65012`, `as: 65012, connect: passive`).Replace(both)
	k.write("hv.yaml", passive)
	k.run()
	up := func(what string) {
		t.Helper()
		nstest.Wait(t, 60*time.Second, "both sessions, BFD and the route over both: "+what, func() bool {
			var all []api.Session
			return k.ask("/v1/sessions", &all) == nil && len(all) == 2 && all[0].State == "Established" && all[1].State == "Established" &&
				all[0].BFD == "Up" && all[1].BFD == "Up" && len(k.hops("203.0.113.3")) == 2
		})
	}
	up("they dial")
	if got := k.dialed(); got["a.public"] != "they" || got["b.public"] != "they" {
		t.Errorf("we are passive, and sessions were dialed by %v", got)
	}

	// Another host on the link is not let in: not at the address of the sessions, and elsewhere nobody listens.
	stranger := nstest.New(t, "stranger")
	k.tors[0].ns.IP("link add link hv name other type macvlan mode bridge")
	k.tors[0].ns.IP("link set other netns " + stranger.Name)
	stranger.IP("link set other up")
	stranger.IP("addr add 2001:db8:99::2/64 dev other nodad")
	k.hv.IP("addr add 2001:db8:99::1/64 dev a.public nodad")
	index := "%" + strings.TrimSpace(strings.SplitN(stranger.IP("-o link show other"), ":", 2)[0])
	theirs := linkLocal(t, stranger, "other").String() + index
	knock := func(from, to string) (octets int, err error) {
		stranger.Do(func() error {
			d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}
			var c net.Conn
			if c, err = d.Dial("tcp6", netip.AddrPortFrom(netip.MustParseAddr(to), 179).String()); err != nil {
				return nil
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			octets, err = c.Read(make([]byte, 64))
			return nil
		})
		return octets, err
	}
	if n, err := knock(theirs, linkLocal(t, k.hv, "a.public").String()+index); n != 0 || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an address that is no neighbour's: %d octets, %v", n, err)
	}
	if _, err := knock("2001:db8:99::2", "2001:db8:99::1"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("at an address that is not link-local: %v", err)
	}
	up("after the stranger")

	// The interface is made again, with another index and address.
	k.hv.IP("link del a.public")
	nstest.Wait(t, 10*time.Second, "the member gone", func() bool { return len(k.hops("203.0.113.3")) == 1 })
	nstest.Veth(k.hv, "a.public", "", k.tors[0].ns, "hv", "")
	up("they dial over the new interface")
	if got := k.dialed(); got["a.public"] != "they" {
		t.Errorf("we are passive, and the session over the new interface was dialed by %v", got)
	}

	// Both may dial from now on: nothing is reset. Then neither of the routers does.
	was := k.dialed()
	k.write("hv.yaml", both)
	if out, err := k.command("reload", "-api", k.path("api.sock")).CombinedOutput(); err != nil {
		t.Fatalf("reload: %v: %s", err, out)
	}
	up("we may dial")
	if got := k.dialed(); !maps.Equal(got, was) {
		t.Errorf("connect: passive became both, and the sessions %v are %v", was, got)
	}
	for _, r := range k.tors {
		r.kill()
		name, from, to := "bgpd.conf", " neighbor hv bfd", " neighbor hv passive\n neighbor hv bfd"
		if r.no == 2 {
			name, from, to = "bird.conf", "connect delay time 1;", "passive on;"
		}
		text, err := os.ReadFile(filepath.Join(r.dir, name))
		if err != nil || !strings.Contains(string(text), from) {
			t.Fatalf("%s has no %q: %v", name, from, err)
		}
		r.write(name, strings.Replace(string(text), from, to, 1))
	}
	nstest.Wait(t, 20*time.Second, "the sessions' end", func() bool { return len(k.dialed()) == 0 })
	for _, r := range k.tors {
		r.start()
	}
	up("we dial")
	if got := k.dialed(); got["a.public"] != "we" || got["b.public"] != "we" {
		t.Errorf("they are passive, and sessions were dialed by %v", got)
	}
}
