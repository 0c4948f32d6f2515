package wire

import (
	"encoding/binary"
	"fmt"
)

// checkPath says what is wrong with an AS_PATH of size-octet AS numbers: "" if
// nothing is. It is also used for AS4_PATH.
func checkPath(b []byte, size int, confed bool) string {
	for len(b) > 0 {
		if len(b) < 2 {
			return "one octet left over"
		}
		t, n := SegmentType(b[0]), int(b[1])
		if t < ASSet || t > ASConfedSet {
			return fmt.Sprintf("segment type %d", t)
		}
		if t >= ASConfedSequence && !confed {
			return "confederation segment from outside a confederation"
		}
		if n == 0 {
			return "empty segment"
		}
		b = b[2:]
		if n*size > len(b) {
			return "segment runs past the end"
		}
		for i := 0; i < n*size; i += size {
			if size == 4 && binary.BigEndian.Uint32(b[i:]) == 0 || size == 2 && binary.BigEndian.Uint16(b[i:]) == 0 {
				return "AS 0"
			}
		}
		b = b[n*size:]
	}
	return ""
}
