package wire

import (
	"encoding/binary"
	"time"
)

// Append appends c as an OPEN holds it: code, length and value of each (RFC 5492,
// Section 4). as is the value of the capability for 4-octet AS numbers.
func (c *Capabilities) Append(b []byte, as uint32) []byte {
	for _, f := range c.Families {
		b = append(b, byte(CapMultiprotocol), 4, byte(f.AFI>>8), byte(f.AFI), 0, f.SAFI)
	}
	for _, flag := range []struct {
		on   bool
		code CapabilityCode
	}{{c.RouteRefresh, CapRouteRefresh}, {c.ExtendedMessage, CapExtendedMessage}, {c.EnhancedRefresh, CapEnhancedRefresh}, {c.BFDStrict, CapBFDStrict}} {
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
	for _, r := range c.Roles {
		if r != RoleNone {
			b = append(b, byte(CapRole), 1, byte(r-1))
		}
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
