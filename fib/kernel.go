package fib

import "net/netip"

const (
	protoStatic = 4   // RTPROT_STATIC
	tableMain   = 254 // RT_TABLE_MAIN
)

func familyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}
