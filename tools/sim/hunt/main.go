// Hunt runs the simulator with each planted fault of tools/sim/testdata/mutants in place, over
// many small worlds, and prints which seed finds it:
//
//	go run ./tools/sim/hunt                            all faults, seeds 1 to 40
//	go run ./tools/sim/hunt -seeds 200 hard-reset-retained last-member-deleted
//	go run ./tools/sim/hunt -planted -all              those of TestPlanted, with medians
//
// What the code without a fault breaks in the same world does not count. See docs/simulator.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/hyperfib/hyperfib/tools/sim/mutant"
)

func main() {
	h := hunt{}
	flag.IntVar(&h.seeds, "seeds", 40, "worlds for each fault: seeds 1 to `N`")
	flag.IntVar(&h.parallel, "parallel", 2, "worlds at a time")
	flag.BoolVar(&h.all, "all", false, "play all seeds, not only until one finds the fault")
	flag.DurationVar(&h.limit, "limit", time.Minute, "how long one world may take; more is a violation")
	hosts := flag.Int("hosts", 3, "hypervisors of a world")
	guests := flag.Int("guests", 2, "guests of each hypervisor")
	theme := flag.String("theme", "", "of the faults that are drawn, as the simulator's")
	plantedOnes := flag.Bool("planted", false, "the faults that TestPlanted plays, each in worlds of its theme")
	hours := flag.Float64("hours", plantedHours, "virtual hours that a world lasts")
	root := flag.String("root", ".", "root of the module")
	flag.Parse()
	h.root = *root
	h.world = []string{"-hosts", strconv.Itoa(*hosts), "-guests", strconv.Itoa(*guests), "-hours", strconv.FormatFloat(*hours, 'g', -1, 64)}
	h.world = themed(h.world, *theme)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := h.run(ctx, *plantedOnes, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "hunt:", err)
		os.Exit(1)
	}
}

// mutants is the directory of the planted faults.
const mutants = "tools/sim/testdata/mutants"

// plantedHours is how long the worlds last.
const plantedHours = 0.34

// run hunts the faults of these names, or all of them, and prints a line for each.
func (h *hunt) run(ctx context.Context, table bool, names []string) (err error) {
	list, err := mutant.ReadAll(filepath.Join(h.root, mutants))
	if err != nil {
		return err
	}
	if len(names) > 0 {
		if list, err = named(list, names); err != nil {
			return err
		}
	}
	if h.dir, err = os.MkdirTemp("", "hunt"); err != nil {
		return err
	}
	defer os.RemoveAll(h.dir)
	if table {
		return h.playPlanted(ctx)
	}
	if err := h.playClean(ctx); err != nil {
		return err
	}
	for _, m := range list {
		r, err := h.one(ctx, m)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %v\n", m.Name, r)
	}
	return nil
}

// named returns the faults of these names, in their order.
func named(all []*mutant.Mutant, names []string) (list []*mutant.Mutant, err error) {
	for _, name := range names {
		i := slices.IndexFunc(all, func(m *mutant.Mutant) bool { return m.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no fault %q", name)
		}
		list = append(list, all[i])
	}
	return list, nil
}
