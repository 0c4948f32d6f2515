package nl

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Rule is a policy rule as the lab uses them: it may match on the incoming
// interface or the mark, and looks up a table or ends the lookup.
type Rule struct {
	Priority uint32
	IIF      string
	From     netip.Prefix // zero: any source
	L3MDev   bool         // looks up the table of the packet's VRF
	Mark     uint32
	Mask     uint32 // of Mark; 0 without one
	Table    uint32 // 0 for an action other than a lookup
	Action   uint8  // FR_ACT_BLACKHOLE and the like; 0 is a lookup
	Other    string // any further selector or action, for display
}

// String prints the rule as iproute2 would.
func (r Rule) String() string {
	s := fmt.Sprintf("%d:", r.Priority)
	if r.From.IsValid() {
		s += " from " + r.From.String()
	}
	if r.IIF != "" {
		s += " iif " + r.IIF
	}
	if r.Mask != 0 {
		s += fmt.Sprintf(" fwmark %#x/%#x", r.Mark, r.Mask)
	}
	if r.L3MDev {
		return s + " lookup [l3mdev-table]" + r.Other
	}
	switch r.Action {
	case 0:
		return fmt.Sprintf("%s lookup %d%s", s, r.Table, r.Other)
	case unix.FR_ACT_BLACKHOLE:
		return s + " blackhole" + r.Other
	case unix.FR_ACT_UNREACHABLE:
		return s + " unreachable" + r.Other
	}
	return fmt.Sprintf("%s action %d%s", s, r.Action, r.Other)
}

// Rules returns all rules of a family, ordered by priority.
func (c *Conn) Rules(family uint8) ([]Rule, error) {
	msgs, err := c.dump(unix.RTM_GETRULE, fibRule(family, 0), nil)
	if err != nil {
		return nil, wrap(err, "rules")
	}
	var out []Rule
	for _, m := range msgs {
		r, err := parseRule(m.Data)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b Rule) int { return int(int64(a.Priority) - int64(b.Priority)) })
	return out, nil
}

// AddRule adds a rule.
func (c *Conn) AddRule(family uint8, r Rule) error {
	return c.rule(unix.RTM_NEWRULE, create, family, r)
}

// DeleteRule deletes a rule.
func (c *Conn) DeleteRule(family uint8, r Rule) error {
	return c.rule(unix.RTM_DELRULE, 0, family, r)
}

func (c *Conn) rule(typ, flags uint16, family uint8, r Rule) error {
	err := c.do(typ, flags, fibRule(family, unix.FR_ACT_TO_TBL), func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.FRA_PRIORITY, r.Priority)
		ae.Uint32(unix.FRA_TABLE, r.Table)
		if r.IIF != "" {
			ae.String(unix.FRA_IIFNAME, r.IIF)
		}
	})
	return wrap(err, "rule %s", r)
}

func fibRule(family, action uint8) []byte {
	m := make([]byte, 12)
	m[0], m[7] = family, action
	return m
}

func parseRule(b []byte) (Rule, error) {
	if len(b) < 12 {
		return Rule{}, wrap(errShort, "rule")
	}
	r := Rule{Table: uint32(b[4])}
	if b[1] != 0 || b[3] != 0 {
		r.Other += fmt.Sprintf(" (to /%d tos %d)", b[1], b[3])
	}
	if b[7] != unix.FR_ACT_TO_TBL {
		r.Action = b[7]
	}
	if binary.NativeEndian.Uint32(b[8:])&unix.FIB_RULE_INVERT != 0 {
		r.Other += " (not)"
	}
	ad, err := netlink.NewAttributeDecoder(b[12:])
	if err != nil {
		return r, err
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.FRA_PRIORITY:
			r.Priority = ad.Uint32()
		case unix.FRA_TABLE:
			r.Table = ad.Uint32()
		case unix.FRA_IIFNAME:
			r.IIF = ad.String()
		case unix.FRA_SRC:
			if a, ok := netip.AddrFromSlice(ad.Bytes()); ok {
				r.From = netip.PrefixFrom(a, int(b[2]))
			}
		case unix.FRA_L3MDEV:
			r.L3MDev = ad.Uint8() != 0
		case unix.FRA_FWMARK:
			r.Mark = ad.Uint32()
		case unix.FRA_FWMASK:
			r.Mask = ad.Uint32()
		case unix.FRA_OIFNAME, unix.FRA_IP_PROTO:
			r.Other += fmt.Sprintf(" (selector %d)", ad.Type())
		}
	}
	return r, ad.Err()
}
