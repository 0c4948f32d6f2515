// Package captures reads packets captured from real programs, which the tests use as
// seeds: a text file of hexadecimal lines, a blank line between packets, and lines
// that start with # to say whose packet it is.
package captures

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// Packet is one captured packet.
type Packet struct {
	Name string // the last comment before it
	Data []byte
}

// Read returns the packets in a file, and fails the test if it cannot.
func Read(tb testing.TB, file string) (packets []Packet) {
	tb.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	for block := range strings.SplitSeq(string(text), "\n\n") {
		var p Packet
		var digits strings.Builder
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			if comment, ok := strings.CutPrefix(line, "#"); ok {
				p.Name = strings.TrimSpace(comment)
				continue
			}
			digits.WriteString(strings.ReplaceAll(line, " ", ""))
		}
		if p.Data, err = hex.DecodeString(digits.String()); err != nil {
			tb.Fatalf("%s: %s: %v", file, p.Name, err)
		}
		if len(p.Data) > 0 {
			packets = append(packets, p)
		}
	}
	return packets
}
