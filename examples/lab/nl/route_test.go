package nl

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// Gateways of another family, one and among several next hops, as the kernel dumps them.
func TestVias(t *testing.T) {
	attr := func(typ uint16, b ...byte) []byte {
		out := binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, uint16(4+len(b))), typ)
		out = append(out, b...)
		for len(out)%4 > 0 {
			out = append(out, 0)
		}
		return out
	}
	via := func(last byte) []byte {
		return attr(unix.RTA_VIA, append(binary.NativeEndian.AppendUint16(nil, unix.AF_INET6), 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last)...)
	}
	hop := func(index uint32, b ...byte) []byte {
		out := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtNexthop+len(b)))
		return append(binary.NativeEndian.AppendUint32(append(out, 0, 0), index), b...)
	}
	several := append(append(hop(2, via(1)...), hop(3, attr(unix.RTA_GATEWAY, 10, 0, 0, 1)...)...), hop(4, via(9)...)...)
	links := map[int]Link{2: {Name: "a"}, 3: {Name: "b"}, 4: {Name: "c"}}
	for want, attrs := range map[string][]byte{
		"[{fe80::5 a false}]": append(attr(unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, 2)...), via(5)...),
		"[{fe80::1 a false} {10.0.0.1 b false} {fe80::9 c false}]": attr(unix.RTA_MULTIPATH, several...),
	} {
		header := make([]byte, unix.SizeofRtMsg)
		header[0], header[7] = unix.AF_INET, unix.RTN_UNICAST
		r, err := parseRoute(append(header, attrs...), links)
		if have := fmt.Sprint(r.Hops); err != nil || have != want {
			t.Errorf("have %s, %v, want %s", have, err, want)
		}
	}
	if err := vias([]byte{1}, nil); err == nil {
		t.Error("half an attribute is taken")
	}
}
