package dhcp

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
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

// A relay in front of dnsmasq: the server sees a request from the loopback, takes
// the subnet from the link selection and answers with the gateway as its name.
func TestRelayToDnsmasq(t *testing.T) {
	needs(t)
	hv, far := nstest.New(t, "hv"), nstest.New(t, "far")
	nstest.Veth(hv, "uplink", "192.0.2.1/24", far, "eth0", "192.0.2.2/24")
	hv.IP("addr add 172.22.2.1/32 dev lo")
	far.IP("route add 172.22.2.1/32 via 192.0.2.1")
	dnsmasq := far.Command("dnsmasq", "--no-daemon", "--user=root", "--port=0", "--conf-file=/dev/null", "--log-dhcp",
		"--dhcp-leasefile="+filepath.Join(t.TempDir(), "leases"), "--dhcp-range=203.0.113.0,static,255.255.255.0",
		"--dhcp-host="+mac.String()+",203.0.113.1", "--dhcp-option=3,203.0.113.254")
	if err := dnsmasq.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = dnsmasq.Process.Kill()
		_ = dnsmasq.Wait()
	}()
	guest, _, s := edge(t, Config{}, hv)
	if s.SetRelay(Relay{Servers: []netip.Addr{netip.MustParseAddr("192.0.2.2")}}) == nil {
		t.Error("a relay without an address of its own")
	}
	err := s.SetRelay(Relay{[]netip.Addr{netip.MustParseAddr("192.0.2.2")}, netip.MustParseAddr("172.22.2.1")})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, guest)
	if n := s.Stats(); n.Forwarded < 2 || n.Answers < 2 {
		t.Errorf("counted %+v", n)
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
