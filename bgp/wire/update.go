package wire

import (
	"encoding/binary"
	"iter"
)

// Options says what was negotiated with the peer that an UPDATE comes from.
type Options struct {
	AS4      bool      // AS_PATH has 4-octet AS numbers (RFC 6793, Section 4.1)
	IBGP     bool      // the peer is internal
	Confed   bool      // the peer is of our confederation (RFC 5065, Section 3)
	Families FamilySet // MP_REACH_NLRI of others is ignored; 0: all
	AddPath  FamilySet // NLRI of these have path identifiers
	// ExtendedNextHop: IPv4 NLRI may have IPv6 next hops (RFC 8950, Section 3).
	ExtendedNextHop bool
}

// Update is a view of an UPDATE message (RFC 4271, Section 4.3). Its fields are
// set by Parse, alias the body given there, and are valid until that is reused. The
// zero value is an empty UPDATE; a value may be used for one UPDATE after another.
type Update struct {
	Withdrawn List    // the Withdrawn Routes field, IPv4
	NLRI      List    // the NLRI field, IPv4
	NextHop   NextHop // of NLRI: the NEXT_HOP attribute

	MPReach   List    // of MP_REACH_NLRI
	MPNextHop NextHop // of MPReach
	MPUnreach List    // of MP_UNREACH_NLRI

	opt     Options      // as given to Parse
	attrs   []byte       // the Path Attributes field
	seen    [4]uint64    // types that occurred
	keep    [4]uint64    // types that go into Attrs
	runs    [4][2]uint16 // parts of attrs, from and to, that Attrs consists of
	nruns   int          // how many of runs are in use
	foreign bool         // MP_REACH_NLRI of a family that is not wanted
	messy   bool         // the runs don't make up Attrs: it takes a rewrite
	err     *Error       // the strongest so far
}

// Reach iterates over what the message announces in family f: MPReach, then NLRI.
// See [List.All] for the errors. If the disposition of the message is
// treat-as-withdraw, these are to be withdrawn.
func (u *Update) Reach(f Family) iter.Seq2[NLRI, error] {
	return func(yield func(NLRI, error) bool) { both(f, &u.MPReach, &u.NLRI, yield) }
}

// Unreach iterates over what the message withdraws in family f.
func (u *Update) Unreach(f Family) iter.Seq2[NLRI, error] {
	return func(yield func(NLRI, error) bool) { both(f, &u.MPUnreach, &u.Withdrawn, yield) }
}

// both yields the NLRI of a and b that are of family f.
func both(f Family, a, b *List, yield func(NLRI, error) bool) {
	for _, l := range [...]*List{a, b} {
		if l.Family != f {
			continue
		}
		for n, err := range l.All() {
			if !yield(n, err) {
				return
			}
		}
	}
}

// EndOfRIB returns the family whose initial transfer the message ends (RFC 4724,
// Section 2).
func (u *Update) EndOfRIB() (Family, bool) {
	if !u.Withdrawn.Empty() || !u.NLRI.Empty() || u.err != nil {
		return Family{}, false
	}
	if len(u.attrs) == 0 {
		return IPv4Unicast, true
	}
	// MP_UNREACH_NLRI alone, and nothing in it.
	_, rest, _ := cutAttr(u.attrs)
	return u.MPUnreach.Family, len(rest) == 0 && u.has(AttrMPUnreach) && u.MPUnreach.Empty() && u.MPUnreach.Family != Family{}
}

// Attrs iterates over the path attributes as they came, malformed ones too.
func (u *Update) Attrs() iter.Seq[Attr] { return Attrs(u.attrs).All() }

func (u *Update) has(t AttrType) bool { return u.seen[t>>6]&(1<<(t&63)) != 0 }

