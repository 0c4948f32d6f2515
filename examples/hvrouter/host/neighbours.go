package host

import (
	"strconv"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
)

// neighbours compares the guests whom the kernel must ask by itself with what its tables
// of neighbours hold, for all namespaces together: beyond that it forgets some, under a
// lock that everybody waits for, and BFD's packets wait as well. Permanent entries do not
// count (neigh_alloc: exempt_from_gc).
func (k *checker) neighbours(c *config.Config) {
	count := map[string]int{}
	for _, g := range c.Guests {
		if domain.Permanent(g) {
			continue
		}
		for _, a := range domain.GuestNeighbours(g) {
			if a.Is4() {
				count["ipv4"]++
			} else {
				count["ipv6"]++
			}
		}
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		path := "net/" + family + "/neigh/default/gc_thresh3"
		text, ok := k.Sysctl(path)
		if limit, err := strconv.Atoi(strings.TrimSpace(text)); ok && err == nil && 2*count[family] > limit {
			k.add(Warn, "%s is %d, and guests without a MAC, or with addresses to be found, are %d neighbours: want at least %d", path, limit, count[family], 4*count[family])
		}
	}
}
