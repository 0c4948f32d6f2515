package attack

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/hostile"
)

var (
	rates = flag.String("rates", "2000", "packets a second of each flood, separated by commas")
	only  = flag.String("kinds", "", "floods whose names begin like one of these words, separated by commas")
	tries = flag.Int("tries", 3, "runs of a flood that costs others something, before it counts")
	modes = flag.String("arp", "kernel", "who answers ARP: kernel, responder")
)

// TestFloods compares what others lose beside each flood with what they lose without.
func TestFloods(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and minutes")
	}
	for arp := range strings.SplitSeq(*modes, ",") {
		t.Run(arp, func(t *testing.T) {
			w := newTestbed(t, arp)
			fmt.Printf("What others lost: first packets to next hops (IPv4, IPv6) | connections | streams of a guest (IPv4, IPv6) and of the hypervisor | fragments | answers (ARP, ND, DHCP) | BGP.\n" +
				"Tables before, during, after: ARP/ND/conntrack/route exceptions/FDB, and how often a table of neighbours was full.\n")
			quiet := w.run(hostile.Flood{Name: "none"}, 0)
			for _, k := range hostile.Floods {
				for rate := range strings.SplitSeq(*rates, ",") {
					if n, err := strconv.Atoi(rate); err != nil {
						t.Fatal(err)
					} else if chosen(k.Name) {
						w.judge(k, n, quiet)
					}
				}
			}
		})
	}
}

func chosen(name string) bool {
	for word := range strings.SplitSeq(*only, ",") {
		if strings.HasPrefix(name, word) {
			return true
		}
	}
	return false
}

// outcome is one run.
type outcome struct {
	loss
	before, during, after tables
}

// run measures beside a flood; rate 0 is none.
func (w *testbed) run(k hostile.Flood, rate int) (o outcome) {
	w.forget("")
	o.before = w.count()
	stop, done := make(chan struct{}), make(chan uint32, 1)
	if rate > 0 {
		done = w.flood(k, rate, stop)
		time.Sleep(time.Second)
	} else {
		done <- 0
	}
	o.loss = w.measure()
	o.during = w.count()
	close(stop)
	sent := <-done
	o.after = w.count()
	fmt.Printf("%-34s %6d %v   %v %v %v %d, %d sent\n", k.Name, rate, o.loss, o.before, o.during, o.after, o.during.full-o.before.full, sent)
	return o
}

// judge runs a flood; one that costs others something is run again, since the machine
// may have been busy: it must do so each time.
func (w *testbed) judge(k hostile.Flood, rate int, quiet outcome) {
	for try := 1; ; try++ {
		o := w.run(k, rate)
		if !o.over(quiet.loss) && o.during.full == o.before.full {
			return
		}
		if try >= *tries {
			w.t.Errorf("%s at %d/s: lost %v, without %v, a table was full %d times", k.Name, rate, o.loss, quiet.loss, o.during.full-o.before.full)
			return
		}
		quiet = w.run(hostile.Flood{Name: "none"}, 0)
	}
}
