package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const (
	guest   = "192.0.2.1"   // ours
	guest6  = "2001:db8::1" // ours
	service = "203.0.113.1" // behind both routers
)

// rack is a host with two top-of-rack routers. All links have link-local addresses only: fe80::2 at
// the host, fe80::1 at each router.
type rack struct {
	testing.TB
	host *nstest.NS
	tors [2]*nstest.NS
	dirs [2]string
}

func newRack(t testing.TB) *rack {
	if testing.Short() {
		t.Skip("namespaces take time; not with -short")
	}
	r := &rack{TB: t, host: nstest.New(t, "host")}
	r.host.IP("link set lo up")
	r.host.IP("addr add " + guest + "/32 dev lo")
	r.host.IP("addr add " + guest6 + "/128 dev lo")
	r.host.Sysctl("net/ipv4/fib_multipath_hash_policy", "1")
	for i := range r.tors {
		tor := nstest.New(t, fmt.Sprintf("tor%d", i+1))
		tor.IP("link set lo up")
		tor.IP("addr add " + service + "/32 dev lo")
		for _, ns := range []*nstest.NS{r.host, tor} {
			for _, s := range []string{"ipv4/conf/all/rp_filter=0", "ipv4/conf/default/rp_filter=0", "ipv6/conf/default/accept_dad=0", "ipv6/conf/default/addr_gen_mode=1",
				"ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1"} {
				name, value, _ := strings.Cut(s, "=")
				ns.Sysctl("net/"+name, value)
			}
		}
		nstest.Veth(r.host, fmt.Sprintf("up%d", i+1), "fe80::2/64", tor, "host0", "fe80::1/64")
		r.tors[i], r.dirs[i] = tor, t.TempDir()
		for d := r.dirs[i]; d != "/tmp" && d != "/"; d = filepath.Dir(d) { // FRR drops privileges
			_ = os.Chmod(d, 0o777)
		}
	}
	return r
}

// start runs a program of a router's until the test ends.
func (r *rack) start(i int, program string, args ...string) {
	r.Helper()
	log := filepath.Join(r.dirs[i], filepath.Base(program)+".log")
	out, err := os.Create(log)
	if err != nil {
		r.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.dirs[i], out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r.tors[i].Do(cmd.Start)
	r.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if r.Failed() {
			b, _ := os.ReadFile(log)
			r.Logf("%s:\n%s", log, b)
		}
	})
}

func (r *rack) file(i int, name, text string) string {
	path := filepath.Join(r.dirs[i], name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.Fatal(err)
	}
	return path
}

// kind is an implementation as top-of-rack router. The router of AS 65101 has twice the bandwidth of
// that of AS 65102, if it can say so.
type kind struct {
	name  string
	start func(r *rack, i int)
	// table asks a router for our routes; it has what is in want.
	table func(r *rack, i int, prefix string) string
	want  [2]string // IPv4 and IPv6
	fib   bool      // it has a kernel's table
	bfd   bool
	// weights are those of our routes to up1 and up2.
	weights [2]int
}

