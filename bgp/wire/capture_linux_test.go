package wire_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

var update = flag.Bool("update", false, "rewrite testdata")

// peer is a BGP implementation and how to run it in the foreground.
type peer struct {
	name    string
	bin     string
	args    []string // CONF and DIR are replaced
	conf    string
	env     []string
	addr    string     // that it listens on
	dials   bool       // it only connects, and does not listen
	before  []string   // commands to run in the namespace before it starts; DIR is replaced
	prepare [][]string // commands to run in the namespace once it is up
	evpn    bool       // EVPN is offered, and nothing else
	rtc     bool       // the same for EVPN and route target constraint
}

var peers = []peer{
	{name: "bird2", bin: "bird", args: []string{"-f", "-c", "CONF", "-s", "DIR/ctl"}, conf: "bird2.conf"},
	{name: "bird16", bin: bird16 + "/bird", args: []string{"-f", "-c", "CONF", "-s", "DIR/ctl"}, conf: "bird16.conf"},
	{name: "bird16-ipv6", bin: bird16 + "/bird6", args: []string{"-f", "-c", "CONF", "-s", "DIR/ctl"}, conf: "bird16-ipv6.conf", addr: "2001:db8:9::2"},
	{name: "frr", bin: "/usr/lib/frr/bgpd", args: []string{"-n", "-Z", "-f", "CONF", "-i", "DIR/pid", "-z", "DIR/z", "--vty_socket", "DIR", "-S", "-u", "root", "-g", "root", "-l", "10.9.0.2"}, conf: "frr.conf"},
	{name: "gobgp", bin: "gobgpd", args: []string{"-f", "CONF", "--pprof-disable", "--api-hosts", "127.0.0.1:50051"}, conf: "gobgp.toml", prepare: [][]string{
		{"gobgp", "global", "rib", "add", "203.0.113.0/24", "community", "65000:90,65000:20", "med", "50"},
		{"gobgp", "global", "rib", "add", "198.51.100.0/25", "large-community", "65000:1:2", "rt", "65000:5", "aspath", "64512,4200000001"},
		{"gobgp", "global", "rib", "add", "10.2.3.4/32", "aggregator", "64999:10.0.0.9", "origin", "incomplete"},
		{"gobgp", "global", "rib", "add", "-a", "ipv6", "2001:db8:1::/48", "nexthop", "2001:db8:9::2", "community", "65000:90"},
		{"gobgp", "global", "rib", "add", "-a", "ipv6", "::/0", "nexthop", "2001:db8:9::2"},
	}},
	{name: "frr-evpn", bin: "/usr/lib/frr/bgpd", args: []string{"-n", "-f", "CONF", "-i", "DIR/pid", "-z", "DIR/z", "--vty_socket", "DIR", "-S", "-u", "root", "-g", "root", "-l", "10.9.0.2"}, conf: "frr-evpn.conf", evpn: true,
		before: []string{
			"ip link add br100 type bridge",
			"ip link add vxlan100 type vxlan id 100 dstport 4789 local 10.9.0.2 nolearning",
			"ip link set vxlan100 master br100 up", "ip link set br100 up",
			"ip link add guest1 type veth peer name guest1p", "ip link set guest1 master br100 up", "ip link set guest1p up",
			"chown frr:frr DIR", "chmod 755 DIR DIR/..", // zebra does not run as root
			"/usr/lib/frr/zebra -d -P 0 -f /dev/null -i DIR/zpid -z DIR/z --vty_socket DIR -u frr -g frr",
		}, prepare: [][]string{
			{"bridge", "fdb", "replace", "52:54:00:00:00:01", "dev", "guest1", "master", "dynamic"},
			{"bridge", "fdb", "replace", "52:54:00:00:00:02", "dev", "guest1", "master", "static", "sticky"},
			{"ip", "neigh", "replace", "192.0.2.1", "lladdr", "52:54:00:00:00:01", "dev", "br100", "nud", "reachable"},
			{"ip", "neigh", "replace", "2001:db8:2::1", "lladdr", "52:54:00:00:00:01", "dev", "br100", "nud", "reachable"},
		}},
	{name: "gobgp-evpn", bin: "gobgpd", args: []string{"-f", "CONF", "--pprof-disable", "--api-hosts", "127.0.0.1:50051"}, conf: "gobgp-evpn.toml", evpn: true, prepare: evpnAdd(
		"a-d esi single-homed etag 0 label 100 rd 10.9.0.2:2 rt 65000:100 encap vxlan",
		"a-d esi LACP aa:bb:cc:dd:ee:ff 100 etag 4294967295 label 0 rd 10.9.0.2:2 rt 65000:100 esi-label 100",
		"macadv 52:54:00:00:00:01 192.0.2.1 esi single-homed etag 0 label 100 rd 10.9.0.2:2 rt 65000:100 encap vxlan",
		"macadv 52:54:00:00:00:02 0.0.0.0 etag 0 label 100 rd 10.9.0.2:2 rt 65000:100 encap vxlan",
		"macadv 52:54:00:00:00:03 2001:db8::3 etag 0 label 100,200 rd 10.9.0.2:2 rt 65000:100 encap vxlan router-mac 52:54:00:aa:bb:cc",
		"macadv 52:54:00:00:00:04 192.0.2.4 esi LACP aa:bb:cc:dd:ee:ff 100 etag 7 label 100 rd 4200000001:2 rt 4200000001:100 default-gateway encap vxlan",
		"multicast 10.9.0.2 etag 0 rd 10.9.0.2:2 rt 65000:100 encap vxlan pmsi ingress-repl 100 10.9.0.2",
		"multicast 2001:db8:9::2 etag 0 rd 65000:9 rt 10.9.0.2:100 encap vxlan pmsi ingress-repl 100 2001:db8:9::2",
		"esi 10.9.0.2 esi LACP aa:bb:cc:dd:ee:ff 100 rd 10.9.0.2:2 rt 65000:100 encap vxlan",
		"prefix 203.0.113.0/24 gw 0.0.0.0 etag 0 label 300 rd 10.9.0.2:3 rt 65000:300 encap vxlan router-mac 52:54:00:aa:bb:cc",
		"prefix 203.0.114.0/24 gw 10.9.0.9 etag 0 label 300 rd 10.9.0.2:3 rt 65000:300 encap vxlan",
		"prefix 2001:db8:1::/48 gw 2001:db8::9 etag 0 label 300 rd 10.9.0.2:3 rt 65000:300 encap vxlan",
		"prefix 203.0.115.0/24 esi LACP aa:bb:cc:dd:ee:ff 100 etag 0 label 300 rd 10.9.0.2:3 rt 65000:300 encap vxlan")},
	{name: "gobgp-rtc", bin: "gobgpd", args: []string{"-f", "CONF", "--pprof-disable", "--api-hosts", "127.0.0.1:50051"}, conf: "gobgp-rtc.toml", rtc: true, prepare: [][]string{
		{"gobgp", "vrf", "add", "red", "rd", "65000:100", "rt", "both", "65000:100"},
		{"gobgp", "vrf", "add", "green", "rd", "4200000001:2", "rt", "import", "4200000001:100", "export", "65000:200"},
		{"gobgp", "vrf", "add", "blue", "rd", "10.9.0.2:3", "rt", "both", "10.9.0.2:300"},
		{"gobgp", "vrf", "del", "green"},
	}},
	{name: "openbgpd", bin: "/usr/sbin/bgpd", args: []string{"-d", "-f", "CONF"}, conf: "openbgpd.conf"},
	{name: "exabgp", bin: "exabgp", args: []string{"CONF"}, conf: "exabgp.conf", dials: true,
		env: []string{"exabgp.tcp.bind=", "exabgp.daemon.user=root", "exabgp.log.all=false", "exabgp.api.cli=false"}},
}

