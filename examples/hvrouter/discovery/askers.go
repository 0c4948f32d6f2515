package discovery

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/rate"
)

// Askers are the addresses that guests asked for their gateway from, besides those that the
// inventory has: a link-local address that is not made from the MAC (RFC 7217, Section 5), one
// that the guest formed in its /64. The kernel gets a permanent neighbour for each of the newest,
// so that it can answer them by itself while there is no daemon. The zero value is ready.
type Askers struct {
	byLink map[int]*asker
}

// asker is what one guest asked from.
type asker struct {
	addrs []netip.Addr // the oldest first
	allow rate.Bucket
}

const (
	maxAddresses = 8       // of one guest
	askerRate    = 1. / 10 // new ones a second, after a burst of maxAddresses
)

// Add takes an address of the guest behind an interface and reports whether it did: there is a
// rate. The oldest goes if there are too many.
func (a *Askers) Add(ifindex int, addr netip.Addr, now time.Time) bool {
	one := a.byLink[ifindex]
	if one == nil {
		if a.byLink == nil {
			a.byLink = map[int]*asker{}
		}
		one = &asker{allow: rate.Bucket{Rate: askerRate, Size: maxAddresses}}
		a.byLink[ifindex] = one
	}
	if slices.Contains(one.addrs, addr) || !one.allow.Take(now) {
		return false
	}
	if len(one.addrs) == maxAddresses {
		one.addrs = one.addrs[1:]
	}
	one.addrs = append(slices.Clip(one.addrs), addr)
	return true
}

// Of returns the addresses of the guest behind an interface.
func (a *Askers) Of(ifindex int) []netip.Addr {
	if one := a.byLink[ifindex]; one != nil {
		return one.addrs
	}
	return nil
}

// Drop removes what the guest behind an interface asked from.
func (a *Askers) Drop(ifindex int) { delete(a.byLink, ifindex) }
