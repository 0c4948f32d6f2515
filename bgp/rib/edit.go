package rib

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// opKind is what is done to an attribute set. See attrStore.change: each is done once for
// all paths that share a set.
type opKind uint8

const (
	opSet        opKind = iota // replace the attribute who by the value in arg
	opDelete                   // delete the attribute who
	opNextHop                  // set the next hop to arg
	opAdd                      // add arg to the list in attribute who
	opRemove                   // remove arg from it
	opPrepend                  // prepend AS who, arg[0] times
	opBandwidth                // replace the link bandwidth by the community in arg
	opExport                   // what an export group does to every path
	opOwnNextHop               // fill in an export group's own next hop
)

func (s *attrStore) setUint32(root, id attrID, typ wire.AttrType, v uint32) attrID {
	var arg [16]byte
	binary.BigEndian.PutUint32(arg[:], v)
	return s.change(root, id, op{opSet, uint32(typ)}, arg, func(dst []byte, from Attrs) ([]byte, int) {
		var value [4]byte
		binary.BigEndian.PutUint32(value[:], v)
		return edited(dst, from, wire.Edit{Attr: wire.NewAttr(typ, value[:])})
	})
}

func (s *attrStore) delete(root, id attrID, typ wire.AttrType) attrID {
	return s.change(root, id, op{opDelete, uint32(typ)}, [16]byte{}, func(dst []byte, from Attrs) ([]byte, int) {
		return edited(dst, from, wire.Edit{Attr: wire.Attr{Type: typ}, Delete: true})
	})
}

func (s *attrStore) setNextHop(root, id attrID, n wire.NextHop) attrID {
	if n.LinkLocal.IsValid() { // too long for an edge: rare enough
		from := s.view(id)
		base := s.intern(appendTail(slices.Clip(from.Attrs), n), len(from.Attrs))
		to := s.with(base, from.rest(), nil)
		s.release(base)
		return to
	}
	var arg [16]byte
	nh := appendNextHop(arg[:0], n)
	return s.change(root, id, op{opNextHop, uint32(len(nh))}, arg, func(dst []byte, from Attrs) ([]byte, int) {
		dst = append(dst, from.Attrs...)
		return appendTailOctets(dst, nh), len(dst)
	})
}

func community(c wire.Community) []byte { return binary.BigEndian.AppendUint32(nil, uint32(c)) }

func extCommunity(c wire.ExtCommunity) []byte { return binary.BigEndian.AppendUint64(nil, uint64(c)) }

func largeCommunity(c wire.LargeCommunity) []byte {
	var b []byte
	for _, v := range [...]uint32{c.Global, c.Local1, c.Local2} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func (s *attrStore) addCommunity(root, id attrID, c wire.Community) attrID {
	return s.editList(root, id, true, wire.AttrCommunities, community(c))
}

// editList adds an item to a list attribute, or removes it. An empty list is no attribute.
func (s *attrStore) editList(root, id attrID, add bool, typ wire.AttrType, item []byte) attrID {
	o := op{opRemove, uint32(typ)}
	if add {
		o.kind = opAdd
	}
	var arg [16]byte
	copy(arg[:], item)
	return s.change(root, id, o, arg, func(dst []byte, from Attrs) ([]byte, int) {
		old, _ := from.Get(typ)
		var list []byte
		found := false
		for ; len(old) >= len(item); old = old[len(item):] {
			if bytes.Equal(old[:len(item)], item) {
				found = true
				if !add {
					continue
				}
			}
			list = append(list, old[:len(item)]...)
		}
		if add && !found {
			list = append(list, item...)
		}
		return edited(dst, from, wire.Edit{Attr: wire.NewAttr(typ, list), Delete: len(list) == 0})
	})
}

// setBandwidth replaces link bandwidth communities by c; 0 is none.
func (s *attrStore) setBandwidth(root, id attrID, c wire.ExtCommunity) attrID {
	var arg [16]byte
	binary.BigEndian.PutUint64(arg[:], uint64(c))
	return s.change(root, id, op{opBandwidth, 0}, arg, func(dst []byte, from Attrs) ([]byte, int) {
		var list []byte
		for x := range from.ExtCommunities().All() {
			if !x.IsLinkBandwidth() {
				list = append(list, extCommunity(x)...)
			}
		}
		if c != 0 {
			list = append(list, extCommunity(c)...)
		}
		return edited(dst, from, wire.Edit{Attr: wire.NewAttr(wire.AttrExtCommunities, list), Delete: len(list) == 0})
	})
}

func (s *attrStore) prepend(root, id attrID, as uint32, n int) attrID {
	return s.change(root, id, op{opPrepend, as}, [16]byte{byte(n)}, func(dst []byte, from Attrs) ([]byte, int) {
		path := from.ASPath().AppendPrepend(nil, as, n)
		return edited(dst, from, wire.Edit{Attr: wire.NewAttr(wire.AttrASPath, path)})
	})
}

// edited appends from, which has no rest, with edits, tail included.
func edited(dst []byte, from Attrs, edits ...wire.Edit) ([]byte, int) {
	dst = from.AppendEdited(dst, edits...)
	return append(dst, from.tail...), len(dst)
}
