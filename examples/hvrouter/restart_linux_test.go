package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// restartConfig is a hypervisor with two guests, of which one has a whole prefix of
// either family to be asked for.
const restartConfig = `
router-id: 0.0.1.1
as: 65000
api: DIR/api.sock
bfd: {process: BFD}
domains:
  - name: public
    table: 90
    guests: true
    unreachable: [203.0.113.0/24]
edge: {gateway4: 203.0.113.254, arp: ARP}
guests:
  - {name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1], ipv6: ["2001:db8:1::7/128"]}
  - {name: vm2, mac: "50:54:33:00:00:09", ipv4: [203.0.113.2], ipv6: ["2001:db8:1::9/128"], routed: [198.18.0.0/16, "2001:db8:2::/64"]}
`

// TestRestartSeenByGuest has a guest ask for a new neighbour of either family every 20 ms,
// again after a second if there is no answer, while the daemon is killed, is told to end,
// comes back, and while the kernel and the responder take turns in answering ARP.
// Nobody ever answers twice. Over a restart nothing goes unanswered: neither what the
// kernel answers nor what the daemon does, whose sockets the BFD process keeps; without
// that process, the first retransmission is answered. The guest never hears a final
// router advertisement.
func TestRestartSeenByGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	t.Run("kept", func(t *testing.T) {
		h, a := newRestart(t, "separate")
		h.answeredBy("kernel")
		h.restartWith(a, "kernel: killed", syscall.SIGKILL, true, true)
		h.restartWith(a, "kernel: told to end", syscall.SIGTERM, true, true)
		h.reloadAs(a, "responder")
		h.restartWith(a, "responder: killed", syscall.SIGKILL, true, true)
		h.restartWith(a, "responder: told to end", syscall.SIGTERM, true, true)
		h.reloadAs(a, "kernel")
		h.answeredBy("responder")
		h.restartWith(a, "kernel: told to end, back as the responder", syscall.SIGTERM, false, true)
		h.answeredBy("kernel")
		h.restartWith(a, "responder: told to end, back as the kernel", syscall.SIGTERM, false, true)
	})
	t.Run("not kept", func(t *testing.T) {
		h, a := newRestart(t, "off")
		h.reloadAs(a, "responder")
		h.restartWith(a, "responder: killed", syscall.SIGKILL, false, false)
		h.restartWith(a, "responder: told to end", syscall.SIGTERM, false, false)
	})
}

// newRestart starts a daemon that has the kernel answer ARP, and a guest that asks.
func newRestart(t *testing.T, bfd string) (*restarted, *asker) {
	h := &restarted{host: &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), vm: nstest.New(t, "vm")}, bfd: bfd}
	h.other = nstest.New(t, "vm2")
	h.answeredBy("kernel")
	t.Cleanup(h.end)
	h.run()
	h.hv.IP("link add name vm2 type veth peer name eth0 address 50:54:33:00:00:09 netns " + h.other.Name)
	h.other.IP("link set eth0 up")
	h.hv.IP("link add name vm1 type veth peer name eth0 address 50:54:33:00:00:07 netns " + h.vm.Name)
	a := newAsker(t, h.vm)
	h.vm.IP("link set eth0 up")
	a.firstRA(h.host)
	a.start()
	return h, a
}

// restarted is a host whose daemon is restarted.
type restarted struct {
	*host
	bfd   string     // bfd.process of the configuration
	other *nstest.NS // the second guest
}

// answeredBy says who answers ARP from the next reload or start on.
func (h *restarted) answeredBy(who string) {
	h.write("hv.yaml", strings.NewReplacer("ARP", who, "BFD", h.bfd).Replace(restartConfig))
}

// restartWith ends the daemon with a signal and starts it again. every4 and every6:
// each question of that family is answered at its first asking.
func (h *restarted) restartWith(a *asker, what string, s os.Signal, every4, every6 bool) {
	h.watch(a, what, func() { h.kill(s); h.run() }, every4, every6)
}

// reloadAs has somebody else answer ARP from now on.
func (h *restarted) reloadAs(a *asker, who string) {
	first := true
	h.watch(a, "reload: from here on the "+who, func() {
		if !first { // there and back
			h.answeredBy(map[string]string{"kernel": "responder", "responder": "kernel"}[who])
			h.cli("reload")
		}
		first = false
		h.answeredBy(who)
		h.cmd.Process.Signal(syscall.SIGHUP)
	}, false, true)
}

// stall is for how long the daemon may be gone without losing a question: those that are
// older than a second are dropped. It is away for a tenth of that; a machine that stalls
// for longer is excused.
const stall = 800 * time.Millisecond

// watch does something and judges the answers that the guest has meanwhile. A question that was not
// answered in time while the machine stood still is void, and all of it done again, five times at most; one
// that was answered twice is an error on any machine.
func (h *restarted) watch(a *asker, what string, do func(), every ...bool) {
	h.t.Helper()
	for n := 1; ; n++ {
		machine := nstest.WatchStall()
		wrong := h.judge(a, what, do, every)
		stood := machine.Stop()
		if len(wrong) > 0 && stood > 20*time.Millisecond && n < 5 {
			h.t.Logf("%s: void, the machine stood still for %v: %s", what, stood, wrong)
			continue
		}
		for _, w := range wrong {
			h.t.Errorf("%s: %s", what, w)
		}
		return
	}
}

// judge does something, and returns what was not answered in time meanwhile. What was answered twice, or told
// without being asked, is an error.
func (h *restarted) judge(a *asker, what string, do func(), every []bool) (wrong []string) {
	h.t.Helper()
	settled := func() { nstest.Wait(h.t, 20*time.Second, "every question answered", a.quiet) }
	settled()
	a.reset()
	do()
	nstest.Wait(h.t, 20*time.Second, "the daemon, and answers of it", func() bool {
		return h.ask("/v1/guests", &[]any{}) == nil && a.later(50)
	})
	settled()
	for i, n := range a.counts() {
		h.t.Logf("%s: %v", what, n)
		if n.twice > 0 {
			h.t.Errorf("%s: %s: %d questions answered twice", what, n.family, n.twice)
		}
		if every[i] && n.retried > 0 && n.silence < stall {
			wrong = append(wrong, fmt.Sprintf("%s: %d of %d questions had to be asked again", n.family, n.retried, n.asked))
		}
		if n.lost > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: %d questions have no answer though they were asked again", n.family, n.lost))
		}
	}
	if n := a.finals(); n > 0 {
		h.t.Errorf("%s: %d final router advertisements", what, n)
	}
	return wrong
}
