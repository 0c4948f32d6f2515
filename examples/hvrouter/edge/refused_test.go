package edge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nltest"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/vxlan"
)

// fakeLinks is a kernel with a bridge and a VXLAN device, its port, that refuses settings, and questions about entries.
type fakeLinks struct {
	have    map[int]settings
	refuses unix.Errno // what is set
	hides   unix.Errno // entries
	left    bool       // the device is no port any more
}

const fakeBridge, fakeDevice = 3, 7

func (f *fakeLinks) answer(requests []netlink.Message) ([]netlink.Message, error) {
	for _, m := range requests {
		index := int(binary.NativeEndian.Uint32(m.Data[4:]))
		switch {
		case m.Header.Type == unix.RTM_GETNEIGH && f.hides != 0:
			return nltest.Error(int(f.hides), requests)
		case m.Header.Type == unix.RTM_GETNEIGH:
			b := make([]byte, unix.SizeofNdMsg)
			b[4], b[8], b[10] = fakeDevice, unix.NUD_NOARP, ntfSticky
			return []netlink.Message{{Header: netlink.Header{Type: unix.RTM_NEWNEIGH, Sequence: m.Header.Sequence}, Data: b}}, nil
		case m.Header.Type == unix.RTM_GETLINK:
			b, err := encodeSettings(index, f.have[index])
			if err != nil {
				return nil, err
			}
			e := netlink.NewAttributeEncoder()
			e.String(unix.IFLA_IFNAME, map[int]string{fakeBridge: "br7", fakeDevice: "vx7"}[index])
			if index == fakeDevice && !f.left {
				e.Uint32(unix.IFLA_MASTER, fakeBridge)
			}
			more, err := e.Encode()
			return []netlink.Message{{Header: netlink.Header{Type: unix.RTM_NEWLINK, Sequence: m.Header.Sequence}, Data: append(b, more...)}}, err
		case f.refuses != 0:
			return nltest.Error(int(f.refuses), requests)
		}
		i, err := parseInterface(m.Data)
		if err != nil {
			return nil, err
		}
		delete(i.settings, answersARP) // it is in each message
		maps.Copy(f.have[index], i.settings)
	}
	return nltest.Error(0, requests)
}

// TestAbout: of what Flush says an overlay hears what is about its own device, and about none.
func TestAbout(t *testing.T) {
	refused := func(device int) error {
		return &vxlan.Error{Op: "add", Entry: vxlan.Entry{IfIndex: device}, Err: unix.ENOMEM}
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, "<nil>"},
		{errors.Join(refused(8)), "<nil>"},
		{errors.Join(refused(8), errors.Join(refused(9), refused(8))), "<nil>"},
		{errors.Join(refused(8), refused(7)), "vxlan: add 00:00:00:00:00:00 dev 7: cannot allocate memory"},
		{errors.Join(errors.Join(refused(7), refused(8), refused(7), refused(7))), "vxlan: add 00:00:00:00:00:00 dev 7: cannot allocate memory (and 2 more)"},
		{errors.Join(&vxlan.Error{Op: "dump", Entry: vxlan.Entry{IfIndex: 7}, Err: unix.ENODEV}), "<nil>"},
		{vxlan.ErrClosed, "vxlan: closed"},
		{errors.Join(&vxlan.Error{Op: "add", Err: unix.EPERM}), "vxlan: add 00:00:00:00:00:00 dev 0: operation not permitted"},
	} {
		if got := fmt.Sprint(about(test.err, 7)); got != test.want {
			t.Errorf("of %v: %s, want %s", test.err, got, test.want)
		}
	}
}

// TestDeletedDevice: that a device was deleted is no error of its entries.
func TestDeletedDevice(t *testing.T) {
	var out strings.Builder
	e := &Edge{log: slog.New(slog.NewTextHandler(&out, nil))}
	failed := func(err error) vxlan.Event {
		at := vxlan.Entry{IfIndex: 709}
		return vxlan.Event{Entry: at, Err: &vxlan.Error{Op: "dump", Entry: at, Err: err}}
	}
	e.logEntries([]vxlan.Event{failed(unix.ENODEV)})
	if out.Len() > 0 {
		t.Errorf("logged: %s", &out)
	}
	e.logEntries([]vxlan.Event{failed(unix.ENODEV), failed(unix.ENOMEM)})
	if s := out.String(); !strings.Contains(s, "entries=1") || !strings.Contains(s, "cannot allocate memory") {
		t.Errorf("logged: %s", s)
	}
}

