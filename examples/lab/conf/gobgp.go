package conf

import (
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Gobgp is GoBGP 3 as a reflector, with dynamic neighbours. It has no BFD, and
// gives dynamic neighbours no ADD-PATH whatever the peer group says.
func Gobgp(f plan.Fabric, private bool) string {
	var w writer
	d := domainOf(f, private)
	w.line("[global.config]\n  as = %d\n  router-id = %q\n  port = 179", plan.AS, d.id)
	w.line("  local-address-list = [")
	for _, s := range d.families {
		w.line("    %q,", s.local)
	}
	w.line("  ]")
	for _, s := range d.families {
		w.line("[[peer-groups]]\n  [peer-groups.config]\n    peer-group-name = \"clients%d\"\n    peer-as = %d", s.family, plan.AS)
		w.line("  [peer-groups.route-reflector.config]\n    route-reflector-client = true\n    route-reflector-cluster-id = %q", d.id)
		w.line("  [peer-groups.ttl-security.config]\n    enabled = true\n    ttl-min = 255")
		w.line("  [peer-groups.graceful-restart.config]\n    enabled = true\n    restart-time = 120")
		w.line("  [[peer-groups.afi-safis]]\n    [peer-groups.afi-safis.config]\n      afi-safi-name = \"ipv%d-unicast\"", s.family)
		w.line("    [peer-groups.afi-safis.mp-graceful-restart.config]\n      enabled = true")
		w.line("    [peer-groups.afi-safis.add-paths.config]\n      send-max = 16")
		w.line("[[dynamic-neighbors]]\n  [dynamic-neighbors.config]\n    prefix = %q\n    peer-group = \"clients%d\"", s.clients, s.family)
	}
	return w.String()
}
