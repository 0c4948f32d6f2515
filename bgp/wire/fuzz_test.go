package wire_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/malformed"
)

// recorded calls f with every message in testdata/captures.
func recorded(tb testing.TB, f func(file string, o wire.Options, message []byte)) {
	tb.Helper()
	files, _ := filepath.Glob("testdata/captures/*.txt")
	if len(files) < 7 {
		tb.Errorf("only %d captures", len(files))
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		o := wire.Options{IBGP: true}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			line := lines.Text()
			if rest, ok := strings.CutPrefix(line, "# options "); ok {
				if _, err := fmt.Sscanf(rest, "as4=%t addpath=%d extnh=%t", &o.AS4, &o.AddPath, &o.ExtendedNextHop); err != nil {
					tb.Fatal(name, err)
				}
			}
			if strings.HasPrefix(line, "#") {
				continue
			}
			b, err := hex.DecodeString(line)
			if err != nil {
				tb.Fatal(name, err)
			}
			f(filepath.Base(name), o, b)
		}
	}
}

// TestRecorded decodes, encodes and decodes again what real peers sent.
func TestRecorded(t *testing.T) {
	count := map[string]int{}
	recorded(t, func(file string, o wire.Options, b []byte) {
		count[file]++
		if err := roundTrip(b, o); err != nil {
			t.Errorf("%s: % x: %v", file, b, err)
		}
		var u wire.Update
		// OpenBGPD without an IPv6 address sends ::1 as its next hop.
		if err := parseAny(b, o, &u); err != nil && u.MPNextHop.Addr != netip.IPv6Loopback() {
			t.Errorf("%s: % x: %v", file, b, err)
		}
	})
	t.Log(count)
}

// FuzzMessage: no input makes a parser panic, and what is decoded, encoded and
// decoded again is the same.
func FuzzMessage(f *testing.F) {
	recorded(f, func(_ string, o wire.Options, b []byte) { f.Add(b, pack(o)) })
	for _, c := range malformed.Cases() {
		f.Add(c.Message, pack(c.Options))
	}
	f.Fuzz(func(t *testing.T, b []byte, options uint8) {
		if err := roundTrip(b, unpack(options)); err != nil {
			t.Error(err)
		}
	})
}

// keyedText returns an NLRI as it is sent on: bits behind the length of a prefix are 0 then.
func keyedText(k wire.Keyed) string {
	return fmt.Sprintf("%v %x %x#%d", k.Family, k.AppendKey(nil), k.AppendRest(nil), k.PathID)
}

func pack(o wire.Options) (b uint8) {
	for i, on := range []bool{o.AS4, o.IBGP, o.Confed, o.ExtendedNextHop} {
		if on {
			b |= 1 << i
		}
	}
	return b | uint8(o.AddPath&3)<<4 | uint8(o.Families&3)<<6 // EVPN and RTConstrain are among the families if none is named
}

func unpack(b uint8) wire.Options {
	return wire.Options{AS4: b&1 != 0, IBGP: b&2 != 0, Confed: b&4 != 0, ExtendedNextHop: b&8 != 0,
		AddPath: wire.FamilySet(b >> 4 & 3), Families: wire.FamilySet(b >> 6)}
}

// roundTrip checks decode -> encode -> decode of one message that may be anything.
func roundTrip(b []byte, o wire.Options) error {
	if len(b) < wire.HeaderLen {
		_, err := wire.ParseHeader(b, wire.MaxExtendedLen)
		if err == nil {
			return fmt.Errorf("header of %d octets", len(b))
		}
		return nil
	}
	h, err := wire.ParseHeader(b, wire.MaxExtendedLen)
	if err != nil || len(b) < h.Len {
		return nil
	}
	body := b[wire.HeaderLen:h.Len]
	switch h.Type {
	case wire.TypeOpen:
		return tripOpen(body)
	case wire.TypeUpdate:
		return tripUpdate(body, o)
	case wire.TypeNotification:
		n, err := wire.ParseNotification(body)
		if err != nil {
			return nil
		}
		_, _ = n.String(), n.ShutdownText()
		if again := n.Append(nil); h.Len <= wire.MaxLen && !bytes.Equal(again, b[:h.Len]) {
			return fmt.Errorf("NOTIFICATION became % x", again)
		}
	case wire.TypeRouteRefresh:
		r, err := wire.ParseRouteRefresh(body)
		if err != nil {
			return nil
		}
		if again := r.Append(nil); !bytes.Equal(again[wire.HeaderLen:], body[:4]) {
			return fmt.Errorf("ROUTE-REFRESH became % x", again)
		}
	}
	return nil
}

