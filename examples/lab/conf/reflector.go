package conf

import (
	"fmt"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// ReflectorArgs are the arguments of our own route reflector: one process for
// the public domain (IPv4 and IPv6), one for the private one.
func ReflectorArgs(f plan.Fabric, private bool, t Timing) []string {
	id, listen := plan.RRPublic4(f), fmt.Sprintf("%s:179,[%s]:179", plan.RRPublic4(f), plan.RRPublic6(f))
	clients := fmt.Sprintf("%s,%s", plan.Public4(f), plan.Public6(f))
	if private {
		id, clients = plan.RRPrivate4(f), plan.Private4(f).String()
		listen = fmt.Sprintf("%s:179", id)
	}
	args := []string{"-as", fmt.Sprint(plan.AS), "-router-id", id.String(), "-cluster-id", id.String(),
		"-listen", listen, "-clients", clients, "-add-path", "-ttl-security"}
	if t.Watched() {
		args = append(args, "-bfd", fmt.Sprintf("%s,%d", t.BFD, t.Multiplier))
	}
	if t.Is("security", plan.SecurityMD5) {
		args = append(args, "-md5-key", plan.Key)
	}
	return append(args, reflectorWays(f, private, t)...)
}
