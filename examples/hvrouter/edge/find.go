package edge

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/ndp"
)

// Sighting is what was noticed about one address that guests may find: IPv4's from
// ARP, IPv6's from neighbour discovery.
type Sighting arp.Event

// finder watches guests that find addresses. What lies outside the prefixes of the guest
// behind a link is dropped before anybody remembers it. Of each address the latest news
// are kept until they are fetched, so a guest that makes up addresses costs no more than
// its watcher remembers.
type finder struct {
	arp   *arp.Monitor
	ndp   *ndp.Monitor
	conn4 *arp.Conn
	conn6 *ndp.Conn

	mu        sync.Mutex
	within    map[int][]config.Prefix // by link
	latest    map[netip.Addr]Sighting
	conflicts map[netip.Addr]Sighting
	wake      chan struct{}
}

func openFinder(netns string) (*finder, error) {
	f := &finder{within: map[int][]config.Prefix{}, latest: map[netip.Addr]Sighting{}, conflicts: map[netip.Addr]Sighting{}, wake: make(chan struct{}, 1)}
	var err error
	if f.conn4, err = arp.Listen(arp.Config{NetNS: netns}); err != nil {
		return nil, err
	}
	if f.conn6, err = ndp.Listen(ndp.Config{NetNS: netns, Types: []ndp.Type{ndp.TypeNeighborSolicitation, ndp.TypeNeighborAdvertisement}}); err != nil {
		f.conn4.Close()
		return nil, err
	}
	f.arp = arp.NewMonitor(filtered4{f.conn4, f}, arp.WatchConfig{})
	f.ndp = ndp.NewMonitor(filtered6{f.conn6, f}, ndp.WatchConfig{})
	return f, nil
}

func (f *finder) close() {
	f.conn4.Close()
	f.conn6.Close()
}

// set watches the link of a guest that discovers, and asks for what it was known to
// have; of any other guest it forgets what there was.
func (f *finder) set(c *config.Config, p guest.Port, mac [6]byte) error {
	find := p.Discovery
	if !find.Neighbors {
		f.remove(p.Link.IfIndex)
		return nil
	}
	f.mu.Lock()
	f.within[p.Link.IfIndex] = slices.Clone(find.Within)
	f.mu.Unlock()
	if find.Has(config.IPv4) {
		if err := f.arp.AddLink(p.Link.IfIndex, arp.MAC(mac), domain.Gateway4(c, p.Guest)); err != nil {
			return err
		}
	} else {
		f.arp.RemoveLink(p.Link.IfIndex)
	}
	if find.Has(config.IPv6) {
		if err := f.ndp.AddLink(p.Link.IfIndex, ndp.MAC(mac), gateway6); err != nil {
			return err
		}
	} else {
		f.ndp.RemoveLink(p.Link.IfIndex)
	}
	for _, a := range p.Seeded {
		if a.Is4() {
			f.arp.Seed(p.Link.IfIndex, a)
		} else {
			f.ndp.Seed(p.Link.IfIndex, a)
		}
	}
	return nil
}

func (f *finder) remove(link int) {
	f.mu.Lock()
	_, there := f.within[link]
	delete(f.within, link)
	f.mu.Unlock()
	if there {
		f.arp.RemoveLink(link)
		f.ndp.RemoveLink(link)
	}
}

func (f *finder) limit(link int, perSecond float64) {
	f.conn4.Limit(link, perSecond)
	f.conn6.Limit(link, perSecond)
}

// allows reports whether an address may be found behind a link.
func (f *finder) allows(link int, a netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.within[link], func(p config.Prefix) bool { return p.Contains(a) })
}

// follow4 keeps what the ARP monitor sees until ctx ends.
func (f *finder) follow4(ctx context.Context) error {
	w := f.arp.Watch()
	defer w.Close()
	for e, err := range w.All(ctx) {
		if err != nil {
			return nil // the monitor's Run says why
		}
		f.record(Sighting(e))
	}
	return nil
}

// follow6 is the same for neighbour discovery.
func (f *finder) follow6(ctx context.Context) error {
	w := f.ndp.Watch()
	defer w.Close()
	for e, err := range w.All(ctx) {
		if err != nil {
			return nil
		}
		f.record(Sighting(e))
	}
	return nil
}

// record keeps a sighting for Sightings.
func (f *finder) record(s Sighting) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.Kind == arp.EventConflict {
		f.conflicts[s.IP] = s
	} else {
		f.latest[s.IP] = s
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Sightings waits for news about addresses that guests find, and gives the latest of
// each, in the order of the addresses: conflicts first. It fails when ctx ends.
func (e *Edge) Sightings(ctx context.Context) ([]Sighting, error) {
	f := e.finder
	select {
	case <-f.wake:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	byAddress := func(a, b Sighting) int { return a.IP.Compare(b.IP) }
	out := slices.SortedFunc(maps.Values(f.conflicts), byAddress)
	out = append(out, slices.SortedFunc(maps.Values(f.latest), byAddress)...)
	clear(f.conflicts)
	clear(f.latest)
	return out, nil
}

// filtered4 is a connection that hears only of addresses that may be found.
type filtered4 struct {
	*arp.Conn
	f *finder
}

// Read implements arp.PacketConn. It may give 0 frames without an error.
func (s filtered4) Read(frames []arp.Frame) (int, error) {
	n, err := s.Conn.Read(frames)
	good := 0
	for _, f := range frames[:n] {
		a := f.SenderIP.Addr()
		if f.IsProbe() {
			a = f.TargetIP.Addr()
		}
		if s.f.allows(f.IfIndex, a) {
			frames[good] = f
			good++
		}
	}
	return good, err
}

// filtered6 is the same for IPv6.
type filtered6 struct {
	*ndp.Conn
	f *finder
}

// Read implements ndp.PacketConn. It may give 0 packets without an error.
func (s filtered6) Read(packets []ndp.Packet) (int, error) {
	n, err := s.Conn.Read(packets)
	good := 0
	for i := range packets[:n] {
		if a, _ := ndp.Claim(&packets[i]); a.IsValid() && s.f.allows(packets[i].IfIndex, a) {
			packets[good] = packets[i]
			good++
		}
	}
	return good, err
}
