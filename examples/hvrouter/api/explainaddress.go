package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
)

// AddressQuestion is about a guest's address in an overlay.
type AddressQuestion struct {
	Addr netip.Addr
	VNI  uint32 // of the overlay
}

// AddressExplanation says which MAC a guest's address in an overlay has, where frames for it go, and why.
type AddressExplanation struct {
	Address netip.Addr `json:"address"`
	Overlay string     `json:"overlay"`
	VNI     uint32     `json:"vni"`
	// Kernel is what the kernel knows of the address.
	Kernel lookup.AddressReport `json:"kernel"`
	// Lines say which MAC the daemon wants it to have, and who announces it with which.
	Lines []string `json:"lines"`
	// MACs are those that the address has: by what is wanted, by the kernel, and by what is announced; four at most.
	MACs []MACExplanation `json:"macs"`
}

// Differs, like Unread, returns what is so of the address and of its MACs.
func (e *AddressExplanation) Differs() []string {
	return e.collect(e.Kernel.Differences, func(o *OverlayMAC) []string { return o.Kernel.Differences })
}

// Unread returns what could not be read of the kernel.
func (e *AddressExplanation) Unread() []string {
	return e.collect(e.Kernel.Unread, func(o *OverlayMAC) []string { return o.Kernel.Unread })
}

func (e *AddressExplanation) collect(list []string, of func(*OverlayMAC) []string) []string {
	list = slices.Clone(list)
	for i := range e.MACs {
		for j := range e.MACs[i].Overlays {
			list = append(list, of(&e.MACs[i].Overlays[j])...)
		}
	}
	return list
}

// Text formats the explanation for people: where the kernel differs comes first. What was said of the address is not said
// again of its MACs.
func (e *AddressExplanation) Text() (lines []string) {
	lines = append(e.Kernel.Lines(), e.Lines...)
	for i := range e.MACs {
		for _, line := range e.MACs[i].Text() {
			if !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// ParseAddressQuestion reads an address, and a VNI.
func ParseAddressQuestion(address, vni string) (q AddressQuestion, err error) {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Zone() != "" {
		return q, fmt.Errorf("address: %q is no address of a guest", address)
	}
	n, err := parseVNI(vni)
	return AddressQuestion{Addr: a.Unmap(), VNI: n}, err
}

// explainAddress answers a question: address and vni. What is wrong with it is the client's mistake.
func explainAddress(b Backend, r *http.Request) (any, error) {
	if err := only(r, "address", "vni"); err != nil {
		return nil, err
	}
	q, err := ParseAddressQuestion(r.URL.Query().Get("address"), r.URL.Query().Get("vni"))
	if err != nil {
		return nil, bad(err)
	}
	e, err := b.ExplainAddress(q)
	if errors.Is(err, ErrNotFound) {
		return nil, status{http.StatusNotFound, err}
	}
	return e, err
}
