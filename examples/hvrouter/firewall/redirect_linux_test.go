package firewall

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// A guest that sends, by way of its gateway, to an address behind its own link would be
// told to go there directly. Linux has no switch for that in IPv6; the firewall has.
func TestNoRedirect(t *testing.T) {
	l := newLab(t)
	l.hv.IP("-6 route add 2001:db8:7101::/64 dev vm1")
	l.hv.IP("-6 route replace 2001:db8:7100::1/128 dev vm1") // behind a gateway it would not be told
	l.hv.IP("-6 neigh replace 2001:db8:7100::1 lladdr 50:54:33:00:00:07 dev vm1 nud permanent")
	l.guest.Sysctl("net/ipv6/conf/eth0/accept_redirects", "0") // it counts them all the same
	heard := func() (n int) {
		for line := range strings.Lines(l.guest.Exec("cat", "/proc/net/snmp6")) {
			if f := strings.Fields(line); f[0] == "Icmp6InRedirects" {
				_, _ = fmt.Sscan(f[1], &n)
			}
		}
		return n
	}
	send := func() { // a rate limit of the kernel's own keeps some redirects back
		_ = l.guest.Command("ping", "-c1", "-W0.2", "2001:db8:7101::5").Run()
	}
	nstest.Wait(t, 5*time.Second, "a redirect without the firewall", func() bool { send(); return heard() > 0 })
	l.apply(t, spec())
	time.Sleep(50 * time.Millisecond) // what was on its way
	before := heard()
	nstest.Wait(t, 10*time.Second, "a redirect to be dropped", func() bool {
		send()
		drops, err := l.firewall.Drops()
		return err == nil && drops["icmpv6-redirect"] > 0
	})
	if n := heard() - before; n > 0 {
		t.Errorf("%d redirects passed the firewall", n)
	}
}
