package conf

import (
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Bird1Reflector is BIRD 1.6 as a reflector, one process a family. It has BFD and
// ADD-PATH, but no ranges: every client is named.
func Bird1Reflector(f plan.Fabric, private bool, family int, t Timing) string {
	var w writer
	d := domainOf(f, private)
	w.comment("#", flushes)
	w.line("log stderr all;\nrouter id %s;\nprotocol device { scan time 10; }", d.id)
	w.line(`protocol bfd { interface "*" { interval %s; multiplier %d; }; }`, milliseconds(t.BFD), t.Multiplier)
	w.line(`template bgp lab {
  direct; ttl security on; bfd on; hold time 90; passive on; import all; export all; add paths tx;
  rr client; rr cluster id %s; error wait time 1, 2;
}`, d.id)
	for _, s := range d.families {
		if s.family != family {
			continue
		}
		w.line("listen bgp address %s;", s.local)
		for i, client := range s.each {
			w.line("protocol bgp client%d from lab { local %s as %d; neighbor %s as %d; }", i+1, s.local, plan.AS, client, plan.AS)
		}
	}
	return w.String()
}
