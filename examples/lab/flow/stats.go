// Package flow sends numbered UDP packets at a fixed rate between guests and
// tells what became of them.
//
// The machine that runs a lab is busy, so a sender may be late. Lateness must
// not look like loss: everything is computed from the times at which packets
// were really sent and from which of them arrived, never from when they arrived.
package flow

import "time"

// Stats is what became of one flow.
type Stats struct {
	Sent      int
	Lost      int
	Duplicate int
	// Gap is the longest outage: from the first to the last packet of an
	// uninterrupted run of lost ones, by sending time, plus one interval. Zero if
	// nothing was lost.
	Gap time.Duration
	// GapAt is when, after the start of the traffic, the first packet of that run
	// was sent.
	GapAt time.Duration
	// Late is how many times the sender was more than one interval late.
	Late int
}

// Analyze computes the statistics of a flow: sent holds the sending time of each
// packet, in nanoseconds after the start of the traffic, got how often each
// arrived.
func Analyze(sent []int64, got []uint8, interval time.Duration) Stats {
	s := Stats{Sent: len(sent)}
	first := -1 // of the current run of lost packets
	for i := range sent {
		if i > 0 && sent[i]-sent[i-1] > 2*int64(interval) {
			s.Late++
		}
		switch {
		case got[i] == 0:
			s.Lost++
			if first < 0 {
				first = i
			}
			if gap := time.Duration(sent[i]-sent[first]) + interval; gap > s.Gap {
				s.Gap, s.GapAt = gap, time.Duration(sent[first])
			}
		default:
			s.Duplicate += int(got[i]) - 1
			first = -1
		}
	}
	return s
}

// Sum adds up flows: totals, and the longest gap of any.
func Sum(all []Stats) Stats {
	var out Stats
	for _, s := range all {
		out.Sent += s.Sent
		out.Lost += s.Lost
		out.Duplicate += s.Duplicate
		out.Late += s.Late
		if s.Gap > out.Gap {
			out.Gap, out.GapAt = s.Gap, s.GapAt
		}
	}
	return out
}
