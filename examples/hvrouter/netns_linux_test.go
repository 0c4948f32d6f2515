package main

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const apartConfig = `
router-id: 0.0.1.1
as: 65000
api: DIR/api.sock
loopback: {interface: loopback, address: 172.22.2.1/32}
bfd: {interval: 100ms, multiplier: 20, process: separate} # a machine that stands still ends no session
domains:
  - name: public
    netns: PUBLIC
    guests: true
    unreachable: [203.0.113.0/24]
    reflectors:
      - {fabric: A, interface: a.net, local: 198.51.100.101, peer: 198.51.100.126}
      - {fabric: B, interface: b.net, local: 198.51.100.201, peer: 198.51.100.226}
  - name: private
    table: main
    loopback: true
    reflectors:
      - {fabric: A, interface: a.net, local: 172.22.15.101, peer: 172.22.15.126}
      - {fabric: B, interface: b.net, local: 172.22.15.201, peer: 172.22.15.226}
edge: {gateway4: 203.0.113.254}
guests:
  - {name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1]}
`

// apartBird is one BIRD for both domains, with a table each. A session tells of what is
// on its own fabric, as one of two reflectors does.
const apartBird = `
router id 198.51.100.126;
log "DIR/bird.log" all;
ipv4 table private4;
protocol device {}
protocol bfd { interface "*" { interval 100 ms; multiplier 20; }; }
protocol static { ipv4; route 203.0.113.3/32 via 198.51.100.102; }
protocol static { ipv4; route 203.0.113.3/32 via 198.51.100.202; }
protocol static { ipv4 { table private4; }; route 172.22.2.2/32 via 172.22.15.102; }
protocol static { ipv4 { table private4; }; route 172.22.2.2/32 via 172.22.15.202; }
template bgp hv { rr client; passive; error wait time 1, 2; ttl security on; bfd yes; direct; }
template bgp open from hv { ipv4 { add paths tx; import all; export all; }; }
template bgp closed from hv { ipv4 { table private4; add paths tx; import all; export all; }; }
protocol bgp pa from open { local 198.51.100.126 as 65000; neighbor 198.51.100.101 as 65000; ipv4 { export where gw ~ 198.51.100.0/25; }; }
protocol bgp pb from open { local 198.51.100.226 as 65000; neighbor 198.51.100.201 as 65000; ipv4 { export where gw ~ 198.51.100.128/25; }; }
protocol bgp qa from closed { local 172.22.15.126 as 65000; neighbor 172.22.15.101 as 65000; ipv4 { export where gw ~ 172.22.15.0/25; }; }
protocol bgp qb from closed { local 172.22.15.226 as 65000; neighbor 172.22.15.201 as 65000; ipv4 { export where gw ~ 172.22.15.128/25; }; }
`

// apart is a hypervisor with a namespace per domain. The uplinks have the same names
// in both.
type apart struct {
	*host
	public *nstest.NS
}

func newApart(t *testing.T) *apart {
	for _, tool := range []string{"bird", "nft"} {
		nstest.Need(t, tool)
	}
	h := &apart{host: &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), rr: nstest.New(t, "rr"), vm: nstest.New(t, "vm")}, public: nstest.New(t, "pub")}
	nstest.Veth(h.public, "a.net", "198.51.100.101/25", h.rr, "a.public", "198.51.100.126/25")
	nstest.Veth(h.public, "b.net", "198.51.100.201/25", h.rr, "b.public", "198.51.100.226/25")
	nstest.Veth(h.hv, "a.net", "172.22.15.101/25", h.rr, "a.private", "172.22.15.126/25")
	nstest.Veth(h.hv, "b.net", "172.22.15.201/25", h.rr, "b.private", "172.22.15.226/25")
	h.hv.IP("link add name loopback type bridge")
	h.hv.IP("link set dev loopback up")
	h.write("hv.yaml", strings.Replace(apartConfig, "PUBLIC", h.public.Name, 1))
	h.reflector(apartBird)
	t.Cleanup(h.end)
	h.run()
	return h
}

