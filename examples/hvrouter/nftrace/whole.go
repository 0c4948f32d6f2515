package nftrace

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// readings is how often a ruleset is read while others change it.
const readings = 8

// errChanging says that a ruleset was never read as it stood.
var errChanging = fmt.Errorf("the ruleset was changed each of the %d times that it was read", readings)

// whole calls read in the namespace at path until the ruleset was the same before and after it. The kernel goes on with a
// dump after a change of another program by counting, so that what it dumps may lack what was there all the time, and
// says so with a flag (NLM_F_DUMP_INTR) alone; and what is read by several requests would be of several rulesets.
func whole(path string, read func(*nftables.Conn) error) error {
	return netns.Do(path, func() error {
		conn, err := nftables.New(nftables.AsLasting())
		if err != nil {
			return err
		}
		defer func() { _ = conn.CloseLasting() }()
		numbers, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return err
		}
		defer func() { _ = numbers.Close() }()
		return unchanged(func() (uint32, error) { return generation(numbers) }, func() error { return read(conn) })
	})
}

// unchanged calls read until the number is the same before and after it.
func unchanged(number func() (uint32, error), read func() error) error {
	before, err := number()
	if err != nil {
		return err
	}
	for range readings {
		failed := read() // what was to be read may have gone
		after, err := number()
		if err != nil {
			return err
		}
		if after == before {
			return failed
		}
		before = after
	}
	return errChanging
}

// generation returns the number of the ruleset, which each transaction counts up.
func generation(conn *netlink.Conn) (uint32, error) {
	const attributeID = 1 // NFTA_GEN_ID
	list, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   make([]byte, sizeGenMessage),
	})
	if err != nil {
		return 0, err
	}
	for _, m := range list {
		if len(m.Data) < sizeGenMessage {
			continue
		}
		d, err := bigEndian(m.Data[sizeGenMessage:])
		if err != nil {
			return 0, err
		}
		for d.Next() {
			if d.Type() == attributeID {
				return d.Uint32(), d.Err()
			}
		}
	}
	return 0, errors.New("the kernel does not say which generation its ruleset is")
}
