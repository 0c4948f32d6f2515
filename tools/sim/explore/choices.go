package explore

import (
	"slices"
	"strings"
)

// fault is an input that may come at any time.
type fault struct {
	input string
	after string // a fault that it ends; "": it needs none
}

// faults are all of them, see Themes. Each comes at most once in a path. One that ends another does not
// count.
var faults = []fault{
	{input: "kill h1"},
	{input: "start h1", after: "kill h1"},
	{input: "bfd handover h1"},
	{input: "bfd handover h1 10us"},
	{input: "bfd kill-successor h1", after: "bfd handover h1 10us"},
	{input: "bfd kill-predecessor h1", after: "bfd handover h1 10us"},
	{input: "bfd kill h1"},
	{input: "bfd start h1", after: "bfd kill h1"},
	{input: "cut h1 A"},
	{input: "heal h1 A", after: "cut h1 A"},
	{input: "cut h1 B"},
	{input: "heal h1 B", after: "cut h1 B"},
	{input: "rr kill A"},
	{input: "rr start A", after: "rr kill A"},
	{input: "step lose A"},
	{input: "die h2"},
	{input: "die h1"},
	{input: "boot h1", after: "die h1"},
	{input: "guest go g2"},
	{input: "guest move g1 h2"},
}

// Theme is which faults a path may have, who takes turns, and where paths begin.
type Theme struct {
	Name   string
	Most   int      // faults in a path, without those that end others
	Faults []string // that may come, each once
	// Others are who takes turns beside the first hypervisor and the fabrics: "rr", "h2".
	Others string
	// Before are inputs that each path begins with. They do not count, neither as steps nor as
	// faults.
	Before []string
}

// Themes are what is explored. With all faults at once there would be four times as many states
// at each step.
var Themes = []Theme{
	{Name: "restart", Most: 1, Faults: []string{"kill h1", "start h1"}},
	{Name: "upgrade", Most: 2, Faults: []string{"kill h1", "start h1", "bfd handover h1"}},
	{Name: "path", Most: 2, Faults: []string{"kill h1", "start h1", "cut h1 A", "heal h1 A"}},
	{Name: "paths", Most: 3, Faults: []string{"kill h1", "cut h1 A", "cut h1 B", "heal h1 B"}},
	{Name: "bfd", Most: 2, Faults: []string{"kill h1", "start h1", "bfd kill h1", "bfd start h1"}},
	{Name: "reflector", Most: 2, Faults: []string{"kill h1", "start h1", "rr kill A", "rr start A"}, Others: "rr"},
	{Name: "remote", Most: 2, Faults: []string{"kill h1", "start h1", "die h2"}, Others: "rr h2"},
	{Name: "sweep", Most: 1, Faults: []string{"kill h1", "start h1", "cut h1 A", "heal h1 A"}, Others: "rr h2", Before: []string{
		"kill h1", "step A", "step B", "step rr A", "step rr B", "step A", "step B", "start h1", "step daemon", "step A", "step B", "step daemon",
		"step rr A", "step rr B", "step A", "step B", "step daemon", "step rr A", "step rr B", "step A", "step B", "step daemon",
	}},
	{Name: "takeover", Most: 2, Faults: []string{"kill h1", "start h1", "bfd handover h1 10us", "bfd kill-successor h1", "bfd kill-predecessor h1"}},
	{Name: "boot", Most: 1, Faults: []string{"die h1", "boot h1"}},
	{Name: "guest", Most: 2, Faults: []string{"kill h1", "start h1", "guest go g2", "guest move g1 h2"}, Others: "rr h2"},
	{Name: "loss", Most: 2, Faults: []string{"kill h1", "start h1", "step lose A"}},
}

// begin returns how each path begins: everything is up by then.
func (t Theme) begin() []string {
	return append([]string{strings.TrimSpace("+50.05s step begin " + t.Others)}, t.Before...)
}

// choices returns what can be done after a path: ready are those who have something to do.
func (t Theme) choices(path, ready []string) (list []string) {
	for _, who := range ready {
		list = append(list, "step "+who)
	}
	if len(ready) == 0 && (len(t.Before) > 0 || slices.ContainsFunc(path, func(s string) bool { return find(s) != nil })) {
		list = append(list, "step time") // not before the first fault: that would only be another phase of the timers
	}
	had, count := map[string]bool{}, 0
	for _, s := range path {
		had[s] = true
		if f := find(s); f != nil && f.after == "" {
			count++
		}
	}
	for _, f := range faults {
		switch {
		case !slices.Contains(t.Faults, f.input), had[f.input]:
		case f.after != "" && !had[f.after]:
		case f.after == "" && count >= t.Most:
		case f.input == "step lose A" && !slices.Contains(ready, "A"):
		default:
			list = append(list, f.input)
		}
	}
	return list
}

func find(input string) *fault {
	if i := slices.IndexFunc(faults, func(f fault) bool { return f.input == input }); i >= 0 {
		return &faults[i]
	}
	return nil
}

// used returns which faults a path has had: they decide which ones may come.
func used(path []string) string {
	var list []string
	for _, s := range path {
		if find(s) != nil {
			list = append(list, s)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// Names returns the names of the themes.
func Names() string {
	var list []string
	for _, t := range Themes {
		list = append(list, t.Name)
	}
	return strings.Join(list, ", ")
}
