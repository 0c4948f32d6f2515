package rtnl

// The names are the kernel's, so that they can be looked up: underscores are theirs.

// Sizes in octets of the fixed parts of messages.
const (
	SizeHeader    = 16 // struct nlmsghdr
	SizeLink      = 16 // struct ifinfomsg
	SizeAddress   = 8  // struct ifaddrmsg
	SizeRoute     = 12 // struct rtmsg
	SizeHop       = 8  // struct rtnexthop, an entry of RTA_MULTIPATH
	SizeNeighbor  = 12 // struct ndmsg
	SizeRule      = 12 // struct fib_rule_hdr
	SizeNextHop   = 8  // struct nhmsg
	SizeMember    = 8  // struct nexthop_grp, an entry of NHA_GROUP
	SizeNetconf   = 4  // struct netconfmsg, padded
	SizeNamespace = 4  // struct rtgenmsg, padded
)

// linux/netlink.h: flags of requests, of answers, and types that all families share.
const (
	NLM_F_REQUEST   = 0x1
	NLM_F_MULTI     = 0x2 // more follows, until NLMSG_DONE
	NLM_F_ACK       = 0x4
	NLM_F_DUMP_INTR = 0x10
	NLM_F_DUMP      = 0x300 // of GET requests
	NLM_F_REPLACE   = 0x100 // of NEW requests
	NLM_F_EXCL      = 0x200
	NLM_F_CREATE    = 0x400
	NLM_F_APPEND    = 0x800
	NLM_F_CAPPED    = 0x100 // of NLMSG_ERROR: the request is not in it
	NLM_F_ACK_TLVS  = 0x200

	NLMSG_ERROR = 2
	NLMSG_DONE  = 3

	NLMSGERR_ATTR_MSG  = 1
	NLMSGERR_ATTR_OFFS = 2

	NLA_F_NESTED = 0x8000
	attrMask     = 0x3fff // NLA_TYPE_MASK: without NLA_F_NESTED and NLA_F_NET_BYTEORDER
)

// Address families, as Linux numbers them.
const (
	AF_INET   = 2
	AF_BRIDGE = 7
	AF_INET6  = 10
)

// linux/rtnetlink.h: types of messages.
const (
	RTM_NEWLINK    = 16
	RTM_DELLINK    = 17
	RTM_GETLINK    = 18
	RTM_NEWADDR    = 20
	RTM_DELADDR    = 21
	RTM_GETADDR    = 22
	RTM_NEWROUTE   = 24
	RTM_DELROUTE   = 25
	RTM_GETROUTE   = 26
	RTM_NEWNEIGH   = 28
	RTM_DELNEIGH   = 29
	RTM_GETNEIGH   = 30
	RTM_NEWRULE    = 32
	RTM_DELRULE    = 33
	RTM_GETRULE    = 34
	RTM_NEWNETCONF = 80
	RTM_NEWNSID    = 88
	RTM_GETNSID    = 90
	RTM_NEWNEXTHOP = 104 // Linux 5.3
	RTM_DELNEXTHOP = 105
	RTM_GETNEXTHOP = 106
)

// linux/rtnetlink.h: groups of notifications.
const (
	RTNLGRP_LINK         = 1
	RTNLGRP_NEIGH        = 3
	RTNLGRP_IPV4_IFADDR  = 5
	RTNLGRP_IPV4_ROUTE   = 7
	RTNLGRP_IPV4_RULE    = 8
	RTNLGRP_IPV6_IFADDR  = 9
	RTNLGRP_IPV6_ROUTE   = 11
	RTNLGRP_IPV6_RULE    = 19
	RTNLGRP_IPV4_NETCONF = 24
	RTNLGRP_IPV6_NETCONF = 25
	RTNLGRP_NEXTHOP      = 32 // Linux 5.3
)

// linux/rtnetlink.h: struct rtmsg and the attributes of a route.
const (
	RT_TABLE_MAIN = 254

	RTPROT_REDIRECT = 1
	RTPROT_KERNEL   = 2
	RTPROT_STATIC   = 4
	RTPROT_RA       = 9

	RTN_LOCAL = 2

	RTM_F_CLONED  = 0x200 // of rtm_flags: an IPv6 exception or the answer to a lookup
	RTNH_F_ONLINK = 4     // of rtm_flags and rtnh_flags

	RTA_DST           = 1
	RTA_SRC           = 2
	RTA_IIF           = 3
	RTA_OIF           = 4
	RTA_GATEWAY       = 5
	RTA_PRIORITY      = 6
	RTA_PREFSRC       = 7
	RTA_METRICS       = 8
	RTA_MULTIPATH     = 9
	RTA_FLOW          = 11
	RTA_CACHEINFO     = 12
	RTA_TABLE         = 15
	RTA_MARK          = 16
	RTA_VIA           = 18
	RTA_NEWDST        = 19
	RTA_PREF          = 20
	RTA_ENCAP_TYPE    = 21
	RTA_ENCAP         = 22
	RTA_EXPIRES       = 23
	RTA_TTL_PROPAGATE = 26
	RTA_NH_ID         = 30 // Linux 5.3

	RTAX_MTU    = 2 // within RTA_METRICS
	RTAX_RTT    = 4
	RTAX_ADVMSS = 8
)

