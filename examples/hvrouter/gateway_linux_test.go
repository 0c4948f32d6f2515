package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// gatewayConfig is hypervisor NO with two tenants, red (VNIs 100 and 200) and blue (300 and 400), of the same subnets.
const gatewayConfig = `
router-id: 0.0.1.NO
as: 65000
api: DIR/api.sock
loopback: {interface: loopback, address: 172.22.2.NO/32}
bfd: {interval: 100ms, multiplier: 20, process: separate} # a machine that stands still ends no session
domains:
  - name: private
    table: 20
    guests: true
    loopback: true
    reflectors: [{interface: up.a, local: 172.22.15.NO, peer: 172.22.15.126}]
local-out: {table: 100, domains: [private]}
edge: {gateway4: 203.0.113.254}
overlays:
  - {name: vx100, vni: 100, bridge: br100, evpn: {}, gateway: {table: 1000, ipv4: [192.168.5.254/24], ipv6: ["2001:db8:5::fe/64"]}}
  - {name: vx200, vni: 200, bridge: br200, evpn: {}, gateway: {table: 1000, ipv4: [192.168.6.254/24], ipv6: ["2001:db8:6::fe/64"]}}
  - {name: vx300, vni: 300, bridge: br300, evpn: {}, gateway: {table: 2000, ipv4: [192.168.5.254/24], ipv6: ["2001:db8:5::fe/64"]}}
  - {name: vx400, vni: 400, bridge: br400, evpn: {}, gateway: {table: 2000, ipv4: [192.168.6.254/24], ipv6: ["2001:db8:6::fe/64"]}}
guests: []
`

// tenantVM is a guest of a tenant: on VNI, in a subnet, with the host number no.
type tenantVM struct {
	*nstest.NS
	name        string
	vni, subnet int
	no          int
}

func (v *tenantVM) ip4() string { return fmt.Sprintf("192.168.%d.%d", v.subnet, v.no) }
func (v *tenantVM) ip6() string { return fmt.Sprintf("2001:db8:%d::%d", v.subnet, v.no) }
func (v *tenantVM) mac() string {
	return fmt.Sprintf("02:00:00:00:%02x:%02x", v.vni/100, v.no)
}
func (v *tenantVM) yaml() string {
	return fmt.Sprintf(`[{name: %s, overlays: [{overlay: vx%d, interface: %s.x, mac: "%s", ipv4: [%s], ipv6: ["%s"]}]}]`, v.name, v.vni, v.name, v.mac(), v.ip4(), v.ip6())
}

// gateways returns hypervisors with gateways, over a reflector of ours.
func (l *overlayLAN) gateways(n int) (list []*host) {
	for no := 1; no <= n; no++ {
		h := l.gateway(no)
		h.run()
		list = append(list, h)
	}
	return list
}

// gateway returns hypervisor no, which does not run yet.
func (l *overlayLAN) gateway(no int) *host {
	h := &host{t: l.t, dir: l.t.TempDir(), hv: nstest.New(l.t, fmt.Sprint("hv", no))}
	l.join(h.hv, no)
	h.hv.IP("link add name loopback type bridge")
	h.hv.IP("link set dev loopback up")
	h.write("hv.yaml", strings.ReplaceAll(gatewayConfig, "NO", fmt.Sprint(no)))
	l.t.Cleanup(h.end)
	return h
}

// tenant makes a guest, which says nothing.
func (l *overlayLAN) tenant(name string, vni, subnet, no int) *tenantVM {
	v := &tenantVM{nstest.New(l.t, name), name, vni, subnet, no}
	v.Sysctl("net/ipv6/conf/default/addr_gen_mode", "1")
	return v
}

