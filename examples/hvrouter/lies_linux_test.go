package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// liesConfig is a hypervisor with two guests and a reflector over two fabrics.
const liesConfig = `
router-id: 0.0.1.1
as: 65000
api: DIR/api.sock
loopback: {interface: loopback, address: 172.22.2.1/32}
bfd: {process: off}
audit: {interval: 1s}
overlays: [{name: vx7, vni: 7, bridge: br7, peers: [172.22.2.2]}]
domains:
  - name: public
    table: 90
    guests: true
    unreachable: [203.0.113.0/24, "2001:db8:1::/48"]
    reflectors:
      - {fabric: A, interface: a.public, local: 198.51.100.101, peer: 198.51.100.126}
      - {fabric: B, interface: b.public, local: 198.51.100.201, peer: 198.51.100.226}
local-out: {table: 100, domains: []}
edge: {gateway4: 203.0.113.254}
guests:
  - {name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1], ipv6: ["2001:db8:1::7/128"]}
  - {name: vm2, mac: "50:54:33:00:00:09", ipv4: [203.0.113.2], ipv6: ["2001:db8:1::9/128"]}
`

// liesBird is the reflector: 203.0.113.3 is behind another hypervisor, over both fabrics.
const liesBird = `
router id 198.51.100.126;
log "DIR/bird.log" all;
protocol device {}
protocol static far { ipv4; route 203.0.113.3/32 via 198.51.100.102; }
protocol static farther { ipv4 { preference 199; }; route 203.0.113.3/32 via 198.51.100.202; }
template bgp hv { rr client; passive; error wait time 1, 2; ttl security on; ipv4 { add paths tx; import all; export all; }; }
protocol bgp a from hv { local 198.51.100.126 as 65000; neighbor 198.51.100.101 as 65000; direct; }
protocol bgp b from hv { local 198.51.100.226 as 65000; neighbor 198.51.100.201 as 65000; direct; }
`

// lie is something false that another program makes the kernel do.
type lie struct {
	// foreign is what the events foreign and foreign-gone, check and health name, "" for nothing.
	foreign string
	// bgp is what health says that it does to a route that BGP has, of which check does not know.
	bgp  string
	name string
	// does are the commands that make it, by ip, nft, sysctl or bridge; undoes take it back.
	does, undoes []string
	// asks is the question to explain while it stands; says are words of the answer. Without a
	// question it is repaired before anybody could ask.
	asks string
	says []string
	// event and key name the event that tells of it; "" is none.
	event, key string
}

const toGuest, toGuest6, toOther = "203.0.113.2 from vm1", "2001:db8:1::9 from vm1", "203.0.113.3 from vm1"

