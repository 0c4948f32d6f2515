package bfd

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
)

// authState is the authentication state of a session: bfd.RcvAuthSeq,
// bfd.XmitAuthSeq and bfd.AuthSeqKnown of RFC 5880, Section 6.8.1.
type authState struct {
	Auth
	txSeq   uint32             // sequence number of the next packet
	rxSeq   uint32             // of the last packet accepted
	rxKnown bool               // rxSeq means something
	last    [headerLen]byte    // the last packet sent, without its authentication section
	buf     [maxPacketLen]byte // scratch for digests
}

// digestLen is the digest's length, or 0 for passwords.
func (t AuthType) digestLen() int {
	switch t {
	case AuthMD5, AuthMeticulousMD5:
		return md5.Size
	case AuthSHA1, AuthMeticulousSHA1:
		return sha1.Size
	}
	return 0
}

func (t AuthType) meticulous() bool { return t == AuthMeticulousMD5 || t == AuthMeticulousSHA1 }

// sign appends the authentication section to the packet in b[start:] and sets A
// bit and Length (RFC 5880, Section 6.7).
//
// Simple Password (RFC 5880, Section 4.2):
//
//	Auth Type, 1                                 0
//	Auth Len, 4 to 19                            1
//	Auth Key ID                                  2
//	Password (1 to 16)                           3
//
// Keyed and Meticulous Keyed MD5 and SHA1 (RFC 5880, Sections 4.3 and 4.4):
//
//	Auth Type, 2 to 5                            0
//	Auth Len, 24 (MD5) or 28 (SHA1)              1
//	Auth Key ID                                  2
//	Reserved, 0                                  3
//	Sequence Number                              4
//	Digest (16 or 20)                            8
func (a *authState) sign(b []byte, start int) []byte {
	key := a.Keys[0]
	b[start+1] |= 0x04
	n := a.Type.digestLen()
	if n == 0 {
		b[start+3] = byte(headerLen + 3 + len(key.Secret))
		b = append(b, byte(a.Type), byte(3+len(key.Secret)), key.ID)
		return append(b, key.Secret...)
	}
	b[start+3] = byte(headerLen + 8 + n)
	a.step(b[start : start+headerLen])
	b = append(b, byte(a.Type), byte(8+n), key.ID, 0)
	b = binary.BigEndian.AppendUint32(b, a.txSeq)
	b = append(b, a.buf[:n]...) // overwritten by the digest
	a.digest(b[start:], key.Secret, b[len(b)-n:])
	return b
}

// step moves the sequence number on: with every packet if meticulous, else
// whenever the packet says something new (RFC 5880, Section 6.7.3).
func (a *authState) step(header []byte) {
	if a.Type.meticulous() || !bytes.Equal(header, a.last[:]) {
		a.txSeq++
		copy(a.last[:], header)
	}
}

// digest computes the digest of packet into out. The digest is taken over the whole packet
// with the secret, padded with zeros, where the digest goes: its last octets (RFC 5880,
// Sections 6.7.3 and 6.7.4).
func (a *authState) digest(packet []byte, secret string, out []byte) {
	n := a.Type.digestLen()
	work := a.buf[:len(packet)]
	copy(work, packet)
	place := work[len(work)-n:]
	clear(place)
	copy(place, secret)
	if n == md5.Size {
		sum := md5.Sum(work)
		copy(out, sum[:])
		return
	}
	sum := sha1.Sum(work)
	copy(out, sum[:])
}

// accept makes every check of RFC 5880, Sections 6.7.2-6.7.4, and only then
// stores the sequence number.
func (a *authState) accept(p *Packet) bool {
	s := p.auth
	if len(s) < 4 || AuthType(s[0]) != a.Type {
		return false
	}
	secret, ok := a.secret(s[2])
	if !ok {
		return false
	}
	n := a.Type.digestLen()
	if n == 0 {
		return subtle.ConstantTimeCompare(s[3:], []byte(secret)) == 1
	}
	if len(s) != 8+n {
		return false
	}
	seq := binary.BigEndian.Uint32(s[4:])
	if !a.inWindow(seq, p.Multiplier) {
		return false
	}
	var want [sha1.Size]byte
	a.digest(p.raw, secret, want[:n])
	if subtle.ConstantTimeCompare(s[8:], want[:n]) != 1 {
		return false
	}
	a.rxSeq, a.rxKnown = seq, true
	return true
}

// inWindow reports whether a sequence number is new enough and not too new: the
// circular window of RFC 5880, Sections 6.7.3 and 6.7.4.
func (a *authState) inWindow(seq uint32, mult uint8) bool {
	if !a.rxKnown {
		return true
	}
	// RFC 5880, Section 6.7.3: "if the sequence number lies outside of the range of
	// bfd.RcvAuthSeq to bfd.RcvAuthSeq+(3*Detect Mult) inclusive (when treated as an unsigned
	// 32-bit circular number space), the received packet MUST be discarded." Meticulous
	// authentication begins at bfd.RcvAuthSeq+1.
	ahead := seq - a.rxSeq
	if a.Type.meticulous() && ahead == 0 {
		return false
	}
	return ahead <= 3*uint32(mult)
}

// secret returns the secret of a key id, and whether there is one.
func (a *authState) secret(id uint8) (string, bool) {
	for _, k := range a.Keys {
		if k.ID == id {
			return k.Secret, true
		}
	}
	return "", false
}
