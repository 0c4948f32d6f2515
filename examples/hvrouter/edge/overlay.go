package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/vxlan"
)

// standing is what stands of one overlay, to tell whether anything changed.
type standing struct {
	config  config.Overlay
	members []int // indexes of the members that exist
	flood   []netip.Addr
	device  int   // index of the VXLAN device
	bridge  int   // index of the bridge
	quiet   []int // with EVPN, the ports of guests, from which the bridge does not learn
	guests  []int // the ports of guests
}

// Content is what is in an overlay besides its configuration.
type Content struct {
	Ports []string         // interfaces of guests
	EVPN  *overlay.Desired // what the kernel shall have of an overlay with EVPN; it is taken
}

// Overlays brings every overlay in line: bridge, device, members, flood list. What did not change is
// not touched. link tells which interfaces exist, and how they are: one that another program has
// taken down, or out of its bridge, is put back. Forwarding entries and neighbours of overlays with EVPN
// are written by another goroutine. It returns how each overlay stands: nil if its interfaces are there, or why not. What the
// kernel refuses of their settings is what Refused returns.
func (e *Edge) Overlays(c *config.Config, link func(name string) (fib.Link, bool), vteps []netip.Addr, content func(name string) Content) (stand map[string]error) {
	index := func(name string) (int, bool) { l, ok := link(name); return l.IfIndex, ok }
	e.emptyOverlays(c)
	maps.DeleteFunc(e.failures, func(name, _ string) bool {
		return !slices.ContainsFunc(c.Overlays, func(o config.Overlay) bool { return o.Name == name })
	})
	stand = make(map[string]error, len(c.Overlays))
	for _, o := range c.Overlays {
		of := content(o.Name)
		o.Members = slices.Concat(o.Members, of.Ports)
		next := standing{config: o, members: present(o.Members, index), guests: present(of.Ports, index)}
		if of.EVPN == nil {
			next.flood = Flood(o, vteps)
		}
		old := e.overlays[o.Name]
		if of.EVPN != nil {
			next.quiet = next.guests
		}
		next.device, next.bridge = old.device, old.bridge
		d, ok := index(o.Name)
		same := reflect.DeepEqual(old, next)
		if same && ok && d == old.device && stands(o, link) {
			e.keep(&next, of.EVPN, index, nil)
			e.segment(next, of.EVPN, false)
			e.overlays[o.Name] = next
			stand[o.Name] = nil
			continue
		}
		e.kept.pause(o.Name)
		repaired, err := e.overlay(&next, of.EVPN, index)
		stand[o.Name] = err
		if e.failure(o.Name, err); err != nil {
			continue
		}
		if same && len(repaired) > 0 { // or it was what we have done ourselves, of which we have not heard yet
			e.log.Warn("an interface of the overlay was not there, down, or no port of its bridge", "event", "overlay-restored", "overlay", o.Name, "interfaces", strings.Join(repaired, ","))
		}
		for _, m := range old.members { // that was a port, and is none any more
			if old.bridge == next.bridge && !slices.Contains(next.members, m) {
				e.refused(o.Name, e.links.leave(m, next.bridge))
			}
		}
		e.segment(next, of.EVPN, old.device != next.device || old.bridge != next.bridge)
		e.overlays[o.Name] = next
	}
	return stand
}

// emptyOverlays takes what EVPN has written out of overlays that have it no more; their interfaces
// stay.
func (e *Edge) emptyOverlays(c *config.Config) {
	for name, old := range e.overlays {
		i := slices.IndexFunc(c.Overlays, func(o config.Overlay) bool { return o.Name == name })
		if i >= 0 && (old.config.EVPN == nil || c.Overlays[i].EVPN != nil && c.Overlays[i].Bridge == old.config.Bridge) {
			continue
		}
		e.refused(name, e.kept.drop(name, old.config.EVPN != nil))
		if old.config.EVPN == nil {
			continue
		}
		e.desire(name, vxlan.Segment{Device: old.device, Interface: old.bridge})
		delete(e.overlays, name)
	}
}

// segment makes what EVPN says of an overlay desired: what has changed, or with all everything.
func (e *Edge) segment(o standing, d *overlay.Desired, all bool) {
	if d == nil || !all && !d.Changed() {
		return
	}
	whole, flood, macs, neighbors := d.Changes()
	if all = all || whole; all {
		e.desire(o.config.Name, segmentOf(o.device, o.bridge, d))
		d.Taken()
		return
	}
	var errs []error
	if flood {
		errs = append(errs, e.fdb.SetFlood(o.device, d.FloodList()))
	}
	for mac := range macs {
		if vtep := d.MACs[mac]; vtep.IsValid() {
			errs = append(errs, e.fdb.SetMAC(o.device, vxlan.MAC(mac), vtep))
		} else {
			errs = append(errs, e.fdb.DeleteMAC(o.device, vxlan.MAC(mac)))
		}
	}
	for a := range neighbors {
		if mac := d.Neighbors[a]; mac != (overlay.MAC{}) {
			errs = append(errs, e.fdb.SetNeighbor(o.bridge, a, vxlan.MAC(mac)))
		} else {
			errs = append(errs, e.fdb.DeleteNeighbor(o.bridge, a))
		}
	}
	d.Taken()
	e.refused(o.config.Name, errors.Join(errs...))
	e.flush()
}

