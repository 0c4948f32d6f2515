package daemon

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// hidden checks for a while that the reflector does not hear of a prefix.
func (r *running) hidden(prefix, why string) {
	r.Helper()
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if len(r.reflector.Table().Lookup(netip.MustParsePrefix(prefix))) > 0 {
			r.Errorf("%s is announced, and the kernel does not have it: %s", prefix, why)
			return
		}
	}
}

// TestAnnouncedIsInTheKernel: a route that the kernel refuses is not announced; one that
// it loses for good is withdrawn; a flap is nobody's business (E7).
func TestAnnouncedIsInTheKernel(t *testing.T) {
	r := start(t)
	until(r, "the session", "/v1/sessions", func(s []api.Session) bool { return len(s) == 1 && s[0].State == "Established" })

	// The kernel refuses IPv6 routes over an interface without IPv6.
	r.hv.Sysctl("net/ipv6/conf/default/disable_ipv6", "1")
	r.hv.IP("link add name vm1 type veth peer name vm1p")
	r.announced("203.0.113.1/32", 100)
	r.hidden("2001:db8:cb00:7100::/64", r.hv.IP("-6 route show table 90"))
	r.hv.Sysctl("net/ipv6/conf/vm1/disable_ipv6", "0")
	r.announced("2001:db8:cb00:7100::/64", 100)

	// Somebody else's route is in the way.
	r.hv.IP("route add blackhole 203.0.113.9/32 table 90 metric 10 proto static")
	r.hv.IP("link add name vm9 type veth peer name vm9p")
	r.send("POST", "/v1/guests", `{"name": "vm9", "interface": "vm9", "ipv4": ["203.0.113.9"]}`)
	r.hidden("203.0.113.9/32", "a foreign blackhole")
	r.hv.IP("route del blackhole 203.0.113.9/32 table 90 metric 10 proto static")
	r.announced("203.0.113.9/32", 100)

	// Repaired at once: nobody hears of it. More than ten in a row would be a contest, in
	// which fib waits longer and longer.
	table := r.reflector.Table()
	for range 8 {
		r.hv.IP("route del 203.0.113.9/32 table 90 metric 10")
		for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if len(table.Lookup(netip.MustParsePrefix("203.0.113.9/32"))) == 0 {
				t.Fatal("withdrawn for a route that was put back")
			}
		}
		nstest.Wait(t, 5*time.Second, "the route back", func() bool { return strings.Contains(r.hv.IP("route show table 90"), "203.0.113.9") })
	}

	// Lost for good: an event, a metric, and the reason for who asks.
	r.hv.Sysctl("net/ipv6/conf/vm1/disable_ipv6", "1")
	r.announced("2001:db8:cb00:7100::/64", 0)
	r.announced("203.0.113.1/32", 100)
	until(r, "the reason", "/v1/rib?prefix=2001:db8:cb00:7100::/64", func(list []api.RIBEntry) bool {
		return len(list) == 1 && !list[0].Announced && list[0].Why != ""
	})
	r.metric(`hvrouter_prefixes_not_announced{domain="public"} 1`)
	r.metric(`hvrouter_prefixes_withdrawn_total{domain="public"} 1`)
	r.logged("not-announced", "2001:db8:cb00:7100::/64")
	r.hv.Sysctl("net/ipv6/conf/vm1/disable_ipv6", "0")
	r.announced("2001:db8:cb00:7100::/64", 100)
	r.metric(`hvrouter_prefixes_not_announced{domain="public"} 0`)

	// A foreign route that goes with its interface, of which the kernel does not tell.
	r.hv.IP("link add name tap0 type veth peer name tap1")
	r.hv.IP("link set tap0 up")
	r.hv.IP("route add 203.0.113.99/32 dev tap0 table 90 proto static")
	r.announced("203.0.113.99/32", 100)
	r.hv.IP("link del tap0")
	r.announced("203.0.113.99/32", 0)

	// Everything of ours is flushed, and put back: nobody hears of it.
	stop := r.hears("203.0.113.1/32", "203.0.113.9/32", "2001:db8:cb00:7100::/64")
	r.hv.IP("route flush table 90 proto 201")
	r.hv.IP("-6 route flush table 90 proto 201")
	time.Sleep(time.Second)
	stop()
}

// hears fails the test when the reflector loses one of these prefixes, until it is stopped.
func (r *running) hears(prefixes ...string) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			for _, p := range prefixes {
				if len(r.reflector.Table().Lookup(netip.MustParsePrefix(p))) == 0 {
					r.Errorf("%s was withdrawn", p)
					return
				}
			}
			select {
			case <-end:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() { close(end); <-done }
}

// metric waits for a line of the metrics.
func (r *running) metric(line string) {
	r.Helper()
	nstest.Wait(r, 10*time.Second, line, func() bool {
		text, err := r.client.Text(r.Context(), "/metrics")
		return err == nil && strings.Contains(text, line)
	})
}

// logged waits for an event about a prefix.
func (r *running) logged(name, prefix string) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	found := errors.New("found")
	err := r.client.Events(ctx, name, 1000, func(e journal.Event, _ []byte) error {
		if e.Attrs["prefix"] == prefix {
			return found
		}
		return nil
	})
	if !errors.Is(err, found) {
		r.Errorf("no event %s about %s: %v", name, prefix, err)
	}
}

// TestRestartBits: after a restart our OPEN says which families the kernel has kept.
func TestRestartBits(t *testing.T) {
	r := start(t)
	r.hv.IP("link add name vm1 type veth peer name vm1p")
	r.announced("203.0.113.1/32", 100)
	r.announced("2001:db8:cb00:7100::/64", 100)
	for _, c := range []struct {
		flush    string
		restart  bool
		families [2]bool
	}{
		{"", true, [2]bool{true, true}},
		{"-6 route flush table 90", true, [2]bool{true, false}},
		{"route flush table 90 proto 201", true, [2]bool{false, true}},
		{"-6 route flush table 90 proto 201", false, [2]bool{false, false}},
	} {
		before := r.reflector.Peers()[0].Established
		r.stop()
		if err := <-r.ended; err != nil {
			t.Fatal(err)
		}
		if c.flush != "" {
			r.hv.IP(c.flush)
		}
		if !c.restart {
			r.hv.IP("route flush table 90 proto 201")
		}
		r.run()
		nstest.Wait(t, 20*time.Second, "the next session", func() bool {
			p := r.reflector.Peers()[0]
			return p.Established > before && p.Negotiated != nil
		})
		r.announced("203.0.113.1/32", 100)
		r.announced("2001:db8:cb00:7100::/64", 100)
		n := r.reflector.Peers()[0].Negotiated
		if n == nil || n.Remote.GracefulRestart == nil {
			t.Fatal("no graceful restart")
		}
		g := n.Remote.GracefulRestart
		if g.Restarting != c.restart || g.Families[0].ForwardingPreserved != c.families[0] || g.Families[1].ForwardingPreserved != c.families[1] {
			t.Errorf("flushed %q: %+v, want R %v, F %v", c.flush, g, c.restart, c.families)
		}
	}
}
