package wire

import (
	"encoding/binary"
	"time"

	"github.com/hyperfib/hyperfib/internal/be"
)

// CapabilityCode is the code of a capability (RFC 5492).
type CapabilityCode uint8

// Capability codes.
const (
	CapMultiprotocol   CapabilityCode = 1  // RFC 4760
	CapRouteRefresh    CapabilityCode = 2  // RFC 2918
	CapExtendedNextHop CapabilityCode = 5  // RFC 8950
	CapExtendedMessage CapabilityCode = 6  // RFC 8654
	CapGracefulRestart CapabilityCode = 64 // RFC 4724
	CapAS4             CapabilityCode = 65 // RFC 6793
	CapAddPath         CapabilityCode = 69 // RFC 7911
	CapEnhancedRefresh CapabilityCode = 70 // RFC 7313
	CapLongLived       CapabilityCode = 71 // RFC 9494
	CapFQDN            CapabilityCode = 73 // draft-walton-bgp-hostname-capability
	CapSoftwareVersion CapabilityCode = 75 // draft-ietf-idr-software-version
)

// Capability is a capability that this package does not know.
type Capability struct {
	Code  CapabilityCode
	Value []byte
}

// Capabilities are the capabilities in an OPEN. The zero value has none: such a
// peer speaks IPv4 unicast and nothing else. Parsed ones own their memory.
type Capabilities struct {
	Families        []Family // multiprotocol extensions
	RouteRefresh    bool
	EnhancedRefresh bool
	ExtendedMessage bool
	AS4             bool // 4-octet AS numbers; the number is Open.AS
	AddPath         []AddPath
	ExtendedNextHop []ExtendedNextHop
	GracefulRestart *GracefulRestart // nil: not offered
	LongLived       []LongLived      // long-lived graceful restart
	FQDN            *FQDN            // nil: not sent
	SoftwareVersion string
	Unknown         []Capability // as they came
}

// AddPath offers ADD-PATH for one family (RFC 7911, Section 4).
type AddPath struct {
	Family        Family
	Receive, Send bool
}

// ExtendedNextHop says that NLRI of Family may have next hops of NextHopAFI
// (RFC 8950, Section 4).
type ExtendedNextHop struct {
	Family     Family
	NextHopAFI uint16
}

// GracefulRestart is the graceful restart capability (RFC 4724, Section 3).
type GracefulRestart struct {
	Restarting   bool          // R bit: the speaker has restarted
	Notification bool          // N bit: graceful on NOTIFICATION too (RFC 8538)
	Time         time.Duration // until the session is back: whole seconds, at most 4095
	Families     []RestartFamily
}

// RestartFamily is a family of a GracefulRestart.
type RestartFamily struct {
	Family              Family
	ForwardingPreserved bool // F bit
}

// LongLived is one family of the long-lived graceful restart capability (RFC 9494,
// Section 3.1).
type LongLived struct {
	Family              Family
	ForwardingPreserved bool          // F bit
	StaleTime           time.Duration // whole seconds, at most 2^24-1
}

// FQDN names the speaker (draft-walton-bgp-hostname-capability).
type FQDN struct{ Host, Domain string }

// HasFamily reports whether NLRI of f may be exchanged: announced, or IPv4 unicast
// from a peer that announces no family at all (RFC 4760, Section 8).
func (c *Capabilities) HasFamily(f Family) bool {
	for _, g := range c.Families {
		if f == g {
			return true
		}
	}
	return len(c.Families) == 0 && f == IPv4Unicast
}

// parse adds one capability. It reports false if its value is malformed; a malformed
// one is ignored by the caller (RFC 5492, Section 4 has no error for it).
func (c *Capabilities) parse(o *Open, code CapabilityCode, value []byte) bool {
	cur := be.Cursor{B: value}
	family := func() Family { return Family{AFI: cur.Uint16(), SAFI: cur.Uint8()} }
	switch code {
	case CapMultiprotocol:
		afi := cur.Uint16()
		cur.Uint8()
		f := Family{AFI: afi, SAFI: cur.Uint8()}
		if cur.Short || len(cur.B) > 0 {
			return false
		}
		if len(c.Families) == 0 || !c.HasFamily(f) {
			c.Families = append(c.Families, f)
		}
	case CapRouteRefresh:
		c.RouteRefresh = len(value) == 0
		return c.RouteRefresh
	case CapEnhancedRefresh:
		c.EnhancedRefresh = len(value) == 0
		return c.EnhancedRefresh
	case CapExtendedMessage:
		c.ExtendedMessage = len(value) == 0
		return c.ExtendedMessage
	case CapAS4:
		if len(value) != 4 {
			return false
		}
		c.AS4, o.AS = true, cur.Uint32()
	case CapAddPath:
		if len(value)%4 != 0 {
			return false
		}
		for len(cur.B) > 0 {
			f, mode := family(), cur.Uint8()
			if mode >= 1 && mode <= 3 { // RFC 7911, Section 4: others are ignored
				c.AddPath = append(c.AddPath, AddPath{Family: f, Receive: mode&1 != 0, Send: mode&2 != 0})
			}
		}
	case CapExtendedNextHop:
		if len(value)%6 != 0 {
			return false
		}
		for len(cur.B) > 0 {
			afi, safi, nh := cur.Uint16(), cur.Uint16(), cur.Uint16()
			if safi <= 255 {
				c.ExtendedNextHop = append(c.ExtendedNextHop, ExtendedNextHop{Family{afi, uint8(safi)}, nh})
			}
		}
	case CapGracefulRestart:
		if len(value) < 2 || len(value)%4 != 2 {
			return false
		}
		v := cur.Uint16()
		g := &GracefulRestart{Restarting: v&0x8000 != 0, Notification: v&0x4000 != 0, Time: time.Duration(v&0xfff) * time.Second}
		for len(cur.B) > 0 {
			g.Families = append(g.Families, RestartFamily{family(), cur.Uint8()&0x80 != 0})
		}
		c.GracefulRestart = g
	case CapLongLived:
		if len(value)%7 != 0 {
			return false
		}
		c.LongLived = nil
		for len(cur.B) > 0 {
			l := LongLived{Family: family(), ForwardingPreserved: cur.Uint8()&0x80 != 0}
			l.StaleTime = time.Duration(uint32(cur.Uint8())<<16|uint32(cur.Uint16())) * time.Second
			c.LongLived = append(c.LongLived, l)
		}
	case CapFQDN:
		host := cur.Next(int(cur.Uint8()))
		domain := cur.Next(int(cur.Uint8()))
		if cur.Short {
			return false
		}
		c.FQDN = &FQDN{Host: string(host), Domain: string(domain)}
	case CapSoftwareVersion:
		text := cur.Next(int(cur.Uint8()))
		c.SoftwareVersion = string(text)
		return !cur.Short
	default:
		c.Unknown = append(c.Unknown, Capability{Code: code, Value: clone(value)})
	}
	return true
}

