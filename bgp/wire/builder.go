package wire

import "encoding/binary"

// Builder writes UPDATE messages: one set of attributes, then NLRI until the message
// is full.
//
//	b.Reach(buf, family, attrs, nextHop)
//	for more && b.Add(nlri) { ... }
//	buf = b.Finish()
//
// Its exported fields may change between messages. It allocates nothing if the buffer
// has room for Max octets more.
type Builder struct {
	Max     int       // octets in a message; 0: MaxLen
	AS4     bool      // the peer takes 4-octet AS numbers (RFC 6793, Section 4.1)
	AddPath FamilySet // families whose NLRI are sent with path identifiers

	b       []byte // the buffer, with what the message has so far
	start   int    // of the message
	field   int    // of the length in front of the NLRI
	nlri    int    // of the first NLRI
	limit   int    // where NLRI must end
	family  Family // of this message
	addPath bool   // of this message
	layout  layout // of this message
	tail    Attrs  // attributes that follow MP_REACH_NLRI
}

// layout is where the NLRI of a message stand (RFC 4271, Section 4.3; RFC 4760, Section 3):
//
//	Withdrawn Routes Length (2), Withdrawn Routes
//	Total Path Attribute Length (2), Path Attributes
//	NLRI, to the end
type layout uint8

const (
	layoutNLRI layout = iota
	layoutWithdrawn
	layoutMPReach
	layoutMPUnreach
)

// Reach starts an UPDATE that announces NLRI of family f, appended to buf. attrs must
// not change before Finish. IPv4 NLRI with an IPv4 next hop go into the NLRI field,
// others into MP_REACH_NLRI. RFC 7606, Section 5.1: it "SHALL be encoded as the very first path
// attribute in an UPDATE message", so that NLRI are found whatever is wrong with the rest.
func (b *Builder) Reach(buf []byte, f Family, attrs Attrs, nh NextHop) {
	if !b.AS4 {
		attrs = narrow(attrs)
	}
	b.begin(buf, f)
	if f == IPv4Unicast && nh.Addr.Is4() {
		b.layout, b.tail = layoutNLRI, nil
		b.b = append(b.b, 0, 0, 0, 0)
		attrsAt := len(b.b)
		// NEXT_HOP belongs after ORIGIN and AS_PATH.
		head := 0
		for head+2 < len(attrs) && AttrType(attrs[head+1]) < AttrNextHop {
			_, rest, ok := cutAttr(attrs[head:])
			if !ok {
				break
			}
			head = len(attrs) - len(rest)
		}
		a := nh.Addr.As4()
		b.b = append(b.b, attrs[:head]...)
		b.b = append(b.b, wellKnown, byte(AttrNextHop), 4, a[0], a[1], a[2], a[3])
		b.b = append(b.b, attrs[head:]...)
		binary.BigEndian.PutUint16(b.b[attrsAt-2:], uint16(len(b.b)-attrsAt))
		b.nlri = len(b.b)
		return
	}
	b.layout, b.tail = layoutMPReach, attrs
	b.limit -= len(attrs)
	b.b = append(b.b, 0, 0, 0, 0, optional|FlagExtended, byte(AttrMPReach), 0, 0, byte(f.AFI>>8), byte(f.AFI), f.SAFI)
	b.field = len(b.b) - 5
	switch {
	case nh.Addr.Is4():
		a := nh.Addr.As4()
		b.b = append(append(b.b, 4), a[:]...)
	case nh.LinkLocal.IsValid():
		a, l := nh.Addr.As16(), nh.LinkLocal.As16()
		b.b = append(append(append(b.b, 32), a[:]...), l[:]...)
	default:
		a := nh.Addr.As16()
		b.b = append(append(b.b, 16), a[:]...)
	}
	b.b = append(b.b, 0)
	b.nlri = len(b.b)
}

// Unreach starts an UPDATE that withdraws NLRI of family f, appended to buf.
func (b *Builder) Unreach(buf []byte, f Family) {
	b.begin(buf, f)
	b.tail = nil
	if f == IPv4Unicast {
		b.layout = layoutWithdrawn
		b.b = append(b.b, 0, 0)
		b.field = len(b.b) - 2
		b.limit -= 2 // Total Path Attribute Length follows
	} else {
		b.layout = layoutMPUnreach
		b.b = append(b.b, 0, 0, 0, 0, optional|FlagExtended, byte(AttrMPUnreach), 0, 0, byte(f.AFI>>8), byte(f.AFI), f.SAFI)
		b.field = len(b.b) - 5
	}
	b.nlri = len(b.b)
}

func (b *Builder) begin(buf []byte, f Family) {
	b.start, b.b = len(buf), appendHeader(buf, TypeUpdate)
	b.family, b.addPath = f, b.AddPath.Has(f)
	size := b.Max
	if size == 0 {
		size = MaxLen
	}
	b.limit = b.start + size
}

// Add adds n to the message. It reports false, and adds nothing, if the message is
// full; for the first NLRI of a message that means that the attributes are too long
// to be sent at all.
func (b *Builder) Add(n NLRI) bool {
	bits := n.Prefix.Bits()
	size := (bits + 7) >> 3
	at := len(b.b)
	end := at + 1 + size
	if b.addPath {
		end += 4
	}
	if end > b.limit {
		return false
	}
	if cap(b.b)-at < 21 || !n.Prefix.Addr().Is4() {
		b.b = AppendNLRI(b.b, n, b.addPath)
		return true
	}
	w := b.b[at : at+21] // nearly always: write more than is needed
	if b.addPath {
		binary.BigEndian.PutUint32(w, n.PathID)
		w = w[4:]
	}
	w[0] = byte(bits)
	a := n.Prefix.Addr().As4()
	copy(w[1:5], a[:])
	b.b = b.b[:end]
	return true
}

// Empty reports whether no NLRI was added since Reach or Unreach.
func (b *Builder) Empty() bool { return len(b.b) == b.nlri }

// Finish completes the message and returns the buffer.
func (b *Builder) Finish() []byte {
	n := len(b.b)
	switch b.layout {
	case layoutWithdrawn:
		binary.BigEndian.PutUint16(b.b[b.field:], uint16(n-b.nlri))
		b.b = append(b.b, 0, 0)
	case layoutMPReach, layoutMPUnreach:
		binary.BigEndian.PutUint16(b.b[b.field:], uint16(n-b.field-2))
		b.b = append(b.b, b.tail...)
		binary.BigEndian.PutUint16(b.b[b.field-4:], uint16(len(b.b)-b.field+2))
	}
	buf := finish(b.b, b.start)
	b.b, b.tail = nil, nil
	return buf
}

// AppendEndOfRIB appends the End-of-RIB marker of f (RFC 4724, Section 2).
func AppendEndOfRIB(b []byte, f Family) []byte {
	start := len(b)
	b = append(appendHeader(b, TypeUpdate), 0, 0, 0, 0)
	if f != IPv4Unicast {
		b = append(b, optional, byte(AttrMPUnreach), 3, byte(f.AFI>>8), byte(f.AFI), f.SAFI)
		b[start+HeaderLen+3] = 6
	}
	return finish(b, start)
}
