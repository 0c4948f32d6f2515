package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/tools/sim/world"
)

// costs is how much processor time passes from each input to the next, by the first words of the
// inputs: what came before "the start" is that of making the world.
type costs struct {
	kinds map[string]*cost
	kind  string // of the last input
	since time.Duration
}

type cost struct {
	times int
	cpu   time.Duration
	most  time.Duration
}

func newCosts() *costs {
	return &costs{kinds: map[string]*cost{}, kind: "the start", since: processorTime()}
}

// play plays a scenario as [world.World.Play] does, and counts what each input costs.
func (c *costs) play(w *world.World, lines []string, progress func()) error {
	for _, line := range lines {
		at, words, err := world.Split(line)
		if err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		w.Run(max(at, w.Now()), progress)
		c.next(kindOf(words))
		if err := w.Do(words); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
	}
	c.next("")
	return nil
}

// kindOf returns what makes inputs equal: "kill", "cut rr", "bfd handover".
func kindOf(words []string) string {
	switch {
	case len(words) < 2:
		return fmt.Sprint(words)
	case slices.Contains([]string{"bfd", "rr", "guest", "kernel", "everyone"}, words[0]) || words[1] == "rr":
		return words[0] + " " + words[1]
	case words[0] == "reload" || words[0] == "foreign" || words[0] == "impair" || words[0] == "carrier":
		return words[0] + " " + words[min(len(words)-1, map[string]int{"reload": 2, "foreign": 2, "impair": 3, "carrier": 3}[words[0]])]
	}
	return words[0]
}

// next ends what the last input costs.
func (c *costs) next(kind string) {
	now := processorTime()
	k := c.kinds[c.kind]
	if k == nil {
		k = &cost{}
		c.kinds[c.kind] = k
	}
	k.times++
	k.cpu += now - c.since
	k.most = max(k.most, now-c.since)
	c.kind, c.since = kind, now
}

// report writes the kinds, those that cost most first.
func (c *costs) report(out io.Writer) {
	fmt.Fprintln(out, "processor time from an input to the next:")
	list := slices.SortedFunc(maps.Keys(c.kinds), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.kinds[b].cpu, c.kinds[a].cpu), cmp.Compare(a, b))
	})
	for _, name := range list {
		k := c.kinds[name]
		fmt.Fprintf(out, "  %-26s %5d times, %v, each %v, at most %v\n", name, k.times, k.cpu.Round(time.Millisecond), (k.cpu / time.Duration(k.times)).Round(time.Millisecond), k.most.Round(time.Millisecond))
	}
}