// linux/if_link.h and linux/if.h: interfaces.
const (
	IFF_UP       = 0x1
	IFF_RUNNING  = 0x40
	IFF_LOWER_UP = 0x10000

	IFLA_ADDRESS      = 1
	IFLA_IFNAME       = 3
	IFLA_MTU          = 4
	IFLA_MASTER       = 10
	IFLA_LINKINFO     = 18
	IFLA_NET_NS_FD    = 28
	IFLA_LINK_NETNSID = 37

	IFLA_INFO_KIND       = 1 // within IFLA_LINKINFO
	IFLA_INFO_DATA       = 2
	IFLA_INFO_SLAVE_KIND = 4

	IFLA_VXLAN_ID       = 1 // within IFLA_INFO_DATA
	IFLA_VXLAN_LINK     = 3
	IFLA_VXLAN_LOCAL    = 4
	IFLA_VXLAN_TTL      = 5
	IFLA_VXLAN_LEARNING = 7
	IFLA_VXLAN_LIMIT    = 9
	IFLA_VXLAN_PORT     = 15
	IFLA_VXLAN_LOCAL6   = 17
)

// linux/if_addr.h: addresses.
const (
	IFA_ADDRESS = 1
	IFA_LOCAL   = 2
	IFA_FLAGS   = 8
	IFA_PROTO   = 11 // Linux 5.18

	IFA_F_NODAD         = 0x2
	IFA_F_PERMANENT     = 0x80
	IFA_F_NOPREFIXROUTE = 0x200
)

// linux/neighbour.h: neighbours and forwarding entries.
const (
	NDA_DST      = 1
	NDA_LLADDR   = 2
	NDA_PORT     = 6
	NDA_VLAN     = 5
	NDA_VNI      = 7
	NDA_IFINDEX  = 8
	NDA_MASTER   = 9
	NDA_SRC_VNI  = 11
	NDA_PROTOCOL = 12 // Linux 5.3
	NDA_NH_ID    = 13 // Linux 5.8

	NTF_USE         = 0x1
	NTF_SELF        = 0x2
	NTF_MASTER      = 0x4
	NTF_PROXY       = 0x8
	NTF_EXT_LEARNED = 0x10

	NUD_REACHABLE = 0x2
	NUD_STALE     = 0x4
	NUD_DELAY     = 0x8
	NUD_PROBE     = 0x10
	NUD_FAILED    = 0x20
	NUD_NOARP     = 0x40
	NUD_PERMANENT = 0x80
)

// linux/nexthop.h: next-hop objects.
const (
	NHA_ID         = 1
	NHA_GROUP      = 2
	NHA_GROUP_TYPE = 3
	NHA_BLACKHOLE  = 4
	NHA_OIF        = 5
	NHA_GATEWAY    = 6
	NHA_ENCAP_TYPE = 7
	NHA_ENCAP      = 8
	NHA_GROUPS     = 9  // of a dump: groups only
	NHA_FDB        = 11 // Linux 5.8
	NHA_RES_GROUP  = 12 // Linux 5.13

	NEXTHOP_GRP_TYPE_RES = 1 // of NHA_GROUP_TYPE: resilient

	NHA_RES_GROUP_BUCKETS          = 1 // within NHA_RES_GROUP
	NHA_RES_GROUP_IDLE_TIMER       = 2
	NHA_RES_GROUP_UNBALANCED_TIMER = 3
)

// linux/fib_rules.h: rules.
const (
	FIB_RULE_INVERT = 2

	FRA_DST                = 1
	FRA_SRC                = 2
	FRA_IIFNAME            = 3
	FRA_GOTO               = 4
	FRA_PRIORITY           = 6
	FRA_FWMARK             = 10
	FRA_FLOW               = 11
	FRA_TUN_ID             = 12
	FRA_SUPPRESS_IFGROUP   = 13
	FRA_SUPPRESS_PREFIXLEN = 14
	FRA_TABLE              = 15
	FRA_FWMASK             = 16
	FRA_OIFNAME            = 17
	FRA_L3MDEV             = 19
	FRA_UID_RANGE          = 20
	FRA_PROTOCOL           = 21
	FRA_IP_PROTO           = 22
	FRA_SPORT_RANGE        = 23
	FRA_DPORT_RANGE        = 24
	FRA_DSCP               = 25 // Linux 6.12
	FRA_SPORT_MASK         = 28 // Linux 6.15
	FRA_DPORT_MASK         = 29
)

// linux/netconf.h: sysctls of an interface that are notified.
const (
	NETCONFA_IFINDEX                     = 1
	NETCONFA_FORWARDING                  = 2
	NETCONFA_RP_FILTER                   = 3
	NETCONFA_PROXY_NEIGH                 = 5
	NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN = 6
)

// linux/net_namespace.h: ids of network namespaces.
const (
	NETNSA_NSID = 1
	NETNSA_FD   = 3

	NETNSA_NSID_NOT_ASSIGNED = -1
)
