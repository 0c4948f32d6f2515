// Command fib measures how fast routes get into the kernel: hyperfib's fib beside
// vishvananda/netlink, jsimonetti/rtnetlink, `ip -batch` and BIRD, and beside the
// kernel's own cost, which is pre-encoded buffers of 64 KiB.
//
//	.ci/bench fib [-n 100000] [-big 500000] [-rounds 3] [-only write,writer,latency,failover,reconcile]
//
// Everything happens in two network namespaces of its own. What counts is CPU time,
// user and system, of whoever works (the best of -rounds rounds, interleaved), as a
// multiple of the ceiling's in the same run: wall times on shared machines mean little.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

var (
	count  = flag.Int("n", 100000, "routes")
	big    = flag.Int("big", 500000, "routes in the large runs; 0: none")
	slow   = flag.Int("slow", 20000, "routes given to programs that need many microseconds a route")
	rounds = flag.Int("rounds", 3, "rounds; the best counts")
	only   = flag.String("only", "", "parts, comma separated: write, writer, latency, failover, reconcile, and scale, which runs only if it is named")
)

func main() {
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "bench fib: needs root")
		os.Exit(2)
	}
	ok := true
	for _, part := range []struct {
		name string
		run  func() bool
	}{{"write", write}, {"writer", writer}, {"latency", latency}, {"failover", failover}, {"reconcile", reconcile}, {"scale", scale}} {
		if *only == "" && part.name != "scale" || slices.Contains(strings.Split(*only, ","), part.name) {
			ok = part.run() && ok
		}
	}
	if !ok {
		os.Exit(1)
	}
}

// verdict prints a limit that was kept or missed.
func verdict(what string, got, limit float64, unit string) bool {
	word := "ok"
	if got > limit {
		word = "MISSED"
	}
	fmt.Printf("  %-58s %8.2f %-3s limit %.2f  %s\n", what, got, unit, limit, word)
	return got <= limit
}

// best is the least of several measurements.
type best map[string]time.Duration

func (b best) note(name string, d time.Duration) {
	if old, ok := b[name]; !ok || d < old {
		b[name] = d
	}
}
