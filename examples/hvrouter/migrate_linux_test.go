package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// migrateConfig is hypervisor N of two, to be told about the guest.
const migrateConfig = `
router-id: 0.0.1.N
as: 65000
api: DIR/api.sock
bfd: {process: off}
domains:
  - name: public
    table: 90
    guests: true
    unreachable: [203.0.113.0/24]
    reflectors:
      - {fabric: A, interface: a.public, local: 198.51.100.10N, peer: 198.51.100.126}
      - {fabric: A, interface: a.public, local: "2001:db8:c633:6400::N", peer: "2001:db8:c633:6400::26"}
edge: {gateway4: 203.0.113.254, mac: "02:00:00:00:00:fe"}
guests:
  - {name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1], ipv6: ["2001:db8:cb00:7100::/64"], down: DOWN}
`

// migrateBIRD reflects between both and is the guest's far end: it puts what it hears
// into its own kernel.
const migrateBIRD = `
router id 198.51.100.126;
log "DIR/bird.log" all;
protocol device {}
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; }
protocol static far { ipv4; route 0.0.0.0/0 blackhole; }
protocol static far6 { ipv6; route ::/0 blackhole; }
template bgp hv { rr client; passive; error wait time 1, 2; ttl security on; direct;
  ipv4 { add paths tx; import all; export filter { if source = RTS_STATIC then { bgp_next_hop = 198.51.100.126; accept; } if source = RTS_BGP then accept; reject; }; }; }
protocol bgp h1 from hv { local 198.51.100.126 as 65000; neighbor 198.51.100.101 as 65000; }
protocol bgp h2 from hv { local 198.51.100.126 as 65000; neighbor 198.51.100.102 as 65000; }
template bgp hv6 { rr client; passive; error wait time 1, 2; ttl security on; direct;
  ipv6 { add paths tx; import all; export filter { if source = RTS_STATIC then { bgp_next_hop = 2001:db8:c633:6400::26; accept; } if source = RTS_BGP then accept; reject; }; }; }
protocol bgp h1_6 from hv6 { local 2001:db8:c633:6400::26 as 65000; neighbor 2001:db8:c633:6400::1 as 65000; }
protocol bgp h2_6 from hv6 { local 2001:db8:c633:6400::26 as 65000; neighbor 2001:db8:c633:6400::2 as 65000; }
`

// worlds is what the guest pings, one of each family.
var worlds = [2]string{"8.8.8.8", "2001:4860:4860::8888"}

// TestMigration moves a guest that pings the world every 2 ms from one hypervisor to
// another and back: the machine is resumed at the target, and the target's hvrouter is
// told so. Its routes have the greater local preference, the source is drained
// afterwards.
func TestMigration(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	nstest.Need(t, "bird")
	nstest.Need(t, "ping")
	sw, rr, vm := nstest.New(t, "sw"), nstest.New(t, "rr"), nstest.New(t, "vm")
	sw.IP("link add br0 type bridge")
	sw.IP("link set br0 up")
	nstest.Veth(sw, "p0", "", rr, "eth0", "198.51.100.126/24 8.8.8.8/32 2001:db8:c633:6400::26/120 2001:4860:4860::8888/128")
	sw.IP("link set p0 master br0")
	// The kernel delays the carrier of a veth pair whose ends have the same index.
	vm.IP("link add spare type bridge")
	vm.IP("link add br0 address 50:54:33:00:00:07 type bridge") // stays up while its ports change
	vm.IP("link set br0 up")
	vm.IP("addr add 203.0.113.1/24 dev br0")
	vm.IP("route add default via 203.0.113.254")

	var hv [2]*host
	for i := range hv {
		h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), rr: rr, vm: vm}
		port := fmt.Sprintf("p%d", i+1)
		nstest.Veth(sw, port, "", h.hv, "a.public", fmt.Sprintf("198.51.100.%d/24 2001:db8:c633:6400::%d/120", 101+i, 1+i))
		sw.IP("link set " + port + " master br0")
		h.hv.IP(fmt.Sprintf("link add name vm1 type veth peer name t%d netns %s", i, vm.Name))
		vm.IP(fmt.Sprintf("link set t%d master br0", i))
		h.write("hv.yaml", strings.NewReplacer("N", fmt.Sprint(i+1), "DOWN", fmt.Sprint(i > 0)).Replace(migrateConfig))
		hv[i] = h
	}
	hv[0].reflector(migrateBIRD)
	for _, h := range hv {
		t.Cleanup(h.end)
		h.run()
	}
	vm.IP("link set t0 up")
	for _, world := range worlds {
		nstest.Wait(t, 30*time.Second, "the guest's ping of "+world, func() bool {
			return vm.Command("ping", "-c1", "-W1", world).Run() == nil
		})
	}
	pref, void := uint32(100), 0
	for i := 0; i < 4+void; i++ {
		stall := nstest.WatchStall()
		from, to := hv[i%2], hv[(i+1)%2]
		pref += 100
		gaps := from.migrate(to, i%2, pref)
		t.Logf("move %d, hypervisor %d to %d, LOCAL_PREF %d: gaps of %v (IPv4) and %v (IPv6), with two runs of ip(8) in them",
			i+1, i%2+1, (i+1)%2+1, pref, gaps[0], gaps[1])
		stood := stall.Stop()
		switch gap := max(gaps[0], gaps[1]); {
		case gap <= time.Second+stall.Slack():
		case stood > 20*time.Millisecond && void < 4: // once more: a mistake of ours would show again
			void++
			t.Logf("void: the machine stood still for %v", stood)
		default:
			t.Errorf("a gap of %v", gap)
		}
		if a, b := hv[0].mac(), hv[1].mac(); a != b || a != "02:00:00:00:00:fe" {
			t.Errorf("the gateway's MAC is %s here and %s there", a, b)
		}
	}
}