// append appends all of c as capability triples.
func (c *Capabilities) append(b []byte, as uint32) []byte {
	for _, f := range c.Families {
		b = append(b, byte(CapMultiprotocol), 4, byte(f.AFI>>8), byte(f.AFI), 0, f.SAFI)
	}
	for _, flag := range []struct {
		on   bool
		code CapabilityCode
	}{{c.RouteRefresh, CapRouteRefresh}, {c.ExtendedMessage, CapExtendedMessage}, {c.EnhancedRefresh, CapEnhancedRefresh}} {
		if flag.on {
			b = append(b, byte(flag.code), 0)
		}
	}
	if len(c.ExtendedNextHop) > 0 {
		b = appendCapability(b, CapExtendedNextHop, func(b []byte) []byte {
			for _, e := range c.ExtendedNextHop {
				b = append(b, byte(e.Family.AFI>>8), byte(e.Family.AFI), 0, e.Family.SAFI, byte(e.NextHopAFI>>8), byte(e.NextHopAFI))
			}
			return b
		})
	}
	if g := c.GracefulRestart; g != nil {
		b = appendCapability(b, CapGracefulRestart, g.append)
	}
	if c.AS4 {
		b = binary.BigEndian.AppendUint32(append(b, byte(CapAS4), 4), as)
	}
	if len(c.AddPath) > 0 {
		b = appendCapability(b, CapAddPath, func(b []byte) []byte {
			for _, a := range c.AddPath {
				b = append(b, byte(a.Family.AFI>>8), byte(a.Family.AFI), a.Family.SAFI, flag(a.Receive, 1)|flag(a.Send, 2))
			}
			return b
		})
	}
	if len(c.LongLived) > 0 {
		b = appendCapability(b, CapLongLived, func(b []byte) []byte {
			for _, l := range c.LongLived {
				s := uint32(l.StaleTime / time.Second)
				b = append(b, byte(l.Family.AFI>>8), byte(l.Family.AFI), l.Family.SAFI, flag(l.ForwardingPreserved, 0x80), byte(s>>16), byte(s>>8), byte(s))
			}
			return b
		})
	}
	if f := c.FQDN; f != nil {
		host, domain := f.Host[:min(len(f.Host), 126)], f.Domain[:min(len(f.Domain), 126)] // both fit into 255 octets
		b = appendCapability(b, CapFQDN, func(b []byte) []byte {
			b = append(append(b, byte(len(host))), host...)
			return append(append(b, byte(len(domain))), domain...)
		})
	}
	if v := c.SoftwareVersion; v != "" {
		v = v[:min(len(v), 64)] // the draft's limit
		b = appendCapability(b, CapSoftwareVersion, func(b []byte) []byte { return append(append(b, byte(len(v))), v...) })
	}
	for _, u := range c.Unknown {
		b = appendCapability(b, u.Code, func(b []byte) []byte { return append(b, u.Value...) })
	}
	return b
}

func (g *GracefulRestart) append(b []byte) []byte {
	v := uint16(min(g.Time/time.Second, 4095)) | uint16(flag(g.Restarting, 0x80))<<8 | uint16(flag(g.Notification, 0x40))<<8
	b = binary.BigEndian.AppendUint16(b, v)
	for _, f := range g.Families {
		b = append(b, byte(f.Family.AFI>>8), byte(f.Family.AFI), f.Family.SAFI, flag(f.ForwardingPreserved, 0x80))
	}
	return b
}

func appendCapability(b []byte, code CapabilityCode, value func([]byte) []byte) []byte {
	b = append(b, byte(code), 0)
	at := len(b)
	b = value(b)
	b[at-1] = byte(len(b) - at)
	return b
}

func flag(on bool, bit byte) byte {
	if on {
		return bit
	}
	return 0
}