// TestFailure: why an overlay cannot be made is logged once, and again after it was made.
func TestFailure(t *testing.T) {
	var out strings.Builder
	e := &Edge{log: slog.New(slog.NewTextHandler(&out, nil)), failures: map[string]string{}}
	for i, step := range []struct {
		err  error
		logs int
	}{{unix.EEXIST, 1}, {unix.EEXIST, 1}, {unix.EPERM, 2}, {nil, 2}, {nil, 2}, {unix.EPERM, 3}} {
		e.failure("vx7", step.err)
		e.failure("vx8", nil)
		if n := strings.Count(out.String(), "event=overlay-error overlay=vx7"); n != step.logs {
			t.Errorf("step %d: logged %d times, want %d", i, n, step.logs)
		}
	}
}

// TestRefused: what the kernel refuses of an overlay's settings and guests' entries is known for as long as it does, is tried
// again, and is logged once.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &config.Overlay{VNI: 7, MTU: 9000, Local: config.Addr{Addr: netip.MustParseAddr("172.22.2.1")}}
		was := func() settings {
			s := deviceSettings(o)
			s[mtu] = value{low: 1500}
			return s
		}
		kernel := &fakeLinks{have: map[int]settings{fakeBridge: bridgeSettings(o), fakeDevice: was()}, refuses: unix.EPERM}
		k := newKeeper(&linkSetter{raw: nltest.Dial(kernel.answer)})
		var logged []string
		k.failed = func(name string, err error) { logged = append(logged, name+": "+err.Error()) }
		k.repaired = func(context.Context, Repair) {}
		p := plan{bridge: fakeBridge, links: map[int]settings{fakeBridge: bridgeSettings(o), fakeDevice: deviceSettings(o)}}
		repair := func() {
			for range 10 { // whatever delay there is
				time.Sleep(time.Minute)
				k.repair(t.Context())
			}
		}
		check := func(what string, want error, logs int) {
			t.Helper()
			err := k.refused("vx7")
			if !errors.Is(err, want) || (err == nil) != (want == nil) || k.refused("vx8") != nil || len(logged) != logs {
				t.Errorf("%s: %v, and of another %v; logged: %q", what, err, k.refused("vx8"), logged)
			}
		}
		k.set("vx7", p, nil)
		check("an MTU that may not be set", unix.EPERM, 1)
		repair()
		check("ten minutes later", unix.EPERM, 1)
		kernel.refuses = unix.EINVAL
		repair()
		check("an MTU that cannot be set", unix.EINVAL, 2)
		kernel.left = true
		repair()
		check("the device is no port any more", nil, 2)
		kernel.left, kernel.refuses = false, 0
		k.set("vx7", p, []int{fakeDevice})
		check("the MTU is set", nil, 2)
		if kernel.have[fakeDevice][mtu].low != 9000 {
			t.Error("the MTU is not set")
		}
		kernel.have[fakeDevice], kernel.refuses = was(), unix.EPERM
		k.due[subject{overlay: "vx7", link: fakeDevice}] = ""
		repair()
		check("another program has set the MTU, and it cannot be put back", unix.EPERM, 3)
		k.set("vx7", plan{bridge: fakeBridge, links: map[int]settings{fakeBridge: bridgeSettings(o)}}, nil)
		check("another device", nil, 3)

		kernel.refuses, kernel.hides = 0, unix.ENOMEM
		k.plans["vx7"].guests, k.plans["vx7"].placed = map[overlay.MAC]int{{2, 5: 1}: fakeDevice, {2, 5: 2}: fakeDevice}, map[overlay.MAC]int{}
		k.due[subject{overlay: "vx7", mac: overlay.MAC{2, 5: 1}}], k.due[subject{overlay: "vx7", mac: overlay.MAC{2, 5: 2}}] = "", ""
		repair()
		check("guests' entries", unix.ENOMEM, 4)
		kernel.hides = 0
		repair()
		check("they are there", nil, 4)
		kernel.have[fakeBridge][snoops], kernel.have[fakeDevice], kernel.refuses = on, deviceSettings(o), unix.EPERM
		k.set("vx7", p, nil)
		check("the bridge", nil, 4) // its settings are as before: a notification tells
		k.due[subject{overlay: "vx7", link: fakeBridge}] = ""
		repair()
		check("the bridge, after a notification", unix.EPERM, 5)
		kernel.refuses = 0
		repair()
		check("the bridge is as it shall be", nil, 5)

		// A kernel that cannot lock ports sets the others, and says nothing of this one.
		delete(kernel.have[fakeDevice], locked)
		wants := settings{learns: on, locked: on}
		kernel.have[fakeDevice][learns] = off
		k.set("vx7", plan{bridge: fakeBridge, links: map[int]settings{fakeBridge: bridgeSettings(o), fakeDevice: wants}}, nil)
		check("a port cannot be locked", errNoLocks, 6)
		if kernel.have[fakeDevice][learns] != on {
			t.Error("the port does not learn")
		}
		repair()
		check("ten minutes later", errNoLocks, 6)
		kernel.have[fakeDevice][locked] = off
		repair()
		check("a kernel that can", nil, 6)
		_ = k.drop("vx7", false)
		check("the overlay is gone", nil, 6)
	})
}
