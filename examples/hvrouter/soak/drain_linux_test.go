package soak

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestDrain: guests of hypervisors 1 and 2 have an address in common, and one of hypervisor 3 sends
// to it, in so many flows that both get some. While hypervisor 1 is drained, is stopped, starts and
// is undrained, no packet is lost, with BIRD and with FRR as the reflector.
func TestDrain(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces, BIRD, FRR and seconds")
	}
	for _, x := range []struct{ reflector, other string }{{"BIRD", "      - {fabric: B, interface: b.public"}, {"FRR", "      - {fabric: A, interface: a.public"}} {
		t.Run(x.reflector, func(t *testing.T) {
			d := &drained{testbed: newTestbed(t, 3, x.other, "#"+strings.Replace(x.other, "{fabric:", "{", 1))}
			d.run(t)
		})
	}
}

const drainFlows = 16 // of 100 packets a second each

// drained is the testbed of a drain.
type drained struct {
	*testbed
	flows []*stream
}

func (d *drained) run(t *testing.T) {
	h := d.hosts[0]
	nstest.Wait(t, 30*time.Second, "all sessions", func() bool { return d.up(0) == nil })
	for _, h := range d.hosts[:2] {
		echo(t, h.vm, "203.0.113.10", byte(h.n))
	}
	d.hosts[2].vm.IP("addr del 203.0.113.10/32 dev lo")
	d.hosts[2].write("hv.yaml", strings.Replace(d.hosts[2].config(), ", routed: [203.0.113.10/32]", "", 1))
	d.cli(d.hosts[2], "reload")
	for i := range drainFlows {
		d.flows = append(d.flows, newStream(t, fmt.Sprint(i), d.hosts[2].vm, "203.0.113.3", "203.0.113.10"))
	}
	both := func() bool { n := d.answers(); return n[0] == 0 && n[1] > 0 && n[2] > 0 }
	other := func() bool { n := d.answers(); return n[2] == drainFlows }
	nstest.Wait(t, 30*time.Second, "both hypervisors to get flows", both)
	began := d.lossless(t, "the start", time.Now())

	out, err := h.cli("drain", "-wait", "6s")
	for _, want := range []string{
		"the other routers have not moved their traffic yet, ", " still attracting traffic, 6s left", // progress
		"after 6s, 2 prefixes still attracting traffic", "203.0.113.10/32", "another router announces it", // the time-out
	} {
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("drain -wait: %v: %s, want %q", err, out, want)
		}
	}
	nstest.Wait(t, 5*time.Second, "every flow at hypervisor 2", other)
	began = d.lossless(t, "drain", began)

	h.kill(syscall.SIGTERM)
	if pid := h.bfd(); pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	began = d.lossless(t, "the daemon and the BFD process stopped", began)
	h.run()
	nstest.Wait(t, 30*time.Second, "all sessions", func() bool { return d.up(0) == nil })
	began = d.lossless(t, "both started again", began)
	if !other() {
		t.Errorf("the drain did not outlive the restart: %v", d.answers())
	}

	d.cli(h, "undrain")
	nstest.Wait(t, 30*time.Second, "both hypervisors to get flows again", both)
	began = d.lossless(t, "undrain", began)

	d.cli(h, "drain", "-all")
	nstest.Wait(t, 30*time.Second, "every flow at hypervisor 2", other)
	began = d.lossless(t, "drain -all", began)
	d.cli(h, "undrain")
	nstest.Wait(t, 30*time.Second, "both hypervisors to get flows again", both)
	d.lossless(t, "undrain after drain -all", began)
}

func (d *drained) cli(h *host, args ...string) {
	d.t.Helper()
	if _, err := h.cli(args...); err != nil {
		d.t.Error(err)
	}
}

// answers counts the flows by the hypervisor that sends back: 0 is none.
func (d *drained) answers() (n [4]int) {
	for _, s := range d.flows {
		n[s.by()]++
	}
	return n
}

// lossless waits a second, and wants every packet since then to have come back, but for the last
// ones, which may be on their way. It returns until when it has looked.
func (d *drained) lossless(t *testing.T, what string, since time.Time) (until time.Time) {
	t.Helper()
	time.Sleep(time.Second)
	until = time.Now()
	sent, lost := 0, 0
	for range 20 { // what the machine keeps waiting
		time.Sleep(100 * time.Millisecond)
		sent, lost = 0, 0
		for _, s := range d.flows {
			n, m := s.missing(since, until)
			sent, lost = sent+n, lost+m
		}
		if lost == 0 {
			break
		}
	}
	t.Logf("%s: %d packets, %d lost; flows by hypervisor: %v", what, sent, lost, d.answers())
	if lost > 0 || sent == 0 {
		t.Errorf("%s: %d of %d packets lost", what, lost, sent)
	}
	return until
}
