// Lab builds the whole hyperfib lab on one machine: three hypervisors that are
// routers, two route reflectors, an edge router and four guests, each in a
// network namespace, joined by two fabrics. Then it runs experiments (pings, spoofed
// packets, cut cables, killed daemons) and prints a measured verdict for each.
//
//	go run ./examples/lab                   # as root, or where users may make namespaces
//	go run ./examples/lab -list
//	go run ./examples/lab -only cut,kill -bfd 50ms,3
//	go run ./examples/lab -rr bird,self -hv bird@2 -json lab.json
//	go run ./examples/lab -guests-per-hv 500 -routes 100000
//	go run ./examples/lab -rr junos,openbgpd # a stand-in, and one that is watched by echo
//	go run ./examples/lab -one-reflector    # for both fabrics
//	go run ./examples/lab -mode ebgp-tor    # routed fabrics: eBGP with two top-of-rack routers a rack
//	go run ./examples/lab -mode ebgp-tor -reflectors hv2      # the same, and HV2 on two networks with reflectors
//	go run ./examples/lab -guests host128    # a /128 each, neighbours answered for
//	go run ./examples/lab -hold             # leave it up and look around
//	go run ./examples/lab -web 127.0.0.1:8179 -only sessions  # the same, with a page that shows it and runs experiments
//	go run ./examples/lab matrix -core      # every configuration, one table
//
// It needs no iproute2, and other people's daemons only where -rr, -hv or -edge
// ask for them.
//
// An experiment that fails while the machine stood still for 10 ms (its host did not run it,
// others kept it busy, or somebody held the kernel's lock for changes of the network) is
// void, says so, and is run again, four times at most: the last try counts, and so
// does a failure on a machine that ran. -times 2 doubles the limits of times, not those
// of losses. The exit code is 0 if all experiments with a limit kept it, 1 if not, 2 if there was no lab
// to run in, 3 if this machine's kernel lacks what the configuration needs.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/hyperfib/hyperfib/examples/hvrouter/vrf"
	"github.com/hyperfib/hyperfib/examples/lab/matrix"
	"github.com/hyperfib/hyperfib/examples/lab/sandbox"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) > 0 {
		if part, ok := parts[args[0]]; ok {
			return part(args[1:])
		}
	}
	o, code := parse(args)
	if o == nil {
		return code
	}
	if !sandbox.Inside() {
		door, err := o.door()
		if err == nil {
			code, err = sandbox.Run(o.dir, door)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "lab:", err)
			return 2
		}
		return code
	}
	if err := play(o); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		if errors.Is(err, vrf.ErrUnsupported) || errors.Is(err, errors.ErrUnsupported) {
			return matrix.NotHere
		}
		return 2
	}
	if len(o.report.Failed()) > 0 {
		return 1
	}
	return 0
}
