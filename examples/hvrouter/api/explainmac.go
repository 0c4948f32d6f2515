package api

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
)

// MACQuestion is about frames for a MAC in overlays.
type MACQuestion struct {
	MAC [6]byte
	VNI uint32 // of the overlay; 0: all that know the MAC
}

// MACExplanation says where frames for a MAC go, and why.
type MACExplanation struct {
	MAC string `json:"mac"`
	// Overlays are those that were asked about; without a VNI only those whose kernel or routes know the MAC.
	Overlays []OverlayMAC `json:"overlays"`
}

// OverlayMAC is where a MAC is in one overlay.
type OverlayMAC struct {
	Overlay string `json:"overlay"`
	VNI     uint32 `json:"vni"`
	// Kernel is what the kernel does with frames for the MAC.
	Kernel lookup.MACReport `json:"kernel"`
	// Routes are those of EVPN for the MAC, ours and those of others, in the order of preference; those that cannot be
	// used are last.
	Routes []EVPN `json:"routes"`
	// Lines say where the daemon wants the MAC, why each route won or lost, and to whom ours are announced.
	Lines []string `json:"lines"`
}

// Known reports whether anything is known of the MAC, or may be: not all of the kernel could be read.
func (o *OverlayMAC) Known() bool {
	return len(o.Kernel.Unread) > 0 || len(o.Kernel.Differences) > 0 || len(o.Kernel.FDB) > 0 || len(o.Kernel.Neighbours) > 0 || len(o.Routes) > 0
}

// Text formats the explanation for people: where the kernel differs comes first.
func (e *MACExplanation) Text() (lines []string) {
	for i := range e.Overlays {
		lines = append(lines, e.Overlays[i].Kernel.Lines()...)
		lines = append(lines, e.Overlays[i].Lines...)
	}
	if len(e.Overlays) == 0 {
		lines = append(lines, fmt.Sprintf("no overlay knows %s", e.MAC))
	}
	return lines
}

// ParseMACQuestion reads a MAC, and a VNI that is "" for none.
func ParseMACQuestion(mac, vni string) (q MACQuestion, err error) {
	m, err := net.ParseMAC(mac)
	if err != nil || len(m) != len(q.MAC) {
		return q, fmt.Errorf("mac: %q is no MAC", mac)
	}
	q.MAC = [6]byte(m)
	if vni != "" {
		q.VNI, err = parseVNI(vni)
		return q, err
	}
	return q, nil
}

func parseVNI(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 24)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("vni: %q is not a number from 1 to 16777215", text)
	}
	return uint32(n), nil
}

// explainMAC answers a question: mac and vni. What is wrong with it is the client's mistake.
func explainMAC(b Backend, r *http.Request) (any, error) {
	if err := only(r, "mac", "vni"); err != nil {
		return nil, err
	}
	q, err := ParseMACQuestion(r.URL.Query().Get("mac"), r.URL.Query().Get("vni"))
	if err != nil {
		return nil, bad(err)
	}
	e, err := b.ExplainMAC(q)
	if errors.Is(err, ErrNotFound) {
		return nil, status{http.StatusNotFound, err}
	}
	return e, err
}
