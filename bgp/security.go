package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// secured is what the speaker knows of its listeners' socket options.
type secured struct {
	failed error // why they are not as they should be, nil if they are
	wait   time.Duration
	retry  *time.Timer
}

// Waits between attempts to set socket options that the kernel refused, most likely for
// lack of memory.
const (
	secureMin = time.Second
	secureMax = time.Minute
)

func (s *secured) stop() {
	if s.retry != nil {
		s.retry.Stop()
	}
}

// secure installs on the listeners what the peers' configurations ask for.
func (s *Speaker) secure() (err error) {
	for _, l := range s.listeners {
		err = errors.Join(err, l.apply(s.demand(l.addr.Addr())))
	}
	return err
}

// resecure is secure for a running speaker: an error becomes an event, and the rest is
// tried again later. A peer whose key is missing is not let in meanwhile. s.mu is held.
func (s *Speaker) resecure() {
	if s.ctx == nil || s.usable() != nil {
		return
	}
	err := s.secure()
	s.secured.stop()
	if text(err) != text(s.secured.failed) {
		s.hub.publish(Event{Kind: EventListen, Time: time.Now(), Err: err})
	}
	if s.secured.failed = err; err == nil {
		s.secured.wait = 0
		return
	}
	s.secured.wait = min(max(2*s.secured.wait, secureMin), secureMax)
	s.secured.retry = time.AfterFunc(s.secured.wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.resecure()
	})
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// demand collects what the peers that may connect to a listener at a want of it.
func (s *Speaker) demand(a netip.Addr) (d demand) {
	d.gtsm = true
	any := false
	add := func(prefix netip.Prefix, c *PeerConfig) {
		if !reaches(prefix.Addr(), c.LocalAddr, a) {
			return
		}
		any = true
		d.gtsm = d.gtsm && c.TTLSecurity
		if k := (md5Key{prefix, c.MD5Key}); k.key != "" && !slices.Contains(d.keys, k) {
			d.keys = append(d.keys, k)
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

// reaches reports whether a peer can connect to a listener: local is our address of its
// session, or the zero Addr.
func reaches(peer, local, listener netip.Addr) bool {
	if peer.Is4() != listener.Is4() {
		return false
	}
	return !local.IsValid() || listener.IsUnspecified() || local.WithZone("") == listener.WithZone("")
}

// keyConflict returns an error if a peer that is to be configured as c would need another
// key than a peer at the same address has, on a listener that both can reach: the kernel
// has one a peer address. not is the peer itself. s.mu is held.
func (s *Speaker) keyConflict(c *PeerConfig, not *peer) error {
	for _, p := range s.peers {
		q := p.config()
		if p == not || p.dyn != nil || q.MD5Key == c.MD5Key || hostPrefix(q.Addr) != hostPrefix(c.Addr) {
			continue
		}
		for _, l := range s.cfg.Listen {
			if reaches(c.Addr, c.LocalAddr, l.Addr()) && reaches(q.Addr, q.LocalAddr, l.Addr()) {
				return fmt.Errorf("its MD5 key differs from that of %v, and %v can have one for an address", p.key, l)
			}
		}
	}
	return nil
}