// segmentOf returns all of d for the interfaces with these indexes. vxlan refuses none of it, since one entry that it
// refused would be all of them: overlay lets nothing else in.
func segmentOf(device, bridge int, d *overlay.Desired) vxlan.Segment {
	s := vxlan.Segment{Device: device, Interface: bridge, Flood: d.FloodList(), MACs: make(map[vxlan.MAC]netip.Addr, len(d.MACs)), Neighbors: make(map[netip.Addr]vxlan.MAC, len(d.Neighbors))}
	for mac, vtep := range d.MACs {
		s.MACs[vxlan.MAC(mac)] = vtep
	}
	for a, mac := range d.Neighbors {
		s.Neighbors[a] = vxlan.MAC(mac)
	}
	return s
}

// desire makes a segment desired.
func (e *Edge) desire(name string, s vxlan.Segment) {
	e.refused(name, e.fdb.SetSegment(s))
	e.flush()
}

func (e *Edge) refused(name string, err error) {
	if err != nil && !errors.Is(err, vxlan.ErrClosed) {
		e.log.Error("overlay", "event", "overlay-error", "overlay", name, "err", err)
	}
}

// failure logs why an overlay cannot be made, if it is not what was logged last.
func (e *Edge) failure(name string, err error) {
	if err == nil {
		delete(e.failures, name)
		return
	}
	if text := err.Error(); e.failures[name] != text {
		e.failures[name] = text
		e.refused(name, err)
	}
}

// flush has what is desired written soon: 100,000 entries take seconds, in which the loop of the
// daemon has other things to do.
func (e *Edge) flush() {
	select {
	case e.flushes <- struct{}{}:
	default:
	}
}

// runFlushes writes what is desired. What the kernel refuses is reported entry by entry: logRepairs.
func (e *Edge) runFlushes() {
	for {
		select {
		case <-e.flushes:
			e.fdb.Flush(e.ctx)
		case <-e.ctx.Done():
			return
		}
	}
}

// SweepOverlays deletes the forwarding entries and neighbours that an earlier run has left and that
// nobody wants.
func (e *Edge) SweepOverlays() {
	e.fdb.Sweep()
	e.flush()
}

// stands reports whether the interfaces of an overlay that exist are up, and all but the bridge
// are its ports.
func stands(o config.Overlay, link func(name string) (fib.Link, bool)) bool {
	bridge, ok := link(o.Bridge)
	if !ok || !bridge.AdminUp {
		return false
	}
	for _, name := range append([]string{o.Name}, o.Members...) {
		if l, ok := link(name); ok && (!l.AdminUp || l.Master != bridge.IfIndex) {
			return false
		}
	}
	return true
}

// keep has an overlay kept as o and d say. What the ports joined had is gone.
func (e *Edge) keep(o *standing, d *overlay.Desired, index func(string) (int, bool), joined []int) {
	p := plan{bridge: o.bridge, quiet: o.quiet, guests: guestPorts(o, d, index),
		links: map[int]settings{o.bridge: bridgeSettings(&o.config), o.device: deviceSettings(&o.config)}}
	for _, m := range o.members {
		if slices.Contains(o.guests, m) {
			p.links[m] = guestSettings(o, p.guests != nil)
		} else {
			p.links[m] = memberSettings(true)
		}
	}
	for _, a := range o.config.Gateway.Prefixes() {
		p.ours = append(p.ours, a.Addr())
	}
	e.kept.set(o.config.Name, p, joined)
}

// Refused returns what of an overlay that is there the kernel does not take, a setting or the entry of a guest; nil: nothing. It is tried
// again until it does. Refused is safe for concurrent use.
func (e *Edge) Refused(overlay string) error { return e.kept.refused(overlay) }

