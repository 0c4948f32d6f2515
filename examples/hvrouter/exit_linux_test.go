package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestExit ends a daemon with many guests, by SIGKILL and SIGTERM, and starts its
// successor without waiting for the end. The kernel takes a grace period to close a packet
// socket, some 14 ms; a daemon must not have one for each guest. The successor must wait
// for its predecessor's end instead of giving up (O1).
func TestExit(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	for _, who := range []string{"kernel", "responder"} {
		t.Run(who, func(t *testing.T) {
			few := exitTimes(t, who, 10)
			many := exitTimes(t, who, manyGuests)
			for _, s := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM} {
				t.Logf("%s: %v: %v with 10 guests, %v with %d", who, s, few[s], many[s], manyGuests)
				if limit := 200 * time.Millisecond; many[s] > limit && many[s] > 3*few[s] {
					t.Errorf("%v with %d guests takes %v, %v with 10; want %v at most", s, manyGuests, many[s], few[s], limit)
				}
			}
		})
	}
}

// exitTimes returns the median time from a signal to the end of the process.
func exitTimes(t *testing.T, who string, guests int) map[os.Signal]time.Duration {
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), vm: nstest.New(t, "vm")}
	before, _, _ := strings.Cut(manyConfig, "    reflectors:")
	text := before + "edge: {gateway4: 10.0.255.254, arp: " + who + ", dhcp: {on: true}}\nguests:\n"
	for i := range guests {
		text += manyGuest(i)
	}
	h.write("hv.yaml", text)
	h.vm.Sysctl("net/ipv6/conf/default/disable_ipv6", "1")
	h.attach(0, guests)
	t.Cleanup(h.end)
	h.run()
	times := map[os.Signal]time.Duration{}
	for _, s := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		var all []time.Duration
		for range 3 {
			h.wait("every guest served", func() bool {
				return h.guestRoutes(0, guests+1) == guests && h.ask("/v1/status", &api.Status{}) == nil
			})
			before := h.cmd
			begin := time.Now()
			before.Process.Signal(s)
			h.run() // at once: the successor must wait for it
			before.Wait()
			all = append(all, time.Since(begin).Round(time.Millisecond))
		}
		times[s] = min(max(all[0], all[1]), max(all[1], all[2]), max(all[0], all[2]))
	}
	log, _ := os.ReadFile(h.path("hv.log"))
	if strings.Contains(string(log), "another daemon") {
		t.Errorf("%d guests: a successor gave up: %s", guests, log[strings.LastIndex(string(log), "hvrouter"):])
	}
	return times
}
