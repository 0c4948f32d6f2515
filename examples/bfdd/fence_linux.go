package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os/user"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/bfd"
)

// The fence is a table of nftables that drops BFD packets of bfdd's user. While no data
// plane is attached bfdd runs its sessions itself, and sends a Down that takes the
// neighbour's session down, although it does not even listen for an answer. The fence stays
// when we end, since that is when it is needed.
const fenceTable = "hyperfib_bfdd"

// fencePorts are the ports of the fence, which has a rule for each.
var fencePorts = []uint16{bfd.Port, bfd.EchoPort, bfd.MultihopPort}

// putFence puts the fence around a user, by name or number, in place of one that is
// there: both in one transaction.
func putFence(name string) error {
	uid, err := userID(name)
	if err != nil {
		return err
	}
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: fenceTable})
	c.DelTable(table)
	table = c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: fenceTable})
	chain := c.AddChain(&nftables.Chain{Table: table, Name: "output", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter})
	for _, port := range fencePorts {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(uid)},
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
			&expr.Counter{},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}})
	}
	return c.Flush()
}

func userID(name string) (uint32, error) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(n), err
}

// fenced returns how many packets the fence has kept off the wire.
func fenced() (n uint64, err error) {
	c, err := nftables.New()
	if err != nil {
		return 0, err
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: fenceTable}
	rules, err := c.GetRules(table, &nftables.Chain{Table: table, Name: "output"})
	if err != nil {
		return 0, err
	}
	if len(rules) != len(fencePorts) {
		return 0, fmt.Errorf("table inet %s has %d rules of %d: another program has changed it", fenceTable, len(rules), len(fencePorts))
	}
	for _, r := range rules {
		for _, e := range r.Exprs {
			if counter, ok := e.(*expr.Counter); ok {
				n += counter.Packets
			}
		}
	}
	return n, nil
}

// removeFence takes the fence away.
func removeFence() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: fenceTable})
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}
