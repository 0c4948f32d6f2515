package bgp_test

import (
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/malformed"
)

// FuzzReflector sends anything to a reflector, in an established session. Whatever it
// is: the reflector lives, the witness keeps its session and is sent nothing
// malformed, and the culprit can announce routes again, at the latest after it came
// back.
func FuzzReflector(f *testing.F) {
	for _, c := range malformed.Cases() {
		if c.Peer == "ibgp" {
			f.Add(c.Message)
		}
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		c := malformed.Case{Name: "fuzz", Peer: "ibgp", Options: wire.Options{AS4: true}, Message: message}
		inStage(t, c, manners[0], func(s *stage) {
			s.culprits()
			s.offend()
			s.settle()
			if s.witness.ended() {
				t.Fatal("the witness lost its session")
			}
			s.culprit.conn.Close() // it may be in the middle of a message
			s.settle()
			s.expect(route4, false)
			s.expect(route6, false)
			s.culprits()
			s.announce(probe)
			s.settle()
			s.expect(probe, true)
		})
	})
}