// standing are lies that are not ours to repair: other programs' rules, routes, chains and
// entries. Explain names them, before anything else.
var standing = []lie{
	{name: "a foreign rule with a table of its own", foreign: "5: from all lookup 77", does: []string{"ip route add 203.0.113.0/24 dev vm1 table 77", "ip rule add pref 5 lookup 77 protocol static"}, undoes: []string{"ip rule del pref 5", "ip route flush table 77"},
		asks: toGuest, says: []string{"DIFFERENCE: the packet should take 203.0.113.2 dev vm2", "a foreign rule decides: 5: from all lookup 77 proto static"}},
	{name: "a foreign rule that prohibits", foreign: "5: from all to 203.0.113.2/32 prohibit", does: []string{"ip rule add pref 5 to 203.0.113.2 prohibit"}, undoes: []string{"ip rule del pref 5"},
		asks: toGuest, says: []string{"a foreign rule decides: 5: from all to 203.0.113.2/32 prohibit", "EACCES"}},
	{name: "a foreign rule that is a blackhole for one guest", foreign: "5: from all iif vm1 blackhole", does: []string{"ip rule add pref 5 iif vm1 blackhole"}, undoes: []string{"ip rule del pref 5"},
		asks: toGuest, says: []string{"a foreign rule decides: 5: from all iif vm1 blackhole", "EINVAL"}},
	{name: "a foreign rule that is unreachable, by the source", foreign: "5: from 203.0.113.1/32 unreachable", does: []string{"ip rule add pref 5 from 203.0.113.1 unreachable"}, undoes: []string{"ip rule del pref 5"},
		asks: toGuest, says: []string{"a foreign rule decides: 5: from 203.0.113.1/32 unreachable", "ENETUNREACH"}},
	{name: "goto past our rules", foreign: "5: from all goto 32000", does: []string{"ip rule add pref 32000 lookup default", "ip rule add pref 5 goto 32000"}, undoes: []string{"ip rule del pref 5", "ip rule del pref 32000"},
		asks: toGuest, says: []string{"DIFFERENCE: the packet should take", "foreign: rule 5: from all goto 32000"}},
	{name: "a foreign rule of IPv6", foreign: "-6 5: from all to 2001:db8:1::9/128 prohibit", does: []string{"ip -6 rule add pref 5 to 2001:db8:1::9 prohibit"}, undoes: []string{"ip -6 rule del pref 5"},
		asks: toGuest6, says: []string{"a foreign rule decides: 5: from all to 2001:db8:1::9/128 prohibit"}},
	{name: "a better metric", foreign: "203.0.113.2 dev vm1 table 90 proto dhcp metric 1", does: []string{"ip route add 203.0.113.2/32 dev vm1 table 90 metric 1 proto dhcp"}, undoes: []string{"ip route del 203.0.113.2/32 table 90 metric 1"},
		asks: toGuest, says: []string{"a foreign route has a better metric: 203.0.113.2 dev vm1 table 90 proto dhcp metric 1"}},
	{name: "a blackhole with a better metric", foreign: "blackhole 203.0.113.2 table 90 proto static metric 1", does: []string{"ip route add blackhole 203.0.113.2/32 table 90 metric 1 proto static"}, undoes: []string{"ip route del blackhole 203.0.113.2/32 table 90 metric 1"},
		asks: toGuest, says: []string{"a foreign route has a better metric: blackhole 203.0.113.2 table 90 proto static metric 1", "EINVAL"}},
	{name: "unreachable, of IPv6", foreign: "unreachable 2001:db8:1::9", does: []string{"ip -6 route add unreachable 2001:db8:1::9/128 table 90 metric 1"}, undoes: []string{"ip -6 route del unreachable 2001:db8:1::9/128 table 90 metric 1"},
		asks: toGuest6, says: []string{"a foreign route has a better metric: unreachable 2001:db8:1::9", "EHOSTUNREACH"}},
	{name: "throw", foreign: "throw 203.0.113.2 table 90 proto boot", does: []string{"ip route add throw 203.0.113.2/32 table 90 metric 1"}, undoes: []string{"ip route del throw 203.0.113.2/32 table 90 metric 1"},
		asks: toGuest, says: []string{"DIFFERENCE: the packet should take", "foreign: route throw 203.0.113.2 table 90 proto boot"}},
	{name: "an address that nobody has leaks out", foreign: "203.0.113.77 via 198.51.100.126", does: []string{"ip route add 203.0.113.77/32 via 198.51.100.126 dev a.public table 90 proto static"}, undoes: []string{"ip route del 203.0.113.77/32 table 90"},
		asks: "203.0.113.77 from vm1", says: []string{"other programs decide: without them the packet would be dropped by hvrouter's route of last resort", "foreign: route 203.0.113.77 via 198.51.100.126"}},
	{name: "a better metric than BGP's, which is learned and announced", foreign: "203.0.113.3 via 198.51.100.103 dev a.public table 90 proto static metric 1", bgp: "BGP's, 203.0.113.3 via 198.51.100.102 dev a.public via 198.51.100.202 dev b.public metric 32, is not written, since this one is announced", does: []string{"ip route add 203.0.113.3/32 via 198.51.100.103 dev a.public table 90 metric 1 proto static"}, undoes: []string{"ip route del 203.0.113.3/32 table 90 metric 1"},
		asks: toOther, says: []string{"DIFFERENCE: other programs decide", "foreign: route 203.0.113.3 via 198.51.100.103 dev a.public table 90 proto static metric 1", "learned: a foreign route with metric 1 is in the table, and announced"}},
	{name: "a better metric than BGP's, of another BGP speaker, which is not announced", foreign: "203.0.113.3 via 198.51.100.103 dev a.public table 90 proto bird metric 1", bgp: "it beats BGP's, 203.0.113.3 via 198.51.100.102 dev a.public", does: []string{"ip route add 203.0.113.3/32 via 198.51.100.103 dev a.public table 90 metric 1 proto bird"}, undoes: []string{"ip route del 203.0.113.3/32 table 90 metric 1"},
		asks: toOther, says: []string{"a foreign route has a better metric: 203.0.113.3 via 198.51.100.103 dev a.public table 90 proto bird metric 1"}},
	{name: "a blackhole with BGP's metric, of another BGP speaker, put before", foreign: "blackhole 203.0.113.3 table 90 proto bird metric 32", bgp: "BGP's, 203.0.113.3 via 198.51.100.102 dev a.public", does: []string{"ip route prepend blackhole 203.0.113.3/32 table 90 metric 32 proto bird"}, undoes: []string{"ip route del blackhole 203.0.113.3/32 table 90 metric 32"},
		asks: toOther, says: []string{"DIFFERENCE: "}},
	{name: "a neighbour of an uplink that is permanent", does: []string{"ip neigh replace 198.51.100.102 lladdr 02:00:00:00:00:99 dev a.public nud permanent"}, undoes: []string{"ip neigh del 198.51.100.102 dev a.public"},
		asks: toOther, says: []string{"DIFFERENCE: neighbour 198.51.100.102 on a.public is permanent at 02:00:00:00:00:99, and not hvrouter's"}},
	{name: "a neighbour of an uplink that has failed", does: []string{"ip neigh replace 198.51.100.102 dev a.public nud failed"}, undoes: []string{"ip neigh del 198.51.100.102 dev a.public"},
		asks: toOther, says: []string{"DIFFERENCE: neighbour 198.51.100.102 on a.public is failed"}},
	{name: "a foreign chain that drops what is forwarded", foreign: "table ip lie chain drops (type filter, hook forward, priority 0, policy drop)", does: []string{"nft add table ip lie", "nft add chain ip lie drops { type filter hook forward priority 0 ; policy drop ; }"}, undoes: []string{"nft delete table ip lie"},
		asks: toGuest, says: []string{"forward: unless they drop: table ip lie chain drops (type filter, priority 0, policy drop)"}},
	{name: "a foreign chain that drops what arrives, of IPv6", foreign: "table ip6 lie chain pre (type filter, hook prerouting, priority -500, policy drop)", does: []string{"nft add table ip6 lie", "nft add chain ip6 lie pre { type filter hook prerouting priority -500 ; policy drop ; }"}, undoes: []string{"nft delete table ip6 lie"},
		asks: toGuest6, says: []string{"prerouting: unless they drop: table ip6 lie chain pre (type filter, priority -500, policy drop)"}},
	{name: "a foreign chain that drops what an interface receives", foreign: "table netdev lie chain rx (type filter, hook ingress device vm1, priority 0, policy drop)", does: []string{"nft add table netdev lie", "nft add chain netdev lie rx { type filter hook ingress device vm1 priority 0 ; policy drop ; }"}, undoes: []string{"nft delete table netdev lie"},
		asks: toGuest, says: []string{"ingress: unless they drop: table netdev lie chain rx (type filter, priority 0, policy drop)"}},
	{name: "the same, of the family inet", foreign: "table inet lie chain rx (type filter, hook ingress device vm1, priority 0, policy drop)", does: []string{"nft add table inet lie", "nft add chain inet lie rx { type filter hook ingress device vm1 priority 0 ; policy drop ; }"}, undoes: []string{"nft delete table inet lie"},
		asks: toGuest, says: []string{"ingress: unless they drop: table inet lie chain rx"}},
	{name: "a foreign chain that drops what uplinks send", foreign: "table netdev lie chain tx (type filter, hook egress device a.public b.public, priority 0, policy drop)", does: []string{"nft add table netdev lie", "nft add chain netdev lie tx { type filter hook egress devices = { a.public, b.public } priority 0 ; policy drop ; }"}, undoes: []string{"nft delete table netdev lie"},
		asks: toOther, says: []string{"egress: unless they drop: table netdev lie chain tx (type filter, priority 0, policy drop)"}},
	{name: "a foreign chain that drops what bridges forward", foreign: "table bridge lie chain fw (type filter, hook forward, priority 0, policy drop)", does: []string{"nft add table bridge lie", "nft add chain bridge lie fw { type filter hook forward priority 0 ; policy drop ; }"}, undoes: []string{"nft delete table bridge lie"},
		asks: "ff:ff:ff:ff:ff:ff vni 7", says: []string{"firewall: bridge forward: unless they drop: table bridge lie chain fw (type filter, priority 0, policy drop)"}},
	{name: "a foreign chain that drops ARP", foreign: "table arp lie chain in (type filter, hook input, priority 0, policy drop)", does: []string{"nft add table arp lie", "nft add chain arp lie in { type filter hook input priority 0 ; policy drop ; }"}, undoes: []string{"nft delete table arp lie"},
		asks: toGuest, says: []string{"arp input: unless they drop: table arp lie chain in (type filter, priority 0, policy drop)"}},
	{name: "a guest's interface in a foreign bridge", does: []string{"ip link add name lie0 type bridge", "ip link set dev lie0 up", "ip link set dev vm1 master lie0"}, undoes: []string{"ip link del lie0"},
		asks: toGuest, says: []string{"DIFFERENCE: vm1 belongs to lie0: what arrives there goes to that interface"}},
	{name: "a source that is not the guest's", asks: "203.0.113.2 from vm1 -source 203.0.113.99", says: []string{"dropped: the kernel takes no packet from 203.0.113.99 on vm1", "reverse path filter"}},
	{name: "an IPv6 source that is not the guest's", asks: "2001:db8:1::9 from vm1 -source 2001:db8:1::77", says: []string{"prerouting: dropped by", "spoofed"}},
	{name: "a port of the hypervisor's", asks: "198.51.100.101 from vm1", says: []string{"input: dropped by \"guest-to-hypervisor\""}},
}

