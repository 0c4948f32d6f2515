package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

// drain: what no other router announces stays reachable, to be used last; what BIRD has from
// another one, too, is withdrawn. Both outlive kill -9, until undrain. With -all everything goes.
func (h *host) drain(t *testing.T) {
	reload := func(bird string) {
		h.write("bird.conf", bird)
		h.bird("configure")
	}
	drained := func(when string) {
		t.Helper()
		h.wait(when+": the guest's address, to be used last", func() bool {
			out := h.bird("show route for 203.0.113.1 all")
			return h.reflected("203.0.113.1") == 2 && strings.Count(out, "BGP.local_pref: 0") == 2 && strings.Count(out, "(65535,0)") == 2
		})
		// BIRD's own route to 203.0.113.3 is that of another hypervisor.
		h.wait(when+": what another hypervisor has, withdrawn", func() bool { return h.reflected("203.0.113.3") == 1 })
	}
	h.hv.IP("route add 203.0.113.3/32 dev vm1 table 90 metric 7")
	learned := ""
	h.wait("the anycast address at BIRD, and in the kernel alone", func() bool {
		learned = h.routes("route show table 90")
		return h.reflected("203.0.113.3") == 3 && !strings.Contains(learned, "metric 32")
	})
	if out := h.drainFails("-wait", "4s"); !strings.Contains(out, "after 4s, 1 prefix still attracting traffic") || !strings.Contains(out, "another router announces it") {
		t.Errorf("drain -wait: %s", out)
	}
	drained("drained")
	for _, s := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		h.kill(s)
		h.run()
		h.up()
		drained(fmt.Sprint("after ", s))
	}
	h.wait("the end of the drain's beginning", func() bool {
		var d api.Drain
		return h.ask("/v1/drain", &d) == nil && d.Drained && !d.Moving
	})
	reload(strings.Replace(birdConfig, "route 203.0.113.3/32 via 198.51.100.102;", "", 1))
	h.wait("the anycast address, announced here again", func() bool { return h.reflected("203.0.113.3") == 2 })
	reload(birdConfig)
	drained("with another router again")
	h.cli("drain", "-all", "-wait", "10s")
	h.wait("everything withdrawn", func() bool { return h.reflected("203.0.113.1") == 0 })
	h.kill(syscall.SIGKILL)
	h.run()
	h.up()
	if n := h.reflected("203.0.113.1"); n != 0 {
		t.Errorf("BIRD has %d paths after a restart", n)
	}
	if got := h.routes("route show table 90"); got != learned {
		t.Errorf("guests' answers have other routes than before: %s, before %s", got, learned)
	}
	h.cli("undrain")
	h.wait("everything announced", func() bool {
		return h.reflected("203.0.113.1") == 2 && h.reflected("203.0.113.3") == 3 && !strings.Contains(h.bird("show route for 203.0.113.1 all"), "(65535,0)")
	})
	h.kill(syscall.SIGKILL)
	h.run()
	h.up()
	if out := h.cli("show", "drain"); out != "not drained\n" {
		t.Errorf("after undrain and a restart: %s", out)
	}
}

// drainFails runs a drain that must fail, and returns its output.
func (h *host) drainFails(args ...string) string {
	h.t.Helper()
	out, err := h.command(append([]string{"drain", "-api", h.path("api.sock")}, args...)...).CombinedOutput()
	if err == nil {
		h.t.Errorf("drain %v: %s", args, out)
	}
	return string(out)
}
