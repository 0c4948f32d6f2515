package bfd

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// tables is a kernel with some next-hop objects: it answers the very bytes that are sent.
type tables struct {
	hops   map[uint32][]byte // bodies of RTM_NEWNEXTHOP
	answer [][]byte
}

func (k *tables) Send(b []byte) error {
	for m := range rtnl.Messages(b) {
		var id uint32
		for typ, v := range rtnl.Attributes(m.Body[rtnl.SizeNextHop:]) {
			if typ == rtnl.NHA_ID {
				id = v.Uint32()
			}
		}
		body, there := k.hops[id]
		errno := unix.Errno(0)
		switch {
		case m.Flags&rtnl.NLM_F_DUMP == rtnl.NLM_F_DUMP:
			for _, id := range []uint32{1, 2, 3} {
				k.add(rtnl.RTM_NEWNEXTHOP, rtnl.NLM_F_MULTI|rtnl.NLM_F_DUMP_INTR, m.Seq, k.hops[id])
			}
			k.add(rtnl.NLMSG_DONE, rtnl.NLM_F_MULTI, m.Seq, make([]byte, 4))
			continue
		case m.Type == rtnl.RTM_NEWNEXTHOP:
			k.hops[id] = slices.Clone(m.Body)
		case !there:
			errno = unix.ENOENT
		case m.Type == rtnl.RTM_DELNEXTHOP:
			delete(k.hops, id)
		default:
			k.add(rtnl.RTM_NEWNEXTHOP, 0, m.Seq, body)
			continue
		}
		e := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
		k.add(rtnl.NLMSG_ERROR, rtnl.NLM_F_CAPPED, m.Seq, append(e, make([]byte, rtnl.SizeHeader)...))
	}
	return nil
}

func (k *tables) add(typ, flags uint16, seq uint32, body []byte) {
	k.answer = append(k.answer, rtnl.End(append(rtnl.Begin(nil, typ, flags, seq), body...), 0))
}

func (k *tables) Receive(b []byte) (int, error) {
	if len(k.answer) == 0 {
		return 0, unix.EAGAIN
	}
	n := copy(b, k.answer[0])
	k.answer = k.answer[1:]
	return n, nil
}

func (k *tables) Wait() error  { return unix.EBADF }
func (k *tables) Close() error { return nil }

func TestNetlinkNextHops(t *testing.T) {
	single := func(id uint32, gw string) []byte {
		b := rtnl.AppendUint32([]byte{rtnl.AF_INET, 0, 201, 0, 0, 0, 0, 0}, rtnl.NHA_ID, id)
		return rtnl.AppendUint32(rtnl.AppendAddr(b, rtnl.NHA_GATEWAY, netip.MustParseAddr(gw)), rtnl.NHA_OIF, 7)
	}
	k := &tables{hops: map[uint32][]byte{1: single(1, "10.0.0.2"), 2: single(2, "10.0.1.2")}}
	n := newNetlink(k)
	defer n.close()
	group := bfdcore.NextHop{ID: 3, Proto: 201, Group: []bfdcore.Member{{ID: 1}, {ID: 2, Weight: 299}}}
	if err := n.Replace(group); err != nil {
		t.Fatal(err)
	}
	if got, err := n.NextHop(3); err != nil || !reflect.DeepEqual(got, group) {
		t.Errorf("%+v, %v", got, err)
	}
	want := bfdcore.NextHop{ID: 2, Proto: 201, Link: 7, Gateway: netip.MustParseAddr("10.0.1.2")}
	if got, err := n.NextHop(2); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	// Only groups, and all of them even if the kernel marks the dump.
	if got, err := n.Groups(); err != nil || !reflect.DeepEqual(got, []bfdcore.NextHop{group}) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := n.Delete(2); err != nil {
		t.Error(err)
	}
	if _, err := n.NextHop(2); !errors.Is(err, bfdcore.ErrNoNextHop) {
		t.Error(err)
	}
	if err := n.Delete(2); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}
