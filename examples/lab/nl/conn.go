// Package nl is what the lab needs of rtnetlink to build its namespaces and to look at
// them: links, bridge ports, addresses, neighbours, routes and rules. Messages are
// encoded and decoded by jsimonetti/rtnetlink and, where that knows nothing of them,
// by mdlayher/netlink's attribute coders; never by hyperfib's own code, since what is
// under test must not be its own judge.
package nl

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Conn speaks rtnetlink in one network namespace. It is safe for concurrent use.
type Conn struct {
	rt  *rtnetlink.Conn
	raw *netlink.Conn // for what rtnetlink cannot encode
}

// Open connects to the namespace at path ("" is the process's own).
func Open(path string) (*Conn, error) {
	raw, err := dial(path, netlink.Dial)
	if err != nil {
		return nil, err
	}
	rt, err := dial(path, func(_ int, c *netlink.Config) (*rtnetlink.Conn, error) { return rtnetlink.Dial(c) })
	if err != nil {
		raw.Close()
		return nil, err
	}
	return &Conn{rt: rt, raw: raw}, nil
}

// Close ends the connection.
func (c *Conn) Close() error {
	c.raw.Close()
	return c.rt.Close()
}

// optioned is what both kinds of connections have in common.
type optioned interface {
	SetOption(netlink.ConnOption, bool) error
}

func dial[C optioned](path string, open func(int, *netlink.Config) (C, error)) (c C, err error) {
	config := &netlink.Config{}
	if path != "" {
		ns, err := os.Open(path)
		if err != nil {
			return c, err
		}
		defer ns.Close()
		config.NetNS = int(ns.Fd())
	}
	if c, err = open(unix.NETLINK_ROUTE, config); err != nil {
		return c, fmt.Errorf("rtnetlink in %s: %w", path, err)
	}
	_ = c.SetOption(netlink.ExtendedAcknowledge, true)
	// With strict checking the kernel itself filters dumps by table.
	_ = c.SetOption(netlink.GetStrictCheck, true)
	return c, nil
}

// do sends one request and waits for its acknowledgement.
func (c *Conn) do(typ uint16, flags netlink.HeaderFlags, m rtnetlink.Message) error {
	_, err := c.rt.Execute(m, typ, netlink.Request|netlink.Acknowledge|flags)
	return err
}

// doRaw does the same with a message that rtnetlink cannot encode.
func (c *Conn) doRaw(typ uint16, flags netlink.HeaderFlags, header []byte, attrs func(*netlink.AttributeEncoder)) error {
	ae := netlink.NewAttributeEncoder()
	attrs(ae)
	b, err := ae.Encode()
	if err != nil {
		return err
	}
	_, err = c.raw.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   append(header, b...),
	})
	return err
}

// dump asks for all objects of a kind.
func dump[M rtnetlink.Message](c *Conn, typ uint16, filter M) (out []M, err error) {
	msgs, err := c.rt.Execute(filter, typ, netlink.Request|netlink.Dump)
	for _, m := range msgs {
		if m, ok := m.(M); ok {
			out = append(out, m)
		}
	}
	return out, err
}

// create are the flags of "make a new one, fail if it exists".
const create = netlink.Create | netlink.Excl

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
