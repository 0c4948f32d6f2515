package junos

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Times that Junos offers.
const (
	holdTime    = 90 * time.Second
	restartTime = 120
)

// addPathMode is the Send/Receive field of RFC 7911, Section 4.
type addPathMode byte

const (
	addPathNone addPathMode = 0
	addPathSend addPathMode = 2
	addPathBoth addPathMode = 3
)

// openMessage is the OPEN of a group; ADD-PATH is for the first family.
func openMessage(as uint32, id netip.Addr, families []wire.Family, mode addPathMode) []byte {
	var p []byte
	param := func(code wire.CapabilityCode, value ...byte) {
		p = append(p, 2, byte(len(value)+2), byte(code), byte(len(value)))
		p = append(p, value...)
	}
	family := func(f wire.Family) []byte { return []byte{byte(f.AFI >> 8), byte(f.AFI)} }
	for _, f := range families {
		param(wire.CapMultiprotocol, append(family(f), 0, f.SAFI)...)
	}
	const oldRouteRefresh = 128
	param(oldRouteRefresh)
	param(wire.CapRouteRefresh)
	const notification = 0x40 // the N bit of RFC 8538, Section 2
	param(wire.CapGracefulRestart, notification, restartTime)
	param(wire.CapAS4, binary.BigEndian.AppendUint32(nil, as)...)
	if mode != addPathNone {
		param(wire.CapAddPath, append(family(families[0]), families[0].SAFI, byte(mode))...)
	}
	param(wire.CapLongLived)
	body := []byte{4}
	body = binary.BigEndian.AppendUint16(body, uint16(min(as, wire.ASTrans)))
	if as < 1<<16 {
		binary.BigEndian.PutUint16(body[1:], uint16(as))
	}
	body = binary.BigEndian.AppendUint16(body, uint16(holdTime/time.Second))
	body = append(append(body, id.AsSlice()...), byte(len(p)))
	return message(wire.TypeOpen, append(body, p...))
}

// message puts a header in front of a body.
func message(t wire.MessageType, body []byte) []byte {
	b := make([]byte, 16, wire.HeaderLen+len(body))
	for i := range b {
		b[i] = 0xff
	}
	b = binary.BigEndian.AppendUint16(b, uint16(wire.HeaderLen+len(body)))
	return append(append(b, byte(t)), body...)
}
