package soak

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// evpnOverlays are the overlays with EVPN, at both hypervisors, and the guests on them whose interfaces come and go: e0 to e3
// at either hypervisor or at both at once, which are duplicates then; m0 is moved from one to the other. A reload may take
// vx400 away, which has none.
const evpnOverlays = `
  - {name: vx300, vni: 300, bridge: br300, evpn: {duplicate-time: 15s}}
  - {name: vx400, vni: 400, bridge: br400, evpn: {duplicate-time: 15s}}`

const (
	roaming   = 4
	evpnPaths = 5 // of each hypervisor in the end: two of type 3; of its guest vm on vx300 the MAC alone, and with two addresses
)

// roamingGuests are those in the file.
func roamingGuests() string {
	var b strings.Builder
	for i := range roaming {
		fmt.Fprintf(&b, "  - {name: e%d, overlays: [{overlay: vx300, interface: e%d.ev, mac: \"%s\", ipv4: [192.168.7.%d], ipv6: [\"2001:db8:7::%d\"]}]}\n", i, i, roamingMAC(i), 10+i, 10+i)
	}
	fmt.Fprintf(&b, "  - {name: m0, overlays: [{overlay: vx300, interface: m0.ev, mac: \"%s\", ipv4: [192.168.7.20]}]}\n", movingMAC)
	return b.String()
}

func roamingMAC(i int) string { return fmt.Sprintf("50:54:33:00:10:%02x", i) }

const movingMAC = "50:54:33:00:10:20"

// onOverlay is what guest g4 or g5 has on an overlay with EVPN, in YAML.
func (h *host) onOverlay(i, version int) string {
	if i < 4 {
		return ""
	}
	var addrs []string
	for v := range version {
		addrs = append(addrs, fmt.Sprintf("192.168.7.%d", 100+h.n*32+i*4+v))
	}
	return fmt.Sprintf(`, overlays: [{overlay: vx300, interface: g%d.ev, mac: "50:54:33:00:%02x:%02x", ipv4: [%s]}]`, i, 16+h.n, i, strings.Join(addrs, ", "))
}

// roam plugs a guest of an overlay with EVPN in, or out, whatever the other hypervisor has.
func (a *actor) roam(r *rand.Rand) error {
	i := r.IntN(roaming + 2)
	name, mac := fmt.Sprintf("e%d.ev", i), roamingMAC(i)
	if i >= roaming { // g4 or g5
		name, mac = fmt.Sprintf("g%d.ev", i), fmt.Sprintf("50:54:33:00:%02x:%02x", 16+a.h.n, i)
	}
	if a.h.plugged[name] {
		a.h.unplug(name)
		return nil
	}
	a.h.plug(name, a.h.others, "p."+name, mac)
	if r.IntN(4) == 0 { // at once out again
		a.h.unplug(name)
	}
	return nil
}

// roamDown says that a guest of the file is not here, or is here again.
func (a *actor) roamDown(r *rand.Rand) error {
	_, err := a.h.cli("guest", "move", fmt.Sprint("e", r.IntN(roaming)), []string{"-down", "-up", "-up"}[r.IntN(3)])
	return err
}

// foreignEVPN changes what is ours of EVPN by another hand, and waits for its repair. What takes the place of an entry of
// ours stays until the other hand takes it away, and so does another name of a device.
func (a *actor) foreignEVPN(r *rand.Rand) error {
	other := 3 - a.h.n
	mac := fmt.Sprintf("50:54:33:00:02:0%d", other) // of the other hypervisor's guest
	hands := [][2]string{
		{"bridge fdb del MAC dev vx300 dst VTEP self"}, {"bridge fdb del MAC dev vx300 master"}, {"bridge fdb del 00:00:00:00:00:00 dev vx300 dst VTEP"}, {"bridge fdb flush dev vx300 self"},
		{"bridge fdb replace MAC dev vx300 dst 172.22.2.77 self static", "bridge fdb del MAC dev vx300 dst 172.22.2.77 self"}, {"bridge fdb replace MAC dev vm.ev master static", "bridge fdb del MAC dev vm.ev master"},
		{"bridge fdb append 50:54:33:00:02:77 dev vx400 dst 172.22.2.78 self extern_learn"},
		{"ip neigh del ADDRESS dev br300"}, {"ip neigh flush dev br300 nud noarp"}, {"ip neigh replace ADDRESS lladdr 50:54:33:00:02:77 dev br300 nud permanent", "ip neigh del ADDRESS dev br300"},
		{"ip link set vx300 down"}, {"ip link set br300 down"}, {"ip link del vx300"}, {"ip link del br300"}, {"ip link set vx300 nomaster"}, {"ip link set vm.ev nomaster"}, {"bridge link set dev vx300 state 0"},
		{"bridge link set dev vx300 learning on neigh_suppress off"}, {"ip link set br300 mtu 1400"}, {"ip link set vx400 name vx401", "ip link set vx401 name vx400"},
	}
	hand, wait := hands[r.IntN(len(hands))], time.Duration(r.IntN(1000))*time.Millisecond
	for i, command := range hand {
		if command == "" {
			continue
		}
		if i > 0 {
			time.Sleep(wait)
		}
		command = strings.NewReplacer("MAC", mac, "VTEP", fmt.Sprint("172.22.2.", other), "ADDRESS", fmt.Sprint("192.168.7.", other)).Replace(command)
		a.note("%s %s", a.name, command)
		words := strings.Fields(command)
		_ = a.h.hv.Command(words[0], words[1:]...).Run() // what is not there cannot be changed
	}
	return a.flows()
}