func (h *host) mac() string {
	return strings.TrimSpace(h.hv.Exec("cat", "/sys/class/net/vm1/address"))
}

// migrate moves the guest from h to another hypervisor, under traffic, and gives the
// gap of each family.
func (h *host) migrate(to *host, port int, pref uint32) (gaps [2]time.Duration) {
	h.t.Helper()
	var out [2]chan string
	for i, world := range worlds {
		out[i] = make(chan string, 1)
		ping := h.vm.Command("ping", "-n", "-D", "-i", "0.002", "-c", "1000", "-W", "0.5", world)
		go func() { b, _ := ping.CombinedOutput(); out[i] <- string(b) }()
	}
	before := h.rx()
	h.wait("the flows", func() bool { return h.rx() > before+200 })
	h.vm.IP(fmt.Sprintf("link set t%d down", port))
	h.vm.IP(fmt.Sprintf("link set t%d up", 1-port))
	up, down := false, true
	if err := to.tell(api.Move{LocalPref: &pref, Down: &up}); err != nil {
		h.t.Fatal(err)
	}
	best := fmt.Sprintf("203.0.113.1 via 198.51.100.%d ", 102-port)
	best6 := fmt.Sprintf("2001:db8:cb00:7100::/64 via 2001:db8:c633:6400::%d ", 2-port)
	h.wait("the far end's routes to the target", func() bool {
		return strings.Contains(h.rr.IP("route show 203.0.113.1"), best) && strings.Contains(h.rr.IP("-6 route show 2001:db8:cb00:7100::/64"), best6)
	})
	if err := h.tell(api.Move{Down: &down}); err != nil { // the source is drained
		h.t.Fatal(err)
	}
	h.wait("the source's withdrawal", func() bool {
		return strings.Contains(h.routes("route show table 90 203.0.113.1"), best) &&
			strings.Contains(h.routes("-6 route show table 90 2001:db8:cb00:7100::/64"), best6)
	})
	for i := range worlds {
		text, answers := <-out[i], 0
		if gaps[i], answers = longestGap(text); answers < 100 {
			h.t.Fatalf("%d answers:\n%s", answers, text)
		}
	}
	return gaps
}

// longestGap returns the longest time between two answers that ping -D printed, and
// counts them.
func longestGap(text string) (gap time.Duration, answers int) {
	last := 0.0
	for line := range strings.Lines(text) {
		var at float64
		if n, _ := fmt.Sscanf(line, "[%f]", &at); n != 1 || !strings.Contains(line, "icmp_seq") {
			continue
		}
		if answers++; answers > 1 {
			gap = max(gap, time.Duration((at-last)*1e6)*time.Microsecond)
		}
		last = at
	}
	return gap, answers
}

// rx counts what the far end has received.
func (h *host) rx() (n uint64) {
	_, _ = fmt.Sscan(h.rr.Exec("cat", "/sys/class/net/eth0/statistics/rx_packets"), &n)
	return n
}

func (h *host) tell(m api.Move) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return api.NewClient(h.path("api.sock")).Send(h.t.Context(), "POST", "/v1/guests/vm1", body)
}
