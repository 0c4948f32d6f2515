package dhcp

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"
)

// edge is a hypervisor with two guest interfaces and a server running on it.
func edge(t *testing.T, config Config, hv *nstest.NS) (guest, other *nstest.NS, s *Server) {
	t.Helper()
	guest, other = nstest.New(t, "guest"), nstest.New(t, "other")
	nstest.Veth(hv, "vm1", "203.0.113.254/32", guest, "eth0", "")
	nstest.Veth(hv, "vm2", "203.0.113.254/32", other, "eth0", "")
	guest.IP("link set eth0 address " + mac.String())
	other.IP("link set eth0 address 50:54:33:00:00:09")
	hv.IP("route add 203.0.113.1/32 dev vm1")
	config.NetNS = hv.Path
	s, err := Listen(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	hv.Do(func() error {
		link, err := net.InterfaceByName("vm1")
		if err == nil {
			s.Set(link.Index, "vm1", lease)
		}
		return err
	})
	return guest, other, s
}

func needs(t *testing.T) {
	if testing.Short() {
		t.Skip("namespaces are not part of the short suite")
	}
}

func TestGuestIsBound(t *testing.T) {
	needs(t)
	hv := nstest.New(t, "hv")
	guest, other, s := edge(t, Config{}, hv)
	ask(t, guest)
	guest.Exec("ping", "-c1", "-W30", "203.0.113.254")
	guest.IP("addr flush dev eth0")
	askUdhcpc(t, guest)
	guest.Exec("ping", "-c1", "-W30", "203.0.113.254")
	answers := s.Stats().Answers
	for _, bad := range []struct {
		what    string
		from    *nstest.NS
		payload []byte
	}{
		{"an interface that nobody Set", other, request(t, dhcpv4.MessageTypeDiscover).ToBytes()},
		{"what is not DHCP", guest, []byte("not DHCP")},
	} {
		before := s.Stats()
		nstest.Wait(t, 30*time.Second, bad.what+" to be refused", func() bool {
			broadcastFrom(t, bad.from, bad.payload) // UDP may be lost
			time.Sleep(5 * time.Millisecond)
			return s.Stats().Refused > before.Refused
		})
	}
	if got := s.Stats(); got.Answers != answers {
		t.Errorf("%d answers to them", got.Answers-answers)
	}
}

// ask runs a client until it is bound and checks the address.
func ask(t *testing.T, guest *nstest.NS) {
	t.Helper()
	done := make(chan error, 1)
	cmd := guest.Command("dhclient", "-1", "-d", "-sf", script(t), "-lf", filepath.Join(t.TempDir(), "leases"), "--no-pid", "-cf", "/dev/null", "eth0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { done <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Kill()
		<-done
	}()
	nstest.Wait(t, 60*time.Second, "dhclient to be bound", func() bool {
		return guest.IP("-4 -o addr show dev eth0") != ""
	})
	if got := guest.IP("-4 -br addr show dev eth0"); !strings.Contains(got, "203.0.113.1/24") {
		t.Errorf("the guest has %s", got)
	}
}

// relayed is a relay whose server is reached over two fabrics.
type relayed struct {
	*Server
	t               *testing.T
	hv, far, stray  *nstest.NS
	guest           *nstest.NS
	events          chan Event
	log             *os.File // of dnsmasq
	server, gateway netip.Addr
}

func newRelayed(t *testing.T) *relayed {
	t.Helper()
	needs(t)
	r := &relayed{t: t, hv: nstest.New(t, "hv"), far: nstest.New(t, "far"), stray: nstest.New(t, "stray"), events: make(chan Event, 100),
		server: netip.MustParseAddr("198.51.100.9"), gateway: netip.MustParseAddr("203.0.113.254")}
	nstest.Veth(r.hv, "a.private", "192.0.2.1/25", r.far, "eth0", "192.0.2.2/25")
	nstest.Veth(r.hv, "b.private", "192.0.2.129/25", r.far, "eth1", "192.0.2.130/25")
	nstest.Veth(r.hv, "public", "198.18.0.1/24", r.stray, "eth0", "198.18.0.2/24")
	var err error
	if r.log, err = os.Create(filepath.Join(t.TempDir(), "dnsmasq.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.log.Close() })
	r.hv.IP("addr add 172.22.2.1/32 dev lo")
	r.far.IP("addr add 198.51.100.9/32 dev lo")
	r.far.IP("route add 172.22.2.1/32 via 192.0.2.1 src 198.51.100.9")
	r.hv.Sysctl("net/ipv4/conf/all/rp_filter", "0")
	for _, i := range []string{"a.private", "b.private", "public"} {
		r.hv.Sysctl("net/ipv4/conf/"+i+"/rp_filter", "0")
	}
	r.guest, _, r.Server = edge(t, Config{Report: func(e Event) { r.events <- e }}, r.hv)
	if r.SetRelay(Relay{Servers: []netip.Addr{r.server}}) == nil {
		t.Error("a relay without an address of its own")
	}
	if err := r.SetRelay(Relay{[]netip.Addr{r.server}, netip.MustParseAddr("172.22.2.1")}); err != nil {
		t.Fatal(err)
	}
	return r
}

// dnsmasq serves the guests' subnet, to whom it knows or to anybody.
func (r *relayed) dnsmasq(anybody bool) {
	r.t.Helper()
	args := []string{"--no-daemon", "--user=root", "--port=0", "--conf-file=/dev/null", "--log-dhcp", "--no-ping",
		"--dhcp-leasefile=" + r.t.TempDir() + "/leases", "--dhcp-option=3,203.0.113.254"}
	if anybody {
		args = append(args, "--dhcp-range=203.0.113.10,203.0.113.19,255.255.255.0")
	} else {
		args = append(args, "--dhcp-range=203.0.113.0,static,255.255.255.0", "--dhcp-host="+mac.String()+",203.0.113.1")
	}
	cmd := r.far.Command("dnsmasq", args...)
	cmd.Stderr = r.log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// TestRelayToDnsmasq: the server sees a request from the loopback, takes the subnet from
// the link selection and answers with the gateway as its name. It is reached by next-hop
// objects over two fabrics, whatever the kernel tells of them, and answers by the one.
func TestRelayToDnsmasq(t *testing.T) {
	for _, compat := range []string{"0", "1"} {
		r := newRelayed(t)
		r.hv.Sysctl("net/ipv4/nexthop_compat_mode", compat)
		r.hv.IP("nexthop add id 1 via 192.0.2.2 dev a.private")
		r.hv.IP("nexthop add id 2 via 192.0.2.130 dev b.private")
		r.hv.IP("nexthop add id 3 group 1/2")
		r.hv.IP("route add 198.51.100.9/32 nhid 3")
		r.dnsmasq(false)
		ask(t, r.guest)
		if n := r.Stats(); n.Forwarded < 2 || n.Answers < 2 || n.Unasked+n.Strangers+n.Astray > 0 {
			t.Errorf("compat mode %s: counted %+v", compat, n)
		}
	}
}

// TestForgedAnswers: who pretends to be the server is not believed: over an interface that
// does not lead there, from another port, with a number that nobody uses (E9).
func TestForgedAnswers(t *testing.T) {
	r := newRelayed(t)
	r.hv.IP("route add 198.51.100.9/32 nexthop via 192.0.2.2 nexthop via 192.0.2.130")
	discover := request(t, dhcpv4.MessageTypeDiscover)
	nstest.Wait(t, 30*time.Second, "a request to be forwarded", func() bool {
		broadcastFrom(t, r.guest, discover.ToBytes())
		time.Sleep(5 * time.Millisecond)
		return r.Stats().Forwarded > 0
	})
	offer := lease.grant(discover, dhcpv4.MessageTypeOffer)
	offer.GatewayIPAddr = net.IPv4(172, 22, 2, 1)
	offer.UpdateOption(dhcpv4.OptRelayAgentInfo(dhcpv4.OptGeneric(dhcpv4.AgentCircuitIDSubOption, []byte("vm1"))))
	other := *offer
	other.TransactionID = dhcpv4.TransactionID{9, 9, 9, 9}
	r.stray.IP("addr add 198.51.100.9/32 dev lo")
	r.stray.IP("route add 172.22.2.1/32 via 198.18.0.1")
	forge := func(what string, from *nstest.NS, address string, p *dhcpv4.DHCPv4) {
		t.Helper()
		before := r.Stats()
		nstest.Wait(t, 30*time.Second, what+" to be dropped", func() bool {
			sendFrom(t, from, address, p.ToBytes())
			time.Sleep(5 * time.Millisecond)
			after := r.Stats()
			return after.Unasked+after.Strangers+after.Astray > before.Unasked+before.Strangers+before.Astray
		})
		if after := r.Stats(); after.Answers != before.Answers {
			t.Errorf("%s: %d answers to the guest", what, after.Answers-before.Answers)
		}
	}
	happened := func(kind EventKind, from string) {
		t.Helper()
		if e := <-r.events; e.Kind != kind || e.Address != netip.MustParseAddr(from) || e.Count != 1 {
			t.Errorf("event %+v", e)
		}
	}
	forge("the right answer from the public network", r.stray, "198.51.100.9:67", offer)
	happened(Astray, "198.51.100.9")
	forge("one from another port", r.far, "198.51.100.9:6767", offer)
	forge("one that nobody asked for", r.far, "198.51.100.9:67", &other)
	happened(Unasked, "198.51.100.9")
	forge("one from another address", r.far, "192.0.2.2:67", offer)
	happened(Stranger, "192.0.2.2")
	// A guest that is a server, too, or believes to be one.
	r.guest.IP("addr add 198.51.100.9/32 dev lo")
	r.guest.IP("route replace 172.22.2.1/32 dev eth0")
	before := r.Stats()
	nstest.Wait(t, 30*time.Second, "a guest's answer to itself to be refused", func() bool {
		sendFrom(t, r.guest, "198.51.100.9:67", offer.ToBytes())
		time.Sleep(5 * time.Millisecond)
		return r.Stats().Refused > before.Refused
	})
	if after := r.Stats(); after.Answers != before.Answers {
		t.Errorf("%d answers to the guest that it gave itself", after.Answers-before.Answers)
	}
	// The right answer over the right interface, whichever of the two.
	for _, via := range []string{"192.0.2.1", "192.0.2.129"} {
		r.far.IP("route replace 172.22.2.1/32 via " + via)
		before := r.Stats().Answers
		nstest.Wait(t, 30*time.Second, "the answer via "+via, func() bool {
			sendFrom(t, r.far, "198.51.100.9:67", offer.ToBytes())
			time.Sleep(5 * time.Millisecond)
			return r.Stats().Answers > before
		})
	}
	// A fabric that fails takes its way along.
	r.hv.IP("route replace 198.51.100.9/32 via 192.0.2.2")
	time.Sleep(routeTime + 100*time.Millisecond)
	forge("the answer over a fabric that does not lead there any more", r.far, "198.51.100.9:67", offer)
}

// TestPool: a guest that makes up MAC addresses and client identifiers takes one address
// of a server that gives one to anybody, and another guest's is left.
func TestPool(t *testing.T) {
	r := newRelayed(t)
	r.hv.IP("route add 198.51.100.9/32 via 192.0.2.2")
	r.dnsmasq(true)
	for i := range 40 { // the pool has ten
		p := request(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithOption(dhcpv4.OptClientIdentifier([]byte{1, byte(i)})))
		if i%4 == 3 {
			p.ClientHWAddr = net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}
		}
		before := r.Stats()
		nstest.Wait(t, 30*time.Second, "the request to be relayed or refused", func() bool {
			broadcastFrom(t, r.guest, p.ToBytes())
			time.Sleep(20 * time.Millisecond)
			after := r.Stats()
			return after.Forwarded > before.Forwarded || after.Refused > before.Refused
		})
	}
	offered := map[string]int{}
	nstest.Wait(t, 30*time.Second, "offers", func() bool {
		log, _ := os.ReadFile(r.log.Name())
		for _, o := range regexp.MustCompile(`DHCPOFFER\(\w+\) ([0-9.]+)`).FindAllSubmatch(log, -1) {
			offered[string(o[1])]++
		}
		return len(offered) > 0
	})
	if len(offered) != 1 {
		t.Errorf("the guest was offered %v", offered)
	}
}

// TestFlood: a guest that says as much as it can keeps no other from its lease.
func TestFlood(t *testing.T) {
	needs(t)
	hv := nstest.New(t, "hv")
	guest, other, s := edge(t, Config{}, hv)
	hv.Do(func() error {
		link, err := net.InterfaceByName("vm2")
		if err == nil {
			second := lease
			second.MAC, second.Address = net.HardwareAddr{0x50, 0x54, 0x33, 0, 0, 9}, netip.MustParseAddr("203.0.113.2")
			s.Set(link.Index, "vm2", second)
		}
		return err
	})
	other.IP("route replace default dev eth0")
	payload := request(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithHwAddr(net.HardwareAddr{0x50, 0x54, 0x33, 0, 0, 9})).ToBytes()
	stop, stopped := make(chan struct{}), make(chan int)
	other.Do(func() error {
		c, err := net.ListenPacket("udp4", "0.0.0.0:68")
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			for sent := 0; ; sent++ {
				select {
				case <-stop:
					stopped <- sent
					return
				default:
					_, _ = c.WriteTo(payload, &net.UDPAddr{IP: net.IPv4bcast, Port: serverPort})
				}
			}
		}()
		return nil
	})
	nstest.Wait(t, 30*time.Second, "the flood to be refused", func() bool { return s.Stats().Refused > 50 })
	asked, before := 0, s.Stats().Answers
	for range 8 {
		asked++
		broadcastFrom(t, guest, request(t, dhcpv4.MessageTypeDiscover).ToBytes())
		time.Sleep(200 * time.Millisecond)
	}
	close(stop)
	sent := <-stopped
	n := s.Stats()
	t.Logf("%d messages of flood, of which %d were heard", sent, n.Refused)
	// The flooder has its five a second, too.
	if got := n.Answers - before; got < uint64(asked) {
		t.Errorf("%d answers to %d questions beside the flood", got, asked)
	}
}

// askUdhcpc is the same with another client.
func askUdhcpc(t *testing.T, guest *nstest.NS) {
	t.Helper()
	nstest.Need(t, "udhcpc")
	path := filepath.Join(t.TempDir(), "script")
	const body = "#!/bin/sh\n[ $1 != bound ] || ip addr replace $ip/$subnet dev $interface\n"
	if err := os.WriteFile(path, []byte(body), 0o755); err != nil {
		t.Fatal(err)
	}
	guest.Exec("udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "10", "-s", path)
	if got := guest.IP("-4 -br addr show dev eth0"); !strings.Contains(got, "203.0.113.1/") {
		t.Errorf("the guest has %s", got)
	}
}

func script(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	const body = "#!/bin/sh\ncase $reason in BOUND|REBOOT)\n" +
		"ip addr replace $new_ip_address/$new_subnet_mask dev $interface ;;\nesac\n"
	if err := os.WriteFile(path, []byte(body), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// sendFrom sends what a server would.
func sendFrom(t *testing.T, ns *nstest.NS, from string, payload []byte) {
	t.Helper()
	ns.Do(func() error {
		c, err := net.ListenPacket("udp4", from)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.WriteTo(payload, &net.UDPAddr{IP: net.IPv4(172, 22, 2, 1), Port: serverPort})
		return err
	})
}

func broadcastFrom(t *testing.T, ns *nstest.NS, payload []byte) {
	t.Helper()
	ns.IP("route replace default dev eth0")
	ns.Do(func() error {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
			_ = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1) })
			return err
		}}
		c, err := lc.ListenPacket(context.Background(), "udp4", "0.0.0.0:68")
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.WriteTo(payload, &net.UDPAddr{IP: net.IPv4bcast, Port: serverPort})
		return err
	})
}
