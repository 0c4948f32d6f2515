package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// Sizes of messages in octets (RFC 4271, Section 4.1; RFC 8654, Section 3).
const (
	HeaderLen      = 19    // marker, length, type
	MaxLen         = 4096  // any message
	MaxExtendedLen = 65535 // UPDATE, NOTIFICATION and ROUTE-REFRESH, once negotiated
)

// MessageType is the type code of a message (RFC 4271, Section 4.1).
type MessageType uint8

// Message types: of RFC 4271, Section 4.1, unless another source is named.
const (
	TypeOpen         MessageType = 1
	TypeUpdate       MessageType = 2
	TypeNotification MessageType = 3
	TypeKeepalive    MessageType = 4
	TypeRouteRefresh MessageType = 5 // RFC 2918, Section 3
)

var messageNames = [...]string{TypeOpen: "OPEN", TypeUpdate: "UPDATE", TypeNotification: "NOTIFICATION",
	TypeKeepalive: "KEEPALIVE", TypeRouteRefresh: "ROUTE-REFRESH"}

// String returns the name of the message as the RFCs write it.
func (t MessageType) String() string { return enum.String("MessageType", messageNames[:], t) }

// minLen is the shortest length of each message in octets, header included.
var minLen = [...]int{TypeOpen: 29, TypeUpdate: 23, TypeNotification: 21, TypeKeepalive: 19, TypeRouteRefresh: 23}

// Header is the header of a message (RFC 4271, Section 4.1).
type Header struct {
	Type MessageType // OPEN to ROUTE-REFRESH
	Len  int         // of the whole message in octets, header included
}

// BodyLen is the number of octets that follow the header.
func (h Header) BodyLen() int { return h.Len - HeaderLen }

// ParseHeader reads the header at the start of b, which holds at least HeaderLen
// octets. max is the longest message that was negotiated: MaxLen or
// MaxExtendedLen; OPEN and KEEPALIVE never exceed MaxLen. An error is an [*Error]
// that resets the session (RFC 4271, Section 6.1).
func ParseHeader(b []byte, max int) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, headerError(SubBadLength, nil, "RFC 4271, Section 4.1", "header cut short")
	}
	if binary.BigEndian.Uint64(b) != ^uint64(0) || binary.BigEndian.Uint64(b[8:]) != ^uint64(0) {
		return Header{}, headerError(SubNotSynchronized, nil, "RFC 4271, Section 6.1", "marker is not all ones")
	}
	// Marker (16), Length (2), Type (1).
	h := Header{Type: MessageType(b[18]), Len: int(binary.BigEndian.Uint16(b[16:]))}
	if h.Len < HeaderLen || h.Len > max {
		return h, badLength(h, b)
	}
	if h.Type < TypeOpen || h.Type > TypeRouteRefresh {
		return h, headerError(SubBadType, b[18:19], "RFC 4271, Section 6.1", h.Type.String())
	}
	// RFC 4271, Section 6.1, has the least length of each message, and one for a KEEPALIVE. RFC
	// 8654, Section 4: "The BGP Extended Message Capability applies to all messages except for
	// OPEN and KEEPALIVE messages."
	// A ROUTE-REFRESH of a wrong length has an error code of its own: ParseRouteRefresh.
	if h.Len < minLen[h.Type] && h.Type != TypeRouteRefresh ||
		h.Type == TypeKeepalive && h.Len != HeaderLen ||
		h.Type == TypeOpen && h.Len > MaxLen {
		return h, badLength(h, b)
	}
	return h, nil
}

func badLength(h Header, b []byte) *Error {
	e := headerError(SubBadLength, b[16:18], "RFC 4271, Section 6.1", fmt.Sprintf("length %d", h.Len))
	e.Message = h.Type
	return e
}

func headerError(sub uint8, data []byte, rfc, text string) *Error {
	return &Error{Disposition: SessionReset, Code: CodeHeader, Subcode: sub, Data: clone(data), RFC: rfc, Text: text}
}

// appendHeader starts a message: Marker (16), all ones, Length (2), Type (1). The length is filled
// in by finish.
func appendHeader(b []byte, t MessageType) []byte {
	return append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, HeaderLen, byte(t))
}

// finish sets the length of the message that starts at b[start] and ends with b.
func finish(b []byte, start int) []byte {
	binary.BigEndian.PutUint16(b[start+16:], uint16(len(b)-start))
	return b
}

// AppendKeepalive appends a KEEPALIVE message (RFC 4271, Section 4.4).
func AppendKeepalive(b []byte) []byte { return appendHeader(b, TypeKeepalive) }
