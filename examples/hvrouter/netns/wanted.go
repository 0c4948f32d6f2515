package netns

import "github.com/hyperfib/hyperfib/fib"

// Neighbours yields the permanent neighbours that are wanted.
func (n *Namespace) Neighbours(yield func(fib.Neighbor) bool) {
	for _, one := range n.desired.neighbors.all {
		if !yield(one) {
			return
		}
	}
}

// Sysctls returns the values that are wanted, by their paths below /proc/sys. They must not be
// changed.
func (n *Namespace) Sysctls() map[string]string { return n.desired.static.Sysctls }