// repaired are lies about what is ours: the daemon repairs them at once, and an event names each.
var repaired = []lie{
	{name: "our rule deleted", does: []string{"ip rule del pref 99"}, event: "repair", key: "99: from all lookup 90"},
	{name: "our rule of IPv6 deleted", does: []string{"ip -6 rule del pref 53"}, event: "repair", key: "53: from all lookup 90"},
	{name: "a guest's route deleted", does: []string{"ip route del 203.0.113.2/32 table 90 metric 10"}, event: "repair", key: "203.0.113.2/32 table 90"},
	{name: "a guest's route led to another", does: []string{"ip route replace 203.0.113.2/32 dev vm1 table 90 metric 10 proto 201"}, event: "repair", key: "203.0.113.2/32 table 90"},
	{name: "a guest's route of IPv6 deleted", does: []string{"ip -6 route del 2001:db8:1::9/128 table 90"}, event: "repair", key: "2001:db8:1::9/128 table 90"},
	{name: "the unreachable prefix deleted", does: []string{"ip route del unreachable 203.0.113.0/24 table 90"}, event: "repair", key: "203.0.113.0/24 table 90"},
	{name: "the next-hop object of a fabric led to another gateway", does: []string{"ip nexthop replace id NHID via 198.51.100.103 dev a.public"}, event: "repair", key: "next-hop object"},
	{name: "the group of both fabrics made one of one", does: []string{"ip nexthop replace id GROUP group NHID"}, event: "repair", key: "next-hop object"},
	{name: "the next-hop object of a fabric deleted", does: []string{"ip nexthop del id NHID"}, event: "repair", key: "next-hop object"},
	{name: "a guest's neighbour with another MAC", does: []string{"ip neigh replace 203.0.113.2 lladdr 02:00:00:00:00:99 dev vm2 nud permanent"}, event: "repair", key: "neighbor 203.0.113.2"},
	{name: "a guest's neighbour made stale", does: []string{"ip neigh replace 203.0.113.2 lladdr 50:54:33:00:00:09 dev vm2 nud stale"}, event: "repair", key: "neighbor 203.0.113.2"},
	{name: "a guest's neighbour deleted", does: []string{"ip neigh del 203.0.113.2 dev vm2"}, event: "repair", key: "neighbor 203.0.113.2"},
	{name: "a guest's gateway deleted", does: []string{"ip addr del 203.0.113.254/32 dev vm2"}, event: "repair", key: "address 203.0.113.254/32"},
	{name: "the loopback's address deleted", does: []string{"ip addr del 172.22.2.1/32 dev loopback"}, event: "repair", key: "address 172.22.2.1/32"},
	{name: "rp_filter of a guest", does: []string{"sysctl -qw net.ipv4.conf.vm2.rp_filter=0"}, event: "repair", key: "net/ipv4/conf/vm2/rp_filter"},
	{name: "forwarding of a guest off", does: []string{"sysctl -qw net.ipv4.conf.vm2.forwarding=0"}, event: "repair", key: "net/ipv4/conf/vm2/forwarding"},
	{name: "forwarding of all off", does: []string{"sysctl -qw net.ipv4.ip_forward=1", "sysctl -qw net.ipv4.ip_forward=0"}, event: "repair", key: "/forwarding"},
	{name: "forwarding of IPv6 off", does: []string{"sysctl -qw net.ipv6.conf.all.forwarding=0"}, event: "repair", key: "net/ipv6/conf/all/forwarding"},
	{name: "proxy_arp off", does: []string{"sysctl -qw net.ipv4.conf.vm2.proxy_arp=0"}, event: "repair", key: "net/ipv4/conf/vm2/proxy_arp"},
	{name: "the firewall flushed", does: []string{"nft flush ruleset"}, event: "repair", key: "nftables table hvrouter"},
	{name: "our table deleted", does: []string{"nft delete table inet hvrouter"}, event: "repair", key: "nftables table hvrouter"},
	{name: "our chain flushed", does: []string{"nft flush chain inet hvrouter raw"}, event: "repair", key: "nftables table hvrouter"},
	{name: "a rule put before ours", does: []string{"nft insert rule inet hvrouter raw accept"}, event: "repair", key: "nftables table hvrouter"},
	{name: "a guest taken out of a set", does: []string{"nft delete element inet hvrouter guests { \"vm2\" }"}, event: "repair", key: "nftables table hvrouter"},
	{name: "the table for ARP deleted", does: []string{"nft delete table arp hvrouter"}, event: "repair", key: "nftables table hvrouter"},
	{name: "our table asleep", does: []string{"nft add table inet hvrouter { flags dormant ; }"}, event: "repair", key: "nftables table hvrouter"},
	{name: "a chain of ours that drops what no rule decides", does: []string{"nft chain inet hvrouter forward { policy drop ; }"}, event: "repair", key: "nftables table hvrouter"},
	{name: "an overlay's destination deleted", does: []string{"bridge fdb del 00:00:00:00:00:00 dev vx7 dst 172.22.2.2"}, event: "overlay-repaired"},
	{name: "an overlay's destination that nobody has given, with our mark", does: []string{"bridge fdb append 00:00:00:00:00:00 dev vx7 dst 192.0.2.66 extern_learn"},
		event: "difference", key: "forwarding entry 00:00:00:00:00:00 of vx7 to 192.0.2.66"},
}

