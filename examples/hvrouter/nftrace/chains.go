package nftrace

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// BaseChain is a base chain, and the interfaces that it is for. google/nftables does not read those.
type BaseChain struct {
	*nftables.Chain
	// Devices are names, or patterns with an asterisk at the end; nil for a hook that is not of single interfaces.
	Devices []string
}

// Of include/uapi/linux/netfilter/nf_tables.h.
const (
	nftaHookDevices  = 4 // NFTA_HOOK_DEVS
	nftaDevicePrefix = 2 // NFTA_DEVICE_PREFIX: the beginning of the names of interfaces
)

// baseChains reads the base chains of all families.
func baseChains() (list []BaseChain, err error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	messages, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETCHAIN, Flags: netlink.Request | netlink.Dump},
		Data:   make([]byte, sizeGenMessage), // family 0 is all
	})
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		c, err := parseChain(m.Data)
		if err != nil {
			return nil, err
		}
		if c.Hooknum != nil && c.Priority != nil {
			list = append(list, c)
		}
	}
	return list, nil
}

// sizeGenMessage is the size of struct nfgenmsg: family, version, resource id.
const sizeGenMessage = 4

// parseChain reads struct nfgenmsg and the attributes of a chain (enum nft_chain_attributes).
func parseChain(b []byte) (c BaseChain, err error) {
	if len(b) < sizeGenMessage {
		return c, fmt.Errorf("a chain in %d octets", len(b))
	}
	c.Chain = &nftables.Chain{Table: &nftables.Table{Family: nftables.TableFamily(b[0])}}
	d, err := bigEndian(b[sizeGenMessage:])
	if err != nil {
		return c, err
	}
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_CHAIN_TABLE:
			c.Table.Name = d.String()
		case unix.NFTA_CHAIN_NAME:
			c.Name = d.String()
		case unix.NFTA_CHAIN_TYPE:
			c.Type = nftables.ChainType(d.String())
		case unix.NFTA_CHAIN_POLICY:
			policy := nftables.ChainPolicy(d.Uint32())
			c.Policy = &policy
		case unix.NFTA_CHAIN_HOOK:
			d.Do(c.hook)
		}
	}
	return c, d.Err()
}

func bigEndian(b []byte) (*netlink.AttributeDecoder, error) {
	d, err := netlink.NewAttributeDecoder(b)
	if err == nil {
		d.ByteOrder = binary.BigEndian
	}
	return d, err
}

// hook reads where a chain is (enum nft_hook_attributes).
func (c *BaseChain) hook(b []byte) error {
	d, err := bigEndian(b)
	if err != nil {
		return err
	}
	only := ""
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_HOOK_HOOKNUM:
			c.Hooknum = nftables.ChainHookRef(nftables.ChainHook(d.Uint32()))
		case unix.NFTA_HOOK_PRIORITY:
			c.Priority = nftables.ChainPriorityRef(nftables.ChainPriority(d.Uint32()))
		case unix.NFTA_HOOK_DEV: // what NFTA_HOOK_DEVS has if that is one
			only = d.String()
		case nftaHookDevices:
			d.Do(c.devices)
		}
	}
	if c.Devices == nil && only != "" {
		c.Devices = []string{only}
	}
	return d.Err()
}

// devices reads a list of names (enum nft_devices_attributes).
func (c *BaseChain) devices(b []byte) error {
	d, err := bigEndian(b)
	if err != nil {
		return err
	}
	for d.Next() {
		name, terminated := strings.CutSuffix(string(d.Bytes()), "\x00")
		if d.Type() == nftaDevicePrefix || !terminated { // Linux 6.16 and 6.17 have a prefix as a name without an end
			name += "*"
		}
		c.Devices = append(c.Devices, name)
	}
	slices.Sort(c.Devices)
	return d.Err()
}

// on reports whether a chain of single interfaces is for an interface.
func (c BaseChain) on(link string) bool {
	return slices.ContainsFunc(c.Devices, func(d string) bool {
		prefix, pattern := strings.CutSuffix(d, "*")
		return d == link || pattern && strings.HasPrefix(link, prefix)
	})
}

// drops reports whether the policy of a chain is drop.
func (c BaseChain) drops() bool { return c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop }

// mostDevices is how many interfaces of a chain are named.
const mostDevices = 3

// text describes a chain, with its hook if that is not clear from what is around.
func (c BaseChain) text(hook bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s chain %s (type %s, ", familyNames[c.Table.Family], c.Table.Name, c.Name, c.Type)
	if hook {
		fmt.Fprintf(&b, "hook %s", hookName(c.Table.Family, *c.Hooknum))
		if len(c.Devices) > 0 {
			shown := c.Devices[:min(mostDevices, len(c.Devices))]
			fmt.Fprintf(&b, " device %s", strings.Join(shown, " "))
			if more := len(c.Devices) - len(shown); more > 0 {
				fmt.Fprintf(&b, " and %d more", more)
			}
		}
		b.WriteString(", ")
	}
	policy := "accept"
	if c.drops() {
		policy = "drop"
	}
	fmt.Fprintf(&b, "priority %d, policy %s)", *c.Priority, policy)
	return b.String()
}

var familyNames = map[nftables.TableFamily]string{nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
	nftables.TableFamilyBridge: "bridge", nftables.TableFamilyARP: "arp", nftables.TableFamilyNetdev: "netdev"}

// inetIngress is NF_INET_INGRESS (include/uapi/linux/netfilter.h), the hook of the family inet that is of single interfaces.
const inetIngress nftables.ChainHook = unix.NF_INET_NUMHOOKS

// hookName names a hook as nft(8) does. The numbers of the families inet, ip, ip6 and bridge are the same.
func hookName(family nftables.TableFamily, h nftables.ChainHook) string {
	names := []string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}
	switch family {
	case nftables.TableFamilyNetdev: // enum nf_dev_hooks
		names = []string{"ingress", "egress"}
	case nftables.TableFamilyARP: // NF_ARP_IN, NF_ARP_OUT
		names = []string{"input", "output"}
	}
	if int(h) < len(names) {
		return names[h]
	}
	return fmt.Sprint(uint32(h))
}
