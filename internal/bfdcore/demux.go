package bfdcore

import "net/netip"

// Source is what distinguishes packets without our discriminator (RFC 5881, Section 3;
// RFC 5883, Section 4). S names a network namespace.
type Source[S comparable] struct {
	Space    S          // the namespace
	Peer     netip.Addr // its source address
	Local    netip.Addr // its destination address
	Link     int32      // index of the interface; 0: any
	Multihop bool       // it came to the port of RFC 5883, Section 5
}

// Demux finds the session of type E that a packet belongs to (RFC 5880, Section 6.3).
type Demux[S, E comparable] struct {
	byDiscr  map[uint32]E    // by Your Discriminator
	bySource map[Source[S]]E // for packets with Your Discriminator zero
}

// NewDemux returns an empty Demux.
func NewDemux[S, E comparable]() Demux[S, E] {
	return Demux[S, E]{byDiscr: map[uint32]E{}, bySource: map[Source[S]]E{}}
}

// Add makes e the session of a discriminator.
func (d *Demux[S, E]) Add(discr uint32, e E) { d.byDiscr[discr] = e }

// Remove forgets a discriminator.
func (d *Demux[S, E]) Remove(discr uint32) { delete(d.byDiscr, discr) }

// Route makes e the session of packets that do not name our discriminator.
func (d *Demux[S, E]) Route(s Source[S], e E) { d.bySource[s] = e }

// Unroute undoes Route, unless another session has taken the place of e.
func (d *Demux[S, E]) Unroute(s Source[S], e E) {
	if d.bySource[s] == e {
		delete(d.bySource, s)
	}
}

// ByDiscr returns the session of a discriminator that is not zero; the zero E: none.
func (d *Demux[S, E]) ByDiscr(discr uint32) E { return d.byDiscr[discr] }

// BySource returns the session of a packet's source: one that is bound to the interface,
// or else one that is bound to none; the zero E: none.
func (d *Demux[S, E]) BySource(s Source[S]) E {
	if e, ok := d.bySource[s]; ok {
		return e
	}
	s.Link = 0
	return d.bySource[s]
}

// All calls f for every session that has a discriminator.
func (d *Demux[S, E]) All(f func(E)) {
	for _, e := range d.byDiscr {
		f(e)
	}
}

// Arrival is how a packet came in.
type Arrival[S comparable] struct {
	Space    S     // the namespace that it came into
	Link     int32 // index of the interface
	TTL      int32 // or hop limit
	IPv6     bool  // the packet is IPv6
	Multihop bool  // it came to the port of RFC 5883, Section 5
}

// Binding is which packets a session takes.
type Binding[S comparable] struct {
	Space    S     // the namespace that the session runs in
	Link     int32 // index of the interface; 0: any
	MinTTL   int32 // of a multihop session
	IPv6     bool  // the session is between IPv6 addresses
	Multihop bool  // it is a multihop session
}

// Takes reports whether a packet that names the session's discriminator came in the way
// that the session wants: over its own kind of session and family, in its namespace, by
// its interface if it is bound to one, and not from further away than it may. RFC 5881,
// Section 5: "All received BFD Control packets that are demultiplexed to the session MUST
// be discarded if the received TTL or Hop Limit is not equal to 255."
func (b *Binding[S]) Takes(a *Arrival[S]) bool {
	if b.Space != a.Space || b.Multihop != a.Multihop || b.IPv6 != a.IPv6 || b.Link != 0 && b.Link != a.Link {
		return false
	}
	if b.Multihop {
		return a.TTL >= b.MinTTL
	}
	return a.TTL == 255
}