// up waits until all sessions are, of BGP and BFD.
func (h *apart) up() {
	h.t.Helper()
	nstest.Wait(h.t, 10*time.Second, "all sessions up", func() bool {
		var all []api.Session
		if h.ask("/v1/sessions", &all) != nil || len(all) != 4 {
			return false
		}
		for _, s := range all {
			if s.State != "Established" || s.BFD != "Up" || (s.NetNS != "") != (s.Domain == "public") {
				return false
			}
		}
		return true
	})
}

// in is what ip prints in a namespace, in one line.
func in(ns *nstest.NS, args string) string {
	out, _ := ns.Command("ip", strings.Fields(args)...).Output()
	return strings.Join(strings.Fields(string(out)), " ")
}

// TestNamespaces: one process serves a namespace per domain, each with table main
// alone, against BIRD in both.
func TestNamespaces(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := newApart(t)
	h.up()
	h.wait("two gateways in each namespace", func() bool { return h.gateways() == [2]int{2, 2} })
	if got := in(h.hv, "route show 172.22.2.2"); !strings.Contains(got, "src 172.22.2.1") {
		t.Errorf("no source address: %s", got)
	}
	for ns, foreign := range map[*nstest.NS]string{h.hv: "203.0.113.3", h.public: "172.22.2.2"} {
		if got := in(ns, "route show table all "+foreign); got != "" {
			t.Errorf("a route of the other namespace: %s", got)
		}
		if got := in(ns, "rule"); got != "0: from all lookup local 32766: from all lookup main 32767: from all lookup default" {
			t.Errorf("rules: %s", got)
		}
	}
	h.public.IP("link add name vm1 type veth peer name eth0 address 50:54:33:00:00:07 netns " + h.vm.Name)
	h.vm.IP("addr add 203.0.113.1/24 dev eth0")
	h.vm.IP("link set eth0 up")
	h.wait("the guest's route at BIRD, twice", func() bool { return h.reflected("203.0.113.1") == 2 })
	h.wait("the guest's ping of its gateway", func() bool {
		return h.vm.Command("ping", "-c1", "-W1", "203.0.113.254").Run() == nil
	})
	if got := h.bird("show route for 203.0.113.1 table private4"); strings.Contains(got, "via") {
		t.Errorf("the guest in the private domain: %s", got)
	}
	t.Run("check", h.check)
	t.Run("learn", h.learn)
	t.Run("restart", h.restart)
	t.Run("failover", h.failover)
	t.Run("name", h.name)
}

// gateways counts those of the far prefix of each domain.
func (h *apart) gateways() [2]int {
	return [2]int{strings.Count(in(h.public, "route show 203.0.113.3"), "via 198.51.100."), strings.Count(in(h.hv, "route show 172.22.2.2"), "via 172.22.15.")}
}

// check looks into both namespaces, and says which one lacks something.
func (h *apart) check(t *testing.T) {
	nstest.Wait(t, 5*time.Second, "a host that is fine", func() bool {
		return h.command("check", "-config", h.path("hv.yaml")).Run() == nil
	})
	h.write("none.yaml", strings.NewReplacer("PUBLIC", "no-such-namespace", "api.sock", "none.sock").Replace(apartConfig))
	const want = "open /run/netns/no-such-namespace: no such file or directory"
	for _, command := range []string{"check", "run"} {
		out, err := h.command(command, "-config", h.path("none.yaml")).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s without the namespace: %v, %s", command, err, out)
		}
	}
}

// learn: a foreign route is announced from the guests' namespace, and not from
// table main of the daemon's own, which has routes of many.
func (h *apart) learn(t *testing.T) {
	h.hv.IP("route add 203.0.113.78/32 dev loopback")
	h.public.IP("route add 203.0.113.77/32 dev vm1")
	h.wait("the foreign route at BIRD", func() bool { return h.reflected("203.0.113.77") == 2 })
	if got := h.bird("show route table private4"); strings.Contains(got, "203.0.113.78") || strings.Contains(got, "172.22.15.0/25") {
		t.Errorf("routes of the hypervisor itself at BIRD: %s", got)
	}
	if got := h.bird("show route table master4"); strings.Contains(got, "198.51.100.0/25") {
		t.Errorf("routes of the kernel at BIRD: %s", got)
	}
	h.public.IP("route del 203.0.113.77/32 dev vm1")
	h.hv.IP("route del 203.0.113.78/32 dev loopback")
	h.wait("its withdrawal", func() bool { return h.reflected("203.0.113.77") == 0 })
}

