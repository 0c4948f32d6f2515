package fib

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Numbers of linux/rtnetlink.h that golang.org/x/sys does not name.
const (
	protoRedirect = 1   // RTPROT_REDIRECT
	protoKernel   = 2   // RTPROT_KERNEL
	protoStatic   = 4   // RTPROT_STATIC
	protoRA       = 9   // RTPROT_RA
	tableMain     = 254 // RT_TABLE_MAIN

	metricLastResort = 4294967294 // customary metric of a last-resort route
	metricIPv6       = 1024       // IP6_RT_PRIO_USER

	attrVia      = 18 // RTA_VIA
	attrNHID     = 30 // RTA_NH_ID
	attrIfaProto = 11 // IFA_PROTO, Linux 5.18
	attrMask     = 0x3fff

	routeCloned = 0x200 // RTM_F_CLONED
	hopOnLink   = 4     // RTNH_F_ONLINK
)

// Sizes in octets of the fixed parts of messages.
const (
	sizeHeader  = unix.SizeofNlMsghdr
	sizeRoute   = unix.SizeofRtMsg
	sizeNextHop = 8  // struct nhmsg
	sizeHop     = 8  // struct rtnexthop
	sizeMember  = 8  // struct nexthop_grp
	sizeRule    = 12 // struct fib_rule_hdr
	sizeLink    = unix.SizeofIfInfomsg
	sizeAddr    = unix.SizeofIfAddrmsg
	sizeNeigh   = unix.SizeofNdMsg
)

var native = binary.NativeEndian

func familyOf(a netip.Addr) Family {
	if a.Is4() {
		return FamilyIPv4
	}
	return FamilyIPv6
}

func align(n int) int { return (n + 3) &^ 3 }
