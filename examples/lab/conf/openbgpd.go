package conf

import (
	"fmt"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Openbgpd is OpenBGPD as a reflector: clients by range, ADD-PATH, no BFD.
func Openbgpd(f plan.Fabric, private bool, socket string) string {
	var w writer
	d := domainOf(f, private)
	w.comment("#", fmt.Sprintf(timersOnly, "hold time"))
	w.line("AS %d\nrouter-id %s\nfib-update no\nsocket %q", plan.AS, d.id, socket)
	for _, s := range d.families {
		w.line("listen on %s", s.local)
	}
	for _, s := range d.families {
		w.line("group \"clients%d\" {\n  remote-as %d\n  route-reflector %s\n  ttl-security yes\n  passive", s.family, plan.AS, d.id)
		for _, family := range families {
			verb := "none"
			if family == s.family {
				verb = "unicast"
			}
			w.line("  announce IPv%d %s", family, verb)
		}
		w.line("  announce add-path send all\n  neighbor %s { descr clients%d }\n}", s.clients, s.family)
	}
	w.line("allow from ibgp\nallow to ibgp")
	return w.String()
}
