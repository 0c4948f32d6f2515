package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// violation is one line of the simulator about an invariant that was broken.
type violation struct {
	invariant string
	subject   string // a flow, or a hypervisor
	text      string
}

// outcome is what came of one world.
type outcome struct {
	trace      string // the sum of all that happened
	violations []violation
}

var (
	trace   = regexp.MustCompile(`(?m)^seed .* trace ([0-9a-f]+),`)
	line    = regexp.MustCompile(`(?m)^\+[\dhms.µn]+ ([^:\n]+): (.*)$`)
	subject = regexp.MustCompile(`^.*?(?:: | for |$)`)
	numbers = regexp.MustCompile(`[\w.µ-]*\d[\w.µ-]*`)
)

// parse takes apart what the simulator prints.
func parse(out string) (o outcome) {
	if m := trace.FindStringSubmatch(out); m != nil {
		o.trace = m[1]
	}
	for _, m := range line.FindAllStringSubmatch(out, -1) {
		s := subject.FindString(m[2])
		o.violations = append(o.violations, violation{m[1], strings.TrimRight(strings.TrimSuffix(s, " for "), ": "), m[2]})
	}
	return o
}

// kind is the violation without names and numbers.
func (v *violation) kind() string { return v.invariant + ": " + numbers.ReplaceAllString(v.text, "#") }

// clean is what the code without a fault breaks.
type clean struct {
	outcomes []outcome // of each seed, from 1 on
	failed   int       // how many worlds have some
	kinds    map[string]bool
}

func newClean(outcomes []outcome) *clean {
	c := &clean{outcomes, 0, map[string]bool{}}
	for _, o := range outcomes {
		if len(o.violations) > 0 {
			c.failed++
		}
		for _, v := range o.violations {
			c.kinds[v.kind()] = true
		}
	}
	return c
}

// without returns the first violation of a world whose invariant the code without a fault does
// not break, in the same world, for the same flow or hypervisor; and the first of those that is
// of a kind that it breaks in no world.
func (c *clean) without(seed int, o outcome) (first, kind *violation) {
	for i := range o.violations {
		v := &o.violations[i]
		if slices.ContainsFunc(c.outcomes[seed-1].violations, func(w violation) bool { return w.invariant == v.invariant && w.subject == v.subject }) {
			continue
		}
		if first == nil {
			first = v
		}
		if !c.kinds[v.kind()] {
			return first, v
		}
	}
	return first, nil
}

// result is what came of the worlds with one fault.
type result struct {
	played int
	differ int // worlds in which anything at all happens otherwise
	// first is the first violation that the code without the fault does not have, kind the first
	// one of a kind that it never has.
	first, kind found
}

// found are the worlds with a violation.
type found struct {
	seeds []int
	what  *violation // in the first of them
}

func (c *clean) compare(outcomes []outcome) *result {
	r := &result{played: len(outcomes)}
	for i, o := range outcomes {
		if o.trace != c.outcomes[i].trace {
			r.differ++
		}
		first, kind := c.without(i+1, o)
		r.first.add(i+1, first)
		r.kind.add(i+1, kind)
	}
	return r
}

func (f *found) add(seed int, v *violation) {
	if v == nil {
		return
	}
	if f.what == nil {
		f.what = v
	}
	f.seeds = append(f.seeds, seed)
}

// median returns how many worlds have to be played until one has a violation, as the median
// over all seeds to begin with; "more" if that is more than there are.
func (f *found) median(played int) string {
	var list []int
	next := slices.Clone(f.seeds)
	for begin := 1; begin <= played; begin++ {
		for len(next) > 0 && next[0] < begin {
			next = next[1:]
		}
		if len(next) == 0 {
			list = append(list, played+1)
			continue
		}
		list = append(list, next[0]-begin+1)
	}
	slices.Sort(list)
	if m := list[len(list)/2]; m <= played {
		return strconv.Itoa(m)
	}
	return "more"
}

// String returns one line.
func (r *result) String() string {
	if r.first.what == nil {
		return fmt.Sprintf("not found in %d worlds, of which %d differ", r.played, r.differ)
	}
	f, alike := &r.kind, ""
	if f.what == nil {
		f, alike = &r.first, " (of a kind that there is without a fault, too)"
	}
	return fmt.Sprintf("seed %d%s; %d of %d worlds, median %s; %s: %s", f.seeds[0], alike, len(f.seeds), r.played, f.median(r.played), f.what.invariant, f.what.text)
}
