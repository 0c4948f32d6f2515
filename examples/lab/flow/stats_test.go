package flow

import (
	"testing"
	"time"
)

// Each letter is a packet: + arrived, x lost, 2 arrived twice; a dot is an
// interval in which the sender slept.
func TestAnalyze(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		trace string
		want  Stats
	}{
		{"", Stats{}},
		{"++++", Stats{Sent: 4}},
		{"+2+", Stats{Sent: 3, Duplicate: 1}},
		{"+x+", Stats{Sent: 3, Lost: 1, Gap: 5 * ms, GapAt: 5 * ms}},
		{"+xxx+", Stats{Sent: 5, Lost: 3, Gap: 15 * ms, GapAt: 5 * ms}},
		{"xx+", Stats{Sent: 3, Lost: 2, Gap: 10 * ms}},
		{"+xx", Stats{Sent: 3, Lost: 2, Gap: 10 * ms, GapAt: 5 * ms}},
		{"+x+xx+", Stats{Sent: 6, Lost: 3, Gap: 10 * ms, GapAt: 15 * ms}},
		// A sender that sleeps loses nothing and makes no gap.
		{"++....++", Stats{Sent: 4, Late: 1}},
		{"+....x+", Stats{Sent: 3, Lost: 1, Gap: 5 * ms, GapAt: 25 * ms, Late: 1}},
		{"+x....+", Stats{Sent: 3, Lost: 1, Gap: 5 * ms, GapAt: 5 * ms, Late: 1}},
		// Asleep during an outage: it lasted at least from loss to loss.
		{"+x...x+", Stats{Sent: 4, Lost: 2, Gap: 25 * ms, GapAt: 5 * ms, Late: 1}},
	} {
		var sent []int64
		var got []uint8
		for i, p := range c.trace {
			switch p {
			case '.':
				continue
			case '+':
				got = append(got, 1)
			case 'x':
				got = append(got, 0)
			case '2':
				got = append(got, 2)
			}
			sent = append(sent, int64(i)*int64(5*ms))
		}
		if have := Analyze(sent, got, 5*ms); have != c.want {
			t.Errorf("%q: %+v, want %+v", c.trace, have, c.want)
		}
	}
}

func TestSum(t *testing.T) {
	have := Sum([]Stats{{Sent: 5, Lost: 1, Gap: 5, GapAt: 1}, {Sent: 7, Lost: 2, Gap: 9, GapAt: 3, Late: 2}, {Sent: 1, Duplicate: 4}})
	want := Stats{Sent: 13, Lost: 3, Gap: 9, GapAt: 3, Late: 2, Duplicate: 4}
	if have != want {
		t.Errorf("%+v, want %+v", have, want)
	}
}