// TestLies prepares one lie after the other: explain, or an event, names each.
func TestLies(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := liesHost(t)
	for _, l := range standing {
		t.Run(l.name, func(t *testing.T) { h.stands(t, l) })
	}
	h.truth("after foreign lies", toGuest, toGuest6, toOther)
	nstest.Wait(t, 15*time.Second, "health after foreign lies", func() bool {
		cmd := h.command("show", "health", "-api", h.path("api.sock"))
		out, _ := cmd.Output()
		return cmd.ProcessState.ExitCode() == 0 && strings.HasPrefix(string(out), "healthy\n")
	})
	for _, l := range repaired {
		t.Run(l.name, func(t *testing.T) { h.isRepaired(t, l) })
	}
	h.truth("at the end", toGuest, toGuest6, toOther)
	metrics := h.cli("metrics")
	for _, kind := range []string{"route", "rule", "next-hop", "neighbour", "address", "sysctl", "firewall"} {
		if !strings.Contains(metrics, fmt.Sprintf("hvrouter_repairs_total{kind=%q}", kind)) {
			t.Errorf("no repair of a %s is counted:\n%s", kind, metrics)
		}
	}
	if !strings.Contains(metrics, `hvrouter_differences_total{kind="forwarding"} 1`) {
		t.Errorf("no difference of a forwarding entry is counted:\n%s", metrics)
	}
	if out := h.hv.Exec("bridge", "fdb", "show", "dev", "vx7"); strings.Contains(out, "192.0.2.66") {
		t.Errorf("an overlay sends to a stranger: %s", out)
	}
	t.Run("without a daemon", h.alone)
}

