package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/hyperfib/hyperfib/tools/sim/mutant"
)

// planted are the faults that seeds find: in worlds of which theme, and within how many seeds from 1
// on. TestPlanted keeps it so.
var planted = []struct {
	mutant, theme string
	within        int
}{
	{"unchanged-path-stays-stale", "restart", 40},
	{"stale-beside-fresh", "restart", 40},
	{"end-of-rib-not-awaited", "restart", 40},
	{"deferral-without-a-peer", "restart", 40},
	{"answered-until-the-sweep", "restart", 40},
	{"announced-before-the-kernel", "kernel", 40},
	{"loss-timer-begins-anew", "kernel", 40},
	{"next-hop-compared-by-link", "kernel", 40},
	{"lost-notifications-routes-only", "kernel", 40},
	{"failed-route-not-woken", "kernel", 40},
	{"interrupted-dump-believed", "kernel", 40},
	{"deleted-rule-not-read", "kernel", 40},
	{"lost-hop-not-woken", "kernel", 40},
	{"last-member-deleted", "paths", 40},
	{"hard-reset-retained", "paths", 40},
	{"c-bit-of-the-peer", "paths", 40},
	{"stale-after-path-down", "paths", 40},
	{"restart-time-from-connect", "paths", 40},
	{"failure-outlives-the-session", "paths", 40},
	{"room-not-emptied", "families", 40},
	{"slower-at-once", "bfd", 40},
	{"giver-ends-when-taker-dies", "bfd", 40},
}

// playPlanted plays the worlds of each planted fault's theme.
func (h *hunt) playPlanted(ctx context.Context) error {
	base, theme := h.world, "none yet"
	for _, p := range planted {
		m, err := mutant.Read(filepath.Join(h.root, mutants, p.mutant+".patch"))
		if err != nil {
			return err
		}
		if h.world = themed(base, p.theme); p.theme != theme {
			theme = p.theme
			fmt.Printf("theme %q: ", theme)
			if err := h.playClean(ctx); err != nil {
				return err
			}
		}
		r, err := h.one(ctx, m)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %v\n", m.Name, r)
	}
	return nil
}

// themed returns arguments of the simulator with those of a theme. Where the kernel is at fault,
// nobody reads it again all the time: that repairs within half a minute what notifications have not
// told, and hides faults in how these are taken.
func themed(args []string, theme string) []string {
	args = slices.Clone(args)
	switch theme {
	case "":
		return args
	case "kernel":
		args = append(args, "-audit", "24h")
	}
	return append(args, "-theme", theme)
}

// finds plays the worlds of a theme with a planted fault until one has a violation that the code
// without it, the simulator clean, has not; it returns the seed, 0 if there is none.
func (h *hunt) finds(ctx context.Context, clean, sim string, within int) (seed int, v *violation, err error) {
	for seed := 1; seed <= within; seed++ {
		with, err := h.playOne(ctx, sim, seed)
		if err != nil {
			return 0, nil, err
		}
		if len(with.violations) == 0 {
			continue
		}
		without, err := h.playOne(ctx, clean, seed)
		if err != nil {
			return 0, nil, err
		}
		c := newClean([]outcome{without})
		if v, _ := c.without(1, with); v != nil {
			return seed, v, nil
		}
	}
	return 0, nil, nil
}
