package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/be"
)

// ASTrans stands for an AS number that does not fit into 2 octets (RFC 6793, Section 4.2.1).
const ASTrans = 23456

// Open is an OPEN message (RFC 4271, Section 4.2).
type Open struct {
	// AS is the sender's AS number, from the 4-octet capability if there is one.
	AS uint32
	// HoldTime is in whole seconds: 0 (no keepalives), or 3 s to 65535 s.
	HoldTime time.Duration
	// ID is the BGP identifier as an IPv4 address.
	ID           netip.Addr
	Capabilities Capabilities // of all Capabilities parameters together
}

// Optional parameters.
const (
	paramCapabilities = 2   // RFC 5492, Section 4
	paramExtended     = 255 // RFC 9072, Section 2
)

// ParseOpen reads the body of an OPEN. The result does not alias body. A capability
// whose value is malformed is ignored, as if the peer did not have it, except for
// the AS number and for what runs past its end. An error is an [*Error] that resets
// the session (RFC 4271, Section 6.2).
func ParseOpen(body []byte) (Open, error) {
	// Version (1), My Autonomous System (2), Hold Time (2), BGP Identifier (4),
	// Opt Parm Len (1), Optional Parameters (RFC 4271, Section 4.2).
	var o Open
	c := be.Cursor{B: body}
	version := c.Uint8()
	if len(body) > 0 && version != 4 {
		return o, openError(SubVersion, []byte{0, 4}, "RFC 4271, Section 6.2", fmt.Sprintf("version %d", version))
	}
	as, hold := uint32(c.Uint16()), c.Uint16()
	id, size := c.Next(4), int(c.Uint8())
	if c.Short {
		return o, &Error{Disposition: SessionReset, Code: CodeHeader, Subcode: SubBadLength, Message: TypeOpen,
			Data: binary.BigEndian.AppendUint16(nil, uint16(len(body)+HeaderLen)), RFC: "RFC 4271, Section 6.1", Text: "cut short"}
	}
	o.AS, o.HoldTime, o.ID = as, time.Duration(hold)*time.Second, netip.AddrFrom4([4]byte(id))
	if err := o.parameters(c.B, size); err != nil {
		return o, err
	}
	if o.AS == 0 {
		return o, openError(SubBadPeerAS, nil, "RFC 7607, Section 2", "AS 0")
	}
	// RFC 4271, Section 6.2: "An implementation MUST reject Hold Time values of one or two
	// seconds."
	if hold == 1 || hold == 2 {
		return o, openError(SubHoldTime, nil, "RFC 4271, Section 6.2", fmt.Sprintf("hold time %d s", hold))
	}
	if o.ID.IsUnspecified() {
		return o, openError(SubBadID, nil, "RFC 6286, Section 2.2", "identifier 0.0.0.0")
	}
	return o, nil
}

// parameters reads the optional parameters: size octets, or in the extended form
// of RFC 9072, Section 2.
func (o *Open) parameters(b []byte, size int) error {
	// Each is Type (1), Length (1), Value. The extended form begins with 255 in the places of
	// Opt Parm Len and of the first type, and an Extended Opt. Parm. Length (2); then each is
	// Type (1), Length (2), Value.
	c := be.Cursor{B: b}
	extended := size != 0 && len(b) > 0 && b[0] == paramExtended
	if extended {
		c.Uint8()
		size = int(c.Uint16())
	}
	if c.Short || size != len(c.B) {
		return openError(0, nil, "RFC 4271, Section 6.2", fmt.Sprintf("%d octets of optional parameters, not %d", len(c.B), size))
	}
	for len(c.B) > 0 {
		kind, n := c.Uint8(), 0
		if extended {
			n = int(c.Uint16())
		} else {
			n = int(c.Uint8())
		}
		value := c.Next(n)
		if c.Short {
			return openError(0, nil, "RFC 4271, Section 6.2", "optional parameter runs past the end")
		}
		if kind != paramCapabilities {
			return openError(SubOptionalParameter, []byte{kind}, "RFC 4271, Section 6.2", fmt.Sprintf("optional parameter %d", kind))
		}
		if err := o.capabilities(value); err != nil {
			return err
		}
	}
	return nil
}

// capabilities reads the value of one Capabilities parameter: Capability Code (1),
// Capability Length (1), Capability Value, any number of times (RFC 5492, Section 4).
func (o *Open) capabilities(b []byte) error {
	c := be.Cursor{B: b}
	for len(c.B) > 0 {
		code := CapabilityCode(c.Uint8())
		value := c.Next(int(c.Uint8()))
		if c.Short {
			return openError(0, nil, "RFC 5492, Section 4", "capability runs past the end")
		}
		if !o.Capabilities.parse(o, code, value) && code == CapAS4 {
			return openError(0, nil, "RFC 6793, Section 3", fmt.Sprintf("AS number of %d octets", len(value)))
		}
	}
	return nil
}

func openError(sub uint8, data []byte, rfc, text string) *Error {
	return &Error{Disposition: SessionReset, Code: CodeOpen, Subcode: sub, Data: data, Message: TypeOpen, RFC: rfc, Text: text}
}

// Append appends the whole message to b. All capabilities go into one optional
// parameter, in the extended form if they need more than 253 octets. An ID that is
// not IPv4 is sent as 0.0.0.0.
func (o *Open) Append(b []byte) []byte {
	start := len(b)
	as := uint16(ASTrans)
	if o.AS <= 0xffff {
		as = uint16(o.AS)
	}
	b = append(appendHeader(b, TypeOpen), 4)
	b = binary.BigEndian.AppendUint16(b, as)
	b = binary.BigEndian.AppendUint16(b, uint16(min(o.HoldTime/time.Second, 65535)))
	var id [4]byte
	if o.ID.Is4() {
		id = o.ID.As4()
	}
	b = append(b, id[:]...)
	at := len(b)
	b = o.Capabilities.Append(append(b, 0, 0, 0), o.AS)
	switch n := len(b) - at - 3; {
	case n == 0:
		b = b[:at+1]
	case n <= 253:
		b[at], b[at+1], b[at+2] = byte(n+2), paramCapabilities, byte(n)
	default: // make room for three more octets of lengths
		b = append(b, 0, 0, 0, 0)
		copy(b[at+7:], b[at+3:at+3+n])
		b[at], b[at+1] = paramExtended, paramExtended
		binary.BigEndian.PutUint16(b[at+2:], uint16(n+3))
		b[at+4] = paramCapabilities
		binary.BigEndian.PutUint16(b[at+5:], uint16(n))
	}
	return finish(b, start)
}
