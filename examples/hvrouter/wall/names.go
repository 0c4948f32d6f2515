package wall

import (
	"slices"
	"strings"

	"github.com/google/nftables"
)

// isPrefix tells whether a name stands for all that begin like it.
func isPrefix(name string) bool { return strings.HasSuffix(name, "*") }

// widest drops the names that a prefix covers: the intervals of a set must not overlap.
func widest(names []string) (out []string) {
	names = sorted(names)
	for _, name := range names {
		covered := slices.ContainsFunc(names, func(p string) bool {
			return p != name && isPrefix(p) && strings.HasPrefix(strings.TrimSuffix(name, "*"), strings.TrimSuffix(p, "*"))
		})
		if !covered {
			out = append(out, name)
		}
	}
	return out
}

// interval gives the elements of a name in a set of intervals: its first key, and the
// first behind it.
func interval(name string) []nftables.SetElement {
	first := ifname(strings.TrimSuffix(name, "*"))
	behind := slices.Clone(first)
	last := len(behind) - 1
	if isPrefix(name) {
		last = len(name) - 2
	}
	behind[last]++ // no octet of a name is 255
	return []nftables.SetElement{{Key: first}, {Key: behind, IntervalEnd: true}}
}
