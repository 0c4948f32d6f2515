package host

import (
	"strconv"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
)

// NeighbourRoom returns how many entries the kernel's tables of neighbours have, for all namespaces together, 0 if that
// can not be seen: in a namespace other than the first one.
func NeighbourRoom(ipv6 bool) uint32 {
	text, _ := sysctl(neighbourLimit(ipv6))
	n, _ := strconv.ParseUint(text, 10, 32)
	return uint32(n)
}

func neighbourLimit(ipv6 bool) string {
	family := "ipv4"
	if ipv6 {
		family = "ipv6"
	}
	return "net/" + family + "/neigh/default/gc_thresh3"
}

// neighbours compares the guests whom the kernel must ask by itself with what its tables
// of neighbours hold, for all namespaces together: beyond that it forgets some, under a
// lock that everybody waits for, and BFD's packets wait as well. Permanent entries do not
// count (neigh_alloc: exempt_from_gc). Without the firewall nothing bounds who asks on uplinks.
func (k *checker) neighbours(c *config.Config) {
	count := map[bool]int{}
	for _, g := range c.Guests {
		if domain.Permanent(g) {
			continue
		}
		for _, a := range domain.GuestNeighbours(g) {
			count[a.Is6()]++
		}
	}
	for _, ipv6 := range []bool{false, true} {
		path := neighbourLimit(ipv6)
		text, ok := k.Sysctl(path)
		limit, err := strconv.Atoi(strings.TrimSpace(text))
		if !ok || err != nil {
			continue
		}
		if 2*count[ipv6] > limit {
			k.add(Warn, "%s is %d, and guests without a MAC, or with addresses to be found, are %d neighbours: want at least %d", path, limit, count[ipv6], 4*count[ipv6])
		}
		if c.Firewall.Off && limit < unboundedNeighbours {
			k.add(Warn, "%s is %d, and with firewall: {off: true} nothing bounds how many neighbours the kernel notes because they ask for us on an uplink: want at least %d", path, limit, unboundedNeighbours)
		}
	}
}

// unboundedNeighbours is how large the tables of neighbours should be where the firewall does not bound who fills them: a
// fabric of 4,000 hosts, four entries each; some 8 MB if it is full. A flood fills it all the same, later.
const unboundedNeighbours = 16384