var kinds = []kind{
	{name: "BIRD", fib: true, bfd: true, weights: [2]int{1, 1},
		start: func(r *rack, i int) {
			conf := fmt.Sprintf(`log stderr all;
router id 10.0.0.%[1]d;
protocol device { scan time 10; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; }
protocol static { ipv4; route %[2]s/32 via "lo"; }
protocol static { ipv6; route 2001:db8:99::/48 blackhole; }
protocol bfd { interface "host0" { interval 100 ms; multiplier 3; }; }
protocol bgp host {
  local fe80::1 as 6510%[1]d; neighbor fe80::2%%'host0' as 65000; direct; bfd on; graceful restart on;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  ipv4 { import all; export where source = RTS_STATIC; next hop self; extended next hop on; };
  ipv6 { import all; export where source = RTS_STATIC; next hop self; };
}
`, i+1, service)
			r.start(i, nstest.Need(r, "bird", "/usr/sbin"), "-f", "-c", r.file(i, "bird.conf", conf), "-s", filepath.Join(r.dirs[i], "ctl"), "-P", filepath.Join(r.dirs[i], "pid"))
		},
		table: func(r *rack, i int, prefix string) string {
			out, _ := exec.Command("birdc", "-s", filepath.Join(r.dirs[i], "ctl"), "show route all "+prefix).CombinedOutput()
			return string(out)
		},
		want: [2]string{"via fe80::2 on host0", "via fe80::2 on host0"},
	},
	{name: "FRR", fib: true, bfd: true, weights: [2]int{2, 1},
		start: func(r *rack, i int) {
			conf := fmt.Sprintf(`router bgp 6510%[1]d
 bgp router-id 10.0.0.%[1]d
 bgp graceful-restart
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 neighbor fe80::2 remote-as 65000
 neighbor fe80::2 interface host0
 neighbor fe80::2 capability extended-nexthop
 neighbor fe80::2 timers connect 1
 neighbor fe80::2 advertisement-interval 0
 neighbor fe80::2 bfd 3 100 100
 address-family ipv4 unicast
  network %[2]s/32
  neighbor fe80::2 activate
  neighbor fe80::2 route-map OUT out
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:99::/48
  neighbor fe80::2 activate
  neighbor fe80::2 route-map OUT out
 exit-address-family
!
route-map OUT permit 10
 set extcommunity bandwidth %[3]d
`, i+1, service, 20000/(i+1))
			zebra := nstest.Need(r, "zebra", "/usr/lib/frr")
			lib, dir := filepath.Dir(zebra), r.dirs[i]
			sock := filepath.Join(dir, "zserv.api")
			common := func(daemon, conf string) []string {
				return []string{"-f", r.file(i, daemon+".conf", conf), "-z", sock, "--vty_socket", dir, "-i", filepath.Join(dir, daemon+".pid"), "-P", "0", "--log", "stdout"}
			}
			r.start(i, zebra, common("zebra", "")...)
			nstest.Wait(r, 10*time.Second, "zebra's socket", func() bool { _, err := os.Stat(sock); return err == nil })
			r.start(i, filepath.Join(lib, "bfdd"), append(common("bfdd", ""), "--bfdctl", filepath.Join(dir, "bfdd.sock"))...)
			r.start(i, filepath.Join(lib, "bgpd"), common("bgpd", conf)...)
		},
		table: func(r *rack, i int, prefix string) string {
			family := "ipv4"
			if strings.Contains(prefix, ":") {
				family = "ipv6"
			}
			out, _ := exec.Command("vtysh", "--vty_socket", r.dirs[i], "-d", "bgpd", "-c", "show bgp "+family+" unicast "+prefix).CombinedOutput()
			return string(out)
		},
		want: [2]string{"fe80::2", "fe80::2"},
	},
	{name: "GoBGP", weights: [2]int{1, 1},
		start: func(r *rack, i int) {
			conf := fmt.Sprintf(`[global.config]
 as = 6510%[1]d
 router-id = "10.0.0.%[1]d"
[[neighbors]]
 [neighbors.config]
  peer-as = 65000
  neighbor-address = "fe80::2%%host0"
 [neighbors.timers.config]
  connect-retry = 1
 [[neighbors.afi-safis]]
  [neighbors.afi-safis.config]
   afi-safi-name = "ipv4-unicast"
 [[neighbors.afi-safis]]
  [neighbors.afi-safis.config]
   afi-safi-name = "ipv6-unicast"
`, i+1)
			r.start(i, nstest.Need(r, "gobgpd", "/usr/bin"), "-f", r.file(i, "gobgp.toml", conf), "-p")
			gobgp := func(args ...string) string {
				out, _ := r.tors[i].Command("gobgp", args...).CombinedOutput()
				return string(out)
			}
			nstest.Wait(r, 20*time.Second, "the API", func() bool { return strings.Contains(gobgp("neighbor"), "fe80::2") })
			gobgp("global", "rib", "add", service+"/32")
			gobgp("global", "rib", "add", "2001:db8:99::/48", "-a", "ipv6")
		},
		table: func(r *rack, i int, prefix string) string {
			family := "ipv4"
			if strings.Contains(prefix, ":") {
				family = "ipv6"
			}
			out, _ := r.tors[i].Command("gobgp", "global", "rib", "-a", family, prefix).CombinedOutput()
			return string(out)
		},
		want: [2]string{"fe80::2", "fe80::2"},
	},
}

// hop is a next hop in `ip -j route`.
type hop struct {
	Via     struct{ Host string } // RTA_VIA
	Gateway string
	Dev     string
	Weight  int
}

// route returns what a kernel has for a prefix, such as "fe80::1@up1*2 fe80::1@up2".
func route(ns *nstest.NS, prefix string) string {
	var list []struct {
		hop
		Nexthops []hop
	}
	args := []string{"-j", "route", "show", prefix}
	if strings.Contains(prefix, ":") {
		args = append([]string{"-6"}, args...)
	}
	out, _ := ns.Command("ip", args...).Output()
	if json.Unmarshal(out, &list) != nil || len(list) == 0 {
		return ""
	}
	var hops []string
	for _, h := range append(list[0].Nexthops, list[0].hop) {
		text := h.Gateway + h.Via.Host + "@" + h.Dev
		if h.Weight > 1 {
			text += "*" + strconv.Itoa(h.Weight)
		}
		if h.Dev != "" {
			hops = append(hops, text)
		}
	}
	slices.Sort(hops)
	return strings.Join(hops, " ")
}