// migrate moves m0 to one of the hypervisors, as a migration does: its interface is at the target before it is
// gone at the source, or after. It is over when both kernels have it where it is.
func (a *actor) migrate(r *rand.Rand) error {
	to, gap, first := 1+r.IntN(2), time.Duration(r.IntN(1500))*time.Millisecond, r.IntN(2) == 0
	target, source := a.hosts[to-1], a.hosts[2-to]
	plug := func() {
		if target.hv.Command("ip", "link", "show", "m0.ev").Run() != nil {
			target.hv.IP("link add name m0.ev type veth peer name p.m0.ev address " + movingMAC + " netns " + target.others.Name)
			target.others.IP("link set p.m0.ev up")
		}
	}
	unplug := func() { _ = source.hv.Command("ip", "link", "del", "m0.ev").Run() }
	steps := []func(){plug, unplug}
	if !first {
		steps = []func(){unplug, plug}
	}
	steps[0]()
	time.Sleep(gap)
	steps[1]()
	return a.until(healing, func() error {
		if a.stopped() {
			return nil
		}
		here, _ := target.hv.Command("bridge", "fdb", "show", "br", "br300").Output()
		there, _ := source.hv.Command("bridge", "fdb", "show", "dev", "vx300").Output()
		if !movedHere.Match(here) {
			return fmt.Errorf("m0 is at hypervisor %d, which has not %v:\n%s", to, movedHere, here)
		}
		if want := fmt.Sprintf("%s dst 172.22.2.%d self", movingMAC, to); !strings.Contains(string(there), want) {
			return fmt.Errorf("m0 is at hypervisor %d, and hypervisor %d has not %q:\n%s", to, source.n, want, there)
		}
		return nil
	})
}

// movedHere is the entry of m0 where it is. Of an entry that was that of the VTEP before, Linux leaves extern_learn.
var movedHere = regexp.MustCompile(`(?m)^` + movingMAC + ` dev m0\.ev (extern_learn )?sticky master br300 static`)

// leave takes m0 away from both.
func (s *soak) leave() {
	for _, h := range s.hosts {
		_ = h.hv.Command("ip", "link", "del", "m0.ev").Run()
	}
}

// startOurs starts our reflector of a private network, which passes on EVPN as well. The first time there is nothing that an
// earlier one has left.
func (b *testbed) startOurs(n *network) {
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	args := []string{"-as", "65000", "-router-id", n.addr, "-listen", n.addr + ":179", "-clients", netip.PrefixFrom(netip.MustParseAddr(n.addr), 25).Masked().String(),
		"-bfd", "100ms,10", "-ttl-security", "-evpn", "-rt-constrain", "-long-lived", "0", "-api", filepath.Join(n.dir, "rr.sock")}
	if n.daemon == nil {
		args = append(args, "-cold")
	}
	n.daemon = b.program(n, self, append([]string{"routereflector"}, args...)...)
}

// client is a session as our reflector shows it.
type client struct {
	Key      struct{ Addr string }
	State    string
	Families []struct {
		Family       wire.Family
		Paths, Stale int
	}
}

// clients returns those of our reflector.
func (n *network) clients() (list []client, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out, err := n.ns.Command(self, "routereflector", "show", "-j", "-api", filepath.Join(n.dir, "rr.sock")).Output()
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(out, &list)
	return list, err
}

// wellOurs returns an error if our reflector has not what both hypervisors announce in the end, or has more.
func (n *network) wellOurs() error {
	list, err := n.clients()
	if err != nil || len(list) != 2 {
		return fmt.Errorf("the reflector of %s has the clients %v, %w", n.name, list, err)
	}
	for _, p := range list {
		for _, f := range p.Families {
			want := map[wire.Family]int{wire.IPv4Unicast: 1, wire.L2VPNEVPN: evpnPaths, wire.RTConstrain: 2}[f.Family]
			if p.State != "Established" || f.Paths != want || f.Stale > 0 {
				return fmt.Errorf("the reflector of %s: session with %v %v, %d paths of %v, %d of them stale, want %d", n.name, p.Key, p.State, f.Paths, f.Family, f.Stale, want)
			}
		}
	}
	return nil
}
