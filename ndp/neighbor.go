package ndp

// header appends type, code 0 and a checksum to be filled in by Packet.AppendBinary.
func header(b []byte, t Type) []byte { return append(b, uint8(t), 0, 0, 0) }

// AppendBinary appends the ICMPv6 message to b, checksum zero. A nonce of more than
// 2,038 octets does not fit into an option and is an error.
func (m NeighborSolicitation) AppendBinary(b []byte) ([]byte, error) {
	if err := checkOption("nonce", m.Nonce); err != nil {
		return b, err
	}
	return m.append(b), nil
}

func (m NeighborSolicitation) append(b []byte) []byte {
	b = pad(header(b, TypeNeighborSolicitation), 4)
	b = appendAddr(b, m.Target)
	b = appendLinkAddr(b, OptSourceLinkAddr, m.SourceLinkAddr)
	return appendNonce(b, m.Nonce)
}

func appendNonce(b, nonce []byte) []byte {
	if len(nonce) == 0 {
		return b
	}
	return appendOption(b, OptNonce, nonce)
}

// ParseNeighborSolicitation reads p, which has passed Check, and makes the rest of
// the checks of RFC 4861, Section 7.1.1: length, options, target, no source
// link-layer address from ::. Errors wrap ErrMessage.
func ParseNeighborSolicitation(p *Packet) (m NeighborSolicitation, err error) {
	// Type, Code (2), Checksum (2), reserved (4), Target Address (16), options (RFC 4861,
	// Section 4.3).
	if len(p.Body) < 24 {
		return m, errTooShort
	}
	if m.Target = addr(p.Body[8:]); m.Target.IsMulticast() {
		return m, errTarget
	}
	m.SourceLinkAddr, m.Nonce, err = solicitationOptions(p, p.Body[24:])
	return m, err
}

// solicitationOptions reads what both solicitations may carry.
func solicitationOptions(p *Packet, b []byte) (source MAC, nonce []byte, err error) {
	for len(b) > 0 {
		var t OptionType
		var data []byte
		if t, data, b, err = nextOption(b); err != nil {
			return MAC{}, nil, err
		}
		switch t {
		case OptSourceLinkAddr:
			if p.Src.IsUnspecified() {
				return MAC{}, nil, errLinkAddr
			}
			if m, ok := linkAddr(data); ok && source.IsZero() {
				source = m
			}
		case OptNonce:
			if nonce == nil {
				nonce = data
			}
		}
	}
	return source, nonce, nil
}

// AppendBinary appends the ICMPv6 message to b, checksum zero. It implements
// [encoding.BinaryAppender]; the error is always nil.
func (m NeighborAdvertisement) AppendBinary(b []byte) ([]byte, error) { return m.append(b), nil }

func (m NeighborAdvertisement) append(b []byte) []byte {
	flags := uint8(0)
	if m.Router {
		flags |= flagRouter
	}
	if m.Solicited {
		flags |= flagSolicited
	}
	if m.Override {
		flags |= flagOverride
	}
	b = append(header(b, TypeNeighborAdvertisement), flags, 0, 0, 0)
	b = appendAddr(b, m.Target)
	return appendLinkAddr(b, OptTargetLinkAddr, m.TargetLinkAddr)
}

// ParseNeighborAdvertisement reads p, which has passed Check, and makes the rest
// of the checks of RFC 4861, Section 7.1.2. Errors wrap ErrMessage.
func ParseNeighborAdvertisement(p *Packet) (m NeighborAdvertisement, err error) {
	// Type, Code (2), Checksum (2), R, S, O and 29 bits (4), Target Address (16), options (RFC
	// 4861, Section 4.4).
	if len(p.Body) < 24 {
		return m, errTooShort
	}
	f := p.Body[4]
	m.Router, m.Solicited, m.Override = f&flagRouter != 0, f&flagSolicited != 0, f&flagOverride != 0
	if m.Target = addr(p.Body[8:]); m.Target.IsMulticast() {
		return m, errTarget
	}
	m.TargetLinkAddr, err = findLinkAddr(p.Body[24:], OptTargetLinkAddr)
	return m, err
}

// findLinkAddr walks all options, so that a bad one anywhere is found, and returns
// the first link-layer address of type t.
func findLinkAddr(b []byte, t OptionType) (m MAC, err error) {
	for len(b) > 0 {
		var have OptionType
		var data []byte
		if have, data, b, err = nextOption(b); err != nil {
			return MAC{}, err
		}
		if a, ok := linkAddr(data); ok && have == t && m.IsZero() {
			m = a
		}
	}
	return m, nil
}

// AppendBinary appends the ICMPv6 message to b, checksum zero. Redirected is sent as it
// is; RFC 4861, Section 4.5, wants the whole packet to stay under 1280 octets. More than
// 2,032 octets of it do not fit into an option and are an error.
func (m Redirect) AppendBinary(b []byte) ([]byte, error) {
	if err := checkOption("redirected header", m.Redirected, 6); err != nil {
		return b, err
	}
	return m.append(b), nil
}

func (m Redirect) append(b []byte) []byte {
	b = pad(header(b, TypeRedirect), 4)
	b = appendAddr(b, m.Target)
	b = appendAddr(b, m.Destination)
	b = appendLinkAddr(b, OptTargetLinkAddr, m.TargetLinkAddr)
	if len(m.Redirected) == 0 {
		return b
	}
	return appendOption(b, OptRedirected, append(make([]byte, 6, 6+len(m.Redirected)), m.Redirected...))
}

// ParseRedirect reads p, which has passed Check, and makes the rest of the checks
// of RFC 4861, Section 8.1 that need no knowledge of the current first hop. Errors
// wrap ErrMessage.
func ParseRedirect(p *Packet) (m Redirect, err error) {
	// Type, Code (2), Checksum (2), reserved (4), Target Address (16), Destination Address
	// (16), options (RFC 4861, Section 4.5).
	if len(p.Body) < 40 {
		return m, errTooShort
	}
	m.Target, m.Destination = addr(p.Body[8:]), addr(p.Body[24:])
	if m.Destination.IsMulticast() {
		return m, errTarget
	}
	if !m.Target.IsLinkLocalUnicast() && m.Target != m.Destination {
		return m, errOverride
	}
	for b := p.Body[40:]; len(b) > 0; {
		var t OptionType
		var data []byte
		if t, data, b, err = nextOption(b); err != nil {
			return Redirect{}, err
		}
		if a, ok := linkAddr(data); ok && t == OptTargetLinkAddr && m.TargetLinkAddr.IsZero() {
			m.TargetLinkAddr = a
		}
		if t == OptRedirected && len(data) > 6 && m.Redirected == nil {
			m.Redirected = data[6:]
		}
	}
	return m, nil
}
