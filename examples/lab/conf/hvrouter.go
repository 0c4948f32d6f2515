package conf

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Hypervisor is hvrouter's configuration for hypervisor n; its API socket, and
// everything it keeps beside it, is at api.
func Hypervisor(n int, api string, t Timing) string {
	var w writer
	w.line("router-id: %s\nas: %d\napi: %s", plan.RouterID(n), plan.AS, api)
	w.line("loopback: {interface: loopback, address: %s/32}", plan.Loopback(n))
	w.line("bfd: {interval: %s, multiplier: %d, process: separate, realtime: auto}", t.BFD, t.Multiplier)
	w.line("bgp:\n  hold-time: 90s\n  ttl-security: true\n  add-path: true")
	w.line("  graceful-restart: {time: 120s, deferral: 30s}")
	w.line("domains:")
	w.line("  - name: public\n    table: %d\n    guests: true\n    unreachable: [%s]\n    reflectors:", plan.TablePublic, plan.Subnet4)
	for _, f := range plan.Fabrics {
		hvSession(&w, f, t, f.Public(), plan.HVPublic4(n, f), plan.RRPublic4(f))
		hvSession(&w, f, t, f.Public(), plan.HVPublic6(n, f), plan.RRPublic6(f))
	}
	w.line("  - name: private\n    table: %d\n    loopback: true\n    reflectors:", plan.TablePrivate)
	for _, f := range plan.Fabrics {
		hvSession(&w, f, t, f.Private(), plan.HVPrivate4(n, f), plan.RRPrivate4(f))
	}
	w.line("local-out: {table: %d, domains: [private], last-resort: unreachable}", plan.TableLocal)
	w.line("edge:\n  gateway4: %s\n  length4: %d", plan.Gateway4, plan.Subnet4.Bits())
	hvGuests(&w, n)
	return w.String()
}

func hvSession(w *writer, f plan.Fabric, t Timing, device string, local, peer netip.Addr) {
	w.line(`      - {fabric: %s, interface: %s, local: "%s", peer: "%s", bfd: "%s"}`, f, device, local, peer, onOff(t.Hears(f)))
}

func hvGuests(w *writer, n int) {
	members := ""
	w.line("guests:")
	for _, g := range plan.GuestsOf(n) {
		w.line("  - name: %s\n    interface: %s\n    mac: %s\n    ipv4: [%s]\n    ipv6: [\"%s\"]",
			g.Name, g.Name, g.MAC, g.IPv4, g.Prefix6)
		if g.Anycast {
			w.line("    routed: [%s/32, \"%s\"]", plan.Anycast4, plan.Anycast6)
		}
		if g.Transparent {
			w.line("    transparent: [{address: %s, to: %s}]", plan.Transparent, g.IPv4)
		}
		if members != "" {
			members += ", "
		}
		members += g.OverlayTap()
	}
	w.line("overlays:\n  - name: vx100\n    vni: %d\n    bridge: br100\n    members: [%s]\n    vteps: %s",
		plan.VNI, members, netip.PrefixFrom(plan.Loopback(0), 24))
}