// overlay brings one overlay in line, and returns the interfaces that were not.
func (e *Edge) overlay(o *standing, d *overlay.Desired, index func(string) (int, bool)) (repaired []string, err error) {
	bridge, ok := index(o.config.Bridge)
	if !ok {
		if bridge, err = e.links.bridge(o.config.Bridge, o.config.MTU); err != nil {
			return nil, err
		}
	}
	o.bridge = bridge
	underlay := 0
	if e.config.UnderlayVRF != "" {
		if underlay, ok = index(e.config.UnderlayVRF); !ok {
			return nil, fmt.Errorf("there is no VRF %s", e.config.UnderlayVRF)
		}
	}
	limit, mac := uint32(mostLearned), vxlan.MAC{}
	if o.config.EVPN != nil { // nothing is learned
		limit, mac = 0, vxlan.MAC(macOfOurs(&o.config, "device"))
	}
	device, changed, err := e.fdb.Ensure(e.ctx, vxlan.Device{Interface: o.config.Name, VNI: o.config.VNI, Local: o.config.Local.Addr,
		Port: o.config.Port, TTL: tunnelTTL, MAC: mac, Learning: o.config.EVPN == nil, Limit: limit, MTU: o.config.MTU, Bridge: bridge, Underlay: underlay})
	if err != nil {
		return nil, err
	}
	if changed {
		repaired = append(repaired, o.config.Name)
	}
	if o.device != 0 && o.device != device {
		if err := e.fdb.Forget(o.device); err != nil {
			return nil, err
		}
	}
	o.device = device
	var joined []int
	for _, m := range o.members {
		if e.links.isUp(m, bridge) {
			continue
		}
		if err := e.links.join(m, bridge, !slices.Contains(o.quiet, m)); errors.Is(err, unix.ENODEV) {
			continue // it is going: an event follows
		} else if err != nil {
			return nil, err
		}
		joined, repaired = append(joined, m), append(repaired, e.links.name(m))
	}
	e.keep(o, d, index, joined)
	if !e.links.isUp(bridge, 0) {
		repaired = append(repaired, o.config.Bridge)
		if err := e.links.up(bridge, &o.config); err != nil {
			return nil, fmt.Errorf("bridge %s: %w", o.config.Bridge, err)
		}
	}
	if o.config.EVPN != nil {
		return repaired, nil
	}
	if err := e.fdb.SetFlood(device, o.flood); err != nil {
		return nil, err
	}
	_, err = e.fdb.Flush(e.ctx)
	return repaired, about(err, device)
}

// about returns what of an error of Flush is not about the tables of other devices; nil: nothing.
func about(err error, device int) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, err := range many.Unwrap() {
			errs = append(errs, about(err, device))
		}
		errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
		if len(errs) > 1 {
			return fmt.Errorf("%w (and %d more)", errs[0], len(errs)-1)
		}
		return errors.Join(errs...)
	}
	if e := (*vxlan.Error)(nil); errors.As(err, &e) && e.Entry.IfIndex != 0 && (e.Entry.IfIndex != device || errors.Is(err, unix.ENODEV)) {
		return nil // of one that has just been deleted an event follows
	}
	return err
}

// startFDB starts to write and repair forwarding entries, and waits until that has opened its
// sockets. Overlays that are brought in line before Run need it.
func (e *Edge) startFDB() (err error) {
	if e.fdb, err = vxlan.New(vxlan.Config{NetNS: e.config.NetNS, Underlay: e.config.Underlay, AuditRound: e.config.AuditRound, DeferSweep: true}); err != nil {
		return err
	}
	e.bursts.Go(func() { e.fdbEnded <- e.fdb.Run(e.ctx) })
	e.bursts.Go(e.runFlushes)
	if _, err = e.fdb.Flush(e.ctx); err != nil {
		return cmp.Or(<-e.fdbEnded, err)
	}
	return nil
}

// logRepairs logs what others did to forwarding entries, and what the kernel refuses, a line for
// many entries, until ctx ends or the FDB does.
func (e *Edge) logRepairs(ctx context.Context) error {
	w := e.fdb.Watch()
	defer w.Close()
	buf := make([]vxlan.Event, 256)
	for {
		n, err := w.Next(ctx, buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil: // Run of the FDB says why
			return <-e.fdbEnded
		}
		for _, v := range buf[:n] {
			if v.Kind == vxlan.EventDifference {
				e.config.Differed(ctx, v)
			}
		}
		e.displaced.take(buf[:n])
		e.logEntries(buf[:n])
	}
}

func (e *Edge) logEntries(events []vxlan.Event) {
	repairs, contended, failed := uint64(0), 0, 0
	var first error
	for _, v := range events {
		repairs += v.Repairs
		if v.Contended && v.Repairs > 0 {
			contended++
		}
		if v.Err != nil && !errors.Is(v.Err, unix.ENODEV) { // of a device that was deleted, Overlays tells
			first = cmp.Or(first, v.Err)
			failed++
		}
	}
	if repairs > 0 {
		e.log.Warn("overlay", "event", "overlay-repaired", "entries", repairs, "contended", contended)
	}
	if failed > 0 {
		e.log.Error("overlay", "event", "overlay-error", "entries", failed, "err", first)
	}
}

func present(names []string, index func(string) (int, bool)) []int {
	var out []int
	for _, name := range names {
		if i, ok := index(name); ok {
			out = append(out, i)
		}
	}
	return out
}

// Flood returns the flood list of an overlay, sorted: the fixed peers, and the VTEPs
// that BGP knows inside the overlay's prefix, without ourselves.
func Flood(o config.Overlay, vteps []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range o.Peers {
		out = append(out, a.Addr)
	}
	for _, a := range vteps {
		if o.VTEPs.IsValid() && o.VTEPs.Contains(a) {
			out = append(out, a)
		}
	}
	out = slices.DeleteFunc(out, func(a netip.Addr) bool { return a == o.Local.Addr })
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}
