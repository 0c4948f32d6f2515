package lookup

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
)

// WantAddress is the MAC that an address of an overlay should have; nil: nobody announces one.
type WantAddress struct{ MAC net.HardwareAddr }

// AddressReport says which MAC the kernel has for an address of an overlay.
type AddressReport struct {
	NetNS string `json:"netns,omitempty"`
	// Differences are contradictions: the kernel differs from what is wanted.
	Differences []string `json:"differences,omitempty"`
	// Unread is what could not be read of the kernel, with the reason: what the report says is without
	// it. Empty: everything has been read.
	Unread []string `json:"unread,omitempty"`
	// Outcome is what the kernel knows of the address.
	Outcome string `json:"outcome"`
	// Neighbour is the bridge's neighbour, as `ip neigh show` prints it.
	Neighbour string `json:"neighbour,omitempty"`
	// MAC is the one that it has.
	MAC string `json:"mac,omitempty"`
}

// Lines formats the report for people: contradictions first.
func (r *AddressReport) Lines() (lines []string) {
	in := ""
	if r.NetNS != "" {
		in = "netns " + r.NetNS + ": "
	}
	for _, d := range r.Differences {
		lines = append(lines, in+"DIFFERENCE: "+d)
	}
	lines = append(lines, in+r.Outcome)
	if r.Neighbour != "" {
		lines = append(lines, "  neighbour "+r.Neighbour)
	}
	return lines
}

// ExplainAddress says which MAC an address of an overlay has by the neighbours of its bridge, by which that answers ARP and
// neighbour discovery. want is nil if it is not known which it should have.
func ExplainAddress(k *Kernel, o Overlay, addr netip.Addr, want *WantAddress) (*AddressReport, error) {
	r := &AddressReport{}
	differs := func(format string, args ...any) {
		if want != nil {
			r.Differences = append(r.Differences, fmt.Sprintf(format, args...))
		}
	}
	bridge, ok := k.ByName(o.Bridge)
	if !ok {
		differs("there is no bridge %s", o.Bridge)
		r.Outcome = fmt.Sprintf("%s: %v is nobody's: there is no bridge %s", o.Device, addr, o.Bridge)
		return r, nil
	}
	n, there, err := k.Neighbour(addr, bridge.Index, false)
	if err != nil {
		return nil, fmt.Errorf("neighbours on %s: %w", o.Bridge, err)
	}
	wanted := want != nil && want.MAC != nil
	if !there {
		r.Outcome = fmt.Sprintf("%s: %s has no neighbour %v: ARP and neighbour discovery for it are flooded", o.Device, o.Bridge, addr)
		if wanted {
			differs("neighbour %v on %s is missing, want %v", addr, o.Bridge, want.MAC)
		}
		return r, nil
	}
	r.Neighbour = neighbourText(n, o.Bridge)
	if len(n.MAC) == 0 {
		r.Outcome = fmt.Sprintf("%s: %s has no MAC for %v: its neighbour is %s", o.Device, o.Bridge, addr, n.State)
		if wanted {
			differs("neighbour %v on %s is %s, want %v", addr, o.Bridge, n.State, want.MAC)
		}
		return r, nil
	}
	r.MAC = n.MAC.String()
	r.Outcome = fmt.Sprintf("%s: %v is at %v by the neighbours of %s", o.Device, addr, n.MAC, o.Bridge)
	switch {
	case wanted && !bytes.Equal(n.MAC, want.MAC):
		differs("neighbour %v on %s is at %s, want %v", addr, o.Bridge, n.MAC, want.MAC)
	case !wanted && n.Protocol == Ours:
		differs("neighbour %v on %s is at %v, which nobody announces with it", addr, o.Bridge, n.MAC)
	}
	return r, nil
}

// neighbourText formats a neighbour as `ip neigh show` does.
func neighbourText(n Neighbour, link string) string {
	text := fmt.Sprintf("%v dev %s", n.Addr, link)
	if len(n.MAC) > 0 {
		text += fmt.Sprintf(" lladdr %v", n.MAC)
	}
	text += " " + n.State
	if n.Protocol != 0 {
		text += " proto " + ProtocolName(n.Protocol)
	}
	return text
}