// restart writes nothing into either namespace.
func (h *apart) restart(t *testing.T) {
	for _, s := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		var changes [2]bytes.Buffer
		var stop []func()
		for i, ns := range []*nstest.NS{h.hv, h.public} {
			monitor := ns.Command("ip", "monitor", "route", "nexthop", "rule")
			monitor.Stdout = &changes[i]
			if err := monitor.Start(); err != nil {
				t.Fatal(err)
			}
			stop = append(stop, func() { monitor.Process.Signal(syscall.SIGTERM); monitor.Wait() })
		}
		h.kill(s)
		if h.reflected("203.0.113.1") == 0 || h.gateways() != [2]int{2, 2} {
			t.Errorf("%v: routes went with the daemon", s)
		}
		h.run()
		h.up()
		h.wait("convergence", func() bool { var st api.Status; return h.ask("/v1/status", &st) == nil && st.Converged && st.Restarted })
		for i, end := range stop {
			end()
			if got := changes[i].String(); strings.Contains(got, "proto 201") || strings.Contains(got, "proto 202") || strings.Contains(got, "Deleted") {
				t.Errorf("%v: the kernel of namespace %d heard of\n%s", s, i, got)
			}
		}
	}
}

// failover: with the daemon dead, the BFD process takes the dead gateways out of the
// namespace concerned, and of no other.
func (h *apart) failover(t *testing.T) {
	h.kill(syscall.SIGKILL)
	for _, hook := range []string{"input", "output"} {
		h.rr.Exec("nft", "add", "table", "inet", "cut")
		h.rr.Exec("nft", "add", "chain", "inet", "cut", hook, "{ type filter hook "+hook+" priority 0; }")
		h.rr.Exec("nft", "add", "rule", "inet", "cut", hook, map[string]string{"input": "iifname", "output": "oifname"}[hook], "a.public", "drop")
	}
	h.wait("one gateway less in the public namespace", func() bool { return h.gateways()[0] == 1 })
	if h.gateways() != [2]int{1, 2} || !strings.Contains(in(h.public, "route show 203.0.113.3"), "dev b.net") {
		t.Errorf("gateways %v; %s", h.gateways(), in(h.public, "route show 203.0.113.3"))
	}
	h.run()
	// One session cannot come up: the others wait for it as long as the deferral, 30 s.
	nstest.Wait(t, time.Minute, "the daemon back", func() bool { var st api.Status; return h.ask("/v1/status", &st) == nil && st.Converged })
	if h.gateways() != [2]int{1, 2} {
		t.Errorf("gateways after the restart: %v", h.gateways())
	}
	h.rr.Exec("nft", "delete", "table", "inet", "cut")
	h.up()
	h.wait("both gateways again", func() bool { return h.gateways() == [2]int{2, 2} })
}

// name: a namespace that loses its name, or whose name is given to another one, goes
// on being served, and the daemon says so.
func (h *apart) name(t *testing.T) {
	state := func() string {
		var st api.Status
		_ = h.ask("/v1/status", &st)
		return st.Namespaces[h.public.Name]
	}
	if got := state(); got != "fine" {
		t.Errorf("the namespace is %q", got)
	}
	for _, step := range []struct{ command, state, event string }{{"del", "gone", "namespace-gone"}, {"add", "replaced", "namespace-replaced"}} {
		h.hv.IP("netns " + step.command + " " + h.public.Name)
		h.wait("the namespace "+step.state, func() bool { return state() == step.state })
		nstest.Wait(h.t, 15*time.Second, "a word about it", func() bool {
			log, _ := os.ReadFile(h.path("hv.log"))
			return bytes.Contains(log, []byte("event="+step.event))
		})
		h.up()
	}
	h.rr.IP("link set b.public down")
	h.wait("carrier heard of in the namespace without a name", func() bool {
		var all []api.FIBRoute
		if h.ask("/v1/fib", &all) != nil {
			return false
		}
		for _, r := range all {
			if r.Prefix == "203.0.113.3/32" {
				return r.NetNS == h.public.Name && len(r.Gateways) == 1 && r.Gateways[0].Link == "a.net"
			}
		}
		return false
	})
}