// evpnAdd returns the commands by which GoBGP originates EVPN routes, and withdraws the first of type 2.
func evpnAdd(routes ...string) (list [][]string) {
	for _, r := range routes {
		list = append(list, append(strings.Fields("gobgp global rib add -a evpn"), strings.Fields(r)...))
	}
	return append(list, append(strings.Fields("gobgp global rib del -a evpn"), strings.Fields(routes[2])...))
}

// bird16 is where BIRD 1.6 lies: Debian cannot have both BIRDs installed, .ci/peers
// unpacks it aside.
var bird16 = func() string {
	if dir := os.Getenv("HYPERFIB_BIRD1"); dir != "" {
		return dir
	}
	return "../../.cache/bird1/usr/sbin"
}()

// TestCapture talks to every BGP implementation there is, and parses all they say.
// With -update it keeps the messages as seeds of the fuzz targets.
func TestCapture(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real peers")
	}
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			capture(t, p)
		})
	}
}

func capture(t *testing.T, p peer) {
	bin := nstest.Need(t, p.bin)
	us, them := nstest.New(t, "us"), nstest.New(t, p.name)
	nstest.Veth(us, "e0", "10.9.0.1/24 2001:db8:9::1/64", them, "e0", "10.9.0.2/24 2001:db8:9::2/64")
	dir := t.TempDir()
	conf := filepath.Join(dir, p.conf)
	text, err := os.ReadFile("testdata/peers/" + p.conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, text, 0o600); err != nil { // OpenBGPD insists on 0600
		t.Fatal(err)
	}
	var ln net.Listener
	if p.dials {
		us.Do(func() (err error) { ln, err = net.Listen("tcp", "10.9.0.1:179"); return err })
		defer ln.Close()
	}
	for _, c := range p.before {
		words := strings.Fields(strings.ReplaceAll(c, "DIR", dir))
		nstest.Need(t, words[0])
		them.Exec(words[0], words[1:]...)
	}
	defer stop(t, filepath.Join(dir, "zpid"))
	args := []string{"netns", "exec", them.Name, bin}
	for _, a := range p.args {
		args = append(args, strings.NewReplacer("CONF", conf, "DIR", dir).Replace(a))
	}
	var log bytes.Buffer
	cmd := exec.Command("ip", args...) // ip netns exec becomes the program
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = append(os.Environ(), p.env...)
	if p.name == "openbgpd" { // its home, which Debian leaves to systemd to make
		if err := os.MkdirAll("/run/openbgpd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	defer func() { _ = cmd.Process.Kill(); <-done }()
	// FRR answers before it has read all of its configuration, and may hang up then.
	var s *script
	for end := time.Now().Add(time.Minute); s == nil || !s.said() && time.Now().Before(end); {
		conn := dial(t, us, p, ln)
		if conn == nil {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			t.Fatalf("no connection to %s\n%s", p.name, log.String())
		}
		defer conn.Close()
		s = &script{t: t, conn: conn, name: p.name}
		s.run(us, them, p, cmd.Process)
	}
	if !s.said() {
		t.Errorf("%d OPEN, %d UPDATE\n%s", len(s.opens), s.updates, log.String())
	}
	if *update {
		s.save(t)
	}
}

// stop ends the process whose number is in a file, if there is one.
func stop(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGTERM)
	}
	if err != nil {
		t.Errorf("%s: %v", file, err)
	}
}