// liesHost makes the hypervisor, and waits until explain finds no difference.
func liesHost(t *testing.T) *host {
	for _, tool := range []string{"bird", "nft"} {
		nstest.Need(t, tool)
	}
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), rr: nstest.New(t, "rr"), vm: nstest.New(t, "vm")}
	nstest.Veth(h.hv, "a.public", "198.51.100.101/25", h.rr, "fa", "198.51.100.126/25")
	nstest.Veth(h.hv, "b.public", "198.51.100.201/25", h.rr, "fb", "198.51.100.226/25")
	h.hv.IP("link add name loopback type bridge")
	h.hv.IP("link set dev loopback up")
	h.write("hv.yaml", liesConfig)
	h.reflector(liesBird)
	for i, name := range []string{"vm1", "vm2"} {
		h.hv.IP(fmt.Sprintf("link add name %s type veth peer name e%d address 50:54:33:00:00:0%d netns %s", name, i, 7+2*i, h.vm.Name))
		h.vm.IP(fmt.Sprintf("link set e%d up", i))
	}
	t.Cleanup(h.end)
	h.run()
	h.route("203.0.113.2", "vm2")
	h.route("2001:db8:1::9", "vm2")
	h.wait("the route of another host", func() bool { return h.routes("route show table 90 203.0.113.3") != "" })
	h.truth("at rest", toGuest, toGuest6, toOther)
	return h
}

