package vrf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// ErrUnsupported is the kernel that was built without VRF.
var ErrUnsupported = errors.New("kernel has no VRF: ip link add type vrf: operation not supported")

// Conn changes the VRFs of one network namespace.
type Conn struct {
	netns string
	conn  *rtnetlink.Conn
}

// Open opens a socket in the namespace at path; "" is the process's own.
func Open(path string) (*Conn, error) {
	c := &Conn{netns: path}
	err := netns.Do(path, func() (err error) {
		c.conn, err = rtnetlink.Dial(nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("vrf: %w", err)
	}
	return c, nil
}

// Close closes the socket; everything stays as it is.
func (c *Conn) Close() { c.conn.Close() }

const kind = "vrf"

// iflaVRFTable is IFLA_VRF_TABLE.
const iflaVRFTable = 1

// Ensure makes the VRF with a table exist and up, and gives its interface index. A
// device of that name that is anything else is left alone, and an error.
func (c *Conn) Ensure(name string, table uint32) (index int, err error) {
	for range 2 {
		have, err := c.lookup(name)
		switch {
		case err == nil:
			return int(have.Index), c.adopt(name, table, have)
		case !errors.Is(err, unix.ENODEV):
			return 0, fmt.Errorf("VRF %s: %w", name, err)
		}
		if err := c.create(name, table); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("VRF %s: somebody deletes it", name)
}

func (c *Conn) lookup(name string) (rtnetlink.LinkMessage, error) {
	var index int
	err := netns.Do(c.netns, func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			index = i.Index
		}
		return err
	})
	if err != nil {
		return rtnetlink.LinkMessage{}, unix.ENODEV
	}
	return c.conn.Link.Get(uint32(index))
}

func (c *Conn) create(name string, table uint32) error {
	data, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: iflaVRFTable, Data: binary.NativeEndian.AppendUint32(nil, table)}})
	if err != nil {
		return err
	}
	err = c.conn.Link.New(&rtnetlink.LinkMessage{Flags: unix.IFF_UP, Change: unix.IFF_UP,
		Attributes: &rtnetlink.LinkAttributes{Name: name, Info: &rtnetlink.LinkInfo{Kind: kind, Data: &rtnetlink.LinkData{Name: kind, Data: data}}}})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return ErrUnsupported
	case err != nil && !errors.Is(err, unix.EEXIST):
		return fmt.Errorf("VRF %s: %w", name, err)
	}
	return nil
}

// adopt checks a device that is there and brings it up.
func (c *Conn) adopt(name string, table uint32, have rtnetlink.LinkMessage) error {
	a := have.Attributes
	if a == nil || a.Info == nil || a.Info.Kind != kind {
		return fmt.Errorf("VRF %s: an interface of that name is none", name)
	}
	if t := tableOf(a.Info.Data); t != table {
		return fmt.Errorf("VRF %s has table %d, want %d", name, t, table)
	}
	if have.Flags&unix.IFF_UP != 0 {
		return nil
	}
	return c.conn.Link.Set(&rtnetlink.LinkMessage{Index: have.Index, Flags: unix.IFF_UP, Change: unix.IFF_UP})
}

func tableOf(d rtnetlink.LinkDriver) uint32 {
	data, ok := d.(*rtnetlink.LinkData)
	if !ok {
		return 0
	}
	ad, err := netlink.NewAttributeDecoder(data.Data)
	for err == nil && ad.Next() {
		if ad.Type() == iflaVRFTable {
			return ad.Uint32()
		}
	}
	return 0
}

// Enslave puts an interface into a VRF. An interface that is up goes down and up
// again, and its routes with it; its IPv6 addresses stay if keep_addr_on_down is set.
func (c *Conn) Enslave(link, vrf int) error {
	master := uint32(vrf)
	return c.conn.Link.Set(&rtnetlink.LinkMessage{Index: uint32(link), Attributes: &rtnetlink.LinkAttributes{Master: &master}})
}

// Master returns the index of the VRF, or bridge, that an interface belongs to; 0 is
// none.
func (c *Conn) Master(link int) (int, error) {
	m, err := c.conn.Link.Get(uint32(link))
	if err != nil {
		return 0, fmt.Errorf("vrf: interface %d: %w", link, err)
	}
	if m.Attributes == nil || m.Attributes.Master == nil {
		return 0, nil
	}
	return int(*m.Attributes.Master), nil
}

// Supported tries to make a VRF in a namespace of its own that nobody else sees. It
// gives ErrUnsupported if the kernel can't, and another error if that could not be
// found out.
func Supported() error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		done <- try()
	}()
	return <-done
}

func try() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	conn, err := rtnetlink.Dial(nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	return (&Conn{conn: conn}).create("vrf", 1)
}
