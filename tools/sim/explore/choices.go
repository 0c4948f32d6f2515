package explore

import (
	"slices"
	"strings"
)

// fault is an input that may come at any time.
type fault struct {
	input string
	after string // a fault that it ends; "": it needs none
	// other says that it does not touch the first hypervisor.
	other bool
}

// faults are all of them, see Themes. Each comes at most once in a path. One that ends another does not
// count.
var faults = []fault{
	{input: "kill h1"},
	{input: "start h1", after: "kill h1"},
	{input: "bfd handover h1"},
	{input: "bfd kill h1"},
	{input: "bfd start h1", after: "bfd kill h1"},
	{input: "cut h1 A"},
	{input: "heal h1 A", after: "cut h1 A"},
	{input: "cut h1 B"},
	{input: "heal h1 B", after: "cut h1 B"},
	{input: "rr kill A"},
	{input: "rr start A", after: "rr kill A"},
	{input: "step lose A"},
	{input: "die h2", other: true},
}

// Theme is which faults a path may have.
type Theme struct {
	Name   string
	Most   int      // in a path, without those that end others
	Faults []string // that may come, each once
}

// Themes are what is explored. With all faults at once there would be four times as many states
// at each step.
var Themes = []Theme{
	{"restart", 1, []string{"kill h1", "start h1"}},
	{"upgrade", 2, []string{"kill h1", "start h1", "bfd handover h1"}},
	{"path", 2, []string{"kill h1", "start h1", "cut h1 A", "heal h1 A"}},
	{"paths", 3, []string{"kill h1", "cut h1 A", "cut h1 B", "heal h1 B"}},
	{"bfd", 2, []string{"kill h1", "start h1", "bfd kill h1", "bfd start h1"}},
	{"reflector", 2, []string{"kill h1", "start h1", "rr kill A", "rr start A"}},
	{"remote", 2, []string{"kill h1", "start h1", "die h2"}},
	{"loss", 2, []string{"kill h1", "start h1", "step lose A"}},
}

// choices returns what can be done after a path: ready are those who have something to do, and
// before those who had before the last step. skipped is how many choices are not taken since the
// same two steps are played in the other order.
func (c Config) choices(path, before, ready []string) (list []string, skipped int) {
	last := path[len(path)-1]
	for _, who := range ready {
		if who == "kernel" && slices.Contains(before, who) && commutes(last) {
			skipped++
			continue
		}
		list = append(list, "step "+who)
	}
	if len(ready) == 0 {
		list = append(list, "step time")
	}
	had, count := map[string]bool{}, 0
	for _, s := range path[1:] {
		had[s] = true
		if f := find(s); f != nil && f.after == "" {
			count++
		}
	}
	for _, f := range faults {
		switch {
		case had[f.input], f.after != "" && !had[f.after], f.after == "" && count >= c.Theme.Most:
		case !slices.Contains(c.Theme.Faults, f.input):
		case f.input == "step lose A" && !slices.Contains(ready, "A"):
		case f.other && ofProcess(last):
			skipped++
		default:
			list = append(list, f.input)
		}
	}
	return list, skipped
}

func find(input string) *fault {
	if i := slices.IndexFunc(faults, func(f fault) bool { return f.input == input }); i >= 0 {
		return &faults[i]
	}
	return nil
}

// commutes reports whether a step and the delivery of notifications of the kernel do the same in
// both orders: the delivery makes them readable for the daemon, which reads them at its turn.
func commutes(step string) bool {
	return step == "step A" || step == "step B" || step == "step bfd"
}

// ofProcess reports whether an input only concerns the processes of the first hypervisor: the
// death of the other one, of which they hear by packets, does the same before and after it.
func ofProcess(input string) bool {
	return input == "kill h1" || input == "start h1" || strings.HasPrefix(input, "bfd ")
}

// Names returns the names of the themes.
func Names() string {
	var list []string
	for _, t := range Themes {
		list = append(list, t.Name)
	}
	return strings.Join(list, ", ")
}