func tripOpen(body []byte) error {
	o, err := wire.ParseOpen(body)
	if err != nil {
		return nil
	}
	b := o.Append(nil)
	if len(b) > wire.MaxLen { // capabilities of some kilobytes: Append has no say in it
		return nil
	}
	again, err := wire.ParseOpen(b[wire.HeaderLen:])
	if err != nil || !reflect.DeepEqual(o, again) {
		return fmt.Errorf("OPEN %+v became %+v, %v", o, again, err)
	}
	return nil
}

func tripUpdate(body []byte, o wire.Options) error {
	var u wire.Update
	err := u.Parse(body, o)
	if e, ok := err.(*wire.Error); err != nil && (!ok || e.RFC == "" || e.Error() == "") {
		return fmt.Errorf("error %v", err)
	}
	if err != nil && err.(*wire.Error).Disposition >= wire.TreatAsWithdraw {
		return nil
	}
	attrs := u.AppendAttrs(nil)
	for _, list := range []struct {
		l  wire.List
		nh wire.NextHop
	}{{u.NLRI, u.NextHop}, {u.MPReach, u.MPNextHop}, {u.Withdrawn, wire.NextHop{}}, {u.MPUnreach, wire.NextHop{}}} {
		if err := tripList(list.l, attrs, list.nh, o); err != nil {
			return err
		}
	}
	return nil
}

// tripList packs the NLRI of l into messages of our own and reads them back.
func tripList(l wire.List, attrs wire.Attrs, nh wire.NextHop, o wire.Options) error {
	for _, as4 := range []bool{true, false} {
		b := wire.Builder{Max: wire.MaxExtendedLen, AS4: as4, AddPath: o.AddPath}
		if l.Empty() || len(attrs) > 40000 {
			return nil
		}
		if nh.Addr.IsValid() {
			b.Reach(nil, l.Family, attrs, nh)
		} else {
			b.Unreach(nil, l.Family)
		}
		var want []wire.NLRI
		for n := range l.All() {
			if b.Add(n) {
				want = append(want, n)
			}
		}
		var wantKeyed []string
		for k := range l.Keyed() {
			if b.AddKeyed(k.AppendKey(nil), k.AppendRest(nil), k.PathID) {
				wantKeyed = append(wantKeyed, keyedText(k))
			}
		}
		for m := range l.Memberships() {
			if again, ok := wire.MembershipOfKey(m.AppendKey(nil)); !ok || m.Contains(m.Target) != true || again.String() != strings.TrimSuffix(m.String(), fmt.Sprintf("#%d", m.PathID)) {
				return fmt.Errorf("membership %v became %v", m, again)
			}
		}
		m := b.Finish()
		if _, err := wire.ParseHeader(m, wire.MaxExtendedLen); err != nil {
			return err
		}
		o.AS4, o.Families, o.ExtendedNextHop = as4, 0, true
		var again wire.Update
		if err := again.Parse(m[wire.HeaderLen:], o); err != nil {
			return fmt.Errorf("own message % x: %w", m, err)
		}
		var got []wire.NLRI
		for n := range again.Reach(l.Family) {
			got = append(got, n)
		}
		for n := range again.Unreach(l.Family) {
			got = append(got, n)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("NLRI %v became %v", want, got)
		}
		var gotKeyed []string
		for _, l := range []wire.List{again.MPReach, again.MPUnreach} {
			for k := range l.Keyed() {
				gotKeyed = append(gotKeyed, keyedText(k))
			}
		}
		if !slices.Equal(gotKeyed, wantKeyed) {
			return fmt.Errorf("%v NLRI %q became %q", l.Family, wantKeyed, gotKeyed)
		}
		if a := again.AppendAttrs(nil); nh.Addr.IsValid() && as4 && !bytes.Equal(a, attrs) {
			return fmt.Errorf("attributes % x became % x", attrs, a)
		}
	}
	return nil
}
