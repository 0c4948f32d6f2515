package conf

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// ReflectorArgs are the arguments of our own route reflector: one process for
// the public domain (IPv4 and IPv6), one for the private one.
func ReflectorArgs(f plan.Fabric, private bool, t Timing) []string {
	id := domainOf(f, private).id
	var listen, clients []string
	for _, g := range t.Serves(f) {
		for _, s := range domainOf(g, private).families {
			listen = append(listen, netip.AddrPortFrom(s.local, 179).String())
			clients = append(clients, s.clients.String())
		}
	}
	args := []string{"-as", fmt.Sprint(plan.AS), "-router-id", id.String(), "-cluster-id", id.String(),
		"-listen", strings.Join(listen, ","), "-clients", strings.Join(clients, ","), "-add-path", "-ttl-security"}
	if t.Watched() {
		args = append(args, "-bfd", fmt.Sprintf("%s,%d", t.BFD, t.Multiplier))
	}
	if t.Is("security", plan.SecurityMD5) {
		args = append(args, "-md5-key", plan.Key)
	}
	if private && t.EVPN() {
		args = append(args, "-evpn")
	}
	return append(args, reflectorNextHops(f, private, t)...)
}
