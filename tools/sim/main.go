// Sim is a fleet in one process: hypervisors, reflectors, fabrics, kernels and guests, made of the
// code that runs in production, under one virtual clock, with faults that a seed draws. See
// docs/simulator.md.
//
//	go run ./tools/sim -hosts 100 -days 1 -seed 7     one world
//	go run ./tools/sim -hosts 4 -hours 1 -seeds 1..500   many small ones
//	go run ./tools/sim -replay FILE                   a scenario
//	go run ./tools/sim -hosts 4 -seed 7 -shrink       the shortest scenario that still fails
//	go run ./tools/sim -explore 12                    every interleaving of a small world
//
// The exit code is 1 if an invariant was broken for longer than its bound.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/tools/sim/explore"
	"github.com/hyperfib/hyperfib/tools/sim/world"
)

// options are the command line.
type options struct {
	config   world.Config
	length   time.Duration
	from, to uint64 // seeds
	replay   string
	shrink   bool
	picture  string
	verbose  bool
	profile  string
	costs    bool
	explore  int
	theme    string
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(2)
	}
	stop, err := o.startProfile()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(2)
	}
	failed, err := run(o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("sim", flag.ContinueOnError)
	f.IntVar(&o.config.Hosts, "hosts", 4, "hypervisors")
	f.IntVar(&o.config.Guests, "guests", 20, "guests of each hypervisor to begin with")
	days := f.Float64("days", 0, "virtual days that a world lasts")
	hours := f.Float64("hours", 0, "virtual hours that a world lasts (default 1, without -days)")
	seed := f.Uint64("seed", 1, "seed of the world")
	seeds := f.String("seeds", "", "`A..B`: one world for each of these seeds, until one fails")
	f.DurationVar(&o.config.BFD, "bfd", 300*time.Millisecond, "interval of BFD; three are the detection time")
	f.DurationVar(&o.config.Hold, "hold", 90*time.Second, "hold time of BGP")
	f.BoolVar(&o.config.Strict, "strict", false, "BGP sessions wait for BFD (strict mode), on both sides")
	f.Float64Var(&o.config.Faults, "faults", 0, "faults to draw for each minute, on average; 0: 3.1, one to three every 25 s")
	f.DurationVar(&o.config.Audit, "audit", 0, "how often daemons read their kernels again; 0: as hvrouter, sysctls every 5 s and all else every 30 s")
	f.BoolVar(&o.config.EveryPacket, "every-packet", false, "skip no packet of quiet BFD sessions")
	f.StringVar(&o.replay, "replay", "", "play the scenario in `FILE` instead of faults drawn by the seed")
	f.BoolVar(&o.shrink, "shrink", false, "make a failing scenario short, and print it")
	f.StringVar(&o.picture, "svg", "", "draw the run, as a timeline, into `FILE`")
	f.BoolVar(&o.verbose, "v", false, "print the trace")
	f.StringVar(&o.profile, "cpuprofile", "", "write a profile of the run, for go tool pprof, into `FILE`")
	f.BoolVar(&o.costs, "costs", false, "print how much processor time passes after each kind of input")
	f.IntVar(&o.explore, "explore", 0, "play every interleaving of a small world to a `DEPTH` of steps")
	f.StringVar(&o.theme, "theme", "", "of the faults that a seed draws, one of "+world.Themes()+"; of -explore: one of "+explore.Names()+" (default all, with -explore one after the other)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.config.Theme = o.theme; o.explore > 0 {
		o.config.Theme = ""
	}
	if !world.Themed(o.config.Theme) {
		return o, fmt.Errorf("-theme %q: want one of %s", o.theme, world.Themes())
	}
	o.length = time.Duration((*days*24 + *hours) * float64(time.Hour))
	if o.length == 0 {
		o.length = time.Hour
	}
	o.from, o.to = *seed, *seed
	if *seeds != "" {
		a, b, ok := strings.Cut(*seeds, "..")
		var errA, errB error
		o.from, errA = strconv.ParseUint(a, 10, 64)
		o.to, errB = strconv.ParseUint(b, 10, 64)
		if !ok || errA != nil || errB != nil || o.to < o.from {
			return o, fmt.Errorf("-seeds %q: want A..B", *seeds)
		}
	}
	if o.config.Faults < 0 || o.config.Faults > 600 || o.config.Faults > 0 && o.config.Theme != "" {
		return o, errors.New("-faults must be from 0 to 600, and a theme has its own")
	}
	if o.config.Hosts < 1 || o.config.Hosts > 8000 {
		return o, errors.New("-hosts must be from 1 to 8000")
	}
	return o, nil
}
