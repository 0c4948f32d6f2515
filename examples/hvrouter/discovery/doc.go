// Package discovery is what is found out about guests' addresses besides the inventory: by
// foreign routes over their interfaces, by the ARP packets and neighbour advertisements that they
// send, and by what they ask their gateway from. It is pure: events and time in, state that can be
// asked; the daemon's loop owns it. All of it is by interface index, and counts only as far as
// the guest behind the interface may have found addresses.
package discovery
