package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// stream is a guest of another hypervisor that pings the guest without an end, a hundred times a
// second.
type stream struct {
	t    *testing.T
	ping *exec.Cmd
	out  bytes.Buffer
}

// far makes the guest of another hypervisor, behind BIRD's namespace.
func (h *host) far() {
	h.rr.IP("addr add 198.51.100.102/25 dev fa")
	h.rr.IP("addr add 203.0.113.3/32 dev lo")
	h.rr.IP("route add 203.0.113.1/32 via 198.51.100.101 dev fa src 203.0.113.3")
	h.vm.IP("route add default via 203.0.113.254")
	h.wait("an answer of the guest", func() bool { return h.rr.Command("ping", "-c1", "-W1", "203.0.113.1").Run() == nil })
}

// stream begins one.
func (h *host) stream() *stream {
	s := &stream{t: h.t, ping: h.rr.Command("ping", "-n", "-i", "0.01", "-W", "2", "203.0.113.1")}
	s.ping.Stdout, s.ping.Stderr = &s.out, &s.out
	if err := s.ping.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = s.ping.Process.Kill() })
	return s
}

var (
	pinged   = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)
	answered = regexp.MustCompile(`icmp_seq=(\d+) ttl`)
)

// underway is how many of the last packets may still be on their way when a stream is stopped, on a machine
// that is busy.
const underway = 3

// stop ends it and returns how many packets were sent and how many were not answered.
func (s *stream) stop() (sent, lost int) {
	_ = s.ping.Process.Signal(os.Interrupt)
	_ = s.ping.Wait()
	m := pinged.FindStringSubmatch(s.out.String())
	if m == nil {
		s.t.Fatalf("ping: %s", s.out.String())
	}
	sent, _ = strconv.Atoi(m[1])
	answers, last := map[int]bool{}, 0
	for _, m := range answered.FindAllStringSubmatch(s.out.String(), -1) {
		n, _ := strconv.Atoi(m[1])
		answers[n], last = true, max(last, n)
	}
	return sent, last - len(answers) + max(0, sent-last-underway)
}
