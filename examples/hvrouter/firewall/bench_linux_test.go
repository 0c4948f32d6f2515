package firewall

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/testing/hostile"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// BenchmarkForwarding is what a packet through the hypervisor costs without the firewall,
// with it, and with 500 guests more. The CPU time of the sender counts, in which the kernel
// forwards the packet; the three take turns, and the least of each is reported, since the
// machine may be shared. Compare within one run:
//
//	go test ./examples/hvrouter/firewall -run - -bench Forwarding -benchtime 20x
func BenchmarkForwarding(b *testing.B) {
	for _, c := range []struct {
		name  string
		frame func(l lab, s *hostile.Scene) (from, to *nstest.NS, frame []byte)
	}{
		{"from a guest, IPv4", func(l lab, s *hostile.Scene) (*nstest.NS, *nstest.NS, []byte) {
			return l.guest, l.public, s.Send4(hostile.IPv4(s.Own4, s.Outside4, layers.IPProtocolUDP), hostile.Payload(64))
		}},
		{"from a guest, IPv6", func(l lab, s *hostile.Scene) (*nstest.NS, *nstest.NS, []byte) {
			return l.guest, l.public, s.Send6(hostile.IPv6(hostile.Inside(s.Own6, 1), s.Outside6, layers.IPProtocolUDP), hostile.Payload(64))
		}},
		{"to a guest, IPv4", func(l lab, s *hostile.Scene) (*nstest.NS, *nstest.NS, []byte) {
			out := s.For(hardware(b, l.public, "eth0"), hardware(b, l.hv, "a.public"))
			return l.public, l.guest, out.Send4(hostile.IPv4(s.Outside4, netip.MustParseAddr("203.0.113.1"), layers.IPProtocolUDP), hostile.Payload(64))
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var roads [3]road
			for i, guests := range []int{-1, 0, 500} {
				l := newLab(b)
				for _, a := range []string{"198.51.100.1", "2001:db8:64::ff"} {
					l.hv.IP("neigh replace " + a + " lladdr " + hardware(b, l.public, "eth0").String() + " dev a.public nud permanent")
				}
				if guests >= 0 {
					s := blocked(guests)
					s.Guests[0].Translations = nil
					l.apply(b, s)
				}
				roads[i].open(b, l, c.frame)
			}
			for range b.N {
				for i := range roads {
					roads[i].round(b)
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, name := range []string{"none", "1guest", "501guests"} {
				b.ReportMetric(float64(roads[i].least.Nanoseconds())/perRound, name+"-ns/packet")
			}
			b.ReportMetric(1e9*perRound/float64(roads[2].least.Nanoseconds()), "packets/s")
			b.ReportMetric(float64(roads[1].least)/float64(roads[0].least), "1guest/none")
			b.ReportMetric(float64(roads[2].least)/float64(roads[1].least), "501guests/1guest")
		})
	}
}

// road is a way through one hypervisor.
type road struct {
	to    *nstest.NS
	send  hostile.Sender
	frame []byte
	least time.Duration // of a round
}

const perRound = 10000

func (r *road) open(b *testing.B, l lab, frame func(lab, *hostile.Scene) (from, to *nstest.NS, frame []byte)) {
	from, to, f := frame(l, l.scene(b))
	s, err := hostile.Open(from.Path, "eth0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	r.to, r.send, r.frame = to, s, f
}

func (r *road) round(b *testing.B) {
	before, begin := received(b, r.to), cpu()
	for range perRound {
		_ = r.send.Send(r.frame)
	}
	d := cpu() - begin
	time.Sleep(20 * time.Millisecond)
	if got := received(b, r.to) - before; got < perRound*9/10 {
		b.Fatalf("%d of %d arrived", got, perRound)
	}
	if r.least == 0 || d < r.least {
		r.least = d
	}
}

// cpu is the time that the process has had.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func received(b *testing.B, ns *nstest.NS) (n int) {
	ns.Do(func() error {
		data, err := os.ReadFile("/proc/thread-self/net/dev")
		for line := range strings.Lines(string(data)) {
			if name, rest, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "eth0" {
				n, _ = strconv.Atoi(strings.Fields(rest)[1])
			}
		}
		return err
	})
	return n
}
