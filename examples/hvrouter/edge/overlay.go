package edge

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/vxlan"
)

// overlay is what stands of one overlay, to tell whether anything changed.
type overlay struct {
	config  config.Overlay
	members []int // indexes of the members that exist
	flood   []netip.Addr
	device  int // index of the VXLAN device
}

// Overlays brings every overlay in line: bridge, device, members, flood list. What
// did not change is not touched. index tells which interfaces exist.
func (e *Edge) Overlays(c *config.Config, index func(name string) (int, bool), vteps []netip.Addr) {
	for _, o := range c.Overlays {
		next := overlay{config: o, members: present(o.Members, index), flood: Flood(o, vteps)}
		old := e.overlays[o.Name]
		next.device = old.device
		if d, ok := index(o.Name); reflect.DeepEqual(old, next) && ok && d == old.device {
			continue
		}
		if err := e.overlay(&next, index); err != nil {
			e.log.Error("overlay", "event", "overlay-error", "overlay", o.Name, "err", err)
			continue
		}
		e.overlays[o.Name] = next
	}
}

func (e *Edge) overlay(o *overlay, index func(string) (int, bool)) error {
	bridge, ok := index(o.config.Bridge)
	if !ok {
		var err error
		if bridge, err = e.links.bridge(o.config.Bridge, o.config.MTU); err != nil {
			return err
		}
	}
	if err := e.links.overlayBridge(bridge); err != nil {
		return fmt.Errorf("bridge %s: %w", o.config.Bridge, err)
	}
	underlay := 0
	if e.config.UnderlayVRF != "" {
		if underlay, ok = index(e.config.UnderlayVRF); !ok {
			return fmt.Errorf("there is no VRF %s", e.config.UnderlayVRF)
		}
	}
	device, _, err := e.fdb.Ensure(e.ctx, vxlan.Device{Interface: o.config.Name, VNI: o.config.VNI, Local: o.config.Local.Addr,
		Port: o.config.Port, Learning: true, Limit: mostLearned, MTU: o.config.MTU, Bridge: bridge, Underlay: underlay})
	if err != nil {
		return err
	}
	if o.device != 0 && o.device != device {
		if err := e.fdb.Forget(o.device); err != nil {
			return err
		}
	}
	o.device = device
	for _, m := range o.members {
		if err := e.links.join(m, bridge); err != nil {
			return err
		}
	}
	if err := e.fdb.SetFlood(device, o.flood); err != nil {
		return err
	}
	_, err = e.fdb.Flush(e.ctx)
	return err
}

// startFDB starts to write and repair forwarding entries, and waits until that has opened its
// sockets. Overlays that are brought in line before Run need it.
func (e *Edge) startFDB() (err error) {
	if e.fdb, err = vxlan.New(vxlan.Config{NetNS: e.config.NetNS, Underlay: e.config.Underlay}); err != nil {
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