// at puts a guest on a hypervisor, with its gateways as default routes.
func (v *tenantVM) at(h *host) {
	h.hv.IP(fmt.Sprintf("link add name %s.x type veth peer name eth0 address %s netns %s", v.name, v.mac(), v.Name))
	v.IP(fmt.Sprintf("addr add %s/24 dev eth0", v.ip4()))
	v.IP(fmt.Sprintf("addr add %s/64 dev eth0 nodad", v.ip6()))
	v.IP("link set eth0 up")
	v.IP(fmt.Sprintf("route add default via 192.168.%d.254", v.subnet))
	v.IP(fmt.Sprintf("-6 route add default via 2001:db8:%d::fe", v.subnet))
	h.write(v.name+".yaml", v.yaml())
	h.cli("guest", "add", h.path(v.name+".yaml"))
}

// gets reports whether a ping is answered, once.
func (v *tenantVM) gets(address string) bool {
	return v.Command("ping", "-n", "-c", "1", "-W", "1", address).Run() == nil
}

// reaches waits until a guest has answers of these addresses.
func (v *tenantVM) reaches(t *testing.T, addresses ...string) {
	t.Helper()
	for _, a := range addresses {
		nstest.Wait(t, 15*time.Second, v.name+" reaches "+a, func() bool { return v.gets(a) })
	}
}

// TestGateway: three hypervisors of ours. Guests of two VNIs of a tenant, which have said nothing, reach each other through
// their own hypervisor's gateway; two tenants with the same subnets have nothing of each other, and nobody reaches the hypervisor.
func TestGateway(t *testing.T) {
	l := newOverlayLAN(t)
	hvs := l.gateways(3)
	for _, h := range hvs {
		established(h)
	}
	g := &gatewayTest{t: t, hvs: hvs,
		red1: l.tenant("red1", 100, 5, 1), red2: l.tenant("red2", 200, 6, 2), red3: l.tenant("red3", 200, 6, 3), red4: l.tenant("red4", 100, 5, 4),
		blue1: l.tenant("blue1", 300, 5, 1), blue2: l.tenant("blue2", 400, 6, 2)}
	for v, h := range map[*tenantVM]int{g.red1: 0, g.red2: 0, g.red3: 1, g.red4: 0, g.blue1: 0, g.blue2: 2} {
		v.at(hvs[h])
	}
	asked := (&vm{NS: g.red3.NS}).questions(t)
	g.red1.reaches(t, "192.168.5.254", "2001:db8:5::fe", g.red2.ip4(), g.red2.ip6(), g.red3.ip4(), g.red3.ip6(), g.red4.ip4())
	g.red3.reaches(t, g.red1.ip4(), g.red1.ip6(), g.red2.ip4(), "192.168.6.254", "192.168.5.254", "2001:db8:5::fe")
	g.blue1.reaches(t, g.blue2.ip4(), g.blue2.ip6(), "192.168.5.254", "2001:db8:5::fe")
	if n := asked(); n > 0 {
		t.Errorf("%d ARP requests came to a guest of another hypervisor", n)
	}
	t.Run("tables", g.tables)
	t.Run("errors", g.errors)
	t.Run("tenants", g.tenants)
	t.Run("hostile", g.hostile)
	t.Run("kill", g.kill)
	t.Run("down", g.down)
	t.Run("move", g.move)
	t.Run("reload", g.reload)
	for _, h := range hvs {
		if s := h.logged(); strings.Contains(s, "level=ERROR") {
			t.Errorf("logged:\n%s", s)
		}
	}
}

type gatewayTest struct {
	t                                    *testing.T
	hvs                                  []*host
	red1, red2, red3, red4, blue1, blue2 *tenantVM
}

