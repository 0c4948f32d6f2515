package host

import (
	"net/netip"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/internal/netns"
)

// Address is an address of an interface.
type Address struct {
	Link      int // interface index
	Prefix    netip.Prefix
	Global    bool // its scope
	Permanent bool // it has no lifetime
}

// Addresses lists the addresses in the network namespace at a path; "" is the process's
// own.
func Addresses(path string) (list []Address, err error) {
	err = netns.Do(path, func() error {
		conn, err := rtnetlink.Dial(nil)
		if err != nil {
			return err
		}
		defer conn.Close()
		all, err := conn.Address.List()
		if err != nil {
			return err
		}
		for _, m := range all {
			if m.Attributes == nil {
				continue
			}
			ip := m.Attributes.Local
			if ip == nil { // IPv6 has it for point-to-point links only
				ip = m.Attributes.Address
			}
			if a, ok := netip.AddrFromSlice(ip); ok {
				list = append(list, Address{int(m.Index), netip.PrefixFrom(a.Unmap(), int(m.PrefixLength)), m.Scope == unix.RT_SCOPE_UNIVERSE,
					(m.Attributes.Flags|uint32(m.Flags))&unix.IFA_F_PERMANENT != 0})
			}
		}
		return nil
	})
	return list, err
}

// trust says what becomes of interfaces that have an address of the host's.
func (k *checker) trust(c *config.Config) {
	if c.Firewall.Off {
		return
	}
	var all []domain.Interface
	for _, l := range k.Links() {
		all = append(all, domain.Interface{Name: l.Interface, Addresses: func() (list []domain.InterfaceAddress) {
			for _, a := range k.Addresses(l.Interface) {
				list = append(list, domain.InterfaceAddress{Prefix: a.Prefix, Global: a.Global, Permanent: a.Permanent})
			}
			return list
		}})
	}
	t := domain.NewTrust(c, c.Guests, all)
	for _, i := range t.Guessed {
		k.add(Warn, "interface %s (%v) is no uplink: it is taken for the host's own because it has an address; say so: firewall: {trusted: [%s]}", i.Name, i.Because, i.Name)
	}
	for _, i := range t.Denied {
		k.add(Warn, "interface %s (%v) is neither an uplink nor a guest's nor in firewall.trusted: what arrives there is dropped", i.Name, i.Because)
	}
}
