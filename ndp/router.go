package ndp

import (
	"encoding/binary"
	"time"
)

// AppendBinary appends the ICMPv6 message to b, checksum zero. A nonce of more than
// 2,038 octets does not fit into an option and is an error.
func (m RouterSolicitation) AppendBinary(b []byte) ([]byte, error) {
	if err := checkOption("nonce", m.Nonce); err != nil {
		return b, err
	}
	return m.append(b), nil
}

func (m RouterSolicitation) append(b []byte) []byte {
	b = pad(header(b, TypeRouterSolicitation), 4)
	b = appendLinkAddr(b, OptSourceLinkAddr, m.SourceLinkAddr)
	return appendNonce(b, m.Nonce)
}

// ParseRouterSolicitation reads p, which has passed Check, and makes the rest of
// the checks of RFC 4861, Section 6.1.1. Errors wrap ErrMessage.
func ParseRouterSolicitation(p *Packet) (m RouterSolicitation, err error) {
	// Type, Code (2), Checksum (2), reserved (4), options (RFC 4861, Section 4.1).
	if len(p.Body) < 8 {
		return m, errTooShort
	}
	m.SourceLinkAddr, m.Nonce, err = solicitationOptions(p, p.Body[8:])
	return m, err
}

const (
	flagManaged = 0x80
	flagOther   = 0x40
)

// AppendBinary appends the ICMPv6 message to b, checksum zero. The error is that of
// [RouterAdvertisement.Check], and b is then returned as it was.
func (m RouterAdvertisement) AppendBinary(b []byte) ([]byte, error) {
	if err := m.Check(); err != nil {
		return b, err
	}
	return m.append(b), nil
}

// append leaves out what has no form on the wire: a domain with an empty label, a
// PREF64 of another length; Check finds such.
func (m RouterAdvertisement) append(b []byte) []byte {
	flags := m.Preference.bits()
	if m.Managed {
		flags |= flagManaged
	}
	if m.Other {
		flags |= flagOther
	}
	b = append(header(b, TypeRouterAdvertisement), m.HopLimit, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(min(seconds(m.Lifetime), 1<<16-1)))
	b = binary.BigEndian.AppendUint32(b, milliseconds(m.ReachableTime))
	b = binary.BigEndian.AppendUint32(b, milliseconds(m.RetransTimer))
	b = appendLinkAddr(b, OptSourceLinkAddr, m.SourceLinkAddr)
	if m.MTU != 0 {
		b = binary.BigEndian.AppendUint32(append(b, uint8(OptMTU), 1, 0, 0), m.MTU)
	}
	return m.appendLists(b)
}

func (m *RouterAdvertisement) appendLists(b []byte) []byte {
	for _, p := range m.Prefixes {
		b = appendPrefix(b, p)
	}
	for _, r := range m.Routes {
		b = appendRoute(b, r)
	}
	for _, r := range m.RDNSS {
		b = appendRDNSS(b, r)
	}
	for _, l := range m.DNSSL {
		b = appendDNSSL(b, l)
	}
	for _, p := range m.PREF64 {
		b = appendPREF64(b, p)
	}
	if n := len(m.CaptivePortal); n > 0 && n <= maxOption {
		b = appendOption(b, OptCaptivePortal, []byte(m.CaptivePortal))
	}
	for _, o := range m.Options {
		if len(o.Data) <= maxOption {
			b = appendOption(b, o.Type, o.Data)
		}
	}
	return b
}

// maxOption is how much data an option can carry, in octets.
const maxOption = 255*8 - 2

func milliseconds(d time.Duration) uint32 {
	return uint32(min(max(d/time.Millisecond, 0), infinite))
}

// ParseRouterAdvertisement reads p, which has passed Check, and makes the rest of
// the checks of RFC 4861, Section 6.1.2. An option of a known type whose content
// does not fit is not an error: it stays in Options, as an unknown one does. Errors
// wrap ErrMessage.
func ParseRouterAdvertisement(p *Packet) (RouterAdvertisement, error) {
	// Type, Code (2), Checksum (2), Cur Hop Limit (1), M, O, H, Prf (2 bits), 3 bits (1), Router
	// Lifetime (2), Reachable Time (4), Retrans Timer (4), options (RFC 4861, Section 4.2; RFC
	// 4191, Section 2.2).
	b := p.Body
	if len(b) < 16 {
		return RouterAdvertisement{}, errTooShort
	}
	m := RouterAdvertisement{
		HopLimit:      b[4],
		Managed:       b[5]&flagManaged != 0,
		Other:         b[5]&flagOther != 0,
		Preference:    preference(b[5]),
		Lifetime:      time.Duration(binary.BigEndian.Uint16(b[6:])) * time.Second,
		ReachableTime: time.Duration(binary.BigEndian.Uint32(b[8:])) * time.Millisecond,
		RetransTimer:  time.Duration(binary.BigEndian.Uint32(b[12:])) * time.Millisecond,
	}
	for b = b[16:]; len(b) > 0; {
		t, data, rest, err := nextOption(b)
		if err != nil {
			return RouterAdvertisement{}, err
		}
		if !m.take(t, data) {
			m.Options = append(m.Options, Raw{Type: t, Data: data})
		}
		b = rest
	}
	return m, nil
}

// take reads one option into its field and reports whether it could.
func (m *RouterAdvertisement) take(t OptionType, d []byte) bool {
	switch t {
	case OptSourceLinkAddr:
		a, ok := linkAddr(d)
		if !ok || a.IsZero() || !m.SourceLinkAddr.IsZero() {
			return false
		}
		m.SourceLinkAddr = a
		return true
	case OptMTU:
		if len(d) != 6 || m.MTU != 0 {
			return false
		}
		m.MTU = binary.BigEndian.Uint32(d[2:])
		return m.MTU != 0
	case OptPrefix:
		return add(&m.Prefixes, d, parsePrefix)
	case OptRoute:
		return add(&m.Routes, d, parseRoute)
	case OptRDNSS:
		return add(&m.RDNSS, d, parseRDNSS)
	case OptDNSSL:
		return add(&m.DNSSL, d, parseDNSSL)
	case OptPREF64:
		return add(&m.PREF64, d, parsePREF64)
	case OptCaptivePortal:
		return m.takePortal(d)
	}
	return false
}

func (m *RouterAdvertisement) takePortal(d []byte) bool {
	for len(d) > 0 && d[len(d)-1] == 0 {
		d = d[:len(d)-1]
	}
	if len(d) == 0 || m.CaptivePortal != "" {
		return false
	}
	m.CaptivePortal = string(d)
	return true
}

func add[T any](list *[]T, d []byte, parse func([]byte) (T, bool)) bool {
	v, ok := parse(d)
	if ok {
		*list = append(*list, v)
	}
	return ok
}
