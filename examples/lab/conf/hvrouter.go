package conf

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Hypervisor is hvrouter's configuration for hypervisor n; its API socket, and
// everything it keeps beside it, is at api.
func Hypervisor(n int, api string, t Timing) string {
	var w writer
	w.line("router-id: %s\nas: %d\napi: %s", plan.RouterID(n), t.HVAS(n), api)
	w.line("loopback: {interface: loopback, address: %s/32}", plan.Loopback(n))
	w.line("bfd: {interval: %s, multiplier: %d, process: separate, realtime: auto}", t.BFD, t.Multiplier)
	hvBGP(&w, t)
	if t.Is("mode", plan.ModeBlackholeRules) {
		w.line("last-resort-by: rules")
	}
	if t.Is("mode", plan.ModeFwmark) {
		w.line("isolation: fwmark")
	}
	if t.Is("mode", plan.ModeVRF) {
		w.line("isolation: vrf")
	}
	w.line("domains:")
	w.line("  - name: public\n    %s\n    guests: true\n    unreachable: %s", publicNetNS(t), list(t.Unreachable()))
	publicSessions(&w, n, t)
	w.line("  - name: private\n    table: %d\n    loopback: true", t.Table(plan.TablePrivate))
	privateSessions(&w, n, t)
	sharedSessions(&w, n, t)
	if t.LocalOut() {
		w.line("local-out: {table: %d, domains: [private], last-resort: unreachable}", plan.TableLocal)
	}
	w.line("edge:\n  gateway4: %s\n  prefix-length4: %d\n  mac: %s", plan.Gateway4, plan.Subnet4.Bits(), plan.GatewayMAC)
	switch {
	case t.Is("dhcp", plan.DHCPLocal):
		w.line("  dhcp: {on: true}")
	case t.Is("dhcp", plan.DHCPRelay):
		w.line("  dhcp: {on: true, relay: [%s]}", plan.RRPrivate4(plan.A))
	}
	hvGuests(&w, n, t)
	return w.String()
}

func hvBGP(w *writer, t Timing) {
	w.line("bgp:\n  hold-time: %s\n  ttl-security: true\n  add-path: true", seconds(t.HoldTime()))
	if t.Is("security", plan.SecurityMD5) {
		w.line("  md5: %s", plan.Key)
	}
	switch {
	case !t.Graceful():
		w.line("  graceful-restart: {off: true}")
	case t.Is("resilience", plan.ResilienceLL), t.OneSided():
		w.line("  graceful-restart: {time: %s, deferral: 30s, long-lived: 3600s}", seconds(t.restart()))
	default:
		w.line("  graceful-restart: {time: %s, deferral: 30s}", seconds(t.restart()))
	}
}

// hvSession is one line of a domain's reflectors.
type hvSession struct {
	f           plan.Fabric
	device      string
	local, peer netip.Addr
	nextHop6    netip.Addr // of IPv6 on this session; the zero Addr leaves it out
	nextHops    []string   // none: the session's own
}

func (s hvSession) write(w *writer, t Timing) {
	more := ""
	if d := t.RestartTime(s.f); t.Graceful() && d != t.restart() {
		more = ", restart-time: " + seconds(d)
	}
	if s.nextHop6.IsValid() {
		more += fmt.Sprintf(`, families: [ipv4, ipv6], next-hop6: "%s"`, s.nextHop6)
	}
	if len(s.nextHops) > 0 {
		more += ",\n         advertise-next-hops: [" + strings.Join(s.nextHops, ",\n           ") + "]"
	}
	w.line(`      - {fabric: %s, interface: %s, local: "%s", peer: "%s", bfd: "%s"%s}`,
		s.f, s.device, s.local, s.peer, t.watch(s.f), more)
}

// Guest is a guest in hvrouter's words, for its configuration or its API; down is
// one that is known and not announced.
func Guest(g plan.Guest, down bool, t Timing) string {
	var w writer
	w.line("name: %s\ninterface: %s\nmac: %s\nipv4: [%s]\nipv6: [\"%s\"]", g.Name, g.Name, g.MAC, g.IPv4, g.Prefix6)
	if g.Anycast {
		w.line("routed: [%s/32, \"%s\"]", plan.Anycast4, plan.Anycast6)
	}
	if t.EVPN() && g.N <= len(t.Guests()) { // the further guests have no interface there
		w.line("overlays:\n  - {overlay: vx100, interface: %s, mac: %q, ipv4: [%s]}", g.OverlayTap(), g.OverlayMAC(), g.Overlay().Addr())
	}
	if g.Transparent {
		w.line("transparent: [{address: %s, to: %s}]", plan.Transparent, g.IPv4)
	}
	if down {
		w.line("down: true")
	}
	return w.String()
}

func hvGuests(w *writer, n int, t Timing) {
	w.line("guests:")
	for _, g := range t.AllOf(n) {
		w.line("  - %s", strings.ReplaceAll(strings.TrimSpace(Guest(g, false, t)), "\n", "\n    "))
	}
	w.line("overlays:\n  - name: vx100\n    vni: %d\n    bridge: br100", plan.VNI)
	if t.EVPN() {
		w.line("    evpn: {}")
		return
	}
	members := ""
	for _, g := range t.GuestsOf(n) {
		if members != "" {
			members += ", "
		}
		members += g.OverlayTap()
	}
	w.line("    members: [%s]\n    vteps: %s", members, netip.PrefixFrom(plan.Loopback(0), 24))
}

// list writes prefixes as YAML has them.
func list(prefixes []netip.Prefix) string {
	words := make([]string, len(prefixes))
	for i, p := range prefixes {
		words[i] = p.String()
	}
	return "[" + strings.Join(words, ", ") + "]"
}

// publicNetNS says where the public domain lives.
func publicNetNS(t Timing) string {
	if t.Apart() {
		return "netns: " + t.PublicNetNS
	}
	return fmt.Sprintf("table: %d", plan.TablePublic)
}
