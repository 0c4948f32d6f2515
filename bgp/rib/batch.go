package rib

import (
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// batch collects what a chunk will say, bucket by bucket: one bucket holds the
// destinations that share source, kind, family and attribute set but for the rest of their NLRI, and becomes one
// message or several. So a batch packs as well as its size allows, without sorting.
type batch struct {
	buckets []bucket            // in the order of their first items
	items   []item              // of all buckets; those of one are linked
	octets  int                 // estimate of the encoded size
	other   map[bucketKey]int32 // buckets that the attrSet's own note does not name
	narrow  map[narrowKey]int32 // buckets that are not for all members
	builder wire.Builder        // writes the messages
	popped  []destID            // to unpin when encoded
	held    []attrID            // to release when encoded
}

type bucketKey struct {
	attr attrID      // of an announcement, the base; 0 for a withdrawal
	src  uint16      // number of the peer that the paths come from
	kind messageKind // of the messages that it becomes
	fam  uint8       // the place of their family in families
}

// audience is who of a group wants something: those who want routes with the route targets of the set targets,
// and, unless that is 0, not those with the route targets of the set unless. The zero value is all.
type audience struct{ targets, unless attrID }

type narrowKey struct {
	bucketKey
	audience
}

type bucket struct {
	bucketKey
	audience
	head, tail int32 // items, 1-based
}

type item struct {
	dest destID // what is announced or withdrawn
	next int32  // the next item of the bucket, 1-based; 0: none
	attr attrID // of what has a key and is announced: the set, with its rest
	out  uint16 // path identifier for sending, 0 without ADD-PATH
}

// batchOctets is about how much is encoded at a time: enough to pack what shares
// attributes, little enough to hold the table's mutex for milliseconds.
const batchOctets = 256 << 10

func (b *batch) full(t *Table) bool { return b.octets >= t.limits.batch }

func (b *batch) reset(t *Table) {
	for i := range b.buckets {
		if a := b.buckets[i].attr; a != 0 {
			t.attrs.at(a).bucket = 0
		}
	}
	for _, id := range b.popped {
		t.unpin(id)
	}
	for _, attr := range b.held {
		t.attrs.release(attr)
	}
	b.buckets, b.items, b.popped, b.held, b.octets = b.buckets[:0], b.items[:0], b.popped[:0], b.held[:0], 0
	clear(b.other)
	clear(b.narrow)
	if cap(b.items) > 1<<16 {
		b.items, b.buckets, b.popped, b.held, b.other, b.narrow = nil, nil, nil, nil, nil, nil
	}
}

// add enters one NLRI, for all members.
func (b *batch) add(t *Table, id destID, out uint16, k bucketKey) {
	k.fam = uint8(familyAt(id))
	it := item{dest: id, out: out}
	if id >= ofKeyed && k.attr != 0 {
		it.attr, k.attr = k.attr, t.attrs.baseOf(k.attr)
	}
	b.put(b.find(t, k), it)
}

// addFor is add for some of the members, of what has a key.
func (b *batch) addFor(t *Table, id destID, out uint16, k bucketKey, who audience) {
	k.fam = uint8(familyAt(id))
	it := item{dest: id, attr: k.attr, out: out}
	k.attr, who.targets, who.unless = t.attrs.baseOf(k.attr), t.attrs.baseOf(who.targets), t.attrs.baseOf(who.unless)
	no, ok := b.narrow[narrowKey{k, who}]
	if !ok {
		no = int32(len(b.buckets))
		b.buckets = append(b.buckets, bucket{bucketKey: k, audience: who})
		b.octets += 40
		if k.attr != 0 {
			b.octets += len(t.attrs.at(k.attr).octets)
		}
		for _, attr := range [...]attrID{who.targets, who.unless} { // an advert that is gone gives its set up
			if attr != 0 {
				b.held = append(b.held, t.attrs.retain(attr))
			}
		}
		if b.narrow == nil {
			b.narrow = make(map[narrowKey]int32)
		}
		b.narrow[narrowKey{k, who}] = no
	}
	b.put(no, it)
}

// put enters one NLRI into a bucket.
func (b *batch) put(no int32, it item) {
	b.items = append(b.items, it)
	n := int32(len(b.items))
	u := &b.buckets[no]
	if u.head == 0 {
		u.head = n
	} else {
		b.items[u.tail-1].next = n
	}
	u.tail = n
	b.octets += nlriOctets[u.fam]
}

// nlriOctets is about what an NLRI takes, by family.
var nlriOctets = [nFamilies]int{6, 18, 45, 13}

// find returns the number of the bucket of k.
func (b *batch) find(t *Table, k bucketKey) int32 {
	var a *attrSet
	if k.attr != 0 {
		a = t.attrs.at(k.attr)
		if a.bucket != 0 && b.buckets[a.bucket-1].bucketKey == k {
			return int32(a.bucket - 1)
		}
	}
	if no, ok := b.other[k]; ok {
		return no
	}
	no := int32(len(b.buckets))
	b.buckets = append(b.buckets, bucket{bucketKey: k})
	b.octets += 40
	if a != nil {
		b.octets += len(a.octets)
		if a.bucket == 0 {
			a.bucket = uint32(no + 1)
			return no
		}
	}
	if b.other == nil {
		b.other = make(map[bucketKey]int32)
	}
	b.other[k] = no
	return no
}

// encode makes a chunk of the batch: withdrawals first, as they free what may be short at
// the peer's.
func (b *batch) encode(t *Table, g *group) *chunk {
	c := t.newChunk(b.octets + b.octets/8 + 64)
	b.builder.Max, b.builder.AS4, b.builder.AddPath = g.maxLen(), g.key.as4, g.key.addPath
	for pass := range 2 {
		for i := range b.buckets {
			if u := &b.buckets[i]; (u.kind == announcement) == (pass == 1) {
				b.write(t, g, c, u)
			}
		}
	}
	return c
}

// write encodes a bucket.
func (b *batch) write(t *Table, g *group, c *chunk, u *bucket) {
	fam := families[u.fam]
	var attrs Attrs
	if u.attr != 0 {
		attrs = t.attrs.view(u.attr)
	}
	var who uint32
	if u.targets != 0 {
		f := filter{targets: t.attrs.view(u.targets).ExtCommunities(), two: u.unless != 0}
		if f.two {
			f.unless = t.attrs.view(u.unless).ExtCommunities()
		}
		c.filters = append(c.filters, f)
		who = uint32(len(c.filters))
	}
	for at := u.head; at != 0; {
		m := message{start: uint32(len(c.data)), src: u.src, kind: u.kind, filter: who}
		if u.kind == announcement {
			b.builder.Reach(c.data, fam, attrs.Attrs, attrs.NextHop())
		} else {
			b.builder.Unreach(c.data, fam)
		}
		for at != 0 {
			it := &b.items[at-1]
			var rest []byte
			if it.attr != 0 {
				rest = t.attrs.view(it.attr).rest()
			}
			if !t.addTo(&b.builder, it.dest, it.out, rest) {
				break
			}
			m.nlri++
			at = it.next
		}
		if m.nlri == 0 {
			return // attributes too long: sendable has seen to it that this does not happen
		}
		c.data = b.builder.Finish()
		m.end = uint32(len(c.data))
		c.msgs = append(c.msgs, m)
	}
}

// addTo adds a destination to a message, one with a key with the rest. It reports false if the message is full.
func (t *Table) addTo(b *wire.Builder, id destID, out uint16, rest []byte) bool {
	if id >= ofKeyed {
		return b.AddKeyed(t.key(id), rest, uint32(out))
	}
	return b.Add(wire.NLRI{Prefix: t.prefix(id), PathID: uint32(out)})
}

func (g *group) maxLen() int {
	if g.key.long {
		return 65535
	}
	return 4096
}