// gatewayLeaks returns what of a gateway would be every tenant's, and the hypervisor's.
func gatewayLeaks(h *host) (lines []string) {
	for _, text := range []string{h.hv.IP("route show table local"), h.hv.IP("-6 route show table local"), h.hv.IP("route show table main"), h.hv.IP("-6 route show table main")} {
		for line := range strings.Lines(text) {
			if strings.Contains(line, "192.168.") || strings.Contains(line, "2001:db8:") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	return lines
}

// unshared waits until there is nothing of that.
func unshared(t *testing.T, h *host) {
	t.Helper()
	nstest.Wait(t, 10*time.Second, "nothing of gateways in local and main", func() bool { return len(gatewayLeaks(h)) == 0 })
}

// tables: the tenants' tables have the tenants' subnets, and nobody else's.
func (g *gatewayTest) tables(t *testing.T) {
	h := g.hvs[0]
	unshared(t, h)
	const want = `unreachable default proto 202 metric 4294967294
192.168.5.0/24 dev br100 proto 201 scope link
local 192.168.5.254 dev br100 proto 201 scope host
192.168.6.0/24 dev br200 proto 201 scope link
local 192.168.6.254 dev br200 proto 201 scope host
local 2001:db8:5::fe dev br100 proto 201 metric 1024 pref medium
2001:db8:5::/64 dev br100 proto 201 metric 1024 pref medium
local 2001:db8:6::fe dev br200 proto 201 metric 1024 pref medium
2001:db8:6::/64 dev br200 proto 201 metric 1024 pref medium
unreachable default dev lo proto 202 metric 4294967294 pref medium
`
	for table, replaced := range map[string]*strings.Replacer{"1000": strings.NewReplacer(), "2000": strings.NewReplacer("br100", "br300", "br200", "br400")} {
		got := ""
		for line := range strings.Lines(h.hv.IP("route show table "+table) + h.hv.IP("-6 route show table "+table)) {
			got += strings.TrimSpace(line) + "\n"
		}
		if got != replaced.Replace(want) {
			t.Errorf("table %s:\n%s", table, got)
		}
	}
	if out := h.hv.Exec("bridge", "-d", "link", "show", "dev", "red1.x"); !strings.Contains(out, "locked on") {
		t.Errorf("the port is not locked: %s", out)
	}
}

// errors: ICMP errors come from the gateway that the packet was sent to.
func (g *gatewayTest) errors(t *testing.T) {
	for _, c := range []struct{ to, from, say string }{
		{g.red3.ip4(), "192.168.5.254", "Time to live exceeded"}, {g.red3.ip6(), "2001:db8:5::fe", "Time exceeded"},
	} {
		out, _ := g.red1.Command("ping", "-n", "-c", "1", "-W", "2", "-t", "1", c.to).CombinedOutput()
		if !strings.Contains(string(out), "From "+c.from) || !strings.Contains(string(out), c.say) {
			t.Errorf("to %s: %s", c.to, out)
		}
	}
	if out, _ := g.red1.Command("ping", "-n", "-c", "1", "-W", "2", "198.51.100.1").CombinedOutput(); !strings.Contains(string(out), "From 192.168.5.254") || !strings.Contains(string(out), "Unreachable") {
		t.Errorf("to nobody's network: %s", out)
	}
}

// tenants: the same addresses, and none of the other's packets.
func (g *gatewayTest) tenants(t *testing.T) {
	red, blue := (&vm{NS: g.red2.NS}).pings(t), (&vm{NS: g.blue2.NS}).pings(t)
	for range 3 {
		if !g.red1.gets(g.red2.ip4()) {
			t.Errorf("%s does not reach %s", g.red1.name, g.red2.ip4())
		}
	}
	if n, m := red(), blue(); n != 3 || m != 0 {
		t.Errorf("red to red: %d came to red, %d to blue", n, m)
	}
	if g.blue1.gets(g.red3.ip4()) || g.blue1.gets(g.red3.ip6()) {
		t.Error("blue reaches a guest of red")
	}
	if n := red(); n != 0 {
		t.Errorf("%d came to red", n)
	}
}

// hostile: what is no tenant's business.
func (g *gatewayTest) hostile(t *testing.T) {
	h := g.hvs[0]
	seen4, seen6 := (&vm{NS: g.red2.NS}).pings(t), (&vm{NS: g.red2.NS}).frames(t, 0xdd86, func(b []byte) bool { return len(b) >= 55 && b[20] == unix.IPPROTO_ICMPV6 && b[54] == 128 })
	var listener net.Listener
	h.hv.Do(func() (err error) {
		listener, err = net.Listen("tcp", ":2222")
		return err
	})
	defer listener.Close()
	connects := func(ns *nstest.NS, address string) (ok bool) {
		ns.Do(func() error {
			c, err := net.DialTimeout("tcp", address, time.Second)
			if ok = err == nil; ok {
				c.Close()
			}
			return nil
		})
		return ok
	}
	nstest.Wait(t, 10*time.Second, "a listener on the hypervisor", func() bool { return connects(h.hv, "172.22.2.1:2222") })
	for _, a := range []string{"192.168.5.254:2222", "192.168.6.254:2222", "172.22.2.1:2222", "172.22.15.1:2222", "[2001:db8:5::fe]:2222", "172.22.15.126:179"} {
		if connects(g.red1.NS, a) {
			t.Errorf("a guest connects to %s", a)
		}
	}
	for _, a := range []string{"172.22.2.1", "172.22.15.1", "172.22.15.126", "203.0.113.254"} {
		if g.red1.gets(a) {
			t.Errorf("a guest has an answer of %s", a)
		}
	}
	for _, a := range []string{g.red1.ip4(), "192.168.5.254", g.red1.ip6()} { // table local, main, local-out: nobody of ours
		if h.hv.Command("ping", "-n", "-c", "1", "-W", "1", a).Run() == nil {
			t.Errorf("a program of the hypervisor has an answer of %s", a)
		}
	}
	// Another's address, and nobody's; then another's MAC with it.
	from := func(source, to string) {
		g.red1.Command("ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-I", source, to).Run()
	}
	g.red1.IP("addr add 192.168.5.4/24 dev eth0")
	g.red1.IP("addr add 192.168.77.7/32 dev eth0")
	g.red1.IP("addr add 2001:db8:5::4/64 dev eth0 nodad")
	from("192.168.5.4", g.red2.ip4())
	from("192.168.77.7", g.red2.ip4())
	from("2001:db8:5::4", g.red2.ip6())
	g.red1.IP("link set eth0 address " + g.red4.mac())
	g.red1.IP("neigh replace 192.168.5.254 lladdr 00:00:5e:00:01:fe dev eth0 nud permanent")
	g.red1.IP("neigh replace 2001:db8:5::fe lladdr 00:00:5e:00:01:fe dev eth0 nud permanent")
	from("192.168.5.4", g.red2.ip4())
	from("2001:db8:5::4", g.red2.ip6())
	if n, m := seen4(), seen6(); n+m > 0 {
		t.Errorf("%d and %d packets came to a guest from addresses that are not the sender's", n, m)
	}
	g.red1.IP("link set eth0 address " + g.red1.mac()) // and the neighbours are gone
	for _, a := range []string{"192.168.5.4/24", "192.168.77.7/32", "2001:db8:5::4/64"} {
		g.red1.IP("addr del " + a + " dev eth0")
	}
	// A scan makes the kernel ask nobody, and leaves nothing behind that counts.
	asked := (&vm{NS: g.red2.NS}).questions(t)
	for n := 100; n < 110; n++ {
		g.red1.Command("ping", "-n", "-c", "1", "-W", "0.1", fmt.Sprint("192.168.6.", n)).Run()
		g.red1.Command("ping", "-n", "-c", "1", "-W", "0.1", fmt.Sprint("2001:db8:6::", n)).Run()
	}
	if n := asked(); n > 0 {
		t.Errorf("a scan made the kernel ask %d times", n)
	}
	g.red1.reaches(t, g.red2.ip4(), g.red2.ip6())
}

// stream pings from a guest until it is stopped, which returns how many were sent and came back.
func (v *tenantVM) stream(t *testing.T, to string) func() (sent, received int) {
	ping := v.Command("ping", "-n", "-i", "0.01", "-W", "10", to)
	var out strings.Builder
	ping.Stdout = &out
	ping.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := ping.Start(); err != nil {
		t.Fatal(err)
	}
	return func() (sent, received int) {
		ping.Process.Signal(os.Interrupt)
		ping.Wait()
		_, summary, _ := strings.Cut(out.String(), "statistics ---\n")
		if _, err := fmt.Sscanf(summary, "%d packets transmitted, %d received", &sent, &received); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		return sent, received
	}
}

// kill: kill -9 of the daemon beside streams between VNIs loses nothing, and nothing is written again.
func (g *gatewayTest) kill(t *testing.T) {
	h := g.hvs[0]
	watch := exec.Command("ip", "-n", h.hv.Name, "monitor", "route", "rule", "address", "neigh", "link")
	fdb := h.hv.Command("bridge", "monitor", "fdb")
	var seen, seenFDB strings.Builder
	watch.Stdout, fdb.Stdout = &seen, &seenFDB
	for _, c := range []*exec.Cmd{watch, fdb} {
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	streams := map[string]func() (int, int){}
	for _, to := range []string{g.red2.ip4(), g.red3.ip4(), g.red3.ip6()} {
		streams[to] = g.red1.stream(t, to)
	}
	before := strings.Count(h.logged(), "event=swept")
	h.kill(syscall.SIGKILL)
	time.Sleep(time.Second) // nobody is there
	h.run()
	established(h)
	nstest.Wait(t, 60*time.Second, "the sweep", func() bool { return strings.Count(h.logged(), "event=swept") == before+1 })
	time.Sleep(time.Second) // of streams
	for to, stop := range streams {
		if sent, received := stop(); sent != received || sent == 0 {
			t.Errorf("to %s: %d packets, %d came back", to, sent, received)
		} else {
			t.Logf("to %s: %d packets, %d came back", to, sent, received)
		}
	}
	for _, c := range []*exec.Cmd{watch, fdb} {
		c.Process.Kill()
		c.Wait()
	}
	for line := range strings.Lines(seen.String() + seenFDB.String()) {
		if strings.Contains(line, "extern_learn") || strings.Contains(line, "table 1000") || strings.Contains(line, "table 2000") || strings.Contains(line, "sticky") ||
			strings.Contains(line, "lookup") || strings.Contains(line, "br100") && !strings.Contains(line, "STALE") {
			t.Errorf("written: %s", line)
		}
	}
	unshared(t, h)
}

// down: another program takes a bridge down and up, and an address, a route and a rule away.
func (g *gatewayTest) down(t *testing.T) {
	h := g.hvs[0]
	h.hv.IP("link set br100 down")
	h.hv.IP("link set br100 up")
	h.hv.IP("rule del pref 10 iif br200")
	h.hv.IP("route del 192.168.6.0/24 dev br200 table 1000")
	h.hv.IP("addr del 192.168.6.254/32 dev br200")
	h.hv.Exec("bridge", "link", "set", "dev", "red1.x", "locked", "off")
	g.red1.reaches(t, "192.168.5.254", "2001:db8:5::fe", g.red2.ip4(), g.red2.ip6(), g.red3.ip4(), g.red3.ip6(), "192.168.6.254")
	nstest.Wait(t, 10*time.Second, "the port is locked", func() bool {
		return strings.Contains(h.hv.Exec("bridge", "-d", "link", "show", "dev", "red1.x"), "locked on")
	})
	unshared(t, h)
}

// move: a guest moves to another hypervisor, and finds the same gateway there.
func (g *gatewayTest) move(t *testing.T) {
	stop := g.red1.stream(t, g.red3.ip4())
	g.red3.IP("link del eth0")
	g.red3.at(g.hvs[2])
	g.red3.reaches(t, g.red1.ip4(), g.red1.ip6())
	g.red1.reaches(t, g.red3.ip4(), g.red3.ip6())
	g.hvs[1].cli("guest", "del", g.red3.name)
	sent, received := stop()
	t.Logf("%d packets, %d came back, beside a move that takes the guest's interface away", sent, received)
	if out := g.red3.IP("neigh show 192.168.6.254"); !strings.Contains(out, "00:00:5e:00:01:fe") {
		t.Errorf("the guest's gateway: %s", out)
	}
}

// reload: a gateway goes, and comes back on an overlay whose MTU is smaller.
func (g *gatewayTest) reload(t *testing.T) {
	h := g.hvs[0]
	text := strings.ReplaceAll(gatewayConfig, "NO", "1")
	const gateway = `, gateway: {table: 1000, ipv4: [192.168.6.254/24], ipv6: ["2001:db8:6::fe/64"]}`
	h.write("hv.yaml", strings.Replace(text, gateway, "", 1))
	h.cli("reload")
	nstest.Wait(t, 10*time.Second, "nothing of the gateway is left", func() bool {
		return !strings.Contains(h.hv.IP("addr show dev br200")+h.hv.IP("route show table 1000")+h.hv.IP("-6 route show table 1000")+h.hv.IP("rule")+h.hv.IP("-6 rule"), "br200 ") &&
			!strings.Contains(h.hv.IP("addr show dev br200"), "inet")
	})
	if g.red1.gets(g.red2.ip4()) {
		t.Error("a guest of an overlay without a gateway is reached from another VNI")
	}
	if out := h.hv.Exec("bridge", "-d", "link", "show", "dev", "red2.x"); strings.Contains(out, "locked on") {
		t.Errorf("the port is locked: %s", out)
	}
	h.write("hv.yaml", strings.Replace(text, "bridge: br200,", "bridge: br200, mtu: 1400,", 1))
	h.cli("reload")
	g.red1.reaches(t, g.red2.ip4(), g.red2.ip6())
	unshared(t, h)
	nstest.Wait(t, 10*time.Second, "the gateway says that the packet is too big", func() bool {
		out, _ := g.red1.Command("ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", "1440", g.red2.ip4()).CombinedOutput()
		return strings.Contains(string(out), "From 192.168.5.254") && strings.Contains(string(out), "mtu = 1400")
	})
	nstest.Wait(t, 10*time.Second, "the gateway says that the IPv6 packet is too big", func() bool {
		out, _ := g.red1.Command("ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", "1420", g.red2.ip6()).CombinedOutput()
		return strings.Contains(string(out), "From 2001:db8:5::fe") && strings.Contains(string(out), "mtu")
	})
}

// TestGatewayWaits: the kernel refuses the firewall, since another program owns a table of its name. There is no gateway
// until it takes it. A daemon that is back finds the gateway there, and leaves it, if the firewall is refused then.
func TestGatewayWaits(t *testing.T) {
	l := newOverlayLAN(t)
	h := l.gateway(1)
	free := owned(t, h)
	h.run()
	established(h)
	red := l.tenant("red1", 100, 5, 1)
	red.at(h)
	h.healthIs("without it there is no gateway of vx100, vx200, vx300, vx400", 2)
	if out := h.hv.IP("addr show dev br100"); strings.Contains(out, "192.168.5.254") || red.gets("192.168.5.254") {
		t.Errorf("the gateway is there: %s", out)
	}
	free()
	red.reaches(t, "192.168.5.254", "2001:db8:5::fe")
	h.healthIs("healthy", 0)
	h.kill(syscall.SIGKILL)
	h.hv.Exec("nft", "delete", "table", "inet", "hvrouter")
	free = owned(t, h)
	h.run()
	established(h)
	h.healthIs("firewall", 2)
	if out := h.hv.IP("addr show dev br100"); !strings.Contains(out, "192.168.5.254") {
		t.Errorf("the gateway is gone: %s", out)
	}
	free()
	h.healthIs("healthy", 0)
	red.reaches(t, "192.168.5.254")
}

// owned has another program own the firewall's table, until free is called.
func owned(t *testing.T, h *host) (free func()) {
	t.Helper()
	nft := h.hv.Command("nft", "-i")
	in, err := nft.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := nft.Start(); err != nil {
		t.Fatal(err)
	}
	free = sync.OnceFunc(func() {
		_ = in.Close()
		_ = nft.Wait()
	})
	t.Cleanup(free)
	fmt.Fprintln(in, "add table inet hvrouter { flags owner; }")
	nstest.Wait(t, 10*time.Second, "a table of another program", func() bool { return strings.Contains(h.hv.Exec("nft", "list", "tables"), "inet hvrouter") })
	return free
}
