// Package be reads big-endian fields off the front of a byte slice.
package be

import "encoding/binary"

// Cursor walks over a packet. A read past the end sets Short and returns zero,
// so that a decoder checks once, at its end. The zero value is an empty packet.
// It aliases the slice it was made from.
type Cursor struct {
	B     []byte // what has not been read yet
	Short bool   // a read went past the end
}

// Uint8 reads one octet.
func (c *Cursor) Uint8() uint8 {
	if b := c.Next(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint16 reads two octets.
func (c *Cursor) Uint16() uint16 {
	if b := c.Next(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Uint32 reads four octets.
func (c *Cursor) Uint32() uint32 {
	if b := c.Next(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Next takes n octets off the front. It returns nil, and takes nothing, if there
// are fewer.
func (c *Cursor) Next(n int) []byte {
	if n > len(c.B) {
		c.Short = true
		return nil
	}
	b := c.B[:n:n]
	c.B = c.B[n:]
	return b
}