// truth: explain finds no difference, and says where packets go.
func (h *host) truth(when string, questions ...string) {
	h.t.Helper()
	for _, q := range questions {
		var out string
		nstest.Wait(h.t, 10*time.Second, "explain "+q+" finding no difference "+when, func() bool {
			out = h.explains(q)
			return !strings.Contains(out, "DIFFERENCE") && strings.Contains(out, ": forwarded by ")
		})
		if !strings.Contains(out, "chain raw, from_guest") || strings.Contains(out, "unless") {
			h.t.Errorf("%s: explain %s: the firewall was not evaluated:\n%s", when, q, out)
		}
	}
}

// explains runs hvrouter explain.
func (h *host) explains(question string) string {
	out, _ := h.command(append(append([]string{"explain"}, strings.Fields(question)...), "-api", h.path("api.sock"), "-config", h.path("hv.yaml"))...).CombinedOutput()
	return string(out)
}

// do runs commands in the hypervisor's namespace.
func (h *host) do(t *testing.T, commands []string) {
	t.Helper()
	for _, line := range commands {
		if strings.Contains(line, "NHID") {
			line = strings.ReplaceAll(line, "NHID", h.objectOf(t, "via 198.51.100.102 "))
			if strings.Contains(line, "GROUP") {
				line = strings.ReplaceAll(line, "GROUP", h.objectOf(t, "group "))
			}
		}
		if out, err := h.hv.Command("sh", "-c", line).CombinedOutput(); err != nil && !strings.Contains(line, "{") {
			t.Fatalf("%s: %v: %s", line, err, out)
		} else if err != nil { // braces and semicolons are nft's, not the shell's
			words := strings.SplitN(line, " ", 2)
			if out, err := h.hv.Command(words[0], words[1]).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", line, err, out)
			}
		}
	}
}

// objectOf returns the id of the next-hop object of which ip(8) says so.
func (h *host) objectOf(t *testing.T, says string) (id string) {
	t.Helper()
	nstest.Wait(t, 10*time.Second, "a next-hop object: "+says, func() bool {
		for line := range strings.Lines(h.hv.IP("nexthop show")) {
			if words := strings.Fields(line); strings.Contains(line, says) && len(words) > 1 {
				id = words[1]
				return true
			}
		}
		return false
	})
	return id
}

