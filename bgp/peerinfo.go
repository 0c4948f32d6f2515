package bgp

import (
	"iter"
	"net/netip"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// peerInfo is what others may ask about a peer while its owner is busy: its configuration
// and its status. It is safe for concurrent use.
type peerInfo struct {
	mu  sync.Mutex // guards the following
	cfg PeerConfig // as last configured
	st  PeerStatus // what the owner knows; Speaker.Peer adds counters
	in  *rib.In    // nil before the first session
	out *rib.Out   // nil unless Established
}

// config returns the peer's configuration, which is replaced as a whole.
func (i *peerInfo) config() *PeerConfig {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.cfg
	return &c
}

// configure replaces the configuration.
func (i *peerInfo) configure(c PeerConfig) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.cfg = c
}

// set changes the status, and may change in and out as well.
func (i *peerInfo) set(f func(*PeerStatus)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f(&i.st)
}

// plain returns why our last OPEN had no capabilities; nil if it had.
func (i *peerInfo) plain() *PeerError {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.st.Plain
}

// status returns a snapshot, as of now.
func (i *peerInfo) status(now time.Time) PeerStatus {
	i.mu.Lock()
	defer i.mu.Unlock()
	st := i.st
	if !st.RefusedUntil.After(now) {
		st.RefusedUntil = time.Time{}
	}
	st.Description, st.Client = i.cfg.Description, i.cfg.RouteReflectorClient
	var sent rib.OutCounters
	if i.out != nil {
		sent = i.out.Counters()
		st.Sent.Update += sent.Updates
		st.Sent.Octets += sent.Octets
	}
	for _, f := range i.cfg.Families {
		fs := FamilyStatus{Family: f, PrefixLimit: i.cfg.PrefixLimits[f]}
		if i.in != nil {
			fs.Counters = i.in.Counters(f)
		}
		if k := familyIndex(f); st.Negotiated != nil {
			fs.EndOfRIB, fs.NoNextHop, fs.TooLong = st.endOfRIB[k], sent.NoNextHop[k], sent.TooLong[k]
		}
		st.Families = append(st.Families, fs)
	}
	return st
}

// allAdvertised iterates over the session's Adj-RIB-Out, which is empty without a session.
func (i *peerInfo) allAdvertised(f wire.Family) iter.Seq[rib.Advert] {
	i.mu.Lock()
	out := i.out
	i.mu.Unlock()
	if out == nil {
		return func(func(rib.Advert) bool) {}
	}
	return out.All(f)
}

// refused returns what the peer announces and is refused; without a session there is nothing.
func (i *peerInfo) refused(f wire.Family) ([]rib.RefusedRoute, uint64) {
	i.mu.Lock()
	in := i.in
	i.mu.Unlock()
	if in == nil {
		return nil, 0
	}
	return in.Refused(f)
}

// advertised returns what the session's Adj-RIB-Out has for a prefix, nil without a session.
func (i *peerInfo) advertised(p netip.Prefix) []rib.Advert {
	i.mu.Lock()
	out := i.out
	i.mu.Unlock()
	if out == nil {
		return nil
	}
	return out.Advertised(p)
}
