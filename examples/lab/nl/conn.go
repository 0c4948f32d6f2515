// Package nl is the little rtnetlink that the lab needs to build its world and
// to look at it: links, bridge ports, addresses, routes and rules of one network
// namespace. It encodes its messages itself and deliberately does not use
// hyperfib's fib package: what is under test must not be its own judge.
package nl

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Conn speaks rtnetlink in one network namespace. It is safe for concurrent
// use; requests go one after the other.
type Conn struct {
	mu   sync.Mutex
	conn *netlink.Conn
	name string
}

// Open connects to the namespace at path ("" is the process's own).
func Open(path string) (*Conn, error) {
	conn, err := dial(path)
	if err != nil {
		return nil, err
	}
	return &Conn{conn: conn, name: path}, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.conn.Close() }

func dial(path string) (*netlink.Conn, error) {
	config := &netlink.Config{}
	if path != "" {
		ns, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer ns.Close()
		config.NetNS = int(ns.Fd())
	}
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, config)
	if err != nil {
		return nil, fmt.Errorf("rtnetlink in %s: %w", path, err)
	}
	_ = conn.SetOption(netlink.ExtendedAcknowledge, true)
	// With strict checking the kernel itself filters dumps by table.
	_ = conn.SetOption(netlink.GetStrictCheck, true)
	return conn, nil
}

// do sends one request and waits for its acknowledgement.
func (c *Conn) do(typ, flags uint16, header []byte, attrs func(*netlink.AttributeEncoder)) error {
	_, err := c.request(typ, netlink.Acknowledge|netlink.HeaderFlags(flags), header, attrs)
	return err
}

// dump asks for all objects of a kind.
func (c *Conn) dump(typ uint16, header []byte, attrs func(*netlink.AttributeEncoder)) ([]netlink.Message, error) {
	return c.request(typ, netlink.Dump, header, attrs)
}

func (c *Conn) request(typ uint16, flags netlink.HeaderFlags, header []byte, attrs func(*netlink.AttributeEncoder)) ([]netlink.Message, error) {
	data := header
	if attrs != nil {
		ae := netlink.NewAttributeEncoder()
		attrs(ae)
		b, err := ae.Encode()
		if err != nil {
			return nil, err
		}
		data = append(data, b...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | flags},
		Data:   data,
	})
}

// create are the flags of "make a new one, fail if it exists".
const create = unix.NLM_F_CREATE | unix.NLM_F_EXCL

func ifinfomsg(family uint8, index int, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	b[0] = family
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return b
}