func (h *host) stands(t *testing.T, l lie) {
	h.do(t, l.does)
	t.Cleanup(func() { h.do(t, l.undoes) })
	var out string
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out = h.explains(l.asks)
		missing := slices.IndexFunc(l.says, func(s string) bool { return !strings.Contains(out, s) })
		if missing < 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("explain %s does not say %q:\n%s", l.asks, l.says[missing], out)
			break
		}
	}
	if l.foreign != "" {
		h.isForeign(t, l.foreign, l.bgp)
	}
	words := strings.Fields(l.asks)
	if strings.Contains(l.asks, " vni ") { // of a MAC: its JSON is another
		return
	}
	var e api.Explanation
	args := append(append([]string{"explain", "-j"}, words...), "-api", h.path("api.sock"))
	data, _ := h.command(args...).Output()
	if err := json.Unmarshal(data, &e); err != nil || len(e.Kernel) != 1 {
		t.Errorf("JSON: %v: %s", err, data)
	}
}

// foreignGauge is that of something foreign that is there.
var foreignGauge = regexp.MustCompile(`(?m)^hvrouter_foreign_objects\{kind="[a-z]+"\} [1-9]`)

// isForeign: what another program has is told by an event, by health with exit code 1, by a metric
// and by check, unless it is about a route of BGP's.
func (h *host) isForeign(t *testing.T, what, bgp string) {
	var out []byte
	nstest.Wait(t, 15*time.Second, "show health naming "+what, func() bool {
		cmd := h.command("show", "health", "-api", h.path("api.sock"))
		out, _ = cmd.Output()
		return cmd.ProcessState.ExitCode() == 1 && strings.HasPrefix(string(out), "degraded\n") && strings.Contains(string(out), "foreign: foreign ") && strings.Contains(string(out), what) &&
			(bgp == "" || strings.Contains(string(out), what+": "+bgp))
	})
	if !slices.ContainsFunc(h.events(t), func(e journal.Event) bool { return e.Name == "foreign" && strings.Contains(e.Attrs["line"], what) }) {
		t.Errorf("no event foreign has %s", what)
	}
	if m := h.cli("metrics"); !strings.Contains(m, "hvrouter_health 1\n") || !foreignGauge.MatchString(m) {
		t.Errorf("metrics:\n%s", m)
	}
	if bgp != "" {
		return
	}
	cmd := h.command("check", "-config", h.path("hv.yaml"))
	if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), "warning: foreign ") || !strings.Contains(string(out), what) {
		t.Errorf("check does not name %s:\n%s", what, out)
	}
}

func (h *host) isRepaired(t *testing.T, l lie) {
	before := h.events(t)
	h.do(t, l.does)
	nstest.Wait(t, 10*time.Second, "event "+l.event+" "+l.key, func() bool {
		return slices.ContainsFunc(h.events(t)[min(len(before), len(h.events(t))):], func(e journal.Event) bool {
			return e.Name == l.event && strings.Contains(e.Attrs["key"], l.key)
		})
	})
	nstest.Wait(t, 10*time.Second, "the repair", func() bool {
		out := h.explains(toGuest) + h.explains(toGuest6) + h.explains(toOther)
		return !strings.Contains(out, "DIFFERENCE") && strings.Count(out, ": forwarded by ") == 3
	})
}

// events returns the events of the daemon's log so far, by their names.
func (h *host) events(t *testing.T) (list []journal.Event) {
	data, err := os.ReadFile(h.path("hv.log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		e := journal.Event{Attrs: map[string]string{}}
		if _, rest, ok := strings.Cut(line, "event="); ok {
			e.Name, _, _ = strings.Cut(strings.TrimSpace(rest), " ")
		}
		e.Attrs["line"] = line
		if _, rest, ok := strings.Cut(line, "key="); ok {
			e.Attrs["key"] = rest
		}
		list = append(list, e)
	}
	return list
}

// alone: while no daemon runs, the kernel's part is said, and foreign rules are named.
func (h *host) alone(t *testing.T) {
	h.kill(os.Kill)
	defer h.run()
	h.do(t, []string{"ip rule add pref 5 to 203.0.113.2 prohibit"})
	defer h.do(t, []string{"ip rule del pref 5"})
	out := h.explains(toGuest)
	for _, want := range []string{"no daemon answers", "foreign: rule 5: from all to 203.0.113.2/32 prohibit", "dropped by rule 5", "chain raw, from_guest"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
	if out := h.explains(toGuest6); !strings.Contains(out, "forwarded by 2001:db8:1::9") {
		t.Errorf("IPv6:\n%s", out)
	}
}