func (r *rack) wait(what string, ns *nstest.NS, prefix, want string) {
	r.Helper()
	got := ""
	end := time.Now().Add(2 * nstest.Patience)
	for time.Now().Before(end) {
		if got = route(ns, prefix); got == want {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.Fatalf("%s: %s by %q, want %q", what, prefix, got, want)
}

// agent runs the program until stop; it is sent to synced when the routers have said everything.
func (r *rack) agent(interval time.Duration) (stop func(), synced chan *router) {
	synced = make(chan *router, 1)
	o := options{netNS: r.host.Path, as: 65000, routerID: netip.MustParseAddr(guest), bfd: interval, synced: func(x *router) { synced <- x },
		announce: []netip.Prefix{netip.MustParsePrefix(guest + "/32"), netip.MustParsePrefix(guest6 + "/128")},
		routers:  []netip.Addr{netip.MustParseAddr("fe80::1%up1"), netip.MustParseAddr("fe80::1%up2")}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, o) }()
	ended := false
	stop = func() {
		if cancel(); !ended {
			if err := <-done; err != nil {
				r.Error(err)
			}
		}
		ended = true
	}
	r.Cleanup(stop)
	return stop, synced
}

func weighted(w [2]int) string {
	s := ""
	for i, w := range w {
		if s += fmt.Sprintf(" fe80::1@up%d", i+1); w > 1 {
			s += fmt.Sprintf("*%d", w)
		}
	}
	return strings.TrimSpace(s)
}

// cut drops what a router sends and receives, without a word to anybody.
func (r *rack) cut(i int) {
	cmd := r.tors[i].Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader("table inet cut {\nchain in { type filter hook input priority -300; policy drop; }\nchain out { type filter hook output priority -300; policy drop; }\n}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		r.Fatalf("nft: %v: %s", err, out)
	}
}

// pings sends n requests from our address to the one behind the routers, of different flows, and
// returns how many were answered.
func (r *rack) pings(n int) (answered int) {
	for i := range n {
		out, _ := r.host.Command("ping", "-c", "1", "-W", "1", "-e", strconv.Itoa(1+i), "-I", guest, service).Output()
		if strings.Contains(string(out), " 1 received") {
			answered++
		}
	}
	return answered
}

// TestPeers: IPv4 and IPv6 routes both ways over links without addresses: in our kernel, and in the
// table and the kernel of BIRD, FRR and GoBGP.
func TestPeers(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { nstest.Steady(t, 20*time.Millisecond, func(t testing.TB) { k.test(t) }) })
	}
}

func (k *kind) test(t testing.TB) {
	r := newRack(t)
	for i := range r.tors {
		k.start(r, i)
	}
	interval := time.Duration(0)
	if k.bfd {
		interval = 100 * time.Millisecond
	}
	stop, synced := r.agent(interval)
	both := weighted(k.weights)
	r.wait("ours", r.host, service, both)
	r.wait("ours", r.host, "2001:db8:99::/48", both)
	for i, tor := range r.tors {
		for f, prefix := range []string{guest + "/32", guest6 + "/128"} {
			nstest.Wait(t, 20*time.Second, prefix+" in the table of "+k.name, func() bool {
				s := k.table(r, i, prefix)
				return strings.Contains(s, k.want[f]) && strings.Contains(s, "65000")
			})
		}
		if k.fib {
			r.wait(k.name, tor, guest, "fe80::2@host0")
			r.wait(k.name, tor, guest6, "fe80::2@host0")
		}
	}
	if k.fib {
		if n := r.pings(16); n != 16 {
			t.Errorf("%d of 16 answered", n)
		}
	}
	if !k.bfd {
		stop()
		return
	}
	x := <-synced
	nstest.Wait(t, 20*time.Second, "BFD", func() bool {
		list, err := x.service.Sessions()
		return err == nil && len(list) == 2 && !slices.ContainsFunc(list, func(s bfd.Status) bool { return s.State != bfd.StateUp })
	})
	r.wait("with BFD", r.host, service, both)

	// A silent cut: out within BFD's 300 ms, in the routes of both families. What is
	// measured has two runs of ip in it.
	stall := nstest.WatchStall()
	defer stall.Stop()
	at := time.Now()
	r.cut(0)
	for route(r.host, service) == both || route(r.host, "2001:db8:99::/48") == both {
		if time.Since(at) > 10*time.Second {
			t.Fatal("still by the router that is cut off")
		}
		time.Sleep(time.Millisecond)
	}
	took := time.Since(at)
	t.Logf("out of both routes %v after the cut", took)
	if limit := 3*interval + 100*time.Millisecond + stall.Slack(); took > limit {
		t.Errorf("out of both routes %v after the cut, want %v", took, limit)
	}
	r.wait("after the cut", r.host, service, "fe80::1@up2")
	r.wait("after the cut", r.host, "2001:db8:99::/48", "fe80::1@up2")
	if n := r.pings(16); n != 16 {
		t.Errorf("after the cut %d of 16 answered", n)
	}
	r.tors[0].Exec("nft", "delete", "table", "inet", "cut")
	r.wait("back", r.host, service, both)

	// The routes outlive the program.
	stop()
	r.wait("without a program", r.host, service, both)
}
