package wire_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/malformed"
)

// parseAny parses a whole message as a session would.
func parseAny(b []byte, o wire.Options, u *wire.Update) error {
	h, err := wire.ParseHeader(b, wire.MaxLen)
	if err != nil {
		return err
	}
	body := b[wire.HeaderLen:h.Len]
	switch h.Type {
	case wire.TypeOpen:
		_, err = wire.ParseOpen(body)
	case wire.TypeUpdate:
		err = u.Parse(body, o)
	case wire.TypeNotification:
		_, err = wire.ParseNotification(body)
	case wire.TypeRouteRefresh:
		_, err = wire.ParseRouteRefresh(body)
	}
	return err
}

func TestMalformed(t *testing.T) {
	cases := malformed.Cases()
	t.Logf("%d cases", len(cases))
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			var u wire.Update
			err := parseAny(c.Message, c.Options, &u)
			var e *wire.Error
			if !errors.As(err, &e) {
				e = &wire.Error{}
			} else if e.RFC == "" || e.Text == "" {
				t.Errorf("line %d: error without source: %v", c.Line, e)
			}
			got := malformed.Want{Disposition: e.Disposition, Code: uint8(e.Code), Subcode: e.Subcode, Attr: e.Attr}
			if got.String() != c.Want.String() {
				t.Fatalf("line %d: %v, want %v\n(%v)", c.Line, got, c.Want, err)
			}
			if e.Disposition == wire.SessionReset {
				return
			}
			judgeAttrs(t, c, u.AppendAttrs(nil))
			if e.Disposition == wire.TreatAsWithdraw {
				n := 0
				for _, f := range []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast} {
					for range u.Reach(f) {
						n++
					}
				}
				if n == 0 {
					t.Errorf("line %d: nothing to withdraw", c.Line)
				}
			}
		})
	}
}

func judgeAttrs(t *testing.T, c malformed.Case, a wire.Attrs) {
	t.Helper()
	var types, partial []wire.AttrType
	for x := range a.All() {
		types = append(types, x.Type)
		if x.Flags&wire.FlagPartial != 0 {
			partial = append(partial, x.Type)
		}
		if x.Flags&0x0f != 0 || x.Flags&wire.FlagExtended != 0 && len(x.Value) < 256 {
			t.Errorf("line %d: %v has flags 0x%02x", c.Line, x.Type, x.Flags)
		}
	}
	if !slices.IsSorted(types) {
		t.Errorf("line %d: order %v", c.Line, types)
	}
	for _, x := range c.Want.Has {
		if !slices.Contains(types, x) {
			t.Errorf("line %d: %v is missing", c.Line, x)
		}
	}
	for _, x := range append(c.Want.Lacks, wire.AttrNextHop, wire.AttrMPReach, wire.AttrMPUnreach) {
		if slices.Contains(types, x) {
			t.Errorf("line %d: %v is still there", c.Line, x)
		}
	}
	for _, x := range c.Want.Partial {
		if !slices.Contains(partial, x) {
			t.Errorf("line %d: %v is not partial", c.Line, x)
		}
	}
}