// dial connects to the peer, or waits until it does.
func dial(t *testing.T, us *nstest.NS, p peer, ln net.Listener) (conn net.Conn) {
	if ln != nil {
		_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute))
		conn, _ = ln.Accept()
		return conn
	}
	addr := p.addr
	if addr == "" {
		addr = "10.9.0.2"
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		us.Do(func() error {
			d := net.Dialer{Timeout: time.Second}
			conn, _ = d.DialContext(context.Background(), "tcp", net.JoinHostPort(addr, "179"))
			return nil
		})
		if conn != nil {
			// Some accept before they are configured and hang up again.
			_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			var b [1]byte
			if _, err := conn.Read(b[:]); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				if err == nil {
					return &pushback{Conn: conn, b: b[:]}
				}
				return conn
			}
			conn.Close()
			conn = nil
		}
	}
	return nil
}

// pushback is a connection of which one octet was read already.
type pushback struct {
	net.Conn
	b []byte
}

func (p *pushback) Read(b []byte) (int, error) {
	if len(p.b) > 0 {
		n := copy(b, p.b)
		p.b = p.b[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// script is our side of the conversation.
type script struct {
	t       *testing.T
	name    string
	conn    net.Conn
	opt     wire.Options
	opens   []wire.Open
	updates int
	out     strings.Builder
	seen    map[string]bool
}

// said reports whether the peer has said what every peer does.
func (s *script) said() bool { return len(s.opens) == 1 && s.updates >= 2 }

func (s *script) run(us, them *nstest.NS, p peer, proc *os.Process) {
	o := wire.Open{AS: 65000, HoldTime: 90 * time.Second, ID: netip.MustParseAddr("10.9.0.1"), Capabilities: wire.Capabilities{
		Families: []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}, RouteRefresh: true, EnhancedRefresh: true, AS4: true, ExtendedMessage: true,
		AddPath:         []wire.AddPath{{Family: wire.IPv4Unicast, Receive: true, Send: true}, {Family: wire.IPv6Unicast, Receive: true, Send: true}},
		ExtendedNextHop: []wire.ExtendedNextHop{{Family: wire.IPv4Unicast, NextHopAFI: 2}},
		GracefulRestart: &wire.GracefulRestart{Notification: true, Time: 120 * time.Second, Families: []wire.RestartFamily{{Family: wire.IPv4Unicast}, {Family: wire.IPv6Unicast}}},
		LongLived:       []wire.LongLived{{Family: wire.IPv4Unicast, StaleTime: time.Hour}},
	}}
	if p.evpn {
		o.Capabilities.Families = []wire.Family{wire.L2VPNEVPN}
	}
	if p.rtc {
		o.Capabilities.Families = []wire.Family{wire.L2VPNEVPN, wire.RTConstrain}
	}
	if p.addr != "" {
		o.Capabilities.Families = o.Capabilities.Families[1:]
	}
	s.write(o.Append(nil))
	s.read(nstest.Patience, func() bool { return len(s.opens) > 0 })
	if len(s.opens) == 0 {
		return
	}
	s.negotiate(o, s.opens[0])
	s.write(wire.AppendKeepalive(nil))
	for _, c := range p.prepare {
		nstest.Wait(s.t, 5*time.Second, strings.Join(c, " "), func() bool { return them.Command(c[0], c[1:]...).Run() == nil })
	}
	s.read(nstest.Patience, s.said)
	if !s.said() {
		return
	}
	s.read(1500*time.Millisecond, nil)
	for _, f := range o.Capabilities.Families {
		s.write(wire.RouteRefresh{Family: f}.Append(nil))
	}
	s.read(time.Second, nil)
	_ = proc.Signal(syscall.SIGTERM)
	s.read(2*time.Second, nil)
}

// negotiate derives what the peer's messages look like.
func (s *script) negotiate(us, them wire.Open) {
	s.opt = wire.Options{AS4: them.Capabilities.AS4, IBGP: true, ExtendedNextHop: len(them.Capabilities.ExtendedNextHop) > 0}
	for _, a := range them.Capabilities.AddPath {
		if a.Send {
			s.opt.AddPath = s.opt.AddPath.With(a.Family)
		}
	}
}

func (s *script) write(b []byte) {
	if _, err := s.conn.Write(b); err != nil {
		s.t.Logf("write: %v", err)
	}
}

// read reads messages until enough says so, or for limit.
func (s *script) read(limit time.Duration, enough func() bool) {
	_ = s.conn.SetReadDeadline(time.Now().Add(limit))
	for enough == nil || !enough() {
		b := make([]byte, wire.HeaderLen, wire.MaxExtendedLen)
		if _, err := io.ReadFull(s.conn, b); err != nil {
			return
		}
		h, err := wire.ParseHeader(b, wire.MaxExtendedLen)
		if err != nil {
			s.t.Error(err)
			return
		}
		b = b[:h.Len]
		if _, err := io.ReadFull(s.conn, b[wire.HeaderLen:]); err != nil {
			return
		}
		s.message(h, b)
	}
}

// message parses one message and writes it down.
func (s *script) message(h wire.Header, b []byte) {
	var text string
	var err error
	switch body := b[wire.HeaderLen:]; h.Type {
	case wire.TypeOpen:
		var o wire.Open
		o, err = wire.ParseOpen(body)
		s.opens = append(s.opens, o)
		text = fmt.Sprintf("AS %d hold %v id %v", o.AS, o.HoldTime, o.ID)
	case wire.TypeUpdate:
		var u wire.Update
		err = u.Parse(body, s.opt)
		s.updates++
		text = describe(&u)
		if u.MPNextHop.Addr == netip.IPv6Loopback() {
			err = nil // OpenBGPD without an IPv6 address sends it: the routes are withdrawn
		}
	case wire.TypeNotification:
		var n wire.Notification
		n, err = wire.ParseNotification(body)
		text = n.String()
	case wire.TypeRouteRefresh:
		var r wire.RouteRefresh
		r, err = wire.ParseRouteRefresh(body)
		text = fmt.Sprintf("%v subtype %d", r.Family, r.Subtype)
	}
	if err != nil {
		s.t.Errorf("%v % x: %v", h.Type, b, err)
	}
	if line := hex.EncodeToString(b); !s.seen[line] {
		if s.seen == nil {
			s.seen = map[string]bool{}
		}
		s.seen[line] = true
		fmt.Fprintf(&s.out, "# %v %s\n%s\n", h.Type, text, line)
	}
}

// describe returns the routes of u in words.
func describe(u *wire.Update) string {
	var b strings.Builder
	if f, ok := u.EndOfRIB(); ok {
		return fmt.Sprintf("End-of-RIB %v", f)
	}
	for _, f := range []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast} {
		for n := range u.Reach(f) {
			fmt.Fprintf(&b, "+%v ", n)
		}
		for n := range u.Unreach(f) {
			fmt.Fprintf(&b, "-%v ", n)
		}
	}
	for n := range u.MPReach.EVPN() {
		fmt.Fprintf(&b, "+evpn type %d ", n.Octets[0])
	}
	for n := range u.MPUnreach.EVPN() {
		fmt.Fprintf(&b, "-evpn type %d ", n.Octets[0])
	}
	for n := range u.MPReach.Memberships() {
		fmt.Fprintf(&b, "+rt-constrain %v ", n)
	}
	for n := range u.MPUnreach.Memberships() {
		fmt.Fprintf(&b, "-rt-constrain %v ", n)
	}
	for a := range u.Attrs() {
		fmt.Fprintf(&b, "%v ", a.Type)
	}
	return strings.TrimSpace(b.String())
}

func (s *script) save(t *testing.T) {
	head := fmt.Sprintf("# What %s sends, recorded by TestCapture with testdata/peers.\n# options as4=%v addpath=%d extnh=%v\n", s.name, s.opt.AS4, s.opt.AddPath, s.opt.ExtendedNextHop)
	if err := os.MkdirAll("testdata/captures", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("testdata/captures/"+s.name+".txt", []byte(head+s.out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
