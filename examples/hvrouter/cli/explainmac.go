package cli

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/confirm"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
	"github.com/hyperfib/hyperfib/examples/hvrouter/nftrace"
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
	e, raw, silent, err := explanation(in, socket, func() (api.MACExplanation, string, error) { return explainMACAlone(file, q) },
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

// explainMACAlone asks the kernel without a daemon. Without a file the overlays are the VXLAN devices of this namespace
// that are ports of bridges.
func explainMACAlone(file string, q api.MACQuestion) (e api.MACExplanation, without string, err error) {
	e = api.MACExplanation{MAC: net.HardwareAddr(q.MAC[:]).String(), Overlays: []api.OverlayMAC{}}
	a, without, err := overlaysAlone(file)
	if err != nil {
		return e, without, err
	}
	for _, o := range a.list {
		if q.VNI != 0 && o.VNI != q.VNI {
			continue
		}
		report := lookup.AskMAC(a.netns.Path(), o, q.MAC[:], nil, nftrace.Frames(a.netns.Path(), a.table))
		report.NetNS = string(a.netns)
		one := api.OverlayMAC{Overlay: o.Device, VNI: o.VNI, Kernel: *report, Routes: []api.EVPN{}, Lines: []string{}}
		if q.VNI != 0 || one.Known() {
			e.Overlays = append(e.Overlays, one)
		}
	}
	if q.VNI != 0 && len(e.Overlays) == 0 {
		return e, without, fmt.Errorf("an overlay with the VNI %d: %w", q.VNI, api.ErrNotFound)
	}
	return e, without, nil
}

// alone is what is known of the overlays without a daemon.
type alone struct {
	list  []lookup.Overlay
	netns config.NetNS
	table string // of nftables
}

// overlaysAlone returns the overlays by the file or, without one, by the kernel, and what is not known.
func overlaysAlone(file string) (a alone, without string, err error) {
	c, err := confirm.Files{Config: file}.Load()
	if err != nil {
		without = fmt.Sprintf("without a configuration (%v): the overlays are the VXLAN devices of this namespace that are ports of bridges", err)
		a.table = defaultTable
		a.list, err = lookup.Overlays("")
		return a, without, err
	}
	for _, o := range c.Overlays {
		a.list = append(a.list, lookup.Overlay{Device: o.Name, Bridge: o.Bridge, VNI: o.VNI})
	}
	a.netns, a.table = c.GuestNetNS(), c.Firewall.Table
	return a, "", nil
}

// explainAddress is explain of a guest's address in an overlay.
func (in invocation) explainAddress(address, vni, socket, file, source string, asJSON bool) int {
	if source != "" {
		return in.fail(exitUsage, errors.New("-source is for packets to an address, and not for one in an overlay"))
	}
	q, err := api.ParseAddressQuestion(address, vni)
	if err != nil {
		return in.fail(exitUsage, err)
	}
	e, raw, silent, err := explanation(in, socket, func() (api.AddressExplanation, string, error) { return explainAddressAlone(file, q) },
		"/v1/explain/address", "address", q.Addr.String(), "vni", vni)
	if err != nil {
		return in.fail(exitUsage, err)
	}
	code := verdict(exitOK, e.Differs(), e.Unread())
	if silent {
		code = exitBroken
	}
	return in.explained(e.Text(), raw, asJSON, code)
}

// explainAddressAlone asks the kernel without a daemon: the MAC is the one that the bridge's neighbours have.
func explainAddressAlone(file string, q api.AddressQuestion) (e api.AddressExplanation, without string, err error) {
	e = api.AddressExplanation{Address: q.Addr, VNI: q.VNI, Lines: []string{}, MACs: []api.MACExplanation{}}
	a, without, err := overlaysAlone(file)
	if err != nil {
		return e, without, err
	}
	i := slices.IndexFunc(a.list, func(o lookup.Overlay) bool { return o.VNI == q.VNI })
	if i < 0 {
		return e, without, fmt.Errorf("an overlay with the VNI %d: %w", q.VNI, api.ErrNotFound)
	}
	e.Overlay = a.list[i].Device
	report := lookup.AskAddress(a.netns.Path(), a.list[i], q.Addr, nil)
	report.NetNS = string(a.netns)
	e.Kernel = *report
	if m, err := api.ParseMACQuestion(report.MAC, ""); err == nil {
		m.VNI = q.VNI
		one, _, err := explainMACAlone(file, m)
		if err != nil {
			return e, without, err
		}
		e.MACs = append(e.MACs, one)
	}
	return e, without, nil
}
