package wire

import (
	"time"

	"github.com/hyperfib/hyperfib/internal/be"
)

// parse adds one capability. It reports false if its value is malformed; a malformed
// one is ignored by the caller (RFC 5492, Section 4, has no error for it).
func (c *Capabilities) parse(o *Open, code CapabilityCode, value []byte) bool {
	cur := be.Cursor{B: value}
	family := func() Family { return Family{AFI: cur.Uint16(), SAFI: cur.Uint8()} }
	switch code {
	case CapMultiprotocol: // AFI (2), reserved (1), SAFI (1)
		afi := cur.Uint16()
		cur.Uint8()
		f := Family{AFI: afi, SAFI: cur.Uint8()}
		if cur.Short || len(cur.B) > 0 {
			return false
		}
		if len(c.Families) == 0 || !c.HasFamily(f) {
			c.Families = append(c.Families, f)
		}
	case CapRouteRefresh: // empty, as the next three
		c.RouteRefresh = len(value) == 0
		return c.RouteRefresh
	case CapEnhancedRefresh:
		c.EnhancedRefresh = len(value) == 0
		return c.EnhancedRefresh
	case CapExtendedMessage:
		c.ExtendedMessage = len(value) == 0
		return c.ExtendedMessage
	case CapBFDStrict:
		c.BFDStrict = len(value) == 0
		return c.BFDStrict
	case CapAS4: // AS number (4)
		if len(value) != 4 {
			return false
		}
		c.AS4, o.AS = true, cur.Uint32()
	case CapAddPath: // AFI (2), SAFI (1), Send/Receive (1): 1 receive, 2 send, 3 both; repeated
		if len(value)%4 != 0 {
			return false
		}
		for len(cur.B) > 0 {
			f, mode := family(), cur.Uint8()
			if mode >= 1 && mode <= 3 { // RFC 7911, Section 4: others are ignored
				c.AddPath = append(c.AddPath, AddPath{Family: f, Receive: mode&1 != 0, Send: mode&2 != 0})
			}
		}
	case CapExtendedNextHop: // NLRI AFI (2), NLRI SAFI (2), Nexthop AFI (2); repeated
		if len(value)%6 != 0 {
			return false
		}
		for len(cur.B) > 0 {
			afi, safi, nh := cur.Uint16(), cur.Uint16(), cur.Uint16()
			if safi <= 255 {
				c.ExtendedNextHop = append(c.ExtendedNextHop, ExtendedNextHop{Family{afi, uint8(safi)}, nh})
			}
		}
	case CapRole: // Role (1) (RFC 9234, Section 4.1)
		return c.addRole(value)
	case CapGracefulRestart: // R, N (RFC 8538, Section 2), two bits, Restart Time (12 bits); AFI (2), SAFI (1), F and 7 bits; repeated
		if len(value) < 2 || len(value)%4 != 2 {
			return false
		}
		v := cur.Uint16()
		g := &GracefulRestart{Restarting: v&0x8000 != 0, Notification: v&0x4000 != 0, Time: time.Duration(v&0xfff) * time.Second}
		for len(cur.B) > 0 {
			g.Families = append(g.Families, RestartFamily{family(), cur.Uint8()&0x80 != 0})
		}
		c.GracefulRestart = g
	case CapLongLived: // AFI (2), SAFI (1), F and 7 bits, Long-lived Stale Time (3); repeated
		if len(value)%7 != 0 {
			return false
		}
		c.LongLived = nil
		for len(cur.B) > 0 {
			l := LongLived{Family: family(), ForwardingPreserved: cur.Uint8()&0x80 != 0}
			l.StaleTime = time.Duration(uint32(cur.Uint8())<<16|uint32(cur.Uint16())) * time.Second
			c.LongLived = append(c.LongLived, l)
		}
	case CapFQDN: // length (1), host name, length (1), domain name
		host := cur.Next(int(cur.Uint8()))
		domain := cur.Next(int(cur.Uint8()))
		if cur.Short {
			return false
		}
		c.FQDN = &FQDN{Host: string(host), Domain: string(domain)}
	case CapSoftwareVersion: // length (1), text
		text := cur.Next(int(cur.Uint8()))
		c.SoftwareVersion = string(text)
		return !cur.Short
	default:
		c.Unknown = append(c.Unknown, Capability{Code: code, Value: clone(value)})
	}
	return true
}
