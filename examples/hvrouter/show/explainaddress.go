package show

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
)

// ExplainAddress says which MAC an address of an overlay should have, and who announces it with which.
func ExplainAddress(name string, addr netip.Addr, p overlay.AddressPlace) (lines []string) {
	switch {
	case p.MAC != (overlay.MAC{}):
		lines = append(lines, fmt.Sprintf("%s: %v is wanted at %v", name, addr, p.MAC))
	case len(p.Routes) > 0:
		lines = append(lines, fmt.Sprintf("%s: %v is wanted nowhere: no route for it is used", name, addr))
	default:
		lines = append(lines, fmt.Sprintf("%s: %v is wanted nowhere: nobody announces it", name, addr))
	}
	for _, l := range p.Routes {
		var b strings.Builder
		fmt.Fprintf(&b, "  with %v by VTEP %v", l.MAC, l.VTEP)
		if l.Guest != "" {
			fmt.Fprintf(&b, ", of guest %s", l.Guest)
		}
		b.WriteString(": " + l.State)
		if l.Why != "" {
			b.WriteString(": " + l.Why)
		}
		lines = append(lines, b.String())
	}
	return lines
}
