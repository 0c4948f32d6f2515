package edge

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/vxlan"
)

// overlay is what stands of one overlay, to tell whether anything changed.
type overlay struct {
	config  config.Overlay
	members []int // indexes of the members that exist
	flood   []netip.Addr
	device  int // index of the VXLAN device
}

// Overlays brings every overlay in line: bridge, device, members, flood list. What did not change is
// not touched. link tells which interfaces exist, and how they are: one that another program has
// taken down, or out of its bridge, is put back.
func (e *Edge) Overlays(c *config.Config, link func(name string) (fib.Link, bool), vteps []netip.Addr) {
	index := func(name string) (int, bool) { l, ok := link(name); return l.IfIndex, ok }
	for _, o := range c.Overlays {
		next := overlay{config: o, members: present(o.Members, index), flood: Flood(o, vteps)}
		old := e.overlays[o.Name]
		next.device = old.device
		d, ok := index(o.Name)
		same := reflect.DeepEqual(old, next) && ok && d == old.device
		if same && stands(o, link) {
			continue
		}
		repaired, err := e.overlay(&next, index)
		if err != nil {
			e.log.Error("overlay", "event", "overlay-error", "overlay", o.Name, "err", err)
			continue
		}
		if same && len(repaired) > 0 { // or it was what we have done ourselves, of which we have not heard yet
			e.log.Warn("an interface of the overlay was down, or no port of its bridge", "event", "overlay-restored", "overlay", o.Name, "interfaces", strings.Join(repaired, ","))
		}
		e.overlays[o.Name] = next
	}
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

// overlay brings one overlay in line, and returns the interfaces that were not.
func (e *Edge) overlay(o *overlay, index func(string) (int, bool)) (repaired []string, err error) {
	bridge, ok := index(o.config.Bridge)
	if !ok {
		if bridge, err = e.links.bridge(o.config.Bridge, o.config.MTU); err != nil {
			return nil, err
		}
	}
	if !e.links.isUp(bridge, 0) {
		repaired = append(repaired, o.config.Bridge)
	}
	if err := e.links.overlayBridge(bridge); err != nil {
		return nil, fmt.Errorf("bridge %s: %w", o.config.Bridge, err)
	}
	underlay := 0
	if e.config.UnderlayVRF != "" {
		if underlay, ok = index(e.config.UnderlayVRF); !ok {
			return nil, fmt.Errorf("there is no VRF %s", e.config.UnderlayVRF)
		}
	}
	device, changed, err := e.fdb.Ensure(e.ctx, vxlan.Device{Interface: o.config.Name, VNI: o.config.VNI, Local: o.config.Local.Addr,
		Port: o.config.Port, Learning: true, Limit: mostLearned, MTU: o.config.MTU, Bridge: bridge, Underlay: underlay})
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
	for _, m := range o.members {
		if e.links.isUp(m, bridge) {
			continue
		}
		if err := e.links.join(m, bridge); err != nil {
			return nil, err
		}
		repaired = append(repaired, e.links.name(m))
	}
	if err := e.fdb.SetFlood(device, o.flood); err != nil {
		return nil, err
	}
	_, err = e.fdb.Flush(e.ctx)
	return repaired, err
}

// startFDB starts to write and repair forwarding entries, and waits until that has opened its
// sockets. Overlays that are brought in line before Run need it.
func (e *Edge) startFDB() (err error) {
	if e.fdb, err = vxlan.New(vxlan.Config{NetNS: e.config.NetNS, Underlay: e.config.Underlay, AuditRound: e.config.AuditRound}); err != nil {
		return err
	}
	e.bursts.Go(func() { e.fdbEnded <- e.fdb.Run(e.ctx) })
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
		if v.Err != nil {
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
