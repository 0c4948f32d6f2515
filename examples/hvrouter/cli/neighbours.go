package cli

import (
	"cmp"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

func neighbourRows(n *api.Neighbour) (heading, cells []string) {
	var notes []string
	if n.Router {
		notes = append(notes, "router")
	}
	if n.Conflict != nil {
		notes = append(notes, "claimed by "+n.Conflict.MAC+" on "+n.Conflict.Interface+" "+ago(n.Conflict.Time)+" ago")
	}
	found := "-"
	if n.Found != "" {
		found = n.Found + " " + ago(n.Since)
	}
	announced := "-"
	if n.Announced {
		announced = "yes"
	}
	return []string{"INTERFACE", "ADDRESS", "MAC", "KERNEL", "FOUND", "GUEST", "ANNOUNCED", ""},
		[]string{n.Interface, n.Address.String(), cmp.Or(n.MAC, "-"), cmp.Or(n.Kernel, "-"), found, cmp.Or(n.Guest, "-"), announced, strings.Join(notes, ", ")}
}
