package bgp

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// secure installs on the listeners what the peers' configurations ask for.
func (s *Speaker) secure() (err error) {
	for _, l := range s.listeners {
		err = errors.Join(err, l.apply(s.demand(l.addr.Addr())))
	}
	return err
}

// demand collects what the peers of the address family of a want of a listener.
func (s *Speaker) demand(a netip.Addr) (d demand) {
	d.gtsm = true
	any := false
	add := func(prefix netip.Prefix, c *PeerConfig) {
		if prefix.Addr().Is4() != a.Is4() {
			return
		}
		any = true
		d.gtsm = d.gtsm && c.TTLSecurity
		if c.MD5Key != "" {
			d.keys = append(d.keys, md5Key{prefix, c.MD5Key})
		}
	}
	for _, p := range s.peers {
		if p.dyn == nil {
			add(hostPrefix(p.key.Addr), p.config())
		}
	}
	for _, r := range s.ranges {
		add(r.prefix, &r.template)
	}
	d.gtsm = d.gtsm && any
	slices.SortFunc(d.keys, func(a, b md5Key) int { return a.prefix.Compare(b.prefix) })
	return d
}

// resecure is secure for a running speaker: an error goes to the log.
func (s *Speaker) resecure() {
	if err := s.secure(); err != nil {
		s.hub.publish(Event{Kind: EventListen, Time: time.Now(), Err: err})
	}
}
