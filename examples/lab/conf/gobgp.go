package conf

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Gobgp is GoBGP 3 as a reflector. It has no BFD. Its clients are dynamic neighbours,
// which GoBGP gives no ADD-PATH whatever their peer group says, or named ones, which it
// does.
func Gobgp(f plan.Fabric, private, named bool, t Timing) string {
	var w writer
	d := domainOf(f, private)
	evpn := private && t.EVPN()
	w.comment("#", fmt.Sprintf(timersOnly, "hold time and the restart time"))
	w.line("[global.config]\n  as = %d\n  router-id = %q\n  port = 179", plan.AS, d.id)
	w.line("  local-address-list = [")
	for _, s := range d.families {
		w.line("    %q,", s.local)
	}
	w.line("  ]")
	for _, s := range d.families {
		if named {
			for _, client := range s.each {
				w.line("[[neighbors]]\n  [neighbors.config]\n    neighbor-address = %q\n    peer-as = %d", client, plan.AS)
				w.line("  [neighbors.transport.config]\n    passive-mode = true\n    local-address = %q", s.local)
				gobgpClient(&w, "neighbors", s.family, d.id, evpn)
			}
			continue
		}
		w.line("[[peer-groups]]\n  [peer-groups.config]\n    peer-group-name = \"clients%d\"\n    peer-as = %d", s.family, plan.AS)
		gobgpClient(&w, "peer-groups", s.family, d.id, evpn)
		w.line("[[dynamic-neighbors]]\n  [dynamic-neighbors.config]\n    prefix = %q\n    peer-group = \"clients%d\"", s.clients, s.family)
	}
	return w.String()
}

// gobgpClient is what named neighbours and peer groups have in common.
func gobgpClient(w *writer, of string, family int, cluster netip.Addr, evpn bool) {
	w.line("  [%s.route-reflector.config]\n    route-reflector-client = true\n    route-reflector-cluster-id = %q", of, cluster)
	w.line("  [%s.ttl-security.config]\n    enabled = true\n    ttl-min = 255", of)
	w.line("  [%s.graceful-restart.config]\n    enabled = true\n    restart-time = 120", of)
	w.line("  [[%s.afi-safis]]\n    [%s.afi-safis.config]\n      afi-safi-name = \"ipv%d-unicast\"", of, of, family)
	w.line("    [%s.afi-safis.mp-graceful-restart.config]\n      enabled = true", of)
	w.line("    [%s.afi-safis.add-paths.config]\n      send-max = 16", of)
	if evpn {
		w.line("  [[%s.afi-safis]]\n    [%s.afi-safis.config]\n      afi-safi-name = \"l2vpn-evpn\"", of, of)
		w.line("    [%s.afi-safis.mp-graceful-restart.config]\n      enabled = true", of)
	}
}
