package netns

import (
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/fib"
)

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

// Static returns what follows from the configuration and the guests that are here. It must not be
// changed.
func (n *Namespace) Static() domain.Static { return n.desired.static }

// FirewallError returns why the firewall could not be written last, nil if it was.
func (n *Namespace) FirewallError() error { return n.shield.failed }

// Contended returns the objects of which another program undid each repair since a time.
func (n *Namespace) Contended(since time.Time) (keys []string) { return newer(n.audit.fights, since) }
