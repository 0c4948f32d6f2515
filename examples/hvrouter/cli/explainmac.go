package cli

import (
	"errors"
	"fmt"
	"net"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/confirm"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
)

// explainMAC is explain of a MAC in the overlays: it asks the daemon, and the kernel alone if there is none.
func (in invocation) explainMAC(words []string, socket, file, source string, asJSON bool) int {
	switch {
	case len(words) == 2 || len(words) == 3 && words[1] != "vni":
		return in.fail(exitUsage, errors.New("want MAC, or MAC vni VNI"))
	case source != "":
		return in.fail(exitUsage, errors.New("-source is for packets to an address"))
	}
	vni := ""
	if len(words) == 3 {
		vni = words[2]
	}
	q, err := api.ParseMACQuestion(words[0], vni)
	if err != nil {
		return in.fail(exitUsage, err)
	}
	e, raw, silent, err := explanation(in, socket, func() (api.MACExplanation, error) { return explainMACAlone(file, q) },
		"/v1/explain/mac", "mac", words[0], "vni", vni)
	if err != nil {
		return in.fail(exitUsage, err)
	}
	code := exitOK
	for _, o := range e.Overlays {
		code = verdict(code, o.Kernel.Differences, o.Kernel.Unread)
	}
	if silent {
		code = exitBroken
	}
	return in.explained(e.Text(), raw, asJSON, code)
}

// explainMACAlone asks the kernel without a daemon. The file is needed for the overlays.
func explainMACAlone(file string, q api.MACQuestion) (e api.MACExplanation, err error) {
	e = api.MACExplanation{MAC: net.HardwareAddr(q.MAC[:]).String(), Overlays: []api.OverlayMAC{}}
	c, err := confirm.Files{Config: file}.Load()
	if err != nil {
		return e, err
	}
	n := c.GuestNetNS()
	for _, o := range c.Overlays {
		if q.VNI != 0 && o.VNI != q.VNI {
			continue
		}
		report := lookup.AskMAC(n.Path(), lookup.Overlay{Device: o.Name, Bridge: o.Bridge}, q.MAC[:], nil)
		report.NetNS = string(n)
		one := api.OverlayMAC{Overlay: o.Name, VNI: o.VNI, Kernel: *report, Routes: []api.EVPN{}, Lines: []string{}}
		if q.VNI != 0 || one.Known() {
			e.Overlays = append(e.Overlays, one)
		}
	}
	if q.VNI != 0 && len(e.Overlays) == 0 {
		return e, fmt.Errorf("an overlay with the VNI %d: %w", q.VNI, api.ErrNotFound)
	}
	return e, nil
}
