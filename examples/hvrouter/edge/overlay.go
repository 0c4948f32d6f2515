package edge

import (
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
	device, _, err := e.fdb.Ensure(vxlan.Device{Interface: o.config.Name, VNI: o.config.VNI, Local: o.config.Local.Addr,
		Port: o.config.Port, Learning: true, Limit: mostLearned, MTU: o.config.MTU, Bridge: bridge, Underlay: underlay})
	if err != nil {
		return err
	}
	if o.device != device {
		e.fdb.Forget(o.device)
	}
	o.device = device
	for _, m := range o.members {
		if err := e.links.join(m, bridge); err != nil {
			return err
		}
	}
	e.fdb.SetFlood(device, o.flood)
	_, err = e.fdb.Flush()
	return err
}

// heal repairs forwarding entries that others delete or change.
func (e *Edge) heal(ctx context.Context) error {
	return e.fdb.Run(ctx, func(r vxlan.Result, err error) {
		e.log.Warn("overlay", "event", "overlay-repaired", "entries", r.Writes(), "err", err)
	})
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