// Parse makes u a view of body, an UPDATE without its header. It returns nil or an
// [*Error] with the strongest disposition of all errors found (RFC 7606, Section 3):
// AttributeDiscard: use u, what is malformed is already left out of AppendAttrs. RouteWithdraw: use u, and see the errors
// beside NLRI.
// TreatAsWithdraw: withdraw what Reach and Unreach yield. SessionReset: u is not to be used.
func (u *Update) Parse(body []byte, opt Options) error {
	// Withdrawn Routes Length (2), Withdrawn Routes, Total Path Attribute Length (2), Path
	// Attributes, NLRI to the end (RFC 4271, Section 4.3).
	*u = Update{opt: opt}
	if len(body) < 2 {
		return resetUpdate("RFC 4271, Section 6.3", "cut short")
	}
	n := int(binary.BigEndian.Uint16(body))
	if n+4 > len(body) {
		return resetUpdate("RFC 7606, Section 3(b)", "withdrawn routes run past the end")
	}
	withdrawn, rest := body[2:2+n:2+n], body[2+n:]
	n = int(binary.BigEndian.Uint16(rest))
	if n+2 > len(rest) {
		return resetUpdate("RFC 7606, Section 3(b)", "path attributes run past the end")
	}
	u.attrs = rest[2 : 2+n : 2+n]
	addPath := opt.AddPath.Has(IPv4Unicast)
	u.Withdrawn = List{Family: IPv4Unicast, AddPath: addPath, Raw: withdrawn}
	u.NLRI = List{Family: IPv4Unicast, AddPath: addPath, Raw: rest[2+n:]}
	if !u.Withdrawn.wellFormed() || !u.NLRI.wellFormed() {
		return errNLRI
	}
	if n > 0 {
		u.walk()
	}
	if u.MPReach.Family == L2VPNEVPN {
		u.MPReach.noMAC = !u.routerMAC()
	}
	if !u.NLRI.Empty() || !u.MPReach.Empty() {
		u.mandatory()
	}
	if u.err == nil {
		return nil
	}
	return u.settle()
}

// ParseUpdate is Update.Parse for callers who don't reuse the value.
func ParseUpdate(body []byte, opt Options) (Update, error) {
	var u Update
	err := u.Parse(body, opt)
	return u, err
}

// mandatory checks for missing well-known attributes (RFC 7606, Section 3(d)).
func (u *Update) mandatory() {
	const both = 1<<AttrOrigin | 1<<AttrASPath
	if u.seen[0]&both == both && (u.NLRI.Empty() || u.has(AttrNextHop)) {
		return
	}
	missing := AttrNextHop
	if !u.has(AttrASPath) {
		missing = AttrASPath
	}
	if !u.has(AttrOrigin) {
		missing = AttrOrigin
	}
	u.fail(&Error{Disposition: TreatAsWithdraw, Code: CodeUpdate, Subcode: SubMissingWellKnown, Data: []byte{byte(missing)},
		Message: TypeUpdate, Attr: missing, RFC: "RFC 7606, Section 3(d)", Text: "missing"})
}

// settle turns the strongest error found into the result. An UPDATE with
// attributes but without reachable NLRI leaves nothing to treat as a withdraw: its
// NLRI may be what was damaged. RFC 7606, Section 5.2: "For this reason, if any path attribute
// errors are encountered in such an UPDATE message and if any encountered error specifies an
// error-handling approach other than "attribute discard", then the "session reset" approach
// MUST be used."
func (u *Update) settle() error {
	if u.err.Disposition == TreatAsWithdraw && u.NLRI.Empty() && u.MPReach.Empty() && !u.foreign {
		e := *u.err
		e.Disposition, e.RFC = SessionReset, e.RFC+"; RFC 7606, Section 5.2"
		u.err = &e
	}
	return u.err
}

// fail keeps the strongest error, the first of equals. RFC 7606, Section 3(h): if several
// attributes are malformed, "the approach with the strongest action MUST be used".
func (u *Update) fail(e *Error) {
	if u.err == nil || e.Disposition > u.err.Disposition {
		u.err = e
	}
}

func resetUpdate(rfc, text string) *Error {
	return &Error{Disposition: SessionReset, Code: CodeUpdate, Subcode: SubMalformedAttributes, Message: TypeUpdate, RFC: rfc, Text: text}
}
