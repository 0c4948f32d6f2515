package wire

import "encoding/binary"

// narrow returns a for a peer with 2-octet AS numbers: larger ones become ASTrans,
// and AS4_PATH and AS4_AGGREGATOR carry the truth (RFC 6793, Section 4.2.2).
func narrow(a Attrs) Attrs {
	edits := make([]Edit, 0, 4)
	if v, ok := a.Get(AttrASPath); ok {
		path, path4, lossy := narrowPath(v)
		edits = append(edits, Edit{Attr: NewAttr(AttrASPath, path)})
		if lossy && len(path4) > 0 {
			edits = append(edits, Edit{Attr: NewAttr(AttrAS4Path, path4)})
		}
	}
	if v, ok := a.Get(AttrAggregator); ok && len(v) == 8 {
		as := binary.BigEndian.Uint32(v)
		short := Edit{Attr: NewAttr(AttrAggregator, append(binary.BigEndian.AppendUint16(nil, clamp(as)), v[4:]...))}
		edits = append(edits, short)
		if as > 0xffff {
			edits = append(edits, Edit{Attr: NewAttr(AttrAS4Aggregator, v)})
		}
	}
	if len(edits) > 2 && edits[1].Type > edits[2].Type { // AS_PATH, AS4_PATH, AGGREGATOR
		edits[1], edits[2] = edits[2], edits[1]
	}
	return a.AppendEdited(make([]byte, 0, len(a)+16), edits...)
}

// narrowPath returns a path with 2-octet AS numbers, the AS4_PATH that goes with it,
// and whether anything got lost in the first.
func narrowPath(p ASPath) (path, path4 []byte, lossy bool) {
	for s := range p.Segments() {
		path = append(path, byte(s.Type), byte(s.Len()))
		for i := range s.Len() {
			as := s.At(i)
			lossy = lossy || as > 0xffff
			path = binary.BigEndian.AppendUint16(path, clamp(as))
		}
		if s.Type <= ASSequence { // RFC 6793, Section 3: no confederations in AS4_PATH
			path4 = append(append(path4, byte(s.Type), byte(s.Len())), s.Raw...)
		}
	}
	return path, path4, lossy
}

func clamp(as uint32) uint16 {
	if as > 0xffff {
		return ASTrans
	}
	return uint16(as)
}
