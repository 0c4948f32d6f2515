package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/tools/sim/explore"
	"github.com/hyperfib/hyperfib/tools/sim/world"
)

// run plays what the command line asks for, and reports whether something was broken.
func run(o options) (failed bool, err error) {
	if o.replay != "" {
		text, err := os.ReadFile(o.replay)
		if err != nil {
			return false, err
		}
		config, lines, err := world.ParseScenario(o.config, string(text))
		if err != nil {
			return false, fmt.Errorf("%s: %w", o.replay, err)
		}
		o.config = config
		return one(o, lines)
	}
	if o.explore > 0 {
		return explored(o)
	}
	for seed := o.from; seed <= o.to && !failed; seed++ {
		o.config.Seed = seed
		if failed, err = one(o, world.Draw(o.config, o.length)); err != nil {
			return false, err
		}
	}
	return failed, nil
}

// startProfile begins to write a profile, if one is wanted, and returns what ends it.
func (o options) startProfile() (stop func(), err error) {
	if o.profile == "" {
		return func() {}, nil
	}
	f, err := os.Create(o.profile)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, nil
}

// one plays one world.
func one(o options, lines []string) (failed bool, err error) {
	debug.SetGCPercent(400) // most of what lives stays for the whole run
	began, cpu := time.Now(), processorTime()
	var timeline world.Timeline
	c := o.config
	c.Trace = func(line string) {
		timeline.Add(line)
		if o.verbose {
			fmt.Println(line)
		}
	}
	w, err := world.New(c)
	if err != nil {
		return false, err
	}
	play := w.Play
	if o.costs {
		costs := newCosts()
		play = func(lines []string, progress func()) error { return costs.play(w, lines, progress) }
		defer costs.report(os.Stdout)
	}
	if err := play(lines, o.progress(w, began)); err != nil {
		return false, err
	}
	w.Report(os.Stdout)
	fmt.Printf("seed %d: %v of the world in %v, %v of CPU; trace %s\n", c.Seed, w.Now().Round(time.Second), time.Since(began).Round(10*time.Millisecond), (processorTime() - cpu).Round(10*time.Millisecond), w.Sum())
	if o.picture != "" {
		if err := os.WriteFile(o.picture, timeline.SVG(w), 0o644); err != nil {
			return false, err
		}
	}
	if len(w.Violations) == 0 {
		return false, nil
	}
	fmt.Printf("%d violations; again: go run ./tools/sim -hosts %d -guests %d -hours %v%s -seed %d\n", len(w.Violations), c.Hosts, c.Guests, o.length.Hours(), flags(c), c.Seed)
	for i, v := range w.Violations {
		if i == 20 {
			fmt.Printf("... %d more\n", len(w.Violations)-i)
			break
		}
		fmt.Println(v)
	}
	if o.shrink {
		short, err := world.Shrink(o.config, lines, func(left int) { fmt.Fprintf(os.Stderr, "\r%d lines ", left) })
		if err != nil {
			return true, err
		}
		fmt.Printf("\n%d of %d lines are enough:\n%s\n", len(short), len(lines), strings.Join(short, "\n"))
	}
	return true, nil
}

// progress prints how far a long run has come, to the standard error.
func (o options) progress(w *world.World, began time.Time) func() {
	last := began
	return func() {
		if now := time.Now(); now.Sub(last) > 2*time.Second {
			last = now
			fmt.Fprintf(os.Stderr, "\rseed %d: %v of %v, %d faults, %d violations ", o.config.Seed, w.Now().Round(time.Minute), o.length, w.Counts.Faults, len(w.Violations))
		}
	}
}

// explored plays every interleaving of a small world, theme by theme, until one fails.
func explored(o options) (failed bool, err error) {
	debug.SetGCPercent(800) // a path leaves a whole world
	found := false
	for _, t := range explore.Themes {
		if o.theme != "" && o.theme != t.Name || failed {
			continue
		}
		found = true
		r, err := explore.Run(explore.Config{Depth: o.explore, Theme: t, Progress: func(l explore.Level) {
			fmt.Printf("depth %d: %d paths, %d new states, %v\n", l.Depth, l.Paths, l.States, l.Took.Round(time.Millisecond))
		}})
		if err != nil {
			return false, err
		}
		r.Report(os.Stdout)
		failed = r.Violation != nil
	}
	if !found {
		return false, fmt.Errorf("-theme %q: want one of %s", o.theme, explore.Names())
	}
	return failed, nil
}

// flags returns the flags of a world that are not always said.
func flags(c world.Config) (s string) {
	if c.Theme != "" {
		s = " -theme " + c.Theme
	}
	if c.Strict {
		s += " -strict"
	}
	if c.Faults != 0 {
		s += fmt.Sprintf(" -faults %v", c.Faults)
	}
	if c.Audit != 0 {
		s += fmt.Sprintf(" -audit %v", c.Audit)
	}
	return s
}
